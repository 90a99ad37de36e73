"""Peak memory and processor time of processes that still run, as the system counted them (Linux: VmHWM, utime, stime)."""

from __future__ import annotations

import os
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


def cpu_seconds(pid: int) -> float:
    """Processor time of a process; 0 where the system does not say."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def report(processes: Iterable[tuple[str, int]]) -> dict[str, tuple[int, float]]:
    """Peak memory and processor seconds by process name; without those that are gone."""
    return {name: (peak, cpu_seconds(pid)) for name, pid in processes if (peak := peak_bytes(pid))}
