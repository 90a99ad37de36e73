"""`accept`: the consumer says that delivery and content are as agreed; the money moves at once (protocol §7, "Settle").

Promises: what this consumer holds of receipts is recorded with it, so that acceptance never waits for a light node's sweep.
"""

from __future__ import annotations

from asset_bridge.chain.records import OrderState, Sent
from asset_bridge.errors import InputError, RefusedError
from asset_bridge.trade.desk import Desk, require_role, wrong_state
from asset_bridge.trade.fragments import Fragments

ACCEPTABLE = (OrderState.PAID, OrderState.DELIVERED)


def record_delivery(desk: Desk, order_id: bytes) -> Sent:
    """Record the receipts that this home keeps of a fetched order.

    Raises:
        InputError(trade.not-fetched): this home holds none.
    """
    fragments = _kept(desk, order_id)
    return desk.account.record_delivery(order_id, fragments.fetch, fragments.receipts[: fragments.threshold])


def _kept(desk: Desk, order_id: bytes) -> Fragments:
    fragments = Fragments.load(desk, order_id)
    if fragments is None:
        raise InputError(
            "trade.not-fetched",
            "this home holds no receipts of that order",
            hint=f"asset-bridge fetch 0x{order_id.hex()} -o DIR",
        )
    return fragments


def accept(desk: Desk, order_id: bytes) -> list[Sent]:
    """Accept a delivered order; where nobody has recorded its delivery, one call does both.

    Raises:
        InputError(trade.role, trade.state, trade.not-fetched): not this consumer's order, or nothing was delivered.
    """
    order = desk.reader.order(order_id)
    require_role(desk, order, "consumer")
    if order.state not in ACCEPTABLE:
        raise wrong_state(order, *ACCEPTABLE)
    if order.state is OrderState.PAID:
        fragments = _kept(desk, order_id)
        try:
            return [desk.account.accept_receipts(order_id, fragments.fetch, fragments.receipts[: fragments.threshold])]
        except RefusedError:
            # A light node may have recorded it since it was read; any other refusal stands.
            if desk.reader.order(order_id).state is not OrderState.DELIVERED:
                raise
    return [desk.account.accept_delivery(order_id)]
