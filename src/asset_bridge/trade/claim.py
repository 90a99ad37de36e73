"""`claim`: money that is owed to this account leaves the Exchange; what is due is settled first (protocol §7).

Promises: one order that cannot be settled does not keep the rest.
"""

from __future__ import annotations

from dataclasses import dataclass

from asset_bridge.chain.records import OrderState, Sent
from asset_bridge.errors import BridgeError, InputError
from asset_bridge.trade.desk import Desk


@dataclass(frozen=True, slots=True)
class Claimed:
    """What was settled and taken out. `unsettled` names due orders that the contract refused to settle, with the code."""

    settled: tuple[bytes, ...]
    amount_wei: int
    sent: tuple[Sent, ...]
    unsettled: tuple[tuple[bytes, str], ...]


def claim(desk: Desk, token: str, order_id: bytes | None = None) -> Claimed:
    """Settle this provider's due orders in `token` (or only `order_id`), then take out the whole balance.

    Raises:
        InputError(trade.nothing-to-claim): nothing is owed.
    """
    now_at = desk.reader.block().timestamp
    sent: list[Sent] = []
    settled: list[bytes] = []
    unsettled: list[tuple[bytes, str]] = []
    for order in desk.reader.orders(provider=desk.address):
        due = order.state is OrderState.DELIVERED and order.windows_end <= now_at and not order.challenged
        if due and order.terms.offer.token == token and order_id in (None, order.order_id):
            try:
                sent.append(desk.account.settle(order.order_id))
                settled.append(order.order_id)
            except BridgeError as error:
                unsettled.append((order.order_id, error.code))
    amount_wei = desk.reader.balance_wei(desk.address, token)
    if amount_wei == 0:
        raise InputError(
            "trade.nothing-to-claim", f"the Exchange owes nothing to {desk.address}", hint="asset-bridge status"
        )
    sent.append(desk.account.claim(token))
    return Claimed(tuple(settled), amount_wei, tuple(sent), tuple(unsettled))
