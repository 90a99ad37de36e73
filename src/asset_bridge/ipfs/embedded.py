"""The embedded storage node's store: each body one file, beside it the list of its leaf digests; a SQLite index finds blocks by CID.

Source: design §6, spec/node-http.md §7. Layout: `bodies/<root>/{body,index}`, `incoming/<root>/{meta,body,interior/,pending/}`,
`blocks.sqlite` (derived from the index files at start; may be deleted), `lock`; other DAGs in `dags/` (ipfs/dags.py).
Promises: blocks are checked when they come and again each time they are read; `finish` fsyncs the body, its index and both folders before
it returns; an import cut off at any point goes on, and what counts as here is decided by hashing what is on disk; one process a folder.
Does not promise: that an unfinished import survives power loss whole (its lost blocks are asked for again).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from asset_bridge.errors import BridgeError, InputError, TamperedError, UnavailableError
from asset_bridge.ipfs.bodies import RESERVE_BYTES, BodyStore, lock_folder
from asset_bridge.ipfs.catalogue import Catalogue
from asset_bridge.ipfs.checked import CheckedLeaves, stamp_of
from asset_bridge.ipfs.dags import Archive, DagStore
from asset_bridge.ipfs.files import data_extents, disk_errors, fsync_path, write_at, write_durable
from asset_bridge.ipfs.memory import block_damaged, block_missing, incomplete, no_import
from asset_bridge.ipfs.plan import Plan, foreign
from asset_bridge.ipld.cid import DAG_PB, RAW, Cid, verify_block
from asset_bridge.ipld.content_id import ContentId
from asset_bridge.ipld.unixfs import LEAF_BYTES, FileDag, FileDagBuilder, leaf_count


class EmbeddedStore(BodyStore):
    """Bodies under `folder`, which must not be open elsewhere.

    Args:
        reserve_bytes: free space that imports must leave.
        free_bytes: what the disk has free; a test passes its own.
    Raises:
        UnavailableError(ipfs.store-locked): another process has this folder open.
    """

    def __init__(
        self, folder: Path, *, reserve_bytes: int = RESERVE_BYTES, disk_free_bytes: Callable[[], int] | None = None
    ) -> None:
        super().__init__(reserve_bytes)
        self._folder = folder
        self._disk_free_bytes = disk_free_bytes or (lambda: shutil.disk_usage(folder).free)
        self._bodies, self._incoming, self._trash = folder / "bodies", folder / "incoming", folder / "trash"
        self._checked = CheckedLeaves()
        with disk_errors():
            for path in (folder, self._bodies, self._incoming, self._trash):
                path.mkdir(parents=True, exist_ok=True)
            self._lock_file = lock_folder(folder)
            for path in self._trash.iterdir():
                shutil.rmtree(path, ignore_errors=True)
            self._catalogue = Catalogue(folder / "blocks.sqlite")
            self._sync_catalogue()
            self._dags = DagStore(folder)

    # --- import -------------------------------------------------------------------------------------------------------------

    def put_block(self, root: Cid, cid: Cid, block: bytes) -> None:
        """See BlockStore."""
        verify_block(cid, block)
        with self._lock, disk_errors():
            if self._catalogue.length_of(root) is not None:
                self._repair(root, cid, block)
                return
            plan, folder = self._plan(root), self._incoming / str(root)
            if cid.codec == DAG_PB:
                self._put_interior(plan, folder, cid, block)
            elif plan.dag is None:
                plan.add_pending(cid, len(block))
                _write_small(folder / "pending" / str(cid), block)
            else:
                self._write_leaf(plan, folder, cid, block)

    def finish(self, root: Cid) -> None:
        """See BlockStore."""
        with self._lock, disk_errors():
            if self._catalogue.length_of(root) is not None:
                return
            plan, folder = self._plan(root), self._incoming / str(root)
            if not plan.complete or plan.dag is None:
                raise incomplete(plan.state())
            fsync_path(folder / "body")
            write_durable(folder / "index", b"".join(leaf.digest for leaf in plan.dag.leaves))
            os.rename(folder, self._bodies / str(root))
            fsync_path(self._bodies)
            fsync_path(self._incoming)
            self._catalogue.add(plan.dag)
            del self._plans[root]
            _drop_import_files(self._bodies / str(root))
            with open(self._bodies / str(root) / "body", "rb") as body:  # each leaf was hashed when it came
                self._checked.note(root, stamp_of(body.fileno()), *range(len(plan.dag.leaves)))

    # --- reading ------------------------------------------------------------------------------------------------------------

    def get_block(self, cid: Cid) -> bytes:
        """See BlockStore. What no body has may be in an imported archive."""
        try:
            return self._body_block(cid)
        except BridgeError as error:
            if error.code not in ("ipfs.block-missing", "ipfs.block-damaged"):
                raise
            block = self._archived(ContentId.of(cid))
            if block is None:
                raise
            return block

    def find_block(self, cid: ContentId) -> bytes:
        """Any block by its multihash, whatever codec its id names. Raises as `get_block`."""
        strict = cid.strict()
        for codec in (strict.codec, RAW + DAG_PB - strict.codec) if strict is not None else ():
            try:
                return self._body_block(Cid(codec, cid.digest))
            except UnavailableError as error:
                if error.code != "ipfs.block-missing":
                    raise
        block = self._archived(cid)
        if block is None:
            raise block_missing(cid)
        return block

    def find_size(self, cid: ContentId) -> int | None:
        """Bytes of any block without reading it; None when it is not here."""
        strict = cid.strict()
        for codec in (strict.codec, RAW + DAG_PB - strict.codec) if strict is not None else ():
            size = self._body_block_size(Cid(codec, cid.digest))
            if size is not None:
                return size
        return self._dags.size(cid)

    def _archived(self, cid: ContentId) -> bytes | None:
        with disk_errors():
            try:
                return self._dags.get(cid)
            except TamperedError as error:
                raise block_damaged(cid) from error

    def _body_block(self, cid: Cid) -> bytes:
        found = False
        with disk_errors():
            if cid.codec == DAG_PB:
                block = self._catalogue.interior(cid)
                if block is not None:
                    verify_block(cid, block)
                    return block
            for root, number, size in self._catalogue.leaves(cid) if cid.codec == RAW else ():
                found = True
                try:
                    with open(self._bodies / str(root) / "body", "rb", buffering=0) as body:
                        stamp = stamp_of(body.fileno())
                        block = os.pread(body.fileno(), size, number * LEAF_BYTES)
                    verify_block(cid, block)
                except (TamperedError, FileNotFoundError):
                    continue
                self._checked.note(root, stamp, number)
                return block
        raise block_damaged(cid) if found else block_missing(cid)

    def checked_file(self, cid: Cid) -> tuple[BinaryIO, int, int] | None:
        """(open file, offset, size) of a leaf that this store hashed since the file last changed; None: `get_block` must read it."""
        with disk_errors():
            for root, number, size in self._catalogue.leaves(cid):
                try:
                    body = open(self._bodies / str(root) / "body", "rb", buffering=0)  # noqa: SIM115 - handed out open
                except FileNotFoundError:
                    continue
                if self._checked.knows(root, stamp_of(body.fileno()), number):
                    return body, number * LEAF_BYTES, size
                body.close()
        return None

    def block_size(self, cid: Cid) -> int | None:
        """See BlockStore."""
        size = self._body_block_size(cid)
        return self._dags.size(ContentId.of(cid)) if size is None else size

    def _body_block_size(self, cid: Cid) -> int | None:
        if cid.codec == DAG_PB:
            block = self._catalogue.interior(cid)
            return None if block is None else len(block)
        return next((size for _root, _number, size in self._catalogue.leaves(cid)), None)

    def add_archive(self, read: Callable[[int], bytes]) -> Archive:
        """Import any DAG as CAR. Raises TamperedError(ipld.car | ipld.block), UnavailableError(ipfs.disk-full | ipfs.disk)."""
        return self._dags.add(read, self.free_bytes)

    def archives(self) -> tuple[Archive, ...]:
        """The imported archives, by name."""
        return self._dags.archives()

    def remove_archive(self, name: str) -> bool:
        """Delete an imported archive; False when it is not here."""
        with disk_errors():
            return self._dags.remove(name)

    def remove(self, root: Cid) -> bool:
        """See BlockStore."""
        with self._lock, disk_errors():
            self._plans.pop(root, None)
            self._catalogue.remove(root)
            self._checked.forget(root)
            removed = False
            for parent in (self._bodies, self._incoming):
                if (parent / str(root)).exists():
                    os.rename(parent / str(root), self._trash / str(root))
                    fsync_path(parent)
                    shutil.rmtree(self._trash / str(root))
                    removed = True
            return removed

    def free_bytes(self) -> int:
        """See BlockStore. What open imports still need is not free."""
        with disk_errors():
            return self._disk_free_bytes() - self._reserve_bytes

    def close(self) -> None:
        """See BlockStore."""
        self._catalogue.close()
        self._dags.close()
        self._lock_file.close()

    # --- inside -------------------------------------------------------------------------------------------------------------

    def _create_import(self, root: Cid, length_bytes: int) -> None:
        folder = self._incoming / str(root)
        with disk_errors():
            shutil.rmtree(folder, ignore_errors=True)
            (folder / "interior").mkdir(parents=True)
            (folder / "pending").mkdir()
            with open(folder / "body", "wb") as body:
                body.truncate(length_bytes)
            write_durable(folder / "meta", str(length_bytes).encode())  # last: an import exists once it has this
            fsync_path(self._incoming)
        self._plans[root] = Plan(root, length_bytes)
        if length_bytes == 0:
            self._plans[root].mark([0] if root == Cid(RAW, hashlib.sha256(b"").digest()) else [])

    def _open_plans(self) -> list[Plan]:
        """Every import; a folder that a crash left before its import existed is none."""
        found = []
        for name in _names(self._incoming):
            with contextlib.suppress(BridgeError):
                found.append(self._plan(name))
        return found

    def _plan(self, root: Cid) -> Plan:
        plan = self._plans.get(root)
        if plan is None:
            with disk_errors():
                plan = self._plans[root] = self._load_plan(root)
        return plan

    def _load_plan(self, root: Cid) -> Plan:
        """What an earlier process left; blocks that do not verify are forgotten."""
        folder = self._incoming / str(root)
        try:
            length_bytes = int((folder / "meta").read_text())
        except (FileNotFoundError, ValueError):
            raise no_import(root) from None
        plan = Plan(root, length_bytes)
        for name in ("interior", "pending"):
            (folder / name).mkdir(exist_ok=True)
        for cid in _names(folder / "interior"):
            block = (folder / "interior" / str(cid)).read_bytes()
            if _verifies(cid, block):
                plan.add_interior(cid, block)
        for cid in _names(folder / "pending"):
            block = (folder / "pending" / str(cid)).read_bytes()
            if _verifies(cid, block) and plan.dag is None:
                plan.add_pending(cid, len(block))
            elif _verifies(cid, block):
                self._write_leaf(plan, folder, cid, block)
                (folder / "pending" / str(cid)).unlink()
        if plan.dag is not None:
            mark_verified(plan, folder / "body")
        return plan

    def _put_interior(self, plan: Plan, folder: Path, cid: Cid, block: bytes) -> None:
        whole = plan.add_interior(cid, block)
        _write_small(folder / "interior" / str(cid), block)
        if whole:
            for leaf in list(plan.pending):
                path = folder / "pending" / str(leaf)
                self._write_leaf(plan, folder, leaf, path.read_bytes())
                path.unlink()
            plan.pending.clear()
            mark_verified(plan, folder / "body")  # after a power loss the tree can be new and leaves old

    def _write_leaf(self, plan: Plan, folder: Path, cid: Cid, block: bytes) -> None:
        numbers = plan.places(cid, len(block))
        _write_in_place(folder / "body", [(number * LEAF_BYTES, block) for number in numbers])
        plan.mark(numbers)

    def _repair(self, root: Cid, cid: Cid, block: bytes) -> None:
        """Write a good copy over a damaged one; a good one is left alone."""
        if cid.codec == DAG_PB:
            if self._catalogue.interior(cid) is None:
                raise foreign(cid, root)
            return
        places = [(number, size) for where, number, size in self._catalogue.leaves(cid) if where == root]
        if not places or any(size != len(block) for _number, size in places):
            raise foreign(cid, root)
        damaged = [number for number, size in places if not _verifies(cid, self._read_leaf(root, number, size))]
        if damaged:
            path = self._bodies / str(root) / "body"
            _write_in_place(path, [(number * LEAF_BYTES, block) for number in damaged])
            fsync_path(path)

    def _read_leaf(self, root: Cid, number: int, size: int) -> bytes:
        descriptor = os.open(self._bodies / str(root) / "body", os.O_RDONLY)
        try:
            return os.pread(descriptor, size, number * LEAF_BYTES)
        finally:
            os.close(descriptor)

    def _sync_catalogue(self) -> None:
        """The index follows the folders: what a crash left between the two is settled here."""
        known = dict(self._catalogue.bodies())
        present = set(_names(self._bodies))
        cut = {root for root in known.keys() & present if _body_size(self._bodies / str(root)) != known[root]}
        for root in (known.keys() - present) | cut:
            self._catalogue.remove(root)
        for root in (present - known.keys()) | cut:
            dag = _read_body_index(root, self._bodies / str(root))
            if dag is None:  # neither index nor body give this root: ask for its blocks again
                os.rename(self._bodies / str(root), self._trash / str(root))
                shutil.rmtree(self._trash / str(root))
            else:
                self._catalogue.add(dag)
                _drop_import_files(self._bodies / str(root))


def mark_verified(plan: Plan, path: Path) -> None:
    """Mark the leaves of a partly written file whose bytes on disk have the right hash."""
    assert plan.dag is not None
    with open(path, "rb") as body:
        wanted: set[int] = set()
        for start, end in data_extents(body.fileno(), plan.length_bytes):
            wanted.update(range(start // LEAF_BYTES, (max(start, end - 1)) // LEAF_BYTES + 1))
        if plan.length_bytes == 0:
            wanted = {0}
        for number in sorted(wanted):
            block = os.pread(body.fileno(), plan.dag.leaf_size(number), number * LEAF_BYTES)
            if _verifies(plan.dag.leaves[number], block):
                plan.mark([number])


def _body_size(folder: Path) -> int:
    try:
        return (folder / "body").stat().st_size
    except FileNotFoundError:
        return -1


def _read_body_index(root: Cid, folder: Path) -> FileDag | None:
    """The tree of a finished body from its index file, or from the body itself where that is damaged."""
    try:
        length_bytes = (folder / "body").stat().st_size
        index = (folder / "index").read_bytes() if (folder / "index").exists() else b""
    except FileNotFoundError:
        return None
    digests = [index[at : at + 32] for at in range(0, len(index), 32)]
    if len(index) == 32 * leaf_count(length_bytes):
        dag = _build(digests, length_bytes)
        if dag.root == root:
            return dag
    digests = []
    with open(folder / "body", "rb") as body:
        for _number in range(leaf_count(length_bytes)):
            digests.append(hashlib.sha256(body.read(LEAF_BYTES)).digest())
    dag = _build(digests, length_bytes)
    if dag.root != root:
        return None
    write_durable(folder / "index", b"".join(digests))
    return dag


def _build(digests: list[bytes], length_bytes: int) -> FileDag:
    builder = FileDagBuilder()
    for number, digest in enumerate(digests):
        builder.add(digest, min(LEAF_BYTES, length_bytes - number * LEAF_BYTES))
    return builder.finish()


def _verifies(cid: Cid, block: bytes) -> bool:
    try:
        verify_block(cid, block)
    except TamperedError:
        return False
    return True


def _names(folder: Path) -> list[Cid]:
    """The CIDs that name the entries of a folder; other entries (left by a crash, put there by hand) do not count."""
    found = []
    for entry in folder.iterdir():
        try:
            found.append(Cid.parse(entry.name))
        except InputError:
            continue
    return found


def _drop_import_files(folder: Path) -> None:
    """What the import needed and the body does not."""
    for name in ("interior", "pending"):
        shutil.rmtree(folder / name, ignore_errors=True)
    (folder / "meta").unlink(missing_ok=True)


def _write_small(path: Path, block: bytes) -> None:
    """Whole under its name or not at all; an unfinished import need not survive power loss, so no fsync."""
    part = path.with_name("." + path.name)
    part.write_bytes(block)
    os.replace(part, path)


def _write_in_place(path: Path, writes: list[tuple[int, bytes]]) -> None:
    descriptor = os.open(path, os.O_WRONLY)
    try:
        for offset, block in writes:
            write_at(descriptor, block, offset)
    finally:
        os.close(descriptor)
