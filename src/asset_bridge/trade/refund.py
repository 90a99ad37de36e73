"""`refund` and `refund --agree`: the price goes back (protocol §7).

Promises: past deadline and grace the consumer needs nobody; before that, both sides sign. Does not promise: a refund after a recorded
delivery without the provider's signature.
"""

from __future__ import annotations

from asset_bridge.chain.records import OrderState, Sent
from asset_bridge.errors import InputError
from asset_bridge.trade.desk import Desk, wrong_state

BY_TIME = (OrderState.PAID, OrderState.REVOKED)
BY_AGREEMENT = (OrderState.PAID, OrderState.REVOKED, OrderState.DELIVERED)


def refund(desk: Desk, order_id: bytes) -> Sent:
    """Take the price back for an order that was not delivered in time. Anyone may send it; the money goes to the consumer.

    Raises:
        InputError(trade.state): nothing is in escrow.
        InputError(trade.too-early): the time for delivery, or for late receipts, is not over.
    """
    order = desk.reader.order(order_id)
    if order.state not in BY_TIME:
        raise wrong_state(order, *BY_TIME)
    if order.state is OrderState.PAID:
        from_at = order.deliver_by + desk.reader.grace_seconds()
        if desk.reader.block().timestamp < from_at:
            raise InputError(
                "trade.too-early",
                f"receipts of this order count until {from_at} (Unix seconds)",
                hint="wait, or agree: refund --agree",
            )
    return desk.account.refund(order_id)


def agree(desk: Desk, order_id: bytes) -> bytes:
    """This side's signature under a refund; give it to the other side."""
    order = desk.reader.order(order_id)
    if desk.address not in (order.provider, order.consumer):
        raise InputError("trade.role", "only provider and consumer of an order can agree on a refund")
    if order.state not in BY_AGREEMENT:
        raise wrong_state(order, *BY_AGREEMENT)
    return desk.account.agree_refund_signature(order_id)


def refund_agreed(desk: Desk, order_id: bytes, other_signature: bytes) -> Sent:
    """Send the refund with the other side's signature and this side's own."""
    order = desk.reader.order(order_id)
    if desk.address not in (order.provider, order.consumer):
        raise InputError("trade.role", "only provider and consumer of an order can agree on a refund")
    if order.state not in BY_AGREEMENT:
        raise wrong_state(order, *BY_AGREEMENT)
    if desk.address == order.provider:  # the sender's own side needs no signature
        return desk.account.agree_refund(order_id, b"", other_signature)
    return desk.account.agree_refund(order_id, other_signature, b"")
