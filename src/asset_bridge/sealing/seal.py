"""Seal members into a body, segment by segment, and compute the body's CID in the same pass.

Implements spec/sealed-file.md §4 and §5 (rules S17 to S31).
Promises: constant memory (a few segments); lengths known before the first byte is read; exactly the announced bytes or
no last segment, so an unfinished body never opens. `segments` takes streams and gives segments in order; `write` reads
and writes at offsets, so that every core reads, encrypts, hashes and writes its own segments without a copy.
Does not promise: to resume. After a failure start anew with a new key and container id (S31).
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from asset_bridge.errors import DefectError, InputError
from asset_bridge.ipld.unixfs import FileDag, FileDagBuilder
from asset_bridge.sealing.floe import (
    FLOE_IV_BYTES,
    GCM256_IV256_1M,
    IV_BYTES,
    OVERHEAD_BYTES,
    FloeParameters,
    FloeSealer,
    RandBytes,
)
from asset_bridge.sealing.header import SealedHeader, file_aad
from asset_bridge.sealing.index import Index
from asset_bridge.sealing.padding import Padding, body_length, padded_length, segment_count
from asset_bridge.sealing.parallel import each

ReadInto = Callable[[memoryview], int]
"""Fill the front of the view and say how many bytes; 0 means the end. As `io.RawIOBase.readinto`."""
ReadAt = Callable[[int, memoryview], None]
"""Fill the whole view with the content from that offset on; content is all members, one behind the other."""
WriteAt = Callable[[int, memoryview], None]
"""Write the whole view at that offset of the body."""
PROLOGUE_BYTES = 12  # content length (8), index length (4)


@dataclass(frozen=True, slots=True)
class SealedSummary:
    """What a finished sealing leaves for the record and the key package."""

    header: bytes
    container_id: bytes
    body: FileDag
    body_length_bytes: int
    content_length_bytes: int


def reader_of(chunks: Iterable[bytes | bytearray | memoryview]) -> ReadInto:
    """A reader over pieces of any size."""
    iterator = iter(chunks)
    rest = memoryview(b"")

    def read_into(view: memoryview) -> int:
        nonlocal rest
        while not rest:
            chunk = next(iterator, None)
            if chunk is None:
                return 0
            rest = memoryview(chunk).cast("B")
        size = min(len(view), len(rest))
        view[:size] = rest[:size]
        rest = rest[size:]
        return size

    return read_into


class Sealer:
    """One sealing. Header and lengths are known at once; `segments` runs once; then `summary`."""

    def __init__(
        self,
        *,
        file_key: bytes,
        container_id: bytes,
        lister: bytes,
        index: Index,
        randbytes: RandBytes,
        padding: Padding = Padding.PADME,
        workers: int = 2,
        parameters: FloeParameters = GCM256_IV256_1M,
    ) -> None:
        """Prepare the header.

        Args:
            file_key: 32 bytes, never used for another container (S30).
            container_id: 16 fresh random bytes.
            lister: the 20 bytes of the address of the account that will list the asset.
            randbytes: a source of secret-grade randomness, as `secrets.token_bytes`.
            parameters: only tests choose others; an opener outside tests refuses them.
        Raises:
            InputError(sealing.key-size, sealing.container-id, sealing.lister): an argument has the wrong size.
            InputError(sealing.index, sealing.on-chain-size, sealing.too-large): the content does not fit the format.
        """
        aad = file_aad(padding, container_id, lister)
        encoded_index = index.encode()
        self.content_length_bytes = index.content_length_bytes
        self._prefix = (
            self.content_length_bytes.to_bytes(8, "big") + len(encoded_index).to_bytes(4, "big") + encoded_index
        )
        self._plaintext_bytes = padded_length(padding, len(self._prefix) + self.content_length_bytes)
        self._segment_count = segment_count(self._plaintext_bytes, parameters)
        self.body_length_bytes = body_length(self._plaintext_bytes, parameters)
        self._floe = FloeSealer(parameters, file_key, aad, randbytes(FLOE_IV_BYTES))
        self.header = SealedHeader(padding, container_id, self._floe.header).encode()
        self._container_id = container_id
        self._index = index
        self._randbytes = randbytes
        self._workers = workers
        self._parameters = parameters
        self._started = False
        self._body: FileDag | None = None

    def segments(self, readers: Iterable[ReadInto]) -> Iterator[bytearray]:
        """Yield the sealed segments in order; each belongs to the caller.

        Args:
            readers: one for each member, in the index's order. The next one is asked for when its forerunner's bytes
                are in, and the iterator is exhausted before the last segment is made, so it may close and check files.
        Raises:
            InputError(sealing.source-changed): a member has fewer or more bytes than announced.
        """
        self._start()
        return self._run(_Plaintext(self._prefix, self._index, readers, self._plaintext_bytes))

    def _run(self, plaintext: _Plaintext) -> Iterator[bytearray]:
        builder = FileDagBuilder(leaf_bytes=self._parameters.segment_bytes)
        in_flight: deque[Future[tuple[bytearray, bytes]]] = deque()
        window = self._workers * 2 + 1
        # A buffer is filled again only after the segment made from it came out, window turns earlier.
        buffers = [bytearray(self._parameters.payload_bytes) for _ in range(min(window, self._segment_count))]
        with ThreadPoolExecutor(self._workers, thread_name_prefix="sealing") as pool:
            try:
                for position in range(self._segment_count):
                    if len(in_flight) == window:
                        yield self._take(in_flight, builder)
                    piece = plaintext.fill(buffers[position % window])
                    in_flight.append(pool.submit(self._seal, piece, position, self._randbytes(IV_BYTES)))
                while in_flight:
                    yield self._take(in_flight, builder)
            finally:
                for future in in_flight:
                    future.cancel()
        self._body = builder.finish()

    def _seal(self, piece: memoryview, position: int, iv: bytes) -> tuple[bytearray, bytes]:
        """In a worker: both steps release the interpreter's lock."""
        out = bytearray(len(piece) + OVERHEAD_BYTES)
        self._floe.seal_into(out, piece, position, position == self._segment_count - 1, iv)
        return out, hashlib.sha256(out).digest()

    @staticmethod
    def _take(in_flight: deque[Future[tuple[bytearray, bytes]]], builder: FileDagBuilder) -> bytearray:
        segment, digest = in_flight.popleft().result()
        builder.add(digest, len(segment))
        return segment

    def write(self, read_at: ReadAt, write_at: WriteAt) -> SealedSummary:
        """Seal content that can be read at offsets into a body that can be written at offsets.

        Args:
            read_at, write_at: called by several threads at once, for every part once; the last segment comes when
                all others are written.
        """
        self._start()
        last = self._segment_count - 1
        digests = [b""] * self._segment_count
        payload, segment_bytes = self._parameters.payload_bytes, self._parameters.segment_bytes

        def start() -> Callable[[tuple[int, bytes]], None]:
            plain = memoryview(bytearray(min(payload, self._plaintext_bytes)))
            out = memoryview(bytearray(len(plain) + OVERHEAD_BYTES))

            def work(claimed: tuple[int, bytes]) -> None:
                position, iv = claimed
                piece = plain[: self._plaintext_bytes - position * payload]
                self._fill(position * payload, piece, read_at)
                segment = out[: len(piece) + OVERHEAD_BYTES]
                self._floe.seal_into(segment, piece, position, position == last, iv)
                digests[position] = hashlib.sha256(segment).digest()
                write_at(position * segment_bytes, segment)

            return work

        each(((position, self._randbytes(IV_BYTES)) for position in range(last)), self._workers, start)
        start()((last, self._randbytes(IV_BYTES)))
        builder = FileDagBuilder(leaf_bytes=segment_bytes)
        for position, digest in enumerate(digests):
            builder.add(digest, min(segment_bytes, self.body_length_bytes - position * segment_bytes))
        self._body = builder.finish()
        return self.summary()

    def _fill(self, start: int, piece: memoryview, read_at: ReadAt) -> None:
        """Plaintext from `start` on: prologue and index, content, zeros."""
        content_start = len(self._prefix)
        content_end = content_start + self.content_length_bytes
        prefix = self._prefix[start : start + len(piece)]
        piece[: len(prefix)] = prefix
        begin, end = max(start, content_start), min(start + len(piece), content_end)
        if begin < end:
            read_at(begin - content_start, piece[begin - start : end - start])
        zeros = piece[max(0, content_end - start) :]
        zeros[:] = bytes(len(zeros))

    def _start(self) -> None:
        if self._started:
            raise DefectError("sealing.reused", "a sealing cannot be repeated with the same key")
        self._started = True

    def summary(self) -> SealedSummary:
        """What was sealed; only after the last segment was taken."""
        if self._body is None:
            raise DefectError("sealing.unfinished", "the sealing has not been run to its end")
        return SealedSummary(
            self.header, self._container_id, self._body, self.body_length_bytes, self.content_length_bytes
        )


class _Plaintext:
    """Prologue, index, members and zeros as one stream of known length."""

    def __init__(self, prefix: bytes, index: Index, readers: Iterable[ReadInto], total_bytes: int) -> None:
        self._left_bytes = total_bytes
        self._prefix = memoryview(prefix)
        self._members = iter(index.members)
        self._readers = iter(readers)
        self._read: ReadInto = _nothing
        self._member_left_bytes = 0
        self._ended = False

    def fill(self, buffer: bytearray) -> memoryview:
        """The next piece, in `buffer`: all of it, or what is left."""
        piece = memoryview(buffer)[: min(len(buffer), self._left_bytes)]
        self._left_bytes -= len(piece)
        size = min(len(piece), len(self._prefix))
        piece[:size] = self._prefix[:size]
        self._prefix = self._prefix[size:]
        at = size
        while at < len(piece) and not self._ended:
            at += self._read_content(piece[at:])
        if at < len(piece):
            piece[at:] = bytes(len(piece) - at)
        if self._left_bytes == 0:
            while not self._ended:  # empty members at the end still have a reader to check
                self._read_content(piece[:0])
        return piece

    def _read_content(self, view: memoryview) -> int:
        """Read from the member at hand, or go on to the next one and read nothing."""
        if self._member_left_bytes == 0:
            self._next_member()
            return 0
        size = self._read(view[: self._member_left_bytes])
        if not 0 < size <= self._member_left_bytes:
            raise _changed("it became shorter")
        self._member_left_bytes -= size
        return size

    def _next_member(self) -> None:
        if self._read(memoryview(bytearray(1))) != 0:
            raise _changed("it became longer")
        member = next(self._members, None)
        reader = next(self._readers, None)
        if (member is None) != (reader is None):
            raise _changed("its number of files differs")
        self._read = reader or _nothing
        self._ended = member is None
        self._member_left_bytes = 0 if member is None else member.size_bytes


def _nothing(_: memoryview) -> int:
    """Before the first member and behind the last one there is nothing to read."""
    return 0


def _changed(how: str) -> InputError:
    return InputError(
        "sealing.source-changed",
        f"the data changed while it was being sealed: {how}",
        hint="wait until nothing writes to it, or copy it first, and publish again",
    )
