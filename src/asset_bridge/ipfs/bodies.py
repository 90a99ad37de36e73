"""What stores with a catalogue of finished bodies and a plan for each open import have in common: beginning, state, room, the lock.

Source: ipfs/store.py (BlockStore), spec/node-http.md §7 (H17). Promises: one process a folder; what open imports still need is not free.
"""

from __future__ import annotations

import fcntl
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from asset_bridge.errors import InputError, UnavailableError
from asset_bridge.ipfs.catalogue import Catalogue
from asset_bridge.ipfs.memory import disk_full
from asset_bridge.ipfs.plan import Plan
from asset_bridge.ipfs.store import BodyInfo, ImportState, check_length
from asset_bridge.ipld.cid import Cid

RESERVE_BYTES = 64 * 1024 * 1024


class BodyStore(ABC):
    """The base of EmbeddedStore and KuboStore."""

    _catalogue: Catalogue

    def __init__(self, reserve_bytes: int) -> None:
        self._reserve_bytes = reserve_bytes
        self._lock = threading.RLock()
        self._plans: dict[Cid, Plan] = {}

    def begin(self, root: Cid, length_bytes: int) -> ImportState:
        """See BlockStore."""
        check_length(root, length_bytes)
        with self._lock:
            try:
                state = self.state(root)
            except InputError:
                self._check_room(length_bytes)
                self._create_import(root, length_bytes)
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

    def inventory(self) -> tuple[BodyInfo, ...]:
        """See BlockStore."""
        with self._lock:
            found = [BodyInfo(root, length, True) for root, length in self._catalogue.bodies()]
            found += [BodyInfo(plan.root, plan.length_bytes, False) for plan in self._open_plans()]
            return tuple(sorted(found, key=lambda info: info.root))

    @abstractmethod
    def free_bytes(self) -> int:
        """See BlockStore."""

    @abstractmethod
    def _plan(self, root: Cid) -> Plan:
        """How far an import is. Raises InputError(ipfs.no-import)."""

    @abstractmethod
    def _open_plans(self) -> Iterable[Plan]:
        """Every import."""

    @abstractmethod
    def _create_import(self, root: Cid, length_bytes: int) -> None:
        """Note that an import was begun."""

    def _check_room(self, need_bytes: int) -> None:
        with self._lock:
            open_bytes = sum(plan.length_bytes - plan.done_bytes for plan in self._open_plans())
            free = self.free_bytes() - open_bytes
        if need_bytes > free:
            raise disk_full(need_bytes, free)


def lock_folder(folder: Path) -> BinaryIO:
    """The open lock file of a store. Raises UnavailableError(ipfs.store-locked): another process has it."""
    lock_file = open(folder / "lock", "ab")  # noqa: SIM115 - held for the store's life
    try:
        fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        lock_file.close()
        raise UnavailableError(
            "ipfs.store-locked", "Another process has this store open.", hint="Stop it first.", actor="operator"
        ) from error
    return lock_file
