"""A provider's own ack endpoint: real TEE nodes ask it over HTTP before a fragment leaves, and light nodes where it does not answer."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from asset_bridge.chain.keys import AccountKey
from asset_bridge.chain.messages import fetch_digest
from asset_bridge.chain.records import ZERO32, FetchSignature, OrderState
from asset_bridge.errors import InputError, RefusedError, UnavailableError
from asset_bridge.ipfs.multi import MultiSource
from asset_bridge.nodes.provider_acks import ProviderAcks, build_ack_app
from asset_bridge.nodes.tee.ack_client import LEFT_ALONE_SECONDS, HttpAckSource
from asset_bridge.nodes.tee.acks import AckCollector
from asset_bridge.trade.documents.profile import ack_address_of
from asset_bridge.trade.profile import name_ack_endpoint, read_profile
from asset_bridge.transport.client import Peer
from asset_bridge.transport.nonces import NonceStore
from asset_bridge.transport.server import Guard
from tests.support.asgi import AsgiTransport
from tests.support.trade_steps import Trade, published

URL = "http://acks.test"
KEY = AccountKey(b"\x5a" * 32)


class Source(HttpAckSource):
    """The provider over HTTP, light nodes as the scene has them."""

    def acknowledge(self, *args: object) -> object:  # type: ignore[override]
        return self.connect(*args)  # type: ignore[arg-type]


class Market:
    """A paid order whose provider runs an endpoint; `calls` counts connections to it."""

    def __init__(self, trade: Trade, folder: Path, *, provider: str = "", key: AccountKey = KEY) -> None:
        self.trade, chain = trade, trade.scene.chain
        self.acks = ProviderAcks(
            chain, folder / "acks.sqlite", key, provider or trade.provider.address, trade.scene.clock
        )
        self.calls, self.down, self.now = 0, False, 0.0
        guard = Guard(chain.chain_id, NonceStore(None), trade.scene.clock, {"acks.test"})
        app = build_ack_app(self.acks, guard, on_start=lambda: None, on_stop=lambda: None)

        def connect(url: str, name: str, verify: object = True) -> Peer:
            assert url == URL
            self.calls += 1
            if self.down:
                raise UnavailableError("transport.down", "nobody listens")
            return Peer(
                url, name=name, chain_id=chain.chain_id, signer=None, clock=trade.scene.clock, randbytes=os.urandom,
                sleep=lambda _: None, transport=AsgiTransport(app), attempts=1,
            )  # fmt: skip

        documents = MultiSource(trade.scene.sources)
        self.source = Source(
            documents, trade.scene.light.acknowledge, chain.chain_id, chain.registry, connect, lambda: self.now
        )  # type: ignore[arg-type]
        for tee in trade.scene.tees:
            assert tee.core is not None
            tee.core._acks = AckCollector(tee.core.view, self.source, os.urandom, ack_address_of)


@pytest.fixture
def trade(tmp_path: Path) -> Trade:
    trade = published(tmp_path).request().approve()
    trade.pay()
    name_ack_endpoint(trade.provider, KEY.address, URL)
    trade.scene.chain.mine(3)
    return trade


def _fetch(trade: Trade) -> FetchSignature:
    digest = fetch_digest(trade.consumer.exchange_domain, trade.order_id, 1)
    return FetchSignature(1, trade.consumer.signer.sign_digest(digest))


def test_receipts_lie_with_the_provider_before_a_fragment_leaves(trade: Trade, tmp_path: Path) -> None:
    market, chain = Market(trade, tmp_path), trade.scene.chain
    trade.fetch()
    trade.assert_same()
    assert trade.scene.light.held == []  # no light node was asked
    assert (market.acks.held(), market.calls) == (1, 3)
    fetch, receipts = market.acks._delivery.held(trade.order_id)
    assert fetch is not None
    core = trade.scene.tees[0].core
    assert core is not None
    _, _, (ack,) = core.reencrypt(trade.order_id, fetch)
    assert (ack.node_id, ack.epoch) == (ZERO32, 0)
    assert len(receipts) == 3
    again = ProviderAcks(chain, tmp_path / "acks.sqlite", KEY, trade.provider.address, trade.scene.clock)
    assert again.held() == 1  # on disk, whatever becomes of the process
    assert again.sweep(trade.provider.account) == []  # light nodes and the consumer have half a minute
    chain.advance(31)
    assert [sent.verb for sent in again.sweep(trade.provider.account)] == ["record_delivery"]
    assert chain.order(trade.order_id).state is OrderState.DELIVERED
    chain.mine(3)
    again.sweep(trade.provider.account)
    assert again.held() == 0


def test_an_endpoint_that_does_not_answer_is_left_alone_for_a_minute(trade: Trade, tmp_path: Path) -> None:
    market = Market(trade, tmp_path)
    market.down = True
    trade.fetch()
    trade.assert_same()
    assert market.calls == 1
    assert len(trade.scene.light.held) == 3
    market.down, market.now = False, LEFT_ALONE_SECONDS + 1
    core = trade.scene.tees[0].core
    assert core is not None
    _, _, (ack,) = core.reencrypt(trade.order_id, _fetch(trade))
    assert ack.node_id == ZERO32


def test_outside_a_development_chain_a_profile_names_an_https_address(
    trade: Trade, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(trade.provider.reader), "is_development", property(lambda _: False))
    with pytest.raises(InputError, match="https addresses only") as caught:
        name_ack_endpoint(trade.provider, KEY.address, URL)
    assert caught.value.code == "trade.document"
    name_ack_endpoint(trade.provider, KEY.address, "https://acks.test")
    trade.scene.chain.mine(3)
    assert read_profile(trade.provider, trade.provider.address).ack_url == "https://acks.test"
    name_ack_endpoint(trade.provider, "", "")


def test_an_ack_of_another_key_or_for_another_provider_counts_nothing(trade: Trade, tmp_path: Path) -> None:
    """Attack: who runs the endpoint's machine, or a stranger's endpoint, claims to hold the receipts."""
    Market(trade, tmp_path, key=AccountKey(b"\x5b" * 32))
    trade.fetch()
    assert len(trade.scene.light.held) == 3
    market = Market(trade, tmp_path, provider=trade.consumer.address)
    receipt = trade.scene.light.held[0]
    with pytest.raises(RefusedError) as error:
        market.acks.acknowledge(trade.order_id, _fetch(trade), receipt)
    assert error.value.code == "light.other-provider"


def test_the_profile_says_key_and_url_and_keeps_the_rest(trade: Trade) -> None:
    found = read_profile(trade.provider, trade.provider.address)
    assert (found.ack_address, found.ack_url) == (KEY.address, URL)
    form_key = found.form_key.to_bytes()
    name_ack_endpoint(trade.provider, "", "")
    trade.scene.chain.mine(3)
    plain = read_profile(trade.provider, trade.provider.address)
    assert (plain.ack_address, plain.ack_url, plain.form_key.to_bytes()) == ("", "", form_key)
    for address, url in (("", URL), (KEY.address, "ftp://acks.test"), (KEY.address, "http://user@acks.test")):
        with pytest.raises(InputError) as error:
            name_ack_endpoint(trade.provider, address, url)
        assert error.value.code == "trade.document"
    with pytest.raises(InputError) as error:
        name_ack_endpoint(trade.consumer, KEY.address, URL)
    assert error.value.code == "trade.no-profile"
