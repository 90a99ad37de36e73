"""Issue 3, must-show 4, seen by the TEE nodes: every endpoint of every node changes what it serves of an approval or a listing.

The nodes refuse to accept, so the buyer's `pay` says which node refused and why; of a paid order, no cfrag leaves a node."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from asset_bridge.chain.abi import Event
from asset_bridge.chain.records import OrderState
from asset_bridge.errors import BridgeError, UnavailableError
from tests.journeys.support import deal as deals
from tests.journeys.support.deal import Deal, refused
from tests.journeys.support.lies import field_of, flip, lying_chain
from tests.journeys.support.market import Market
from tests.journeys.test_lies_chain import SEALED_SHARE_BYTES, row

SHARE = SEALED_SHARE_BYTES


def sealed(position: int) -> Callable[[Event], Event]:
    """The same byte of every share's sealed part."""

    def change(raw: bytes) -> bytes:
        for share in range(len(raw) // SHARE):
            raw = flip(share * SHARE + position)(raw)
        return raw

    return field_of("Approved", "sealed_shares", change)


LIES: dict[str, tuple[Callable[[Event], Event | None], str]] = {
    "sealed rk, first byte": (sealed(133), "tee.blob"),
    "sealed rk, last byte": (sealed(212), "tee.blob"),
    "receiver signature": (sealed(5), "tee.share"),
    "header": (field_of("Listed", "header", flip(40)), "chain.lying-endpoint"),
    "capsule": (field_of("Listed", "capsule", flip(0)), "chain.lying-endpoint"),
    "package": (field_of("Listed", "package", flip(9)), "chain.lying-endpoint"),
    "pk_A": (field_of("Listed", "keys", flip(0)), "chain.lying-endpoint"),
    "signer": (field_of("Listed", "keys", flip(164)), "chain.lying-endpoint"),
    "pk_B": (field_of("Requested", "pk_b_sign", lambda sign: sign ^ 1), "chain.lying-endpoint"),
    "fetch signer": (field_of("Requested", "fetch_signer", lambda _: "0x" + "11" * 20), "chain.lying-endpoint"),
    "kfrag id": (row(0, kfrag_id=flip(3)), "chain.lying-endpoint"),
    "U1": (row(1, u1=flip(0)), "chain.lying-endpoint"),
    "KEM key": (row(2, kem_key_digest=flip(3)), "chain.lying-endpoint"),
}


def lied_to(market: Market) -> None:
    """Start the TEE nodes anew behind endpoints that lie as `tee_lie` says at the moment."""
    market.tee_readers = lambda: [lying_chain(market.chain, lambda event: market.tee_lie(event))]
    for tee in market.tees:
        market.start_tee(tee)


def made(folder: Path, *, pay: bool) -> Deal:
    deal = deals.listed(folder)
    lied_to(deal.market)
    deal.request()
    deal.approve()
    if pay:
        deal.pay()
    return deal


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Deal, Deal]]:
    approved, paid = (made(tmp_path_factory.mktemp("nodes"), pay=pay) for pay in (False, True))
    yield approved, paid
    approved.market.close()
    paid.market.close()


@pytest.fixture
def deals_of(both: tuple[Deal, Deal]) -> Iterator[tuple[Deal, Deal]]:
    def honest() -> None:
        for deal in both:
            deal.reset()
            deal.market.tee_lie = lambda event: event

    honest()
    yield both
    honest()


@pytest.mark.parametrize("what", LIES)
def test_no_node_accepts(deals_of: tuple[Deal, Deal], what: str) -> None:
    approved, _ = deals_of
    lie, code = LIES[what]
    approved.market.tee_lie = lie
    error = refused(approved.pay, UnavailableError, "trade.accepts-missing", "tee node", "approval")
    assert error.message.count(code) == 3, error.message
    approved.assert_unpaid()


@pytest.mark.parametrize("what", LIES)
def test_no_cfrag_leaves_a_node(deals_of: tuple[Deal, Deal], what: str) -> None:
    _, paid = deals_of
    lie, code = LIES[what]
    paid.market.tee_lie = lie
    with pytest.raises(BridgeError) as caught:
        paid.fetch()
    assert caught.value.message.startswith("layer fragments: 0 of the 2 ")
    assert caught.value.message.count(code) == 3, caught.value.message
    assert not caught.value.actor.startswith("light node")  # nobody is framed who passed a refusal on
    paid.assert_clean()
    assert paid.market.acks.asked == []
    assert paid.market.chain.order(paid.order_id).state is OrderState.PAID


def test_of_two_endpoints_one_lies(tmp_path: Path) -> None:
    """One copy of the chain is enough to refuse: the nodes do not choose whom to believe."""
    deal = deals.listed(tmp_path)
    market = deal.market
    market.tee_readers = lambda: [market.chain, lying_chain(market.chain, lambda event: market.tee_lie(event))]
    for tee in market.tees:
        market.start_tee(tee)
    deal.request()
    deal.approve()
    deal.pay()
    for what, (lie, _) in LIES.items():
        market.tee_lie = lie
        with pytest.raises(BridgeError) as caught:
            deal.fetch()
        assert caught.value.message.startswith("layer fragments: 0 of the 2 "), what
        deal.assert_clean()
    market.tee_lie = lambda event: event
    deal.fetch()
    deal.assert_same()
    market.close()
