"""What the benchmarks share: rows, timing, the machine's description, a place in memory, and the peers' programs.

Ours and the peer run in turns and the best of each counts, so that a busy machine hurts both alike.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "asset-bridge"
MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Row:
    """One comparison. `ratio` is what `goal` speaks of; `met` is None where there is no goal."""

    what: str
    ours: str
    peer: str
    ratio: float
    goal: str = ""
    met: bool | None = None


@dataclass(frozen=True, slots=True)
class Took:
    """Best wall time, and the processor time of that run, children included."""

    seconds: float
    cpu_seconds: float


def once(act: Callable[[], object], clear: Sequence[Path] = ()) -> Took:
    """Run and time; what an earlier run left at `clear` is removed before the clock starts."""
    for path in clear:
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    started, used = time.perf_counter(), _cpu_seconds()
    act()
    return Took(time.perf_counter() - started, _cpu_seconds() - used)


def in_turns(rounds: int, clear: Sequence[Path] = (), **acts: Callable[[], object]) -> dict[str, Took]:
    """The best of `rounds` of each, in turns."""
    best: dict[str, Took] = {}
    for _ in range(rounds):
        for name, act in acts.items():
            took = once(act, clear)
            if name not in best or took.seconds < best[name].seconds:
                best[name] = took
    return best


def _cpu_seconds() -> float:
    return sum(
        usage.ru_utime + usage.ru_stime
        for usage in (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
    )


@contextlib.contextmanager
def memory_folder(need_bytes: int) -> Iterator[Path]:
    """A folder in a file system of memory where there is room, so that the disk is not what is measured."""
    shm = Path("/dev/shm")
    roomy = (
        shm.is_dir()
        and shutil.disk_usage(shm).free > need_bytes + (2 << 30)
        and _available_bytes() > need_bytes + (4 << 30)
    )
    folder = Path(tempfile.mkdtemp(prefix="asset-bridge-bench-", dir=shm if roomy else None))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _available_bytes() -> int:
    with contextlib.suppress(OSError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return 0


def random_file(path: Path, size_bytes: int) -> Path:
    """A file of bytes that do not compress."""
    block = os.urandom(MIB)
    with path.open("wb") as file:
        for number in range(-(-size_bytes // MIB)):
            file.write(number.to_bytes(8, "big") + block[8 : min(MIB, size_bytes - number * MIB)])
    return path


def sparse_file(path: Path, size_bytes: int) -> Path:
    """A file of zeros that takes no room."""
    with path.open("wb") as file:
        file.truncate(size_bytes)
    return path


def peer(name: str, folder: str) -> str | None:
    """A peer's program, from the cache or the PATH."""
    cached = CACHE / folder / name
    return str(cached) if cached.exists() else shutil.which(name)


def run(*command: str, stdin: Path | None = None, stdout: Path | None = None, **environment: str) -> None:
    """Run a peer; its error output is shown when it fails."""
    with contextlib.ExitStack() as files:
        source = files.enter_context(stdin.open("rb")) if stdin else subprocess.DEVNULL
        target = files.enter_context(stdout.open("wb")) if stdout else subprocess.DEVNULL
        env = {**os.environ, **environment}
        done = subprocess.run(command, stdin=source, stdout=target, stderr=subprocess.PIPE, env=env)
    if done.returncode:
        sys.exit(f"benchmark: {' '.join(command)} failed: {done.stderr.decode(errors='replace')}")


def processor() -> str:
    """Model, cores, and how fast one of them hashes: hashing decides."""
    model, flags = platform.processor() or platform.machine(), ""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            key, _, value = line.partition(":")
            model = value.strip() if key.strip() == "model name" else model
            flags = value if key.strip() == "flags" else flags
    block = bytes(4 * MIB)
    rate = len(block) / min(once(lambda: hashlib.sha256(block).digest()).seconds for _ in range(8)) / 1e9
    extension = "with" if "sha_ni" in flags.split() or "sha2" in flags.split() else "without"
    return f"{model}, {os.cpu_count()} cores, {extension} SHA extensions (SHA-256 {rate:.2f} GB/s a core)"
