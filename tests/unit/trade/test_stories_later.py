"""The rules of the verbs from the approval on: policy, replies, payment, opening, money's ways out."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from asset_bridge.chain.keys import AccountKey
from asset_bridge.chain.records import ZERO_ADDRESS, OrderState, Periods
from asset_bridge.cli.status_cmd import lines_of
from asset_bridge.errors import BridgeError, InputError, RefusedError, TamperedError, UnavailableError
from asset_bridge.sealing.member_file import MemberFile
from asset_bridge.trade.accept import accept, record_delivery
from asset_bridge.trade.answer import deny, read_reply
from asset_bridge.trade.approve import approve
from asset_bridge.trade.cancel import cancel
from asset_bridge.trade.claim import claim
from asset_bridge.trade.desk import Desk
from asset_bridge.trade.documents.template import EXAMPLE_APPLICATION
from asset_bridge.trade.fetch import fetch, open_again
from asset_bridge.trade.offers import set_offer
from asset_bridge.trade.opening import open_at_hand
from asset_bridge.trade.opening_part import open_member, opened_order
from asset_bridge.trade.pay import check_before_payment, pay
from asset_bridge.trade.publish import prepare, publish
from asset_bridge.trade.refund import agree, refund, refund_agreed
from asset_bridge.trade.request import request
from asset_bridge.trade.reseal import reseal
from asset_bridge.trade.retire import retire
from asset_bridge.trade.revoke import collect_destroyed, revoke
from asset_bridge.trade.status import status
from asset_bridge.vault import crypt4gh
from asset_bridge.vault.backup import backup, restore
from asset_bridge.vault.home import Home
from asset_bridge_simulator import measurement_id
from tests.support.trade import MEASUREMENT, PASSPHRASE, PERIODS, PRICE_WEI, QUICK, Scene, make_scene, plan_of
from tests.support.trade_steps import Trade, published


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
    refused(InputError, "files.exists", trade.fetch)  # an empty folder is somebody's too
    trade.out.rmdir()
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


@pytest.mark.parametrize("source", ["body", "sealed", "replicas"])
def test_one_member_or_a_range_of_it_opens_alone(trade: Trade, tmp_path: Path, source: str) -> None:
    trade.request().approve()
    trade.pay()
    trade.fetch()
    whole = tmp_path / "whole"
    open_again(trade.consumer, trade.order_id, whole, trade.bodies)
    (body,) = trade.bodies.glob("*.body")
    sealed = None
    if source == "sealed":
        sealed = tmp_path / "at-hand.sealed"
        asset = trade.scene.chain.asset(trade.published.asset_id)
        sealed.write_bytes(asset.listing.header + body.read_bytes())
    if source != "body":
        body.unlink()
    expected = (whole / "patients.ndjson").read_bytes()

    def part(member: str, name: str, **other: object) -> bytes:
        arguments = {"sealed": sealed, **other}
        done = open_member(trade.consumer, trade.order_id, member, tmp_path / name, trade.bodies, **arguments)  # type: ignore[arg-type]
        assert done.bytes_written == (tmp_path / name).stat().st_size
        return (tmp_path / name).read_bytes()

    assert part("patients.ndjson", "member") == expected
    assert part("patients.ndjson", "range", start=10, end=200) == expected[10:200]
    assert part("patients.ndjson", "nothing", start=5, end=5) == b""
    key = X25519PrivateKey.from_private_bytes(bytes(range(32))).public_key().public_bytes_raw()
    assert part("patients.ndjson", "c4gh", crypt4gh_key=key)[:8] == b"crypt4gh"
    for code, other in (("sealing.no-member", {"member": "x"}), ("sealing.range", {"end": len(expected) + 1})):
        arguments = {"member": "patients.ndjson", **other}
        refused(InputError, code, lambda arguments=arguments: part(name="no", **arguments))  # type: ignore[misc]
    assert not (tmp_path / "no").exists()
    with opened_order(trade.consumer, trade.order_id, trade.bodies, sealed) as opener:
        file = MemberFile(opener, "patients.ndjson")
        file.seek(-7, 2)
        assert file.read() == expected[-7:]


def test_a_crypt4gh_file_is_published_as_what_it_holds(trade: Trade, tmp_path: Path) -> None:
    secret, path = bytes(range(32)), tmp_path / "reads.bam.c4gh"
    public = X25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw()
    session = ChaCha20Poly1305(b"s" * 32)
    header = crypt4gh._header(b"s" * 32, public, os.urandom)
    path.write_bytes(header + crypt4gh._segments(session, memoryview(b"ACGT" * 40_000), os.urandom))
    desk = trade.provider
    work = tmp_path / "work"
    work.mkdir()
    plan = plan_of(path, crypt4gh_key=secret)
    assert secret.hex() not in repr(plan)
    source, *_ = prepare(desk, plan)
    assert [member.path for member in source.index.members] == ["reads.bam"]
    publish(desk, plan, work)
    for left in tmp_path.rglob("*"):
        assert left.is_dir() or b"ACGTACGT" not in left.read_bytes()


def test_a_sealed_file_of_another_order_opens_no_member(trade: Trade, tmp_path: Path) -> None:
    trade.request().approve()
    trade.pay()
    trade.fetch()
    (tmp_path / "other").write_bytes(bytes(200))
    arguments = (trade.consumer, trade.order_id, "patients.ndjson", tmp_path / "no", trade.bodies)
    refused(InputError, "trade.not-fetched", lambda: open_member(*arguments, sealed=tmp_path / "other"))


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
    assert status(trade.consumer, trade.order_id).next_command == f"refund 0x{trade.order_id.hex()[:12]}"
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


def test_reseal_waits_until_a_new_start_is_final(trade: Trade, monkeypatch: pytest.MonkeyPatch) -> None:
    trade.request().approve()
    trade.scene.start_tee(trade.scene.tees[0], blocks_after=0)
    with monkeypatch.context() as patch:
        patch.setattr("asset_bridge.trade.reseal.FINAL_TRIES", 0)  # a chain on which nothing becomes final
        refused(
            UnavailableError, "trade.not-final", lambda: reseal(trade.provider, trade.order_id, trade.scene.examiner())
        )
    done = reseal(trade.provider, trade.order_id, trade.scene.examiner())
    assert (len(done.slots), done.failed) == (1, ())


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
        "provider": ["approve", "", "", "", "", "claim"],
        "consumer": ["", "pay", "fetch", "accept", "accept", "open"],
    }
    assert [verb for _, _, verb in asked] == verbs[side]


def test_status_says_what_holds_each_share(trade: Trade) -> None:
    assert status(trade.provider, trade.request().order_id).holders == ()
    trade.approve()
    found = status(trade.consumer, trade.order_id)
    approval = trade.scene.chain.order(trade.order_id).approval
    assert approval is not None
    told = [(one.slot, one.node_id, one.tee, one.measurement_id) for one in found.holders]
    measured = measurement_id(MEASUREMENT)
    assert told == [(slot, one.node_id, "simulated", measured) for slot, one in enumerate(approval.slots)]
    assert sum("tee: simulated, measurement" in line for line in lines_of(found)) == 3


def test_an_expired_request_is_over(trade: Trade) -> None:
    trade.request()
    trade.scene.chain.advance(PERIODS.approve_seconds + 1)
    now = status(trade.provider, trade.order_id)
    assert (now.state, now.who) == (OrderState.EXPIRED, "nobody")
    with pytest.raises(InputError):
        approve(trade.provider, trade.order_id, trade.scene.examiner())


# ── the day after the disk died ──


@pytest.mark.parametrize("when", ["requested", "fetched"])
def test_homes_restored_from_their_backups_go_on(trade: Trade, tmp_path: Path, when: str) -> None:
    trade.request()
    if when == "fetched":
        trade.approve()
        trade.pay()
        trade.fetch()
    desks = {}
    for side in ("provider", "consumer"):
        home = Home.open(tmp_path / side)
        keys, tweaks = tmp_path / f"{side}.keys", tmp_path / f"{side}.tweaks"
        arguments: Any = {"passphrase": lambda: PASSPHRASE, "randbytes": os.urandom}
        backup(home, home.unlock(lambda: PASSPHRASE, os.urandom), keys, tweaks, now_at=1, cost=QUICK, **arguments)
        shutil.rmtree(tmp_path / side)
        second = tmp_path / f"{side}-second"
        again = restore(tmp_path / f"{side}-again", keys, tweaks, second_place=second, cost=QUICK, **arguments)
        desks[side] = replace(getattr(trade, side), vault=again.unlock(lambda: PASSPHRASE, os.urandom))
    bodies = tmp_path / "consumer-again" / "bodies"
    bodies.mkdir()
    if when == "requested":
        approve(desks["provider"], trade.order_id, trade.scene.examiner())
        trade.scene.chain.mine(3)
        pay(desks["consumer"], trade.order_id, bodies)
        trade.scene.chain.mine(3)
        fetch(desks["consumer"], trade.order_id, trade.out, bodies)
    else:
        for tee in trade.scene.tees:
            tee.core = None
        shutil.rmtree(trade.out)
        open_again(desks["consumer"], trade.order_id, trade.out, bodies)
    trade.assert_same()
