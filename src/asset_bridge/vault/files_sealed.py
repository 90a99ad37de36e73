"""Sealed files on disk: header, then body.

Implements spec/sealed-file.md §8 (rules D6, D7).
Promises: `seal_to_disk` writes a whole, synced file or nothing; memory stays at a few segments.
Does not promise: to check a body against its CID when it is opened from disk; FLOE's tags do that work.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from asset_bridge.errors import InputError
from asset_bridge.sealing.floe import RandBytes
from asset_bridge.sealing.header import HEADER_BYTES
from asset_bridge.sealing.padding import Padding
from asset_bridge.sealing.seal import SealedSummary, Sealer
from asset_bridge.vault.files import Progress, Source, existing_folder, require_free_space, written_only_if_whole

SEGMENT_BYTES = 1_048_576


def seal_to_disk(
    source: Source,
    out: Path,
    *,
    file_key: bytes,
    container_id: bytes,
    lister: bytes,
    randbytes: RandBytes,
    padding: Padding = Padding.PADME,
    progress: Progress | None = None,
    workers: int = 2,
) -> SealedSummary:
    """Seal `source` into the new file `out`.

    Raises:
        InputError(files.exists, files.missing, files.disk-space, files.unwritable): the place.
        InputError(files.changed, sealing.source-changed): the data changed meanwhile; nothing is left.
        InputError(sealing.*): the data does not fit the format.
    """
    sealer = Sealer(
        file_key=file_key,
        container_id=container_id,
        lister=lister,
        index=source.index,
        randbytes=randbytes,
        padding=padding,
        workers=workers,
    )
    require_free_space(existing_folder(out.parent), HEADER_BYTES + sealer.body_length_bytes)
    done_bytes = 0
    # Readers are closed here, not by the collector, so that no file stays open after a failure.
    with (
        written_only_if_whole(out) as file,
        contextlib.closing(source.readers()) as readers,  # type: ignore[type-var]  # a generator, hence closable
        contextlib.closing(sealer.segments(readers)) as segments,  # type: ignore[type-var]
    ):
        write_all(file, sealer.header)
        for segment in segments:
            write_all(file, segment)
            done_bytes += len(segment)
            if progress is not None:
                progress(done_bytes, sealer.body_length_bytes)
    return sealer.summary()


def write_all(file: BinaryIO, data: bytes | bytearray | memoryview) -> None:
    """Write every byte; an unbuffered file may take fewer at a time."""
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]


class SealedFile:
    """A sealed file at hand: its header, and its body by segments. Threads may read at the same time."""

    def __init__(self, path: Path) -> None:
        """Open it.

        Raises:
            InputError(files.missing, files.unreadable): it is not there or does not open.
            InputError(files.not-sealed): it is too short for a header.
        """
        try:
            self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError:
            raise InputError("files.missing", f"there is no file '{path}'") from None
        except OSError as error:
            raise InputError("files.unreadable", f"cannot read '{path}': {os.strerror(error.errno or 0)}") from error
        try:
            length_bytes = os.fstat(self._descriptor).st_size
            if length_bytes <= HEADER_BYTES:
                raise InputError("files.not-sealed", f"'{path}' is too short to be a sealed file")
            self.header = os.pread(self._descriptor, HEADER_BYTES, 0)
        except (OSError, InputError) as error:
            self.close()
            if isinstance(error, OSError):
                raise InputError("files.unreadable", f"cannot read '{path}'") from error
            raise
        self.body_length_bytes = length_bytes - HEADER_BYTES

    def segment(self, number: int) -> bytes:
        """Block `number` of the body."""
        start = number * SEGMENT_BYTES
        want = min(SEGMENT_BYTES, self.body_length_bytes - start)
        return os.pread(self._descriptor, max(0, want), HEADER_BYTES + start)

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)

    def __enter__(self) -> SealedFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
