"""Issue 3, must-show 5, listings: one that cannot open is found out before payment; what no proof can show (package, header, content) is
refused at the opening, with layer and provider named; an approval copied under another listing opens nothing (protocol §3, §4.4, §7)."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from asset_bridge.chain.messages import fetch_digest
from asset_bridge.chain.records import FetchSignature, Listing, OrderState
from asset_bridge.errors import BridgeError, RefusedError, TamperedError
from asset_bridge.ipld.unixfs import LEAF_BYTES, FileDagBuilder
from asset_bridge.keys.secp256k1 import Point, SecretScalar, shared_point
from asset_bridge.reencryption import (
    encrypt_package,
)
from asset_bridge.reencryption.hashes import PARAMETER_U
from asset_bridge.sealing.header import HEADER_BYTES
from asset_bridge.sealing.package import KeyPackage
from asset_bridge.trade import publish as publish_module
from asset_bridge.trade.accept import accept
from asset_bridge.trade.documents.template import EXAMPLE_APPLICATION
from asset_bridge.trade.evidence import OrderKey
from asset_bridge.trade.publish import publish
from asset_bridge.trade.request import request
from tests.journeys.support import deal as deals
from tests.journeys.support.deal import Deal, assert_found_out, refused
from tests.journeys.support.lies import flip
from tests.support.trade import plan_of


def scalar(number: int) -> SecretScalar:
    return SecretScalar.from_wide(bytes([number]) * 48)


# ── what a listing can lie about ──
def listing_with(monkeypatch: pytest.MonkeyPatch, change: Callable[[Listing], Listing]) -> None:
    honest_listing = publish_module._listing
    monkeypatch.setattr(publish_module, "_listing", lambda *args: change(honest_listing(*args)))


OTHER_W = shared_point(scalar(7), PARAMETER_U).to_bytes()
BEFORE_PAYMENT: dict[str, tuple[Callable[[Listing], Listing], str]] = {
    "W of another key": (lambda listing: replace(listing, w=OTHER_W), "reencryption.w-proof"),
    "W proof of nothing": (lambda listing: replace(listing, w_proof=bytes(98)), "reencryption.w-proof"),
    "capsule of nothing": (lambda listing: replace(listing, capsule=flip(90)(listing.capsule)), "reencryption.capsule"),
    "header of nothing": (lambda listing: replace(listing, header=flip(0)(listing.header)), "sealing.header"),
    "pq_commit of another K_pq": (lambda listing: replace(listing, pq_commit=bytes(32)), "keys.pq-commit"),
}


def listing_as(change: Callable[[Listing], Listing]) -> Callable[[pytest.MonkeyPatch], None]:
    return lambda monkeypatch: listing_with(monkeypatch, change)


def other_package(listing: Listing) -> Listing:
    """A package sealed under another capsule of the same key."""
    return replace(listing, package=encrypt_package(Point.from_bytes(listing.pk_a), bytes(97), os.urandom)[1])


def package_with(number: int, change: Callable[[Any], Any]) -> Callable[[pytest.MonkeyPatch], None]:
    """A package that opens, one field of it untrue."""

    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        def build(*fields: Any) -> KeyPackage:
            return KeyPackage(*fields[:number], change(fields[number]), *fields[number + 1 :])

        monkeypatch.setattr(publish_module, "KeyPackage", build)

    return patch


def body_with_flip(position: int) -> Callable[[pytest.MonkeyPatch], None]:
    """The listed body is a ciphertext that was changed after sealing: every block fits its CID, a tag does not verify."""

    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        honest_seal = publish_module.seal_to_disk

        def seal(source: Any, path: Path, **how: Any) -> Any:
            summary = honest_seal(source, path, **how)
            sealed = bytearray(path.read_bytes())
            sealed[position if position < 0 else HEADER_BYTES + position] ^= 1
            path.write_bytes(sealed)
            builder, body = FileDagBuilder(), bytes(sealed[HEADER_BYTES:])
            for at in range(0, len(body), LEAF_BYTES):
                block = body[at : at + LEAF_BYTES]
                builder.add(hashlib.sha256(block).digest(), len(block))
            return replace(summary, body=builder.finish())

        monkeypatch.setattr(publish_module, "seal_to_disk", seal)

    return patch


AT_OPENING: dict[str, tuple[Callable[[pytest.MonkeyPatch], None], str, str]] = {
    "package of nothing": (
        listing_as(lambda listing: replace(listing, package=flip(50)(listing.package))),
        "reencryption.package",
        "package",
    ),
    "package of another capsule": (listing_as(other_package), "reencryption.package", "package"),
    "package names another container": (package_with(0, flip(0)), "sealing.package-mismatch", "package"),
    "package with another K_pre": (package_with(1, flip(0)), "sealing.key", "header"),
    "package names another body": (package_with(2, flip(0)), "sealing.package-mismatch", "package"),
    "package names another body length": (package_with(3, lambda n: n + 1), "sealing.package-mismatch", "package"),
    "package names another content length": (package_with(4, lambda n: n - 1), "sealing.length", "content"),
    "FLOE header of another file": (
        listing_as(lambda listing: replace(listing, header=flip(60)(listing.header))),
        "sealing.key",
        "header",
    ),
    "a byte of the first segment": (body_with_flip(70), "sealing.segment", "body"),
    "a byte of the middle segment": (body_with_flip(LEAF_BYTES + 70), "sealing.segment", "body"),
    "a byte of the last segment": (body_with_flip(-70), "sealing.final", "body"),
}


def bad_listing(folder: Path, monkeypatch: pytest.MonkeyPatch, patch: Callable[[pytest.MonkeyPatch], None]) -> Deal:
    patch(monkeypatch)
    deal = deals.approved(folder)
    monkeypatch.undo()
    return deal


@pytest.mark.parametrize("how", BEFORE_PAYMENT)
def test_a_listing_that_cannot_open_is_found_out_before_payment(
    tmp_path: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    change, code = BEFORE_PAYMENT[how]
    # the cheat's own client has no scruples about the header either
    monkeypatch.setattr("asset_bridge.trade.shares.container_id_of", lambda asset: asset.listing.header[16:32])
    deal = bad_listing(tmp_path, monkeypatch, listing_as(change))
    assert_found_out(deal, TamperedError, code, "header" if code == "sealing.header" else "approval")


@pytest.mark.parametrize("how", AT_OPENING)
def test_what_no_proof_shows_is_refused_at_the_opening_and_the_money_can_go_back(
    tmp_path: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Protocol §7: a wrong package or header is content. The refusal names layer and provider; both may agree on a refund."""
    patch, code, layer = AT_OPENING[how]
    deal = bad_listing(tmp_path, monkeypatch, patch)
    deal.pay()
    for _ in range(2):  # what is kept does not make the second try any better
        refused(deal.fetch, TamperedError, code, "provider", layer)
        deal.assert_nothing_opened()
    provider, consumer = deal.provider.account, deal.consumer.account
    signatures = provider.agree_refund_signature(deal.order_id), consumer.agree_refund_signature(deal.order_id)
    consumer.agree_refund(deal.order_id, *signatures)
    assert deal.market.chain.order(deal.order_id).state is OrderState.REFUNDED


# ── an approval copied under another listing ──
def pirated(deal: Deal, **changes: Any) -> tuple[Any, bytes]:
    """Somebody else lists the same header, capsule, package and keys as his own; the listing's buyer is a third."""
    chain = deal.market.chain
    listing = chain.asset(deal.published.asset_id).listing
    pirate = chain.account(deal.market.account("pirate"))
    pirate.set_profile(listing.description_digest, pirate.address, "0x" + "00" * 20)
    asset_id, _ = pirate.list_asset(replace(listing, **changes))
    chain.mine(3)
    return pirate, asset_id


@pytest.fixture
def own_approved(tmp_path: Path) -> Any:
    deal = deals.approved(tmp_path)
    yield deal
    deal.market.close()


def copied_order(deal: Deal, asset_id: bytes) -> tuple[Any, bytes]:
    """An accomplice asks for the copied listing with the buyer's own receiving key."""
    chain = deal.market.chain
    accomplice = chain.account(deal.market.account("accomplice"))
    terms = replace(chain.order(deal.order_id).terms, asset_id=asset_id, fetch_signer=accomplice.address)
    order_id, _ = accomplice.request(terms)
    chain.mine(3)
    return accomplice, order_id


def opens_nothing(deal: Deal, accomplice: Any, order_id: bytes, code: str) -> None:
    """No node accepts a copied share, accepts of the first order are none of this one, and unpaid there is no cfrag."""
    chain, market = deal.market.chain, deal.market
    slots = chain.order(order_id).approval.slots  # type: ignore[union-attr]
    for number, slot in enumerate(slots):
        tee = market.connect(chain.node(slot.node_id))
        with pytest.raises(RefusedError) as caught:
            tee.accept(order_id, 1, number)
        assert caught.value.code == code
        fetch = FetchSignature(1, accomplice.sign_digest(fetch_digest(deal.consumer.exchange_domain, order_id, 1)))
        with pytest.raises(RefusedError) as caught:
            tee.reencrypt(order_id, fetch)
        assert caught.value.code == "tee.not-paid"
    stolen = [market.connect(chain.node(s.node_id)).accept(deal.order_id, 1, n) for n, s in enumerate(slots)]
    with pytest.raises(RefusedError):
        accomplice.pay(order_id, stolen)
    assert chain.order(order_id).state is OrderState.APPROVED


def test_copied_slots_open_nothing(own_approved: Deal) -> None:
    """As they are: sealed to keys that the nodes made for the first order and for no other."""
    chain = own_approved.market.chain
    pirate, asset_id = pirated(own_approved)
    accomplice, order_id = copied_order(own_approved, asset_id)
    approval = chain.order(own_approved.order_id).approval
    assert approval is not None
    pirate.approve(order_id, approval)
    chain.mine(3)
    opens_nothing(own_approved, accomplice, order_id, "tee.key-destroyed")


def test_copied_blobs_open_nothing_for_accomplices_who_pay(own_approved: Deal) -> None:
    """Fresh order keys, the first order's blobs: no node accepts, so `pay` finds no acceptance; and no node re-encrypts."""
    market, chain = own_approved.market, own_approved.market.chain
    pirate, asset_id = pirated(own_approved)
    accomplice, order_id = copied_order(own_approved, asset_id)
    approval = chain.order(own_approved.order_id).approval
    assert approval is not None
    slots = []
    for slot in approval.slots:
        key = OrderKey.parse(market.connect(chain.node(slot.node_id)).order_key(order_id))
        slots.append(
            replace(
                slot,
                kem_key_digest=key.kem_key_digest,
                order_key_expires_at=key.expires_at,
                order_key_signature=key.signature,
            )
        )
    pirate.approve(order_id, replace(approval, slots=tuple(slots)))
    chain.mine(3)
    opens_nothing(own_approved, accomplice, order_id, "tee.blob")


def test_a_copied_listing_with_the_pirates_own_signer_is_seen_by_its_buyer(own_approved: Deal) -> None:
    """W's proof is bound to the provider's account: a copy of the listing carries no proof for another one."""
    chain = own_approved.market.chain
    pirate, asset_id = pirated(own_approved)
    buyer = own_approved.market.desk("buyer")
    with pytest.raises(BridgeError):  # the pirate has no profile that this listing's form could be sealed to
        request(buyer, asset_id, EXAMPLE_APPLICATION)
    assert chain.asset(asset_id).provider == pirate.address


def test_the_original_trade_goes_on_beside_a_copied_listing(own_approved: Deal) -> None:
    pirated(own_approved)
    own_approved.pay()
    own_approved.fetch()
    own_approved.assert_same()
    accept(own_approved.consumer, own_approved.order_id)


def test_the_same_delegating_key_is_listed_once_by_its_provider(own_approved: Deal) -> None:
    listing = own_approved.market.chain.asset(own_approved.published.asset_id).listing
    with pytest.raises(RefusedError):
        own_approved.provider.account.list_asset(replace(listing, header=flip(120)(listing.header)))


def test_a_share_of_one_asset_opens_no_other(own_approved: Deal) -> None:
    """One delegating key an asset: cfrags of this order verify against no other capsule of the same provider."""
    from asset_bridge.reencryption import Capsule, CapsuleFrag
    from tests.journeys.support.lies import cfrag_by, shares_of

    deal = own_approved
    other_data = deal.folder / "other.csv"
    other_data.write_bytes(b"a,b\n1,2\n" * 1000)
    other = publish(deal.provider, plan_of(other_data), deal.market.folder_of("provider", "work"))
    listing = deal.market.chain.asset(other.asset_id).listing
    order = deal.market.chain.order(deal.order_id)
    for share in shares_of(deal):
        frag = CapsuleFrag.from_bytes(cfrag_by(deal, share, listing.capsule))
        with pytest.raises(TamperedError):
            frag.verify(
                capsule=Capsule.from_bytes(listing.capsule),
                signer=Point.from_bytes(listing.kfrag_signer),
                pk_a=Point.from_bytes(listing.pk_a),
                pk_b=Point.from_bytes(order.terms.pk_b),
            )
