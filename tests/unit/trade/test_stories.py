"""Each verb's own rules: order of durability, resuming, refusals by state and role, forms, money's ways out."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from asset_bridge.chain.keys import AccountKey, address_bytes
from asset_bridge.chain.messages import form_digest
from asset_bridge.chain.records import ZERO_ADDRESS, OrderState, Periods, RequestTerms
from asset_bridge.errors import BridgeError, InputError, RefusedError, TamperedError, UnavailableError
from asset_bridge.ipld.unixfs import file_dag
from asset_bridge.keys.hpke import seal_form
from asset_bridge.sealing.padding import ON_CHAIN_BODY_BYTES
from asset_bridge.trade import publish as publish_module
from asset_bridge.trade.accept import accept, record_delivery
from asset_bridge.trade.answer import deny, read_reply
from asset_bridge.trade.approve import approve
from asset_bridge.trade.cancel import cancel
from asset_bridge.trade.claim import claim
from asset_bridge.trade.desk import Desk
from asset_bridge.trade.documents.description import Description
from asset_bridge.trade.documents.form import Attachment, Form, encode_form, with_attachments
from asset_bridge.trade.documents.template import EXAMPLE_APPLICATION
from asset_bridge.trade.fetch import open_again
from asset_bridge.trade.inbox import inbox
from asset_bridge.trade.offers import set_offer
from asset_bridge.trade.opening import open_at_hand
from asset_bridge.trade.order_record import OrderRecord, order_keys
from asset_bridge.trade.pay import check_before_payment, pay
from asset_bridge.trade.preview import preview
from asset_bridge.trade.profile import read_profile
from asset_bridge.trade.publish import publish, resume, unfinished, upload_document
from asset_bridge.trade.refund import agree, refund, refund_agreed
from asset_bridge.trade.request import request, send_form_again
from asset_bridge.trade.reseal import reseal
from asset_bridge.trade.retire import retire
from asset_bridge.trade.revoke import collect_destroyed, revoke
from asset_bridge.trade.status import status
from asset_bridge.trade.storage_receipt import check_storage_receipt
from tests.support.trade import PERIODS, PRICE_WEI, Scene, make_scene, plan_of
from tests.support.trade_steps import Trade, make_data, published


def refused(kind: type[BridgeError], code: str, call: Callable[[], object]) -> BridgeError:
    with pytest.raises(kind) as caught:
        call()
    assert (type(caught.value), caught.value.code) == (kind, code), caught.value
    return caught.value


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return make_scene(tmp_path)


@pytest.fixture
def trade(tmp_path: Path) -> Trade:
    return published(tmp_path)


class Gate:
    """A light node whose uploads can be watched, and stopped."""

    def __init__(self, inner: Any, before_upload: Callable[[str], None]) -> None:
        self._inner, self._before_upload = inner, before_upload

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def upload(self, root: bytes, length: int, blocks: Any, purpose: str, progress: Any) -> None:
        self._before_upload(purpose)
        self._inner.upload(root, length, blocks, purpose, progress)


# ── publish ──


def test_the_key_is_durable_before_anything_leaves_and_the_listing_comes_last(scene: Scene, tmp_path: Path) -> None:
    desk, seen = scene.desk("provider"), []

    def watch(purpose: str) -> None:
        (name,) = desk.vault.tweaks.names()
        assert (tmp_path / "provider" / "tweaks" / f"{name}.tweak").stat().st_size > 0
        assert scene.chain.assets() == []
        seen.append(purpose)

    gated = replace(desk, light=Gate(scene.light, watch))
    done = publish(gated, plan_of(make_data(tmp_path)), scene.folder_of("provider", "work"))
    assert seen == ["document", "document", "body"] or seen[-1] == "body"
    assert scene.chain.asset(done.asset_id).provider == desk.address
    assert list(scene.folder_of("provider", "work").iterdir()) == []
    assert desk.vault.journal.names() == []


def test_an_interrupted_upload_is_resumed_and_never_sealed_again(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk, work = scene.desk("provider"), scene.folder_of("provider", "work")

    def stop(purpose: str) -> None:
        if purpose == "body":
            raise UnavailableError("transport.down", "the light node is gone")

    broken = replace(desk, light=Gate(scene.light, stop))
    refused(UnavailableError, "transport.down", lambda: publish(broken, plan_of(make_data(tmp_path)), work))
    (name,) = unfinished(desk)
    assert desk.vault.tweaks.names() == [name]
    monkeypatch.setattr(publish_module, "seal_to_disk", lambda *a, **k: pytest.fail("sealed again"))
    done = resume(scene.desk("provider"), name, work)
    assert done.container_id.hex() == name
    assert unfinished(desk) == []
    refused(InputError, "trade.nothing-to-resume", lambda: resume(desk, name, work))


def test_changed_or_keyless_ciphertext_is_not_uploaded(scene: Scene, tmp_path: Path) -> None:
    desk, work = scene.desk("provider"), scene.folder_of("provider", "work")

    def stop(purpose: str) -> None:
        raise UnavailableError("transport.down", "gone")

    broken = replace(desk, light=Gate(scene.light, stop))
    refused(UnavailableError, "transport.down", lambda: publish(broken, plan_of(make_data(tmp_path)), work))
    (name,) = unfinished(desk)
    path = work / f"{name}.sealed"
    good = path.read_bytes()
    path.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    refused(TamperedError, "trade.ciphertext-changed", lambda: resume(desk, name, work))
    path.write_bytes(good)
    desk.vault.tweaks.destroy(bytes.fromhex(name))
    refused(InputError, "trade.no-tweak", lambda: resume(desk, name, work))


def test_a_listing_that_went_through_unnoticed_is_not_sent_twice(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk, work = scene.desk("provider"), scene.folder_of("provider", "work")
    honest = desk.account.list_asset

    def lost(listing: Any) -> Any:
        honest(listing)
        raise UnavailableError("chain.pending", "the answer was lost")

    monkeypatch.setattr(desk.account, "list_asset", lost)
    refused(UnavailableError, "chain.pending", lambda: publish(desk, plan_of(make_data(tmp_path)), work))
    again = scene.desk("provider")
    resume(again, unfinished(again)[0], work)
    assert len(scene.chain.assets()) == 1


def test_what_is_refused_leaves_no_key_and_sends_nothing(scene: Scene, tmp_path: Path) -> None:
    desk, work, data = scene.desk("provider"), scene.folder_of("provider", "work"), make_data(tmp_path)
    quiet = replace(desk, light=Gate(scene.light, lambda purpose: pytest.fail("uploaded")))
    named = plan_of(data, description=Description("patients.ndjson", ""))
    refused(InputError, "trade.name-in-public", lambda: publish(quiet, named, work))
    refused(InputError, "files.missing", lambda: publish(quiet, plan_of(tmp_path / "nothing"), work))
    short = replace(plan_of(data).offer, periods=replace(PERIODS, pay_seconds=1))
    refused(InputError, "trade.period", lambda: publish(quiet, plan_of(data, offer=short), work))
    refused(InputError, "sealing.on-chain-size", lambda: publish(quiet, plan_of(data, on_chain=True), work))
    assert desk.vault.tweaks.names() == []
    assert list(work.iterdir()) == []
    assert scene.chain.assets() == []


def test_preview_shows_the_exact_length_and_writes_nothing(scene: Scene, tmp_path: Path) -> None:
    desk, plan = scene.desk("provider"), plan_of(make_data(tmp_path))
    view = preview(desk, plan)
    assert (desk.vault.tweaks.names(), scene.chain.assets()) == ([], [])
    done = publish(desk, plan, scene.folder_of("provider", "work"))
    assert done.body_length_bytes == view.body_length_bytes
    assert any("profile" in line.what for line in view.lines)
    assert not any("profile" in line.what for line in preview(desk, plan).lines)
    assert view.warning == ""


def test_an_on_chain_asset_is_delivered_without_storage(scene: Scene, tmp_path: Path) -> None:
    provider, consumer = scene.desk("provider"), scene.desk("consumer")
    small = tmp_path / "small.csv"
    small.write_text("a,b\n1,2\n")
    plan = plan_of(small, on_chain=True)
    assert "never be removed" in preview(provider, plan).warning
    done = publish(provider, plan, scene.folder_of("provider", "work"))
    assert done.body_length_bytes == ON_CHAIN_BODY_BYTES[0]
    trade = Trade(scene, tmp_path, tmp_path, provider, consumer, done).request().approve()
    root = done.body_cid
    for source in scene.sources:
        source.store.remove(root)
    trade.pay()
    trade.fetch()
    assert (trade.out / "small.csv").read_bytes() == small.read_bytes()


@pytest.mark.parametrize("what", ["body", "length", "nodes", "twice", "unknown node", "light", "epoch", "signature"])
def test_a_storage_receipt_that_would_not_count_is_refused(scene: Scene, what: str) -> None:
    digest = bytes(range(32))
    good = scene.light.storage_receipt(digest, 10)
    check_storage_receipt(scene.chain, good, digest, 10)
    ids = good.storage_node_ids
    changes: dict[str, dict[str, Any]] = {
        "body": {"body_digest": bytes(32)},
        "length": {"body_length": 11},
        "nodes": {"storage_node_ids": ids[:1]},
        "twice": {"storage_node_ids": (ids[0], ids[0])},
        "unknown node": {"storage_node_ids": (bytes(32), *ids)},
        "light": {"light_node_id": bytes(32)},
        "epoch": {"epoch": 9},
        "signature": {"block_number": 0},
    }
    bad = replace(good, **changes[what])
    error = refused(TamperedError, "trade.storage-receipt", lambda: check_storage_receipt(scene.chain, bad, digest, 10))
    assert error.actor == "light node"


def test_a_light_node_gets_no_block_of_anything_else(scene: Scene) -> None:
    class Curious:
        def upload(self, root: bytes, length: int, blocks: Callable[[bytes], bytes], *rest: object) -> None:
            blocks(file_dag(b"something else").root.to_bytes())

    desk = replace(scene.desk("provider"), light=Curious())  # type: ignore[arg-type]
    refused(TamperedError, "trade.upload", lambda: upload_document(desk, b"a document"))


# ── request and inbox ──


def test_an_application_is_checked_before_anything_is_sent(trade: Trade) -> None:
    before = trade.scene.chain.height
    asset_id = trade.published.asset_id
    refused(InputError, "trade.application", lambda: request(trade.consumer, asset_id, {"legal_entity": "x"}))
    offer = trade.scene.chain.asset(asset_id).offer
    seen = replace(offer, price_wei=offer.price_wei - 1)
    refused(
        InputError,
        "trade.offer-changed",
        lambda: request(trade.consumer, asset_id, EXAMPLE_APPLICATION, expected=seen),
    )
    assert trade.scene.chain.height == before
    assert trade.consumer.vault.orders.names() == []


def test_attachments_arrive(trade: Trade) -> None:
    documents = (Attachment("vote.pdf", "application/pdf", b"%PDF" * 500_000),)  # longer than a block
    request(trade.consumer, trade.published.asset_id, EXAMPLE_APPLICATION, documents)
    (item,) = inbox(trade.provider)
    assert (item.problem, item.attachments) == ("", documents)


def test_the_form_can_be_sent_again(trade: Trade) -> None:
    trade.request()
    order = trade.scene.chain.order(trade.order_id)
    root = file_dag(OrderRecord.load(trade.consumer, trade.order_id).sealed_form).root  # type: ignore[union-attr]
    assert root.digest == order.terms.form_digest
    for source in trade.scene.sources:
        source.store.remove(root)
    assert inbox(trade.provider)[0].problem
    refused(
        UnavailableError, "ipfs.replicas-down", lambda: approve(trade.provider, trade.order_id, trade.scene.examiner())
    )
    send_form_again(trade.consumer, trade.order_id)
    assert inbox(trade.provider)[0].problem == ""
    refused(InputError, "trade.no-record", lambda: send_form_again(trade.provider, trade.order_id))


def forged(
    trade: Trade, *, signer: AccountKey | None = None, swap_key: bool = False, context: bytes | None = None
) -> bytes:
    """A request whose form does not belong to it in one way."""
    desk, asset = trade.consumer, trade.scene.chain.asset(trade.published.asset_id)
    nonce = desk.randbytes(32)
    keys = order_keys(desk, asset.asset_id, nonce)
    other = order_keys(desk, asset.asset_id, desk.randbytes(32))
    hybrid = (other if swap_key else keys).hybrid.public_key()
    application = with_attachments(EXAMPLE_APPLICATION, ())
    digest = form_digest(
        desk.exchange_domain, asset.asset_id, nonce, hybrid.digest(), hashlib.sha256(application).digest()
    )
    form = Form(application, hybrid.to_bytes(), (signer or desk.signer).sign_digest(digest), ())
    sealed = seal_form(
        read_profile(desk, asset.provider).form_key,
        encode_form(form),
        chain_id=desk.reader.chain_id,
        exchange=address_bytes(desk.reader.exchange),
        asset_id=asset.asset_id,
        consumer=address_bytes(desk.address),
        order_nonce=context or nonce,
    )
    upload_document(desk, sealed)
    terms = RequestTerms(
        asset_id=asset.asset_id,
        pk_b=keys.receiving.public_key().to_bytes(),
        hybrid_key_digest=keys.hybrid.public_key().digest(),
        form_digest=file_dag(sealed).root.digest,
        form_length=len(sealed),
        offer=asset.offer,
        order_nonce=nonce,
        fetch_signer=desk.address,
    )
    return desk.account.request(terms)[0]


@pytest.mark.parametrize(
    ("how", "code"),
    [
        ({"signer": AccountKey(bytes(31) + b"\x07")}, "trade.form"),
        ({"swap_key": True}, "trade.form"),
        ({"context": bytes(32)}, "keys.envelope"),
    ],
)
def test_a_form_of_somebody_or_something_else_is_shown_with_its_reason_and_not_approved(
    trade: Trade, how: dict[str, Any], code: str
) -> None:
    order_id = forged(trade, **how)
    (item,) = inbox(trade.provider)
    assert item.problem
    assert item.application is None
    refused(TamperedError, code, lambda: approve(trade.provider, order_id, trade.scene.examiner()))


# ── approve, deny, reply ──


def test_nobody_is_trusted_by_default_and_refused_nodes_are_named(trade: Trade) -> None:
    from asset_bridge.attestation.policy import NOBODY

    trade.request()
    nobody = replace(trade.scene.examiner(), policy=NOBODY)
    refused(InputError, "attestation.policy-chain", lambda: approve(trade.provider, trade.order_id, nobody)) if (
        NOBODY.chain_id not in (0, trade.scene.chain.chain_id)
    ) else refused(
        RefusedError,
        "attestation.policy-nobody",
        lambda: approve(trade.provider, trade.order_id, nobody, threshold=2, shares=3),
    )
    trade.scene.tees[0].core = None
    error = refused(
        RefusedError, "attestation.too-few", lambda: approve(trade.provider, trade.order_id, trade.scene.examiner())
    )
    assert trade.scene.tees[0].node_id.hex()[:8] in error.message
    done = approve(trade.provider, trade.order_id, trade.scene.examiner(), shares=2)
    assert [node.node_id for node in done.refused] == [trade.scene.tees[0].node_id]


def test_approve_twice_is_one_approval(trade: Trade) -> None:
    trade.request()
    first = approve(trade.provider, trade.order_id, trade.scene.examiner())
    trade.scene.chain.mine(3)
    second = approve(trade.provider, trade.order_id, trade.scene.examiner())
    assert (second.sent, second.chosen) == (None, first.chosen)


def test_a_person_can_say_no_at_the_last_moment(trade: Trade) -> None:
    trade.request()
    refused(
        InputError,
        "trade.not-confirmed",
        lambda: approve(trade.provider, trade.order_id, trade.scene.examiner(), confirm=lambda order, form: False),
    )
    assert trade.scene.chain.order(trade.order_id).state is OrderState.REQUESTED


def test_another_home_cannot_approve(trade: Trade, tmp_path: Path) -> None:
    trade.request()
    stranger = trade.scene.desk("stranger")
    refused(InputError, "trade.role", lambda: approve(stranger, trade.order_id, trade.scene.examiner()))
    mixed = replace(trade.provider, vault=stranger.vault)
    refused(InputError, "trade.form-key", lambda: approve(mixed, trade.order_id, trade.scene.examiner()))


def test_a_lost_tweak_or_second_place_is_said(trade: Trade, tmp_path: Path) -> None:
    trade.request()
    second = tmp_path / "provider-second"
    second.rename(tmp_path / "unplugged")
    error = refused(
        UnavailableError, "vault.second-place", lambda: approve(trade.provider, trade.order_id, trade.scene.examiner())
    )
    assert "attach" in error.hint
    (tmp_path / "unplugged").rename(second)
    trade.provider.vault.tweaks.destroy(trade.published.container_id)
    refused(InputError, "vault.no-tweak", lambda: approve(trade.provider, trade.order_id, trade.scene.examiner()))


def test_replies_of_a_denial_and_of_an_approval(trade: Trade) -> None:
    trade.request()
    deny(trade.provider, trade.order_id, "The ethics vote is missing.")
    assert read_reply(trade.consumer, trade.order_id) == "The ethics vote is missing."
    refused(InputError, "trade.state", lambda: deny(trade.provider, trade.order_id))
    refused(InputError, "trade.role", lambda: read_reply(trade.provider, trade.order_id))
    trade.request()
    assert read_reply(trade.consumer, trade.order_id) == ""
    approve(trade.provider, trade.order_id, trade.scene.examiner(), reply="Welcome.")
    assert read_reply(trade.consumer, trade.order_id) == "Welcome."


# ── pay and fetch ──


def test_too_few_accepts_stop_the_payment_unless_the_buyer_agrees(trade: Trade) -> None:
    trade.request().approve()
    trade.scene.tees[2].core = None
    error = refused(UnavailableError, "trade.accepts-missing", trade.pay)
    assert trade.scene.tees[2].node_id.hex()[:8] in error.message
    trade.pay(minimum_accepts=2)
    assert trade.scene.chain.order(trade.order_id).escrow_wei == PRICE_WEI


def test_fewer_accepts_than_the_threshold_are_never_enough(trade: Trade) -> None:
    trade.request().approve()
    trade.scene.tees[2].core = trade.scene.tees[1].core = None
    refused(UnavailableError, "trade.accepts-missing", lambda: trade.pay(minimum_accepts=1))


def test_download_first(trade: Trade) -> None:
    trade.request().approve()
    checked = check_before_payment(trade.consumer, trade.order_id, trade.bodies, download_first=True)
    assert checked.downloaded
    for source in trade.scene.sources:
        source.down = True
    pay(trade.consumer, trade.order_id, trade.bodies, download_first=True)
    trade.scene.chain.mine(3)
    trade.scene.sources[0].down = False  # for the documents
    trade.fetch()
    trade.assert_same()


def test_another_home_cannot_pay_or_fetch(trade: Trade) -> None:
    trade.request().approve()
    refused(InputError, "trade.role", lambda: trade.pay(trade.scene.desk("stranger")))
    mixed = replace(trade.consumer, vault=trade.scene.desk("stranger").vault)
    refused(TamperedError, "trade.order-changed", lambda: trade.pay(mixed))
    refused(InputError, "trade.state", trade.fetch)


def test_nothing_is_overwritten_and_space_is_looked_at_first(trade: Trade, monkeypatch: pytest.MonkeyPatch) -> None:
    trade.request().approve()
    trade.pay()
    trade.out.mkdir()
    (trade.out / "mine").write_text("x")
    refused(InputError, "files.exists", trade.fetch)
    assert (trade.out / "mine").read_text() == "x"
    (trade.out / "mine").unlink()
    usage = type("Usage", (), {"free": 1000})()
    monkeypatch.setattr("asset_bridge.vault.files.shutil.disk_usage", lambda path: usage)
    trade.scene.wrap_tee = lambda tee: pytest.fail("a TEE node was asked")
    error = refused(InputError, "files.disk-space", trade.fetch)
    assert "1,000" in error.message


def test_another_fetch_signer(trade: Trade) -> None:
    key = AccountKey(bytes(31) + b"\x09")
    trade.order_id = request(
        trade.consumer, trade.published.asset_id, EXAMPLE_APPLICATION, fetch_signer=key.address
    ).order_id
    trade.approve()
    trade.pay()
    refused(InputError, "trade.fetch-signer", trade.fetch)
    trade.fetch(replace(trade.consumer, signer=key))
    trade.assert_same()


def test_a_failed_opening_keeps_the_fragments_and_a_sealed_file_at_hand_opens(trade: Trade, tmp_path: Path) -> None:
    trade.request().approve()
    trade.pay()
    refused(
        InputError,
        "trade.not-fetched",
        lambda: open_again(trade.consumer, trade.order_id, tmp_path / "x", trade.bodies),
    )
    trade.fetch()
    fragments = trade.consumer.vault.halves.get(trade.order_id.hex())
    assert fragments is not None
    asset = trade.scene.chain.asset(trade.published.asset_id)
    sealed = tmp_path / "at-hand.sealed"
    (body,) = trade.bodies.glob("*.body")
    sealed.write_bytes(asset.listing.header + body.read_bytes())
    open_at_hand(trade.consumer, sealed, tmp_path / "again")
    assert (tmp_path / "again" / "patients.ndjson").exists()
    refused(InputError, "trade.not-fetched", lambda: open_at_hand(trade.provider, sealed, tmp_path / "no"))


@pytest.mark.parametrize("position", [0, 1_048_576, -1])
def test_a_body_damaged_on_ones_own_disk_is_ones_own_to_mend(trade: Trade, tmp_path: Path, position: int) -> None:
    trade.request().approve()
    trade.pay()
    trade.fetch()
    (body,) = trade.bodies.glob("*.body")
    content = bytearray(body.read_bytes())
    content[position] ^= 1
    body.write_bytes(content)
    with pytest.raises(TamperedError) as caught:
        open_again(trade.consumer, trade.order_id, tmp_path / "again", trade.bodies)
    assert caught.value.code in ("sealing.segment", "sealing.final")
    assert caught.value.message.startswith("layer body")
    assert caught.value.actor == "you"
    assert not (tmp_path / "again").exists()


# ── the ways out ──


def test_cancel(trade: Trade) -> None:
    trade.request()
    refused(InputError, "trade.role", lambda: cancel(trade.provider, trade.order_id))
    cancel(trade.consumer, trade.order_id)
    refused(InputError, "trade.state", lambda: cancel(trade.consumer, trade.order_id))
    refused(InputError, "trade.state", lambda: approve(trade.provider, trade.order_id, trade.scene.examiner()))


def test_refund_of_an_undelivered_order(trade: Trade) -> None:
    trade.request().approve()
    trade.pay()
    refused(InputError, "trade.too-early", lambda: refund(trade.consumer, trade.order_id))
    order = trade.scene.chain.order(trade.order_id)
    trade.scene.chain.advance_to(order.deliver_by + trade.scene.chain.grace_seconds() + 1)
    assert status(trade.consumer, trade.order_id).next_command == f"refund 0x{trade.order_id.hex()}"
    refund(trade.consumer, trade.order_id)
    assert trade.scene.chain.order(trade.order_id).state is OrderState.REFUNDED


def test_refund_by_agreement(trade: Trade) -> None:
    trade.request().approve()
    trade.pay()
    stranger = trade.scene.desk("stranger")
    refused(InputError, "trade.role", lambda: agree(stranger, trade.order_id))
    refund_agreed(trade.consumer, trade.order_id, agree(trade.provider, trade.order_id))
    assert trade.scene.chain.order(trade.order_id).state is OrderState.REFUNDED
    refused(InputError, "trade.state", lambda: agree(trade.provider, trade.order_id))


def test_settle_and_claim(trade: Trade) -> None:
    trade.request().approve()
    trade.pay()
    refused(InputError, "trade.nothing-to-claim", lambda: claim(trade.provider, ZERO_ADDRESS))
    refused(InputError, "trade.not-fetched", lambda: record_delivery(trade.consumer, trade.order_id))
    trade.fetch()
    record_delivery(trade.consumer, trade.order_id)
    order = trade.scene.chain.order(trade.order_id)
    assert order.state is OrderState.DELIVERED
    trade.scene.chain.advance_to(order.windows_end + 1)
    done = claim(trade.provider, ZERO_ADDRESS)
    assert done.settled == (trade.order_id,)
    assert 0 < done.amount_wei <= PRICE_WEI
    refused(InputError, "trade.state", lambda: accept(trade.consumer, trade.order_id))


def test_revoke_stops_serving(trade: Trade) -> None:
    trade.request()
    refused(InputError, "trade.state", lambda: revoke(trade.provider, trade.order_id))
    trade.approve()
    trade.pay()
    refused(InputError, "trade.role", lambda: revoke(trade.consumer, trade.order_id))
    revoke(trade.provider, trade.order_id)
    refused(InputError, "trade.state", trade.fetch)
    trade.assert_nothing_opened()
    trade.scene.chain.mine(3)
    found = collect_destroyed(trade.provider, trade.order_id)
    assert (found.destroyed + found.silent + found.ended) == 3
    assert found.destroyed == 3


def test_retire_and_offers(trade: Trade) -> None:
    asset_id = trade.published.asset_id
    stranger = trade.scene.desk("stranger")
    refused(InputError, "trade.role", lambda: retire(stranger, asset_id))
    refused(InputError, "trade.role", lambda: set_offer(stranger, asset_id, price_wei=1))
    trade.request()
    set_offer(trade.provider, asset_id, price_wei=2 * PRICE_WEI, terms="New terms.", periods=Periods(7200, *[7200] * 5))
    assert trade.scene.chain.asset(asset_id).offer.price_wei == 2 * PRICE_WEI
    assert trade.scene.chain.order(trade.order_id).terms.offer.price_wei == PRICE_WEI
    trade.approve()
    trade.pay()
    refused(InputError, "trade.busy", lambda: retire(trade.provider, asset_id))
    trade.scene.chain.advance_to(trade.scene.chain.asset(asset_id).busy_until + 1)
    retire(trade.provider, asset_id)
    refused(InputError, "trade.retired", lambda: retire(trade.provider, asset_id))
    refused(InputError, "trade.retired", lambda: request(trade.consumer, asset_id, EXAMPLE_APPLICATION))


def test_reseal_rules(trade: Trade) -> None:
    trade.request().approve()
    examiner = trade.scene.examiner()
    refused(InputError, "trade.nothing-lost", lambda: reseal(trade.provider, trade.order_id, examiner))
    refused(InputError, "trade.slot", lambda: reseal(trade.provider, trade.order_id, examiner, (3,)))
    refused(InputError, "trade.role", lambda: reseal(trade.consumer, trade.order_id, examiner))
    trade.scene.start_tee(trade.scene.tees[0])
    trade.scene.tees[0].core = None  # down again
    done = reseal(trade.provider, trade.order_id, examiner)
    assert (done.slots, len(done.failed)) == ((), 1)


@pytest.mark.parametrize("side", ["provider", "consumer"])
def test_status_always_names_who_and_until_when(trade: Trade, side: str) -> None:
    desk: Desk = getattr(trade, side)
    asked = []

    def look() -> None:
        now = status(desk, trade.order_id)
        assert now.who in ("provider", "consumer", "tee nodes", "nobody")
        assert (now.until_at is not None) or now.who == "nobody" or now.next_command
        asked.append((now.state, now.who, now.next_command.split(" ")[0]))

    trade.request()
    look()
    trade.approve()
    look()
    trade.pay()
    look()
    trade.fetch()
    look()
    record_delivery(trade.consumer, trade.order_id)
    look()
    accept(trade.consumer, trade.order_id)
    look()
    verbs = {
        "provider": ["approve", "revoke", "revoke", "revoke", "revoke", "claim"],
        "consumer": ["cancel", "pay", "fetch", "accept", "accept", "open"],
    }
    assert [verb for _, _, verb in asked] == verbs[side]


def test_an_expired_request_is_over(trade: Trade) -> None:
    trade.request()
    trade.scene.chain.advance(PERIODS.approve_seconds + 1)
    now = status(trade.provider, trade.order_id)
    assert (now.state, now.who) == (OrderState.EXPIRED, "nobody")
    with pytest.raises(InputError):
        approve(trade.provider, trade.order_id, trade.scene.examiner())
