"""CARv1 with one root, strict.

Implements spec/sealed-file.md §7.4 (rules S47, S48).
Promises: one header form only; every block that `read_car` hands out has its CID's hash; a section's length is bounded
before it is read.
Does not promise: which blocks come, in which order, or that the root's block is among them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from asset_bridge.errors import InputError, TamperedError
from asset_bridge.ipld.cid import CID_BYTES, Cid, verify_block
from asset_bridge.ipld.dagpb import encode_varint

MAX_BLOCK_BYTES = 2 * 1024 * 1024  # what kubo and the gateways accept for one block
_ACTOR = "light node"
_HEADER_START = b"\xa2\x65roots\x81\xd8\x2a\x58\x25\x00"
_HEADER_END = b"\x67version\x01"
_HEADER_BYTES = len(_HEADER_START) + CID_BYTES + len(_HEADER_END)


def car_header(root: Cid) -> bytes:
    """The first section: length, then dag-cbor {roots: [root], version: 1}."""
    return encode_varint(_HEADER_BYTES) + _HEADER_START + root.to_bytes() + _HEADER_END


def car_block(cid: Cid, block: bytes | bytearray | memoryview) -> bytes:
    """A block's section: length, CID, bytes."""
    return car_section_head(cid, len(block)) + bytes(block)


def car_section_head(cid: Cid, size_bytes: int) -> bytes:
    """What stands before a block's bytes: length, CID."""
    if size_bytes > MAX_BLOCK_BYTES:
        raise InputError("ipld.car", f"a block of {size_bytes} bytes is over the limit of {MAX_BLOCK_BYTES}")
    return encode_varint(CID_BYTES + size_bytes) + cid.to_bytes()


def read_car(read: Callable[[int], bytes]) -> tuple[Cid, Iterator[tuple[Cid, bytes]]]:
    """Read an archive from a stream; `read(n)` returns n bytes, fewer only at the end.

    Raises:
        TamperedError(ipld.car): the archive is malformed or cut off; also while iterating.
        TamperedError(ipld.block): while iterating, a block does not have its CID's hash.
    """
    length = _read_length(read)
    if length != _HEADER_BYTES:
        raise malformed("its header is not a CARv1 header with one root", _ACTOR)
    header = exactly(read, length, _ACTOR)
    root = _cid(header[len(_HEADER_START) : len(_HEADER_START) + CID_BYTES])
    if encode_varint(length) + header != car_header(root):
        raise malformed("its header is not a CARv1 header with one root", _ACTOR)
    return root, _blocks(read)


def _blocks(read: Callable[[int], bytes]) -> Iterator[tuple[Cid, bytes]]:
    while (length := _read_length(read)) is not None:
        if not CID_BYTES <= length <= CID_BYTES + MAX_BLOCK_BYTES:
            raise malformed("a section's length is out of bounds", _ACTOR)
        section = exactly(read, length, _ACTOR)
        cid, block = _cid(section[:CID_BYTES]), section[CID_BYTES:]
        verify_block(cid, block)
        yield cid, block


def _read_length(read: Callable[[int], bytes]) -> int | None:
    """A section's length in shortest form, or None at the end of the archive."""
    encoded = b""
    while not encoded or encoded[-1] >= 0x80:
        byte = read(1)
        if not byte and not encoded:
            return None
        encoded += byte
        if not byte or len(encoded) > 4:
            raise malformed("a section's length has no end", _ACTOR)
    value = sum((byte & 0x7F) << 7 * place for place, byte in enumerate(encoded))
    if encode_varint(value) != encoded:
        raise malformed("a section's length is not in shortest form", _ACTOR)
    return value


def exactly(read: Callable[[int], bytes], length: int, actor: str) -> bytes:
    """`length` bytes of a stream. Raises TamperedError(ipld.car), which names `actor`: the stream ends before them."""
    parts = []
    while length:
        part = read(length)
        if not part:
            raise malformed("it ends in the middle of a section", actor)
        parts.append(part)
        length -= len(part)
    return b"".join(parts)


def malformed(why: str, actor: str) -> TamperedError:
    """An archive that cannot be read, and who made it."""
    return TamperedError("ipld.car", f"the block archive is malformed: {why}", actor=actor)


def _cid(encoded: bytes) -> Cid:
    try:
        return Cid.from_bytes(encoded)
    except InputError as error:
        raise malformed(error.message, _ACTOR) from None
