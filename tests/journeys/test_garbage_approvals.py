"""Issue 3, must-show 5: a provider who approves with garbage that passes every proof of Umbral is found out before payment
(protocol §4.4). Junk in a sealed share is found out by its node."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from asset_bridge.chain.records import ApprovedSlot, OrderState
from asset_bridge.errors import RefusedError, TamperedError, UnavailableError
from asset_bridge.keys.derivation import share_randomness
from asset_bridge.keys.hpke import seal_kpq
from asset_bridge.keys.secp256k1 import Point, SecretScalar, secret_add, shared_point
from asset_bridge.keys.signing import sign_digest
from asset_bridge.reencryption import (
    KeyFrag,
    PublishedShare,
    VerifiedKeyFrag,
    generate_shares,
    receiver_digest,
)
from asset_bridge.reencryption.hashes import PARAMETER_U
from asset_bridge.trade import approve as approve_module
from asset_bridge.trade import shares as shares_module
from asset_bridge.trade.desk import Desk
from asset_bridge.trade.evidence import OrderKey
from asset_bridge.trade.shares import OwnedAsset, make_shares, seal_share
from tests.journeys.support import deal as deals
from tests.journeys.support.deal import Deal, assert_found_out, refused
from tests.journeys.support.lies import flip

Make = Callable[..., list[VerifiedKeyFrag]]


def signed(
    owned: OwnedAsset, pk_b: Point, x_a: Point, frags: Sequence[tuple[bytes, SecretScalar]]
) -> list[VerifiedKeyFrag]:
    """Shares with these secrets: commitment and receiver-side signature are right, so every proof of Umbral holds."""
    pk_a, signer, made = owned.keys.delegating.public_key(), owned.keys.signer, []
    for kfrag_id, rk in frags:
        u1 = shared_point(rk, PARAMETER_U)
        share = PublishedShare(kfrag_id, u1, x_a, sign_digest(signer, receiver_digest(kfrag_id, u1, x_a, pk_a, pk_b)))
        made.append(KeyFrag(rk, share).verify(pk_a=pk_a, pk_b=pk_b, signer=signer.public_key()))
    return made


def scalar(number: int) -> SecretScalar:
    return SecretScalar.from_wide(bytes([number]) * 48)


def honest(desk: Desk, owned: OwnedAsset, *rest: Any) -> list[VerifiedKeyFrag]:
    return make_shares(desk, owned, *rest)


def resigned(
    desk: Desk, owned: OwnedAsset, *rest: Any, change: Callable[[int, VerifiedKeyFrag], SecretScalar]
) -> list[VerifiedKeyFrag]:
    shares = make_shares(desk, owned, *rest)
    pairs = [(share.kfrag_id, change(number, share)) for number, share in enumerate(shares)]
    return signed(owned, shares[0].pk_b, shares[0].x_a, pairs)


def random_secrets(desk: Desk, owned: OwnedAsset, *rest: Any) -> list[VerifiedKeyFrag]:
    return resigned(desk, owned, *rest, change=lambda number, _share: scalar(number + 3))


def another_key(desk: Desk, owned: OwnedAsset, *rest: Any) -> list[VerifiedKeyFrag]:
    other = replace(owned, keys=replace(owned.keys, delegating=scalar(9)))
    shares = make_shares(desk, other, *rest)
    return signed(owned, shares[0].pk_b, shares[0].x_a, [(share.kfrag_id, share.rk) for share in shares])


def constant_polynomial(desk: Desk, owned: OwnedAsset, *rest: Any) -> list[VerifiedKeyFrag]:
    """A threshold-1 set under distinct commitments cannot be made; a constant one has one commitment for all."""
    return resigned(desk, owned, *rest, change=lambda _number, share: scalar(5))


def of_degree(threshold: int) -> Make:
    """Shares of the right key for another threshold than the approval says."""

    def make(desk: Desk, owned: OwnedAsset, order_id: bytes, pk_b: bytes, generation: int, _t: int, n: int) -> Any:
        seed = desk.vault.provider_seed.reveal()
        context = (seed, owned.tweak, owned.container_id, order_id, generation)
        randomness = share_randomness(*context, max(2, threshold), n)
        randomness = replace(randomness, coefficients=randomness.coefficients[: threshold - 1])
        return generate_shares(owned.keys.delegating, Point.from_bytes(pk_b), owned.keys.signer, threshold, randomness)

    return make


def one_off(which: int) -> Make:
    def make(desk: Desk, owned: OwnedAsset, *rest: Any) -> list[VerifiedKeyFrag]:
        return resigned(
            desk,
            owned,
            *rest,
            change=lambda number, share: secret_add(share.rk, scalar(2)) if number == which else share.rk,
        )

    return make


def all_shifted(desk: Desk, owned: OwnedAsset, *rest: Any) -> list[VerifiedKeyFrag]:
    """A whole polynomial, of another secret."""
    return resigned(desk, owned, *rest, change=lambda _number, share: secret_add(share.rk, scalar(2)))


def for_another_consumer(desk: Desk, owned: OwnedAsset, order_id: bytes, pk_b: bytes, *rest: Any) -> Any:
    """Right shares for somebody else, signed for this consumer."""
    shares = make_shares(desk, owned, order_id, scalar(4).public_key().to_bytes(), *rest)
    pairs = [(share.kfrag_id, share.rk) for share in shares]
    return signed(owned, Point.from_bytes(pk_b), shares[0].x_a, pairs)


def of_another_generation_in_part(
    desk: Desk, owned: OwnedAsset, order_id: bytes, pk_b: bytes, _g: int, *rest: Any
) -> Any:
    """Each share right for some approval, the set mixed from two."""
    first = make_shares(desk, owned, order_id, pk_b, 1, *rest)
    second = make_shares(desk, owned, order_id, pk_b, 2, *rest)
    mixed = [(first[0].kfrag_id, first[0].rk), (second[1].kfrag_id, second[1].rk), (first[2].kfrag_id, first[2].rk)]
    return signed(owned, first[0].pk_b, first[0].x_a, mixed)


def under_another_precursor(desk: Desk, owned: OwnedAsset, *rest: Any) -> list[VerifiedKeyFrag]:
    shares = make_shares(desk, owned, *rest)
    return signed(owned, shares[0].pk_b, scalar(8).public_key(), [(share.kfrag_id, share.rk) for share in shares])


GARBAGE, LOW = "reencryption.garbage-shares", "reencryption.low-degree"
SHARES: dict[str, tuple[Make, str]] = {
    "random secrets": (random_secrets, GARBAGE),
    "shares of another key": (another_key, GARBAGE),
    "a shifted polynomial": (all_shifted, GARBAGE),
    "degree too high": (of_degree(3), GARBAGE),
    "first share off the polynomial": (one_off(0), GARBAGE),
    "second share off the polynomial": (one_off(1), GARBAGE),
    "third share off the polynomial": (one_off(2), GARBAGE),
    "for another consumer": (for_another_consumer, GARBAGE),
    "mixed from two generations": (of_another_generation_in_part, GARBAGE),
    "under another precursor": (under_another_precursor, GARBAGE),
}


@pytest.fixture(scope="module")
def shared_listed(tmp_path_factory: pytest.TempPathFactory) -> Any:
    deal = deals.listed(tmp_path_factory.mktemp("listed"))
    yield deal
    deal.market.close()


@pytest.fixture
def requested(shared_listed: Deal) -> Deal:
    """A new request on one asset; each test approves its own."""
    shared_listed.market.heal()
    shared_listed.request()
    shared_listed.market.chain.mine(3)
    return shared_listed


def accept_all(deal: Deal) -> int:
    """How many nodes accept their share: garbage cannot be told by a node."""
    order = deal.market.chain.order(deal.order_id)
    assert order.approval is not None
    for number, slot in enumerate(order.approval.slots):
        deal.market.connect(deal.market.chain.node(slot.node_id)).accept(deal.order_id, 1, number)
    return len(order.approval.slots)


@pytest.mark.parametrize("how", SHARES)
def test_garbage_shares_are_found_out_before_payment(
    requested: Deal, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, code = SHARES[how]
    monkeypatch.setattr(shares_module, "make_shares", make)
    requested.approve()
    assert accept_all(requested) == 3  # every proof of Umbral holds, and each node says yes
    assert_found_out(requested, TamperedError, code)


def test_shares_of_fewer_than_the_threshold_are_found_out(requested: Deal, monkeypatch: pytest.MonkeyPatch) -> None:
    """Threshold 3 on chain, a polynomial that two shares open."""
    monkeypatch.setattr(shares_module, "make_shares", of_degree(2))
    approve_module.approve(requested.provider, requested.order_id, requested.scene.examiner(), threshold=3, shares=3)
    requested.market.chain.mine(3)
    assert accept_all(requested) == 3
    coins = requested.market.chain.coins_wei(requested.consumer.address)
    refused(requested.pay, TamperedError, LOW, "provider", "approval")
    assert requested.market.chain.coins_wei(requested.consumer.address) == coins


@pytest.mark.parametrize("make", [constant_polynomial, of_degree(1)], ids=["one secret", "threshold 1"])
def test_a_threshold_of_one_does_not_get_past_the_contract(
    requested: Deal, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All commitments of such a set are one point, and the contract wants distinct ones."""
    monkeypatch.setattr(shares_module, "make_shares", make)
    with pytest.raises(RefusedError) as caught:
        requested.approve()
    assert caught.value.code.startswith("chain.")
    assert requested.market.chain.order(requested.order_id).state is OrderState.REQUESTED


def test_shares_signed_for_another_consumer_do_not_get_past_the_contract(
    requested: Deal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def make(desk: Desk, owned: OwnedAsset, order_id: bytes, pk_b: bytes, *rest: Any) -> Any:
        return make_shares(desk, owned, order_id, scalar(4).public_key().to_bytes(), *rest)

    monkeypatch.setattr(shares_module, "make_shares", make)
    with pytest.raises(RefusedError) as caught:
        requested.approve()
    assert caught.value.code.startswith("chain.")


def test_a_share_given_twice_does_not_get_past_the_contract(requested: Deal, monkeypatch: pytest.MonkeyPatch) -> None:
    def make(desk: Desk, owned: OwnedAsset, *rest: Any) -> Any:
        shares = make_shares(desk, owned, *rest)
        return [shares[0], shares[1], shares[1]]

    monkeypatch.setattr(shares_module, "make_shares", make)
    with pytest.raises(RefusedError):
        requested.approve()


# ── K_pq ──
def wrong_kpq(_key: Any, k_pq: bytes, **context: Any) -> bytes:
    return seal_kpq(_key, bytes(32), **context)


def kpq_for_another_order(key: Any, k_pq: bytes, *, order_id: bytes, pq_commit: bytes) -> bytes:
    return seal_kpq(key, k_pq, order_id=bytes(32), pq_commit=pq_commit)


def kpq_under_another_commitment(key: Any, k_pq: bytes, *, order_id: bytes, pq_commit: bytes) -> bytes:
    return seal_kpq(key, k_pq, order_id=order_id, pq_commit=bytes(32))


KPQ: dict[str, tuple[Callable[..., bytes], str]] = {
    "another K_pq": (wrong_kpq, "keys.pq-commit"),
    "for another order": (kpq_for_another_order, "trade.sealed-kpq"),
    "under another commitment": (kpq_under_another_commitment, "trade.sealed-kpq"),
    "flipped": (lambda *a, **c: flip(-1)(seal_kpq(*a, **c)), "trade.sealed-kpq"),
    "zeros": (lambda *a, **c: bytes(len(seal_kpq(*a, **c))), "trade.sealed-kpq"),
}


@pytest.mark.parametrize("how", KPQ)
def test_a_kpq_that_does_not_open_or_match_is_found_out(
    requested: Deal, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seal, code = KPQ[how]
    monkeypatch.setattr(approve_module, "seal_kpq", seal)
    requested.approve()
    accept_all(requested)
    assert_found_out(requested, TamperedError, code)


def test_a_kpq_for_another_consumer_is_found_out(requested: Deal, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sealed to the hybrid key of somebody else's order of the same asset."""
    from asset_bridge.trade.order_record import order_keys

    other = order_keys(requested.market.desk("somebody"), requested.published.asset_id, bytes(32)).hybrid.public_key()
    monkeypatch.setattr(approve_module, "seal_kpq", lambda key, *a, **c: seal_kpq(other, *a, **c))
    requested.approve()
    assert_found_out(requested, TamperedError, "trade.sealed-kpq")


# ── junk in a blob: the node sees it, and says so ──
def junk_in(slots: set[int], change: Callable[[ApprovedSlot], ApprovedSlot]) -> Callable[..., ApprovedSlot]:
    def seal(share: VerifiedKeyFrag, order_id: bytes, generation: int, slot: int, key: OrderKey) -> ApprovedSlot:
        made = seal_share(share, order_id, generation, slot, key)
        return change(made) if slot in slots else made

    return seal


def other_secret(share: VerifiedKeyFrag, order_id: bytes, generation: int, slot: int, key: OrderKey) -> ApprovedSlot:
    """The blob opens and holds another secret than the published commitment."""
    made = seal_share(share, order_id, generation, slot, key)
    from asset_bridge.keys.hpke import seal_kfrag
    from asset_bridge.keys.kem import SharePublicKey

    sealed = seal_kfrag(
        SharePublicKey.from_bytes(key.kem_key),
        scalar(6),
        order_id=order_id,
        generation=generation,
        slot=slot,
        kfrag_id=made.kfrag_id,
        u1=made.u1,
        x_a=share.x_a.to_bytes(),
        node_id=key.node_id,
        epoch=key.epoch,
    )
    return replace(made, sealed_rk=sealed)


def flipped_blob(made: ApprovedSlot) -> ApprovedSlot:
    return replace(made, sealed_rk=flip(40)(made.sealed_rk))


@pytest.mark.parametrize("kind", ["flipped", "other secret"])
@pytest.mark.parametrize("bad", [{1}, {0, 1}, {0, 1, 2}], ids=["one", "two", "all"])
def test_junk_in_sealed_shares_gets_no_acceptance(
    requested: Deal, kind: str, bad: set[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    code = {"flipped": "tee.blob", "other secret": "tee.share"}[kind]

    def seal(share: VerifiedKeyFrag, order_id: bytes, generation: int, slot: int, key: OrderKey) -> ApprovedSlot:
        if slot not in bad:
            return seal_share(share, order_id, generation, slot, key)
        if kind == "other secret":
            return other_secret(share, order_id, generation, slot, key)
        return flipped_blob(seal_share(share, order_id, generation, slot, key))

    monkeypatch.setattr(shares_module, "seal_share", seal)
    requested.approve()
    error = refused(requested.pay, UnavailableError, "trade.accepts-missing", "tee node", "approval")
    assert error.message.count(code) == len(bad)
    requested.assert_unpaid()
    if len(bad) > 1:
        refused(
            lambda: requested.pay(minimum_accepts=2), UnavailableError, "trade.accepts-missing", "tee node", "approval"
        )
        requested.assert_unpaid()
        return
    requested.pay(minimum_accepts=2)  # two of three suffice when the buyer agrees
    fetched = requested.fetch()
    requested.assert_same()
    assert len(fetched.failed_nodes) == 1
    import shutil

    shutil.rmtree(requested.out)
