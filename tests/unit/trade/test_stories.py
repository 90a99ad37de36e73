"""The rules of publish, request and inbox: order of durability, resuming, what is refused before anything is sent, forms."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from asset_bridge.chain.keys import AccountKey, address_bytes
from asset_bridge.chain.messages import form_digest
from asset_bridge.chain.records import RequestTerms
from asset_bridge.errors import BridgeError, InputError, TamperedError, UnavailableError
from asset_bridge.ipld.unixfs import file_dag
from asset_bridge.keys.hpke import seal_form
from asset_bridge.sealing.padding import ON_CHAIN_BODY_BYTES
from asset_bridge.trade import publish as publish_module
from asset_bridge.trade.approve import approve
from asset_bridge.trade.documents.description import Description
from asset_bridge.trade.documents.form import Attachment, Form, encode_form, with_attachments
from asset_bridge.trade.documents.template import EXAMPLE_APPLICATION
from asset_bridge.trade.inbox import inbox
from asset_bridge.trade.order_record import OrderRecord, order_keys
from asset_bridge.trade.preview import preview
from asset_bridge.trade.profile import read_profile
from asset_bridge.trade.publish import publish, resume, unfinished, upload_document
from asset_bridge.trade.request import request, send_form_again
from asset_bridge.trade.storage_receipt import check_storage_receipt
from tests.support.trade import PERIODS, Scene, make_scene, plan_of
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
