"""Sealed files on disk: header, then body.

Implements spec/sealed-file.md §8 (rules D6, D7).
Promises: `seal_to_disk` writes a whole, synced file or nothing; memory stays at a few segments.
Does not promise: to check a body against its CID when it is opened from disk; FLOE's tags do that work.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Protocol

from asset_bridge.errors import InputError
from asset_bridge.ipld.unixfs import FileDag
from asset_bridge.sealing.floe import RandBytes
from asset_bridge.sealing.header import HEADER_BYTES
from asset_bridge.sealing.padding import Padding
from asset_bridge.sealing.seal import SealedSummary, Sealer
from asset_bridge.vault.files import (
    Progress,
    Source,
    Stream,
    existing_folder,
    require_free_space,
    written_only_if_whole,
)
from asset_bridge.vault.passing import Passing, crowds_memory

SEGMENT_BYTES = 1_048_576


class Beside(Protocol):
    """Whoever takes the body while it is sealed. `before` and `written` are called by several threads, for every part once."""

    def begin(self, path: Path, at: int, length_bytes: int) -> None:
        """The body will be written to the file `path` from `at` on. What this raises ends the sealing before its first byte."""
        ...

    def before(self, offset: int) -> None:
        """A part at this offset of the body is about to be written; may wait."""
        ...

    def written(self, offset: int, size_bytes: int) -> None:
        """It is written."""
        ...

    def end(self, body: FileDag | None) -> None:
        """All of it is written; or (None) the sealing failed and the file goes when this returns. Called after `begin` returned."""
        ...


def seal_to_disk(
    source: Source | Stream,
    out: Path,
    *,
    file_key: bytes,
    container_id: bytes,
    lister: bytes,
    randbytes: RandBytes,
    padding: Padding = Padding.PADME,
    progress: Progress | None = None,
    workers: int = 2,
    beside: Beside | None = None,
) -> SealedSummary:
    """Seal `source` into the new file `out`; `beside` takes the body meanwhile.

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
    with written_only_if_whole(out) as file:
        write_all(file, sealer.header)
        if beside is None:
            return _seal(sealer, source, file, progress, _Alone())
        beside.begin(Path(file.name), HEADER_BYTES, sealer.body_length_bytes)
        try:
            summary = _seal(sealer, source, file, progress, beside)
        except BaseException:
            beside.end(None)
            raise
        beside.end(summary.body)
        return summary


class _Alone:
    """Nobody is beside."""

    def begin(self, _path: Path, _at: int, _length_bytes: int) -> None: ...
    def before(self, _offset: int) -> None: ...
    def written(self, _offset: int, _size_bytes: int) -> None: ...
    def end(self, _body: FileDag | None) -> None: ...


def _seal(
    sealer: Sealer, source: Source | Stream, file: BinaryIO, progress: Progress | None, beside: Beside
) -> SealedSummary:
    if isinstance(source, Source):
        return _seal_everywhere(sealer, source, file.fileno(), progress, beside)
    return _seal_stream(sealer, source, file, progress, beside)


def _seal_everywhere(
    sealer: Sealer, source: Source, descriptor: int, progress: Progress | None, beside: Beside
) -> SealedSummary:
    """Every core reads, seals, hashes and writes at its own offsets."""
    told = told_by_threads(progress, sealer.body_length_bytes)

    def write_at(offset: int, segment: memoryview) -> None:
        beside.before(offset)
        write_all_at(descriptor, segment, HEADER_BYTES + offset)
        beside.written(offset, len(segment))
        told(len(segment))

    summary = sealer.write(source.read_at, write_at)
    source.check_empty()
    return summary


def _seal_stream(
    sealer: Sealer, source: Stream, file: BinaryIO, progress: Progress | None, beside: Beside
) -> SealedSummary:
    told, offset = told_by_threads(progress, sealer.body_length_bytes), 0
    # Readers are closed here, not by the collector, so that no file stays open after a failure.
    with (
        contextlib.closing(source.readers()) as readers,
        contextlib.closing(sealer.segments(readers)) as segments,  # type: ignore[type-var]  # a generator, hence closable
    ):
        for segment in segments:
            beside.before(offset)
            write_all(file, segment)
            beside.written(offset, len(segment))
            offset += len(segment)
            told(len(segment))
    return sealer.summary()


def told_by_threads(progress: Progress | None, total_bytes: int) -> Callable[[int], None]:
    """Add up what several threads have done, and tell it one at a time."""
    lock, done_bytes = threading.Lock(), 0

    def told(more_bytes: int) -> None:
        nonlocal done_bytes
        with lock:
            done_bytes += more_bytes
            if progress is not None:
                progress(done_bytes, total_bytes)

    return told


def write_all(file: BinaryIO, data: bytes | bytearray | memoryview) -> None:
    """Write every byte; an unbuffered file may take fewer at a time."""
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]


def write_all_at(descriptor: int, data: memoryview, offset: int) -> None:
    """Write every byte at its place."""
    while data:
        size = os.pwrite(descriptor, data, offset)
        data, offset = data[size:], offset + size


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
        self._passing = Passing(crowds_memory(2 * length_bytes))
        self._passing.passed(self._descriptor, 0, HEADER_BYTES)

    def segment(self, number: int) -> bytes:
        """Block `number` of the body."""
        start = number * SEGMENT_BYTES
        want = min(SEGMENT_BYTES, self.body_length_bytes - start)
        return os.pread(self._descriptor, max(0, want), HEADER_BYTES + start)

    def segment_into(self, number: int, view: memoryview) -> int:
        """Block `number` of the body into `view`, which takes a whole one; how many bytes it has. For reading through: see Passing."""
        start, done = number * SEGMENT_BYTES, 0
        want = max(0, min(SEGMENT_BYTES, self.body_length_bytes - start))
        while done < want:
            size = os.preadv(self._descriptor, [view[done:want]], HEADER_BYTES + start + done)
            if size == 0:
                break  # cut meanwhile; the tag tells
            done += size
        self._passing.passed(self._descriptor, HEADER_BYTES + start, done)
        return done

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)

    def __enter__(self) -> SealedFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
