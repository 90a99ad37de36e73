"""kubo as a block store: the port of ipfs/store.py over kubo's RPC.

Source: design §6, spec/node-http.md §7. A finished body is a recursive pin named `asset-bridge/<length>`; kubo's pins decide what is here,
and blocks are always read from kubo. Beside them, in `folder`, two SQLite files that only help: `blocks.sqlite` says which block belongs to
which finished body (made again from the pins at start), `imports.sqlite` how far open imports are and which deletions were begun.
Promises: a leaf is acknowledged when kubo has synced it; `finish` returns after kubo read the whole tree for its pin; an import and a
deletion go on after a kill of either process; blocks that another body or import needs are never deleted; one process a folder.
Does not promise: that pinned blocks stay good; the audit reads them, and `put_block` writes a good copy over a damaged one.
"""

from __future__ import annotations

import fcntl
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from asset_bridge.errors import InputError, TamperedError, UnavailableError
from asset_bridge.ipfs.catalogue import Catalogue
from asset_bridge.ipfs.files import disk_errors
from asset_bridge.ipfs.kubo.groups import Groups, Leaf
from asset_bridge.ipfs.kubo.rpc import KuboRpc
from asset_bridge.ipfs.memory import block_damaged, block_missing, disk_full, incomplete, no_import
from asset_bridge.ipfs.plan import Plan, foreign
from asset_bridge.ipfs.store import BodyInfo, ImportState, check_length
from asset_bridge.ipld.car import car_block, car_header
from asset_bridge.ipld.cid import DAG_PB, Cid, verify_block
from asset_bridge.ipld.unixfs import LEAF_BYTES, FileDag, read_dag

PIN_NAME = "asset-bridge/"
RESERVE_BYTES = 64 * 1024 * 1024
_SCHEMA = """
CREATE TABLE IF NOT EXISTS imports (root BLOB PRIMARY KEY, length INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS blocks (root BLOB, cid BLOB, size INTEGER, block BLOB, PRIMARY KEY (root, cid)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS by_cid ON blocks (cid);
CREATE TABLE IF NOT EXISTS deletions (root BLOB, cid BLOB, PRIMARY KEY (root, cid)) WITHOUT ROWID;
"""


class KuboStore:
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
        self._rpc, self._reserve_bytes, self._disk_free_bytes = rpc, reserve_bytes, disk_free_bytes
        self._lock = threading.RLock()
        self._plans: dict[Cid, Plan] = {}
        self._groups = Groups(rpc, self._note_leaves)
        with disk_errors():
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock_file = open(folder / "lock", "ab")  # noqa: SIM115 - held for the store's life
            try:
                fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                self._lock_file.close()
                raise UnavailableError(
                    "ipfs.store-locked", "Another process has this store open.", hint="Stop it first.", actor="operator"
                ) from error
        try:
            self._catalogue = Catalogue(folder / "blocks.sqlite")
            self._db = _open(folder / "imports.sqlite")
            self._finish_deletions()
            self._follow_pins()
        except BaseException:
            self.close()
            raise

    # --- import -------------------------------------------------------------------------------------------------------------

    def begin(self, root: Cid, length_bytes: int) -> ImportState:
        """See BlockStore."""
        check_length(root, length_bytes)
        with self._lock:
            try:
                state = self.state(root)
            except InputError:
                self._check_room(length_bytes)
                self._db.execute("INSERT OR REPLACE INTO imports VALUES (?, ?)", (root.to_bytes(), length_bytes))
                return self.state(root)
            if state.length_bytes != length_bytes:
                raise InputError("ipfs.length", f"The body {root} was begun with another length.")
            return state

    def state(self, root: Cid) -> ImportState:
        """See BlockStore."""
        with self._lock:
            length_bytes = self._catalogue.length_of(root)
            if length_bytes is not None:
                return ImportState(root, length_bytes, True, (), 0, length_bytes)
            return self._plan(root).state()

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
                if not self._is_import(root):  # deleted while kubo read it
                    self._rpc.unpin(root)
                    raise no_import(root)
                self._catalogue.add(dag)
            self._forget_import(root)

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

    def inventory(self) -> tuple[BodyInfo, ...]:
        """See BlockStore."""
        with self._lock:
            found = [BodyInfo(root, length, True) for root, length in self._catalogue.bodies()]
            rows = self._db.execute("SELECT root, length FROM imports").fetchall()
            found += [BodyInfo(Cid.from_bytes(root), length, False) for root, length in rows]
            return tuple(sorted(found, key=lambda info: info.root))

    def remove(self, root: Cid) -> bool:
        """See BlockStore. The pin goes first; its blocks follow, also after a kill in between."""
        with self._lock:
            length_bytes = self._catalogue.length_of(root)
            if length_bytes is None and not self._is_import(root):
                return False
            cids = [Cid.from_bytes(row[0]) for row in self._cids_of(root)]
            if length_bytes is not None:
                cids += self._catalogue.cids_of(root)
            with self._db:
                self._db.execute("BEGIN")
                self._db.executemany(
                    "INSERT OR REPLACE INTO deletions VALUES (?, ?)",
                    [(root.to_bytes(), cid.to_bytes()) for cid in cids],
                )
                self._db.execute("DELETE FROM imports WHERE root = ?", (root.to_bytes(),))
                self._db.execute("DELETE FROM blocks WHERE root = ?", (root.to_bytes(),))
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
        if hasattr(self, "_db"):
            self._db.close()
        self._rpc.close()
        self._lock_file.close()

    # --- inside -------------------------------------------------------------------------------------------------------------

    def _is_served(self, cid: Cid) -> bool:
        return self._catalogue.interior(cid) is not None if cid.codec == DAG_PB else bool(self._catalogue.leaves(cid))

    def _belongs(self, root: Cid, cid: Cid, size_bytes: int) -> bool:
        if cid.codec == DAG_PB:
            return cid in self._catalogue.cids_of(root)
        return any(where == root and size == size_bytes for where, _number, size in self._catalogue.leaves(cid))

    def _check_room(self, need_bytes: int) -> None:
        rows = self._db.execute("SELECT root, length FROM imports").fetchall()
        open_bytes = sum(length - self._plan(Cid.from_bytes(root)).done_bytes for root, length in rows)
        free = self.free_bytes() - open_bytes
        if need_bytes > free:
            raise disk_full(need_bytes, free)

    def _put_interior(self, plan: Plan, cid: Cid, block: bytes) -> None:
        whole = plan.add_interior(cid, block)
        self._note(plan.root, cid, len(block), block)
        if whole:
            for leaf, size in plan.pending.items():
                if self._noted(plan.root, leaf):
                    plan.mark(plan.places(leaf, size))
            plan.pending.clear()

    def _plan(self, root: Cid) -> Plan:
        """An import as far as our notes go; what kubo lost since then comes out at `finish`."""
        plan = self._plans.get(root)
        if plan is None:
            row = self._db.execute("SELECT length FROM imports WHERE root = ?", (root.to_bytes(),)).fetchone()
            if row is None:
                raise no_import(root)
            plan = Plan(root, int(row[0]))
            rows = self._cids_of(root)
            for raw, size, block in sorted(rows, key=lambda row: row[2] is None):  # the tree first, then its leaves
                if block is not None:
                    plan.add_interior(Cid.from_bytes(raw), block)
                elif plan.dag is None:
                    plan.add_pending(Cid.from_bytes(raw), size)
                else:
                    plan.mark(plan.places(Cid.from_bytes(raw), size))
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
            self._db.executemany(
                "DELETE FROM blocks WHERE root = ? AND cid = ?",
                [(dag.root.to_bytes(), leaf.to_bytes()) for leaf in lost],
            )
            self._plans.pop(dag.root, None)
            return self._plan(dag.root).state()

    def _follow_pins(self) -> None:
        """Our list of bodies is what kubo has pinned: a body that lost its pin is none, one that we do not know is read."""
        pins = {
            root: int(name.removeprefix(PIN_NAME)) for root, name in self._rpc.pins(PIN_NAME).items() if _ours(name)
        }
        known = dict(self._catalogue.bodies())
        for root in known.keys() - pins.keys():
            self._catalogue.remove(root)
        for root in pins.keys() - known.keys():
            try:
                self._catalogue.add(self._read(root, pins[root]))
            except (TamperedError, UnavailableError) as error:
                if error.code in ("ipfs.kubo-down", "ipfs.kubo-authorization"):
                    raise
                continue  # its tree is lost: it counts as not here, and whoever sends it again makes it whole
            self._forget_import(root)

    def _read(self, root: Cid, length_bytes: int) -> FileDag:
        check_length(root, length_bytes)
        if length_bytes <= LEAF_BYTES:
            return FileDag(root, length_bytes, (root,), {})
        return read_dag(root, length_bytes, self._rpc.block_get)

    def _finish_deletions(self) -> None:
        """Unpin and delete what `remove` noted; blocks of other bodies and imports stay."""
        rows = self._db.execute("SELECT DISTINCT root FROM deletions").fetchall()
        for (raw,) in rows:
            root = Cid.from_bytes(raw)
            self._rpc.unpin(root)
            cids = {
                Cid.from_bytes(row[0])
                for row in self._db.execute("SELECT cid FROM deletions WHERE root = ?", (raw,)).fetchall()
            }
            self._rpc.block_remove([cid for cid in sorted(cids) if not self._needed(cid)])
            self._db.execute("DELETE FROM deletions WHERE root = ?", (raw,))

    def _needed(self, cid: Cid) -> bool:
        found = self._db.execute("SELECT 1 FROM blocks WHERE cid = ? LIMIT 1", (cid.to_bytes(),)).fetchone()
        return found is not None or self._is_served(cid)

    def _is_import(self, root: Cid) -> bool:
        return self._db.execute("SELECT 1 FROM imports WHERE root = ?", (root.to_bytes(),)).fetchone() is not None

    def _cids_of(self, root: Cid) -> list[tuple[bytes, int, bytes | None]]:
        return self._db.execute("SELECT cid, size, block FROM blocks WHERE root = ?", (root.to_bytes(),)).fetchall()

    def _noted(self, root: Cid, cid: Cid) -> bool:
        row = self._db.execute("SELECT 1 FROM blocks WHERE root = ? AND cid = ?", (root.to_bytes(), cid.to_bytes()))
        return row.fetchone() is not None

    def _note(self, root: Cid, cid: Cid, size_bytes: int, block: bytes | None) -> None:
        with disk_errors():
            self._db.execute(
                "INSERT OR REPLACE INTO blocks VALUES (?, ?, ?, ?)",
                (root.to_bytes(), cid.to_bytes(), size_bytes, block),
            )

    def _note_leaves(self, group: Sequence[Leaf]) -> None:
        """What kubo has acknowledged, in one transaction."""
        with self._lock, disk_errors():
            rows = []
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
                rows.append((leaf.root.to_bytes(), leaf.cid.to_bytes(), len(leaf.block), None))
            with self._db:
                self._db.execute("BEGIN")
                self._db.executemany("INSERT OR REPLACE INTO blocks VALUES (?, ?, ?, ?)", rows)

    def _forget_import(self, root: Cid) -> None:
        with self._db:
            self._db.execute("BEGIN")
            self._db.execute("DELETE FROM imports WHERE root = ?", (root.to_bytes(),))
            self._db.execute("DELETE FROM blocks WHERE root = ?", (root.to_bytes(),))
        self._plans.pop(root, None)


def disk_free_of(folder: Path) -> Callable[[], int]:
    """What the disk under kubo's repository has free."""
    return lambda: shutil.disk_usage(folder).free


def _ours(name: str) -> bool:
    return name.startswith(PIN_NAME) and name.removeprefix(PIN_NAME).isdecimal()


def _car(dag: FileDag) -> Iterator[bytes]:
    """The interior blocks as one CAR: children first come when they come, kubo takes any order."""
    yield car_header(dag.root)
    for cid, block in dag.interior.items():
        yield car_block(cid, block)


def _open(path: Path) -> sqlite3.Connection:
    """Our notes; a damaged file is replaced by an empty one: open imports are then begun anew."""
    for attempt in (1, 2):
        db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        try:
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=NORMAL")
            db.executescript(_SCHEMA)
            return db
        except sqlite3.DatabaseError:
            db.close()
            if attempt == 2:
                raise
            for suffix in ("", "-wal", "-shm"):
                path.with_name(path.name + suffix).unlink(missing_ok=True)
    raise AssertionError("not reached")
