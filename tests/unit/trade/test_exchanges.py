"""The lists of Exchanges as a trade meets them, on the in-memory chain: what a closed or removed one still does, and who says so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from asset_bridge.chain.exchanges import ExchangeListing
from asset_bridge.chain.keys import checksum_address
from asset_bridge.chain.records import OrderState
from asset_bridge.cli import exchanges_cmd
from asset_bridge.errors import BridgeError, InputError, RefusedError
from asset_bridge.keys.keccak import keccak
from asset_bridge.trade.cancel import cancel
from asset_bridge.trade.exchanges import allow_exchange, close_exchange, remove_exchange, require_open
from asset_bridge.trade.shred import shred
from tests.support.trade_steps import Trade, published

STRANGER = checksum_address(keccak(b"an exchange of somebody else")[12:])


@pytest.fixture
def trade(tmp_path: Path) -> Trade:
    made = published(tmp_path)
    made.scene.chain.mine(3)
    return made


def code_of(kind: type[BridgeError], call: Callable[[], object]) -> str:
    with pytest.raises(kind) as caught:
        call()
    return caught.value.code


def test_a_closed_exchange_refuses_a_request_before_anything_is_made_and_ends_what_it_has(trade: Trade) -> None:
    chain = trade.scene.chain
    governor, exchange = chain.governor, chain.exchange
    trade.request()
    require_open(chain)
    assert (
        code_of(RefusedError, lambda: close_exchange(chain.account(trade.consumer.signer), exchange))
        == "trade.not-governor"
    )  # type: ignore[arg-type]
    assert len(close_exchange(governor, exchange)) == 1
    assert close_exchange(governor, exchange) == ()
    before, kept = chain.height, sorted(trade.consumer.vault.orders.names())
    assert code_of(InputError, trade.request) == "trade.exchange-closed"
    assert (chain.height, sorted(trade.consumer.vault.orders.names())) == (before, kept)
    trade.approve()  # an order of before goes on …
    trade.pay()
    assert chain.order(trade.order_id).state is OrderState.PAID
    assert code_of(InputError, lambda: allow_exchange(governor, exchange)) == "trade.exchange-closed"


def test_a_removed_exchange_takes_no_payment_and_its_orders_can_be_cancelled(trade: Trade) -> None:
    chain = trade.scene.chain
    trade.request().approve()
    assert len(remove_exchange(chain.governor, chain.exchange)) == 1
    assert remove_exchange(chain.governor, chain.exchange) == ()
    assert code_of(RefusedError, trade.pay) == "chain.governor.not-a-listed-exchange"
    assert code_of(InputError, lambda: require_open(chain)) == "trade.exchange-closed"
    cancel(trade.consumer, trade.order_id)
    assert chain.order(trade.order_id).state is OrderState.CANCELLED


def test_each_list_is_its_own_governors(trade: Trade) -> None:
    """Where one contract was handed on, each governor can change his list and is told whose the other is."""
    chain = trade.scene.chain
    first, second = chain.governor, trade.scene.chain.account(trade.scene.account("second governor"))
    first.govern("NodeRegistry", "propose_governor", second.address)
    second.govern("NodeRegistry", "accept_governor")
    assert (chain.governor_of("AssetLedger"), chain.governor_of("NodeRegistry")) == (first.address, second.address)
    assert code_of(RefusedError, lambda: remove_exchange(first, chain.exchange)) == "trade.not-governor"
    assert code_of(RefusedError, lambda: close_exchange(second, chain.exchange)) == "trade.not-governor"
    remove_exchange(second, chain.exchange)
    with pytest.raises(RefusedError) as error:
        allow_exchange(first, chain.exchange)
    assert f"the governor {second.address} of NodeRegistry" in error.value.message
    for change in (close_exchange, remove_exchange):
        assert code_of(InputError, lambda change=change: change(first, STRANGER)) == "trade.exchange-not-listed"  # type: ignore[misc]
    assert code_of(InputError, lambda: allow_exchange(first, STRANGER)) == "chain.not-an-exchange"


def test_shredding_needs_every_exchange_at_which_the_asset_can_be_ordered(trade: Trade) -> None:
    """Attack on the certificate: an order at an Exchange that the home does not know keeps its shares, and none would be named."""
    chain = trade.scene.chain
    chain.governor.govern("AssetLedger", "list_exchange", STRANGER)
    with pytest.raises(InputError) as error:
        shred(trade.provider, trade.published.asset_id, lambda _: ([], []))
    assert (error.value.code, STRANGER in error.value.message) == ("trade.other-exchange", True)
    assert not chain.asset(trade.published.asset_id).retired


class Seen:
    """Something of which some attributes are others."""

    def __init__(self, inner: Any, **changed: Any) -> None:
        self._inner, self._changed = inner, changed

    def __getattr__(self, name: str) -> Any:
        return self._changed[name] if name in self._changed else getattr(self._inner, name)


def test_shredding_ends_the_orders_of_every_exchange_and_names_their_slots(trade: Trade) -> None:
    """One desk sees no order, the other, at the second Exchange, sees the one that there is."""
    chain, account = trade.scene.chain, trade.provider.account
    trade.request().approve()
    chain.governor.govern("AssetLedger", "list_exchange", STRANGER)
    own = replace(trade.provider, account=Seen(account, reader=Seen(chain, orders=lambda **_: [])))  # type: ignore[arg-type]
    other = replace(trade.provider, account=Seen(account, reader=Seen(chain, exchange=STRANGER)))  # type: ignore[arg-type]

    done = shred(own, trade.published.asset_id, lambda _: ([], []), [other])
    assert chain.order(trade.order_id).state is OrderState.REVOKED
    slots = done.certificate[
        "silent_slots"
    ]  # the nodes sign for the Exchange that they know, which is no word at this one
    assert len(slots) == 3
    assert all(trade.order_id.hex() in slot for slot in slots)


def test_what_a_listing_says_to_people() -> None:
    now_at, one = 1_000, ExchangeListing(STRANGER, 900, 1_000, closed=False)
    says = exchanges_cmd.state_of
    assert says(one, now_at) == "takes requests"
    assert says(replace(one, closed=True), now_at).startswith("closed to new requests (AssetLedger listed")
    assert "NodeRegistry from 1970-01-01 00:16:41 UTC" in says(replace(one, registry_from=1_001), now_at)
    assert "AssetLedger not listed" in says(replace(one, ledger_from=0), now_at)
