"""Issue 3, must-show 5: a consumer cannot have `t` cfrags without `t` recorded or acknowledged receipts that count together
(protocol §5.2).

The consumer speaks to the TEE nodes himself, with liars among those who should hold the receipts. Counted: cfrags that left the nodes,
against receipts with which light nodes, without the consumer's help, record the delivery on chain."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from asset_bridge.chain.ids import cfrag_digest
from asset_bridge.chain.keys import AccountKey
from asset_bridge.chain.messages import Domain, ack_digest, fetch_digest, receipt_digest
from asset_bridge.chain.records import Ack, At, DeliveryReceipt, FetchSignature, OrderState
from asset_bridge.errors import BridgeError, RefusedError, UnavailableError
from asset_bridge.reencryption import CapsuleFrag
from tests.journeys.support import deal as deals
from tests.journeys.support.deal import Deal
from tests.support.trade import down

STRANGER = AccountKey(b"\x05" * 32)
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
Honest = Callable[[], Ack]
AckLie = Callable[[Deal, Honest, bytes, DeliveryReceipt], Ack]


def domain(deal: Deal) -> Domain:
    return Domain(deal.market.chain.chain_id, deal.market.chain.exchange)


def fetch_of(deal: Deal, generation: int = 1, key: AccountKey | None = None) -> FetchSignature:
    digest = fetch_digest(domain(deal), deal.order_id, generation)
    return FetchSignature(generation, (key or deal.consumer.signer).sign_digest(digest))  # type: ignore[attr-defined]


def ask(deal: Deal, number: int, fetch: FetchSignature | None = None) -> tuple[bytes, DeliveryReceipt, tuple[Ack, ...]]:
    """The consumer calls a TEE node himself."""
    core = deal.market.tees[number].core
    assert core is not None
    return core.reencrypt(deal.order_id, fetch or fetch_of(deal))


def released(deal: Deal, fetch: FetchSignature | None = None) -> int:
    """How many cfrags a consumer gets who asks every node, twice."""
    got, refusals = set(), set()
    for number in (0, 1, 2, 0, 1, 2):
        try:
            got.add(ask(deal, number, fetch)[0])
        except UnavailableError as error:
            refusals.add(error.code)
    assert refusals <= {"tee.no-ack"}
    return len(got)


def forged(ack: Ack, deal: Deal, key: AccountKey, **fields: object) -> Ack:
    other = replace(ack, **fields)  # type: ignore[arg-type]
    digest = ack_digest(domain(deal), other.receipt_digest, other.node_id, other.epoch)
    return replace(other, signature=key.sign_digest(digest))


def of_another_receipt(deal: Deal, honest: Honest, order_id: bytes, receipt: DeliveryReceipt) -> Ack:
    """The light node really holds a receipt, only not this one."""
    key = deal.market.light_keys[1]
    other = replace(receipt, slot=(receipt.slot + 1) % 3)
    return forged(honest(), deal, key, receipt_digest=receipt_digest(domain(deal), order_id, other))


def of_another_order(deal: Deal, honest: Honest, order_id: bytes, receipt: DeliveryReceipt) -> Ack:
    key = deal.market.light_keys[1]
    return forged(honest(), deal, key, receipt_digest=receipt_digest(domain(deal), bytes(32), receipt))


ACK_LIES: dict[str, AckLie] = {
    "no answer": lambda deal, honest, order_id, receipt: (_ for _ in ()).throw(down("light node")),
    "no signature": lambda deal, honest, order_id, receipt: replace(honest(), signature=bytes(65)),
    "signed by a stranger": lambda deal, honest, order_id, receipt: forged(honest(), deal, STRANGER),
    "of an unregistered light node": lambda deal, honest, order_id, receipt: forged(
        honest(), deal, STRANGER, node_id=b"\x07" * 32
    ),
    "of another light node": lambda deal, honest, order_id, receipt: forged(
        honest(), deal, deal.market.light_keys[0], node_id=deal.market.lights[0].parts.node_id
    ),
    "of a storage node": lambda deal, honest, order_id, receipt: forged(
        honest(), deal, deal.market.storage_keys[0], node_id=deal.market.storage_ids[0]
    ),
    "of a TEE node": lambda deal, honest, order_id, receipt: forged(
        honest(), deal, deal.market.tee_key(0), node_id=deal.market.tees[0].node_id
    ),
    "of the provider, whose profile names no key": lambda deal, honest, order_id, receipt: forged(
        honest(),
        deal,
        deal.provider.signer,  # type: ignore[arg-type]
        node_id=bytes(32),
        epoch=0,
    ),
    "of an epoch to come": lambda deal, honest, order_id, receipt: forged(
        honest(), deal, deal.market.light_keys[1], epoch=2
    ),
    "of another receipt": of_another_receipt,
    "of another order": of_another_order,
}


def lie_of_light_1(deal: Deal, how: str) -> None:
    lie = ACK_LIES[how]
    liar = deal.market.lights[1].parts.node_id
    deal.market.acks.lies[liar] = lambda honest, order_id, receipt: lie(deal, honest, order_id, receipt)


@pytest.mark.parametrize("how", ACK_LIES)
def test_without_two_real_acks_no_cfrag_leaves_a_node(paid_deal: Deal, how: str) -> None:
    lie_of_light_1(paid_deal, how)
    assert released(paid_deal) == 0
    paid_deal.market.acks.lies.clear()
    assert released(paid_deal) == 3


@pytest.mark.parametrize("how", ACK_LIES)
def test_a_fetch_behind_lying_acks_opens_nothing(paid_deal: Deal, how: str) -> None:
    lie_of_light_1(paid_deal, how)
    with pytest.raises(UnavailableError) as caught:
        paid_deal.fetch()
    assert caught.value.code == "trade.too-few-fragments"
    assert "tee.no-ack" in caught.value.message
    assert caught.value.message.startswith("layer fragments: ")
    paid_deal.assert_clean()


def test_two_light_nodes_of_one_operator_are_one(tmp_path: Path) -> None:
    """A consumer who runs many light nodes is still one operator."""
    deal = deals.paid(tmp_path)
    for number in range(3):
        deal.market.add_light(f"sister {number}", operator="light 0")
    deal.market.chain.mine(3)
    deal.market.acks.lies[deal.market.lights[1].parts.node_id] = lambda *_: (_ for _ in ()).throw(down("light node"))
    for _ in range(4):
        assert released(deal) == 0
    deal.market.close()


# ── receipts that are held count together, without the consumer ──
@pytest.fixture
def many_lights(tmp_path: Path) -> Iterator[Deal]:
    """Six light nodes of six operators, so that each TEE node draws others."""
    deal = deals.paid(tmp_path, lights=6)
    yield deal
    deal.market.close()


def record_without_consumer(deal: Deal, core_number: int) -> bool:
    """One light node sweeps alone, later; whether the delivery is on chain then."""
    deal.market.chain.advance(60)
    deal.market.lights[core_number].delivery.sweep()
    return deal.market.chain.order(deal.order_id).state is OrderState.DELIVERED


def holders(deal: Deal) -> list[int]:
    return [n for n, core in enumerate(deal.market.lights) if core.delivery.held(deal.order_id)[1]]


def test_receipts_at_different_light_nodes_count_together(many_lights: Deal) -> None:
    deal = many_lights
    got = [ask(deal, number) for number in (0, 1)]
    assert len({cfrag for cfrag, _, _ in got}) == 2
    held = {receipt.slot for n in holders(deal) for receipt in deal.market.lights[n].delivery.held(deal.order_id)[1]}
    assert len(held) == 2
    assert record_without_consumer(deal, holders(deal)[0])
    recorded = deal.market.chain.order(deal.order_id).delivered_receipts
    assert {receipt.slot for receipt in recorded} == held
    assert {r.cfrag_digest for r in recorded} == {digest_of(cfrag) for cfrag, _, _ in got}
    deal.market.chain.advance(10_000)
    with pytest.raises(RefusedError):  # so the consumer has the data, and no refund
        deal.consumer.account.refund(deal.order_id)


def digest_of(cfrag: bytes) -> bytes:
    frag = CapsuleFrag.from_bytes(cfrag)
    return cfrag_digest(frag.kfrag_id, frag.e1.to_bytes(), frag.v1.to_bytes())


def other_signatures(deal: Deal) -> dict[str, FetchSignature]:
    """Further signatures by the same key over the same `Fetch`."""
    honest = fetch_of(deal)
    r, s, v = honest.signature[:32], honest.signature[32:64], honest.signature[64]
    high = (ORDER - int.from_bytes(s, "big")).to_bytes(32, "big")
    return {
        "high s": FetchSignature(1, r + high + bytes([55 - v])),
        "other recovery mark": FetchSignature(1, r + s + bytes([55 - v])),
        "v as 0 or 1": FetchSignature(1, r + s + bytes([v - 27])),
        "another generation": fetch_of(deal, 2),
        "generation 0": fetch_of(deal, 0),
        "a stranger's": fetch_of(deal, key=STRANGER),
        "nothing": FetchSignature(1, bytes(65)),
        "too short": FetchSignature(1, honest.signature[:64]),
        "empty": FetchSignature(1, b""),
    }


@pytest.mark.parametrize("how", list(range(9)))
def test_no_other_signature_fetches(paid_deal: Deal, how: int) -> None:
    name, fetch = list(other_signatures(paid_deal).items())[how]
    for number in range(3):
        with pytest.raises(RefusedError) as caught:
            ask(paid_deal, number, fetch)
        assert caught.value.code == ("tee.generation" if "generation" in name else "tee.fetch-signature")
    with pytest.raises(BridgeError):
        paid_deal.market.lights[0].acknowledge(paid_deal.order_id, fetch, ask(paid_deal, 0)[1])


def second_signature(deal: Deal) -> FetchSignature:
    """Another valid low-s signature over the same digest, with another nonce (ECDSA lets a signer have many)."""
    from coincurve import PrivateKey

    key = deal.consumer.signer
    secret = int.from_bytes(key._key.secret, "big")  # type: ignore[attr-defined]
    digest = fetch_digest(domain(deal), deal.order_id, 1)
    for nonce in range(2, 50):
        point = PrivateKey(nonce.to_bytes(32, "big")).public_key.format(compressed=False)
        r = int.from_bytes(point[1:33], "big") % ORDER
        odd = point[64] & 1
        s = pow(nonce, -1, ORDER) * (int.from_bytes(digest, "big") + r * secret) % ORDER
        if s > ORDER // 2:
            s, odd = ORDER - s, odd ^ 1
        return FetchSignature(1, r.to_bytes(32, "big") + s.to_bytes(32, "big") + bytes([27 + odd]))
    raise AssertionError


def test_two_different_fetch_signatures_do_not_split_the_receipts(many_lights: Deal) -> None:
    """One digest for a whole generation: a receipt answers the digest, not the signature."""
    deal = many_lights
    first, second = fetch_of(deal), second_signature(deal)
    assert first.signature != second.signature
    one, other = ask(deal, 0, first), ask(deal, 1, second)
    assert one[1].fetch_digest == other[1].fetch_digest
    assert ask(deal, 0, second)[:2] == one[:2]  # the same cfrag and receipt, whichever signature asks
    assert record_without_consumer(deal, holders(deal)[-1])


@pytest.mark.parametrize("how", ["first", "second"])
def test_either_signature_records_both_receipts(tmp_path: Path, how: str) -> None:
    deal = deals.paid(tmp_path)
    first, second = fetch_of(deal), second_signature(deal)
    receipts = [ask(deal, 0, first)[1], ask(deal, 2, second)[1]]
    recorder = deal.market.chain.account(deal.market.account("anyone"))
    recorder.record_delivery(deal.order_id, {"first": first, "second": second}[how], receipts)
    assert deal.market.chain.order(deal.order_id).state is OrderState.DELIVERED
    deal.market.close()


def test_one_cfrag_alone_is_no_delivery(tmp_path: Path) -> None:
    """t - 1 cfrags open nothing, and their receipts move no money: the consumer is refunded."""
    deal = deals.paid(tmp_path)
    receipt = ask(deal, 0)[1]
    deal.market.chain.advance(60)
    for core in deal.market.lights:
        core.delivery.sweep()
    assert deal.market.chain.order(deal.order_id).state is OrderState.PAID
    recorder = deal.market.chain.account(deal.market.account("anyone"))
    for receipts in ([receipt], [receipt, receipt], []):
        with pytest.raises(BridgeError):
            recorder.record_delivery(deal.order_id, fetch_of(deal), receipts)
    deal.market.chain.advance(5000)
    deal.consumer.account.refund(deal.order_id)
    assert deal.market.chain.order(deal.order_id).state is OrderState.REFUNDED
    deal.market.close()


CHANGED: dict[str, Callable[[DeliveryReceipt], DeliveryReceipt]] = {
    "slot": lambda r: replace(r, slot=(r.slot + 1) % 3),
    "cfrag digest": lambda r: replace(r, cfrag_digest=bytes(32)),
    "block number": lambda r: replace(r, block_number=r.block_number + 1),
    "block hash": lambda r: replace(r, block_hash=bytes(32)),
    "node": lambda r: replace(r, node_id=bytes(32)),
    "epoch": lambda r: replace(r, epoch=r.epoch + 1),
    "share": lambda r: replace(r, kfrag_id=bytes(32)),
    "generation": lambda r: replace(r, generation=2),
    "signature": lambda r: replace(r, signature=bytes(65)),
}


@pytest.mark.parametrize("what", CHANGED)
def test_a_changed_receipt_is_neither_acknowledged_nor_recorded(paid_deal: Deal, what: str) -> None:
    first, second = ask(paid_deal, 0)[1], ask(paid_deal, 1)[1]
    changed = CHANGED[what](first)
    for core in paid_deal.market.lights:
        with pytest.raises(BridgeError) as caught:
            core.acknowledge(paid_deal.order_id, fetch_of(paid_deal), changed)
        assert caught.value.code == "light.receipt"
    if what in ("generation", "share"):  # these do not travel: the contract checks the signature over its own
        return
    recorder = paid_deal.market.chain.account(paid_deal.market.account("anyone"))
    with pytest.raises(BridgeError):
        recorder.record_delivery(paid_deal.order_id, fetch_of(paid_deal), [changed, second])
    assert paid_deal.market.chain.order(paid_deal.order_id, At.HEAD).state is OrderState.PAID


def test_released_and_recordable_are_equal_for_every_subset_of_nodes(tmp_path: Path) -> None:
    """Whichever nodes a consumer asks: with t of them the light nodes can record, with fewer he cannot open."""
    for number, asked in enumerate([(0,), (1, 2), (0, 2), (2, 0, 1)]):
        folder = tmp_path / str(number)
        folder.mkdir()
        deal = deals.paid(folder)
        cfrags = {ask(deal, node)[0] for node in asked}
        recordable = {receipt.slot for core in deal.market.lights for receipt in core.delivery.held(deal.order_id)[1]}
        assert len(cfrags) == len(recordable) == len(asked)
        assert record_without_consumer(deal, 1) == (len(asked) >= 2)
        deal.market.close()
