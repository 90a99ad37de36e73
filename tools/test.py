"""Run the tests: `make test`, `make test ROOM=tests/unit/sealing`, `make test DEPTH=deep [ROOM=…]`.

Quick depth is one pytest run with a worker for each core (WORKERS=1 for one alone). Deep runs one pytest a folder,
keeps what is done in .cache/deep/, goes on from there
when it is started again at the same commit, and writes docs/reference/deep-runs.md.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from asset_bridge.errors import BridgeError  # noqa: E402  of .venv, which runs this file
from asset_bridge.ipfs.kubo.program import obtain_kubo  # noqa: E402
from tools import forge, halmos  # noqa: E402
from tools.forge import ForgeMissingError  # noqa: E402
from tools.geth import GethMissingError, cached_geth, obtain_geth  # noqa: E402
from tools.halmos import HalmosMissingError  # noqa: E402

PAGE = ROOT / "docs" / "reference" / "deep-runs.md"
CACHE = ROOT / ".cache" / "deep"
DEEP_SECONDS = 4 * 3600  # of one test with the large counts
NO_TESTS = 5  # pytest's exit status when a folder holds none


def main(rooms: list[str]) -> int:
    """Run the tests of `rooms`, or all; the exit status is pytest's."""
    depth = os.environ.get("DEPTH", "quick")
    if depth not in ("quick", "deep"):
        print(f"test: error: DEPTH is {depth}, it must be quick or deep", file=sys.stderr)
        return 2
    for room in rooms:
        if not (ROOT / room.split("::")[0]).exists():
            print(
                f"test: error: ROOM {room} does not exist; a room is a folder such as tests/unit/sealing",
                file=sys.stderr,
            )
            return 2
    prepare(rooms)
    return run_deep(rooms) if depth == "deep" else pytest(rooms, workers())


def prepare(rooms: list[str]) -> None:
    """Bring what the chosen tests need before the first of them runs, where it is seen; without it those tests say why they are skipped."""
    tops = [ROOT / room.split("::")[0] for room in rooms] or [ROOT / "tests"]
    files = [path for top in tops for path in ([top] if top.is_file() else top.rglob("test_*.py"))]
    texts = [path.read_text() for path in files]
    for marker, (what, bring) in PREPARED.items():
        if any(f"mark.{marker}" in text for text in texts):
            try:
                bring(lambda line: print(line, flush=True))
            except (BridgeError, ForgeMissingError, GethMissingError, HalmosMissingError) as error:
                print(f"test: no {what}: {error}", file=sys.stderr)


def first_time(there: Path, text: str, obtain: Callable[[], object]) -> Callable[[Callable[[str], None]], object]:
    """Obtain something, with a line about it where it is not there yet."""

    def bring(report: Callable[[str], None]) -> object:
        if not there.exists():
            report(text)
        return obtain()

    return bring


PREPARED: dict[str, tuple[str, Callable[[Callable[[str], None]], object]]] = {
    "needs_kubo": ("kubo", obtain_kubo),
    "needs_geth": ("geth", first_time(cached_geth(), "geth: building it once (two to five minutes)", obtain_geth)),
    "needs_forge": ("forge", first_time(forge.folder(), "forge: fetching it once", forge.obtain_forge)),
    "needs_halmos": ("halmos", first_time(halmos.program(), "halmos: installing it once", halmos.obtain_halmos)),
}


def workers() -> list[str]:
    """Options that spread the files of tests over the cores; the files marked slow start first (tests/conftest.py)."""
    count = os.environ.get("WORKERS") or str(os.cpu_count() or 1)
    return [] if count == "1" else ["-n", count, "--dist", "loadfile", "--no-loadscope-reorder"]


def pytest(rooms: list[str], options: list[str] | None = None, **more: str) -> int:
    """One pytest run, shown as it goes."""
    command = [sys.executable, "-m", "pytest", *(options or []), *rooms]
    return subprocess.run(command, cwd=ROOT, env={**os.environ, **more}).returncode


def run_deep(rooms: list[str]) -> int:
    """Run each folder with the large counts, those still missing at this commit, and write the page."""
    commit = git("rev-parse", "--short=12", "HEAD")
    if git("status", "--porcelain", "--untracked-files=no"):
        commit += "+changes"
    CACHE.mkdir(parents=True, exist_ok=True)
    status = 0
    for folder in folders(rooms):
        done = CACHE / f"{commit}-{folder.replace('/', '-')}.json"
        if done.exists() and not commit.endswith("+changes"):
            print(f"deep: {folder} is done at {commit}", flush=True)
            continue
        print(f"deep: {folder}", flush=True)
        figures = CACHE / "running.json"
        figures.unlink(missing_ok=True)
        result = pytest([folder], ASSET_BRIDGE_RUN_FIGURES=str(figures), PYTEST_TIMEOUT=str(DEEP_SECONDS))
        if result == NO_TESTS:
            continue
        status = status or result
        row = {"folder": folder, "commit": commit, "machine": machine(), **json.loads(figures.read_text())}
        record(row)
        if result == 0:
            done.write_text(json.dumps(row))
    return status


def folders(rooms: list[str]) -> list[str]:
    """The folders of tests/ that are run one by one."""
    tops = [ROOT / room for room in rooms] or [ROOT / "tests"]
    found = {path.parent.relative_to(ROOT) for top in tops for path in top.rglob("test_*.py")}
    return sorted({"/".join(path.parts[:3]) for path in found}) or rooms


def record(row: dict[str, object]) -> None:
    """Put one row into the page, in place of an older one of the same folder."""
    head = [
        "# Deep runs",
        "",
        "Written by `make test DEPTH=deep`; one row a folder, the latest run. Counts are those of `tests/depth.toml`.",
        "",
        "| folder | commit | machine | passed | failed | skipped | seconds | counts |",
        "|---|---|---|---|---|---|---|---|",
    ]
    table, _, more = (PAGE.read_text() if PAGE.exists() else "").partition("\n## ")  # below it is written by hand
    old = [other for other in table.splitlines()[len(head) :] if other]
    counts = ", ".join(f"{name} {count}" for name, count in dict(row.pop("counts")).items())  # type: ignore[call-overload]
    line = "| " + " | ".join(str(value) for value in [*row.values(), counts]) + " |"
    kept = [other for other in old if not other.startswith(f"| {row['folder']} |")]
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text("\n".join([*head, *sorted([*kept, line])]) + "\n" + ("\n## " + more if more else ""))


def machine() -> str:
    """What the run ran on, without its name."""
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"


def git(*arguments: str) -> str:
    """The answer of a git command."""
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
