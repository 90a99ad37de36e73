"""A delivery that is challenged: answered by the provider from the nodes, or closed by the consumer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from asset_bridge.chain.records import OrderState
from asset_bridge.errors import InputError, UnavailableError
from asset_bridge.trade.accept import record_delivery
from asset_bridge.trade.challenge import answer, challenge, close
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
