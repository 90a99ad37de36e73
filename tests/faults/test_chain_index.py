"""The index is derived: deleted, rolled back or damaged, it becomes the same again (issue 3; fault rows F5, F9)."""

from __future__ import annotations

from pathlib import Path

import pytest

from asset_bridge.chain.adapter import RpcChain
from asset_bridge.chain.index import Index
from asset_bridge.chain.records import OrderState
from asset_bridge.chain.twin import ChainTwin
from tests.ports.chain_scene import MEASUREMENT, Scene
from tests.ports.chain_worlds import AnvilWorld, TwinWorld


def journey(scene: Scene) -> None:
    """Every kind of end that an order has."""
    scene.consumer.accept_delivery(scene.delivered().order_id)
    scene.provider.revoke(scene.paid().order_id)
    scene.provider.deny(scene.requested().order_id, bytes(32), 0)
    scene.consumer.cancel(scene.approved(body=scene.numbers(500)).order_id)


def rebuilt(world: AnvilWorld, path: Path) -> bytes:
    """The dump of an index that starts from nothing."""
    chain = RpcChain(world.deployment, [world.url], max_head_age_seconds=10**9, index_path=path)
    chain.index.update()
    dump = chain.index.dump()
    chain.close()
    return dump


@pytest.mark.needs_anvil
def test_deleted_after_a_journey_and_after_a_reorg_the_dump_is_equal(anvil_world: AnvilWorld, tmp_path: Path) -> None:
    scene = anvil_world.scene("journey before a reorg")
    chain = RpcChain(anvil_world.deployment, [anvil_world.url], max_head_age_seconds=10**9, index_path=tmp_path / "a")
    chain.index.update()
    journey(scene)
    chain.index.update()
    before = chain.index.dump()
    assert before.count(b'"event":"Listed"') == 4
    assert rebuilt(anvil_world, tmp_path / "b") == before

    anvil_world.rpc("anvil_reorg", 3, [])
    chain.index.update()
    after = chain.index.dump()
    assert after != before
    assert rebuilt(anvil_world, tmp_path / "c") == after
    anvil_world.mine(5)
    journey(scene)
    chain.index.update()
    assert rebuilt(anvil_world, tmp_path / "d") == chain.index.dump()
    chain.close()


@pytest.mark.needs_anvil
def test_a_damaged_or_foreign_file_is_made_anew(anvil_world: AnvilWorld, tmp_path: Path) -> None:
    whole = rebuilt(anvil_world, tmp_path / "a")
    (tmp_path / "a").write_bytes(b"this is not a database" * 100)
    assert rebuilt(anvil_world, tmp_path / "a") == whole
    foreign = ChainTwin()
    Index(tmp_path / "b", foreign.source).close()
    assert rebuilt(anvil_world, tmp_path / "b") == whole


@pytest.mark.parametrize("keep", [True, False], ids=["mined again", "dropped"])
@pytest.mark.parametrize("depth", range(1, 14))
def test_the_twins_index_follows_every_depth_of_reorg(depth: int, keep: bool, tmp_path: Path) -> None:
    world = TwinWorld(((255, MEASUREMENT),))
    scene = world.scene("reorg")
    index = Index(tmp_path / "index", world.twin.source)
    order = scene.paid()
    index.update()
    scene.provider.revoke(order.order_id)
    index.update()
    world.twin.reorg(depth, keep=keep)
    index.update()
    fresh = Index(None, world.twin.source)
    fresh.update()
    assert index.dump() == fresh.dump()
    if keep:
        assert scene.consumer.reader.order(order.order_id).state == OrderState.REVOKED
    else:
        assert b'"event":"Revoked"' not in index.dump()
