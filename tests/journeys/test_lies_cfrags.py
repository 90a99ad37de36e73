"""Issue 3, must-show 4, cfrags and receipts: every field, and cfrags that prove themselves but belong elsewhere (protocol §5.3).

From one node of three: skipped, the node named, the trade goes through. From two: a refusal that names both, and no output."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from asset_bridge.chain.records import DeliveryReceipt
from asset_bridge.errors import TamperedError, UnavailableError
from asset_bridge.keys.secp256k1 import SecretScalar
from tests.journeys.support.deal import Deal, refused
from tests.journeys.support.lies import (
    Answer,
    Change,
    LyingLight,
    cfrag_by,
    flip,
    lying_tees,
    resigned,
    shares_of,
    slot_of,
)

FIELDS = {
    "e1": (0, 33),
    "v1": (33, 33),
    "id": (66, 32),
    "x_a": (98, 33),
    "e2": (131, 33),
    "v2": (164, 33),
    "u1": (197, 33),
    "u2": (230, 33),
    "z": (263, 32),
    "signature": (295, 64),
}


def cfrag(change: Callable[[bytes], bytes]) -> Callable[[Deal, int], Change]:
    return lambda _deal, _number: lambda answer: (change(answer[0]), *answer[1:])


def other_shares(**made_for: object) -> Callable[[Deal, int], Change]:
    """A cfrag of the same slot's share in another approval; the node signs a receipt for it."""

    def build(deal: Deal, number: int) -> Change:
        share = shares_of(deal, **made_for)[slot_of(deal, number)]  # type: ignore[arg-type]
        return lambda answer: (cfrag_by(deal, share), *answer[1:])

    return build


def other_slot(deal: Deal, number: int) -> Change:
    """The cfrag of another node's slot."""
    share = shares_of(deal)[slot_of(deal, (number + 1) % 3)]
    return lambda answer: (cfrag_by(deal, share), *answer[1:])


def other_capsule(deal: Deal, number: int) -> Change:
    """The right share on another capsule."""
    from asset_bridge.reencryption import encrypt_package
    from asset_bridge.trade.shares import owned_asset

    owned = owned_asset(deal.provider, deal.market.chain.asset(deal.published.asset_id))
    capsule, _ = encrypt_package(owned.keys.delegating.public_key(), bytes(97), lambda n: b"\x07" * n)
    share = shares_of(deal)[slot_of(deal, number)]
    return lambda answer: (cfrag_by(deal, share, capsule.to_bytes()), *answer[1:])


def receipt(**fields: object) -> Callable[[Deal, int], Change]:
    return lambda deal, number: resigned(deal, number, **fields)


def unsigned(change: Callable[[DeliveryReceipt], DeliveryReceipt]) -> Callable[[Deal, int], Change]:
    def build(_deal: Deal, _number: int) -> Change:
        def lie(answer: Answer) -> Answer:
            return answer[0], change(answer[1]), answer[2]

        return lie

    return build


OTHER_KEY = SecretScalar.from_wide(bytes(range(48))).public_key().to_bytes()
LIES: dict[str, tuple[Callable[[Deal, int], Change], str]] = {
    **{f"{name}-first": (cfrag(flip(at)), "reencryption.cfrag") for name, (at, _) in FIELDS.items()},
    **{f"{name}-last": (cfrag(flip(at + size - 1)), "reencryption.cfrag") for name, (at, size) in FIELDS.items()},
    **{f"{name}-zeros": (cfrag(lambda c, a=at, s=size: c[:a] + bytes(s) + c[a + s :]), "reencryption.cfrag")  # type: ignore[misc]
       for name, (at, size) in FIELDS.items()},
    "truncated": (cfrag(lambda c: c[:-1]), "reencryption.cfrag-form"),
    "extended": (cfrag(lambda c: c + b"\0"), "reencryption.cfrag-form"),
    "empty": (cfrag(lambda c: b""), "reencryption.cfrag-form"),
    "another order's, same consumer key": (other_shares(order_id=b"\x07" * 32), "trade.cfrag-slot"),
    "another order's, other consumer key": (other_shares(pk_b=OTHER_KEY), "reencryption.cfrag"),
    "a stale generation's": (other_shares(generation=9), "trade.cfrag-slot"),
    "another slot's": (other_slot, "trade.cfrag-slot"),
    "another capsule's": (other_capsule, "reencryption.cfrag"),
    "receipt of another generation": (receipt(generation=2), "trade.receipt"),
    "receipt of another slot": (receipt(slot=7), "trade.receipt"),
    "receipt of another share": (receipt(kfrag_id=b"\x07" * 32), "trade.receipt"),
    "receipt of another cfrag": (receipt(cfrag_digest=b"\x07" * 32), "trade.receipt"),
    "receipt of another fetch": (receipt(fetch_digest=b"\x07" * 32), "trade.receipt"),
    "receipt of another node": (receipt(node_id=b"\x07" * 32), "trade.receipt"),
    "receipt of another epoch": (receipt(epoch=2), "trade.receipt"),
    "receipt by another key": (unsigned(lambda r: replace(r, block_number=r.block_number + 1)), "trade.receipt"),
    "receipt without signature": (unsigned(lambda r: replace(r, signature=bytes(65))), "trade.receipt"),
}  # fmt: skip


@pytest.mark.parametrize("how", LIES)
def test_from_one_node_it_is_skipped_and_the_node_named(paid_deal: Deal, how: str) -> None:
    liar = paid_deal.market.tees[1].node_id
    lying_tees(paid_deal, {1: LIES[how][0](paid_deal, 1)})
    fetched = paid_deal.fetch()
    paid_deal.assert_same()
    assert {failure.node_id for failure in fetched.failed_nodes} == {liar}
    assert "0x" + liar.hex() in (paid_deal.out / "provenance.json").read_text()


@pytest.mark.parametrize("how", LIES)
def test_from_two_of_three_nodes_it_is_refused_and_both_are_named(paid_deal: Deal, how: str) -> None:
    build, code = LIES[how]
    lying_tees(paid_deal, {number: build(paid_deal, number) for number in (0, 2)})
    error = refused(paid_deal.fetch, TamperedError, "trade.fragments", "tee node", "fragments")
    for number in (0, 2):
        name = paid_deal.market.tees[number].node_id.hex()[:8]
        assert name in error.actor
        assert f"{name}… through itself: {code}" in error.message
    assert paid_deal.market.tees[1].node_id.hex()[:8] not in error.actor
    paid_deal.assert_clean()


# ── the light node alone lies; the nodes are honest ──
def through_light(deal: Deal, change: Callable[[list[tuple[object, ...]]], list[tuple[object, ...]]]) -> None:
    honest = deal.market.lights[0]
    liar = LyingLight(honest, reencrypt=lambda *args: change(honest.reencrypt(*args)))  # type: ignore[arg-type]
    deal.consumer = replace(deal.consumer, light=liar)  # type: ignore[arg-type]


LIGHT_LIES: dict[str, Callable[[list[tuple[object, ...]]], list[tuple[object, ...]]]] = {
    "every cfrag changed": lambda answers: [(n, flip(5)(c), r, a) for n, c, r, a in answers],  # type: ignore[arg-type]
    "every receipt without signature": lambda answers: [
        (n, c, replace(r, signature=bytes(65)), a)  # type: ignore[type-var]
        for n, c, r, a in answers
    ],
    "nothing": lambda answers: [],
    "one answer three times": lambda answers: answers[:1] * 3,
    "one node's answer as every node's": lambda answers: [(n, *answers[0][1:]) for n, *_ in answers],
    "answers of unknown nodes": lambda answers: [(bytes(32), *rest) for _, *rest in answers],
}


@pytest.mark.parametrize("how", LIGHT_LIES)
def test_a_light_node_that_lies_is_passed_by(paid_deal: Deal, how: str) -> None:
    through_light(paid_deal, LIGHT_LIES[how])
    fetched = paid_deal.fetch()
    paid_deal.assert_same()
    assert {failure.through for failure in fetched.failed_nodes} <= {"light node"}


@pytest.mark.parametrize("how", ["every cfrag changed", "every receipt without signature"])
def test_a_lying_light_node_in_front_of_dead_nodes_is_the_one_named(
    paid_deal: Deal, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The nodes answered the light node and are gone when the consumer asks them himself: nobody may be framed."""
    through_light(paid_deal, LIGHT_LIES[how])

    def dead(_node: object) -> None:
        raise UnavailableError("transport.down", "no answer", actor="tee node")

    paid_deal.consumer = replace(paid_deal.consumer, connect_tee=dead)  # type: ignore[arg-type]
    error = refused(paid_deal.fetch, TamperedError, "trade.fragments", "light node", "fragments")
    assert "through light node" in error.message
    paid_deal.assert_clean()


def test_a_light_node_that_is_down_is_passed_by(paid_deal: Deal) -> None:
    def dead(*_: object) -> None:
        raise UnavailableError("transport.down", "no answer", actor="light node")

    liar = LyingLight(paid_deal.market.lights[0], reencrypt=dead, get_block=dead)
    paid_deal.consumer = replace(paid_deal.consumer, light=liar)  # type: ignore[arg-type]
    fetched = paid_deal.fetch()
    paid_deal.assert_same()
    assert [(failure.code, failure.through) for failure in fetched.failed_nodes] == [("transport.down", "light node")]
