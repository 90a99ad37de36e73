"""`revoke`: no further fragment for this order (protocol §7).

Promises: refused by nodes as soon as they see it at any head; money of delivered orders is untouched. Does not promise: that a
consumer who has the data loses it.
"""

from __future__ import annotations

from dataclasses import dataclass

from asset_bridge.chain.messages import destroyed_digest, recover
from asset_bridge.chain.records import ApprovedSlot, At, DestroyedReceipt, Node, OrderState, Sent
from asset_bridge.errors import BridgeError
from asset_bridge.trade.desk import Desk, require_role, wrong_state

REVOCABLE = (OrderState.APPROVED, OrderState.PAID, OrderState.DELIVERED, OrderState.SETTLED)


def revoke(desk: Desk, order_id: bytes) -> Sent:
    """Stop serving an order.

    Raises:
        InputError(trade.role, trade.state): not this provider's order, or nothing to stop.
    """
    order = desk.reader.order(order_id)
    require_role(desk, order, "provider")
    if order.state not in REVOCABLE:
        raise wrong_state(order, *REVOCABLE)
    return desk.account.revoke(order_id)


def loses_a_challenge(desk: Desk, order_id: bytes) -> bool:
    """Whether a revocation now leaves a challenge of the delivery without an answer: it is recorded for earlier shares than the
    present ones, and no node may make a fragment of these once the order is revoked (decision 0058)."""
    order = desk.reader.order(order_id)
    if order.state is not OrderState.DELIVERED or order.approval is None:
        return False
    return desk.reader.recorded_fetch(order_id).generation != order.approval.generation


@dataclass(frozen=True, slots=True)
class Destruction:
    """Slots whose node signed that its key is gone, whose node started anew with other keys, and which are silent."""

    destroyed: int
    ended: int
    silent: int
    sent: tuple[Sent, ...]


def collect_destroyed(desk: Desk, order_id: bytes) -> Destruction:
    """Ask each slot's node for its `Destroyed`, check it and record it on chain (protocol §6, §7)."""
    order = desk.reader.order(order_id)
    recorded = {(receipt.slot, receipt.kem_key_digest) for receipt in order.destroyed}
    destroyed = ended = silent = 0
    sent: list[Sent] = []
    for number, slot in enumerate(order.approval.slots if order.approval is not None else ()):
        if (number, slot.kem_key_digest) in recorded:
            destroyed += 1
            continue
        try:
            node = desk.reader.node(slot.node_id, At.HEAD)
            if node.current.epoch != slot.epoch:
                ended += 1
                continue
            for receipt in desk.connect_tee(node).destroyed(order_id):
                if _counts(desk, order_id, node, number, slot, receipt):
                    sent.append(desk.account.record_destroyed(order_id, receipt))
                    destroyed += 1
                    break
            else:
                silent += 1
        except BridgeError:
            silent += 1
    return Destruction(destroyed, ended, silent, tuple(sent))


def _counts(
    desk: Desk, order_id: bytes, node: Node, number: int, slot: ApprovedSlot, receipt: DestroyedReceipt
) -> bool:
    given = (receipt.slot, receipt.kem_key_digest, receipt.node_id, receipt.epoch)
    signer = recover(destroyed_digest(desk.exchange_domain, order_id, receipt), receipt.signature)
    return given == (number, slot.kem_key_digest, slot.node_id, slot.epoch) and signer == node.current.signing_address
