"""Large files that pass through once leave the page cache behind them, so that opening one costs a byte what a small one costs.

Source: docs/decisions/0059. Promises: advice only. What a file holds, when it is durable and what an error says are the same with and
without it; a system or file system that takes no such advice is asked once.
Does not promise: that the system follows it, or that the last half GiB of a file has left when it is closed.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence

STEP_BYTES = 16 << 20
_BACK_STEPS = 32
"""Half a GiB: by then the disk has what was handed to it, however long its queue, and the pages can go."""
_SHARE_OF_MEMORY = 4


def crowds_memory(passing_bytes: int) -> bool:
    """Whether so many bytes, all of them read and written, would drive out of the memory what others keep there."""
    return passing_bytes * _SHARE_OF_MEMORY > memory_bytes()


def memory_bytes() -> int:
    """Of this machine."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def passing_each(sizes_bytes: Sequence[int]) -> dict[int, Passing]:
    """One for every file of a step or more, by its number, where writing all of them, after reading as much, crowds the memory."""
    if not crowds_memory(2 * sum(sizes_bytes)):
        return {}
    return {number: Passing(True) for number, size_bytes in enumerate(sizes_bytes) if size_bytes >= STEP_BYTES}


class Passing:
    """What one file read or written lets go of, step by step. Threads may call it at the same time and in any order."""

    def __init__(self, active: bool) -> None:
        self._active = active and hasattr(os, "posix_fadvise")  # macOS has none
        self._lock = threading.Lock()
        self._passed_bytes: dict[int, int] = {}

    def passed(self, descriptor: int, offset: int, size_bytes: int) -> None:
        """These bytes of the file were read or written and nobody here needs them again."""
        if not self._active:
            return
        end, whole = offset + size_bytes, []
        with self._lock:
            for step in range(offset // STEP_BYTES, -(-end // STEP_BYTES)):
                here = min(end, (step + 1) * STEP_BYTES) - max(offset, step * STEP_BYTES)
                self._passed_bytes[step] = self._passed_bytes.get(step, 0) + here
                if self._passed_bytes[step] >= STEP_BYTES:
                    whole.append(step)
                    del self._passed_bytes[step]
        for step in whole:
            self._let_go(descriptor, step)  # what is written begins its way to the disk
            if step >= _BACK_STEPS:
                self._let_go(descriptor, step - _BACK_STEPS)  # and has arrived there

    def _let_go(self, descriptor: int, step: int) -> None:
        if not self._active:
            return
        try:
            os.posix_fadvise(descriptor, step * STEP_BYTES, STEP_BYTES, os.POSIX_FADV_DONTNEED)
        except OSError:  # no advice on this file system
            self._active = False
