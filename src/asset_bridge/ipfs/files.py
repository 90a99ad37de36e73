"""Durable files: write a temporary file, fsync, rename, fsync the folder. And what the disk says, as our errors.

Source: reliability §4. Promises: after `write_durable` returns, the file has the new content on disk; before, the old one or none.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from asset_bridge.errors import UnavailableError


def fsync_path(path: Path) -> None:
    """fsync a file or a folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_durable(path: Path, data: bytes) -> None:
    """Replace `path` by `data`, whole or not at all."""
    part = path.with_name(path.name + ".part")
    with open(part, "wb") as out:
        out.write(data)
        out.flush()
        os.fsync(out.fileno())
    os.replace(part, path)
    fsync_path(path.parent)


def write_at(descriptor: int, data: bytes | memoryview, offset: int) -> None:
    """pwrite all of `data`."""
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written


@contextlib.contextmanager
def disk_errors() -> Iterator[None]:
    """Turns an OSError into UnavailableError(ipfs.disk-full) or (ipfs.disk), without its path."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise UnavailableError(
                "ipfs.disk-full", "The disk is full.", hint="Free space; what is stored is intact.", actor="operator"
            ) from error
        reason = os.strerror(error.errno) if error.errno else "unknown"
        raise UnavailableError(
            "ipfs.disk", f"The disk refused: {reason}.", hint="Check the disk.", actor="operator"
        ) from error


def data_extents(descriptor: int, length_bytes: int) -> Iterator[tuple[int, int]]:
    """(start, end) of the parts of a sparse file that hold data; all of it where the system cannot tell."""
    at = 0
    while at < length_bytes:
        try:
            start = os.lseek(descriptor, at, os.SEEK_DATA)
            end = os.lseek(descriptor, start, os.SEEK_HOLE)
        except OSError as error:
            if error.errno == errno.ENXIO:  # nothing but a hole up to the end
                return
            yield at, length_bytes
            return
        yield start, min(end, length_bytes)
        at = end
