"""A whole trade in one process with real cryptography, and the lies that each side could tell in it.

Issue 3, must-show 4 and 5: each object is damaged in one copy (skipped, named, the trade goes through) and in all copies (refused, layer
and actor named, no output).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from asset_bridge.chain.messages import Domain, receipt_digest
from asset_bridge.chain.records import Asset, Order, OrderState
from asset_bridge.errors import BridgeError, RefusedError, TamperedError, UnavailableError
from asset_bridge.ipld.cid import Cid
from asset_bridge.ipld.unixfs import body_cid
from asset_bridge.keys.derivation import asset_keys
from asset_bridge.keys.secp256k1 import Point, SecretScalar
from asset_bridge.keys.signing import sign_digest
from asset_bridge.reencryption import KeyFrag, VerifiedKeyFrag, receiver_digest
from asset_bridge.trade import approve as approve_module
from asset_bridge.trade import shares as shares_module
from asset_bridge.trade.accept import accept
from asset_bridge.trade.approve import approve
from asset_bridge.trade.check_approval import check_approval
from asset_bridge.trade.desk import Desk
from asset_bridge.trade.documents.template import EXAMPLE_APPLICATION
from asset_bridge.trade.evidence import OrderKey
from asset_bridge.trade.fetch import open_again
from asset_bridge.trade.fragments import sign_fetch
from asset_bridge.trade.inbox import inbox
from asset_bridge.trade.profile import ensure_profile
from asset_bridge.trade.request import request
from asset_bridge.trade.reseal import reseal
from asset_bridge.trade.shares import OwnedAsset, make_shares
from asset_bridge.trade.status import status
from asset_bridge_simulator import measurement_id
from tests.support.trade import MEASUREMENT, Scene
from tests.support.trade_steps import Trade, flip, lied_to, published, spoil, with_listing


@pytest.fixture
def paid(tmp_path: Path) -> Trade:
    trade = published(tmp_path).request().approve()
    trade.pay()
    return trade


@pytest.fixture
def approved(tmp_path: Path) -> Trade:
    return published(tmp_path).request().approve()


def refused(kind: type[BridgeError], code: str, call: Callable[[], object]) -> BridgeError:
    with pytest.raises(kind) as caught:
        call()
    assert caught.value.code == code, caught.value
    return caught.value


def leaves(trade: Trade) -> list[Cid]:
    root = body_cid(trade.published.body_cid.digest, trade.published.body_length_bytes)
    return list(trade.consumer.replicas.tree(root, trade.published.body_length_bytes).leaves)


def test_trade(tmp_path: Path) -> None:
    trade = published(tmp_path).request()
    (item,) = inbox(trade.provider)
    assert (item.problem, item.application) == ("", EXAMPLE_APPLICATION)
    done = approve(trade.provider, trade.order_id, trade.scene.examiner(), reply="Welcome.")
    assert len(done.chosen) == 3
    trade.scene.chain.mine(3)
    trade.pay()
    fetched = trade.fetch()
    trade.assert_same()
    assert (fetched.bad_replicas, fetched.failed_nodes) == ((), ())
    assert (trade.out / "TERMS.txt").read_text() == "For the stated purpose only."
    provenance = json.loads((trade.out / "provenance.json").read_text())
    assert provenance["order_id"] == "0x" + trade.order_id.hex()
    measured = "0x" + measurement_id(MEASUREMENT).hex()
    assert len(provenance["tees"]) >= 2
    assert {(one["tee"], one["measurement"]) for one in provenance["tees"]} == {("simulated", measured)}
    assert len((trade.out / "SHA256SUMS").read_text().splitlines()) == 3
    accept(trade.consumer, trade.order_id)
    assert trade.scene.chain.order(trade.order_id).state is OrderState.SETTLED


# ── a byte of a block ──


def test_a_damaged_block_of_one_replica_is_skipped_and_named(paid: Trade) -> None:
    for leaf in leaves(paid):  # whichever block that replica is asked for
        paid.scene.damage(leaf, paid.scene.sources[:1])
    fetched = paid.fetch()
    paid.assert_same()
    assert {failure.source for failure in fetched.bad_replicas} == {"storage node 0"}
    assert "storage node 0" in (paid.out / "provenance.json").read_text()


def test_a_damaged_block_of_every_replica_is_refused(paid: Trade) -> None:
    paid.scene.damage(leaves(paid)[1], paid.scene.sources)
    error = refused(TamperedError, "trade.body", paid.fetch)
    assert "layer body" in error.message
    assert error.actor == "storage node"
    paid.assert_nothing_opened()


def test_a_body_that_only_one_replica_has_is_not_paid_for(approved: Trade) -> None:
    for leaf in leaves(approved):
        approved.scene.damage(leaf, approved.scene.sources[:2])
    error = refused(RefusedError, "trade.body-missing", approved.pay)
    assert "storage node 0" in error.message
    assert approved.scene.chain.order(approved.order_id).state is OrderState.APPROVED


def test_one_dead_storage_node_stops_nothing(paid: Trade) -> None:
    paid.scene.sources[2].down = True
    paid.fetch()
    paid.assert_same()


# ── cfrags ──


@pytest.mark.parametrize("position", [0, 70, 130, 200, 290, 340])
def test_one_changed_cfrag_is_skipped_and_named(paid: Trade, position: int) -> None:
    spoil(paid, 0, position=position)
    fetched = paid.fetch()
    paid.assert_same()
    assert {failure.node_id for failure in fetched.failed_nodes} == {paid.scene.tees[0].node_id}


def test_two_changed_cfrags_of_three_are_refused(paid: Trade) -> None:
    spoil(paid, 0, 2)
    error = refused(TamperedError, "trade.fragments", paid.fetch)
    assert "layer fragments" in error.message
    for number in (0, 2):
        assert paid.scene.tees[number].node_id.hex()[:8] in error.actor
    assert paid.scene.tees[1].node_id.hex()[:8] not in error.actor
    paid.assert_nothing_opened()


def test_one_dead_tee_node_stops_nothing_two_do(paid: Trade) -> None:
    paid.scene.tees[1].core = None
    paid.fetch()
    paid.assert_same()


def test_two_dead_tee_nodes_are_named(paid: Trade) -> None:
    paid.scene.tees[1].core = paid.scene.tees[0].core = None
    error = refused(UnavailableError, "trade.too-few-fragments", paid.fetch)
    assert paid.scene.tees[1].node_id.hex()[:8] in error.message
    paid.assert_nothing_opened()


def test_a_light_node_that_gives_nothing_is_passed_by(paid: Trade, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paid.scene.light, "reencrypt", lambda order_id, fetch: [])
    paid.fetch()
    paid.assert_same()


def test_a_light_node_that_swaps_answers_is_passed_by(paid: Trade, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = paid.scene.light.reencrypt

    def swapped(order_id: bytes, fetch: object) -> list[object]:
        answers = honest(order_id, fetch)  # type: ignore[arg-type]
        ids = [answer[0] for answer in answers]
        return [(other, *answer[1:]) for answer, other in zip(answers, ids[1:] + ids[:1], strict=True)]

    monkeypatch.setattr(paid.scene.light, "reencrypt", swapped)
    fetched = paid.fetch()
    paid.assert_same()
    assert {failure.through for failure in fetched.failed_nodes} == {"light node"}


class Crooked:
    """TEE node 0 as its operator would have it: it answers with `answer(own answer)`."""

    def __init__(self, inner: Any, answer: Callable[[Any], Any]) -> None:
        self._inner, self._answer = inner, answer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def reencrypt(self, order_id: bytes, fetch: Any) -> Any:
        return self._answer(self._inner.reencrypt(order_id, fetch))


def make_crooked(trade: Trade, answer: Callable[[Any], Any]) -> None:
    core = trade.scene.tees[0].core
    trade.scene.wrap_tee = lambda tee: Crooked(tee, answer) if tee is core else tee


@pytest.mark.parametrize("field", ["cfrag_digest", "fetch_digest", "kfrag_id", "signature", "block_hash"])
def test_a_fragment_whose_receipt_would_not_count_is_skipped(paid: Trade, field: str) -> None:
    def answer(own: Any) -> Any:
        cfrag, receipt, acks = own
        return cfrag, replace(receipt, **{field: flip(5)(getattr(receipt, field))}), acks

    make_crooked(paid, answer)
    fetched = paid.fetch()
    paid.assert_same()
    assert {failure.node_id for failure in fetched.failed_nodes} == {paid.scene.tees[0].node_id}
    assert paid.scene.tees[0].node_id not in [bytes.fromhex(x[2:]) for x in fetched.opened.provenance["tee_nodes"]]


def test_a_node_that_passes_on_another_nodes_fragment_as_its_own_is_named(paid: Trade) -> None:
    other, core = paid.scene.tees[1].core, paid.scene.tees[0].core
    assert other is not None
    assert core is not None
    domain = Domain(paid.scene.chain.chain_id, paid.scene.chain.exchange)
    fetch = sign_fetch(paid.consumer, paid.scene.chain.order(paid.order_id), 1)

    def answer(own: Any) -> Any:
        _, receipt, acks = own
        stolen = other.reencrypt(paid.order_id, fetch)
        claimed = replace(receipt, cfrag_digest=stolen[1].cfrag_digest)  # signed by itself, for its own slot
        key = core._identity.key
        signature = key.sign_digest(receipt_digest(domain, paid.order_id, claimed))
        return stolen[0], replace(claimed, signature=signature), acks

    make_crooked(paid, answer)
    fetched = paid.fetch()
    paid.assert_same()
    assert {(f.node_id, f.code) for f in fetched.failed_nodes} == {(paid.scene.tees[0].node_id, "trade.cfrag-slot")}


def test_no_fragments_without_acknowledged_receipts(paid: Trade, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise UnavailableError("light.no", "no")

    monkeypatch.setattr(paid.scene.light, "acknowledge", refuse)
    error = refused(UnavailableError, "trade.too-few-fragments", paid.fetch)
    assert "tee.no-ack" in error.message
    paid.assert_nothing_opened()
    assert paid.consumer.vault.halves.names() == []


def test_fragments_and_counting_receipts_come_together(paid: Trade) -> None:
    paid.fetch()
    held = {(receipt.generation, receipt.fetch_digest) for receipt in paid.scene.light.held}
    assert len(held) == 1
    assert len({receipt.slot for receipt in paid.scene.light.held}) >= 2
    accept(paid.consumer, paid.order_id)


# ── what a chain endpoint could serve ──

LISTING_LIES = {
    "header": {"header": flip(40)},
    "container id": {"header": flip(20)},
    "capsule": {"capsule": flip(90)},
    "package": {"package": flip(100)},
    "key": {"pk_a": flip(0)},
    "body digest": {"body_digest": flip(0)},
    "commitment": {"pq_commit": flip(31)},
}


@pytest.mark.parametrize("what", LISTING_LIES)
def test_a_lie_about_the_listing_is_refused_before_payment(approved: Trade, what: str) -> None:
    liar = lied_to(approved.consumer, asset=with_listing(**LISTING_LIES[what]))
    error = refused(TamperedError, "trade.asset-id", lambda: approved.pay(liar))
    assert "layer listing" in error.message
    assert error.actor == "chain endpoint"
    assert approved.scene.chain.order(approved.order_id).state is OrderState.APPROVED


@pytest.mark.parametrize("what", ["header", "capsule", "package"])
def test_a_lie_about_the_listing_is_refused_at_fetch(paid: Trade, what: str) -> None:
    liar = lied_to(paid.consumer, asset=with_listing(**LISTING_LIES[what]))
    refused(TamperedError, "trade.asset-id", lambda: paid.fetch(liar))
    paid.assert_nothing_opened()


def change_slot(**fields: Callable[[bytes], bytes]) -> Callable[[Order], Order]:
    def lie(order: Order) -> Order:
        if order.approval is None:
            return order
        first, *rest = order.approval.slots
        changed = replace(first, **{name: change(getattr(first, name)) for name, change in fields.items()})
        return replace(order, approval=replace(order.approval, slots=(changed, *rest)))

    return lie


@pytest.mark.parametrize(
    ("lie", "code"),
    [
        (change_slot(kfrag_id=flip(3)), "reencryption.receiver-signature"),
        (change_slot(u1=flip(0)), "reencryption.receiver-signature"),
        (change_slot(receiver_signature=flip(5)), "reencryption.receiver-signature"),
        (
            lambda order: replace(order, approval=replace(order.approval, precursor=flip(0)(order.approval.precursor))),
            "reencryption.receiver-signature",
        ),
        (
            lambda order: replace(
                order, approval=replace(order.approval, sealed_kpq=flip(9)(order.approval.sealed_kpq))
            ),
            "trade.sealed-kpq",
        ),
        (
            lambda order: replace(order, terms=replace(order.terms, order_nonce=flip(0)(order.terms.order_nonce))),
            "trade.order-id",
        ),
        (
            lambda order: replace(
                order,
                terms=replace(
                    order.terms,
                    offer=replace(order.terms.offer, periods=replace(order.terms.offer.periods, access_seconds=1)),
                ),
            ),
            "trade.order-changed",
        ),
        (
            lambda order: replace(order, terms=replace(order.terms, fetch_signer="0x" + "00" * 20)),
            "trade.order-changed",
        ),
    ],
)
def test_a_lie_about_the_order_is_refused(approved: Trade, lie: Callable[[Order], Order], code: str) -> None:
    error = refused(TamperedError, code, lambda: approved.pay(lied_to(approved.consumer, order=lie)))
    assert error.actor in ("provider", "chain endpoint")
    assert approved.scene.chain.order(approved.order_id).state is OrderState.APPROVED
    approved.pay()
    if code != "trade.order-id":
        refused(TamperedError, code, lambda: approved.fetch(lied_to(approved.consumer, order=lie)))
    approved.assert_nothing_opened()


# ── what a provider could do ──


def garbage_for(pk_a: bytes) -> Callable[..., list[VerifiedKeyFrag]]:
    """Shares of another secret, signed as if they were of the listed key: every proof of Umbral holds for them."""

    def garbage(desk: Desk, owned: OwnedAsset, *rest: Any) -> list[VerifiedKeyFrag]:
        other = replace(owned, keys=replace(owned.keys, delegating=SecretScalar.from_wide(bytes(range(48)))))
        signer, listed, made = owned.keys.signer, Point.from_bytes(pk_a), []
        for share in make_shares(desk, other, *rest):
            digest = receiver_digest(share.kfrag_id, share.u1, share.x_a, listed, share.pk_b)
            signed = replace(share.published(), receiver_signature=sign_digest(signer, digest))
            made.append(KeyFrag(share.rk, signed).verify(pk_a=listed, pk_b=share.pk_b, signer=signer.public_key()))
        return made

    return garbage


def test_garbage_shares_are_found_out_before_payment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trade = published(tmp_path).request()
    pk_a = trade.scene.chain.asset(trade.published.asset_id).listing.pk_a
    monkeypatch.setattr(shares_module, "make_shares", garbage_for(pk_a))
    trade.approve()
    order = trade.scene.chain.order(trade.order_id)
    assert order.approval is not None
    for number, slot in enumerate(order.approval.slots):  # the nodes cannot tell, and accept
        trade.scene.connect(trade.scene.chain.node(slot.node_id)).accept(trade.order_id, 1, number)
    error = refused(TamperedError, "reencryption.garbage-shares", trade.pay)
    assert error.actor == "provider"
    assert trade.scene.chain.order(trade.order_id).state is OrderState.APPROVED


def test_another_post_quantum_half_is_found_out_before_payment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trade = published(tmp_path).request()
    honest = approve_module.seal_kpq
    monkeypatch.setattr(approve_module, "seal_kpq", lambda key, k_pq, **context: honest(key, bytes(32), **context))
    trade.approve()
    error = refused(TamperedError, "keys.pq-commit", trade.pay)
    assert error.actor == "provider"
    assert trade.scene.chain.order(trade.order_id).state is OrderState.APPROVED


def copied_listing(scene: Scene, asset: Asset) -> bytes:
    """Somebody else lists the same header, capsule, package and keys as his own."""
    pirate = scene.chain.account(scene.account("pirate"))
    pirate.set_profile(asset.listing.description_digest, pirate.address, "0x" + "00" * 20)
    asset_id, _ = pirate.list_asset(asset.listing)
    return asset_id


def test_an_approval_copied_under_another_listing_opens_nothing(approved: Trade) -> None:
    scene, chain = approved.scene, approved.scene.chain
    asset_id = copied_listing(scene, chain.asset(approved.published.asset_id))
    first = chain.order(approved.order_id)
    assert first.approval is not None
    accomplice = chain.account(scene.account("accomplice"))
    terms = replace(first.terms, asset_id=asset_id, fetch_signer=accomplice.address)  # the same pk_B
    order_id, _ = accomplice.request(terms)
    chain.mine(3)
    slots = []
    for slot in first.approval.slots:
        key = OrderKey.parse(scene.connect(chain.node(slot.node_id)).order_key(order_id))
        slots.append(
            replace(
                slot,
                kem_key_digest=key.kem_key_digest,
                order_key_expires_at=key.expires_at,
                order_key_signature=key.signature,
            )
        )
    pirate = chain.account(scene.account("pirate"))
    pirate.approve(order_id, replace(first.approval, slots=tuple(slots)))
    chain.mine(3)
    for number, slot in enumerate(slots):
        tee = scene.connect(chain.node(slot.node_id))
        refused(BridgeError, "tee.blob", lambda t=tee, n=number: t.accept(order_id, 1, n))


def test_a_buyer_of_a_copied_listing_sees_it_by_the_proof_of_w(
    approved: Trade, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene, pirate = approved.scene, approved.scene.desk("pirate")
    asset = scene.chain.asset(approved.published.asset_id)
    ensure_profile(pirate)
    own = asset_keys(bytes(32), bytes(32), bytes(16))
    stolen = replace(asset.listing, kfrag_signer=own.signer.public_key().to_bytes())
    asset_id, _ = pirate.account.list_asset(stolen)
    order_id = request(approved.consumer, asset_id, EXAMPLE_APPLICATION).order_id
    scene.chain.mine(3)
    monkeypatch.setattr(approve_module, "owned_asset", lambda desk, a: OwnedAsset(a, bytes(16), bytes(32), own))
    monkeypatch.setattr(shares_module, "make_shares", garbage_for(stolen.pk_a))
    approve(pirate, order_id, scene.examiner())
    scene.chain.mine(3)
    order = scene.chain.order(order_id)
    error = refused(TamperedError, "reencryption.w-proof", lambda: check_approval(approved.consumer, order))
    assert error.actor == "provider"


# ── restarts ──


def test_a_restarted_node_is_named_and_resealed(paid: Trade) -> None:
    scene, tee = paid.scene, paid.scene.tees[1]
    scene.start_tee(tee)
    now = status(paid.provider, paid.order_id)
    assert (now.live_shares, now.shares) == (2, 3)
    assert "2 of 3 shares live" in now.detail
    assert now.next_command == f"reseal 0x{paid.order_id.hex()[:12]}"
    assert [lost.node_id for lost in now.lost] == [tee.node_id]
    done = reseal(paid.provider, paid.order_id, scene.examiner())
    assert (len(done.slots), done.failed) == (1, ())
    scene.chain.mine(3)
    assert status(paid.provider, paid.order_id).live_shares == 3
    scene.tees[0].core = None  # now the resealed one is needed
    paid.fetch()
    paid.assert_same()


def test_all_nodes_restarted_then_resealed(paid: Trade) -> None:
    for tee in paid.scene.tees:
        paid.scene.start_tee(tee)
    assert "0 of 3 shares live" in status(paid.provider, paid.order_id).detail
    refused(UnavailableError, "trade.too-few-fragments", paid.fetch)
    assert len(reseal(paid.provider, paid.order_id, paid.scene.examiner()).slots) == 3
    paid.scene.chain.mine(3)
    paid.fetch()
    paid.assert_same()


def test_opening_again_needs_no_node(paid: Trade) -> None:
    paid.fetch()
    for tee in paid.scene.tees:
        tee.core = None
    for source in paid.scene.sources:
        source.down = True
    open_again(paid.consumer, paid.order_id, paid.folder / "again", paid.bodies)
    for path in paid.data.rglob("*"):
        if path.is_file():
            assert (paid.folder / "again" / path.relative_to(paid.data)).read_bytes() == path.read_bytes()
