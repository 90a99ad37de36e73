"""The chain's ports, once: the same life of orders on the twin and on the web3 adapter with anvil behind it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from eth_hash.auto import keccak

from asset_bridge.chain.records import ZERO_ADDRESS, At, NodeKind, OrderState, Periods, ProviderAccount
from asset_bridge.errors import BridgeError, InputError
from tests.ports.chain_scene import MEASUREMENT, PERIODS, PRICE_WEI, Scene
from tests.ports.chain_worlds import AnvilWorld, TwinWorld, World


@pytest.fixture(scope="module", params=["twin", pytest.param("anvil", marks=pytest.mark.needs_anvil)])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    if request.param == "twin":
        yield TwinWorld(((255, MEASUREMENT),))
        return
    anvil: Path = request.getfixturevalue("anvil_path")
    with AnvilWorld(anvil, tmp_path_factory.mktemp("anvil"), ((255, MEASUREMENT),)) as made:
        yield made


@pytest.fixture
def scene(world: World, request: pytest.FixtureRequest) -> Scene:
    return world.scene(request.node.name)


def refused(code: str, error: pytest.ExceptionInfo[BridgeError]) -> bool:
    return error.value.code == code


# ── listings ──
def test_a_listing_reads_back_as_it_was_given(scene: Scene) -> None:
    listing = scene.listing()
    asset_id, sent = scene.provider.list_asset(listing)
    asset = scene.consumer.reader.asset(asset_id)
    assert asset.listing == listing
    assert (asset.provider, asset.offer, asset.retired) == (scene.provider.address, listing.offer, False)
    assert asset.listed_in == sent.block
    assert asset_id == scene.consumer.reader.asset_id_of(scene.provider.address, listing)
    assert asset in scene.consumer.reader.assets(provider=scene.provider.address)


def test_a_body_on_chain_reads_back(scene: Scene) -> None:
    body = scene.numbers(4_096)
    asset_id = scene.listed(body=body)
    assert scene.consumer.reader.asset(asset_id).listing.on_chain_body == body


def test_a_body_that_is_not_the_digests_is_refused(scene: Scene) -> None:
    listing = scene.listing(body=scene.numbers(4_096))
    with pytest.raises(BridgeError) as error:
        scene.provider.list_asset(replace(listing, on_chain_body=scene.numbers(4_096)))
    assert refused("chain.ledger.body-does-not-match", error)


def test_a_storage_receipt_of_a_stranger_is_refused(scene: Scene) -> None:
    listing = scene.listing()
    forged = replace(listing.receipt, signature=scene.tees[0].key.sign_digest(keccak(b"other")))
    with pytest.raises(BridgeError) as error:
        scene.provider.list_asset(replace(listing, receipt=forged))
    assert refused("chain.ledger.receipt-is-not-the-light-node-s", error)


def test_an_offer_changes_for_future_requests_only(scene: Scene) -> None:
    order = scene.requested()
    asset = scene.provider.reader.asset(order.terms.asset_id)
    dearer = replace(asset.offer, price_wei=PRICE_WEI * 2)
    scene.provider.set_offer(asset.asset_id, dearer)
    assert scene.consumer.reader.asset(asset.asset_id).offer == dearer
    assert scene.consumer.reader.order(order.order_id).terms.offer == asset.offer
    with pytest.raises(BridgeError) as error:
        scene.consumer.request(replace(order.terms, order_nonce=scene.numbers(32)))
    assert refused("chain.ledger.not-the-present-offer", error)


def test_a_retired_asset_takes_no_request(scene: Scene) -> None:
    asset_id = scene.listed()
    terms = scene.terms(asset_id)
    scene.provider.retire(asset_id)
    assert scene.consumer.reader.asset(asset_id).retired
    with pytest.raises(BridgeError) as error:
        scene.consumer.request(terms)
    assert refused("chain.ledger.not-listed", error)


def test_a_profile_reads_back(scene: Scene) -> None:
    profile = scene.consumer.reader.profile(scene.provider.address)
    assert profile is not None
    assert (profile.document_digest, profile.payee) == (keccak(b"profile"), scene.provider.address)
    assert scene.consumer.reader.profile(scene.consumer.address) is None
    scene.provider.set_profile(keccak(b"second"), scene.provider.address, ZERO_ADDRESS)
    changed = scene.consumer.reader.profile(scene.provider.address)
    assert changed is not None
    assert changed.document_digest == keccak(b"second")


def test_payee_and_recovery_change_after_the_delay(world: World, scene: Scene) -> None:
    provider, stranger, reader = scene.provider, scene.consumer, scene.consumer.reader
    own, other, rescue = provider.address, stranger.address, scene.tees[0].operator.address
    assert reader.provider_account(own).change is None
    assert reader.provider_account(other) == ProviderAccount(
        other, other, other, ZERO_ADDRESS, None
    )  # it has no profile
    with pytest.raises(BridgeError) as error:
        stranger.propose_change(own, other, other, ZERO_ADDRESS)
    assert refused("chain.ledger.not-owner-or-recovery-account", error)
    provider.propose_change(own, own, other, rescue)
    change = reader.provider_account(own).change
    assert change is not None
    assert (change.owner, change.payee, change.recovery) == (own, other, rescue)
    provider.cancel_change(own)
    assert reader.provider_account(own).change is None
    sent = provider.propose_change(own, own, other, rescue)  # the same again
    change = reader.provider_account(own).change
    assert change is not None
    assert change.applies_at > sent.block.timestamp
    with pytest.raises(BridgeError) as error:
        stranger.apply_change(own, change)
    assert refused("chain.ledger.change-is-too-early", error)
    world.advance_to(change.applies_at)
    stranger.apply_change(own, change)
    assert reader.provider_account(own) == ProviderAccount(own, own, other, rescue, None)
    profile = reader.profile(own)
    assert profile is not None
    assert (profile.payee, profile.recovery) == (other, rescue)


def test_unknown_ids_are_not_found(scene: Scene) -> None:
    reader = scene.consumer.reader
    for ask in (reader.asset, reader.order, reader.node):
        with pytest.raises(InputError) as error:
            ask(keccak(b"nothing"))
        assert refused("chain.not-found", error)


# ── nodes ──
def test_nodes_read_back_and_renew(scene: Scene) -> None:
    tee, reader = scene.tees[3], scene.consumer.reader
    node = reader.node(tee.node_id)
    assert (node.kind, node.operator, node.live) == (NodeKind.TEE, tee.operator.address, True)
    assert (node.current.signing_address, node.current.epoch) == (tee.key.address, 1)
    tee.operator.renew_node(tee.node_id, **scene.epoch(NodeKind.TEE, tee.key, 2**31))  # type: ignore[arg-type]
    assert (reader.node(tee.node_id).current.epoch, reader.node(tee.node_id).current.expires_at) == (1, 2**31)
    tee.operator.renew_node(tee.node_id, **scene.epoch(NodeKind.TEE, scene.signer))  # type: ignore[arg-type]
    renewed = reader.node(tee.node_id)
    assert (renewed.current.epoch, renewed.current.signing_address) == (2, scene.signer.address)
    assert len(renewed.epochs) == 2
    assert renewed in reader.nodes(NodeKind.TEE)


def test_a_withdrawn_node_leaves_the_list_and_gets_its_stake(scene: Scene) -> None:
    tee, reader = scene.tees[3], scene.consumer.reader
    tee.operator.withdraw_node(tee.node_id)
    assert tee.node_id not in [n.node_id for n in reader.nodes(NodeKind.TEE)]
    assert not reader.node(tee.node_id).live
    assert reader.node(tee.node_id).stake_wei == 0


def test_an_unlisted_measurement_registers_but_is_not_live(scene: Scene) -> None:
    epoch = scene.epoch(NodeKind.TEE, scene.signer) | {"measurement_id": keccak(b"unlisted")}
    node_id, _ = scene.recorder.register_node(salt=scene.numbers(32), kind=NodeKind.TEE, stake_wei=10**17, **epoch)  # type: ignore[arg-type]
    assert not scene.consumer.reader.node(node_id).live


# ── the life of an order ──
def test_request_reads_back(scene: Scene) -> None:
    terms = scene.terms(scene.listed())
    order_id, sent = scene.consumer.request(terms)
    order = scene.provider.reader.order(order_id)
    assert order_id == scene.provider.reader.order_id_of(scene.consumer.address, terms)
    assert (order.terms, order.state, order.consumer) == (terms, OrderState.REQUESTED, scene.consumer.address)
    assert (order.requested_in, order.approve_by) == (sent.block, sent.block.timestamp + PERIODS.approve_seconds)
    assert [o.order_id for o in scene.provider.reader.orders(provider=scene.provider.address)] == [order_id]
    assert [o.order_id for o in scene.provider.reader.orders(consumer=scene.consumer.address)] == [order_id]
    assert [o.order_id for o in scene.provider.reader.orders(asset_id=terms.asset_id)] == [order_id]


def test_the_same_call_again_has_one_effect(scene: Scene) -> None:
    terms = scene.terms(scene.listed())
    assert scene.consumer.request(terms) == scene.consumer.request(terms)


def test_approval_reads_back(scene: Scene) -> None:
    order = scene.requested()
    approval = scene.approval(order)
    sent = scene.provider.approve(order.order_id, approval)
    read = scene.consumer.reader.order(order.order_id)
    assert (read.state, read.approval) == (OrderState.APPROVED, approval)
    assert read.pay_by == sent.block.timestamp + PERIODS.pay_seconds
    assert (read.reply_digest, read.reply_length) == (keccak(b"reply"), 99)


def test_an_approval_by_a_stranger_or_with_forged_parts_is_refused(scene: Scene) -> None:
    order = scene.requested()
    good = scene.approval(order)
    with pytest.raises(BridgeError) as error:
        scene.recorder.approve(order.order_id, good)
    assert refused("chain.grants.not-the-provider", error)
    first, second, third = good.slots
    forged = replace(first, receiver_signature=scene.recorder.sign_digest(keccak(b"x")))
    late = scene.slot(order, scene.tees[0], good.precursor, expires_at=scene.consumer.reader.block().timestamp)
    for slots, reason in (
        ((forged, second, third), "grants.share-is-not-signed-by-the-listed-signer"),
        ((late, second, third), "grants.order-key-has-expired"),
        ((first, first, third), "registry.operators-are-not-distinct"),
        ((first,), "grants.threshold-is-out-of-range"),
    ):
        with pytest.raises(BridgeError) as error:
            scene.provider.approve(order.order_id, replace(good, slots=slots))
        assert refused(f"chain.{reason}", error)
    assert scene.consumer.reader.order(order.order_id).state == OrderState.REQUESTED


def test_denial(scene: Scene) -> None:
    order = scene.requested()
    scene.provider.deny(order.order_id, keccak(b"no"), 17)
    denied = scene.consumer.reader.order(order.order_id)
    assert (denied.state, denied.reply_digest, denied.reply_length) == (OrderState.DENIED, keccak(b"no"), 17)
    with pytest.raises(BridgeError) as error:
        scene.provider.approve(order.order_id, scene.approval(order))
    assert refused("chain.exchange.wrong-state", error)


def test_cancel_before_and_after_approval(scene: Scene) -> None:
    for order in (scene.requested(), scene.approved()):
        with pytest.raises(BridgeError) as error:
            scene.provider.cancel(order.order_id)
        assert refused("chain.exchange.not-the-consumer", error)
        scene.consumer.cancel(order.order_id)
        assert scene.provider.reader.order(order.order_id).state == OrderState.CANCELLED


def test_expiry_at_the_edge(world: World, scene: Scene) -> None:
    order = scene.requested()
    approval = scene.approval(order)
    with pytest.raises(BridgeError) as error:
        scene.recorder.expire(order.order_id)
    assert refused("chain.exchange.deadline-is-not-reached", error)
    world.advance_to(order.approve_by)
    with pytest.raises(BridgeError) as error:
        scene.provider.approve(order.order_id, approval)
    assert refused("chain.exchange.deadline-has-passed", error)
    scene.recorder.expire(order.order_id)
    assert scene.provider.reader.order(order.order_id).state == OrderState.EXPIRED


def test_pay_puts_the_price_in_escrow_and_binds_nodes_and_asset(scene: Scene) -> None:
    order = scene.approved()
    with pytest.raises(BridgeError) as error:
        scene.consumer.pay(order.order_id, [scene.accept(order, 0)])
    assert refused("chain.exchange.too-few-accepts", error)
    sent = scene.consumer.pay(order.order_id, [scene.accept(order, 2), scene.accept(order, 0)])
    paid = scene.provider.reader.order(order.order_id)
    assert (paid.state, paid.escrow_wei) == (OrderState.PAID, PRICE_WEI)
    assert paid.accepted == ((0, scene.tees[0].node_id), (2, scene.tees[2].node_id))
    at = sent.block.timestamp
    assert (paid.deliver_by, paid.ends_at) == (at + PERIODS.deliver_seconds, at + PERIODS.access_seconds)
    grace = scene.provider.reader.grace_seconds()
    until = at + PERIODS.deliver_seconds + grace + PERIODS.window_seconds + PERIODS.answer_seconds
    assert scene.provider.reader.asset(order.terms.asset_id).busy_until == until
    assert [scene.provider.reader.node(t.node_id).busy_until for t in scene.tees[:3]] == [until, 0, until]
    with pytest.raises(BridgeError) as error:
        scene.provider.retire(order.terms.asset_id)
    assert refused("chain.ledger.asset-is-busy", error)
    with pytest.raises(BridgeError) as error:
        scene.tees[0].operator.withdraw_node(scene.tees[0].node_id)
    assert refused("chain.registry.node-is-busy", error)


def test_delivery_settles_to_the_wei(scene: Scene) -> None:
    order = scene.paid()
    receipts = [scene.receipt(order, slot) for slot in (2, 0)]
    with pytest.raises(BridgeError):
        scene.recorder.record_delivery(order.order_id, scene.fetch(order), receipts[:1])
    sent = scene.recorder.record_delivery(order.order_id, scene.fetch(order), receipts)
    delivered = scene.consumer.reader.order(order.order_id)
    assert (delivered.state, delivered.escrow_wei) == (OrderState.DELIVERED, PRICE_WEI)
    assert delivered.delivered_receipts == tuple(sorted(receipts, key=lambda r: r.slot))
    assert delivered.windows_end == sent.block.timestamp + PERIODS.window_seconds
    with pytest.raises(BridgeError):
        scene.recorder.settle(order.order_id)
    scene.consumer.accept_delivery(order.order_id)
    settled = scene.consumer.reader.order(order.order_id)
    assert (settled.state, settled.escrow_wei) == (OrderState.SETTLED, 0)
    reader = scene.consumer.reader
    nodes = [scene.light, *scene.storage, scene.tees[0], scene.tees[2]]
    got = [
        reader.balance_wei(scene.provider.address, ZERO_ADDRESS),
        reader.balance_wei(scene.recorder.address, ZERO_ADDRESS),
    ]
    got += [reader.credit_wei(n.node_id) for n in nodes]
    assert sum(got) == PRICE_WEI
    assert all(amount > 0 for amount in got)
    assert got[5] == got[6] == PRICE_WEI * 300 // 10_000 // 2
    scene.provider.claim(ZERO_ADDRESS)
    assert reader.balance_wei(scene.provider.address, ZERO_ADDRESS) == 0
    with pytest.raises(BridgeError) as error:
        scene.provider.claim(ZERO_ADDRESS)
    assert refused("chain.exchange.nothing-to-claim", error)
    scene.tees[0].operator.claim(ZERO_ADDRESS, scene.tees[0].node_id)
    assert reader.credit_wei(scene.tees[0].node_id) == 0


def test_anyone_settles_after_the_window(world: World, scene: Scene) -> None:
    order = scene.delivered()
    world.advance_to(order.windows_end)
    scene.tees[3].operator.settle(order.order_id)
    assert scene.consumer.reader.order(order.order_id).state == OrderState.SETTLED


def test_refund_when_nothing_was_delivered(world: World, scene: Scene) -> None:
    order = scene.paid()
    world.advance_to(order.deliver_by)
    with pytest.raises(BridgeError) as error:
        scene.consumer.refund(order.order_id)
    assert refused("chain.exchange.deadline-is-not-reached", error)
    world.advance_to(order.deliver_by + scene.consumer.reader.grace_seconds())
    with pytest.raises(BridgeError):
        scene.recorder.record_delivery(order.order_id, scene.fetch(order), [scene.receipt(order, s) for s in (0, 1)])
    scene.recorder.refund(order.order_id)
    refunded = scene.consumer.reader.order(order.order_id)
    assert (refunded.state, refunded.escrow_wei) == (OrderState.REFUNDED, 0)
    assert scene.consumer.reader.balance_wei(scene.consumer.address, ZERO_ADDRESS) == PRICE_WEI


def test_delivery_within_grace_counts(world: World, scene: Scene) -> None:
    order = scene.paid()
    receipts = [scene.receipt(order, s) for s in (0, 1)]
    world.advance_to(order.deliver_by)
    scene.recorder.record_delivery(order.order_id, scene.fetch(order), receipts)
    assert scene.consumer.reader.order(order.order_id).state == OrderState.DELIVERED


def test_agreed_refund(scene: Scene) -> None:
    order = scene.delivered()
    with pytest.raises(BridgeError):
        scene.consumer.agree_refund(order.order_id, b"", b"")
    scene.consumer.agree_refund(order.order_id, scene.provider.agree_refund_signature(order.order_id), b"")
    assert scene.consumer.reader.order(order.order_id).state == OrderState.REFUNDED
    assert scene.consumer.reader.balance_wei(scene.consumer.address, ZERO_ADDRESS) == PRICE_WEI


def test_revoke_in_each_state(world: World, scene: Scene) -> None:
    approved, paid, delivered = scene.approved(), scene.paid(), scene.delivered()
    with pytest.raises(BridgeError) as error:
        scene.consumer.revoke(approved.order_id)
    assert refused("chain.grants.not-the-provider", error)
    scene.provider.revoke(approved.order_id)
    assert scene.consumer.reader.order(approved.order_id).state == OrderState.REVOKED
    receipts = [scene.receipt(paid, s) for s in (0, 1)]
    sent = scene.provider.revoke(paid.order_id)
    revoked = scene.consumer.reader.order(paid.order_id)
    assert (revoked.state, revoked.escrow_wei, revoked.deliver_by) == (
        OrderState.REVOKED,
        PRICE_WEI,
        sent.block.timestamp,
    )
    scene.recorder.record_delivery(paid.order_id, scene.fetch(paid), receipts)
    late = scene.consumer.reader.order(paid.order_id)
    assert (late.state, late.serving_stopped) == (OrderState.DELIVERED, True)
    scene.provider.revoke(delivered.order_id)
    stopped = scene.consumer.reader.order(delivered.order_id)
    assert (stopped.state, stopped.serving_stopped, stopped.escrow_wei) == (OrderState.DELIVERED, True, PRICE_WEI)
    other = scene.paid()
    scene.provider.revoke(other.order_id)
    cut = scene.consumer.reader.order(other.order_id)
    world.advance_to(cut.deliver_by + scene.consumer.reader.grace_seconds())
    scene.consumer.refund(other.order_id)
    assert scene.consumer.reader.order(other.order_id).state == OrderState.REFUNDED


def test_reseal_keeps_the_share_and_old_receipts_count(scene: Scene) -> None:
    order = scene.paid()
    assert order.approval is not None
    old = order.approval.slots[1]
    old_receipts = [scene.receipt(order, slot) for slot in (0, 1)]
    new = scene.slot(order, scene.tees[3], order.approval.precursor, like=old)
    replacement = replace(order.approval, slots=(new,))
    forged = replace(scene.accept(order, 1, new), signature=scene.recorder.sign_digest(keccak(b"x")))
    with pytest.raises(BridgeError):
        scene.provider.reseal(order.order_id, 1, replacement, forged)
    taken = scene.slot(order, scene.tees[0], order.approval.precursor, like=old)
    with pytest.raises(BridgeError):
        scene.provider.reseal(order.order_id, 1, replace(order.approval, slots=(taken,)), scene.accept(order, 1, taken))
    scene.provider.reseal(order.order_id, 1, replacement, scene.accept(order, 1, new))
    resealed = scene.consumer.reader.order(order.order_id)
    assert resealed.approval is not None
    assert resealed.approval.slots[1] == new
    assert dict(resealed.accepted)[1] == scene.tees[3].node_id
    scene.recorder.record_delivery(order.order_id, scene.fetch(order), old_receipts)
    assert scene.consumer.reader.order(order.order_id).delivered_receipts == tuple(old_receipts)


def test_a_new_generation_needs_the_consumer_after_payment(scene: Scene) -> None:
    order = scene.approved()
    second = scene.approval(order, generation=2, nodes=scene.tees[1:])
    scene.provider.new_generation(order.order_id, second)
    order = scene.consumer.reader.order(order.order_id)
    assert order.approval is not None
    assert (order.approval.generation, order.approval.slots) == (2, second.slots)
    scene.consumer.pay(order.order_id, [scene.accept(order, slot) for slot in (0, 1)])
    third = scene.approval(order, generation=3)
    accepts = [scene.accept(replace(order, approval=third), slot) for slot in (0, 2)]
    with pytest.raises(BridgeError):
        scene.provider.new_generation(order.order_id, third, b"", accepts)
    consent = scene.consumer.new_generation_signature(order.order_id, third)
    scene.provider.new_generation(order.order_id, third, consent, accepts)
    order = scene.consumer.reader.order(order.order_id)
    receipts = [scene.receipt(order, slot) for slot in (0, 1)]
    scene.recorder.record_delivery(order.order_id, scene.fetch(order, 3), receipts)
    assert scene.consumer.reader.order(order.order_id).delivered_receipts == tuple(receipts)


def test_destroyed_is_recorded_once(scene: Scene) -> None:
    order = scene.delivered()
    receipt = scene.destroyed(order, 1)
    forged = replace(receipt, signature=scene.recorder.sign_digest(keccak(b"x")))
    with pytest.raises(BridgeError):
        scene.recorder.record_destroyed(order.order_id, forged)
    scene.recorder.record_destroyed(order.order_id, receipt)
    assert scene.consumer.reader.order(order.order_id).destroyed == (receipt,)
    with pytest.raises(BridgeError) as error:
        scene.consumer.record_destroyed(order.order_id, receipt)
    assert refused("chain.grants.destruction-is-recorded", error)


# ── reading ──
def test_final_lags_the_head_by_two_blocks(world: World, scene: Scene) -> None:
    order = scene.requested()
    with pytest.raises(InputError) as error:
        scene.consumer.reader.order(order.order_id, At.FINAL)
    assert refused("chain.not-found", error)
    world.mine(2)
    assert scene.consumer.reader.order(order.order_id, At.FINAL) == order
    assert scene.consumer.reader.block(At.FINAL).number + 2 <= scene.consumer.reader.block().number + 1


def test_constants(scene: Scene) -> None:
    reader = scene.consumer.reader
    assert isinstance(reader.minimum_periods(), Periods)
    assert reader.is_development
    assert reader.margin_seconds() > 0
    assert reader.grace_seconds() > 0


def test_an_empty_account_is_told_what_it_needs(world: World, scene: Scene) -> None:
    order = scene.approved()
    poor = world.account("poor", wei=PRICE_WEI - 1)
    epoch = scene.epoch(NodeKind.LIGHT, scene.signer)
    with pytest.raises(InputError) as error:
        poor.register_node(salt=order.order_id, kind=NodeKind.LIGHT, stake_wei=10**17, **epoch)  # type: ignore[arg-type]
    assert refused("chain.funds", error)
    assert poor.address in error.value.message
    assert str(10**17) in error.value.message
