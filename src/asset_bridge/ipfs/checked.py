"""Which leaves of which body file this process has hashed since the file last changed: those need not be hashed again to be sent.

Source: spec/node-http.md §6 (H14a), docs/decisions/0054. Promises: a leaf counts as checked only for a file of the same inode,
size, time of change and of status change as when it was hashed, and for RECHECK_SECONDS at most.
Does not promise: to see what changed on the disk under an unchanged file; every reader verifies blocks (H15), and the audit reads them.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable

from asset_bridge.ipld.cid import Cid

RECHECK_SECONDS = 3600.0
Stamp = tuple[int, int, int, int, int]


def stamp_of(descriptor: int) -> Stamp:
    """What changes when a file is written, replaced or cut."""
    seen = os.fstat(descriptor)
    return (seen.st_dev, seen.st_ino, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns)


class CheckedLeaves:
    """Any number of threads. `clock` is monotonic, in seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._known: dict[Cid, tuple[Stamp, float, set[int]]] = {}

    def note(self, root: Cid, stamp: Stamp, *numbers: int) -> None:
        """These leaves had their hash; `stamp` was taken before they were read."""
        now = self._clock()
        with self._lock:
            known = self._known.get(root)
            if known is None or known[0] != stamp or now - known[1] > RECHECK_SECONDS:
                known = self._known[root] = (stamp, now, set())
            known[2].update(numbers)

    def knows(self, root: Cid, stamp: Stamp, number: int) -> bool:
        """Whether this leaf of the file that now has this stamp was hashed, and not too long ago."""
        with self._lock:
            known = self._known.get(root)
            return (
                known is not None
                and known[0] == stamp
                and self._clock() - known[1] <= RECHECK_SECONDS
                and number in known[2]
            )

    def forget(self, root: Cid) -> None:
        """The body is gone."""
        with self._lock:
            self._known.pop(root, None)
