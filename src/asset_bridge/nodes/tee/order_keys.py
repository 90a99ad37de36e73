"""The keys that a TEE node made for orders: in memory only, destroyed for good.

Source: protocol §4.2 and §6, spec/node-http-tee.md §4. Promises: nothing here is written or logged; after `destroy` no object of this
process leads to the private key; at most `per_order` keys per order and `total` in all. Does not promise: that Python's
allocator overwrites freed memory; memory is locked and core dumps are off (memory.py).
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from asset_bridge.errors import RefusedError, UnavailableError
from asset_bridge.keys.kem import SharePublicKey, ShareSecretKey


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of memory and time. `remembered` is how many destroyed keys are remembered as such."""

    order_key_seconds: int = 24 * 3600  # protocol §4.2: at most 24 h
    reuse_seconds: int = 3600  # a key with at least this long to live is given again
    per_order: int = 4
    total: int = 50_000
    remembered: int = 100_000


@dataclass(slots=True)
class HeldKey:
    """One live key. `generation` and `slot` are set when an approval on chain was seen to seal to it (slot -1: not yet)."""

    order_id: bytes
    epoch: int
    public: SharePublicKey
    expires_at: int
    secret: ShareSecretKey | None
    generation: int = 0
    slot: int = -1
    opened: tuple[object, object] | None = field(default=None, repr=False)
    """What it was opened for, and the share that was in it: checked once, and gone with the key."""

    @property
    def digest(self) -> bytes:
        """SHA-256 of the public key."""
        return self.public.digest()


class OrderKeys:
    """All keys of this process, by order and digest. Safe to use from several threads."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._lock = threading.Lock()
        self._held: dict[bytes, dict[bytes, HeldKey]] = {}
        self._destroyed: OrderedDict[bytes, None] = OrderedDict()
        self._count = 0

    def make(self, order_id: bytes, epoch: int, now_at: int, randbytes: Callable[[int], bytes]) -> HeldKey:
        """A key for this order: the unused one that is there, while it lives long enough, else a fresh one.

        Raises:
            RefusedError(tee.order-key-limit): this order has its number of keys. UnavailableError(tee.full): the node has.
        """
        with self._lock:
            held = self._held.setdefault(order_id, {})
            for key in held.values():
                if key.slot < 0 and key.epoch == epoch and key.expires_at - now_at >= self._limits.reuse_seconds:
                    return key
            if len(held) >= self._limits.per_order:
                raise RefusedError("tee.order-key-limit", "this node has made as many keys for this order as it makes")
            if self._count >= self._limits.total:
                raise UnavailableError("tee.full", "this node holds as many order keys as it can", actor="operator")
            secret = ShareSecretKey.generate(randbytes)
            key = HeldKey(order_id, epoch, secret.public_key(), now_at + self._limits.order_key_seconds, secret)
            held[key.digest] = key
            self._count += 1
            return key

    def find(self, order_id: bytes, digest: bytes) -> HeldKey:
        """The live key; RefusedError(tee.key-destroyed) when this process has none like it any more."""
        with self._lock:
            key = self._held.get(order_id, {}).get(digest)
            known = digest in self._destroyed
        if key is None or key.secret is None:
            why = "was destroyed" if known else "was lost when the node started anew"
            raise RefusedError(
                "tee.key-destroyed",
                f"the key that this share is sealed to {why}",
                hint="the provider can give the share to a new key: asset-bridge reseal ORDER",
                actor="provider",
            )
        return key

    def orders(self) -> list[bytes]:
        """Every order with a live key."""
        with self._lock:
            return list(self._held)

    def of(self, order_id: bytes) -> list[HeldKey]:
        """The live keys of an order."""
        with self._lock:
            return list(self._held.get(order_id, {}).values())

    def destroy(self, key: HeldKey) -> bool:
        """Forget the private key; False when it was gone before."""
        with self._lock:
            held = self._held.get(key.order_id, {})
            if held.pop(key.digest, None) is None:
                return False
            key.secret = key.opened = None
            self._count -= 1
            if not held:
                self._held.pop(key.order_id, None)
            self._destroyed[key.digest] = None
            while len(self._destroyed) > self._limits.remembered:
                self._destroyed.popitem(last=False)
            return True

    @property
    def count(self) -> int:
        """How many private keys are held."""
        return self._count
