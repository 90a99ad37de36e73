"""A file as IPFS blocks under the profile unixfs-v1-2025: raw leaves of 1 MiB, balanced, 1,024 links a node.

Implements spec/sealed-file.md §7 (rules S42 to S46).
Promises: the root equals what kubo prints for `ipfs add` under that profile; `FileDagBuilder` needs only each leaf's
digest and size, so hashing happens once, where the bytes are; `read_dag` accepts one tree for a length, the profile's.
Does not promise: to hold leaves; they are the caller's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from asset_bridge.errors import InputError, TamperedError
from asset_bridge.ipld.cid import DAG_PB, DIGEST_BYTES, RAW, Cid, verify_block
from asset_bridge.ipld.dagpb import (
    LINKS_PER_NODE,
    FileLink,
    FileNode,
    encode_file_node,
    parse_file_node,
)

LEAF_BYTES = 1_048_576
__all__ = [
    "LEAF_BYTES",
    "LINKS_PER_NODE",
    "FileDag",
    "FileDagBuilder",
    "FileLink",
    "FileNode",
    "body_cid",
    "file_dag",
    "leaf_count",
    "parse_file_node",
    "read_dag",
]


def leaf_count(length_bytes: int, leaf_bytes: int = LEAF_BYTES) -> int:
    """Blocks of a file of this length; an empty file has one, empty."""
    return max(1, -(-length_bytes // leaf_bytes))


def body_cid(digest: bytes, length_bytes: int) -> Cid:
    """The CID of a file known by digest and length: raw up to one leaf, else the dag-pb root (S45)."""
    return Cid(RAW if length_bytes <= LEAF_BYTES else DAG_PB, digest)


@dataclass(frozen=True, slots=True)
class FileDag:
    """A file's tree without its leaves' bytes. `interior` is empty for a file of one block, whose root is that leaf."""

    root: Cid
    length_bytes: int
    leaves: tuple[Cid, ...]
    interior: dict[Cid, bytes]
    leaf_bytes: int = LEAF_BYTES

    def leaf_size(self, number: int) -> int:
        """Bytes of leaf `number`."""
        if not 0 <= number < len(self.leaves):
            raise InputError("ipld.leaf", f"the file has {len(self.leaves)} blocks; there is no block {number}")
        return min(self.leaf_bytes, self.length_bytes - number * self.leaf_bytes)


class FileDagBuilder:
    """Build the tree from leaf digests, in order. Memory: 32 bytes a leaf and the interior blocks."""

    def __init__(self, leaf_bytes: int = LEAF_BYTES, links_per_node: int = LINKS_PER_NODE) -> None:
        self._leaf_bytes = leaf_bytes
        self._links_per_node = links_per_node
        self._leaves: list[Cid] = []
        self._length_bytes = 0
        self._ended = False

    def add(self, leaf_digest: bytes, size_bytes: int) -> None:
        """Append a leaf. Every leaf but the last has the full size; only the sole leaf of an empty file has none.

        Raises:
            InputError(ipld.leaf): a short leaf came earlier, or this one has an impossible size.
            InputError(ipld.cid): the digest has not 32 bytes.
        """
        if self._ended or not 0 <= size_bytes <= self._leaf_bytes or (size_bytes == 0 and self._leaves):
            raise InputError("ipld.leaf", f"block {len(self._leaves)} of a file cannot have {size_bytes} bytes here")
        if len(leaf_digest) != DIGEST_BYTES:
            raise InputError("ipld.cid", "a leaf's digest has 32 bytes")
        self._leaves.append(Cid(RAW, bytes(leaf_digest)))
        self._length_bytes += size_bytes
        self._ended = size_bytes < self._leaf_bytes

    def finish(self) -> FileDag:
        """The finished tree.

        Raises:
            InputError(ipld.leaf): no leaf was added.
        """
        if not self._leaves:
            raise InputError("ipld.leaf", "a file has at least one block, though it may be empty")
        interior: dict[Cid, bytes] = {}
        last = len(self._leaves) - 1
        last_bytes = self._length_bytes - last * self._leaf_bytes
        level = [
            FileLink(cid, size, size)
            for cid, size in (
                (leaf, self._leaf_bytes if number < last else last_bytes) for number, leaf in enumerate(self._leaves)
            )
        ]
        while len(level) > 1:
            level = [
                _parent(tuple(level[at : at + self._links_per_node]), interior)
                for at in range(0, len(level), self._links_per_node)
            ]
        return FileDag(level[0].cid, self._length_bytes, tuple(self._leaves), interior, self._leaf_bytes)


def _parent(links: tuple[FileLink, ...], interior: dict[Cid, bytes]) -> FileLink:
    block = encode_file_node(links)
    cid = Cid(DAG_PB, hashlib.sha256(block).digest())
    interior[cid] = block
    return FileLink(cid, sum(link.span_bytes for link in links), len(block) + sum(link.tsize_bytes for link in links))


def file_dag(data: bytes) -> FileDag:
    """The tree of a file at hand; for documents, which are small."""
    builder = FileDagBuilder()
    view = memoryview(data)
    for at in range(0, max(1, len(view)), LEAF_BYTES):
        leaf = view[at : at + LEAF_BYTES]
        builder.add(hashlib.sha256(leaf).digest(), len(leaf))
    return builder.finish()


def read_dag(
    root: Cid,
    length_bytes: int,
    get_block: Callable[[Cid], bytes],
    *,
    leaf_bytes: int = LEAF_BYTES,
    links_per_node: int = LINKS_PER_NODE,
) -> FileDag:
    """Fetch and verify the interior blocks below `root`; leaves are never asked for.

    Args:
        get_block: returns the bytes someone claims for a CID; they are checked here.
    Raises:
        TamperedError(ipld.block): a block does not have its CID's hash.
        TamperedError(ipld.node): a block is no canonical file node.
        TamperedError(ipld.shape): the tree is not the profile's tree for this length.
    """
    spans = [leaf_bytes]
    while spans[-1] < length_bytes:
        spans.append(spans[-1] * links_per_node)
    interior: dict[Cid, bytes] = {}
    level = [FileLink(root, length_bytes, 0)]
    for span in reversed(spans[:-1]):
        below: list[FileLink] = []
        for parent in level:
            if parent.cid.codec != DAG_PB:
                raise _misshapen()
            block = bytes(get_block(parent.cid))
            verify_block(parent.cid, block)
            node = parse_file_node(block)
            _check_spans(node, parent.span_bytes, span)
            interior[parent.cid] = block
            below.extend(node.links)
        level = below
    if any(link.cid.codec != RAW for link in level):
        raise _misshapen()
    dag = FileDag(root, length_bytes, tuple(link.cid for link in level), interior, leaf_bytes)
    if len(spans) > 1:
        # Tsize is the one field the walk has not looked at; rebuilding settles it and the rest again.
        builder = FileDagBuilder(leaf_bytes, links_per_node)
        for number, leaf in enumerate(dag.leaves):
            builder.add(leaf.digest, dag.leaf_size(number))
        if builder.finish().root != root:
            raise _misshapen()
    return dag


def _check_spans(node: FileNode, length_bytes: int, span: int) -> None:
    """Every child full but the last, and together exactly what the parent claimed."""
    full, rest = divmod(length_bytes, span)
    expected = [span] * full + ([rest] if rest else [])
    if [link.span_bytes for link in node.links] != expected:
        raise _misshapen()


def _misshapen() -> TamperedError:
    return TamperedError(
        "ipld.shape",
        "the file's tree is not the one that the profile unixfs-v1-2025 gives for its length",
        actor="provider",
    )
