"""`cancel`: the consumer takes back a request that is not paid (protocol §7)."""

from __future__ import annotations

from asset_bridge.chain.records import OrderState, Sent
from asset_bridge.trade.desk import Desk, require_role, wrong_state

CANCELLABLE = (OrderState.REQUESTED, OrderState.APPROVED)


def cancel(desk: Desk, order_id: bytes) -> Sent:
    """Take back a request.

    Raises:
        InputError(trade.role, trade.state): not this consumer's order, or paid already.
    """
    order = desk.reader.order(order_id)
    require_role(desk, order, "consumer")
    if order.state not in CANCELLABLE:
        raise wrong_state(order, *CANCELLABLE)
    return desk.account.cancel(order_id)
