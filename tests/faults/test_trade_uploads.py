"""Issue 3, must-show 3, in memory: the light node dropped in the middle of `publish` and made anew on the same folder; the upload goes on.

Counted: blocks that the provider sent, and blocks that each storage node took."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from asset_bridge.errors import BridgeError, UnavailableError
from asset_bridge.ipld.cid import Cid
from asset_bridge.ipld.unixfs import LEAF_BYTES
from asset_bridge.nodes.light.core import LightNodeCore
from asset_bridge.trade.desk import Desk
from asset_bridge.trade.publish import publish, resume, unfinished
from tests.journeys.support.market import Market, make_market
from tests.support.trade import plan_of


class Dying:
    """A light node in front of which blocks are counted, and which dies when it was sent so many."""

    def __init__(self, core: LightNodeCore, after: int | None) -> None:
        self.core, self.after, self.name = core, after, core.name
        self.sent: list[Cid] = []
        self.dead = False

    def __getattr__(self, name: str) -> Any:
        if self.dead:
            raise UnavailableError("transport.down", "the light node does not answer", actor="light node")
        return getattr(self.core, name)

    def upload(self, root: bytes, length: int, blocks: Any, purpose: str, progress: Any) -> None:
        def counted(cid: bytes) -> bytes:
            if self.after is not None and purpose == "body" and len(self.sent) == self.after:
                self.dead = True
                raise UnavailableError("transport.down", "the light node does not answer", actor="light node")
            block: bytes = blocks(cid)
            if purpose == "body":
                self.sent.append(Cid.from_bytes(cid))
            return block

        self.core.upload(root, length, counted, purpose, progress)


@pytest.fixture
def market(tmp_path: Path) -> Iterator[Market]:
    made = make_market(tmp_path / "market")
    yield made
    made.close()


def data_of(folder: Path, blocks: int = 5) -> Path:
    path = folder / "images.bin"
    path.write_bytes(b"".join(number.to_bytes(4, "big") * (LEAF_BYTES // 4) for number in range(blocks)))
    return path


def anew(market: Market, desk: Desk, dying: Dying) -> tuple[Desk, Dying]:
    """The light node's process again, on its folder: same name, same key, nothing in memory."""
    parts = dying.core.parts
    dying.core.close()
    core = market.start_light(parts.node_id, parts.key, parts.folder)  # type: ignore[arg-type]
    market.lights[0] = core
    again = Dying(core, None)
    return replace(desk, light=again), again  # type: ignore[arg-type]


def stored(market: Market, root: Cid) -> list[int]:
    return [len(storage.store.blocks.get(root, {})) for storage in market.storages]


@pytest.mark.parametrize("after", range(8))
def test_killed_after_each_block_and_made_anew_the_upload_goes_on(market: Market, tmp_path: Path, after: int) -> None:
    dying = Dying(market.lights[0], after)
    desk = replace(market.desk("provider"), light=dying)  # type: ignore[arg-type]
    work = market.folder_of("provider", "work")
    plan = plan_of(data_of(tmp_path))
    try:
        done = publish(desk, plan, work)
    except UnavailableError:
        (name,) = unfinished(desk)
        desk, again = anew(market, desk, dying)
        done = resume(desk, name, work)
        assert set(dying.sent).isdisjoint(again.sent)  # not one block is sent twice
        dying.sent += again.sent
    tree = desk.replicas.tree(done.body_cid, done.body_length_bytes)
    total = len(set(tree.leaves)) + len(tree.interior)
    assert len(dying.sent) == len(set(dying.sent)) == total
    assert stored(market, done.body_cid) == [total] * 3
    assert done.replicas == 3
    assert unfinished(desk) == []
    assert not list(work.iterdir())
    market.chain.asset(done.asset_id)


def test_killed_at_every_second_block_it_still_ends(market: Market, tmp_path: Path) -> None:
    dying = Dying(market.lights[0], 2)
    desk = replace(market.desk("provider"), light=dying)  # type: ignore[arg-type]
    work = market.folder_of("provider", "work")
    sent: list[Cid] = []
    with pytest.raises(UnavailableError):
        publish(desk, plan_of(data_of(tmp_path)), work)
    sent += dying.sent
    (name,) = unfinished(desk)
    deaths = 1
    while True:
        desk, dying = anew(market, desk, dying)
        dying.after = 2
        try:
            done = resume(desk, name, work)
        except UnavailableError:
            deaths += 1
            sent += dying.sent
            continue
        sent += dying.sent
        break
    assert deaths >= 3
    assert len(sent) == len(set(sent))
    assert stored(market, done.body_cid) == [len(sent)] * 3


def test_another_light_node_takes_over_and_sends_nothing_again(market: Market, tmp_path: Path) -> None:
    first = Dying(market.lights[0], 3)
    desk = replace(market.desk("provider"), light=first)  # type: ignore[arg-type]
    work = market.folder_of("provider", "work")
    with pytest.raises(UnavailableError):
        publish(desk, plan_of(data_of(tmp_path)), work)
    (name,) = unfinished(desk)
    second = Dying(market.lights[1], None)
    done = resume(replace(desk, light=second), name, work)  # type: ignore[arg-type]
    assert set(first.sent).isdisjoint(second.sent)
    assert market.chain.asset(done.asset_id).listing.receipt.light_node_id == market.lights[1].parts.node_id


@pytest.mark.parametrize("gone", range(3))
def test_a_storage_node_that_dies_during_the_upload_does_not_stop_it(market: Market, tmp_path: Path, gone: int) -> None:
    """Two replicas are enough for a listing, and the receipt names those two."""
    store = market.storages[gone].store
    taken = 0

    def put_block(root: Cid, cid: Cid, block: bytes) -> None:
        nonlocal taken
        taken += 1
        if taken > 3:
            market.storages[gone].down = True
            raise UnavailableError("transport.down", "no answer", actor="storage node")
        type(store).put_block(store, root, cid, block)

    store.put_block = put_block  # type: ignore[method-assign]
    done = publish(market.desk("provider"), plan_of(data_of(tmp_path)), market.folder_of("provider", "work"))
    named = market.chain.asset(done.asset_id).listing.receipt.storage_node_ids
    assert set(named) == set(market.storage_ids) - {market.storage_ids[gone]}


def test_two_storage_nodes_that_die_stop_it_and_it_goes_on_when_one_is_back(market: Market, tmp_path: Path) -> None:
    desk, work = market.desk("provider"), market.folder_of("provider", "work")
    dying = Dying(market.lights[0], None)
    for storage in market.storages[:2]:
        fail_after(storage, 3)
    with pytest.raises(BridgeError) as caught:
        publish(replace(desk, light=dying), plan_of(data_of(tmp_path)), work)  # type: ignore[arg-type]
    assert caught.value.actor == "storage node"
    (name,) = unfinished(desk)
    for storage in market.storages[:2]:
        del storage.store.put_block  # type: ignore[attr-defined]
    market.heal()
    done = resume(desk, name, work)
    assert done.replicas >= 2


def fail_after(storage: Any, count: int) -> None:
    taken = 0

    def put_block(root: Cid, cid: Cid, block: bytes) -> None:
        nonlocal taken
        taken += 1
        if taken > count:
            raise UnavailableError("transport.down", "no answer", actor="storage node")
        type(storage.store).put_block(storage.store, root, cid, block)

    storage.store.put_block = put_block
