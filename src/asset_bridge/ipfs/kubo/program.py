"""The kubo program: found on this machine, else built once from its own module where Go is there.

Source: design §6. Order: ASSET_BRIDGE_KUBO, `ipfs` on PATH (new enough, and a program, not a script that starts one: kill -9 of a script
leaves the real one running), the user's cache folder. Promises: the build uses the module's own locked sums, appears under its name only
when it is whole and runs, and is done once also when several processes ask at the same time; an interrupted build leaves nothing.
Does not promise: that Go's module proxy is reachable.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from asset_bridge.errors import InputError, UnavailableError

KUBO_VERSION = "0.42.0"
MODULE = "github.com/ipfs/kubo"
PACKAGES_ABOUT = 1600
"""How many Go packages a build from nothing compiles; for the progress line only."""
REPORT_SECONDS = 10.0
_OLDEST = (0, 42, 0)
_MAGIC = (b"\x7fELF", b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe")
Report = Callable[[str], None]


def cached_kubo() -> Path:
    """Where the built program lies."""
    own, shared = os.environ.get("ASSET_BRIDGE_CACHE"), os.environ.get("XDG_CACHE_HOME", "")
    users = Path(shared) if Path(shared).is_absolute() else Path.home() / ".cache"
    return (Path(own) if own else users / "asset-bridge") / "kubo" / KUBO_VERSION / "ipfs"


def find_kubo() -> Path | None:
    """The program, or None when it would have to be built.

    Raises:
        InputError(ipfs.kubo-program): ASSET_BRIDGE_KUBO names no program, or one older than 0.42.0.
    """
    named = os.environ.get("ASSET_BRIDGE_KUBO")
    if named:
        problem = _problem(Path(named))
        if problem:
            raise InputError(
                "ipfs.kubo-program",
                f"ASSET_BRIDGE_KUBO names {named}, which {problem}",
                hint=f"name the program of kubo {KUBO_VERSION} or newer, or unset it",
                actor="operator",
            )
        return Path(named)
    on_path = shutil.which("ipfs")
    if on_path is not None and not _problem(Path(on_path)):
        return Path(on_path)
    cached = cached_kubo()
    return cached if os.access(cached, os.X_OK) else None


def obtain_kubo(report: Report) -> Path:
    """The program, built now if it is nowhere: 3 to 6 minutes on two cores, once for this user.

    Raises:
        InputError(ipfs.kubo-program): as `find_kubo`.
        UnavailableError(ipfs.kubo-missing): it is nowhere and there is no Go to build it with.
        UnavailableError(ipfs.kubo-build): the module could not be fetched or built; the message ends with what Go said.
    """
    found = find_kubo()
    if found is not None:
        return found
    go = _go()
    if go is None:
        raise UnavailableError(
            "ipfs.kubo-missing",
            f"kubo, the IPFS node, is not installed ({KUBO_VERSION} or newer), and there is no Go to build it with",
            hint="put `ipfs` on PATH or name it in ASSET_BRIDGE_KUBO; or install Go 1.26; or start without --kubo",
            actor="operator",
        )
    target = cached_kubo()
    with _alone(target.parent, report):
        if not os.access(target, os.X_OK):
            _build(go, target, report)
    return target


def kubo_version(program: Path) -> tuple[int, ...] | None:
    """The program's version; None when it does not say one."""
    try:
        said = subprocess.run([program, "version", "-n"], capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.match(r"(\d+)\.(\d+)\.(\d+)", said.stdout.strip())
    return tuple(int(part) for part in match.groups()) if match and not said.returncode else None


def _problem(program: Path) -> str:
    """Why a file cannot be used, or nothing."""
    if not program.is_file() or not os.access(program, os.X_OK):
        return "is no program"
    with open(program, "rb") as content:
        if not content.read(4).startswith(_MAGIC):
            return "is a script and not kubo itself: stopping it would leave the real one running"
    version = kubo_version(program)
    if version is None:
        return "does not say a version of kubo"
    return "" if version >= _OLDEST else f"is kubo {'.'.join(map(str, version))}, older than {KUBO_VERSION}"


def _go() -> str | None:
    usual = Path("/usr/local/go/bin/go")
    return shutil.which("go") or (str(usual) if usual.is_file() else None)


@contextlib.contextmanager
def _alone(folder: Path, report: Report) -> Iterator[None]:
    """One builder at a time; whoever comes second waits for the first."""
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report("kubo: another process is building it; waiting")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        for left in folder.glob("build-*"):  # by a build that was killed
            shutil.rmtree(left, ignore_errors=True)
        yield
    finally:
        os.close(descriptor)


def _build(go: str, target: Path, report: Report) -> None:
    report(f"kubo: not on this machine; building {KUBO_VERSION} once with Go (3 to 6 minutes on two cores)")
    environment = {**os.environ, "GOFLAGS": "-buildvcs=false -mod=readonly", "GOWORK": "off", "CGO_ENABLED": "0"}
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="build-") as place:
        folder = Path(place)
        report("kubo: fetching its module")
        said = _run([go, "mod", "download", "-json", f"{MODULE}@v{KUBO_VERSION}"], folder, environment)
        source = folder / "source"
        shutil.copytree(json.loads(said)["Dir"], source)
        for path in (source, *source.rglob("*")):
            path.chmod(path.stat().st_mode | 0o200)
        _compile(go, source, folder / "ipfs", environment, report)
        version = kubo_version(folder / "ipfs")
        if version is None or version < _OLDEST:
            raise _failed("the program does not run here")
        os.replace(folder / "ipfs", target)
    report(f"kubo: {target}")


def _run(argv: list[str], folder: Path, environment: dict[str, str]) -> str:
    done = subprocess.run(argv, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise _failed(done.stderr or done.stdout)
    return done.stdout


def _compile(go: str, source: Path, output: Path, environment: dict[str, str], report: Report) -> None:
    """`go build -v` prints a line for each package that it begins: the only progress it shows."""
    argv = [go, "build", "-v", "-trimpath", "-ldflags", "-s -w", "-o", str(output), "./cmd/ipfs"]
    began_at = told_at = time.monotonic()
    process = subprocess.Popen(
        argv, cwd=source, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    lines: list[str] = []
    count = 0
    try:
        assert process.stderr is not None
        for line in process.stderr:
            lines = [*lines[-20:], line]
            count += 1
            if time.monotonic() - told_at > REPORT_SECONDS:
                told_at = time.monotonic()
                report(f"kubo: {count} of about {PACKAGES_ABOUT} packages, {told_at - began_at:.0f} s")
        if process.wait():
            raise _failed("".join(lines))
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def _failed(said: str) -> UnavailableError:
    end = " ".join(said.split())[-300:]
    return UnavailableError(
        "ipfs.kubo-build",
        f"kubo {KUBO_VERSION} could not be built: {end}",
        hint="see that Go 1.26 or newer and its module proxy are reachable; or put `ipfs` on PATH or in ASSET_BRIDGE_KUBO",
        actor="operator",
    )
