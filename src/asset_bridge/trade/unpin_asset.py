"""`retire --unpin`: the ciphertext of a retired asset goes from the storage nodes (spec/node-http.md §9.6); its key stays here.

Promises: nothing is asked for while an order is paid or can be paid; only receipts that verify are returned, everybody else is named as
silent; safe to repeat. Does not promise: that no copy is left elsewhere.
"""

from __future__ import annotations

from typing import Any

from asset_bridge.chain.records import OrderState
from asset_bridge.errors import InputError
from asset_bridge.trade.desk import Desk
from asset_bridge.trade.shred import Unpin, unpinned


def unpin_asset(desk: Desk, asset_id: bytes, unpin: Unpin) -> tuple[list[dict[str, Any]], list[str]]:
    """Delete the body of a retired asset: receipts and who was silent.

    Raises:
        InputError(trade.role | trade.not-retired): not this provider's asset, or still listed.
        InputError(trade.busy): an order is paid and still relies on it, or is approved and can still be paid.
    """
    asset = desk.reader.asset(asset_id)
    if asset.provider != desk.address:
        raise InputError("trade.role", "this asset was listed by another account", hint="use the home that listed it")
    if not asset.retired:
        raise InputError("trade.not-retired", "this asset is still for sale", hint="retire it first")
    now_at = desk.reader.block().timestamp
    waiting = [
        order.pay_by
        for order in desk.reader.orders(asset_id=asset_id)
        if order.state is OrderState.APPROVED and order.pay_by > now_at
    ]
    until = max([asset.busy_until, *waiting])
    if until > now_at:
        raise InputError(
            "trade.busy", f"orders rely on this asset until {until} (Unix seconds)", hint="delete its ciphertext then"
        )
    return unpinned(desk, asset, unpin)
