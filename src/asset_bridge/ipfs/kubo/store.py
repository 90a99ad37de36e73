"""kubo as a block store: the port of ipfs/store.py over kubo's RPC.

Source: design §6, spec/node-http.md §7. A finished body is a recursive pin named `asset-bridge/<length>`; kubo's pins decide what is here,
and blocks are always read from kubo. Beside them, in `folder`, two SQLite files that only help: `blocks.sqlite` says which block belongs to
which finished body (made again from the pins at start), `imports.sqlite` how far open imports are and which deletions were begun.
Promises: a leaf is acknowledged when kubo has synced it; `finish` returns after kubo read the whole tree for its pin; an import and a
deletion go on after a kill of either process; blocks that another body or import needs are never deleted; one process a folder.
Does not promise: that pinned blocks stay good; the audit reads them, and `put_block` writes a good copy over a damaged one.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from asset_bridge.errors import InputError, TamperedError, UnavailableError
from asset_bridge.ipfs.bodies import RESERVE_BYTES, BodyStore, lock_folder
from asset_bridge.ipfs.catalogue import Catalogue
from asset_bridge.ipfs.files import disk_errors
from asset_bridge.ipfs.kubo.groups import Groups, Leaf
from asset_bridge.ipfs.kubo.notes import Notes
from asset_bridge.ipfs.kubo.own import PIN_NAME, add_body
from asset_bridge.ipfs.kubo.rpc import KuboRpc
from asset_bridge.ipfs.memory import block_damaged, block_missing, incomplete, no_import
from asset_bridge.ipfs.plan import Plan, foreign
from asset_bridge.ipfs.store import ImportState, check_length
from asset_bridge.ipld.car import car_block, car_header
from asset_bridge.ipld.cid import DAG_PB, Cid, verify_block
from asset_bridge.ipld.unixfs import LEAF_BYTES, FileDag, read_dag


class KuboStore(BodyStore):
    """Bodies in one kubo, with our notes in `folder`.

    Args:
        disk_free_bytes: what kubo's disk has free; None where kubo is on another machine (then StorageMax alone counts).
    Raises:
        UnavailableError(ipfs.store-locked): another process has this folder open. UnavailableError(ipfs.kubo-…): as KuboRpc.
    """

    def __init__(
        self,
        rpc: KuboRpc,
        folder: Path,
        *,
        reserve_bytes: int = RESERVE_BYTES,
        disk_free_bytes: Callable[[], int] | None = None,
    ) -> None:
        super().__init__(reserve_bytes)
        self._rpc, self._disk_free_bytes = rpc, disk_free_bytes
        self._groups = Groups(rpc, self._note_leaves)
        with disk_errors():
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock_file = lock_folder(folder)
        try:
            self._catalogue = Catalogue(folder / "blocks.sqlite")
            self._notes = Notes(folder / "imports.sqlite")
            self._finish_deletions()
            self._follow_pins()
        except BaseException:
            self.close()
            raise

    # --- import -------------------------------------------------------------------------------------------------------------

    def state(self, root: Cid) -> ImportState:
        """See BlockStore. A body that somebody else put into this kubo under our name for it (a provider, ipfs/kubo/own.py) is here too."""
        with self._lock:
            try:
                return super().state(root)
            except InputError:
                length_bytes = _length_in(self._rpc.pin_name(root))
                if length_bytes is None or not self._take_over(root, length_bytes):
                    raise
                return super().state(root)

    def put_block(self, root: Cid, cid: Cid, block: bytes) -> None:
        """See BlockStore. A leaf goes to kubo at once, with those that come beside it; interior blocks wait here for `finish`."""
        verify_block(cid, block)
        with self._lock:
            if self._catalogue.length_of(root) is not None:
                if not self._belongs(root, cid, len(block)):
                    raise foreign(cid, root)
                repairs = True
            else:
                repairs = False
                plan = self._plan(root)
                if cid.codec == DAG_PB:
                    self._put_interior(plan, cid, block)
                    return
                if plan.dag is None:
                    plan.add_pending(cid, len(block))
                else:
                    plan.places(cid, len(block))
        if repairs:  # outside the lock, as below: several at once
            self._rpc.block_put(cid, block)
        else:
            self._groups.put(root, cid, block)

    def finish(self, root: Cid) -> None:
        """See BlockStore."""
        with self._lock:
            if self._catalogue.length_of(root) is not None:
                return
            plan = self._plan(root)
            if not plan.complete or plan.dag is None:
                raise incomplete(plan.state())
            dag = plan.dag
        if dag.length_bytes == 0:
            self._rpc.block_put(root, b"")
        if dag.interior:
            self._rpc.dag_import(_car(dag))
        try:
            self._rpc.pin(root, f"{PIN_NAME}{dag.length_bytes}")
        except UnavailableError as error:
            if error.code != "ipfs.kubo-pin":
                raise
            raise incomplete(self._look_again(dag)) from error
        with self._lock:
            if self._catalogue.length_of(root) is None:
                if not self._notes.is_import(root):  # deleted while kubo read it
                    self._rpc.unpin(root)
                    raise no_import(root)
                self._catalogue.add(dag)
            self._end_import(root)

    def add_file(self, dag: FileDag, path: Path, at: int = 0) -> None:
        """A body whose bytes lie in a file on this machine, from `at` on: kubo takes them apart, stores, syncs and pins them by itself.

        Cut off, it is done anew as a whole; nothing of it is served before. What kubo has stored of it is deleted with the import.

        Raises:
            TamperedError(ipfs.other-content): the bytes are not this body; nothing of it is kept pinned. As `begin`, and as KuboRpc.
        """
        if self.begin(dag.root, dag.length_bytes).complete:
            return
        for cid, block in dag.interior.items():
            self.put_block(dag.root, cid, block)
        add_body(self._rpc, dag, path, at)
        with self._lock:
            if self._catalogue.length_of(dag.root) is None:
                self._catalogue.add(dag)
            self._end_import(dag.root)

    # --- reading ------------------------------------------------------------------------------------------------------------

    def get_block(self, cid: Cid) -> bytes:
        """See BlockStore. Read from kubo, whatever our notes say."""
        if not self._is_served(cid):
            raise block_missing(cid)
        try:
            return self._rpc.block_get(cid)
        except UnavailableError as error:
            if error.code != "ipfs.block-missing":
                raise
            raise block_damaged(cid) from error  # it belongs to a finished body and is gone

    def block_size(self, cid: Cid) -> int | None:
        """See BlockStore."""
        if cid.codec == DAG_PB:
            block = self._catalogue.interior(cid)
            return None if block is None else len(block)
        return next((size for _root, _number, size in self._catalogue.leaves(cid)), None)

    def remove(self, root: Cid) -> bool:
        """See BlockStore. The pin goes first; its blocks follow, also after a kill in between."""
        with self._lock:
            length_bytes = self._catalogue.length_of(root)
            if length_bytes is None and not self._notes.is_import(root):
                return False
            cids = {cid for cid, _size, _block in self._notes.blocks_of(root)}
            if length_bytes is not None:
                cids.update(self._catalogue.cids_of(root))
            elif (dag := self._plan(root).dag) is not None:  # also what an `add_file` that was cut off left in kubo
                cids.update(dag.leaves)
            self._notes.begin_deletion(root, cids)
            self._plans.pop(root, None)
            self._catalogue.remove(root)
            self._finish_deletions()
            return True

    def free_bytes(self) -> int:
        """See BlockStore. The smaller of what kubo may still use and what its disk has free."""
        stat = self._rpc.repo_stat()
        free = stat.storage_max_bytes - stat.repo_bytes
        if self._disk_free_bytes is not None:
            with disk_errors():
                free = min(free, self._disk_free_bytes())
        return free - self._reserve_bytes

    def close(self) -> None:
        """See BlockStore. kubo itself goes on."""
        if hasattr(self, "_catalogue"):
            self._catalogue.close()
        if hasattr(self, "_notes"):
            self._notes.close()
        self._rpc.close()
        self._lock_file.close()

    # --- inside -------------------------------------------------------------------------------------------------------------

    def _is_served(self, cid: Cid) -> bool:
        return self._catalogue.interior(cid) is not None if cid.codec == DAG_PB else bool(self._catalogue.leaves(cid))

    def _belongs(self, root: Cid, cid: Cid, size_bytes: int) -> bool:
        if cid.codec == DAG_PB:
            return cid in self._catalogue.cids_of(root)
        return any(where == root and size == size_bytes for where, _number, size in self._catalogue.leaves(cid))

    def _create_import(self, root: Cid, length_bytes: int) -> None:
        self._notes.begin(root, length_bytes)

    def _open_plans(self) -> list[Plan]:
        return [self._plan(root) for root in self._notes.imports()]

    def _put_interior(self, plan: Plan, cid: Cid, block: bytes) -> None:
        whole = plan.add_interior(cid, block)
        self._notes.add([(plan.root, (cid, len(block), block))])
        if whole:
            for leaf, size in plan.pending.items():
                if self._notes.has(plan.root, leaf):
                    plan.mark(plan.places(leaf, size))
            plan.pending.clear()

    def _plan(self, root: Cid) -> Plan:
        """An import as far as our notes go; what kubo lost since then comes out at `finish`."""
        plan = self._plans.get(root)
        if plan is None:
            length_bytes = self._notes.length_of(root)
            if length_bytes is None:
                raise no_import(root)
            plan = Plan(root, length_bytes)
            for cid, size, block in self._notes.blocks_of(root):
                if block is not None:
                    plan.add_interior(cid, block)
                elif plan.dag is None:
                    plan.add_pending(cid, size)
                else:
                    plan.mark(plan.places(cid, size))
            if plan.length_bytes == 0:
                plan.mark([0])
            self._plans[root] = plan
        return plan

    def _look_again(self, dag: FileDag) -> ImportState:
        """kubo could not pin: forget the leaves that it does not give, so that they are asked for again."""
        lost = []
        for leaf in dict.fromkeys(dag.leaves):
            try:
                self._rpc.block_get(leaf)
            except (UnavailableError, TamperedError) as error:
                if error.code not in ("ipfs.block-missing", "ipfs.block-damaged"):
                    raise
                lost.append(leaf)
        with self._lock:
            self._notes.lose(dag.root, lost)
            self._plans.pop(dag.root, None)
            return self._plan(dag.root).state()

    def _follow_pins(self) -> None:
        """Our list of bodies is what kubo has pinned: a body that lost its pin is none, one that we do not know is read."""
        named = {root: _length_in(name) for root, name in self._rpc.pins(PIN_NAME).items()}
        pins = {root: length_bytes for root, length_bytes in named.items() if length_bytes is not None}
        known = dict(self._catalogue.bodies())
        for root in known.keys() - pins.keys():
            self._catalogue.remove(root)
        for root in pins.keys() - known.keys():
            self._take_over(root, pins[root])

    def _take_over(self, root: Cid, length_bytes: int) -> bool:
        """A body that is pinned and not in our catalogue. False: its tree is lost or no body's; whoever sends it again makes it whole."""
        try:
            self._catalogue.add(self._read(root, length_bytes))
        except (InputError, TamperedError, UnavailableError) as error:
            if error.code in ("ipfs.kubo-down", "ipfs.kubo-authorization"):
                raise
            return False
        self._end_import(root)
        return True

    def _read(self, root: Cid, length_bytes: int) -> FileDag:
        check_length(root, length_bytes)
        if length_bytes <= LEAF_BYTES:
            return FileDag(root, length_bytes, (root,), {})
        return read_dag(root, length_bytes, self._rpc.block_get)

    def _finish_deletions(self) -> None:
        """Unpin and delete what `remove` noted; blocks of other bodies and imports stay."""
        for root, cids in self._notes.deletions():
            self._rpc.unpin(root)
            self._rpc.block_remove([cid for cid in sorted(cids) if not self._needed(cid)])
            self._notes.end_deletion(root)

    def _needed(self, cid: Cid) -> bool:
        return self._notes.is_wanted(cid) or self._is_served(cid)

    def _note_leaves(self, group: Sequence[Leaf]) -> None:
        """What kubo has acknowledged, in one transaction."""
        with self._lock:
            here = []
            for leaf in group:
                now = self._plans.get(leaf.root)
                if now is None:
                    continue  # finished or deleted meanwhile
                try:
                    if now.dag is not None:
                        now.mark(now.places(leaf.cid, len(leaf.block)))
                except InputError as error:  # the tree came meanwhile, and the leaf is not in it
                    leaf.error = error
                    continue
                here.append((leaf.root, (leaf.cid, len(leaf.block), None)))
            self._notes.add(here)

    def _end_import(self, root: Cid) -> None:
        self._notes.forget(root)
        self._plans.pop(root, None)


def disk_free_of(folder: Path) -> Callable[[], int]:
    """What the disk under kubo's repository has free."""
    return lambda: shutil.disk_usage(folder).free


def _length_in(name: str | None) -> int | None:
    """The length that the name of a pin of ours says; None for anybody else's."""
    digits = (name or "").removeprefix(PIN_NAME)
    return int(digits) if name and name.startswith(PIN_NAME) and digits.isdecimal() else None


def _car(dag: FileDag) -> Iterator[bytes]:
    """The interior blocks as one CAR: children first come when they come, kubo takes any order."""
    yield car_header(dag.root)
    for cid, block in dag.interior.items():
        yield car_block(cid, block)
