"""Archives (CARv1, and the CARv1 inside a CARv2) of any DAG, from a stream.

Source: CAR specifications. Promises: every block that comes out has its id's hash; a section's length is bounded before it is read.
Does not promise: that the archive is complete; an archive may hold a part of a DAG on purpose.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from asset_bridge.errors import InputError, TamperedError
from asset_bridge.ipld.car import MAX_BLOCK_BYTES, exactly, malformed
from asset_bridge.ipld.content_id import ContentId
from asset_bridge.ipld.dagcbor import decode_dag_cbor
from asset_bridge.ipld.dagpb import encode_varint

MAX_HEADER_BYTES = 1 << 20
MAX_CID_BYTES = 256
_ACTOR = "provider"
_V2_PRAGMA = bytes.fromhex("0aa16776657273696f6e02")


def archive_header(roots: Iterable[ContentId]) -> bytes:
    """The first section: length, then dag-cbor {roots, version: 1}."""
    listed = list(roots)
    if len(listed) > 23:
        raise InputError("ipld.car", "an archive with more than 23 roots is not written here")
    body = b"\xa2\x65roots" + bytes((0x80 | len(listed),))
    for root in listed:
        raw = b"\0" + root.to_bytes()
        body += b"\xd8\x2a" + (bytes((0x58, len(raw))) if len(raw) > 23 else bytes((0x40 | len(raw),))) + raw
    body += b"\x67version\x01"
    return encode_varint(len(body)) + body


def section(cid: ContentId, block: bytes) -> bytes:
    """A block's section: length, id, bytes."""
    name = cid.to_bytes()
    return encode_varint(len(name) + len(block)) + name + block


def read_archive(read: Callable[[int], bytes]) -> tuple[tuple[ContentId, ...], Iterator[tuple[ContentId, bytes]]]:
    """Roots and blocks; `read(n)` returns at most n bytes, none only at the end.

    Raises:
        TamperedError(ipld.car): malformed or cut off; also while iterating.
        TamperedError(ipld.block): while iterating, a block does not have its id's hash.
    """
    length = _length(read)
    if length is None or length > MAX_HEADER_BYTES:
        raise malformed("it has no header", _ACTOR)
    header = exactly(read, length, _ACTOR)
    if encode_varint(length) + header == _V2_PRAGMA:
        fixed = exactly(read, 40, _ACTOR)
        offset, size = int.from_bytes(fixed[16:24], "little"), int.from_bytes(fixed[24:32], "little")
        if offset < 51:
            raise malformed("its second header names an impossible place", _ACTOR)
        _skip(read, offset - 51)
        return read_archive(_limited(read, size))
    return roots_of(header), _blocks(read)


def roots_of(header: bytes) -> tuple[ContentId, ...]:
    """The roots that a CARv1 header names. Raises TamperedError(ipld.car)."""
    try:
        value = decode_dag_cbor(header)
    except TamperedError:
        value = None
    if not isinstance(value, dict) or value.get("version") != 1 or not isinstance(value.get("roots"), list):
        raise malformed("its header is not that of a CARv1", _ACTOR)
    if not all(isinstance(root, ContentId) for root in value["roots"]):
        raise malformed("a root is no content id", _ACTOR)
    return tuple(value["roots"])


def section_name(start: bytes) -> tuple[ContentId, int]:
    """The id at the start of a section and its length. Raises TamperedError(ipld.car)."""
    try:
        cid, rest = ContentId.read(start)
    except InputError as error:
        raise malformed(error.message, _ACTOR) from None
    return cid, len(start) - len(rest)


def _blocks(read: Callable[[int], bytes]) -> Iterator[tuple[ContentId, bytes]]:
    while length := _length(read):  # zero is padding, and ends it
        if length > MAX_BLOCK_BYTES + MAX_CID_BYTES:
            raise malformed(f"a block is larger than {MAX_BLOCK_BYTES} bytes", _ACTOR)
        raw = exactly(read, length, _ACTOR)
        cid, name_bytes = section_name(raw)
        block = raw[name_bytes:]
        cid.verify(block)
        yield cid, block


def _length(read: Callable[[int], bytes]) -> int | None:
    value = 0
    for shift in range(0, 63, 7):
        byte = read(1)
        if not byte:
            if shift == 0:
                return None
            break
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return value
    raise malformed("a section's length has no end", _ACTOR)


def _skip(read: Callable[[int], bytes], length: int) -> None:
    while length:
        part = read(min(length, 1 << 16))
        if not part:
            raise malformed("it ends before its blocks", _ACTOR)
        length -= len(part)


def _limited(read: Callable[[int], bytes], size: int) -> Callable[[int], bytes]:
    left = size

    def inner(count: int) -> bytes:
        nonlocal left
        part = read(min(count, left)) if left else b""
        left -= len(part)
        return part

    return inner
