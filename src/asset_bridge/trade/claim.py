"""`claim`: money that is owed to this account leaves the Exchange; what is due is settled first (protocol §7).

Promises: one order that cannot be settled does not keep the rest.
"""

from __future__ import annotations

from dataclasses import dataclass

from asset_bridge.chain.records import ZERO_ADDRESS, Order, OrderState, Sent
from asset_bridge.errors import BridgeError, InputError
from asset_bridge.trade.desk import Desk, wrong_state


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
        InputError(trade.too-early, trade.state): `order_id` cannot be settled (yet).
    """
    now_at = desk.reader.block().timestamp
    if order_id is not None:
        _require_due(desk.reader.order(order_id), now_at)
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
        others = [one for one in (ZERO_ADDRESS, *desk.reader.tokens_listed()) if one != token]
        waiting = [one for one in others if desk.reader.balance_wei(desk.address, one)]
        hint = f"asset-bridge claim --token {waiting[0]}" if waiting else "asset-bridge status"
        what = "coins" if token == ZERO_ADDRESS else f"units of the token {token}"
        raise InputError("trade.nothing-to-claim", f"the Exchange owes no {what} to {desk.address}", hint=hint)
    sent.append(desk.account.claim(token))
    return Claimed(tuple(settled), amount_wei, tuple(sent), tuple(unsettled))


def _require_due(order: Order, now_at: int) -> None:
    """An order that was named must be settled, or due."""
    if order.state in (OrderState.SETTLED, OrderState.REFUNDED):
        return
    if order.state is not OrderState.DELIVERED:
        raise wrong_state(order, OrderState.DELIVERED, OrderState.SETTLED)
    if now_at < order.windows_end:
        raise InputError(
            "trade.too-early",
            f"the consumer's window to object ends in {order.windows_end - now_at} seconds",
            hint="wait, or ask the consumer to accept",
            actor="consumer",
        )
