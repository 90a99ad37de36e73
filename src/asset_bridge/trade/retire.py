"""`retire`: no new requests for an asset (protocol §7). Open orders go on; its tweak stays, so reseal still works."""

from __future__ import annotations

from asset_bridge.chain.records import Sent
from asset_bridge.errors import InputError
from asset_bridge.trade.desk import Desk


def retire(desk: Desk, asset_id: bytes) -> Sent:
    """Take an asset off the catalogue.

    Raises:
        InputError(trade.role, trade.retired): not this provider's asset, or retired already.
        InputError(trade.busy): a paid order still relies on it.
    """
    asset = desk.reader.asset(asset_id)
    if asset.provider != desk.address:
        raise InputError("trade.role", "this asset was listed by another account", hint="use the home that listed it")
    if asset.retired:
        raise InputError("trade.retired", "this asset is retired already")
    if asset.busy_until > desk.reader.block().timestamp:
        raise InputError(
            "trade.busy",
            f"paid orders rely on this asset until {asset.busy_until} (Unix seconds)",
            hint="retire it then",
        )
    return desk.account.retire(asset_id)
