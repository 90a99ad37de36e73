"""Keep this process's memory where it is: no core dump, no swap where the system allows.

Source: protocol §6. Promises: `protect` says what it achieved, so that the node can tell its operator. Does not promise: anything against a
debugger or a root user of an ordinary machine; that is what the hardware is for.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import resource
import sys
from dataclasses import dataclass

_MCL_CURRENT, _MCL_FUTURE, _MCL_ONFAULT = 1, 2, 4  # <sys/mman.h> of Linux
_PR_SET_DUMPABLE = 4  # <sys/prctl.h>


@dataclass(frozen=True, slots=True)
class Protection:
    """What the system allowed. `undumpable`: other processes of the user cannot attach or read the memory either (Linux)."""

    no_core_dump: bool
    undumpable: bool
    memory_locked: bool


def protect() -> Protection:
    """Turn core dumps off and lock present and future pages; what the system refuses is reported, not raised."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if not sys.platform.startswith("linux"):
        return Protection(no_core_dump=True, undumpable=False, memory_locked=False)
    libc = ctypes.CDLL(ctypes.util.find_library("c"), use_errno=True)
    undumpable = bool(libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) == 0)
    return Protection(no_core_dump=True, undumpable=undumpable, memory_locked=_lock_memory(libc))


def _lock_memory(libc: ctypes.CDLL) -> bool:
    """Lock pages as they are touched. Only with an unlimited allowance: under a small one later allocations would fail."""
    soft, _hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    if soft != resource.RLIM_INFINITY:
        return False
    return bool(libc.mlockall(_MCL_CURRENT | _MCL_FUTURE | _MCL_ONFAULT) == 0)
