"""`claim ORDER` settles that order or says why it cannot; a payee that was changed is paid."""

from __future__ import annotations

from pathlib import Path

import pytest

from asset_bridge.chain.records import ZERO_ADDRESS, OrderState
from asset_bridge.errors import InputError
from asset_bridge.trade.accept import accept, record_delivery
from asset_bridge.trade.claim import claim
from tests.support.trade_steps import Trade, published


@pytest.fixture
def trade(tmp_path: Path) -> Trade:
    return published(tmp_path)


def test_an_order_that_was_named_is_due_or_says_when(trade: Trade) -> None:
    def refused(code: str) -> InputError:
        with pytest.raises(InputError) as caught:
            claim(trade.provider, ZERO_ADDRESS, trade.order_id)
        assert caught.value.code == code
        return caught.value

    trade.request().approve()
    refused("trade.state")
    trade.pay()
    refused("trade.state")
    trade.fetch()
    record_delivery(trade.consumer, trade.order_id)
    assert refused("trade.too-early").actor == "consumer"
    trade.scene.chain.advance_to(trade.scene.chain.order(trade.order_id).windows_end)
    done = claim(trade.provider, ZERO_ADDRESS, trade.order_id)
    assert done.settled == (trade.order_id,)
    assert trade.scene.chain.order(trade.order_id).state is OrderState.SETTLED
    refused("trade.nothing-to-claim")


def test_the_payee_is_paid_after_a_change(trade: Trade) -> None:
    trade.request().approve()
    trade.pay()
    trade.fetch()
    account, reader = trade.provider.account, trade.provider.reader
    other = "0x" + "52" * 20
    account.propose_change(trade.provider.address, trade.provider.address, other, ZERO_ADDRESS)
    change = reader.provider_account(trade.provider.address).change
    assert change is not None
    accept(trade.consumer, trade.order_id)
    trade.scene.chain.advance_to(change.applies_at)
    account.apply_change(trade.provider.address, change)
    before_wei = reader.coins_wei(other)
    done = claim(trade.provider, ZERO_ADDRESS)
    assert reader.coins_wei(other) == before_wei + done.amount_wei
