"""Issue 3, must-show 3, in memory: a node that is gone before `fetch` does not stop the trade; a TEE node that comes back has new keys, and
`reseal` gives it its share again (design §6, protocol §6, §7). The same with processes and kill -9 is in the journeys with devnet."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import pytest

from asset_bridge.chain.records import OrderState
from asset_bridge.errors import BridgeError, InputError, RefusedError, UnavailableError
from asset_bridge.trade.accept import accept
from asset_bridge.trade.reseal import reseal
from asset_bridge.trade.status import status
from tests.journeys.support import deal as deals
from tests.journeys.support.deal import Deal, refused


@pytest.fixture
def deal(tmp_path: Path) -> Iterator[Deal]:
    made = deals.paid(tmp_path)
    yield made
    made.market.close()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deal]:
    made = deals.paid(tmp_path_factory.mktemp("faults"))
    yield made
    made.market.close()


@pytest.fixture
def paid(shared: Deal) -> Iterator[Deal]:
    """Nodes may go down in it, and are up again for the next test; nobody restarts."""
    cores = [tee.core for tee in shared.market.tees]
    shared.reset()
    yield shared
    for tee, core in zip(shared.market.tees, cores, strict=True):
        tee.core = core
    shared.reset()


def suggests_reseal(deal: Deal, command: str) -> bool:
    """`reseal` and the order's id, or the beginning of it that a person types."""
    verb, name = command.split()
    return verb == "reseal" and len(name) >= 10 and f"0x{deal.order_id.hex()}".startswith(name)


# ── gone before fetch ──
@pytest.mark.parametrize("gone", range(3))
def test_one_storage_node_gone(paid: Deal, gone: int) -> None:
    paid.market.storages[gone].down = True
    fetched = paid.fetch()
    paid.assert_same()
    assert {failure.source for failure in fetched.bad_replicas} <= {f"storage node {gone}"}


@pytest.mark.parametrize("gone", list(combinations(range(3), 2)), ids=str)
def test_two_storage_nodes_gone(paid: Deal, gone: tuple[int, int]) -> None:
    for number in gone:
        paid.market.storages[number].down = True
    paid.fetch()
    paid.assert_same()


def test_every_storage_node_gone_and_back(paid: Deal) -> None:
    for storage in paid.market.storages:
        storage.down = True
    refused(paid.fetch, UnavailableError, "ipfs.replicas-down", "storage node", "body")
    paid.assert_clean()
    paid.market.heal()
    paid.consumer = paid.market.desk("consumer")
    paid.fetch()
    paid.assert_same()


@pytest.mark.parametrize("gone", range(3))
def test_one_tee_node_gone(paid: Deal, gone: int) -> None:
    paid.market.tees[gone].core = None
    fetched = paid.fetch()
    paid.assert_same()
    assert {failure.node_id for failure in fetched.failed_nodes} == {paid.market.tees[gone].node_id}


@pytest.mark.parametrize("gone", list(combinations(range(3), 2)), ids=str)
def test_two_tee_nodes_gone_and_one_back(paid: Deal, gone: tuple[int, int]) -> None:
    cores = {number: paid.market.tees[number].core for number in gone}
    for number in gone:
        paid.market.tees[number].core = None
    error = refused(paid.fetch, UnavailableError, "trade.too-few-fragments", "tee node", "fragments")
    for number in gone:
        assert paid.market.tees[number].node_id.hex()[:8] in error.message
    paid.assert_clean()
    paid.market.tees[gone[0]].core = cores[gone[0]]  # a network fault that ends: the same process, the same keys
    paid.fetch()
    paid.assert_same()


def test_a_storage_node_a_tee_node_and_the_light_node_gone_at_once(paid: Deal, monkeypatch: pytest.MonkeyPatch) -> None:
    paid.market.storages[1].down = True
    paid.market.tees[2].core = None

    def dead(*_: object) -> None:
        raise UnavailableError("transport.down", "no answer", actor="light node")

    monkeypatch.setattr(paid.market.lights[0], "reencrypt", dead)
    monkeypatch.setattr(paid.market.lights[0], "get_block", dead)
    paid.fetch()
    paid.assert_same()


def test_a_light_node_that_is_gone_holds_no_receipts_and_no_cfrag_leaves(paid: Deal) -> None:
    """With two light operators, the death of one stops releases; it is said, and the trade goes on when it is back."""

    def dead(*_: object) -> None:
        raise UnavailableError("transport.down", "no answer", actor="light node")

    paid.market.acks.lies[paid.market.lights[1].parts.node_id] = dead  # type: ignore[assignment]
    error = refused(paid.fetch, UnavailableError, "trade.too-few-fragments", "tee node", "fragments")
    assert "tee.no-ack" in error.message
    paid.market.heal()
    paid.fetch()
    paid.assert_same()


def test_nodes_that_die_between_two_cfrags(deal: Deal) -> None:
    """One cfrag came, then both other nodes die: nothing opens; when one restarts and is resealed, it does."""
    market = deal.market
    market.tees[1].core = market.tees[2].core = None
    refused(deal.fetch, UnavailableError, "trade.too-few-fragments", "tee node", "fragments")
    deal.assert_clean()
    market.start_tee(market.tees[1])
    assert status(deal.provider, deal.order_id).live_shares == 2
    assert len(reseal(deal.provider, deal.order_id, market.examiner()).slots) == 1
    market.chain.mine(3)
    deal.fetch()
    deal.assert_same()


# ── back with new keys ──
@pytest.mark.parametrize("back", range(3))
def test_a_tee_node_that_comes_back_has_new_keys_and_is_resealed(tmp_path: Path, back: int) -> None:
    deal = deals.paid(tmp_path)
    market, tee = deal.market, deal.market.tees[back]
    before = market.chain.node(tee.node_id).current
    tee.core = None
    market.start_tee(tee)
    after = market.chain.node(tee.node_id).current
    assert (after.epoch, after.signing_address != before.signing_address) == (before.epoch + 1, True)
    for side in (deal.provider, deal.consumer):
        seen = status(side, deal.order_id)
        assert (seen.live_shares, seen.shares) == (2, 3)
        assert "2 of 3 shares live" in seen.detail
        assert [lost.node_id for lost in seen.lost] == [tee.node_id]
    assert suggests_reseal(deal, status(deal.provider, deal.order_id).next_command)
    done = reseal(deal.provider, deal.order_id, market.examiner())
    assert (len(done.slots), done.failed) == (1, ())
    market.chain.mine(3)
    seen = status(deal.provider, deal.order_id)
    assert (seen.live_shares, "shares live" in seen.detail) == (3, False)
    with pytest.raises(InputError) as caught:
        reseal(deal.provider, deal.order_id, market.examiner())
    assert caught.value.code == "trade.nothing-lost"
    other = market.tees[(back + 1) % 3]
    other.core = None  # now the resealed node is needed
    fetched = deal.fetch()
    deal.assert_same()
    assert {failure.node_id for failure in fetched.failed_nodes} == {other.node_id}
    accept(deal.consumer, deal.order_id)
    assert market.chain.order(deal.order_id).state is OrderState.SETTLED
    market.close()


def test_a_restarted_node_gives_nothing_before_reseal(deal: Deal) -> None:
    from tests.journeys.test_garbage_receipts import ask

    deal.market.start_tee(deal.market.tees[0])
    with pytest.raises(RefusedError) as caught:
        ask(deal, 0)
    assert (caught.value.code, caught.value.actor) == ("tee.key-destroyed", "provider")
    fetched = deal.fetch()
    deal.assert_same()
    assert {failure.node_id for failure in fetched.failed_nodes} == {deal.market.tees[0].node_id}


def test_the_next_day_every_node_is_new(deal: Deal) -> None:
    """All TEE nodes restarted: `0 of 3 shares live`, a refusal that says so, reseal, and the trade ends."""
    for tee in deal.market.tees:
        deal.market.start_tee(tee)
    seen = status(deal.provider, deal.order_id)
    assert "0 of 3 shares live" in seen.detail
    assert suggests_reseal(deal, seen.next_command)
    with pytest.raises(BridgeError) as caught:
        deal.fetch()
    assert caught.value.message.startswith("layer fragments: 0 of the 2 ")
    assert caught.value.message.count("tee.key-destroyed") == 3
    deal.assert_clean()
    assert len(reseal(deal.provider, deal.order_id, deal.market.examiner()).slots) == 3
    deal.market.chain.mine(3)
    deal.fetch()
    deal.assert_same()


def test_before_payment_a_restart_is_seen_and_resealed(tmp_path: Path) -> None:
    deal = deals.approved(tmp_path)
    deal.market.start_tee(deal.market.tees[1])
    error = refused(deal.pay, UnavailableError, "trade.accepts-missing", "tee node", "approval")
    assert "tee.key-destroyed" in error.message
    deal.assert_unpaid()
    assert len(reseal(deal.provider, deal.order_id, deal.market.examiner()).slots) == 1
    deal.market.chain.mine(3)
    deal.pay()
    deal.fetch()
    deal.assert_same()
    deal.market.close()


def test_a_reseal_to_a_node_that_is_down_is_told_and_done_later(deal: Deal) -> None:
    market = deal.market
    market.start_tee(market.tees[0])
    market.start_tee(market.tees[2])
    market.tees[2].core = None
    done = reseal(deal.provider, deal.order_id, market.examiner())
    assert len(done.slots) == 1
    assert [failure.node_id for failure in done.failed] == [market.tees[2].node_id]
    market.start_tee(market.tees[2])
    market.chain.mine(3)
    assert len(reseal(deal.provider, deal.order_id, market.examiner()).slots) == 1
    market.chain.mine(3)
    assert status(deal.provider, deal.order_id).live_shares == 3


def test_receipts_from_before_and_after_a_reseal_count_together(deal: Deal) -> None:
    """Node 0 gave its cfrag and receipt; node 1 restarted and was resealed; the light nodes still record both."""
    from tests.journeys.test_garbage_receipts import ask

    market = deal.market
    ask(deal, 0)
    market.start_tee(market.tees[1])
    reseal(deal.provider, deal.order_id, market.examiner())
    market.chain.mine(3)
    ask(deal, 1)
    market.chain.advance(60)
    market.lights[1].delivery.sweep()
    assert market.chain.order(deal.order_id).state is OrderState.DELIVERED
