"""The port of everything that keeps bodies: embedded store, in-memory twin, kubo.

Source: design §6, spec/node-http.md §7. A body is a file of known length under the profile unixfs-v1-2025; it is imported block by block,
in any order, and exists for readers once `finish` returned.
Promises of every implementation: a block that does not match its CID is neither stored nor returned; what `finish` acknowledged survives
kill -9 and power loss (the twin: as long as it lives); an import that was cut off goes on where it was.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from asset_bridge.errors import InputError
from asset_bridge.ipld.cid import Cid
from asset_bridge.ipld.unixfs import LEAF_BYTES, FileDag, FileDagBuilder, file_dag

MOST_MISSING_LISTED = 4096
MAX_LENGTH_BYTES = 2**44
"""2^24 segments of 1 MiB (reliability §1, caps)."""


@dataclass(frozen=True, slots=True)
class ImportState:
    """How far an import is. `missing` names at most MOST_MISSING_LISTED blocks, interior ones first; `done_bytes` counts leaves."""

    root: Cid
    length_bytes: int
    complete: bool
    missing: tuple[Cid, ...]
    missing_count: int
    done_bytes: int


@dataclass(frozen=True, slots=True)
class BodyInfo:
    """One body of the inventory."""

    root: Cid
    length_bytes: int
    complete: bool


class BlockStore(Protocol):
    """Keeps bodies and serves their blocks."""

    def begin(self, root: Cid, length_bytes: int) -> ImportState:
        """Start or go on with an import. InputError(ipfs.length): not a possible length. UnavailableError(ipfs.disk-full)."""
        ...

    def state(self, root: Cid) -> ImportState:
        """InputError(ipfs.no-import): this root was never begun here."""
        ...

    def put_block(self, root: Cid, cid: Cid, block: bytes) -> None:
        """Add a block; on a complete body, repair it. TamperedError(ipld.block), InputError(ipfs.no-import, ipfs.foreign-block)."""
        ...

    def finish(self, root: Cid) -> None:
        """Make the body durable. RefusedError(ipfs.incomplete): blocks are missing."""
        ...

    def get_block(self, cid: Cid) -> bytes:
        """UnavailableError(ipfs.block-missing): not here. TamperedError(ipfs.block-damaged): here, but no longer what it was."""
        ...

    def block_size(self, cid: Cid) -> int | None:
        """Bytes of a block of a complete body, without reading it; None when it is not here."""
        ...

    def remove(self, root: Cid) -> bool:
        """Delete a body or an import; False when there was none."""
        ...

    def inventory(self) -> tuple[BodyInfo, ...]:
        """All bodies and imports, by root."""
        ...

    def free_bytes(self) -> int:
        """Room for further bodies."""
        ...

    def close(self) -> None:
        """Let go of files and locks."""
        ...


@runtime_checkable
class TakesFiles(Protocol):
    """A store that takes a body which lies in a file on this machine quicker than block by block."""

    def add_file(self, dag: FileDag, path: Path, at: int = 0) -> None:
        """TamperedError(ipfs.other-content): these bytes are not the body. Complete when it returns; cut off, done anew."""
        ...


def check_length(root: Cid, length_bytes: int) -> None:
    """Raises InputError(ipfs.length) when no body with this root can have this length."""
    if not 0 <= length_bytes <= MAX_LENGTH_BYTES or (length_bytes > LEAF_BYTES) != (root.codec == 0x70):
        raise InputError("ipfs.length", f"A body named {root} cannot have {length_bytes} bytes.")


def dag_of_file(path: Path, at: int = 0, progress: Callable[[int], None] = lambda _done_bytes: None) -> FileDag:
    """The tree of a body that lies in a file, from `at` to its end; one block in memory."""
    builder, done = FileDagBuilder(), 0
    with open(path, "rb") as body:
        body.seek(at)
        while block := body.read(LEAF_BYTES):
            builder.add(hashlib.sha256(block).digest(), len(block))
            done += len(block)
            progress(done)
    return builder.finish()


def put_file(store: BlockStore, dag: FileDag, path: Path, at: int = 0) -> None:
    """Import a body that lies in a file on this machine, from `at` on; returns when it is durable.

    Raises:
        TamperedError(ipfs.other-content | ipld.block): these bytes are not the body. As BlockStore.
    """
    if isinstance(store, TakesFiles):
        store.add_file(dag, path, at)
        return
    if store.begin(dag.root, dag.length_bytes).complete:
        return
    for cid, block in dag.interior.items():
        store.put_block(dag.root, cid, block)
    with open(path, "rb") as body:
        while True:
            missing = set(store.state(dag.root).missing)
            if not missing:
                break
            for number, leaf in enumerate(dag.leaves):
                if leaf in missing:
                    store.put_block(
                        dag.root, leaf, os.pread(body.fileno(), dag.leaf_size(number), at + number * LEAF_BYTES)
                    )
    store.finish(dag.root)


def put_document(store: BlockStore, data: bytes) -> Cid:
    """Import a small file at hand; returns its root."""
    dag = file_dag(data)
    if store.begin(dag.root, len(data)).complete:
        return dag.root
    for cid, block in dag.interior.items():
        store.put_block(dag.root, cid, block)
    for number, leaf in enumerate(dag.leaves):
        store.put_block(dag.root, leaf, data[number * LEAF_BYTES : (number + 1) * LEAF_BYTES])
    store.finish(dag.root)
    return dag.root
