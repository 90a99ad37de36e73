"""The in-memory twin of a block store, for tests and for a trade in one process.

Source: ipfs/store.py. Promises what the port promises, for as long as the object lives.
"""

from __future__ import annotations

import threading

from asset_bridge.errors import InputError, RefusedError, TamperedError, UnavailableError
from asset_bridge.ipfs.plan import Plan
from asset_bridge.ipfs.store import BodyInfo, ImportState, check_length
from asset_bridge.ipld.cid import DAG_PB, Cid, verify_block
from asset_bridge.ipld.content_id import ContentId


class InMemoryStore:
    """Bodies in dictionaries. `capacity_bytes` limits what it takes."""

    def __init__(self, capacity_bytes: int = 1 << 30) -> None:
        self._lock = threading.RLock()
        self._capacity_bytes = capacity_bytes
        self._plans: dict[Cid, Plan] = {}
        self._finished: set[Cid] = set()
        self.blocks: dict[Cid, dict[Cid, bytes]] = {}
        """Root → blocks; a test damages replicas here."""

    def begin(self, root: Cid, length_bytes: int) -> ImportState:
        """See BlockStore."""
        check_length(root, length_bytes)
        with self._lock:
            plan = self._plans.get(root)
            if plan is not None and plan.length_bytes != length_bytes:
                raise InputError("ipfs.length", f"The body {root} was begun with another length.")
            if plan is None:
                if length_bytes > self.free_bytes():
                    raise disk_full(length_bytes, self.free_bytes())
                self._plans[root] = Plan(root, length_bytes)
                self.blocks[root] = {}
            return self.state(root)

    def state(self, root: Cid) -> ImportState:
        """See BlockStore."""
        with self._lock:
            return self._plan(root).state(finished=root in self._finished)

    def put_block(self, root: Cid, cid: Cid, block: bytes) -> None:
        """See BlockStore."""
        verify_block(cid, block)
        with self._lock:
            plan = self._plan(root)
            if cid.codec == DAG_PB:
                if plan.add_interior(cid, block):
                    for leaf, size in plan.pending.items():
                        plan.mark(plan.places(leaf, size))
            elif plan.dag is None:
                plan.add_pending(cid, len(block))
            else:
                plan.mark(plan.places(cid, len(block)))
            self.blocks[root][cid] = bytes(block)

    def finish(self, root: Cid) -> None:
        """See BlockStore."""
        with self._lock:
            if not self._plan(root).complete:
                raise incomplete(self.state(root))
            self._finished.add(root)

    def get_block(self, cid: Cid) -> bytes:
        """See BlockStore."""
        with self._lock:
            copies = [self.blocks[root][cid] for root in self._finished if cid in self.blocks[root]]
        if not copies:
            raise block_missing(cid)
        for block in copies:
            try:
                verify_block(cid, block)
            except TamperedError:
                continue
            return block
        raise block_damaged(cid)

    def block_size(self, cid: Cid) -> int | None:
        """See BlockStore."""
        with self._lock:
            return next((len(self.blocks[root][cid]) for root in self._finished if cid in self.blocks[root]), None)

    def remove(self, root: Cid) -> bool:
        """See BlockStore."""
        with self._lock:
            self._finished.discard(root)
            self.blocks.pop(root, None)
            return self._plans.pop(root, None) is not None

    def inventory(self) -> tuple[BodyInfo, ...]:
        """See BlockStore."""
        with self._lock:
            return tuple(
                BodyInfo(root, plan.length_bytes, root in self._finished) for root, plan in sorted(self._plans.items())
            )

    def free_bytes(self) -> int:
        """See BlockStore."""
        with self._lock:
            return self._capacity_bytes - sum(plan.length_bytes for plan in self._plans.values())

    def close(self) -> None:
        """See BlockStore."""

    def _plan(self, root: Cid) -> Plan:
        plan = self._plans.get(root)
        if plan is None:
            raise no_import(root)
        return plan


def no_import(root: Cid) -> InputError:
    """Nothing of this root is here."""
    return InputError("ipfs.no-import", f"The body {root} was not begun here.", hint="Begin the upload first.")


def other_content(root: Cid) -> TamperedError:
    """A file does not hold the body that it should."""
    return TamperedError(
        "ipfs.other-content",
        f"The file's content is not the body {root}.",
        hint="It changed or was damaged since it was sealed; take another copy.",
        actor="you",
    )


def incomplete(state: ImportState) -> RefusedError:
    """`finish` came too early."""
    return RefusedError(
        "ipfs.incomplete",
        f"{state.missing_count} blocks of {state.root} are missing.",
        hint="Send them, then finish again.",
    )


def block_missing(cid: Cid | ContentId) -> UnavailableError:
    """The store has no such block."""
    return UnavailableError(
        "ipfs.block-missing", f"The block {cid} is not here.", hint="Ask another replica.", actor="storage node"
    )


def block_damaged(cid: Cid | ContentId) -> TamperedError:
    """The store has the block, and its bytes changed."""
    return TamperedError(
        "ipfs.block-damaged",
        f"The stored copy of block {cid} is damaged.",
        hint="Another replica is asked; the audit repairs this one.",
        actor="storage node",
    )


def disk_full(need_bytes: int, free_bytes: int) -> UnavailableError:
    """A write that does not fit, refused before it begins."""
    return UnavailableError(
        "ipfs.disk-full",
        f"This needs {need_bytes} bytes and {max(0, free_bytes)} are free.",
        hint="Free space on the storage node, or use another one.",
        actor="operator",
    )
