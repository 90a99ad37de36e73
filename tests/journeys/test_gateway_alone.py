"""The ciphertext from one IPFS gateway alone: a real kubo's own, while every storage node of the network lies about every block."""

from __future__ import annotations

from pathlib import Path

import pytest

from asset_bridge.errors import TamperedError, UnavailableError
from asset_bridge.ipfs.gateway import Gateway
from asset_bridge.ipfs.kubo.daemon import KuboDaemon
from asset_bridge.ipfs.multi import MultiSource
from asset_bridge.ipfs.store import put_document
from tests.journeys.support.deal import Deal
from tests.support.kubo import store_of


@pytest.mark.needs_kubo
def test_a_kubo_that_knows_nothing_of_us_delivers(paid_deal: Deal, kubo_trio: list[KuboDaemon], tmp_path: Path) -> None:
    storages, blocks = paid_deal.market.storages, paid_deal.blocks()
    body = b"".join(storages[0].store.get_block(leaf) for leaf in blocks["leaves"])
    for storage in storages:
        storage.lies.update(dict.fromkeys([*blocks["root"], *blocks["leaves"]], lambda block: bytes(len(block))))
    with store_of(kubo_trio[0], tmp_path) as kubo:
        put_document(kubo, body)
        gateway = MultiSource([Gateway(kubo_trio[0].gateway_url, "my gateway")], name="gateways")
        fetched = paid_deal.fetch(body_from=gateway)
    paid_deal.assert_same()
    assert fetched.downloaded_bytes == len(body)
    assert not any(storage.lied.is_set() for storage in storages), "no storage node was asked for the body"


@pytest.mark.needs_kubo
def test_a_gateway_without_the_body_is_named_and_the_network_goes_on(
    paid_deal: Deal, kubo_trio: list[KuboDaemon]
) -> None:
    """Nothing is opened; the same fetch without it finds the body at the storage nodes."""
    for gateway in (Gateway(kubo_trio[1].gateway_url, "my gateway"), Gateway("http://127.0.0.1:9", "my gateway")):
        with pytest.raises((UnavailableError, TamperedError)) as caught:
            paid_deal.fetch(body_from=MultiSource([gateway], name="gateways"))
        assert "my gateway" in caught.value.message
        paid_deal.assert_clean()
    paid_deal.fetch()
    paid_deal.assert_same()
