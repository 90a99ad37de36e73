"""Peak memory and throughput of sealing and opening from 100 MB to 10 GB, each in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.common import MIB, ROOT, Row, memory_folder, sparse_file

SIZES = (100_000_000, 1_000_000_000, 10_000_000_000)
LIMIT_MB = 150


def child(task: str, *paths: str) -> None:
    """In the process: do it, and say seconds and peak memory."""
    from benchmarks.common import once
    from benchmarks.open_speed import open_file
    from benchmarks.seal_speed import seal

    act = {"seal": seal, "open": open_file, "copy": copy}[task]
    begin_cold(Path(paths[0]))
    took = once(lambda: act(*map(Path, paths)), clear=[Path(paths[-1])])  # nothing of ours overwrites
    print(json.dumps([took.seconds, took.cpu_seconds, peak_bytes()]))


def begin_cold(source: Path) -> None:
    """No size is read from the cache of a disk: the largest could not be, so the others would look cheaper than they are."""
    os.sync()
    if hasattr(os, "posix_fadvise"):
        with source.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def copy(source: Path, out: Path) -> None:
    """The same bytes read and written and nothing else: how flat the file system itself is."""
    buffer = memoryview(bytearray(MIB))
    with source.open("rb", buffering=0) as read, out.open("wb", buffering=0) as write:
        while size := read.readinto(buffer):
            write.write(buffer[:size])
        os.fsync(write.fileno())


def peak_bytes() -> int:
    """Of this program alone: what `getrusage` says on Linux begins with the peak of the process that started it."""
    if sys.platform == "linux":
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def measured(task: str, rounds: int, *paths: Path) -> tuple[float, float, int]:
    """Best seconds, best processor time, and highest peak."""
    command = [sys.executable, "-m", "benchmarks.seal_memory", task, *map(str, paths)]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])}
    found = [
        json.loads(subprocess.run(command, cwd=ROOT, env=env, check=True, stdout=subprocess.PIPE).stdout)
        for _ in range(rounds)
    ]
    return min(wall for wall, _, _ in found), min(cpu for _, cpu, _ in found), max(peak for _, _, peak in found)


def rows(rounds: int = 3, sizes: tuple[int, ...] = SIZES, tasks: tuple[str, ...] = ("seal", "open")) -> Iterator[Row]:
    """The table. The input is sparse: it is read as zeros and takes no room. All sizes of a task lie in the same place."""
    for task in tasks:
        costs: dict[str, list[float]] = {task: [], "copy": []}  # processor seconds a gigabyte
        with memory_folder(max(sizes) * (2 if task == "open" else 1)) as folder:
            place = "in memory" if folder.is_relative_to("/dev/shm") else "on a disk"
            for size_bytes in sizes:
                turns = rounds if size_bytes < 5e9 else 1
                source, out = sparse_file(folder / "source", size_bytes), folder / "sealed"
                if task == "open":
                    measured("seal", 1, source, out)
                    source, out = out, folder / "opened"
                wall, cpu, peak = measured(task, turns, source, out)
                out.unlink()
                _, copied, _ = measured("copy", turns, source, out)
                for path in folder.iterdir():
                    path.unlink()
                for name, seconds in ((task, cpu), ("copy", copied)):
                    costs[name].append(seconds / size_bytes * 1e9)
                rate, megabytes = size_bytes / wall / 1e9, peak / 1e6
                ours, bare = (f"{costs[name][-1]:.2f} s of processor time a GB" for name in (task, "copy"))
                label = f"{task} {size_bytes / 1e6:,.0f} MB {place}, peak memory in MB, beside a bare copy"
                yield Row(label, f"{rate:.2f} GB/s, {ours}", bare, megabytes, f"< {LIMIT_MB}", megabytes < LIMIT_MB)
        for name, found in costs.items():
            yield Row(f"{name}: cost of the cheapest size against the dearest", "", "", min(found) / max(found), "flat")
        own = [whole - bare for whole, bare in zip(costs[task], costs["copy"], strict=True)]
        if min(own) > 0:  # where the memory is too small, a bare copy can cost more than an opening
            yield Row(f"{task} beyond the copy: the same", "", "", min(own) / max(own), "flat")


if __name__ == "__main__":
    child(*sys.argv[1:])
