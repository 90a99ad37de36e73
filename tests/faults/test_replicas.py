"""r = 3: any two replicas stopped, deleted, zeroed or bit-flipped cost nothing but time; all three damaged is said with what is missing.

On embedded nodes and on three real kubos, behind the real storage app and the real light node.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from asset_bridge.errors import BridgeError, UnavailableError
from asset_bridge.ipfs.embedded import EmbeddedStore
from asset_bridge.ipfs.kubo.daemon import KuboDaemon
from asset_bridge.ipfs.kubo.store import PIN_NAME
from asset_bridge.ipfs.multi import MultiSource
from asset_bridge.ipld.cid import Cid
from asset_bridge.ipld.unixfs import LEAF_BYTES
from asset_bridge.nodes.light import audit as audits
from asset_bridge.nodes.light.core import LightNodeCore
from asset_bridge.trade.unpin import check_unpin
from tests.ports.test_blocks import blocks_of, code_of, content
from tests.support.kubo import block_file, store_of
from tests.support.light import CHAIN_ID, World
from tests.support.storage import REGISTRY, StorageNode

DATA = content(2 * LEAF_BYTES + 9, 11)
DAG, BLOCKS = blocks_of(DATA)
PROVIDER = "0x6370eF2f4Db3611D657b90667De398a2Cc2a370C"
PAIRS = list(itertools.combinations(range(3), 2))


class Place:
    """Three storage nodes of one kind, and how to damage what they keep."""

    def __init__(self, world: World, folder: Path, daemons: list[KuboDaemon]) -> None:
        self.world, self._folder, self._daemons = world, folder, daemons

    def damage(self, number: int, how: str, cids: tuple[Cid, ...] = DAG.leaves) -> None:
        """Do it to these leaves of one node, behind its back."""
        for cid in cids:
            if self._daemons:
                path, at, size = block_file(self._daemons[number], cid), 0, len(BLOCKS[cid])
            else:
                path = self._folder / f"embedded-{number}" / "bodies" / str(DAG.root) / "body"
                at, size = DAG.leaves.index(cid) * LEAF_BYTES, len(BLOCKS[cid])
            if how == "deleted" and self._daemons:
                path.unlink()
                continue
            with open(path, "r+b") as kept:
                kept.seek(at)
                old = kept.read(size)
                kept.seek(at)
                kept.write(bytes(size) if how in ("zeroed", "deleted") else old[:-1] + bytes([old[-1] ^ 1]))


@pytest.fixture(params=["embedded", pytest.param("kubo", marks=pytest.mark.needs_kubo)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    daemons: list[KuboDaemon] = request.getfixturevalue("kubo_trio") if request.param == "kubo" else []
    if not daemons:
        stores: list[Any] = [EmbeddedStore(tmp_path / f"embedded-{n}", reserve_bytes=0) for n in range(3)]
        yield Place(World(tmp_path, stores=stores), tmp_path, [])
        for store in stores:
            store.close()
        return
    with (
        store_of(daemons[0], tmp_path) as one,
        store_of(daemons[1], tmp_path) as two,
        store_of(daemons[2], tmp_path) as three,
    ):
        yield Place(World(tmp_path, stores=[one, two, three]), tmp_path, daemons)


def dead(_request: Any) -> None:
    raise httpx.ConnectError("down")


def stop(stored: StorageNode) -> None:
    stored.transport.fault = dead  # type: ignore[assignment]


def upload(core: LightNodeCore) -> None:
    blocks = {cid.to_bytes(): block for cid, block in BLOCKS.items()}
    core.upload(DAG.root.to_bytes(), len(DATA), blocks.__getitem__, "body", None)


def deliver(place: Place, target: Path) -> bytes:
    sources = [stored.gateway(timeout_seconds=5) for stored in place.world.storage]
    MultiSource(sources).fetch_file(DAG.root, len(DATA), target)
    found = target.read_bytes()
    target.unlink()
    return found


@pytest.mark.parametrize("how", ["stopped", "deleted", "zeroed", "bit-flipped"])
def test_any_two_of_three_may_fail(place: Place, how: str, tmp_path: Path) -> None:
    core = place.world.light()
    upload(core)
    for pair in PAIRS:
        for number in pair:
            if how == "stopped":
                stop(place.world.storage[number])
            else:
                place.damage(number, how)
        assert deliver(place, tmp_path / "got") == DATA
        [finding] = core.audit()
        assert len(finding.good) == 1
        assert {name for name, _code in finding.damage} == {place.world.storage[number].name for number in pair}
        if how == "stopped":
            assert finding.missing_replicas == 2
            assert "light.replicas-below-r" in [reason.code for reason in core.health()]
            for stored in place.world.storage:
                stored.transport.fault = None
            core.audit()
        else:
            assert (len(finding.repaired), finding.missing_replicas) == (2, 0)
        [finding] = core.audit()
        assert (len(finding.good), finding.missing_replicas, finding.damage) == (3, 0, ())
        for stored in place.world.storage:
            assert all(stored.store.get_block(cid) == block for cid, block in BLOCKS.items())


def test_all_three_damaged_is_said_with_what_is_missing(place: Place, tmp_path: Path) -> None:
    core = place.world.light()
    upload(core)
    lost = DAG.leaves[2]
    for number, how in enumerate(("deleted", "zeroed", "bit-flipped")):
        place.damage(number, how, (lost,))
    place.damage(0, "zeroed", (DAG.leaves[1],))
    with pytest.raises(BridgeError) as caught:
        deliver(place, tmp_path / "got")
    assert caught.value.code == "ipfs.replicas-damaged"
    assert str(lost) in caught.value.message
    assert str(DAG.leaves[1]) not in caught.value.message
    assert not (tmp_path / "got").exists()
    [finding] = core.audit()
    assert (finding.missing_blocks, finding.missing_count, finding.missing_replicas) == ((lost,), 1, 3)
    assert place.world.storage[0].store.get_block(DAG.leaves[1]) == BLOCKS[DAG.leaves[1]]  # what could be mended was
    [reason] = [reason for reason in core.health() if reason.code == "light.blocks-lost"]
    assert str(lost) in reason.message
    [file] = core.replicas().files
    assert file.audit is not None
    assert file.audit.missing_blocks == (str(lost),)
    # One good copy of the block anywhere brings all three back.
    place.world.storage[1].store.put_block(DAG.root, lost, BLOCKS[lost])
    core.audit()
    [finding] = core.audit()
    assert (len(finding.good), finding.missing_count) == (3, 0)
    assert deliver(place, tmp_path / "got") == DATA


def test_a_lost_body_comes_back_and_deletion_is_receipted(place: Place) -> None:
    world = place.world
    core = world.light()
    upload(core)
    world.storage[0].store.remove(DAG.root)
    [finding] = core.audit()
    assert (finding.repaired, finding.missing_replicas) == ((world.storage[0].name,), 0)
    asset = SimpleNamespace(
        provider=PROVIDER, retired=True, busy_until=int(world.now) + 9, asset_id=b"\xaa" * 32,
        listing=SimpleNamespace(body_digest=DAG.root.digest),
    )  # fmt: skip
    world.chain.asset_list = [asset]
    assert code_of(lambda: core.unpin(DAG.root, PROVIDER)) == "light.unpin"  # a paid order relies on it
    world.now += 10
    receipts, silent = core.unpin(DAG.root, PROVIDER)
    assert (len(receipts), silent) == (3, [])
    keys = {stored.node_id: stored.key.address for stored in world.storage}
    for receipt in receipts:
        check_unpin(
            receipt, chain_id=CHAIN_ID, registry=REGISTRY, root=DAG.root,
            node_id=receipt.node_id, signing_address=keys[receipt.node_id],
        )  # fmt: skip
    for stored in world.storage:
        assert stored.store.inventory() == ()
        assert code_of(lambda stored=stored: stored.store.get_block(DAG.leaves[0])) == "ipfs.block-missing"
        if hasattr(stored.store, "_rpc"):
            assert stored.store._rpc.pins(PIN_NAME) == {}


def test_a_replica_that_was_away_counts_again_and_helps(tmp_path: Path) -> None:
    """Two nodes away, the third then damaged: the two that come back mend it, though they were crossed off."""
    world = World(tmp_path)
    core = world.light()
    upload(core)
    for stored in world.storage[:2]:
        stop(stored)
    assert core.audit()[0].missing_replicas == 2
    for stored in world.storage[:2]:
        stored.transport.fault = None
    for leaf in DAG.leaves:
        world.storage[2].store.blocks[DAG.root][leaf] = b"?"
    [finding] = core.audit()
    assert (len(finding.good), len(finding.repaired), finding.missing_replicas) == (2, 1, 0)


def test_each_block_is_read_within_its_rounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when chance never draws it: the reading in order comes to every block."""
    world = World(tmp_path)
    core = world.light(randbytes=lambda count: bytes(count))
    upload(core)
    world.storage[1].store.blocks[DAG.root][DAG.leaves[-1]] = b"?"
    rounds = math.ceil(len(DAG.leaves) / 2)
    found = [audits.audit(core.uploads, blocks=2)[0] for _ in range(rounds)]
    assert [len(finding.repaired) for finding in found].count(1) == 1
    assert found[0].repaired == ()


def test_a_new_copy_goes_to_another_operator_and_where_there_is_room(tmp_path: Path) -> None:
    world = World(tmp_path, storage=4)
    core = world.light()
    for replica, operator in zip(world.replicas, ("a", "a", "b", "c"), strict=True):
        replica.operator = operator
    for replica, free in zip(world.replicas, (10, 30, 30, 30), strict=True):
        replica.free_bytes = lambda free=free: free  # type: ignore[method-assign]
    beside = [world.replicas[2]]
    drawn = [core.uploads.candidates(beside, beside) for _ in range(400)]
    assert all({replica.operator for replica in order[:2]} == {"a", "c"} for order in drawn)
    first = sum(order[0] is world.replicas[0] for order in drawn) / len(drawn)
    assert 0.08 < first < 0.21  # 1/7 of the room

    def away() -> int:
        raise UnavailableError("transport.down", "It does not answer.", actor="storage node")

    world.replicas[3].free_bytes = away  # type: ignore[method-assign]
    assert all(core.uploads.candidates()[-1] in (world.replicas[3], *world.replicas[:2]) for _ in range(20))
