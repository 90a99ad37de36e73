"""Issue 3, must-show 4, the body: every kind of lie about every block, on one replica and on all (design §3, protocol §5.1).

One copy: skipped, named in the report, the trade goes through. All copies: a refusal that names layer and actor, and no output."""

from __future__ import annotations

import threading

import pytest

from asset_bridge.errors import BridgeError, RefusedError, TamperedError, UnavailableError
from asset_bridge.ipld.cid import Cid
from asset_bridge.ipld.unixfs import LEAF_BYTES
from tests.journeys.support.deal import Deal, refused
from tests.journeys.support.market import Lie

TAMPERED, MISSING, UNUSABLE = "ipfs.gateway-block", "ipfs.block-missing", "ipfs.gateway-reply"
LIES: dict[str, tuple[Lie, str]] = {
    "flip": (lambda block: bytes([block[0] ^ 1]) + block[1:], TAMPERED),
    "flip-last": (lambda block: block[:-1] + bytes([block[-1] ^ 0x80]), TAMPERED),
    "zero": (lambda block: bytes(len(block)), TAMPERED),
    "truncate": (lambda block: block[:-1], TAMPERED),
    "extend": (lambda block: block + b"\0", TAMPERED),
    "empty": (lambda block: b"", TAMPERED),
    "missing": (lambda block: None, MISSING),
    "too-large": (lambda block: block + bytes(3 * LEAF_BYTES), UNUSABLE),
}
PLACES = ["root", "leaves", "first-leaf", "last-leaf"]


def chosen(deal: Deal, place: str) -> list[Cid]:
    blocks = deal.blocks()
    leaves = blocks["leaves"]
    return {"root": blocks["root"], "leaves": leaves, "first-leaf": leaves[:1], "last-leaf": leaves[-1:]}[place]


@pytest.mark.parametrize("place", ["root", "leaves"])
@pytest.mark.parametrize("how", LIES)
@pytest.mark.parametrize("liar", [0, 1])
def test_one_copy_is_skipped_and_named(paid_deal: Deal, place: str, how: str, liar: int) -> None:
    lie, code = LIES[how]
    storages = paid_deal.market.storages
    storages[liar].lies.update(dict.fromkeys(chosen(paid_deal, place), lie))
    if place == "root":  # replicas are asked for it in order: only the first one's lie is ever heard
        for before in storages[:liar]:
            before.down = True
    else:
        for honest in storages:
            honest.after = storages[liar].lied if honest is not storages[liar] else None
    fetched = paid_deal.fetch()
    paid_deal.assert_same()
    assert storages[liar].lied.is_set()
    named = {(failure.source, failure.code) for failure in fetched.bad_replicas}
    assert (storages[liar].name, code) in named
    assert not any(
        source == storages[n].name for source, _ in named for n in {0, 1, 2} - {liar} if not storages[n].down
    )
    assert storages[liar].name in (paid_deal.out / "provenance.json").read_text()


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("how", LIES)
def test_all_copies_are_refused(paid_deal: Deal, place: str, how: str) -> None:
    lie, code = LIES[how]
    for storage in paid_deal.market.storages:
        storage.lies.update(dict.fromkeys(chosen(paid_deal, place), lie))
    kind: type[BridgeError] = TamperedError if code == TAMPERED else UnavailableError
    error = refused(
        paid_deal.fetch, kind, "trade.body" if kind is TamperedError else "ipfs.replicas-down", "storage node", "body"
    )
    for storage in paid_deal.market.storages:
        assert f"{storage.name}: {code}" in error.message
    paid_deal.assert_clean()
    assert paid_deal.market.acks.asked == []  # no TEE node was even asked: ciphertext first (protocol §5.1)


def test_blocks_swapped_on_one_replica_and_on_all(paid_deal: Deal) -> None:
    """Right bytes, each a block of the very body, in the wrong places."""
    leaves = paid_deal.blocks()["leaves"]
    storages = paid_deal.market.storages
    other = {leaf: leaves[number - 1] for number, leaf in enumerate(leaves)}

    def lie(storage: int) -> None:
        for leaf in leaves:
            block = storages[storage].store.get_block(other[leaf])
            storages[storage].lies[leaf] = lambda _, block=block: block  # type: ignore[misc]

    lie(0)
    for honest in storages[1:]:
        honest.after = storages[0].lied
    assert ("storage node 0", TAMPERED) in {(f.source, f.code) for f in paid_deal.fetch().bad_replicas}
    paid_deal.assert_same()
    paid_deal.reset()
    for number in range(3):
        lie(number)
    refused(paid_deal.fetch, TamperedError, "trade.body", "storage node", "body")
    paid_deal.assert_clean()


def test_a_replica_that_lies_now_and_then_does_not_spoil_what_is_here(paid_deal: Deal) -> None:
    """All copies bad: refused. Then one is good again: only what is missing is fetched, and it opens."""
    leaves = paid_deal.blocks()["leaves"]
    for storage in paid_deal.market.storages:
        storage.lies[leaves[-1]] = LIES["flip"][0]
    refused(paid_deal.fetch, TamperedError, "trade.body", "storage node", "body")
    paid_deal.market.storages[1].lies.clear()
    paid_deal.consumer = paid_deal.market.desk("consumer")
    fetched = paid_deal.fetch()
    paid_deal.assert_same()
    assert fetched.downloaded_bytes <= LEAF_BYTES


def test_damage_that_begins_during_the_download(paid_deal: Deal) -> None:
    """Two replicas die and the third lies once the first block is here."""
    storages, leaves = paid_deal.market.storages, paid_deal.blocks()["leaves"]
    begun = threading.Event()

    def last_good(block: bytes) -> bytes:
        if begun.is_set():
            return bytes(len(block))
        begun.set()
        storages[1].down = storages[2].down = True
        return block

    for storage in storages:
        storage.lies.update(dict.fromkeys(leaves, last_good))
    with pytest.raises((TamperedError, UnavailableError)) as caught:
        paid_deal.fetch()
    assert "layer body" in caught.value.message
    paid_deal.assert_clean()


@pytest.mark.parametrize("how", LIES)
def test_before_payment_one_bad_replica_is_named(approved_deal: Deal, how: str) -> None:
    from asset_bridge.trade.pay import check_before_payment

    lie, code = LIES[how]
    storages = approved_deal.market.storages
    storages[1].lies.update(dict.fromkeys(approved_deal.blocks()["leaves"], lie))
    checked = check_before_payment(approved_deal.consumer, approved_deal.order_id, approved_deal.bodies)
    assert checked.good_replicas == 2
    assert [(failure.source, failure.code) for failure in checked.bad_replicas] == [("storage node 1", code)]


@pytest.mark.parametrize("bad", [2, 3])
@pytest.mark.parametrize("how", LIES)
def test_before_payment_fewer_than_two_good_replicas_are_refused(approved_deal: Deal, how: str, bad: int) -> None:
    lie, code = LIES[how]
    for storage in approved_deal.market.storages[:bad]:
        storage.lies.update(dict.fromkeys(approved_deal.blocks()["leaves"], lie))
    error = refused(approved_deal.pay, RefusedError, "trade.body-missing", "storage node", "body")
    assert f"storage node 0: {code}" in error.message
    approved_deal.assert_unpaid()


@pytest.mark.parametrize("how", LIES)
def test_pay_with_download_first_refuses_all_bad_copies(approved_deal: Deal, how: str) -> None:
    lie, code = LIES[how]
    for storage in approved_deal.market.storages:
        storage.lies.update(dict.fromkeys(approved_deal.blocks()["leaves"][-1:], lie))
    kind: type[BridgeError] = TamperedError if code == TAMPERED else UnavailableError
    wanted = "trade.body" if kind is TamperedError else "ipfs.replicas-down"
    refused(lambda: approved_deal.pay(download_first=True), kind, wanted, "storage node", "body")
    approved_deal.assert_unpaid()
