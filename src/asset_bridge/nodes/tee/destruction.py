"""When an order's key ends, and the signed word that it did.

Source: protocol §6, spec/node-http-tee.md §6. Promises: a key is destroyed when a finalized block shows the order revoked, ended or closed,
or the slot given to another key (any head makes the node refuse at once; what cannot be taken back waits for finality), and an unused
one after its `expires`, when no approval names it. `Destroyed` is signed after the private key is gone, never before.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from enum import IntEnum

from asset_bridge.chain.messages import Domain, destroyed_digest
from asset_bridge.chain.records import DestroyedReceipt, Order
from asset_bridge.errors import BridgeError, RefusedError, UnavailableError
from asset_bridge.nodes.tee import rules
from asset_bridge.nodes.tee.chain_view import ChainView, Seen
from asset_bridge.nodes.tee.identity import NodeIdentity
from asset_bridge.nodes.tee.order_keys import HeldKey, OrderKeys
from asset_bridge.nodes.tee.released import MadeCfrags

MOST_REMEMBERED_ORDERS = 100_000


class Reason(IntEnum):
    """`Destroyed.reason` (uint8), frozen in spec/node-http-tee.md §6."""

    REVOKED = 1
    ENDED = 2
    CLOSED = 3
    SUPERSEDED = 4
    UNUSED = 5
    STOPPED = 6


_OF_RULE = {"revoked": Reason.REVOKED, "expired": Reason.ENDED, "closed": Reason.CLOSED}


class Reaper:
    """Looks at orders with live keys and destroys what has ended."""

    def __init__(
        self, view: ChainView, keys: OrderKeys, made: MadeCfrags, identity: NodeIdentity, domain: Domain
    ) -> None:
        self._view, self._keys, self._made, self._identity, self._domain = view, keys, made, identity, domain
        self._lock = threading.Lock()
        self._receipts: OrderedDict[bytes, list[DestroyedReceipt]] = OrderedDict()

    def sweep(self) -> int:
        """Look at every order once; orders whose endpoints do not answer now are left for the next time."""
        gone = 0
        for order_id in self._keys.orders():
            try:
                gone += self.reap(order_id)
            except UnavailableError:
                continue
        for order_id in self._made.orders():
            try:
                self._drop_cfrags(order_id)
            except BridgeError:
                continue
        return gone

    def reap(self, order_id: bytes) -> int:
        """Destroy the keys of this order that have ended; how many."""
        held = self._keys.of(order_id)
        if not held:
            return 0
        try:
            seen = self._view.order(order_id)
        except RefusedError:  # an order that no endpoint knows any more: nothing can be sealed or served
            return sum(self._destroy(key, Reason.CLOSED) for key in held)
        return sum(self._destroy(key, reason) for key in held if (reason := _reason(key, seen)) is not None)

    def receipts(self, order_id: bytes) -> list[DestroyedReceipt]:
        """What was signed for this order so far."""
        with self._lock:
            return list(self._receipts.get(order_id, ()))

    def destroy_all(self) -> None:
        """The service ends."""
        for order_id in self._keys.orders():
            for key in self._keys.of(order_id):
                self._destroy(key, Reason.STOPPED)

    def _destroy(self, key: HeldKey, reason: Reason) -> int:
        if not self._keys.destroy(key):
            return 0
        if key.slot >= 0:  # a key that no approval named is nobody's loss, and the chain has no slot to record it in
            self._sign(key, reason)
        return 1

    def _sign(self, key: HeldKey, reason: Reason) -> None:
        def receipt(signature: bytes) -> DestroyedReceipt:
            return DestroyedReceipt(
                key.generation, key.slot, key.digest, self._identity.node_id, key.epoch, int(reason), signature
            )

        digest = destroyed_digest(self._domain, key.order_id, receipt(b""))
        with self._lock:
            self._receipts.setdefault(key.order_id, []).append(receipt(self._identity.key.sign_digest(digest)))
            while len(self._receipts) > MOST_REMEMBERED_ORDERS:
                self._receipts.popitem(last=False)

    def _drop_cfrags(self, order_id: bytes) -> None:
        """Once no key of the order is left and its windows are over."""
        if self._keys.of(order_id):
            return
        seen = self._view.order(order_id)
        order, reader = seen.order, self._view.reader
        periods = order.terms.offer.periods
        latest = order.deliver_by + reader.grace_seconds() + periods.window_seconds + periods.answer_seconds
        if seen.now_at >= max(latest, order.windows_end):
            self._made.drop(order_id)


def _reason(key: HeldKey, seen: Seen) -> Reason | None:
    """Why the key ends now, or None while it goes on."""
    place = note_place(seen.order, key)
    why = rules.ended(seen.order, seen.final.timestamp)
    if why:
        return _OF_RULE[why]
    if place is not None or any(record is not None and _place(record, key) is not None for record in seen.heads):
        return None
    if key.slot >= 0:
        return Reason.SUPERSEDED
    return Reason.UNUSED if seen.final.timestamp > key.expires_at else None


def note_place(order: Order, key: HeldKey) -> tuple[int, int] | None:
    """(generation, slot) of the slot of the order's current approval that is sealed to this key; the key remembers it."""
    place = _place(order, key)
    if place is not None and key.slot < 0:
        key.generation, key.slot = place
    return place


def _place(order: Order, key: HeldKey) -> tuple[int, int] | None:
    """(generation, slot) of the slot that is sealed to this key in the order's current approval."""
    if order.approval is None:
        return None
    for index, slot in enumerate(order.approval.slots):
        if slot.kem_key_digest == key.digest:
            return order.approval.generation, index
    return None
