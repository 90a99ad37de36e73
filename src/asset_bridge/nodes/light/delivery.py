"""Passing a fetch on to the TEE nodes, acknowledging receipts, and getting deliveries recorded.

Source: protocol §5, spec/node-http.md §10. Promises: a receipt is acknowledged only after it was checked against chain and registry and
is on disk; receipts are recorded by this node's own account once a threshold of one generation is together, its own or other light
nodes'; a recorded order is let go only when the record is final, an unrecorded one only after GRACE.
Does not promise: anything about a cfrag; the consumer verifies those.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from asset_bridge.chain.messages import Domain, ack_digest, fetch_digest, receipt_digest, recover
from asset_bridge.chain.records import (
    Ack,
    At,
    DeliveryReceipt,
    FetchSignature,
    Node,
    NodeKind,
    Order,
    OrderState,
    Sent,
)
from asset_bridge.errors import BridgeError, DefectError, RefusedError, TamperedError
from asset_bridge.nodes.light.receipts import ReceiptStore
from asset_bridge.trade.ports import ChainAccount, ChainReader, Signer, TeeNode
from asset_bridge.trade.remote import Fanout, SlotFailure

RECORD_AFTER_SECONDS = 30
"""An acknowledging node gives the forwarding one this long before it records itself."""
_RECORDABLE = (OrderState.PAID, OrderState.REVOKED)
_HELD = (*_RECORDABLE, OrderState.DELIVERED, OrderState.SETTLED)
_LOG = logging.getLogger("asset_bridge.light")


class ReceiptHolder(Protocol):
    """Another light node, asked for the receipts it holds (trade.remote.RemoteLight)."""

    def receipts(self, order_id: bytes) -> tuple[FetchSignature | None, list[DeliveryReceipt]]: ...


class Delivery:
    """Deliveries as one light node sees them.

    Args:
        identity: node id, epoch and signing key of this light node. account: pays for records; None never records.
        tee_of, light_of: connections to registered nodes.
    """

    def __init__(
        self,
        reader: ChainReader,
        store: ReceiptStore,
        *,
        node_id: bytes,
        epoch: int,
        key: Signer,
        account: ChainAccount | None,
        tee_of: Callable[[Node], TeeNode],
        light_of: Callable[[Node], ReceiptHolder],
        clock: Callable[[], float],
        record_after_seconds: int = RECORD_AFTER_SECONDS,
    ) -> None:
        self._reader, self._store, self._account = reader, store, account
        self._node_id, self._epoch, self._key = node_id, epoch, key
        self._tee_of, self._light_of, self._clock = tee_of, light_of, clock
        self._record_after_seconds = record_after_seconds
        self._domain = Domain(reader.chain_id, reader.exchange)
        self._soon: set[bytes] = set()
        self._recording = threading.Lock()

    # --- fetch --------------------------------------------------------------------------------------------------------------

    def reencrypt(self, order_id: bytes, fetch: FetchSignature) -> Fanout:
        """Ask the node of every slot at once. Whoever fails is in the report with its own reason.

        Raises:
            RefusedError(light.not-approved): there are no slots to ask. (light.fetch-signature): not by the order's fetch signer.
        """
        order = self._reader.order(order_id)
        if order.approval is None:
            raise RefusedError(
                "light.not-approved", "The order is not approved.", hint="Wait for the provider.", actor="provider"
            )
        self._check_fetch(order, fetch)
        self._store.add_fetch(order_id, fetch)  # before the TEE nodes ask us to acknowledge what it brings
        slots = order.approval.slots
        with ThreadPoolExecutor(max_workers=len(slots)) as pool:
            futures = [pool.submit(self._ask, order, slot, entry.node_id, fetch) for slot, entry in enumerate(slots)]
            results = [future.result() for future in futures]
        answers = tuple(result for result in results if not isinstance(result, SlotFailure))
        failed = tuple(result for result in results if isinstance(result, SlotFailure))
        for _node_id, _cfrag, receipt, _acks in answers:
            self._keep(order, fetch, receipt)
        if answers:
            self._soon.add(order_id)
        return Fanout(answers, failed)

    def _ask(
        self, order: Order, slot: int, node_id: bytes, fetch: FetchSignature
    ) -> tuple[bytes, bytes, DeliveryReceipt, tuple[Ack, ...]] | SlotFailure:
        try:
            node = self._reader.node(node_id)
            cfrag, receipt, acks = self._tee_of(node).reencrypt(order.order_id, fetch)
            self._check(order, fetch, receipt)
            if (receipt.slot, receipt.node_id) != (slot, node_id):
                raise TamperedError("light.receipt", "The receipt is for another slot.", actor="tee node")
            return node_id, cfrag, receipt, acks
        except BridgeError as error:
            return SlotFailure(node_id, slot, error)

    def _keep(self, order: Order, fetch: FetchSignature, receipt: DeliveryReceipt) -> None:
        digest = receipt_digest(self._domain, order.order_id, receipt)
        self._store.add(order.order_id, fetch, digest, receipt, int(self._clock()))

    # --- ack ----------------------------------------------------------------------------------------------------------------

    def acknowledge(self, order_id: bytes, fetch: FetchSignature | None, receipt: DeliveryReceipt) -> Ack:
        """Store a receipt durably, then say so. `fetch` may be left out when this node passed it on itself.

        Raises:
            RefusedError(light.order-state): the order needs no receipts. (light.fetch-signature). (light.no-fetch): no `Fetch` is
            known for it, so nobody could record the receipt.
            TamperedError(light.receipt): the receipt is not what the named node would sign for this order.
            UnavailableError(light.receipt-store): it could not be stored; no Ack.
        """
        order = self._reader.order(order_id)
        if order.state not in _HELD:
            raise RefusedError(
                "light.order-state", "The order is in no state in which a delivery is recorded.", actor="consumer"
            )
        fetch = fetch or self._store.fetch(order_id, receipt.generation)
        if fetch is None:
            raise RefusedError(
                "light.no-fetch", "This node does not hold the Fetch that the receipt answers.", hint="Send it too."
            )
        self._check_fetch(order, fetch)
        self._check(order, fetch, receipt)
        digest = receipt_digest(self._domain, order_id, receipt)
        self._store.add(order_id, fetch, digest, receipt, int(self._clock()))
        signature = self._key.sign_digest(ack_digest(self._domain, digest, self._node_id, self._epoch))
        return Ack(digest, self._node_id, self._epoch, signature)

    def held(self, order_id: bytes) -> tuple[FetchSignature | None, list[DeliveryReceipt]]:
        """The receipts held for an order (they are no secret) and the `Fetch` of the newest generation among them."""
        receipts = self._store.receipts(order_id)
        newest = max((receipt.generation for receipt in receipts), default=0)
        chosen = [receipt for receipt in receipts if receipt.generation == newest]
        return self._store.fetch(order_id, newest), chosen

    def _check_fetch(self, order: Order, fetch: FetchSignature) -> None:
        try:
            signer = recover(fetch_digest(self._domain, order.order_id, fetch.generation), fetch.signature)
        except (TamperedError, DefectError):
            signer = ""
        if signer != order.terms.fetch_signer:
            raise RefusedError(
                "light.fetch-signature", "The fetch is not signed by the order's fetch signer.", actor="consumer"
            )

    def _check(self, order: Order, fetch: FetchSignature, receipt: DeliveryReceipt) -> None:
        """The receipt names a slot of the order, the fetch at hand, and was signed by its node's key of that epoch."""
        try:
            expected = fetch_digest(self._domain, order.order_id, fetch.generation)
            signer = recover(receipt_digest(self._domain, order.order_id, receipt), receipt.signature)
        except (TamperedError, DefectError):
            raise _bad_receipt("its signature does not verify") from None
        if (receipt.generation, receipt.fetch_digest) != (fetch.generation, expected):
            raise _bad_receipt("it answers another fetch")
        if not self._names_a_slot(order, receipt):
            raise _bad_receipt("the order has no such slot at this node")
        node = self._reader.node(receipt.node_id)
        keys = {epoch.epoch: epoch.signing_address for epoch in (*node.epochs, node.current)}
        if node.kind != NodeKind.TEE or keys.get(receipt.epoch) != signer:
            raise _bad_receipt("another key than the node's signed it")

    @staticmethod
    def _names_a_slot(order: Order, receipt: DeliveryReceipt) -> bool:
        """A slot of the current approval, or one that was accepted before a reseal (its table stays valid)."""
        slots = order.approval.slots if order.approval is not None else ()
        if not 0 <= receipt.slot < len(slots) or slots[receipt.slot].kfrag_id != receipt.kfrag_id:
            return False
        current = slots[receipt.slot]
        return (current.node_id, current.epoch) == (receipt.node_id, receipt.epoch) or (
            receipt.slot,
            receipt.node_id,
        ) in order.accepted

    # --- record -------------------------------------------------------------------------------------------------------------

    def sweep(self) -> list[Sent]:
        """Record what can be recorded, let go what is final. Call it every few seconds; failures are logged and tried again."""
        sent = []
        with self._recording:
            for order_id, first_at in self._store.orders():
                try:
                    done = self._sweep_one(order_id, first_at)
                except BridgeError as error:
                    fields = {"order": order_id.hex()[:16], "code": error.code}
                    _LOG.warning("record", extra={"fields": fields})
                    continue
                if done is not None:
                    sent.append(done)
        return sent

    def unrecorded(self) -> int:
        """Orders with receipts that are not yet recorded for good."""
        return len(self._store.orders())

    def _sweep_one(self, order_id: bytes, first_at: int) -> Sent | None:
        order = self._reader.order(order_id)
        if order.state in (OrderState.DELIVERED, OrderState.SETTLED) or order.delivered_receipts:
            final = self._reader.order(order_id, At.FINAL)
            if final.delivered_receipts:
                self._let_go(order_id)
            return None
        now_at = int(self._clock())
        if order.state not in _RECORDABLE:
            grace_ends = max(order.deliver_by, first_at) + self._reader.grace_seconds()
            if now_at > grace_ends:
                self._let_go(order_id)
            return None
        if self._account is None or (order_id not in self._soon and now_at < first_at + self._record_after_seconds):
            return None
        together = self._together(order)
        if together is None:
            return None
        sent = self._account.record_delivery(order_id, *together)
        _LOG.info("recorded", extra={"fields": {"order": order_id.hex()[:16], "gas": sent.gas_used}})
        return sent

    def _let_go(self, order_id: bytes) -> None:
        self._store.drop(order_id)
        self._soon.discard(order_id)

    def _together(self, order: Order) -> tuple[FetchSignature, Sequence[DeliveryReceipt]] | None:
        """A threshold of receipts of the current generation with their `Fetch`: ours first, then other light nodes'."""
        if order.approval is None:
            return None
        generation, needed = order.approval.generation, order.approval.threshold
        fetch = self._store.fetch(order.order_id, generation)
        by_slot = {r.slot: r for r in self._store.receipts(order.order_id) if r.generation == generation}
        if fetch is not None and len(by_slot) < needed:
            for receipt in self._from_others(order, fetch):
                by_slot.setdefault(receipt.slot, receipt)
        if fetch is None or len(by_slot) < needed:
            return None
        return fetch, [by_slot[slot] for slot in sorted(by_slot)][:needed]

    def _from_others(self, order: Order, fetch: FetchSignature) -> list[DeliveryReceipt]:
        """Receipts that other light nodes acknowledged; each is checked as our own and stored."""
        found = []
        for node in self._reader.nodes(NodeKind.LIGHT):
            if node.node_id == self._node_id or not node.live:
                continue
            try:
                _fetch, receipts = self._light_of(node).receipts(order.order_id)
                for receipt in receipts[:16]:
                    self._check(order, fetch, receipt)
                    self._keep(order, fetch, receipt)
                    found.append(receipt)
            except BridgeError:
                continue
        return found


def _bad_receipt(why: str) -> TamperedError:
    return TamperedError("light.receipt", f"The receipt does not verify: {why}.", actor="tee node")
