"""The bytes of a UnixFS file node: dag-pb around the UnixFS message, in the one form that kubo writes.

Implements spec/sealed-file.md §7.2 (rules S43, S44).
Promises: `parse_file_node` accepts exactly what `encode_file_node` writes (it re-encodes and compares), and looks at
no block longer than MAX_NODE_BYTES.
Does not promise: directories, shards, links with names, inline data. A sealed body has none of them.
"""

from __future__ import annotations

from dataclasses import dataclass

from asset_bridge.errors import BridgeError, InputError, TamperedError
from asset_bridge.ipld.cid import CID_BYTES, Cid

LINKS_PER_NODE = 1024  # unixfs-v1-2025 (IPIP-0499)
MAX_NODE_BYTES = 128 * 1024  # 1,024 links of at most 64 bytes and as many sizes of at most 11 fit
_MAX_UINT64 = 2**64 - 1


@dataclass(frozen=True, slots=True)
class FileLink:
    """One child: its CID, the bytes of file under it, and the bytes of all its blocks (Tsize)."""

    cid: Cid
    span_bytes: int
    tsize_bytes: int


@dataclass(frozen=True, slots=True)
class FileNode:
    """An interior node of a file."""

    links: tuple[FileLink, ...]

    @property
    def length_bytes(self) -> int:
        """Bytes of file under this node."""
        return sum(link.span_bytes for link in self.links)


def encode_varint(value: int) -> bytes:
    """Unsigned LEB128, shortest form."""
    if not 0 <= value <= _MAX_UINT64:
        raise InputError("ipld.size", "a size does not fit 64 bits")
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _read_varint(block: bytes, at: int) -> tuple[int, int]:
    """The value at `at` and the place behind it. Longer forms fall to the comparison in the caller."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(block):
            break
        byte = block[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise _malformed("a number has no end")


def encode_file_node(links: tuple[FileLink, ...]) -> bytes:
    """The block of an interior node: links first, then the UnixFS message (type file, size, one size a link)."""
    if not 1 <= len(links) <= LINKS_PER_NODE:
        raise InputError("ipld.links", f"a file node has 1 to {LINKS_PER_NODE} links")
    out = bytearray()
    for link in links:
        body = b"\x0a\x24" + link.cid.to_bytes() + b"\x12\x00\x18" + encode_varint(link.tsize_bytes)
        out += b"\x12" + encode_varint(len(body)) + body
    data = bytearray(b"\x08\x02\x18" + encode_varint(sum(link.span_bytes for link in links)))
    for link in links:
        data += b"\x20" + encode_varint(link.span_bytes)
    return bytes(out + b"\x0a" + encode_varint(len(data)) + data)


def parse_file_node(block: bytes) -> FileNode:
    """Read an interior node of a file.

    Raises:
        TamperedError(ipld.node): not the canonical block of a file node.
    """
    block = bytes(block)
    if len(block) > MAX_NODE_BYTES:
        raise _malformed("it is too long")
    try:
        links = _scan(block)
        if encode_file_node(links) != block:
            raise _malformed("it is not in its canonical form")
    except InputError as error:
        raise _malformed(error.message) from None
    return FileNode(links)


def _scan(block: bytes) -> tuple[FileLink, ...]:
    """Pick out the fields; what this leaves unchecked the comparison with the re-encoding catches."""
    found: list[tuple[Cid, int]] = []
    at = 0
    while block[at : at + 1] == b"\x12":
        length, start = _read_varint(block, at + 1)
        at = start + length
        tsize, end = _read_varint(block, start + CID_BYTES + 5)
        if end != at or len(found) == LINKS_PER_NODE:
            raise _malformed("a link has the wrong length, or there are too many")
        found.append((Cid.from_bytes(block[start + 2 : start + 2 + CID_BYTES]), tsize))
    length, start = _read_varint(block, at + 1)
    if start + length != len(block):
        raise _malformed("bytes are missing or left over")
    _, at = _read_varint(block, start + 3)
    links = []
    for cid, tsize in found:
        span, at = _read_varint(block, at + 1)
        links.append(FileLink(cid, span, tsize))
    return tuple(links)


def _malformed(why: str) -> BridgeError:
    return TamperedError("ipld.node", f"a block is no file node of this profile: {why}", actor="storage node")
