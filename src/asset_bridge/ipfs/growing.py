"""A file that several threads write at different places, and how much of it is there from its start on: for whoever sends it meanwhile.

Source: docs/decisions/0055, 0056. Promises: `wait` never names a byte that `written` was not called for; a writer that fails wakes its
reader; writers that say `before` stay at most AHEAD_BYTES before the reader, and a reader that gave up holds nobody.
"""

from __future__ import annotations

import threading

from asset_bridge.errors import UnavailableError

WAIT_SECONDS = 60.0
AHEAD_BYTES = 1 << 30
"""So that what is written is still in memory when it is read; a nearer limit cost a tenth on an idle machine (0056)."""
STEP_BYTES = 4 << 20
"""The most that `wait` names at once, so that writers hear soon how far the reader is."""


class Growing:
    """How far a file of `length_bytes` has come."""

    def __init__(self, length_bytes: int) -> None:
        self.length_bytes = length_bytes
        self._changed = threading.Condition()
        self._there = 0
        self._taken = 0
        self._beyond: dict[int, int] = {}
        self._failed = False
        self._unread = False

    @property
    def there_bytes(self) -> int:
        """How much is there from its start on."""
        return self._there

    def before(self, offset: int) -> None:
        """Wait until the reader is near enough for a part at `offset`, or gone."""
        with self._changed:
            self._changed.wait_for(lambda: offset < self._taken + AHEAD_BYTES or self._unread or self._failed)

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

    def leave(self) -> None:
        """Nobody reads any more."""
        with self._changed:
            self._unread = True
            self._changed.notify_all()

    def wait(self, at: int) -> int:
        """How many bytes are there, once it is more than `at`; at most STEP_BYTES more. All before `at` was taken.

        Raises:
            UnavailableError(ipfs.not-written): the writer failed, or wrote nothing for WAIT_SECONDS.
        """
        with self._changed:
            self._taken = max(self._taken, at)
            self._changed.notify_all()
            if not self._changed.wait_for(lambda: self._there > at or self._failed, WAIT_SECONDS) or self._failed:
                raise UnavailableError("ipfs.not-written", "The file was not written to its end.", actor="you")
            return min(self._there, at + STEP_BYTES)
