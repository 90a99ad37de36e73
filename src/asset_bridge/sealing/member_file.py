"""A member as a file that can be read and sought: only the segments that are read are fetched, verified and opened.

Promises: as `Opener.read`: no byte that did not verify; a short read only at the end.
Does not promise: that segments nobody read are whole.
"""

from __future__ import annotations

import io

from asset_bridge.sealing.open import Opener


class MemberFile(io.RawIOBase):
    """Read-only. Wrap it in `io.BufferedReader` for many small reads, in `io.TextIOWrapper` for text."""

    def __init__(self, opener: Opener, path: str) -> None:
        """Open the member of that path.

        Raises:
            InputError(sealing.no-member): there is none.
        """
        self._opener, self._path = opener, path
        self._size_bytes = opener.members[opener.member_number(path)].size_bytes
        self._at = 0

    @property
    def name(self) -> str:
        """The member's path."""
        return self._path

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def tell(self) -> int:
        """Where the next read begins."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place; beyond the end nothing is read. ValueError before the start, as with every file."""
        place = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size_bytes}.get(whence, -(2**63))
        if place < 0:
            raise ValueError("a file has no such place")
        self._at = place
        return self._at

    def readinto(self, buffer: object) -> int:
        """Fill the buffer, less only at the end."""
        if self.closed:
            raise ValueError("the file is closed")
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        filled = 0
        if self._at < self._size_bytes:
            for piece in self._opener.iter(self._path, self._at, min(self._at + len(view), self._size_bytes)):
                view[filled : filled + len(piece)] = piece
                filled += len(piece)
        self._at += filled
        return filled
