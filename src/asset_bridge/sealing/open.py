"""Open a sealed body: verified bytes of any member, in any order, or all of it in one stream.

Implements spec/sealed-file.md §5 (rules S32 to S35).
Promises: the last segment is verified first, so a cut or extended body is refused before a byte of content leaves;
nothing unverified is ever handed out; `stream` and `scatter` end normally only when every byte, padding included,
verified. `scatter` hands content out in any order, on all cores, without copying it.
Does not promise: that `read` looked at segments it did not need. Whoever wants the whole uses one of the two and
discards the output unless it ended.
"""

from __future__ import annotations

import hashlib
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from asset_bridge.errors import InputError, TamperedError
from asset_bridge.sealing.floe import GCM256_IV256_1M, OVERHEAD_BYTES, FloeOpener, FloeParameters
from asset_bridge.sealing.header import SealedHeader
from asset_bridge.sealing.index import MAX_INDEX_BYTES, Index, MemberSpec
from asset_bridge.sealing.padding import MAX_SEGMENTS, ON_CHAIN_BODY_BYTES, Padding, padded_length
from asset_bridge.sealing.parallel import Line, each
from asset_bridge.sealing.seal import PROLOGUE_BYTES

FetchSegment = Callable[[int], bytes | bytearray | memoryview]
FetchInto = Callable[[int, memoryview], int]
"""Read segment i into the view and say how many bytes it has; called by several threads at once."""
Take = Callable[[int, memoryview], None]
"""Verified content and where in the content it stands; the view is the callee's only until it returns."""


class Opener:
    """An opened body, whose header, key, length and index are verified by the time the constructor returns."""

    def __init__(
        self,
        header: bytes,
        *,
        file_key: bytes,
        lister: bytes,
        body_length_bytes: int,
        fetch_segment: FetchSegment,
        content_length_bytes: int | None = None,
        leaf_digest: Callable[[int], bytes] | None = None,
        workers: int = 2,
        parameters: FloeParameters = GCM256_IV256_1M,
        fetch_into: FetchInto | None = None,
    ) -> None:
        """Verify header, key, length, last segment and index, in this order.

        Args:
            fetch_segment: returns block i of the body, from a file or from a peer.
            content_length_bytes: what the key package says, where there is one.
            fetch_into: as `fetch_segment`, for bodies that several threads can read without an allocation.
            leaf_digest: the sha2-256 of block i in the body's CID; with it a failure names whose fault it is.
        Raises:
            InputError(sealing.key-size, sealing.lister): an argument has the wrong size.
            RefusedError(sealing.version), TamperedError(sealing.header): the header.
            TamperedError(sealing.key): the key does not belong to header and lister.
            TamperedError(sealing.length): no body has this length, or content and length do not fit.
            TamperedError(sealing.final, sealing.segment): a segment does not verify.
            TamperedError(sealing.index, sealing.path): the index.
        """
        parsed = SealedHeader.parse(header, parameters)
        self._floe = FloeOpener(parameters, file_key, parsed.aad(lister), parsed.floe)
        self._parameters = parameters
        self._fetch = fetch_segment
        self._fetch_into = fetch_into
        self._leaf_digest = leaf_digest
        self._workers = workers
        self.header = parsed
        self.body_length_bytes = body_length_bytes
        self.segment_count = _count(body_length_bytes, parsed.padding, parameters)
        self._plaintext_bytes = body_length_bytes - OVERHEAD_BYTES * self.segment_count
        self._kept: tuple[int, bytearray] = (-1, bytearray())
        self._plain(self.segment_count - 1)
        self.index = self._read_index(content_length_bytes)
        self._starts = self._member_starts()
        self._numbers = {member.path: number for number, member in enumerate(self.index.members)}

    @property
    def members(self) -> tuple[MemberSpec, ...]:
        """The files, in canonical order."""
        return self.index.members

    @property
    def content_length_bytes(self) -> int:
        """Bytes of all members together."""
        return self.index.content_length_bytes

    def read(self, path: str, start: int = 0, end: int | None = None) -> bytes:
        """The verified bytes [start, end) of a member; only the segments they lie in are fetched.

        Raises:
            InputError(sealing.no-member, sealing.range): no such member or range.
            TamperedError(sealing.segment, sealing.final): a segment does not verify.
        """
        return b"".join(self.iter(path, start, end))

    def iter(self, path: str, start: int = 0, end: int | None = None) -> Iterator[memoryview]:
        """As `read`, in pieces of at most a segment."""
        number = self.member_number(path)
        size = self.index.members[number].size_bytes
        end = size if end is None else end
        if not 0 <= start <= end <= size:
            raise InputError("sealing.range", f"a range must lie within the member's {size} bytes")
        return self._pieces(self._starts[number] + start, self._starts[number] + end)

    def member_number(self, path: str) -> int:
        """Where the member of this path stands in `members`.

        Raises:
            InputError(sealing.no-member): there is none.
        """
        number = self._numbers.get(path)
        if number is None:
            raise InputError("sealing.no-member", "the sealed file holds no member of that path")
        return number

    def scatter(self, take: Take, in_order: Take | None = None, *, start: int = 0, end: int | None = None) -> None:
        """Open the content [start, end) on all cores; every byte goes to `take` once.

        The whole content, which is the default, means the whole body, padding included.

        Args:
            take: called by several threads, in any order.
            in_order: called with the same pieces, one at a time and from the first to the last; for hashing.
        Raises:
            InputError(sealing.range): no such range.
            As `stream`; what was taken must then be discarded.
        """
        total_bytes, payload = self.content_length_bytes, self._parameters.payload_bytes
        end = total_bytes if end is None else end
        if not 0 <= start <= end <= total_bytes:
            raise InputError("sealing.range", f"a range must lie within the {total_bytes} bytes of content")
        first, begin, stop = 0, self._content_start + start, self._content_start + end
        numbers = range(self.segment_count)
        if end - start < total_bytes:
            first = begin // payload
            numbers = range(first, -(-stop // payload) if begin < stop else first)
        line, fetching = Line(first), threading.Lock()

        def fetched(number: int, buffer: memoryview) -> bytes | bytearray | memoryview:
            if self._fetch_into is not None:
                return buffer[: self._fetch_into(number, buffer)]
            with fetching:  # `fetch_segment` need not bear several threads
                return self._fetch(number)

        def make() -> Callable[[int], None]:
            sealed = memoryview(bytearray(min(self._parameters.segment_bytes, self.body_length_bytes)))
            plain = memoryview(bytearray(min(payload, self._plaintext_bytes)))

            def work(number: int) -> None:
                segment, base = fetched(number, sealed), number * payload
                opened = plain[: self._plaintext_bytes - base]
                if not self._open_into(opened, segment, number):
                    raise self._refusal(number, segment)
                _check_zeros(opened[max(self._starts[-1] - base, 0) :])
                content, at = opened[max(begin - base, 0) : max(stop - base, 0)], max(base - self._content_start, start)
                if content:
                    take(at, content)
                if in_order is not None and line.enter(number):
                    in_order(at, content)
                    line.leave()

            return work

        each(numbers, self._workers, make, line)

    def stream(self) -> Iterator[tuple[int, memoryview]]:
        """Yield (member number, verified bytes) over the whole content, at least one pair a member.

        Raises:
            TamperedError(sealing.segment, sealing.final): a segment does not verify.
            TamperedError(sealing.padding): the padding is not zero. What was yielded must be discarded.
        """
        number, base, content_end = 0, 0, self._starts[-1]
        for plain in self._all_segments():
            view, stop = memoryview(plain), base + len(plain)
            while number < len(self.members):
                begin, end = self._starts[number], self._starts[number + 1]
                if begin > stop:
                    break  # it begins in a later segment
                yield number, view[max(begin - base, 0) : end - base]
                if end > stop:
                    break  # it goes on in the next segment
                number += 1
            _check_zeros(view[max(content_end - base, 0) :])
            base = stop

    def _all_segments(self) -> Iterator[bytearray]:
        """Every segment's plaintext in order; a few are opened at once, fetching stays in this thread."""
        if self._workers == 1:
            for number in range(self.segment_count):
                yield self._plain(number)
            return
        waiting: deque[tuple[int, bytes | bytearray | memoryview, Future[bytearray | None]]] = deque()
        with ThreadPoolExecutor(self._workers, thread_name_prefix="opening") as pool:
            try:
                for number in range(self.segment_count):
                    if len(waiting) > self._workers:
                        yield self._verified(*waiting.popleft())
                    segment = self._fetch(number)
                    future = pool.submit(self._open, segment, number)
                    waiting.append((number, segment, future))
                while waiting:
                    yield self._verified(*waiting.popleft())
            finally:
                for _, _, future in waiting:
                    future.cancel()

    def _verified(
        self, number: int, segment: bytes | bytearray | memoryview, future: Future[bytearray | None]
    ) -> bytearray:
        plain = future.result()
        if plain is None:
            raise self._refusal(number, segment)
        return plain

    def _plain(self, number: int) -> bytearray:
        """One segment's plaintext; the last one used is kept. The pair is replaced whole, so threads may read."""
        kept, plain = self._kept
        if kept != number:
            segment = self._fetch(number)
            opened = self._open(segment, number)
            if opened is None:
                raise self._refusal(number, segment)
            plain = opened
            self._kept = (number, plain)
        return plain

    def _open(self, segment: bytes | bytearray | memoryview, number: int) -> bytearray | None:
        """The plaintext of a segment that verifies and has the length which the record implies for it."""
        payload = self._parameters.payload_bytes
        out = bytearray(min(payload, self._plaintext_bytes - number * payload))
        return out if self._open_into(memoryview(out), segment, number) else None

    def _open_into(self, out: memoryview, segment: bytes | bytearray | memoryview, number: int) -> bool:
        if len(segment) != len(out) + OVERHEAD_BYTES:
            return False
        return self._floe.open_into(out, segment, number, number == self.segment_count - 1)

    def _pieces(self, start: int, end: int) -> Iterator[memoryview]:
        """Plaintext bytes [start, end)."""
        payload = self._parameters.payload_bytes
        while start < end:
            number, offset = divmod(start, payload)
            piece = memoryview(self._plain(number))[offset : offset + end - start]
            yield piece
            start += len(piece)

    def _read_index(self, announced_bytes: int | None) -> Index:
        if self._plaintext_bytes < PROLOGUE_BYTES:
            raise _length("it is too short to hold anything")
        prologue = b"".join(self._pieces(0, PROLOGUE_BYTES))
        content_bytes, index_bytes = int.from_bytes(prologue[:8], "big"), int.from_bytes(prologue[8:], "big")
        true_bytes = PROLOGUE_BYTES + index_bytes + content_bytes
        if index_bytes > MAX_INDEX_BYTES or true_bytes > self._plaintext_bytes:
            raise _length("its content does not fit into it")
        # An on-chain body is never over its limit here: _count let only the four lengths pass.
        if padded_length(self.header.padding, true_bytes) != self._plaintext_bytes:
            raise _length("it is not the length that its padding mode gives")
        index = Index.decode(b"".join(self._pieces(PROLOGUE_BYTES, PROLOGUE_BYTES + index_bytes)))
        if index.content_length_bytes != content_bytes:
            raise TamperedError("sealing.index", "the index and the content differ in length", actor="provider")
        if announced_bytes is not None and announced_bytes != content_bytes:
            raise _length("the key package announced another length of content")
        self._content_start = PROLOGUE_BYTES + index_bytes
        return index

    def _member_starts(self) -> list[int]:
        """Where each member begins in the plaintext, and where the content ends."""
        starts = [self._content_start]
        for member in self.index.members:
            starts.append(starts[-1] + member.size_bytes)
        return starts

    def _refusal(self, number: int, segment: bytes | bytearray | memoryview) -> TamperedError:
        message = f"segment {number} of {self.segment_count} does not verify"
        if self._leaf_digest is None:
            hint, actor = "get the body again; if it fails again, the provider sealed it wrongly", "you"
        elif hashlib.sha256(segment).digest() != self._leaf_digest(number):
            hint, actor = "the copy at hand is damaged; get the body again", "you"
        else:
            hint, actor = "the body is the listed one, so the provider sealed it wrongly", "provider"
        if number == self.segment_count - 1:
            return TamperedError("sealing.final", message, hint=hint, actor=actor)
        return TamperedError("sealing.segment", message, hint=hint, actor=actor)


def _count(body_length_bytes: int, padding: Padding, parameters: FloeParameters) -> int:
    """Segments of a body of this length, whose last segment is never empty (S26)."""
    count = -(-body_length_bytes // parameters.segment_bytes)
    last_bytes = body_length_bytes - (count - 1) * parameters.segment_bytes
    if body_length_bytes <= 0 or last_bytes <= OVERHEAD_BYTES:
        raise _length("no sealed body has it")
    if count > MAX_SEGMENTS:
        raise _length(f"it has more than {MAX_SEGMENTS} segments")
    if padding is Padding.ON_CHAIN and body_length_bytes not in ON_CHAIN_BODY_BYTES:
        raise _length("it is none of the lengths of an on-chain body")
    return count


def _check_zeros(padding: memoryview) -> None:
    if padding.tobytes().strip(b"\0"):
        raise TamperedError("sealing.padding", "the padding of the sealed file is not zero", actor="provider")


def _length(why: str) -> TamperedError:
    return TamperedError("sealing.length", f"the length of the sealed body is wrong: {why}", actor="provider")
