"""When keys end, and the word about it (protocol §6, spec/node-http-tee.md §6)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from asset_bridge.chain import messages
from asset_bridge.chain.records import ZERO32, At, DestroyedReceipt, Order
from asset_bridge.errors import InputError, RefusedError, UnavailableError
from asset_bridge.nodes.tee.core import TeeNodeCore
from asset_bridge.nodes.tee.destruction import Reason
from asset_bridge.trade.evidence import OrderKey
from tests.unit.tee.market import Market


def core(market: Market) -> TeeNodeCore:
    return market.tees[0].core


def held(market: Market) -> object:
    return core(market).info()["order_keys"]


def check_word(market: Market, order_id: bytes, reason: Reason) -> DestroyedReceipt:
    (word,) = core(market).destroyed(order_id)
    assert word.reason == reason
    signer = messages.recover(messages.destroyed_digest(market.domain, order_id, word), word.signature)
    assert signer == market.twin.node(word.node_id).current.signing_address
    return word


def test_revoked_destroys_at_a_finalized_block_and_refuses_before(market: Market) -> None:
    order_id = market.paid()
    assert core(market).destroyed(order_id) == []
    market.provider.revoke(order_id)
    assert core(market).sweep() == 0
    market.twin.mine(2)
    assert core(market).sweep() == 1
    assert held(market) == 0
    word = check_word(market, order_id, Reason.REVOKED)
    market.provider.record_destroyed(order_id, word)  # the contract takes it
    assert len(market.twin.order(order_id).destroyed) == 1
    assert core(market).sweep() == 0


def test_a_revocation_that_was_reorganised_away_destroys_nothing(market: Market) -> None:
    order_id = market.paid()
    market.provider.revoke(order_id)
    core(market).sweep()
    market.twin.reorg(1, keep=False)
    market.twin.mine(2)
    core(market).reencrypt(order_id, market.fetch(order_id))


def test_one_lying_head_refuses_and_destroys_nothing(market: Market) -> None:
    order_id = market.paid()
    market.lenses[0].order_changes[At.HEAD] = lambda order: replace(order, serving_stopped=True)
    with pytest.raises(RefusedError):
        core(market).reencrypt(order_id, market.fetch(order_id))
    assert core(market).sweep() == 0
    market.lenses[0].order_changes.clear()
    core(market).reencrypt(order_id, market.fetch(order_id))


def test_the_end_date(market: Market) -> None:
    order_id = market.deliver(market.paid())
    market.twin.advance_to(market.twin.order(order_id).ends_at - 1)
    market.twin.mine(1)
    assert core(market).sweep() == 0
    market.twin.mine(3)
    assert core(market).sweep() == 1
    check_word(market, order_id, Reason.ENDED)


def test_refunded(market: Market) -> None:
    order_id = market.paid()
    market.twin.advance_to(market.twin.order(order_id).deliver_by + 31)
    market.consumer.refund(order_id)
    market.twin.mine(2)
    assert core(market).sweep() == 1
    check_word(market, order_id, Reason.CLOSED)


def test_a_slot_given_to_another_key(market: Market) -> None:
    order_id = market.paid()
    approval = market.twin.order(order_id).approval
    assert approval is not None
    key = OrderKey.parse(core(market).order_key(order_id))
    slot = market.slot(order_id, 1, 0, market.shares(order_id)[0], key)
    market.provider.reseal(
        order_id, 0, replace(approval, slots=(slot,)), core(market).accept_reseal(order_id, 1, 0, slot)
    )
    market.twin.mine(2)
    assert held(market) == 2
    assert core(market).sweep() == 1
    check_word(market, order_id, Reason.SUPERSEDED)
    core(market).reencrypt(order_id, market.fetch(order_id))


def test_an_unused_key_goes_after_its_expiry_without_a_word(market: Market) -> None:
    order_id = market.paid()
    core(market).order_key(order_id)
    assert held(market) == 2
    market.deliver(order_id)
    market.twin.advance(24 * 3600 - 200)  # the order itself lives 86,400 s
    assert core(market).sweep() in (0, 1)
    unused = core(market)._keys.of(order_id)
    market.twin.mine(3)
    core(market).sweep()
    assert len(unused) >= len(core(market)._keys.of(order_id))
    words = core(market).destroyed(order_id)
    assert all(word.slot >= 0 for word in words)


def test_an_unused_key_of_a_long_order(market: Market) -> None:
    order_id = market.paid()
    core(market).order_key(order_id)
    market.deliver(order_id)
    for lens in market.lenses:  # an access period of a year, as on a real chain
        for at in At:
            lens.order_changes[at] = lambda order: replace(order, ends_at=order.ends_at + 10**7)
    market.twin.advance(24 * 3600 - 100)
    assert core(market).sweep() == 0
    market.twin.advance(200)
    market.twin.mine(2)
    assert core(market).sweep() == 1
    assert held(market) == 1
    assert core(market).destroyed(order_id) == []
    core(market).reencrypt(order_id, market.fetch(order_id))


def test_a_key_that_any_head_shows_in_a_slot_is_not_unused(market: Market) -> None:
    order_id = market.request()
    market.approve(order_id, final=False)
    assert core(market).sweep() == 0
    assert held(market) == 1


def test_cfrags_are_kept_until_the_windows_close(market: Market) -> None:
    order_id = market.deliver(market.paid())
    order = market.twin.order(order_id)
    market.provider.revoke(order_id)
    market.twin.mine(2)
    core(market).sweep()
    kept = core(market)._made
    assert kept.orders() == [order_id]
    latest = max(order.windows_end, order.deliver_by + 30 + 300 + 200)
    market.twin.advance_to(latest - 2)
    core(market).sweep()
    assert kept.orders() == [order_id]
    market.twin.mine(1)
    core(market).sweep()
    assert kept.orders() == []


def test_the_end_of_the_service(market: Market) -> None:
    order_id = market.paid()
    core(market).order_key(order_id)
    core(market).close()
    assert held(market) == 0
    check_word(market, order_id, Reason.STOPPED)
    with pytest.raises(RefusedError) as caught:
        core(market).reencrypt(order_id, market.fetch(order_id))
    assert caught.value.code == "tee.key-destroyed"


def test_an_order_that_vanished_and_endpoints_that_are_down(market: Market) -> None:
    order_id = market.paid()

    def away(order: Order) -> Order:
        raise UnavailableError("chain.endpoint-down", "it is down")

    market.lenses[0].order_changes[At.HEAD] = away
    assert core(market).sweep() == 0

    def gone(order: Order) -> Order:
        raise InputError("chain.not-found", "no such order")

    for lens in market.lenses:
        lens.order_changes = {At.HEAD: gone, At.FINAL: gone}
    assert core(market).sweep() == 1
    assert held(market) == 0
    assert core(market).destroyed(order_id)[0].reason == Reason.CLOSED


def test_nothing_of_a_key_is_left(market: Market) -> None:
    order_id = market.paid()
    (key,) = core(market)._keys.of(order_id)
    assert key.opened is not None  # `accept` opened the share
    core(market).close()
    assert (key.secret, key.opened) == (None, None)
    assert core(market).destroyed(ZERO32) == []
