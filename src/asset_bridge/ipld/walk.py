"""Paths and scopes over any DAG: which blocks a trustless gateway answers with, in depth-first order.

Source: IPFS trustless gateway specification (dag-scope, entity-bytes), UnixFS and IPLD path resolution.
Promises: only blocks that the answer needs are asked for; the path's blocks come first. Depth-first; each block as often as the walk meets
it, MOST_BLOCKS over all; or, with `sent`, once, and then what is below it is not walked again either: the work is that of the blocks and
not of the paths to them. Identity ids are followed and never yielded. Does not promise: to follow symbolic links; a reader does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

from asset_bridge.errors import InputError, RefusedError
from asset_bridge.ipld.cid import DAG_PB
from asset_bridge.ipld.content_id import DAG_CBOR, DAG_JSON, ContentId
from asset_bridge.ipld.dagcbor import decode_dag_cbor, decode_dag_json, links_in
from asset_bridge.ipld.murmur import murmur3_x64_64
from asset_bridge.ipld.unixfs_node import DIRECTORY, FILE, RAW_NODE, SHARD, NamedLink, PbNode, read_pb_node

GetBlock = Callable[[ContentId], bytes]
MOST_SEGMENTS = 256
MOST_DIGITS = 20
MOST_BLOCKS = 1 << 25
"""Twice the blocks of the longest body. A DAG whose nodes name a child twice has 2^n paths at n levels; so many are walked, no more."""
_WITH_LINKS = (DAG_PB, DAG_CBOR, DAG_JSON)
ALL, ENTITY, BLOCK = "all", "entity", "block"


@dataclass(frozen=True, slots=True)
class ByteRange:
    """entity-bytes: `start` may count from the end; `end` is inclusive, None for the last byte, and may count from the end."""

    start: int
    end: int | None

    @classmethod
    def parse(cls, text: str) -> ByteRange:
        """`from:to`. Raises InputError(ipfs.format)."""
        first, colon, last = text.partition(":")
        if not colon:
            raise _bad_range()
        start, end = _place(first), None if last == "*" else _place(last)
        if end is not None and 0 <= end < start:
            raise _bad_range()
        return cls(start, end)

    def within(self, length: int) -> tuple[int, int]:
        """First byte and the byte after the last, of an entity of `length` bytes; empty ranges are (0, 0)."""
        start = max(0, length + self.start) if self.start < 0 else self.start
        last = -1 if self.end is None else self.end
        after = min((length + last if last < 0 else last) + 1, length)
        return (start, after) if start < after else (0, 0)


@dataclass(frozen=True, slots=True)
class Resolved:
    """Where a path ends. `passed` are the blocks before the terminal one, `roots` the ids at each segment's start and at the end."""

    passed: tuple[ContentId, ...]
    roots: tuple[ContentId, ...]
    cid: ContentId
    inside: tuple[str, ...]
    """Segments that stay inside the terminal block (a DAG-CBOR or DAG-JSON document)."""


def resolve(get: GetBlock, root: ContentId, segments: list[str]) -> Resolved:
    """Follow a path.

    Raises:
        InputError(ipfs.path): nothing there. What `get` raises: a block on the way is missing or damaged.
    """
    if len(segments) > MOST_SEGMENTS:
        raise InputError("ipfs.path", f"A path has at most {MOST_SEGMENTS} segments.")
    passed: list[ContentId] = []
    roots = [root]
    cid, left = root, list(segments)
    while left:
        if cid.codec == DAG_PB:
            found = _child(get, cid, left.pop(0), passed)
        elif cid.codec in (DAG_CBOR, DAG_JSON):
            value, inside = _document(cid, get(cid)), list[str]()
            while left and not isinstance(value, ContentId):
                inside.append(left[0])
                value = _member(value, left.pop(0))
            if not isinstance(value, ContentId):
                return Resolved(tuple(passed), tuple(roots), cid, tuple(inside))
            passed.append(cid)
            found = value
        else:
            raise _no_path()
        cid = found
        roots.append(cid)
    return Resolved(tuple(passed), tuple(roots), cid, ())


class _Visits:
    """What the walk has met: of a DAG of n blocks with `sent`, n steps and a little; without, at most MOST_BLOCKS."""

    def __init__(self, sent: AbstractSet[bytes] | None) -> None:
        self._sent = sent
        self._below: set[tuple[bytes, int, int, int]] = set()
        self._count = 0

    def enter(self, cid: ContentId, start: int = 0, after: int = 0) -> bool:
        """Whether to walk this block, of which (a file's) the bytes from `start` up to `after` are wanted."""
        self._count += 1
        if self._count > MOST_BLOCKS:
            raise RefusedError(
                "ipfs.repeats", f"This DAG has more than {MOST_BLOCKS} blocks, counted as often as it names them."
            )
        if self._sent is None:
            return True
        if cid.codec not in _WITH_LINKS:
            return cid.digest not in self._sent
        place = (cid.digest, cid.codec, start, after)
        if place in self._below:
            return False
        self._below.add(place)
        return True


def walk(
    get: GetBlock,
    cid: ContentId,
    scope: str,
    wanted: ByteRange | None = None,
    *,
    sent: AbstractSet[bytes] | None = None,
) -> Iterator[tuple[ContentId, bytes]]:
    """The terminal element's blocks for a scope.

    Args:
        sent: digests of the blocks that the caller took so far, where none is wanted twice: what is below a block is then walked once. A
            block of a file may still come again where other bytes below it are wanted.
    Raises:
        What `get` raises, when the walk comes to that block. RefusedError(ipfs.repeats): MOST_BLOCKS were walked.
    """
    block, visits = get(cid), _Visits(sent)
    if scope in (ALL, BLOCK) or cid.codec != DAG_PB:
        yield from _emit(cid, block)
        if scope == ALL:
            yield from _all_below(get, cid, block, visits)
        return
    node = read_pb_node(block)
    yield from _emit(cid, block)
    if node.unixfs is None:
        return
    if node.unixfs.kind == SHARD:
        yield from _shards(get, node, visits)
    elif node.unixfs.kind in (FILE, RAW_NODE):
        length = node.unixfs.length_bytes
        start, after = (0, length) if wanted is None else wanted.within(length)
        yield from _file(get, node, start, after, visits)


def _emit(cid: ContentId, block: bytes) -> Iterator[tuple[ContentId, bytes]]:
    if cid.inline is None:
        yield cid, block


def _all_below(get: GetBlock, cid: ContentId, block: bytes, visits: _Visits) -> Iterator[tuple[ContentId, bytes]]:
    todo = [iter(links_of(cid, block))]
    while todo:
        child = next(todo[-1], None)
        if child is None:
            todo.pop()
            continue
        if not visits.enter(child):
            continue
        inner = get(child)
        yield from _emit(child, inner)
        todo.append(iter(links_of(child, inner)))


def links_of(cid: ContentId, block: bytes) -> list[ContentId]:
    """The ids that a block names, in its order; none for codecs without links. Raises TamperedError(ipld.node | ipld.data)."""
    if cid.codec == DAG_PB:
        return [link.cid for link in read_pb_node(block).links]
    if cid.codec in (DAG_CBOR, DAG_JSON):
        return list(links_in(_document(cid, block)))
    return []


def _shards(get: GetBlock, root: PbNode, visits: _Visits) -> Iterator[tuple[ContentId, bytes]]:
    """Every node of a sharded directory below its root, none of its members."""
    todo = [iter(_sub_shards(root))]
    while todo:
        link = next(todo[-1], None)
        if link is None:
            todo.pop()
            continue
        if not visits.enter(link.cid):
            continue
        block = get(link.cid)
        yield from _emit(link.cid, block)
        todo.append(iter(_sub_shards(read_pb_node(block))))


def _sub_shards(node: PbNode) -> list[NamedLink]:
    width = _width(node)
    return [link for link in node.links if len(link.name) == width and link.cid.codec == DAG_PB]


def _file(get: GetBlock, root: PbNode, start: int, after: int, visits: _Visits) -> Iterator[tuple[ContentId, bytes]]:
    """The blocks below a file's root that hold bytes from `start` up to `after`; of an empty range none."""
    todo = [iter(_needed(root, 0, start, after))]
    while todo:
        one = next(todo[-1], None)
        if one is None:
            todo.pop()
            continue
        cid, at, span = one
        if not visits.enter(cid, max(0, start - at), min(span, after - at)):
            continue
        block = get(cid)
        yield from _emit(cid, block)
        if cid.codec == DAG_PB:
            todo.append(iter(_needed(read_pb_node(block), at, start, after)))


def _needed(node: PbNode, at: int, start: int, after: int) -> list[tuple[ContentId, int, int]]:
    """Each child that holds some of these bytes, with its place and its length."""
    if node.unixfs is None:
        return []
    at += node.unixfs.inline_bytes
    found = []
    spans = node.unixfs.spans if len(node.unixfs.spans) == len(node.links) else (after,) * len(node.links)
    for link, span in zip(node.links, spans, strict=True):
        if at < after and at + span > start:
            found.append((link.cid, at, span))
        at += span
    return found


def _child(get: GetBlock, cid: ContentId, name: str, passed: list[ContentId]) -> ContentId:
    """The member `name` of a directory; the blocks that lead to it are noted."""
    node = read_pb_node(get(cid))
    passed.append(cid)
    if node.unixfs is not None and node.unixfs.kind == SHARD:
        return _in_shard(get, node, name, passed)
    if node.unixfs is not None and node.unixfs.kind != DIRECTORY:
        raise _no_path()
    found = next((link.cid for link in node.links if link.name == name), None)
    if found is None:
        raise _no_path()
    return found


def _in_shard(get: GetBlock, node: PbNode, name: str, passed: list[ContentId]) -> ContentId:
    bits = murmur3_x64_64(name.encode("utf-8", "surrogateescape"))
    number, left = int.from_bytes(bits, "big"), 64
    while node.unixfs is not None and node.unixfs.kind == SHARD:
        width, step = _width(node), (node.unixfs.fanout or 256).bit_length() - 1
        left -= step
        if left < 0:
            break
        prefix = f"{number >> left & (1 << step) - 1:0{width}X}"
        found = {link.name: link.cid for link in node.links if link.name[:width] == prefix}
        if prefix + name in found:
            return found[prefix + name]
        if prefix not in found:
            break
        passed.append(found[prefix])
        node = read_pb_node(get(found[prefix]))
    raise _no_path()


def _width(node: PbNode) -> int:
    """Hexadecimal digits in front of each name of a shard."""
    fanout = (node.unixfs.fanout if node.unixfs else 0) or 256
    return len(f"{fanout - 1:X}")


def _document(cid: ContentId, block: bytes) -> Any:
    return decode_dag_cbor(block) if cid.codec == DAG_CBOR else decode_dag_json(block)


def _member(value: Any, name: str) -> Any:
    if isinstance(value, dict) and name in value:
        return value[name]
    if isinstance(value, list) and name.isascii() and name.isdigit() and len(name) < 10 and int(name) < len(value):
        return value[int(name)]
    raise _no_path()


def _place(text: str) -> int:
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit()) or len(text) > MOST_DIGITS:
        raise _bad_range()
    return int(text)


def _no_path() -> InputError:
    return InputError("ipfs.path", "There is nothing at this path.", hint="List the folder above it.")


def _bad_range() -> InputError:
    return InputError("ipfs.format", "entity-bytes is not FROM:TO, two integers or FROM:*, in ascending order.")
