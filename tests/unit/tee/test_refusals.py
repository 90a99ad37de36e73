"""Each rule of protocol §6 with its own code (spec/node-http-tee.md §7)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from asset_bridge.chain.keys import AccountKey
from asset_bridge.chain.records import ZERO32, Approval, ApprovedSlot, At, BlockRef, FetchSignature, Order, OrderState
from asset_bridge.errors import BridgeError, InputError, RefusedError, UnavailableError
from asset_bridge.nodes.tee.core import TeeNodeCore
from asset_bridge.nodes.tee.order_keys import Limits
from asset_bridge.trade.evidence import OrderKey
from tests.unit.tee.market import Lens, Market


def code_of(call: Callable[[], object], kind: type[BridgeError] = RefusedError) -> str:
    with pytest.raises(kind) as caught:
        call()
    return caught.value.code


def core(market: Market) -> TeeNodeCore:
    return market.tees[0].core


def serve(market: Market, order_id: bytes) -> Callable[[], object]:
    return lambda: core(market).reencrypt(order_id, market.fetch(order_id))


# ── the order's state ──
def test_unknown_orders(market: Market) -> None:
    for call in (
        lambda: core(market).order_key(ZERO32),
        lambda: core(market).accept(ZERO32, 1, 0),
        serve(market, ZERO32),
    ):
        assert code_of(call) == "tee.unknown-order"


def test_a_key_only_for_an_order_that_is_final(market: Market) -> None:
    order_id = market.request(final=False)
    assert code_of(lambda: core(market).order_key(order_id), UnavailableError) == "tee.not-final"
    market.twin.mine(2)
    assert len(core(market).order_key(order_id)) == 145


def test_requested_is_neither_approved_nor_paid(market: Market) -> None:
    order_id = market.request()
    assert code_of(lambda: core(market).accept(order_id, 1, 0)) == "tee.not-approved"
    assert code_of(serve(market, order_id)) == "tee.not-paid"


def test_unpaid(market: Market) -> None:
    order_id = market.approve(market.request())
    assert code_of(serve(market, order_id)) == "tee.not-paid"
    market.pay(order_id, final=False)
    assert code_of(serve(market, order_id), UnavailableError) == "tee.not-final"


def test_an_approval_that_is_not_final(market: Market) -> None:
    order_id = market.approve(market.request(), final=False)
    assert code_of(lambda: core(market).accept(order_id, 1, 0), UnavailableError) == "tee.not-final"


def test_denied_and_cancelled(market: Market) -> None:
    denied, cancelled = market.request(), market.request()
    market.provider.deny(denied, ZERO32, 0)
    market.consumer.cancel(cancelled)
    for order_id in (denied, cancelled):
        assert code_of(lambda order_id=order_id: core(market).order_key(order_id)) == "tee.closed"
        assert code_of(serve(market, order_id)) == "tee.closed"


def test_expired_requests_and_approvals(market: Market) -> None:
    asked, approved = market.request(), market.approve(market.request())
    market.twin.advance(601)
    assert code_of(lambda: core(market).order_key(asked)) == "tee.expired"
    assert code_of(lambda: core(market).accept(approved, 1, 0)) == "tee.expired"
    assert code_of(serve(market, approved)) == "tee.expired"


def test_the_end_of_the_access_period(market: Market) -> None:
    order_id = market.deliver(market.paid())
    order = market.twin.order(order_id)
    market.twin.advance_to(order.ends_at - 2)  # the next block is now
    core(market).reencrypt(order_id, market.fetch(order_id))
    market.twin.advance_to(order.ends_at - 1)
    assert code_of(serve(market, order_id)) == "tee.expired"


def test_revoked_takes_effect_at_the_head(market: Market) -> None:
    order_id = market.paid()
    core(market).reencrypt(order_id, market.fetch(order_id))
    market.provider.revoke(order_id)  # not final yet
    assert code_of(serve(market, order_id)) == "tee.revoked"
    assert code_of(lambda: core(market).order_key(order_id)) == "tee.revoked"
    assert code_of(lambda: core(market).accept(order_id, 1, 0)) == "tee.revoked"
    market.twin.mine(2)
    assert code_of(serve(market, order_id)) == "tee.revoked"


def test_revoked_after_delivery(market: Market) -> None:
    order_id = market.deliver(market.paid())
    market.provider.revoke(order_id)
    assert market.twin.order(order_id).state is OrderState.DELIVERED
    assert code_of(serve(market, order_id)) == "tee.revoked"


def test_a_refusal_at_any_single_head(market: Market) -> None:
    order_id = market.paid()
    lens = market.lenses[1]
    for change, code in (
        ({"state": OrderState.REVOKED}, "tee.revoked"),
        ({"serving_stopped": True}, "tee.revoked"),
        ({"state": OrderState.REFUNDED}, "tee.closed"),
        ({"state": OrderState.EXPIRED}, "tee.expired"),
        ({"ends_at": 1}, "tee.expired"),
    ):
        lens.order_changes[At.HEAD] = lambda order, change=change: replace(order, **change)
        assert code_of(serve(market, order_id)) == code
    lens.order_changes.clear()
    core(market).reencrypt(order_id, market.fetch(order_id))


def test_refunded(market: Market) -> None:
    order_id = market.paid()
    market.twin.advance_to(market.twin.order(order_id).deliver_by + 31)
    market.consumer.refund(order_id)
    assert code_of(serve(market, order_id)) == "tee.closed"


@pytest.mark.parametrize("before_deadline", [10, 9, 0, -5])
def test_nothing_within_the_margin_or_after_the_deadline(market: Market, before_deadline: int) -> None:
    order_id = market.paid()
    deadline = market.twin.order(order_id).deliver_by
    market.twin.advance_to(deadline - 12)
    core(market).reencrypt(order_id, market.fetch(order_id))  # released before: that permits nothing now
    market.twin.advance_to(deadline - before_deadline - 1)  # the next block is now
    assert code_of(serve(market, order_id)) == "tee.margin"


# ── slots, generations, keys ──
def test_a_node_without_a_slot(market: Market) -> None:
    fourth = market.tee("tee 3")
    order_id = market.paid()
    assert code_of(lambda: fourth.core.reencrypt(order_id, market.fetch(order_id))) == "tee.no-slot"
    assert code_of(lambda: core(market).accept(order_id, 1, 1)) == "tee.no-slot"
    assert code_of(lambda: core(market).accept(order_id, 1, 200)) == "tee.no-slot"


def test_another_generation(market: Market) -> None:
    order_id = market.paid()
    assert code_of(lambda: core(market).reencrypt(order_id, market.fetch(order_id, 2))) == "tee.generation"
    assert code_of(lambda: core(market).accept(order_id, 2, 0)) == "tee.generation"


def test_a_restart_loses_its_keys(market: Market) -> None:
    order_id = market.paid()
    anew = market.tee("tee 0")
    market.twin.mine(2)
    assert anew.registered.epoch == 2
    assert code_of(lambda: anew.core.reencrypt(order_id, market.fetch(order_id))) == "tee.key-destroyed"
    assert code_of(lambda: anew.core.accept(order_id, 1, 0)) == "tee.key-destroyed"


def test_a_slot_sealed_to_a_key_that_this_node_never_made(market: Market) -> None:
    order_id = market.paid()
    for lens in market.lenses:
        for at in At:
            lens.order_changes[at] = lambda order: with_slot(order, 0, kem_key_digest=b"z" * 32)
    assert code_of(serve(market, order_id)) == "tee.key-destroyed"


def test_order_keys_are_limited_per_order_and_in_all(market: Market) -> None:
    order_id, other = market.request(), market.request()
    limits = Limits(reuse_seconds=10**6, per_order=2, total=3)
    small = market.tee("tee 4", limits=limits).core
    small.order_key(order_id)
    small.order_key(order_id)
    assert code_of(lambda: small.order_key(order_id)) == "tee.order-key-limit"
    small.order_key(other)
    assert code_of(lambda: small.order_key(other), UnavailableError) == "tee.full"


def test_an_order_key_lives_at_most_a_day_and_another_nodes_key_is_refused(market: Market) -> None:
    key = OrderKey.parse(core(market).order_key(market.request()))
    assert 0 < key.expires_at - market.now <= 24 * 3600


# ── the fetch signature ──
def test_the_fetch_signers_signature_decides(market: Market) -> None:
    order_id = market.paid()
    stranger = market.fetch(order_id, key=AccountKey(b"\x07" * 32))
    good = market.fetch(order_id)
    other_order = market.fetch(market.request())
    high_s = bytes(good.signature[:32]) + b"\xff" * 32 + good.signature[64:]
    for signature in (stranger.signature, other_order.signature, good.signature[:64], b"\0" * 65, high_s):
        fetch = FetchSignature(1, signature)
        assert code_of(lambda fetch=fetch: core(market).reencrypt(order_id, fetch)) == "tee.fetch-signature"
    core(market).reencrypt(order_id, good)


def test_the_fetch_signer_may_be_another_account(market: Market) -> None:
    key = AccountKey(b"\x09" * 32)
    order_id = market.pay(market.approve(market.request(fetch_signer=key.address)))
    assert code_of(serve(market, order_id)) == "tee.fetch-signature"
    core(market).reencrypt(order_id, market.fetch(order_id, key=key))


# ── what is sealed ──
def with_slot(order: Order, index: int, **changes: object) -> Order:
    assert order.approval is not None
    slots = list(order.approval.slots)
    slots[index] = dataclasses.replace(slots[index], **changes)  # type: ignore[arg-type]
    return replace(order, approval=replace(order.approval, slots=tuple(slots)))


def approval_with(market: Market, order_id: bytes, index: int, **changes: object) -> Approval:
    approval = market.approval(order_id)
    slots = list(approval.slots)
    slots[index] = dataclasses.replace(slots[index], **changes)  # type: ignore[arg-type]
    return replace(approval, slots=tuple(slots))


def test_a_blob_that_does_not_open_is_not_accepted(market: Market) -> None:
    order_id = market.request()
    market.approve(order_id, approval_with(market, order_id, 0, sealed_rk=bytes(80)))
    assert code_of(lambda: core(market).accept(order_id, 1, 0)) == "tee.blob"
    market.tees[1].core.accept(order_id, 1, 1)


def test_a_blob_of_another_order_or_slot_does_not_open(market: Market) -> None:
    first, second = market.request(), market.request()
    other = market.approval(first).slots[0].sealed_rk
    market.approve(second, approval_with(market, second, 0, sealed_rk=other))
    assert code_of(lambda: core(market).accept(second, 1, 0)) == "tee.blob"


def test_a_share_that_is_not_the_published_one_is_not_accepted(market: Market) -> None:
    order_id = market.request()
    approval = market.approval(order_id)
    key = OrderKey.parse(core(market).order_key(order_id))
    right, wrong = market.shares(order_id)[0], market.shares(order_id)[1]
    junk = replace(right, rk=wrong.rk, checked=right_token())
    slot = market.slot(order_id, 1, 0, junk, key)
    market.approve(order_id, replace(approval, slots=(slot, *approval.slots[1:])))
    assert code_of(lambda: core(market).accept(order_id, 1, 0)) == "tee.share"


def right_token() -> object:
    from asset_bridge.reencryption.proof_of_check import CHECKED

    return CHECKED


def test_a_reseal_is_of_the_same_share_to_this_node(market: Market) -> None:
    order_id = market.paid()
    approval = market.twin.order(order_id).approval
    assert approval is not None
    key = OrderKey.parse(core(market).order_key(order_id))
    good = market.slot(order_id, 1, 0, market.shares(order_id)[0], key)
    node = core(market)
    node.accept_reseal(order_id, 1, 0, good)
    other = market.slot(order_id, 1, 0, market.shares(order_id)[1], key)
    assert code_of(lambda: node.accept_reseal(order_id, 1, 0, other)) == "tee.share"
    assert code_of(lambda: node.accept_reseal(order_id, 1, 9, good)) == "tee.no-slot"
    assert code_of(lambda: node.accept_reseal(order_id, 1, 0, replace(good, node_id=ZERO32))) == "tee.no-slot"
    assert code_of(lambda: node.accept_reseal(order_id, 1, 0, replace(good, epoch=9))) == "tee.key-destroyed"
    assert code_of(lambda: node.accept_reseal(order_id, 1, 0, replace(good, sealed_rk=bytes(80)))) == "tee.blob"
    assert code_of(lambda: node.accept_reseal(order_id, 2, 0, good)) == "tee.generation"


def test_a_share_of_the_next_generation_is_checked_like_one_on_the_chain(market: Market) -> None:
    order_id = market.paid()
    share, node = market.shares(order_id, 2)[0], core(market)
    precursor = share.published().x_a.to_bytes()
    key = OrderKey.parse(node.order_key(order_id))
    good = market.slot(order_id, 2, 0, share, key)
    accept = node.accept_generation(order_id, 2, 0, good, precursor)
    assert (accept.generation, accept.slot, accept.kfrag_id) == (2, 0, good.kfrag_id)

    def code(given: ApprovedSlot, generation: int = 2, slot: int = 0, x_a: bytes = precursor) -> str:
        return code_of(lambda: node.accept_generation(order_id, generation, slot, given, x_a))

    assert [code(good, generation) for generation in (1, 3)] == ["tee.generation"] * 2
    assert [code(good, slot=slot) for slot in (1, 16)] == ["tee.blob", "tee.no-slot"]
    assert code(replace(good, node_id=ZERO32)) == "tee.no-slot"
    assert code(replace(good, epoch=9)) == "tee.key-destroyed"
    assert code(replace(good, sealed_rk=bytes(80))) == "tee.blob"
    assert code(good, x_a=market.shares(order_id)[0].published().x_a.to_bytes()) == "tee.blob"
    first = market.slot(order_id, 2, 0, replace(share, rk=market.shares(order_id, 2)[1].rk, checked=right_token()), key)
    assert code(first) == "tee.share"
    unapproved = market.request()
    key = OrderKey.parse(node.order_key(unapproved))
    early = market.slot(unapproved, 2, 0, market.shares(unapproved, 2)[0], key)
    x_a = market.shares(unapproved, 2)[0].published().x_a.to_bytes()
    assert code_of(lambda: node.accept_generation(unapproved, 2, 0, early, x_a)) == "tee.not-approved"


def test_a_key_that_holds_a_share_is_not_given_for_another_one(market: Market) -> None:
    """Else the share that was replaced could be opened for as long as the new one."""
    order_id = market.request()
    unused = core(market).order_key(order_id)
    assert core(market).order_key(order_id) == unused
    market.approve(order_id)
    assert core(market).order_key(order_id) != unused


# ── the chain endpoints ──
def all_verbs(market: Market, order_id: bytes) -> list[Callable[[], object]]:
    node = core(market)
    return [lambda: node.order_key(order_id), lambda: node.accept(order_id, 1, 0), serve(market, order_id)]


def check_all(market: Market, order_id: bytes, code: str) -> None:
    for verb in all_verbs(market, order_id):
        assert code_of(verb, UnavailableError) == code


def test_a_stale_head_of_any_endpoint(market: Market) -> None:
    order_id = market.paid()
    market.lenses[1].block_changes[At.HEAD] = lambda block: replace(block, timestamp=market.now - 121)
    check_all(market, order_id, "tee.head-stale")


def test_a_head_that_goes_back(market: Market) -> None:
    order_id = market.paid()
    core(market).order_key(order_id)
    market.lenses[0].block_changes[At.HEAD] = lambda block: replace(block, number=block.number - 1)
    check_all(market, order_id, "tee.head-regressed")


def test_a_slow_answer_beside_a_faster_request_is_no_regression(market: Market) -> None:
    view, lens = core(market).view, market.lenses[0]

    def overtaken(block: BlockRef) -> BlockRef:
        lens.block_changes.clear()
        market.twin.mine(1)
        view.fresh()  # another thread, which sees the next block first
        return block

    view.fresh()
    lens.block_changes[At.HEAD] = overtaken
    view.fresh()


def test_a_finalized_block_that_goes_back(market: Market) -> None:
    order_id = market.paid()
    core(market).order_key(order_id)
    market.lenses[0].block_changes[At.FINAL] = lambda block: replace(block, number=block.number - 1)
    check_all(market, order_id, "tee.head-regressed")


def test_endpoints_that_disagree_about_the_order(market: Market) -> None:
    order_id = market.paid()
    for change in ({"state": OrderState.APPROVED}, {"deliver_by": 2**33}, {"escrow_wei": 1}):
        market.lenses[1].order_changes[At.FINAL] = lambda order, change=change: replace(order, **change)
        check_all(market, order_id, "tee.endpoints-disagree")


def test_an_endpoint_that_hides_the_order_at_its_head(market: Market) -> None:
    order_id = market.paid()

    def hidden(order: Order) -> Order:
        raise InputError("chain.not-found", "no such order")

    market.lenses[1].order_changes[At.HEAD] = hidden
    check_all(market, order_id, "tee.endpoints-disagree")


def test_endpoints_that_disagree_about_the_finalized_block(market: Market) -> None:
    order_id = market.paid()
    market.lenses[1].block_changes[At.FINAL] = lambda block: replace(block, hash=b"z" * 32)
    check_all(market, order_id, "tee.endpoints-disagree")


def test_endpoints_that_disagree_about_the_asset(market: Market) -> None:
    order_id = market.paid()

    class Liar(Lens):
        def asset(self, asset_id: bytes, at: At = At.HEAD) -> object:
            found = market.twin.asset(asset_id, at)
            return replace(found, listing=replace(found.listing, capsule=bytes(98)))

    market.lenses[1].__class__ = Liar
    assert code_of(serve(market, order_id), UnavailableError) == "tee.endpoints-disagree"


def test_clock_and_chain_apart(market: Market) -> None:
    order_id = market.paid()

    class Real(Lens):
        is_development = False

    market.lenses[1].__class__ = Real
    market.lenses[1].block_changes[At.HEAD] = lambda block: replace(block, timestamp=market.now + 301)
    check_all(market, order_id, "tee.clock-skew")


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("chain.stale-head", "tee.head-stale"),
        ("chain.regressed-head", "tee.head-regressed"),
        ("chain.endpoints-disagree", "tee.endpoints-disagree"),
    ],
)
def test_the_adapters_words_become_the_nodes(market: Market, theirs: str, ours: str) -> None:
    order_id = market.paid()

    def refuse(order: Order) -> Order:
        raise UnavailableError(theirs, "the adapter says so")

    market.lenses[0].order_changes[At.FINAL] = refuse
    check_all(market, order_id, ours)


# ── challenges and starts ──
@pytest.mark.parametrize("nonce", [b"", bytes(31), bytes(33), bytes(32)])
def test_a_challenge_has_32_random_bytes(market: Market, nonce: bytes) -> None:
    assert code_of(lambda: core(market).evidence(nonce)) == "tee.nonce"


def test_endpoints_of_different_deployments(market: Market, tmp_path: Path) -> None:
    class Other(Lens):
        exchange = "0x0000000000000000000000000000000000000001"

    with pytest.raises(InputError) as caught:
        market.tee("tee 4", readers=[market.lenses[0], Other(market.twin)])
    assert caught.value.code == "tee.readers"
    with pytest.raises(InputError):
        market.tee("tee 4", readers=[])
