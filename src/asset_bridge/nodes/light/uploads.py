"""Bodies and documents on their way to the storage nodes, and which storage nodes hold them.

Source: design §6, spec/node-http.md §9. The light node keeps no block: each one goes straight to every chosen storage node, so what has
arrived is what they say has arrived. Only the choice of nodes is remembered here (SQLite, fsynced), and a lost choice costs nothing: a
node that holds blocks already says so when the upload begins again.
Promises: a block is checked before it is passed on; `finish` returns after at least MIN_REPLICAS nodes fsynced the body and gave
random blocks of it back.
"""

from __future__ import annotations

import json
import math
import sqlite3
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from asset_bridge.chain.records import ZERO_ADDRESS
from asset_bridge.errors import BridgeError, InputError, RefusedError, UnavailableError
from asset_bridge.ipfs.multi import MAX_DOCUMENT_BYTES, MultiSource
from asset_bridge.ipfs.store import MOST_MISSING_LISTED, ImportState, check_length
from asset_bridge.ipld.cid import Cid, verify_block
from asset_bridge.ipld.unixfs import LEAF_BYTES, read_dag
from asset_bridge.nodes.light.copies import Copies
from asset_bridge.nodes.light.replicas import Replica, try_each

MIN_REPLICAS = 2  # protocol: a listing needs two verified replicas
READ_BACK_BLOCKS = 64
PURPOSES = ("body", "document")


@dataclass(frozen=True, slots=True)
class Upload:
    """One upload: chosen storage nodes, and those (`held_by`) that hold the finished file."""

    root: Cid
    length_bytes: int
    purpose: str
    uploader: str
    chosen: tuple[bytes, ...]
    held_by: tuple[bytes, ...]


class Uploads:
    """Uploads of one light node.

    Args:
        path: the SQLite file. replicas: the storage nodes known now. wanted: r of design §6.
    """

    def __init__(
        self, path: Path, replicas: Callable[[], Sequence[Replica]], randbytes: Callable[[int], bytes], wanted: int = 3
    ) -> None:
        self._replicas, self._randbytes, self.wanted = replicas, randbytes, wanted
        self._lock = threading.Lock()
        self._sweeps: dict[Cid, int] = {}
        self._copies = Copies(copy_body)
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.execute(
            "CREATE TABLE IF NOT EXISTS uploads (root BLOB PRIMARY KEY, length INTEGER, purpose TEXT, uploader TEXT,"
            " chosen TEXT, held_by TEXT) WITHOUT ROWID"
        )

    # --- the upload's steps -------------------------------------------------------------------------------------------------

    def begin(self, root: Cid, length_bytes: int, purpose: str, uploader: str) -> ImportState:
        """Begin or go on.

        Raises:
            InputError(ipfs.length | light.purpose): see there. UnavailableError(light.too-few-storage-nodes): fewer than
            MIN_REPLICAS take it; the message says why each refused.
        """
        check_length(root, length_bytes)
        if purpose not in PURPOSES or (purpose == "document" and length_bytes > MAX_DOCUMENT_BYTES):
            raise InputError(
                "light.purpose", f"An upload is a body, or a document of at most {MAX_DOCUMENT_BYTES} bytes."
            )
        known = self.find(root)
        if known is not None and known.length_bytes != length_bytes:
            raise InputError("ipfs.length", f"The upload {root} was begun with another length.")
        upload = self._choose(known or Upload(root, length_bytes, purpose, uploader, (), ()))
        self._save(upload)
        return self._state(upload)

    def state(self, root: Cid) -> ImportState:
        """How far it is. Raises InputError(light.no-upload)."""
        return self._state(self._get(root))

    def put_block(self, root: Cid, cid: Cid, block: bytes) -> None:
        """Pass a block on to every chosen node; done when at least MIN_REPLICAS have it.

        Raises:
            TamperedError(ipld.block): not this block. InputError(light.no-upload | ipfs.foreign-block).
            UnavailableError(light.too-few-storage-nodes).
        """
        verify_block(cid, block)
        upload = self._get(root)

        def put(replica: Replica) -> Callable[[], None]:
            def run() -> None:
                try:
                    replica.put_block(root, cid, block)
                except InputError as error:
                    if error.code != "ipfs.no-import":
                        raise
                    replica.begin(root, upload.length_bytes)  # it lost the import: it begins anew
                    replica.put_block(root, cid, block)

            return run

        done, failed = try_each({replica.node_id: put(replica) for replica in self._named(upload.chosen)})
        if len(done) < MIN_REPLICAS:
            raise next(
                (error for error in failed.values() if isinstance(error, InputError)), too_few(len(done), failed)
            )

    def finish(self, root: Cid) -> Upload:
        """Make it durable on the storage nodes, read random blocks back, remember who holds it.

        Raises:
            RefusedError(ipfs.incomplete): no node has every block yet. UnavailableError(light.too-few-replicas).
        """
        upload = self._choose(self._get(root))
        chosen = self._named(upload.chosen)
        states, failed = try_each({replica.node_id: _state_call(replica, root) for replica in chosen})
        ready = [
            replica for replica in chosen if replica.node_id in states and not states[replica.node_id].missing_count
        ]
        if not ready:
            missing = min((state.missing_count for state in states.values()), default=1)
            raise RefusedError(
                "ipfs.incomplete", f"{missing} blocks of {root} are missing.", hint="Send them, then finish again."
            )
        good, bad = self._finish_each(upload, ready)
        failed.update(bad)
        for replica in chosen:
            if good and len(good) < MIN_REPLICAS and replica not in ready and replica.node_id not in failed:
                try:
                    copy_body(MultiSource(good), replica, root, upload.length_bytes)
                    good.append(replica)
                except BridgeError as error:
                    failed[replica.node_id] = error
        if len(good) < MIN_REPLICAS:
            raise UnavailableError(
                "light.too-few-replicas",
                f"Only {len(good)} storage nodes hold a verified copy; {MIN_REPLICAS} are needed. {_reasons(failed.values())}",
                hint="Run the same command again; what is stored is kept.",
                actor="storage node",
            )
        done = Upload(
            root, upload.length_bytes, upload.purpose, upload.uploader, upload.chosen, tuple(r.node_id for r in good)
        )
        self._save(done)
        return done

    # --- what is held -------------------------------------------------------------------------------------------------------

    def find(self, root: Cid) -> Upload | None:
        """The upload of this root, or None."""
        with self._lock:
            row = self._db.execute("SELECT * FROM uploads WHERE root = ?", (root.to_bytes(),)).fetchone()
        return None if row is None else _upload(row)

    def finished(self) -> list[Upload]:
        """Every upload that is held somewhere."""
        with self._lock:
            rows = self._db.execute("SELECT * FROM uploads WHERE held_by != '[]' ORDER BY root").fetchall()
        return [_upload(row) for row in rows]

    def set_held_by(self, upload: Upload, held_by: Iterable[bytes]) -> None:
        """What the audit found."""
        held = tuple(held_by)
        chosen = tuple(dict.fromkeys((*upload.chosen, *held)))
        self._save(Upload(upload.root, upload.length_bytes, upload.purpose, upload.uploader, chosen, held))

    def forget(self, root: Cid) -> None:
        """After the body was removed everywhere."""
        with self._lock:
            self._db.execute("DELETE FROM uploads WHERE root = ?", (root.to_bytes(),))

    def candidates(self, without: Iterable[Replica] = (), beside: Iterable[Replica] = ()) -> list[Replica]:
        """Storage nodes for another copy: first one of each operator that `beside` does not name yet, then the others.

        Within each group the order is drawn by lot, and a node with twice the free space comes first twice as often; nodes that do not
        answer come last.
        """
        left = {replica.node_id for replica in without}
        free, _failed = try_each({r.node_id: r.free_bytes for r in self._replicas() if r.node_id not in left})
        silent = float("inf")

        def lot(replica: Replica) -> float:
            if replica.node_id not in free:
                return silent
            share: float = (int.from_bytes(self._randbytes(7), "big") + 1) / (1 << 56)
            return -math.log(share) / max(1, int(free[replica.node_id]))

        drawn = sorted((r for r in self._replicas() if r.node_id not in left), key=lot)
        seen = {replica.operator for replica in beside} - {ZERO_ADDRESS}
        first: list[Replica] = []
        later: list[Replica] = []
        for replica in drawn:
            (later if replica.operator in seen else first).append(replica)
            if replica.operator != ZERO_ADDRESS:
                seen.add(replica.operator)
        return first + later

    def named(self, node_ids: Iterable[bytes]) -> list[Replica]:
        """The known storage nodes with these ids."""
        return self._named(node_ids)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    # --- inside -------------------------------------------------------------------------------------------------------------

    def _choose(self, upload: Upload) -> Upload:
        """Keep the chosen nodes that still take it; add others up to r, first those that hold blocks of it from another light node."""
        calls = {r.node_id: _begin_call(r, upload) for r in self._named(upload.chosen)}
        done, failed = try_each(calls)
        chosen_now = self._named(upload.chosen)
        beside = [replica for replica in chosen_now if replica.node_id in done]
        others = self.candidates(chosen_now, beside) if len(done) < self.wanted else []
        if not upload.chosen and upload.length_bytes > LEAF_BYTES:
            begun, _none = try_each({replica.node_id: _state_call(replica, upload.root) for replica in others})
            others.sort(key=lambda replica: -begun[replica.node_id].done_bytes if replica.node_id in begun else 1)
        for replica in others:
            if len(done) >= self.wanted:
                break
            try:
                done[replica.node_id] = replica.begin(upload.root, upload.length_bytes)
            except BridgeError as error:
                failed[replica.node_id] = error
        if len(done) < MIN_REPLICAS:
            raise too_few(len(done), failed)
        chosen = tuple(dict.fromkeys((*upload.chosen, *done)))
        held_by = tuple(node_id for node_id in upload.held_by if node_id in chosen)
        return Upload(upload.root, upload.length_bytes, upload.purpose, upload.uploader, chosen, held_by)

    def _state(self, upload: Upload) -> ImportState:
        chosen = self._named(upload.chosen)
        states, failed = try_each({replica.node_id: _state_call(replica, upload.root) for replica in chosen})
        if len(states) < MIN_REPLICAS:
            raise too_few(len(states), failed)
        if sum(not state.missing_count for state in states.values()) >= MIN_REPLICAS:
            complete = len(upload.held_by) >= MIN_REPLICAS
            return ImportState(upload.root, upload.length_bytes, complete, (), 0, upload.length_bytes)
        missing = dict.fromkeys(cid for state in states.values() for cid in state.missing)
        count = max(state.missing_count for state in states.values())
        done = min(state.done_bytes for state in states.values())
        if self._copied(upload, [replica for replica in chosen if replica.node_id in states], states):
            most = sorted(state.done_bytes for state in states.values())[-MIN_REPLICAS]
            return ImportState(upload.root, upload.length_bytes, False, (), count, most)
        listed = tuple(missing)[:MOST_MISSING_LISTED]
        return ImportState(upload.root, upload.length_bytes, False, listed, max(count, len(listed)), done)

    def _copied(self, upload: Upload, chosen: list[Replica], states: dict[bytes, ImportState]) -> bool:
        """Whether a storage node holds the whole body already, so that the others get it from there and nobody sends a block."""
        holders = self._copies.useful(upload.root, [r for r in chosen if states[r.node_id].complete])
        if not holders:
            return False
        failed = self._copies.failures(upload.root)
        if failed and not (holders := self._copies.useful(upload.root, holders)):
            return False
        targets = [replica for replica in chosen if replica.node_id not in {r.node_id for r in holders}]
        if failed and len(failed) >= len(targets):
            raise too_few(len(holders), failed)
        self._copies.start(upload.root, upload.length_bytes, holders, targets)
        return True

    def wait_for_copies(self, root: Cid) -> None:
        """Wait while a storage node that holds the body gives it to others."""
        self._copies.wait(root)

    def _finish_each(self, upload: Upload, ready: list[Replica]) -> tuple[list[Replica], dict[bytes, BridgeError]]:
        def finish(replica: Replica) -> Callable[[], None]:
            def run() -> None:
                replica.finish(upload.root)
                self.read_back(replica, upload, READ_BACK_BLOCKS)

            return run

        done, failed = try_each({replica.node_id: finish(replica) for replica in ready})
        return [replica for replica in ready if replica.node_id in done], failed

    def next_sweep(self, root: Cid, count: int) -> int:
        """Where this round's reading in order begins: each round goes on by `count` leaves, round and round."""
        with self._lock:
            start = self._sweeps.get(root, 0)
            self._sweeps[root] = start + count
        return start

    def read_back(self, replica: Replica, upload: Upload, count: int, *, sweep: Iterable[int] = ()) -> None:
        """The tree, `count` random leaves (all of a short file) and the leaves of `sweep` (counted round and round) come back right from
        this node, or its error is raised."""

        def get(cid: Cid) -> bytes:
            block = replica.get_block(cid.to_bytes())
            verify_block(cid, block)
            return block

        leaves: tuple[Cid, ...] = (upload.root,)
        if upload.length_bytes > LEAF_BYTES:
            leaves = read_dag(upload.root, upload.length_bytes, get).leaves
        numbers: Iterable[int] = range(len(leaves))
        if len(leaves) > count:
            numbers = [int.from_bytes(self._randbytes(16), "big") % len(leaves) for _ in range(count)]
            numbers = dict.fromkeys([*numbers, *(number % len(leaves) for number in sweep)])
        for number in numbers:
            get(leaves[number])

    def _named(self, node_ids: Iterable[bytes]) -> list[Replica]:
        known = {replica.node_id: replica for replica in self._replicas()}
        return [known[node_id] for node_id in node_ids if node_id in known]

    def _get(self, root: Cid) -> Upload:
        upload = self.find(root)
        if upload is None:
            raise InputError("light.no-upload", f"The upload {root} was not begun here.", hint="Begin it first.")
        return upload

    def _save(self, upload: Upload) -> None:
        row = (
            upload.root.to_bytes(),
            upload.length_bytes,
            upload.purpose,
            upload.uploader,
            json.dumps([node_id.hex() for node_id in upload.chosen]),
            json.dumps([node_id.hex() for node_id in upload.held_by]),
        )
        with self._lock:
            self._db.execute("INSERT OR REPLACE INTO uploads VALUES (?, ?, ?, ?, ?, ?)", row)


def copy_body(source: MultiSource, target: Replica, root: Cid, length_bytes: int) -> None:
    """Give `target` every block that it lacks, from `source`, and finish it there."""
    state = target.begin(root, length_bytes)
    while state.missing_count and not state.complete:
        for cid in state.missing:
            target.put_block(root, cid, source.get_block(cid.to_bytes()))
        before, state = state, target.state(root)
        if state.missing == before.missing:
            raise UnavailableError("transport.reply", f"The {target.name} keeps losing blocks.", actor=target.name)
    target.finish(root)


def too_few(found: int, failed: dict[bytes, BridgeError]) -> UnavailableError:
    """Not enough storage nodes take part."""
    return UnavailableError(
        "light.too-few-storage-nodes",
        f"{found} storage nodes take part and {MIN_REPLICAS} are needed. {_reasons(failed.values())}".strip(),
        hint="Try again when storage nodes are back; what is stored is kept.",
        actor="storage node",
    )


def _reasons(errors: Iterable[BridgeError]) -> str:
    return " ".join(dict.fromkeys(f"{error.message} [{error.code}]" for error in errors))[:400]


def _begin_call(replica: Replica, upload: Upload) -> Callable[[], ImportState]:
    return lambda: replica.begin(upload.root, upload.length_bytes)


def _state_call(replica: Replica, root: Cid) -> Callable[[], ImportState]:
    return lambda: replica.state(root)


def _upload(row: tuple[bytes, int, str, str, str, str]) -> Upload:
    chosen, held_by = (tuple(bytes.fromhex(text) for text in json.loads(column)) for column in row[4:])
    return Upload(Cid.from_bytes(row[0]), row[1], row[2], row[3], chosen, held_by)
