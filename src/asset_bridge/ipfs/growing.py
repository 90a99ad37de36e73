"""A file that several threads write at different places, and how much of it is there from its start on: for whoever sends it meanwhile.

Source: docs/decisions/0055. Promises: `wait` never names a byte that `written` was not called for; a writer that fails wakes every reader.
"""

from __future__ import annotations

import threading

from asset_bridge.errors import UnavailableError

WAIT_SECONDS = 60.0


class Growing:
    """How far a file of `length_bytes` has come."""

    def __init__(self, length_bytes: int) -> None:
        self.length_bytes = length_bytes
        self._changed = threading.Condition()
        self._there = 0
        self._beyond: dict[int, int] = {}
        self._failed = False

    def written(self, offset: int, size_bytes: int) -> None:
        """These bytes are in the file now. Parts do not overlap."""
        with self._changed:
            self._beyond[offset] = size_bytes
            while (size := self._beyond.pop(self._there, 0)) > 0:
                self._there += size
            self._changed.notify_all()

    def fail(self) -> None:
        """No more will come."""
        with self._changed:
            self._failed = True
            self._changed.notify_all()

    def wait(self, at: int) -> int:
        """How many bytes are there, once it is more than `at`.

        Raises:
            UnavailableError(ipfs.not-written): the writer failed, or wrote nothing for WAIT_SECONDS.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._there > at or self._failed, WAIT_SECONDS) or self._failed:
                raise UnavailableError("ipfs.not-written", "The file was not written to its end.", actor="you")
            return self._there
