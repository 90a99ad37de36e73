"""What every test may rely on: tools that are looked up once, and no silent skips.

A test says what it needs with a marker (`needs_anvil`, `needs_umbral_pre`, `needs_vectors`). Where that is absent
the test is skipped and the reason printed; with CI=true it fails instead, whoever asked for the skip.
"""

from __future__ import annotations

import gc
import importlib.util
import json
import os
import platform
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from asset_bridge.ipfs.kubo.daemon import KuboDaemon
from tests.support import kubo as kubos
from tests.support import minutes
from tests.support.depth import depths_read
from tests.support.kubo import missing_kubo
from tools import debian
from tools.anvil import AnvilMissingError, find_anvil
from tools.forge import missing_forge
from tools.geth import missing_geth
from tools.halmos import missing_halmos

ROOT = Path(__file__).resolve().parent.parent
MOST_OPEN_FILES = 300

# A shell's background job ignores Ctrl-C, and so would every process that a test starts and stops with it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

_, _HARD_LIMIT = resource.getrlimit(resource.RLIMIT_NOFILE)
if _HARD_LIMIT != resource.RLIM_INFINITY:
    resource.setrlimit(resource.RLIMIT_NOFILE, (_HARD_LIMIT, _HARD_LIMIT))

# The same examples on every run, no time limit per example: a slow machine is not a failing test.
settings.register_profile("project", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("project")


def vectors_folder() -> Path:
    """The published vectors: the environment's folder, else the one beside the checkout."""
    named = os.environ.get("ASSET_BRIDGE_VECTORS")
    return Path(named) if named else ROOT.parent / "shared" / "vectors"


def missing_anvil() -> str | None:
    """Why there is no development chain, or None."""
    try:
        return None if find_anvil() else "no anvil: run make setup"
    except AnvilMissingError as error:
        return str(error)


def missing_umbral_pre() -> str | None:
    """Why there is no umbral-pre, or None."""
    if importlib.util.find_spec("umbral_pre"):
        return None
    return f"umbral-pre has no wheel for Python {platform.python_version()} on {sys.platform} {platform.machine()}"


def missing_atheris() -> str | None:
    """Why there is no coverage-guided fuzzer, or None."""
    if importlib.util.find_spec("atheris"):
        return None
    return (
        f"atheris is locked for Linux x86-64 and Python 3.11 only, this is {sys.platform} {platform.python_version()}"
    )


def missing_vectors() -> str | None:
    """Why there are no published vectors, or None."""
    folder = vectors_folder()
    return None if folder.is_dir() else f"no published vectors in {folder}: set ASSET_BRIDGE_VECTORS"


def missing_strace() -> str | None:
    """Why there is no strace that may trace, or None."""
    if reason := debian.obtain(("strace",), ("strace",)):
        return reason
    done = subprocess.run(["strace", "-o", os.devnull, "true"], capture_output=True, check=False)
    return None if done.returncode == 0 else "strace may not trace here"


def missing_mount() -> str | None:
    """Why no small file system can be mounted here, or None."""
    with tempfile.TemporaryDirectory() as place:
        argv = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", place]
        if shutil.which("mount") is None or subprocess.run(argv, capture_output=True, check=False).returncode:
            return "a small file system in memory cannot be mounted: that needs root on Linux"
        subprocess.run(["umount", place], check=True)
    return None


NEEDS: dict[str, Callable[[], str | None]] = {
    "needs_anvil": missing_anvil,
    "needs_forge": missing_forge,
    "needs_geth": missing_geth,
    "needs_halmos": missing_halmos,
    "needs_umbral_pre": missing_umbral_pre,
    "needs_atheris": missing_atheris,
    "needs_vectors": missing_vectors,
    "needs_kubo": missing_kubo,
    "needs_mount": missing_mount,
    "needs_strace": missing_strace,
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what this machine cannot run, with the reason; files with slow tests come first, so that no worker ends alone."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)
    reasons = {marker: missing() for marker, missing in NEEDS.items()}
    for item in items:
        for marker, reason in reasons.items():
            if reason and item.get_closest_marker(marker):
                item.add_marker(pytest.mark.skip(reason=reason))


def pytest_collection_finish() -> None:
    """What was imported and collected stays until the end; no later collection of garbage looks at it again."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """With CI=true turn every skip into a failure that says what was missing."""
    report = yield
    if report.skipped and os.environ.get("CI") == "true":
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid}: skipped where CI=true allows no skip: {reason}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """The same for a whole file that asks to be skipped."""
    report = yield
    if report.skipped and os.environ.get("CI") == "true":
        report.outcome = "failed"
        report.longrepr = f"{collector.nodeid}: skipped where CI=true allows no skip: {report.longrepr}"
    return report


def pytest_configure(config: pytest.Config) -> None:
    """Failures of a long run are told when they happen, not at its end only."""
    config.pluginmanager.register(ToldAtOnce(config), "told-at-once")


class ToldAtOnce:
    """A line for each failure, where the dots stand."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        reporter = self._config.pluginmanager.get_plugin("terminalreporter")
        if report.failed and reporter is not None:
            reporter.write_line(f"\nFAILED {report.nodeid} ({report.when}): {report.longreprtext.strip()[-600:]}")


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Count each test's time for the table at the end."""
    minutes.count(report)


def pytest_sessionfinish() -> None:
    """Leave the figures where tools/test.py asks for them (deep runs)."""
    if where := os.environ.get("ASSET_BRIDGE_RUN_FIGURES"):
        Path(where).write_text(json.dumps(minutes.figures(depths_read)))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the minutes per folder of tests/."""
    for line in minutes.table():
        terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def vectors_dir() -> Path:
    """The folder of published vectors (mark the test `needs_vectors`)."""
    return vectors_folder()


@pytest.fixture(scope="session")
def anvil_path() -> Path:
    """The development chain's program (mark the test `needs_anvil`)."""
    found = find_anvil()
    assert found is not None, "mark this test needs_anvil"
    return found


@pytest.fixture(scope="session")
def kubo_trio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[KuboDaemon]]:
    """Three running kubos (mark the test `needs_kubo`). Whoever uses them leaves them running and empty."""
    with kubos.running(tmp_path_factory.mktemp("kubos"), 3) as daemons:
        yield daemons


_MOST_OPEN_FILES = [MOST_OPEN_FILES]  # rises to what a collection leaves open, so that none is for nothing


@pytest.fixture(autouse=True)
def _files_of_ended_tests_are_closed() -> Iterator[None]:
    """Networks in one process hold hundreds of small files in reference cycles; collect them before the system's limit is near."""
    yield
    open_files = Path("/proc/self/fd") if Path("/proc/self/fd").exists() else Path("/dev/fd")
    if len(os.listdir(open_files)) > _MOST_OPEN_FILES[0]:
        gc.collect()
        _MOST_OPEN_FILES[0] = len(os.listdir(open_files)) + MOST_OPEN_FILES
