"""A delivery that is challenged: answered by the provider from the nodes, or closed by the consumer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from asset_bridge.chain.messages import fetch_digest
from asset_bridge.chain.records import ZERO32, ZERO_ADDRESS, FetchSignature, Offer, OrderState
from asset_bridge.errors import InputError, RefusedError, UnavailableError
from asset_bridge.trade.accept import record_delivery
from asset_bridge.trade.challenge import answer, challenge, close
from asset_bridge.trade.revoke import revoke
from tests.support.trade import PERIODS, PRICE_WEI
from tests.support.trade_steps import Trade, published


@pytest.fixture
def delivered(tmp_path: Path) -> Trade:
    trade = published(tmp_path).request().approve()
    trade.pay()
    trade.fetch()
    record_delivery(trade.consumer, trade.order_id)
    trade.scene.chain.mine(3)
    return trade


def test_the_provider_answers_with_fragments_that_the_nodes_give_again(delivered: Trade) -> None:
    trade = delivered
    with pytest.raises(InputError) as error:
        answer(trade.provider, trade.order_id)
    assert error.value.code == "trade.no-challenge"
    challenge(trade.consumer, trade.order_id)
    trade.scene.chain.mine(3)
    with pytest.raises(InputError) as error:
        challenge(trade.consumer, trade.order_id)
    assert error.value.code == "trade.challenged"
    done = answer(trade.provider, trade.order_id)
    assert (len(done.slots), done.met) == (2, True)
    order = trade.provider.reader.order(trade.order_id)
    assert (order.state, order.challenged) == (OrderState.DELIVERED, False)


def stopped(trade: Trade) -> None:
    """The provider revokes; every node has seen it as final and destroyed its key."""
    revoke(trade.provider, trade.order_id)
    trade.scene.chain.mine(3)
    assert sum(tee.core.sweep() for tee in trade.scene.tees if tee.core is not None) == 3


def refused_by_nodes(trade: Trade) -> None:
    fetch = trade.consumer.reader.recorded_fetch(trade.order_id)
    for tee in trade.scene.tees:
        assert tee.core is not None
        with pytest.raises(RefusedError) as error:
            tee.core.reencrypt(trade.order_id, fetch)
        assert error.value.code == "tee.revoked"


def test_a_challenge_after_a_revocation_is_answered_with_the_fragments_that_were_kept(delivered: Trade) -> None:
    """Attack: the consumer opens, the provider stops the order, and the consumer says that he never could, for price and deposits."""
    trade = delivered
    stopped(trade)
    refused_by_nodes(trade)  # a revocation alone: nothing comes, to nobody
    challenge(trade.consumer, trade.order_id)
    refused_by_nodes(trade)  # not at the head yet: at a finalized block
    trade.scene.chain.mine(3)
    order = trade.consumer.reader.order(trade.order_id)
    assert order.approval is not None
    by_node = {slot.node_id: number for number, slot in enumerate(order.approval.slots)}
    recorded = {receipt.slot for receipt in order.delivered_receipts}
    (silent,) = [tee for tee in trade.scene.tees if by_node[tee.node_id] not in recorded]
    with pytest.raises(RefusedError) as error:  # it released its fragment too, and no record says so
        silent.core.reencrypt(trade.order_id, trade.consumer.reader.recorded_fetch(trade.order_id))  # type: ignore[union-attr]
    assert error.value.code == "tee.revoked"
    done = answer(trade.provider, trade.order_id)
    assert (len(done.slots), done.met) == (2, True)
    assert set(done.slots) == recorded
    trade.scene.chain.mine(3)
    refused_by_nodes(trade)  # met: over
    order = trade.provider.reader.order(trade.order_id)
    assert (order.state, order.serving_stopped, order.challenged) == (OrderState.DELIVERED, True, False)


def test_a_delivery_recorded_after_the_revocation_is_challenged_and_answered(tmp_path: Path) -> None:
    trade = published(tmp_path).request().approve()
    trade.pay()
    trade.fetch()
    stopped(trade)
    record_delivery(trade.consumer, trade.order_id)  # within GRACE
    trade.scene.chain.mine(3)
    assert trade.consumer.reader.order(trade.order_id).state is OrderState.DELIVERED
    challenge(trade.consumer, trade.order_id)
    trade.scene.chain.mine(3)
    assert answer(trade.provider, trade.order_id).met


def test_an_answer_after_the_end_date(tmp_path: Path) -> None:
    """The access period ends inside the windows: nodes serve nobody any more, and show what they gave."""
    short = Offer(PRICE_WEI, ZERO_ADDRESS, ZERO32, replace(PERIODS, access_seconds=300))
    trade = published(tmp_path, offer=short).request().approve()
    trade.pay()
    trade.fetch()
    record_delivery(trade.consumer, trade.order_id)
    challenge(trade.consumer, trade.order_id)
    trade.scene.chain.mine(3)
    order = trade.consumer.reader.order(trade.order_id)
    trade.scene.chain.advance_to(order.windows_end - 5)
    trade.scene.chain.mine(3)
    assert trade.scene.chain.now_at > order.ends_at
    for tee in trade.scene.tees:
        assert tee.core is not None
        tee.core.sweep()
        assert len(tee.core._made.orders()) == 1  # kept while the challenge runs
    assert answer(trade.provider, trade.order_id).met


def test_fragments_are_kept_until_the_last_challenge_is_over_and_no_longer(delivered: Trade) -> None:
    trade = delivered
    stopped(trade)
    order, reader = trade.consumer.reader.order(trade.order_id), trade.consumer.reader
    trade.scene.chain.advance_to(order.windows_end - 2)
    challenge(trade.consumer, trade.order_id)  # in the last second
    found = reader.challenge_of(trade.order_id)
    assert found is not None
    trade.scene.chain.advance_to(found.answer_by - 30)
    trade.scene.chain.mine(3)
    for tee in trade.scene.tees:
        assert tee.core is not None
        tee.core.sweep()
    assert answer(trade.provider, trade.order_id).met
    periods = order.terms.offer.periods
    last = order.deliver_by + reader.grace_seconds() + periods.window_seconds + periods.answer_seconds
    trade.scene.chain.advance_to(max(last, reader.order(trade.order_id).windows_end))
    trade.scene.chain.mine(3)
    for tee in trade.scene.tees:
        assert tee.core is not None
        tee.core.sweep()
        assert tee.core._made.orders() == []


def test_a_stranger_gets_nothing_of_a_challenged_order(delivered: Trade) -> None:
    trade = delivered
    stopped(trade)
    challenge(trade.consumer, trade.order_id)
    trade.scene.chain.mine(3)
    fetch = trade.consumer.reader.recorded_fetch(trade.order_id)
    wrong = replace(fetch, signature=fetch.signature[:-1] + bytes([55 - fetch.signature[-1]]))
    other = fetch_digest(trade.consumer.exchange_domain, trade.order_id, 2)
    for given in (wrong, replace(fetch, generation=2), FetchSignature(2, trade.consumer.signer.sign_digest(other))):
        core = trade.scene.tees[0].core
        assert core is not None
        with pytest.raises(RefusedError):
            core.reencrypt(trade.order_id, given)


def test_nobody_answers(delivered: Trade) -> None:
    trade = delivered
    challenge(trade.consumer, trade.order_id)
    with pytest.raises(InputError) as error:
        close(trade.consumer, trade.order_id)
    assert error.value.code == "trade.too-early"
    found = trade.consumer.reader.challenge_of(trade.order_id)
    assert found is not None
    trade.scene.chain.advance_to(found.answer_by)
    close(trade.consumer, trade.order_id)
    assert trade.consumer.reader.order(trade.order_id).state is OrderState.REFUNDED
    with pytest.raises(InputError) as error:
        close(trade.consumer, trade.order_id)
    assert error.value.code == "trade.no-challenge"


def test_only_the_consumer_of_a_delivered_order_challenges_in_time(delivered: Trade) -> None:
    trade = delivered
    with pytest.raises(InputError) as error:
        challenge(trade.provider, trade.order_id)
    assert error.value.code == "trade.role"
    trade.scene.chain.advance_to(trade.consumer.reader.order(trade.order_id).windows_end)
    with pytest.raises(InputError) as error:
        challenge(trade.consumer, trade.order_id)
    assert error.value.code == "trade.too-late"


def test_without_any_node_there_is_no_answer(delivered: Trade) -> None:
    trade = delivered
    challenge(trade.consumer, trade.order_id)

    class Silent:
        def reencrypt(self, *_: object) -> object:
            raise UnavailableError("transport.timeout", "no answer")

    alone = replace(trade.provider, light=Silent(), connect_tee=lambda _: Silent())  # type: ignore[arg-type]
    with pytest.raises(UnavailableError) as error:
        answer(alone, trade.order_id)
    assert error.value.code == "trade.too-few-fragments"
