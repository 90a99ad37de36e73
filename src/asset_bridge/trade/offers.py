"""`assets set`: price, terms and periods of an asset for future requests (protocol §3). Orders already made keep theirs."""

from __future__ import annotations

from asset_bridge.chain.records import Offer, Periods, Sent
from asset_bridge.errors import InputError
from asset_bridge.trade.desk import Desk
from asset_bridge.trade.documents.description import encode_terms
from asset_bridge.trade.publish import upload_document


def set_offer(
    desk: Desk, asset_id: bytes, *, price_wei: int, terms: str | None = None, periods: Periods | None = None
) -> Sent:
    """Change an offer; terms and periods stay when they are not given.

    Raises:
        InputError(trade.role): not this provider's asset.
    """
    asset = desk.reader.asset(asset_id)
    if asset.provider != desk.address:
        raise InputError("trade.role", "this asset was listed by another account", hint="use the home that listed it")
    digest = upload_document(desk, encode_terms(terms)) if terms is not None else asset.offer.terms_digest
    return desk.account.set_offer(asset_id, Offer(price_wei, asset.offer.token, digest, periods or asset.offer.periods))
