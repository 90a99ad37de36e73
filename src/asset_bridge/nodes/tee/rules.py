"""Who gets what, when: the rules of protocol §6 on what the node saw of an order. Pure decisions.

Source: protocol §6 and §7, spec/node-http-tee.md §4. Promises: permission needs the finalized record; one head that shows the end of an
order refuses; a time that has come refuses whatever any record says. Each refusal has its own code.
"""

from __future__ import annotations

from asset_bridge.chain.records import Order, OrderState
from asset_bridge.errors import RefusedError
from asset_bridge.nodes.tee.chain_view import Seen, disagree, not_final

_BEFORE_PAY = (OrderState.REQUESTED, OrderState.APPROVED)
_SERVED = (OrderState.PAID, OrderState.DELIVERED, OrderState.SETTLED)
_CLOSED = {
    OrderState.DENIED: "the provider denied it",
    OrderState.CANCELLED: "the consumer cancelled it",
    OrderState.REFUNDED: "its money went back",
}


def permit_key(seen: Seen) -> None:
    """An order key may be made: requested, or approved or later and in need of a reseal."""
    _not_ended(seen)
    if seen.order.state not in (*_BEFORE_PAY, *_SERVED):
        raise RefusedError("tee.not-requested", "the order is in no state in which a key is made for it")


def permit_accept(seen: Seen) -> None:
    """A share may be accepted: approved, or paid and resealed or in a new generation."""
    _not_ended(seen)
    if seen.order.approval is None or seen.order.state not in (OrderState.APPROVED, *_SERVED):
        if any(head is not None and head.approval is not None for head in seen.heads):
            raise not_final("the approval")
        raise RefusedError("tee.not-approved", "the provider has not approved the order", actor="provider")


def permit_release(seen: Seen, margin_seconds: int) -> None:
    """A cfrag may be made and released: paid at a finalized block, not refused at any head, outside the margin."""
    _not_ended(seen)
    order = seen.order
    if order.state in _BEFORE_PAY:
        if any(head is not None and head.state in _SERVED for head in seen.heads):
            raise not_final("the payment")
        raise RefusedError("tee.not-paid", "the order is not paid", hint="asset-bridge pay ORDER", actor="consumer")
    if order.state not in _SERVED:
        raise RefusedError("tee.not-paid", "the order is in no state in which it is served", actor="consumer")
    if order.state == OrderState.PAID and seen.now_at >= order.deliver_by - margin_seconds:
        raise RefusedError(
            "tee.margin",
            "the delivery deadline is too close or over, and no delivery is recorded",
            hint="the price goes back to the consumer: asset-bridge refund ORDER",
            actor="consumer",
        )


def asks_again(seen: Seen) -> bool:
    """Whether a challenge of the delivery is open, at a finalized block and at every head: then what was released is shown again."""
    records = (seen.order, *seen.heads)
    return all(r is not None and r.state == OrderState.DELIVERED and r.challenged for r in records)


def ended(order: Order, now_at: int) -> str:
    """Why this record of an order ends its keys: "revoked", "expired", "closed", or "" while it goes on."""
    if order.state == OrderState.REVOKED or order.serving_stopped:
        past_end = order.ends_at and now_at >= order.ends_at
        return "expired" if past_end and order.state != OrderState.REVOKED else "revoked"
    if order.state in _CLOSED:
        return "closed"
    deadline = {
        OrderState.EXPIRED: -1,
        OrderState.REQUESTED: order.approve_by,
        OrderState.APPROVED: order.pay_by,
    }.get(order.state, order.ends_at)
    return "expired" if deadline and now_at >= deadline else ""


def _not_ended(seen: Seen) -> None:
    """Refusal takes effect as soon as it is seen at the finalized block or at any head."""
    # A head that has moved on (approved, paid) in time outdates the finalized record's own deadline, not its refusals.
    outdated = seen.order.state in _BEFORE_PAY and any(
        h is not None and h.state != seen.order.state for h in seen.heads
    )
    for record in (*seen.heads, *(() if outdated else (seen.order,))):
        if record is None:
            raise disagree("one head does not know an order that is final")
        why = ended(record, seen.now_at)
        if why == "revoked":
            raise RefusedError("tee.revoked", "the provider revoked the order", actor="provider")
        if why == "closed":
            raise RefusedError("tee.closed", f"the order is closed: {_CLOSED[record.state]}", actor="nobody")
        if why == "expired":
            raise RefusedError(
                "tee.expired", "the order's time is over", hint="request the asset again", actor="consumer"
            )
