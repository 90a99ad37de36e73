"""Peak memory of processes that still run, as the system counted it (Linux: VmHWM)."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path


def peak_bytes(pid: int) -> int:
    """The peak resident memory of a process; 0 where the system does not say."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    for line in status.splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


def report(processes: Iterable[tuple[str, int]]) -> dict[str, int]:
    """Peak memory by process name; without those that are gone."""
    return {name: peak for name, pid in processes if (peak := peak_bytes(pid))}
