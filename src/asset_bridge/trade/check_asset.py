"""The checks that turn an asset or an order, as some chain endpoint served it, into one to act on (protocol §4.4).

Promises: what passes has the id that its content gives, so no field that the id covers was changed on the way.
Does not promise: that the provider is honest; that is what trade/check_approval.py is for.
"""

from __future__ import annotations

from asset_bridge.chain.ids import asset_id as asset_id_of
from asset_bridge.chain.ids import order_id as order_id_of
from asset_bridge.chain.records import Asset, At, Order
from asset_bridge.errors import TamperedError
from asset_bridge.sealing.header import SealedHeader
from asset_bridge.trade.desk import layer
from asset_bridge.trade.ports import ChainReader


def checked_asset(reader: ChainReader, asset_id: bytes, at: At = At.FINAL) -> Asset:
    """The asset, when its content gives its id.

    Raises:
        TamperedError(trade.asset-id): header, capsule, package, a key, the body or the provider is not what was listed.
    """
    asset = reader.asset(asset_id, at)
    computed = asset_id_of(reader.chain_id, reader.ledger, asset.provider, asset.listing)
    if asset.asset_id != asset_id or computed != asset_id:
        raise TamperedError(
            "trade.asset-id",
            "layer listing: header, capsule, package or a key is not what the provider listed under this id",
            hint="use another chain endpoint and report this one",
            actor="chain endpoint",
        )
    return asset


def check_order_id(reader: ChainReader, order: Order) -> None:
    """Raises TamperedError(trade.order-id) when the order's terms do not give its id."""
    if order_id_of(reader.chain_id, reader.exchange, order.consumer, order.terms) != order.order_id:
        raise TamperedError(
            "trade.order-id",
            "layer order: the order's keys, price, terms or form are not what was requested under this id",
            hint="use another chain endpoint and report this one",
            actor="chain endpoint",
        )


def container_id_of(asset: Asset) -> bytes:
    """The container id in the asset's header; TamperedError sealing.header."""
    with layer("header"):
        return SealedHeader.parse(asset.listing.header).container_id
