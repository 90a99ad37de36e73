"""Archives of any DAG (any_car.py): versions 1 and 2, bounds, and every way to be cut."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable

import pytest

from asset_bridge.errors import BridgeError, InputError, TamperedError
from asset_bridge.ipld.any_car import (
    MAX_CID_BYTES,
    MAX_HEADER_BYTES,
    archive_header,
    read_archive,
    roots_of,
    section,
    section_name,
)
from asset_bridge.ipld.car import MAX_BLOCK_BYTES
from asset_bridge.ipld.content_id import ContentId
from tests.conformance.gateway.dags import varint

PRAGMA = bytes.fromhex("0aa16776657273696f6e02")


def named(block: bytes) -> ContentId:
    return ContentId(1, 0x55, 0x12, hashlib.sha256(block).digest())


A, B = named(b"a"), named(b"bb")
OLD = ContentId(0, 0x70, 0x12, hashlib.sha256(b"old").digest())
INLINE = ContentId(1, 0x55, 0x00, b"inner")
ROOTS = (A, OLD, INLINE)
CAR = archive_header(ROOTS) + section(A, b"a") + section(OLD, b"old") + section(B, b"bb")


def read(data: bytes, most: int = 1 << 30) -> tuple[tuple[ContentId, ...], list[tuple[ContentId, bytes]]]:
    stream = io.BytesIO(data)
    roots, blocks = read_archive(lambda count: stream.read(min(count, most)))
    return roots, list(blocks)


def code(call: Callable[[], object]) -> str:
    with pytest.raises(BridgeError) as caught:
        call()
    return caught.value.code


def second(car: bytes, offset: int = 51, size: int | None = None) -> bytes:
    size = len(car) if size is None else size
    fixed = b"\xff" * 16 + offset.to_bytes(8, "little") + size.to_bytes(8, "little") + b"\xff" * 8
    return PRAGMA + fixed + bytes(max(0, offset - 51)) + car


@pytest.mark.parametrize("most", [1, 7, 1 << 30])
def test_what_was_written_is_read(most: int) -> None:
    wanted = (ROOTS, [(A, b"a"), (OLD, b"old"), (B, b"bb")])
    assert read(CAR, most) == wanted
    assert read(second(CAR), most) == wanted
    assert read(second(CAR, 70_000) + b"an index", most) == wanted
    assert read(archive_header(()) + b"\0after the padding", most) == ((), [])


def test_the_header_is_canonical_cbor() -> None:
    root = b"\0" + A.to_bytes()
    body = b"\xa2\x65roots\x81\xd8\x2a\x58\x25" + root + b"\x67version\x01"
    assert archive_header([A]) == varint(len(body)) + body
    assert b"\xd8\x2a\x4a\0" + INLINE.to_bytes() in archive_header([INLINE])
    for size in (18, 19):  # the name of a link of 23 bytes is the last with a short head
        inline = ContentId(1, 0x55, 0, bytes(size))
        assert roots_of(archive_header([inline])[1:]) == (inline,)
        head = b"\x57" if size == 18 else b"\x58\x18"
        assert b"\xd8\x2a" + head in archive_header([inline])
    assert len(read(archive_header([A] * 23))[0]) == 23
    with pytest.raises(InputError) as caught:
        archive_header([A] * 24)
    assert caught.value.code == "ipld.car"


def test_a_cut_archive_is_refused_or_ends_between_sections() -> None:
    ends = {
        len(archive_header(ROOTS) + more) for more in (b"", section(A, b"a"), section(A, b"a") + section(OLD, b"old"))
    }
    for at in range(len(CAR)):
        if at in ends:
            read(CAR[:at])
        else:
            assert code(lambda at=at: read(CAR[:at])) == "ipld.car", at
    outer = second(CAR, 60)
    for at in range(60 + len(archive_header(ROOTS))):
        assert code(lambda at=at: read(outer[:at])) == "ipld.car", at


def test_a_second_header_is_checked() -> None:
    for offset in (0, 50):
        with pytest.raises(TamperedError, match="impossible place"):
            read(second(CAR, offset))
    far = second(CAR).replace((51).to_bytes(8, "little"), (1 << 63).to_bytes(8, "little"))
    with pytest.raises(TamperedError, match="ends before its blocks"):
        read(far)
    assert read(second(CAR, size=1 << 63)) == read(CAR)
    assert read(second(CAR, size=len(CAR) - len(section(B, b"bb"))))[1] == [(A, b"a"), (OLD, b"old")]
    assert code(lambda: read(second(CAR, size=len(CAR) - 1))) == "ipld.car"
    assert code(lambda: read(second(second(CAR)))) == "ipld.car"
    nested = CAR
    for _ in range(3000):  # each one in the next, which once ended in the interpreter's limit
        nested = second(b"", size=1 << 40) + nested
    assert code(lambda: read(nested)) == "ipld.car"


@pytest.mark.parametrize(
    "header",
    [
        b"\x05",
        b"\xa1\x67version\x01",
        b"\xa2\x65roots\x80\x67version\x02",
        b"\xa2\x65roots\x05\x67version\x01",
        b"\xa2\x65roots\x81\x05\x67version\x01",
        b"\xa2\x65roots\x80",
        b"",
    ],
)
def test_what_is_no_header(header: bytes) -> None:
    assert code(lambda: read(varint(len(header)) + header)) == "ipld.car"
    assert code(lambda: roots_of(header)) == "ipld.car"


def test_lengths_are_bounded_before_anything_is_read() -> None:
    def endless(start: bytes) -> Callable[[int], bytes]:
        stream, asked = io.BytesIO(start), [0]

        def reader(count: int) -> bytes:
            asked[0] += count
            assert asked[0] < MAX_BLOCK_BYTES + 2 * MAX_HEADER_BYTES
            return stream.read(count) or bytes(count)

        return reader

    for start in (varint(MAX_HEADER_BYTES + 1), b""):
        with pytest.raises(TamperedError, match="no header"):
            read_archive(endless(start) if start else io.BytesIO(start).read)
    body = archive_header(())[1:]
    assert read_archive(io.BytesIO(varint(len(body)) + body).read)[0] == ()
    padded = b"\xa3\x65roots\x80\x67version\x01\x61x\x5a"
    fill = MAX_HEADER_BYTES - len(padded) - 4
    exactly = varint(MAX_HEADER_BYTES) + padded + fill.to_bytes(4, "big") + bytes(fill)
    assert read(exactly) == ((), [])
    too_long = archive_header(()) + varint(MAX_BLOCK_BYTES + MAX_CID_BYTES + 1)
    with pytest.raises(TamperedError, match="larger than"):
        list(read_archive(endless(too_long))[1])
    block = bytes(MAX_BLOCK_BYTES + MAX_CID_BYTES - len(A.to_bytes()))
    assert read(archive_header(()) + section(named(block), block))[1] == [(named(block), block)]
    assert code(lambda: read(b"\x80" * 9 + b"\x01")) == "ipld.car"
    assert code(lambda: read(archive_header(()) + b"\x80" * 8)) == "ipld.car"


def test_the_longest_section_whose_length_is_one_byte() -> None:
    block = bytes(127 - len(A.to_bytes()))
    assert read(archive_header(()) + section(named(block), block))[1] == [(named(block), block)]


def test_a_length_of_nine_bytes_is_the_longest_that_is_read() -> None:
    body = archive_header(())[1:]
    spelled = bytes((len(body) | 0x80,)) + b"\x80" * 7 + b"\0"
    assert read(spelled + body) == ((), [])
    assert code(lambda: read(spelled[:-1] + b"\x80\0" + body)) == "ipld.car"


def test_a_block_is_what_its_id_names() -> None:
    assert code(lambda: read(archive_header(()) + section(A, b"b"))) == "ipld.block"
    assert code(lambda: read(archive_header(()) + varint(3) + b"abc")) == "ipld.car"
    assert section_name(A.to_bytes() + b"rest") == (A, len(A.to_bytes()))
    with pytest.raises(TamperedError) as caught:
        section_name(b"abc")
    assert (caught.value.code, caught.value.actor) == ("ipld.car", "provider")
