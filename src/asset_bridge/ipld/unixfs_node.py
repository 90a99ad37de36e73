"""Any dag-pb block and the UnixFS message inside it, read leniently: what `ipfs add` of any version and profile writes.

Source: DAG-PB and UnixFS specifications. Used by the gateway on blocks whose hash was checked; sealed bodies go through dagpb.py.
Promises: malformed protobuf is refused. Does not promise: that a node is in its canonical form.
"""

from __future__ import annotations

from dataclasses import dataclass

from asset_bridge.errors import InputError, TamperedError
from asset_bridge.ipld.content_id import ContentId

RAW_NODE, DIRECTORY, FILE, METADATA, SYMLINK, SHARD = range(6)


@dataclass(frozen=True, slots=True)
class NamedLink:
    """One child; files' children have no name."""

    cid: ContentId
    name: str


@dataclass(frozen=True, slots=True)
class UnixFs:
    """The message of a UnixFS node. `inline_bytes` counts the content in the node itself; `spans` has one size a child of a file."""

    kind: int
    inline_bytes: int
    length_bytes: int
    spans: tuple[int, ...]
    fanout: int


@dataclass(frozen=True, slots=True)
class PbNode:
    """A dag-pb node; `unixfs` is None where its data is none of UnixFS."""

    links: tuple[NamedLink, ...]
    unixfs: UnixFs | None


def read_pb_node(block: bytes) -> PbNode:
    """Raises TamperedError(ipld.node)."""
    links, data = [], None
    for field, value in _fields(block):
        if field == 2 and isinstance(value, bytes):
            links.append(_link(value))
        elif field == 1 and isinstance(value, bytes):
            data = value
    try:
        unixfs = None if data is None else _unixfs(data)
    except TamperedError:
        unixfs = None
    return PbNode(tuple(links), unixfs)


def _link(encoded: bytes) -> NamedLink:
    cid, name = None, ""
    for field, value in _fields(encoded):
        if field == 1 and isinstance(value, bytes):
            try:
                cid, rest = ContentId.read(value)
            except InputError:
                raise _malformed() from None
            if rest:
                raise _malformed()
        elif field == 2 and isinstance(value, bytes):
            name = value.decode("utf-8", "surrogateescape")
    if cid is None:
        raise _malformed()
    return NamedLink(cid, name)


def _unixfs(data: bytes) -> UnixFs:
    kind, inline, length, fanout, spans = -1, 0, 0, 0, list[int]()
    for field, value in _fields(data):
        if field == 2 and isinstance(value, bytes):
            inline = len(value)
        elif field == 4 and isinstance(value, bytes):  # packed
            at = 0
            while at < len(value):
                span, at = _varint(value, at)
                spans.append(span)
        elif isinstance(value, int):
            if field == 1:
                kind = value
            elif field == 3:
                length = value
            elif field == 4:
                spans.append(value)
            elif field == 6:
                fanout = value
    if not RAW_NODE <= kind <= SHARD:
        raise _malformed()
    return UnixFs(kind, inline, length or inline + sum(spans), tuple(spans), fanout)


def _fields(encoded: bytes) -> list[tuple[int, int | bytes]]:
    found: list[tuple[int, int | bytes]] = []
    at = 0
    while at < len(encoded):
        key, at = _varint(encoded, at)
        wire = key & 7
        if wire == 0:
            value, at = _varint(encoded, at)
            found.append((key >> 3, value))
        elif wire == 2:
            length, at = _varint(encoded, at)
            if at + length > len(encoded):
                raise _malformed()
            found.append((key >> 3, bytes(encoded[at : at + length])))
            at += length
        elif wire in (1, 5):
            at += 8 if wire == 1 else 4
        else:
            raise _malformed()
    return found


def _varint(encoded: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(encoded):
            break
        byte = encoded[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise _malformed()


def _malformed() -> TamperedError:
    return TamperedError("ipld.node", "a block is no dag-pb node", actor="provider")
