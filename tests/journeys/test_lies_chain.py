"""Issue 3, must-show 4, what a chain endpoint serves: header, capsule, package, keys, W and its proof, commitments, offer, the order's
terms, the public parts of the shares, sealed K_pq (protocol §4.4, spec/chain.md §3).

`EVENTS`: one endpoint changes what its events say while the contracts' words are true; everything passes through the real reader.
`RECORDS`: the worst endpoint, whose words and events fit each other; only what the client recomputes can find it out.
Each lie is told before the payment and again at the fetch of a paid order: a refusal that names layer and actor, nothing paid, no
output."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from asset_bridge.chain.abi import Event
from asset_bridge.chain.packing import Table
from asset_bridge.chain.records import Order
from asset_bridge.errors import BridgeError, InputError, TamperedError, UnavailableError
from tests.journeys.support.deal import Deal, refused
from tests.journeys.support.lies import behind, field_of, flip, lying_chain, withheld
from tests.support.trade_steps import LyingReader, with_listing

SEALED_SHARE_BYTES = 213
LISTED, REQUESTED, APPROVED = "Listed", "Requested", "Approved"


def listed(name: str, *positions: int) -> dict[str, Callable[[Event], Event | None]]:
    return {f"{name} {at}": field_of(LISTED, name, flip(at)) for at in positions}


def offer(event: str, **changes: Callable[[Any], Any]) -> Callable[[Event], Event]:
    return field_of(event, "offer", lambda o: o._replace(**{n: change(getattr(o, n)) for n, change in changes.items()}))


def table(change: Callable[[Table], Table]) -> Callable[[Event], Event]:
    return field_of(APPROVED, "table", lambda raw: change(Table.parse(raw)).pack())


def row(number: int, **changes: Callable[[Any], Any]) -> Callable[[Event], Event]:
    def change(found: Table) -> Table:
        old = found.rows[number]
        new = replace(old, **{n: make(getattr(old, n)) for n, make in changes.items()})
        return replace(found, rows=(*found.rows[:number], new, *found.rows[number + 1 :]))

    return table(change)


def address(_: str) -> str:
    return "0x" + "11" * 20


LYING = (TamperedError, "chain.lying-endpoint", "chain endpoint")
MALFORMED = (TamperedError, "chain.malformed", "chain endpoint")
W_PROOF = (TamperedError, "reencryption.w-proof", "provider")
SIGNATURE = (TamperedError, "reencryption.receiver-signature", "provider")
EVENTS: dict[str, tuple[Callable[[Event], Event | None], tuple[type[BridgeError], str, str]]] = {
    **{name: (lie, LYING) for name, lie in listed("header", 0, 9, 20, 40, 105, 127).items()},
    **{name: (lie, LYING) for name, lie in listed("capsule", 0, 5, 33, 40, 66, 97).items()},
    **{name: (lie, LYING) for name, lie in listed("package", 0, 60, -1).items()},
    "package truncated": (field_of(LISTED, "package", lambda p: p[:-1]), LYING),
    "pk_A sign": (field_of(LISTED, "keys", flip(0)), LYING),
    "pk_A": (field_of(LISTED, "keys", flip(20)), LYING),
    "W sign": (field_of(LISTED, "keys", flip(33)), LYING),
    "W": (field_of(LISTED, "keys", flip(50)), LYING),
    "W proof, R_G": (field_of(LISTED, "keys", flip(66)), W_PROOF),
    "W proof, R_U": (field_of(LISTED, "keys", flip(110)), W_PROOF),
    "W proof, z": (field_of(LISTED, "keys", flip(163)), W_PROOF),
    "signer sign": (field_of(LISTED, "keys", flip(164)), LYING),
    "signer": (field_of(LISTED, "keys", lambda k: k[:164] + k[:33] + k[197:]), LYING),
    "signer's y": (field_of(LISTED, "keys", flip(228)), LYING),
    "keys too short": (field_of(LISTED, "keys", lambda k: k[:-1]), MALFORMED),
    "pq_commit": (field_of(LISTED, "pq_commit", flip(31)), LYING),
    "body digest": (field_of(LISTED, "body_digest", flip(0)), LYING),
    "body length": (field_of(LISTED, "body_length", lambda n: n - 1), LYING),
    "provider": (field_of(LISTED, "provider", address), LYING),
    "offer's price": (offer(LISTED, price=lambda p: p + 1), LYING),
    "offer's terms": (offer(LISTED, terms=flip(0)), LYING),
    "offer's periods": (offer(LISTED, periods=lambda p: p + 1), LYING),
    "storage node": (field_of(LISTED, "storage", flip(120)), LYING),
    "listing withheld": (withheld(LISTED), LYING),
    "pk_B sign": (field_of(REQUESTED, "pk_b_sign", lambda s: s ^ 1), LYING),
    "pk_B": (field_of(REQUESTED, "pk_b_x", flip(3)), LYING),
    "hybrid key": (field_of(REQUESTED, "hybrid_key", flip(3)), LYING),
    "form": (field_of(REQUESTED, "form", flip(3)), LYING),
    "form's length": (
        field_of(REQUESTED, "form_length", lambda n: n + 1),
        (TamperedError, "trade.order-changed", "chain endpoint"),
    ),
    "order nonce": (field_of(REQUESTED, "order_nonce", flip(3)), LYING),
    "fetch signer": (field_of(REQUESTED, "fetch_signer", address), LYING),
    "consumer": (field_of(REQUESTED, "consumer", address), LYING),
    "price of the order": (offer(REQUESTED, price=lambda p: p + 1), LYING),
    "terms of the order": (offer(REQUESTED, terms=flip(0)), LYING),
    "periods of the order": (offer(REQUESTED, periods=lambda p: p + 1), LYING),
    "request withheld": (withheld(REQUESTED), LYING),
    "approval withheld": (withheld(APPROVED), LYING),
    "threshold": (table(lambda t: replace(t, threshold=3)), LYING),
    "generation": (table(lambda t: replace(t, generation=2)), LYING),
    "precursor": (table(lambda t: replace(t, precursor=flip(0)(t.precursor))), LYING),
    "one share left out": (table(lambda t: replace(t, rows=t.rows[:2])), LYING),
    "shares in another order": (table(lambda t: replace(t, rows=t.rows[::-1])), LYING),
    "kfrag id": (row(0, kfrag_id=flip(3)), LYING),
    "U1 sign": (row(1, u1=flip(0)), LYING),
    "U1": (row(2, u1=flip(9)), LYING),
    "node of a slot": (row(0, node_id=flip(3)), LYING),
    "epoch of a slot": (row(0, epoch=lambda e: e + 1), LYING),
    "node's key of a slot": (row(0, signing_address=address), LYING),
    "KEM key of a slot": (row(0, kem_key_digest=flip(3)), LYING),
    "receiver signature": (field_of(APPROVED, "sealed_shares", flip(SEALED_SHARE_BYTES + 5)), SIGNATURE),
    "sealed K_pq": (field_of(APPROVED, "sealed_kpq", flip(9)), (TamperedError, "trade.sealed-kpq", "provider")),
    "sealed K_pq's end": (field_of(APPROVED, "sealed_kpq", flip(-1)), (TamperedError, "trade.sealed-kpq", "provider")),
    "sealed K_pq truncated": (
        field_of(APPROVED, "sealed_kpq", lambda s: s[:-1]),
        (TamperedError, "trade.sealed-kpq", "provider"),
    ),
}


EVENTS |= {
    "sealed shares truncated": (field_of(APPROVED, "sealed_shares", lambda s: s[:-1]), LYING),
    "a node's signing key": (field_of("EpochStarted", "signing_key", address), LYING),
    "a node's measurement": (field_of("EpochStarted", "measurement", flip(0)), LYING),
    "a node's expiry": (field_of("EpochStarted", "expires_at", lambda at: at + 1), LYING),
    "a node's epoch": (field_of("EpochStarted", "epoch", lambda number: number + 1), LYING),
    "a node's kind": (field_of("NodeRegistered", "kind", lambda kind: kind % 3 + 1), LYING),
    "a node's salt": (field_of("NodeRegistered", "salt", flip(0)), LYING),
    "epochs withheld": (withheld("EpochStarted"), LYING),
}


@pytest.mark.parametrize("what", EVENTS)
def test_what_an_endpoint_changes_is_refused_before_payment(approved_deal: Deal, what: str) -> None:
    lie, (kind, code, actor) = EVENTS[what]
    liar = behind(approved_deal.consumer, lying_chain(approved_deal.market.chain, lie))
    coins = approved_deal.market.chain.coins_wei(liar.address)
    refused(lambda: approved_deal.pay(liar), kind, code, actor)
    approved_deal.assert_unpaid()
    assert approved_deal.market.chain.coins_wei(liar.address) == coins


@pytest.mark.parametrize("what", EVENTS)
def test_what_an_endpoint_changes_is_refused_at_the_fetch(paid_deal: Deal, what: str) -> None:
    lie, (kind, code, actor) = EVENTS[what]
    liar = behind(paid_deal.consumer, lying_chain(paid_deal.market.chain, lie))
    refused(lambda: paid_deal.fetch(liar), kind, code, actor)
    paid_deal.assert_clean()
    assert paid_deal.market.acks.asked == []  # no node was asked for a fragment


# ── an endpoint whose lie is consistent ──
def terms(**changes: Callable[[Any], Any]) -> Callable[[Order], Order]:
    def lie(order: Order) -> Order:
        made = {name: change(getattr(order.terms, name)) for name, change in changes.items()}
        return replace(order, terms=replace(order.terms, **made))

    return lie


def order_offer(**changes: Callable[[Any], Any]) -> Callable[[Order], Order]:
    return terms(offer=lambda o: replace(o, **{n: change(getattr(o, n)) for n, change in changes.items()}))


def approval(**changes: Callable[[Any], Any]) -> Callable[[Order], Order]:
    def lie(order: Order) -> Order:
        assert order.approval is not None
        made = {name: change(getattr(order.approval, name)) for name, change in changes.items()}
        return replace(order, approval=replace(order.approval, **made))

    return lie


def slot(number: int, **changes: Callable[[Any], Any]) -> Callable[[Order], Order]:
    def change(slots: tuple[Any, ...]) -> tuple[Any, ...]:
        old = slots[number]
        new = replace(old, **{name: make(getattr(old, name)) for name, make in changes.items()})
        return (*slots[:number], new, *slots[number + 1 :])

    return approval(slots=change)


ASSET_ID = (TamperedError, "trade.asset-id", "chain endpoint")
ORDER_ID = (TamperedError, "trade.order-id", "chain endpoint")
CHANGED = (TamperedError, "trade.order-changed", "chain endpoint")
THRESHOLD = (TamperedError, "trade.threshold", "chain endpoint")
KPQ = (TamperedError, "trade.sealed-kpq", "provider")
Row = tuple[dict[str, Any], tuple[type[BridgeError], str, str]]
RECORDS: dict[str, Row] = {
    "header": ({"asset": with_listing(header=flip(40))}, ASSET_ID),
    "container id": ({"asset": with_listing(header=flip(20))}, ASSET_ID),
    "capsule": ({"asset": with_listing(capsule=flip(0))}, ASSET_ID),
    "package": ({"asset": with_listing(package=flip(60))}, ASSET_ID),
    "pk_A": ({"asset": with_listing(pk_a=flip(0))}, ASSET_ID),
    "W": ({"asset": with_listing(w=flip(0))}, ASSET_ID),
    "signer": ({"asset": with_listing(kfrag_signer=flip(0))}, ASSET_ID),
    "pq_commit": ({"asset": with_listing(pq_commit=flip(0))}, ASSET_ID),
    "body digest": ({"asset": with_listing(body_digest=flip(0))}, ASSET_ID),
    "W proof": ({"asset": with_listing(w_proof=flip(97))}, W_PROOF),
    "provider": ({"asset": lambda asset: replace(asset, provider=address(""))}, ASSET_ID),
    "another asset's record": ({"asset": lambda asset: replace(asset, asset_id=bytes(32))}, ASSET_ID),
    "pk_B": ({"order": terms(pk_b=flip(0))}, ORDER_ID),
    "hybrid key": ({"order": terms(hybrid_key_digest=flip(0))}, ORDER_ID),
    "form": ({"order": terms(form_digest=flip(0))}, ORDER_ID),
    "order nonce": ({"order": terms(order_nonce=flip(0))}, ORDER_ID),
    "price of the order": ({"order": order_offer(price_wei=lambda p: p // 2)}, ORDER_ID),
    "terms of the order": ({"order": order_offer(terms_digest=flip(0))}, ORDER_ID),
    "form's length": ({"order": terms(form_length=lambda n: n + 1)}, CHANGED),
    "fetch signer": ({"order": terms(fetch_signer=address)}, CHANGED),
    "periods": ({"order": order_offer(periods=lambda p: replace(p, access_seconds=1))}, CHANGED),
    "kfrag id": ({"order": slot(0, kfrag_id=flip(0))}, SIGNATURE),
    "U1": ({"order": slot(1, u1=flip(0))}, SIGNATURE),
    "receiver signature": ({"order": slot(2, receiver_signature=flip(0))}, SIGNATURE),
    "U1 is no point": ({"order": slot(2, u1=lambda u: bytes(33))}, (TamperedError, "reencryption.share", "provider")),
    "precursor": ({"order": approval(precursor=flip(0))}, SIGNATURE),
    "one share twice": (
        {"order": approval(slots=lambda s: (s[0], *s[:2]))},
        (TamperedError, "reencryption.duplicate-share", "provider"),
    ),
    "threshold 3": (
        {"order": approval(threshold=lambda t: 3)},
        (TamperedError, "reencryption.low-degree", "provider"),
    ),
    "threshold 1": ({"order": approval(threshold=lambda t: 1)}, THRESHOLD),
    "threshold 0": ({"order": approval(threshold=lambda t: 0)}, THRESHOLD),
    "more threshold than shares": ({"order": approval(threshold=lambda t: 4)}, THRESHOLD),
    "no shares": ({"order": approval(slots=lambda s: ())}, THRESHOLD),
    "one share": ({"order": approval(slots=lambda s: s[:1])}, THRESHOLD),
    "sealed K_pq": ({"order": approval(sealed_kpq=flip(600))}, KPQ),
    "sealed K_pq empty": ({"order": approval(sealed_kpq=lambda s: b"")}, KPQ),
}


@pytest.mark.parametrize("what", RECORDS)
def test_a_consistent_lie_is_refused_before_payment(approved_deal: Deal, what: str) -> None:
    lies, (kind, code, actor) = RECORDS[what]
    liar = behind(approved_deal.consumer, LyingReader(approved_deal.market.chain, **lies))
    refused(lambda: approved_deal.pay(liar), kind, code, actor)
    approved_deal.assert_unpaid()


@pytest.mark.parametrize("what", RECORDS)
def test_a_consistent_lie_is_refused_at_the_fetch(paid_deal: Deal, what: str) -> None:
    lies, (kind, code, actor) = RECORDS[what]
    liar = behind(paid_deal.consumer, LyingReader(paid_deal.market.chain, **lies))
    refused(lambda: paid_deal.fetch(liar), kind, code, actor)
    paid_deal.assert_clean()


# What only the nodes can tell: who they are and what they accepted.
NODE_LIES: dict[str, Callable[[Order], Order]] = {
    "generation": approval(generation=lambda g: g + 1),
    "KEM key of every slot": lambda order: slot(2, kem_key_digest=flip(0))(
        slot(1, kem_key_digest=flip(0))(slot(0, kem_key_digest=flip(0))(order))
    ),
    "epoch of every slot": lambda order: slot(2, epoch=lambda e: e + 1)(
        slot(1, epoch=lambda e: e + 1)(slot(0, epoch=lambda e: e + 1)(order))
    ),
    "nodes of two slots swapped": lambda order: slot(1, node_id=lambda _: order.approval.slots[0].node_id)(  # type: ignore[union-attr]
        slot(0, node_id=lambda _: order.approval.slots[1].node_id)(order)  # type: ignore[union-attr]
    ),
}


@pytest.mark.parametrize("what", NODE_LIES)
def test_a_lie_about_the_nodes_gets_no_acceptance(approved_deal: Deal, what: str) -> None:
    liar = behind(approved_deal.consumer, LyingReader(approved_deal.market.chain, order=NODE_LIES[what]))
    refused(lambda: approved_deal.pay(liar), UnavailableError, "trade.accepts-missing", "tee node", layer="approval")
    approved_deal.assert_unpaid()


def test_an_order_said_to_be_unpaid_is_not_paid_twice(paid_deal: Deal) -> None:
    """The endpoint hides the payment: the same step again has one effect."""
    from asset_bridge.chain.records import OrderState

    chain = paid_deal.market.chain
    liar = behind(
        paid_deal.consumer,
        LyingReader(chain, order=lambda order: replace(order, state=OrderState.APPROVED, accepted=(), escrow_wei=0)),
    )
    coins = chain.coins_wei(liar.address)
    with contextlib.suppress(BridgeError):
        paid_deal.pay(liar)
    assert chain.coins_wei(liar.address) == coins


def test_an_order_said_to_be_paid_gets_nothing(approved_deal: Deal) -> None:
    from asset_bridge.chain.records import OrderState

    chain = approved_deal.market.chain
    liar = behind(approved_deal.consumer, LyingReader(chain, order=lambda order: replace(order, state=OrderState.PAID)))
    with pytest.raises(BridgeError) as caught:
        approved_deal.fetch(liar)
    assert "tee.not-paid" in caught.value.message
    assert caught.value.message.startswith("layer fragments: ")
    approved_deal.assert_clean()


def test_a_withheld_asset_is_not_there(approved_deal: Deal) -> None:
    """An endpoint that knows nothing is refused too, and says who can act."""
    chain = approved_deal.market.chain

    class Empty(LyingReader):
        def asset(self, asset_id: bytes, at: Any = None) -> Any:
            raise InputError("chain.not-found", "The chain has no asset.")

    with pytest.raises(InputError) as caught:
        approved_deal.pay(behind(approved_deal.consumer, Empty(chain)))
    assert caught.value.code == "chain.not-found"
    approved_deal.assert_unpaid()
