"""`request`: the application, sealed to the provider, and the order on chain (protocol §4.1).

Promises: the form is on storage and our record of it fsynced before the transaction; the order repeats price, terms and periods of the
listing exactly, so its id is known before it is sent. Does not promise: that the provider answers; the order expires then.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from asset_bridge.chain.ids import order_id as order_id_of
from asset_bridge.chain.keys import address_bytes
from asset_bridge.chain.messages import form_digest
from asset_bridge.chain.records import At, Offer, RequestTerms, Sent
from asset_bridge.errors import InputError, TamperedError
from asset_bridge.ipld.unixfs import file_dag
from asset_bridge.keys.hpke import seal_form
from asset_bridge.trade.check_asset import checked_asset
from asset_bridge.trade.desk import Desk
from asset_bridge.trade.documents.description import Description
from asset_bridge.trade.documents.form import Attachment, Form, encode_form, with_attachments
from asset_bridge.trade.documents.template import validate_application
from asset_bridge.trade.exchanges import require_open
from asset_bridge.trade.order_record import OrderRecord, order_keys
from asset_bridge.trade.profile import read_profile
from asset_bridge.trade.publish import upload_document


@dataclass(frozen=True, slots=True)
class Requested:
    """An order that waits for its provider."""

    order_id: bytes
    asset_id: bytes
    provider: str
    sent: Sent


def request(
    desk: Desk,
    asset_id: bytes,
    application: dict[str, Any],
    attachments: tuple[Attachment, ...] = (),
    *,
    expected: Offer | None = None,
    fetch_signer: str | None = None,
) -> Requested:
    """Ask for access to an asset.

    Args:
        expected: the offer the person saw; the request is refused when the listing says another one by now.
        fetch_signer: the account that will sign `Fetch`; by default this one. It needs a private key (protocol §4.1).
    Raises:
        InputError(trade.application, trade.attachment): the application does not fit the provider's template.
        InputError(trade.offer-changed, trade.retired): the listing is not what the person saw, or takes no requests.
        InputError(trade.exchange-closed, trade.too-early): the network's Exchange takes no requests, any more or yet.
    """
    require_open(desk.reader)
    asset = checked_asset(desk.reader, asset_id, At.HEAD)
    if asset.retired:
        raise InputError(
            "trade.retired", "the provider takes no new requests for this asset", hint="asset-bridge catalog"
        )
    if expected is not None and expected != asset.offer:
        raise InputError(
            "trade.offer-changed",
            "price, terms or periods of this asset changed since they were shown",
            hint="look again, then request",
        )
    description = Description.decode(desk.public_document(asset.listing.description_digest))
    application_bytes = with_attachments(application, attachments)
    validate_application(
        application | ({"attachments": _decoded(application_bytes)} if attachments else {}), description.template
    )
    provider_key = read_profile(desk, asset.provider).form_key
    order_nonce = desk.randbytes(32)
    keys = order_keys(desk, asset_id, order_nonce)
    hybrid = keys.hybrid.public_key()
    digest = form_digest(
        desk.exchange_domain, asset_id, order_nonce, hybrid.digest(), hashlib.sha256(application_bytes).digest()
    )
    form = Form(application_bytes, hybrid.to_bytes(), desk.signer.sign_digest(digest), attachments)
    sealed = seal_form(
        provider_key,
        encode_form(form),
        chain_id=desk.reader.chain_id,
        exchange=address_bytes(desk.reader.exchange),
        asset_id=asset_id,
        consumer=address_bytes(desk.address),
        order_nonce=order_nonce,
    )
    terms = RequestTerms(
        asset_id=asset_id,
        pk_b=keys.receiving.public_key().to_bytes(),
        hybrid_key_digest=hybrid.digest(),
        form_digest=file_dag(sealed).root.digest,
        form_length=len(sealed),
        offer=asset.offer,
        order_nonce=order_nonce,
        fetch_signer=fetch_signer or desk.address,
    )
    expected_id = order_id_of(desk.reader.chain_id, desk.reader.exchange, desk.address, terms)
    OrderRecord(terms, application_bytes, sealed).save(desk, expected_id)
    upload_document(desk, sealed)
    order_id, sent = desk.account.request(terms)
    if order_id != expected_id:
        raise TamperedError(
            "trade.order-id",
            "layer order: the chain gave the request another id than its terms have",
            hint="use another chain endpoint and report this one",
            actor="chain endpoint",
        )
    return Requested(order_id, asset_id, asset.provider, sent)


def send_form_again(desk: Desk, order_id: bytes) -> None:
    """Upload the sealed form of an order once more, anywhere (protocol §4.1).

    Raises:
        InputError(trade.no-record): this home did not make the request.
    """
    record = OrderRecord.load(desk, order_id)
    if record is None:
        raise InputError(
            "trade.no-record", "this home did not make that request", hint="use the home that did, or its backup"
        )
    upload_document(desk, record.sealed_form)


def _decoded(application_bytes: bytes) -> Any:
    return Form(application_bytes, b"", b"", ()).application["attachments"]
