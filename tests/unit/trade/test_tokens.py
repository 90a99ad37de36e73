"""A price in a token, in the stories: what is refused before anything is made, sent or paid."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from asset_bridge.chain.keys import checksum_address
from asset_bridge.chain.records import ZERO32, ZERO_ADDRESS, Offer, OrderState
from asset_bridge.client import Consumer
from asset_bridge.errors import InputError
from asset_bridge.keys.keccak import keccak
from asset_bridge.trade.documents.template import EXAMPLE_APPLICATION
from asset_bridge.trade.pay import check_before_payment
from asset_bridge.trade.publish import publish
from asset_bridge.vault.home import Home
from tests.support.trade import PERIODS, PRICE_WEI, make_scene, plan_of
from tests.support.trade_steps import Trade, make_data

TOKEN = checksum_address(keccak(b"a token of the stories")[12:])


@pytest.fixture
def trade(tmp_path: Path) -> Trade:
    """An asset whose price is in a token."""
    scene = make_scene(tmp_path)
    scene.chain.add_token(TOKEN, "TST", 6, permits=True)
    scene.chain.governor.govern("AssetLedger", "list_token", TOKEN)
    scene.chain.mine(3)
    provider, data = scene.desk("provider"), make_data(tmp_path)
    plan = plan_of(data, offer=Offer(PRICE_WEI, TOKEN, ZERO32, PERIODS))
    done = publish(provider, plan, scene.folder_of("provider", "work"))
    return Trade(scene, tmp_path, data, provider, scene.desk("consumer"), done)


def refused(code: str, error: pytest.ExceptionInfo[InputError]) -> bool:
    return error.value.code == code


def test_a_token_that_may_not_be_a_price_is_refused_before_anything_is_sealed(trade: Trade) -> None:
    work = trade.scene.folder_of("provider", "work")
    trade.scene.chain.governor.govern("AssetLedger", "remove_token", TOKEN)
    with pytest.raises(InputError) as error:
        publish(trade.provider, plan_of(trade.data, offer=Offer(PRICE_WEI, TOKEN, ZERO32, PERIODS)), work)
    assert refused("chain.token-not-listed", error)
    assert list(work.iterdir()) == []
    assert trade.scene.chain.tokens_listed() == [TOKEN]  # money may still wait in it
    assert trade.scene.chain.tokens_active() == []


def test_a_price_that_changed_its_token_is_not_requested(trade: Trade) -> None:
    """Attack: the provider keeps the number and changes the token between the look and the request."""
    nothing: Any = None
    asset_id = trade.published.asset_id
    with Consumer(Home.open(trade.folder / "consumer"), trade.consumer, nothing, ExitStack()) as session:
        offer = session.chain.asset(asset_id).offer
        trade.provider.account.set_offer(asset_id, replace(offer, token=ZERO_ADDRESS))
        with pytest.raises(InputError) as error:
            session.request(asset_id, EXAMPLE_APPLICATION, expect_price_wei=offer.price_wei, expect_token=offer.token)
        assert refused("trade.offer-changed", error)
    assert trade.scene.chain.orders() == []


def test_too_few_tokens_are_seen_by_the_check_and_nothing_is_sent(trade: Trade) -> None:
    chain = trade.scene.chain
    trade.request().approve()
    before = chain.block()
    for act in (trade.pay, lambda: check_before_payment(trade.consumer, trade.order_id, trade.bodies)):
        with pytest.raises(InputError) as error:
            act()
        assert refused("chain.token-funds", error)
    assert chain.block() == before
    chain.give_tokens(TOKEN, trade.consumer.address, PRICE_WEI)
    assert trade.pay().allowed == ()
    trade.fetch()
    trade.assert_same()
    assert chain.order(trade.order_id).state in (OrderState.PAID, OrderState.DELIVERED)
