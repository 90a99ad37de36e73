"""`inbox`: the applications that wait for this provider, opened and checked (protocol §4.1).

Promises: an item without a `problem` was signed by the order's consumer, carries the hybrid key whose digest stands in the order, and fits
the template. Does not promise: that what the consumer says of himself is true.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

from asset_bridge.chain.keys import address_bytes
from asset_bridge.chain.messages import form_digest, recover
from asset_bridge.chain.records import Asset, At, Order, OrderState
from asset_bridge.errors import BridgeError, TamperedError
from asset_bridge.keys.hpke import open_form
from asset_bridge.keys.kem import ConsumerHybridPublicKey, FormSecretKey
from asset_bridge.trade.check_asset import check_order_id, checked_asset
from asset_bridge.trade.desk import Desk
from asset_bridge.trade.documents.description import Description
from asset_bridge.trade.documents.form import Attachment, Form, decode_form
from asset_bridge.trade.documents.template import DEFAULT_TEMPLATE, application_problem
from asset_bridge.trade.profile import own_form_key


@dataclass(frozen=True, slots=True)
class InboxItem:
    """A request and what its form says. With a `problem`, `approve` refuses it; `application` is then whatever could be read."""

    order: Order
    title: str
    application: dict[str, Any] | None = field(repr=False)
    attachments: tuple[Attachment, ...] = field(repr=False)
    problem: str = ""
    template: dict[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class CheckedForm:
    """A form that belongs to its order, and the consumer's hybrid key out of it."""

    form: Form
    hybrid_key: ConsumerHybridPublicKey
    asset: Asset
    description: Description


def inbox(desk: Desk) -> list[InboxItem]:
    """Every request that waits for this provider, oldest first."""
    waiting = [o for o in desk.reader.orders(provider=desk.address) if o.state is OrderState.REQUESTED]
    if not waiting:
        return []
    key = own_form_key(desk)
    return [_item(desk, key, order) for order in sorted(waiting, key=lambda o: (o.requested_in.number, o.order_id))]


def _item(desk: Desk, key: FormSecretKey, order: Order) -> InboxItem:
    try:
        checked = read_form(desk, key, order)
    except BridgeError as error:
        return InboxItem(order, "", None, (), error.message)
    form, template = checked.form, checked.description.template
    problem = application_problem(form.application, template)
    shape = template or DEFAULT_TEMPLATE
    return InboxItem(order, checked.description.title, form.application, form.attachments, problem, shape)


def read_form(desk: Desk, key: FormSecretKey, order: Order, at: At = At.HEAD) -> CheckedForm:
    """Fetch, open and verify the form of an order.

    Raises:
        UnavailableError: the form is on no storage node; the consumer can send it again.
        TamperedError(keys.envelope, trade.document, trade.form): it was changed, or belongs to another order.
    """
    check_order_id(desk.reader, order)
    asset = checked_asset(desk.reader, order.terms.asset_id, at)
    description = Description.decode(desk.public_document(asset.listing.description_digest))
    sealed = desk.sealed_document(order.terms.form_digest, order.terms.form_length, "the sealed form")
    opened = open_form(
        key,
        sealed,
        chain_id=desk.reader.chain_id,
        exchange=address_bytes(desk.reader.exchange),
        asset_id=order.terms.asset_id,
        consumer=address_bytes(order.consumer),
        order_nonce=order.terms.order_nonce,
    )
    form = decode_form(opened)
    hybrid_key = ConsumerHybridPublicKey.from_bytes(form.hybrid_key)
    if hybrid_key.digest() != order.terms.hybrid_key_digest:
        raise _refused("carries another hybrid key than the order names")
    digest = form_digest(
        desk.exchange_domain,
        order.terms.asset_id,
        order.terms.order_nonce,
        hybrid_key.digest(),
        hashlib.sha256(form.application_bytes).digest(),
    )
    if recover(digest, form.signature) != order.consumer:
        raise _refused("was not signed by the order's consumer")
    return CheckedForm(form, hybrid_key, asset, description)


def _refused(why: str) -> TamperedError:
    return TamperedError(
        "trade.form",
        f"layer form: the application form {why}",
        hint="deny the request, or ask the consumer to send it again",
        actor="consumer",
    )
