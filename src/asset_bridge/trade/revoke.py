"""`revoke`: no further fragment for this order (protocol §7).

Promises: refused by nodes as soon as they see it at any head; money of delivered orders is untouched. Does not promise: that a
consumer who has the data loses it.
"""

from __future__ import annotations

from asset_bridge.chain.records import OrderState, Sent
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
