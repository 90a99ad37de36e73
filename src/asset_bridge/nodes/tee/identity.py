"""Who a TEE node is: its id, its operator, and the signing key of this process with the epochs that key holds.

Source: protocol §1 ("A node") and §6. Promises: the key is made at start and shown by nothing. Does not promise: anything about the
operator's account, which never enters this process's rules; it only pays for the registration.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from asset_bridge.chain.keys import AccountKey
from asset_bridge.errors import InputError


@dataclass(slots=True)
class NodeIdentity:
    """`epochs` are those that the registry gave to this very key; a renewal with it keeps the number."""

    node_id: bytes
    operator: str
    key: AccountKey
    measurement_id: bytes
    epochs: list[int] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @property
    def epoch(self) -> int:
        """The newest epoch; InputError(tee.not-registered) before there is one."""
        with self._lock:
            if not self.epochs:
                raise InputError("tee.not-registered", "the node is not registered yet", actor="operator")
            return self.epochs[-1]

    def holds(self, epoch: int) -> bool:
        """Whether this process's key is the key of that epoch."""
        with self._lock:
            return epoch in self.epochs

    def adopt(self, epoch: int) -> None:
        """A (re)registration with this key succeeded."""
        with self._lock:
            if epoch not in self.epochs:
                self.epochs.append(epoch)


def fresh_signing_key(randbytes: Callable[[int], bytes]) -> AccountKey:
    """The key of this process, never written."""
    return AccountKey.from_random(randbytes)
