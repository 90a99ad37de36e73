"""No cfrag before its receipt is held elsewhere (protocol §5.2, spec/node-http-tee.md §5)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from eth_hash.auto import keccak

from asset_bridge.chain.keys import AccountKey
from asset_bridge.chain.records import ZERO32, ZERO_ADDRESS, Ack, DeliveryReceipt, NodeKind, Order, OrderState
from asset_bridge.errors import BridgeError, RefusedError, UnavailableError
from asset_bridge.nodes.tee.released import Made, MadeCfrags
from tests.unit.tee.market import Market, down

PROFILE = b"a profile document"


def refused(market: Market, order_id: bytes) -> str:
    with pytest.raises(UnavailableError) as caught:
        market.tees[0].core.reencrypt(order_id, market.fetch(order_id))
    return caught.value.code


def acks_of(market: Market, order_id: bytes) -> tuple[Ack, ...]:
    return market.tees[0].core.reencrypt(order_id, market.fetch(order_id))[2]


def test_two_operators_must_hold_it(market: Market) -> None:
    order_id = market.paid()
    acks = acks_of(market, order_id)
    assert {ack.node_id for ack in acks} == set(market.lights)
    assert market.acks.fetches == [market.fetch(order_id)] * 2  # without it they could not record the receipt


@pytest.mark.parametrize("who", [0, 1])
def test_one_of_two_is_not_enough(market: Market, who: int) -> None:
    order_id = market.paid()
    market.acks.behaviour[market.lights[who]] = down
    assert refused(market, order_id) == "tee.no-ack"
    market.acks.behaviour.clear()
    assert len(acks_of(market, order_id)) == 2


def test_nobody_holds_it(market: Market) -> None:
    order_id = market.paid()
    for node_id in market.lights:
        market.acks.behaviour[node_id] = down
    assert refused(market, order_id) == "tee.no-ack"


STRANGER = AccountKey(b"\x05" * 32)


@pytest.mark.parametrize(
    "forge",
    [
        lambda ack: replace(ack, signature=STRANGER.sign_digest(keccak(b"anything"))),
        lambda ack: replace(ack, signature=b"\0" * 65),
        lambda ack: replace(ack, signature=b""),
        lambda ack: replace(ack, receipt_digest=b"z" * 32),
        lambda ack: replace(ack, node_id=b"z" * 32),
        lambda ack: replace(ack, epoch=ack.epoch + 1),
        lambda ack: replace(ack, epoch=2**70),
    ],
)
def test_a_forged_ack_does_not_count(market: Market, forge: Callable[[Ack], Ack]) -> None:
    order_id = market.paid()
    market.acks.behaviour[market.lights[1]] = forge
    assert refused(market, order_id) == "tee.no-ack"


def test_an_ack_of_another_receipt_does_not_count(market: Market) -> None:
    first, second = market.paid(), market.paid()
    kept = {ack.node_id: ack for ack in acks_of(market, first)}
    market.acks.behaviour[market.lights[0]] = lambda ack: kept[ack.node_id]
    assert refused(market, second) == "tee.no-ack"


def test_two_nodes_of_one_operator_count_once(market: Market) -> None:
    """A second node of the first operator: it may stand in for its sister, and never for the other operator."""
    sister = market.plain_node("light 0 again", NodeKind.LIGHT, operator="light 0")
    order_id = market.paid()
    market.acks.behaviour[market.lights[1]] = down
    assert refused(market, order_id) == "tee.no-ack"
    asked = set(market.acks.asked)
    assert len(asked & {sister, market.lights[0]}) == 1


def test_one_operator_suffices_where_there_is_only_one(tmp_path: Path) -> None:
    market = Market(tmp_path, light_operators=1)
    assert len(acks_of(market, market.paid())) == 1


def test_one_operator_with_two_nodes_gives_one_ack(tmp_path: Path) -> None:
    market = Market(tmp_path, light_operators=1)
    market.plain_node("light 0 again", NodeKind.LIGHT, operator="light 0")
    market.twin.mine(2)
    assert len(acks_of(market, market.paid())) == 1


def test_the_draw_is_random_and_bounded(tmp_path: Path) -> None:
    market = Market(tmp_path, light_operators=9)
    drawn = set()
    for _ in range(4):
        market.acks.asked.clear()
        acks_of(market, market.paid())
        drawn.add(tuple(market.acks.asked))
        assert len(market.acks.asked) == 2
    assert len(drawn) > 1
    for node_id in market.lights:
        market.acks.behaviour[node_id] = down
    market.acks.asked.clear()
    assert refused(market, market.paid()) == "tee.no-ack"
    assert len(market.acks.asked) == 6


def test_a_node_that_is_down_is_replaced_by_another_operator(tmp_path: Path) -> None:
    market = Market(tmp_path, light_operators=3)
    market.acks.behaviour[market.lights[0]] = down
    assert {ack.node_id for ack in acks_of(market, market.paid())} == set(market.lights[1:])


def test_the_cfrag_and_the_receipt_stay_the_same_while_acks_are_missing(market: Market) -> None:
    order_id = market.paid()
    seen: list[bytes] = []
    for node_id in market.lights:
        market.acks.behaviour[node_id] = lambda ack: (seen.append(ack.receipt_digest), down(ack))[1]
    refused(market, order_id)
    market.twin.mine(3)
    refused(market, order_id)
    market.acks.behaviour.clear()
    acks = acks_of(market, order_id)
    assert {*seen} == {acks[0].receipt_digest}


def test_a_revocation_while_the_acks_were_gathered(market: Market) -> None:
    order_id = market.paid()

    def revoke(ack: Ack) -> Ack:
        if market.twin.order(order_id).state is OrderState.PAID:
            market.provider.revoke(order_id)
        return ack

    market.acks.behaviour[market.lights[0]] = revoke
    with pytest.raises(RefusedError) as caught:
        market.tees[0].core.reencrypt(order_id, market.fetch(order_id))
    assert caught.value.code == "tee.revoked"


def test_the_margin_that_came_while_the_acks_were_gathered(market: Market) -> None:
    order_id = market.paid()
    deadline = market.twin.order(order_id).deliver_by

    def wait(ack: Ack) -> Ack:
        market.twin.advance_to(deadline - 10)
        return ack

    market.acks.behaviour[market.lights[0]] = wait
    with pytest.raises(RefusedError) as caught:
        market.tees[0].core.reencrypt(order_id, market.fetch(order_id))
    assert caught.value.code == "tee.margin"


# ── the provider's own key ──
class ProvidersKey:
    """A provider that runs an endpoint and names its key in the profile."""

    def __init__(self, market: Market) -> None:
        self.market, self.key, self.document = market, AccountKey(b"\x06" * 32), PROFILE
        market.provider.set_profile(hashlib.sha256(PROFILE).digest(), market.provider.address, ZERO_ADDRESS)
        market.twin.mine(2)
        market.acks.provider = self.answer
        for node_id in market.lights:
            market.acks.behaviour[node_id] = down

    def answer(self, order: Order, receipt: DeliveryReceipt) -> tuple[bytes, Ack] | None:
        return self.document, self.market.acks.ack(self.key, ZERO32, 0, order.order_id, receipt)

    def release(self, address: str | None = None) -> tuple[Ack, ...]:
        market = self.market
        named = self.key.address if address is None else address
        tee = market.tee("tee 3", ack_address_of=lambda document: named)
        market.tees[2] = tee
        market.twin.mine(2)
        order_id = market.paid()
        return tee.core.reencrypt(order_id, market.fetch(order_id))[2]


def test_the_key_named_in_the_profile_suffices(market: Market) -> None:
    acks = ProvidersKey(market).release()
    assert [(ack.node_id, ack.epoch) for ack in acks] == [(ZERO32, 0)]


def test_another_key_or_another_document_or_a_nodes_name_does_not(market: Market, tmp_path: Path) -> None:
    provider = ProvidersKey(market)
    good = provider.answer

    def release_with(
        answer: Callable[[Order, DeliveryReceipt], tuple[bytes, Ack] | None], address: str | None = None
    ) -> str:
        market.acks.provider = answer
        with pytest.raises(BridgeError) as caught:
            provider.release(address)
        return caught.value.code

    def forged(order: Order, receipt: DeliveryReceipt) -> tuple[bytes, Ack] | None:
        return PROFILE, market.acks.ack(STRANGER, ZERO32, 0, order.order_id, receipt)

    def other_document(order: Order, receipt: DeliveryReceipt) -> tuple[bytes, Ack] | None:
        return b"other", good(order, receipt)[1]  # type: ignore[index]

    def as_node(order: Order, receipt: DeliveryReceipt) -> tuple[bytes, Ack] | None:
        return PROFILE, market.acks.ack(provider.key, market.lights[0], 1, order.order_id, receipt)

    def unreachable(order: Order, receipt: DeliveryReceipt) -> tuple[bytes, Ack] | None:
        raise UnavailableError("transport.down", "it is down")

    for answer in (forged, other_document, as_node, unreachable, lambda order, receipt: None):
        assert release_with(answer) == "tee.no-ack"
    assert release_with(good, "") == "tee.no-ack"
    market.acks.provider = good
    assert len(provider.release()) == 1


def test_of_two_receipts_made_at_once_the_first_is_the_slots_receipt(market: Market) -> None:
    """Two requests may compute at the same time; both get the receipt that was kept first."""
    order_id = market.paid()
    _, first, _ = market.tees[0].core.reencrypt(order_id, market.fetch(order_id))
    kept = MadeCfrags()
    name = (order_id, 1, 0, b"k" * 32)
    one, other = (
        Made(b"c" * 359, receipt, b"d" * 32) for receipt in (first, replace(first, block_number=first.block_number + 1))
    )
    assert kept.keep(name, one) is one
    assert kept.keep(name, other) is one
    assert kept.get(name) is one
