"""`accept`: the consumer says that delivery and content are as agreed; the money moves at once (protocol §7, "Settle").

Promises: what this consumer holds of receipts is recorded first, so that acceptance never waits for a light node's sweep.
"""

from __future__ import annotations

from asset_bridge.chain.records import OrderState, Sent
from asset_bridge.errors import InputError
from asset_bridge.trade.desk import Desk, require_role, wrong_state
from asset_bridge.trade.fragments import Fragments

ACCEPTABLE = (OrderState.PAID, OrderState.DELIVERED)


def record_delivery(desk: Desk, order_id: bytes) -> Sent:
    """Record the receipts that this home keeps of a fetched order.

    Raises:
        InputError(trade.not-fetched): this home holds none.
    """
    fragments = Fragments.load(desk, order_id)
    if fragments is None:
        raise InputError(
            "trade.not-fetched",
            "this home holds no receipts of that order",
            hint=f"asset-bridge fetch 0x{order_id.hex()} -o DIR",
        )
    return desk.account.record_delivery(order_id, fragments.fetch, fragments.receipts[: fragments.threshold])


def accept(desk: Desk, order_id: bytes) -> list[Sent]:
    """Accept a delivered order; its delivery is recorded first where nobody has.

    Raises:
        InputError(trade.role, trade.state, trade.not-fetched): not this consumer's order, or nothing was delivered.
    """
    order = desk.reader.order(order_id)
    require_role(desk, order, "consumer")
    if order.state not in ACCEPTABLE:
        raise wrong_state(order, *ACCEPTABLE)
    sent = [record_delivery(desk, order_id)] if order.state is OrderState.PAID else []
    return [*sent, desk.account.accept_delivery(order_id)]
