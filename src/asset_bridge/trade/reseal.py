"""`reseal`: the same share to a new order key, where a node restarted (protocol §7).

Promises: id, commitment and precursor of the share stay what they were; the new node passed this provider's policy and opened the
blob (`Accept`) before the transaction. Does not promise: to replace a share that is still live.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

from asset_bridge.attestation.appraise import Accepted
from asset_bridge.chain.records import AcceptSignature, Approval, ApprovedSlot, At, Node, Order, OrderState, Sent
from asset_bridge.errors import BridgeError, DefectError, InputError
from asset_bridge.reencryption import VerifiedKeyFrag
from asset_bridge.trade.check_approval import is_acceptance, not_its_word
from asset_bridge.trade.check_asset import checked_asset
from asset_bridge.trade.desk import FINAL_TRIES, Desk, not_final, require_role
from asset_bridge.trade.evidence import Examiner, challenge, take_order_key
from asset_bridge.trade.shares import RefusedNode, make_shares, owned_asset, seal_share

RESEALABLE = (OrderState.APPROVED, OrderState.PAID, OrderState.DELIVERED, OrderState.SETTLED)


class Lost(NamedTuple):
    """A slot whose share is dead, and why."""

    slot: int
    node_id: bytes
    reason: str


@dataclass(frozen=True, slots=True)
class Resealed:
    """Slots that live again, and those that do not with the reason."""

    order_id: bytes
    slots: tuple[int, ...]
    failed: tuple[RefusedNode, ...]
    sent: tuple[Sent, ...]


def lost_slots(order: Order, nodes: dict[bytes, Node]) -> list[Lost]:
    """Slots whose node has new keys, is not live, or said that it destroyed the key."""
    lost = []
    destroyed = {(d.slot, d.kem_key_digest) for d in order.destroyed}
    for number, slot in enumerate(order.approval.slots if order.approval is not None else ()):
        node = nodes.get(slot.node_id)
        if (number, slot.kem_key_digest) in destroyed:
            lost.append(Lost(number, slot.node_id, "destroyed its key"))
        elif node is None or not node.live:
            lost.append(Lost(number, slot.node_id, "is not live"))
        elif node.current.epoch != slot.epoch:
            lost.append(Lost(number, slot.node_id, "started anew with other keys"))
    return lost


def reseal(desk: Desk, order_id: bytes, examiner: Examiner, slots: tuple[int, ...] | None = None) -> Resealed:
    """Give each lost share to the same node's new key.

    Args:
        slots: only these, also when their share looks live (a node that lost its key without a new epoch).
    Raises:
        InputError(trade.role, trade.state): not this provider's order, or nothing is served any more.
        InputError(trade.nothing-lost): every share is live.
        UnavailableError(trade.not-final): a node has started anew, and its new epoch did not become final in time.
    """
    order = desk.final_order(order_id, *RESEALABLE)
    require_role(desk, order, "provider")
    order = desk.reader.order(order_id)
    approval = order.approval
    if approval is None:
        raise DefectError("trade.no-approval", "an approved order came without its approval", actor="nobody")
    nodes = _final_nodes(desk, approval)
    wanted = tuple(lost.slot for lost in lost_slots(order, nodes)) if slots is None else slots
    if not wanted:
        raise InputError(
            "trade.nothing-lost", "every share of this order is live", hint=f"asset-bridge status 0x{order_id.hex()}"
        )
    if any(not 0 <= slot < len(approval.slots) for slot in wanted):
        raise InputError("trade.slot", f"this order has the slots 0 to {len(approval.slots) - 1}")
    owned = owned_asset(desk, checked_asset(desk.reader, order.terms.asset_id))
    shares = make_shares(
        desk, owned, order_id, order.terms.pk_b, approval.generation, approval.threshold, len(approval.slots)
    )
    done: list[int] = []
    failed: list[RefusedNode] = []
    sent: list[Sent] = []
    for slot in wanted:
        old = approval.slots[slot]
        published = shares[slot].published()
        if (published.kfrag_id, published.u1.to_bytes(), published.x_a.to_bytes()) != (
            old.kfrag_id,
            old.u1,
            approval.precursor,
        ):
            raise InputError(
                "trade.other-seed",
                "this home's seed and tweak do not give the shares of the approval",
                hint="use the home that approved the order, or restore it from its backup",
            )
        try:
            new, accept = _to_new_key(desk, order, examiner, slot, shares[slot], nodes[old.node_id])
            sent.append(desk.account.reseal(order_id, slot, replace(approval, slots=(new,)), accept))
            done.append(slot)
        except BridgeError as error:
            failed.append(RefusedNode(old.node_id, (error.code,), error.message))
    return Resealed(order_id, tuple(done), tuple(failed), tuple(sent))


def _final_nodes(desk: Desk, approval: Approval) -> dict[bytes, Node]:
    """The nodes of the slots at a finalized block that knows their newest epoch; waits for one where a node has only just started."""
    for _ in range(FINAL_TRIES):
        nodes = {slot.node_id: desk.reader.node(slot.node_id, At.FINAL) for slot in approval.slots}
        if all(
            desk.reader.node(node_id, At.HEAD).current.epoch <= node.current.epoch for node_id, node in nodes.items()
        ):
            return nodes
        desk.pause()
    raise not_final("the newest start of a node")


def _to_new_key(
    desk: Desk, order: Order, examiner: Examiner, slot: int, share: VerifiedKeyFrag, node: Node
) -> tuple[ApprovedSlot, AcceptSignature]:
    """Challenge the node anew, seal the share to its new key, and take its `Accept`."""
    approval: Approval = order.approval  # type: ignore[assignment]  # the caller checked
    tee = desk.connect_tee(node)
    verdict = challenge(tee, node, examiner)
    if not isinstance(verdict, Accepted):
        raise InputError("trade.node-refused", verdict.sentence(), hint="asset-bridge node list tee")
    key = take_order_key(tee, verdict, node, order.order_id, reader=desk.reader, now=desk.clock())
    new = seal_share(share, order.order_id, approval.generation, slot, key)
    accept = tee.accept_reseal(order.order_id, approval.generation, slot, new)
    if not is_acceptance(desk, order.order_id, approval.generation, slot, new, node, accept):
        raise not_its_word()
    return new, accept
