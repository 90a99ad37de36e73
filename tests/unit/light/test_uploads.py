"""Uploads at the light node: resumed after a kill at any block, replicas that die or lie, receipts, audit, deletion."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from asset_bridge.chain.keys import AccountKey
from asset_bridge.chain.messages import Domain, recover, storage_receipt_digest
from asset_bridge.chain.records import NodeKind, OrderState
from asset_bridge.errors import BridgeError, UnavailableError
from asset_bridge.ipfs.store import put_document
from asset_bridge.ipld.cid import Cid
from asset_bridge.ipld.unixfs import LEAF_BYTES
from asset_bridge.nodes.light.core import LightNodeCore
from asset_bridge.nodes.light.replicas import StoreReplica
from asset_bridge.trade.unpin import check_unpin
from tests.ports.test_blocks import blocks_of, code_of, content
from tests.support.light import CHAIN_ID, LEDGER, ORDER_ID, REGISTRY, World, node
from tests.support.storage import WRITER, StorageNode

DATA = content(3 * LEAF_BYTES + 3)
DAG, BLOCKS = blocks_of(DATA)
PROVIDER = "0x6370eF2f4Db3611D657b90667De398a2Cc2a370C"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def dead(_request: Any) -> None:
    raise httpx.ConnectError("down")


def put_all(core: LightNodeCore) -> None:
    core.upload(
        DAG.root.to_bytes(),
        len(DATA),
        lambda cid: next(b for c, b in BLOCKS.items() if c.to_bytes() == cid),
        "body",
        None,
    )


def held(world: World) -> list[int]:
    return [
        s.number for s in world.storage if any(info.root == DAG.root and info.complete for info in s.store.inventory())
    ]


def test_an_upload_lies_on_three_nodes_and_comes_back(world: World) -> None:
    core = world.light()
    put_all(core)
    assert held(world) == [1, 2, 3]
    for cid, block in BLOCKS.items():
        assert core.get_block(cid.to_bytes()) == block
    receipt = core.storage_receipt(DAG.root.digest, len(DATA))
    assert set(receipt.storage_node_ids) == {s.node_id for s in world.storage}
    assert recover(storage_receipt_digest(Domain(CHAIN_ID, LEDGER), receipt), receipt.signature) == WRITER.address


def test_killed_after_each_block_it_goes_on(world: World) -> None:
    """Each step is done by a new light node on the same folder; the last ones even lost the folder."""
    order = [DAG.root, *DAG.leaves]
    for number, cid in enumerate(order):
        core = world.light()
        state = core.begin_upload(DAG.root, len(DATA), "body", PROVIDER)
        assert cid in state.missing
        assert len(state.missing) <= max(1, len(order) - number)
        core.uploads.put_block(DAG.root, cid, BLOCKS[cid])
        if number == 3:
            shutil.rmtree(world.folder / "light")
    core = world.light()
    assert core.begin_upload(DAG.root, len(DATA), "body", PROVIDER).missing == ()
    core.uploads.finish(DAG.root)
    assert held(world) == [1, 2, 3]
    core = world.light()
    assert core.begin_upload(DAG.root, len(DATA), "body", PROVIDER).complete
    assert core.storage_receipt(DAG.root.digest, len(DATA)).body_length == len(DATA)


def test_a_change_of_light_node_sends_nothing_again(world: World, tmp_path: Path) -> None:
    put_all(world.light())
    other = world.light(folder=tmp_path / "other")
    assert other.begin_upload(DAG.root, len(DATA), "body", PROVIDER).missing == ()
    other.uploads.finish(DAG.root)
    assert len(other.storage_receipt(DAG.root.digest, len(DATA)).storage_node_ids) == 3


def never(_cid: bytes) -> bytes:
    raise AssertionError("a block was asked of the provider")


def test_a_storage_node_that_holds_it_whole_gives_it_to_the_others(world: World) -> None:
    put_document(world.storage[1].store, DATA)
    core = world.light()
    core.upload(DAG.root.to_bytes(), len(DATA), never, "body", None)
    assert held(world) == [1, 2, 3]
    assert len(core.storage_receipt(DAG.root.digest, len(DATA)).storage_node_ids) == 3


def test_a_holder_that_gives_something_else_is_left_aside_and_the_provider_sends(world: World) -> None:
    put_document(world.storage[0].store, DATA)
    del world.storage[0].store.blocks[DAG.root][DAG.leaves[1]]
    core, sent = world.light(), []

    def block(cid: bytes) -> bytes:
        sent.append(Cid.from_bytes(cid))
        return BLOCKS[sent[-1]]

    core.upload(DAG.root.to_bytes(), len(DATA), block, "body", None)
    assert set(sent) <= {*DAG.leaves[1:], DAG.root}  # what was copied before the gap is not asked for
    assert DAG.leaves[1] in sent
    assert held(world) == [1, 2, 3]
    for stored in world.storage:  # what was sent has mended the holder as well
        assert stored.store.get_block(DAG.leaves[1]) == BLOCKS[DAG.leaves[1]]


def test_while_nobody_takes_the_copies_the_upload_says_why_and_goes_on_later(world: World) -> None:
    put_document(world.storage[0].store, DATA)
    core = world.light()

    body = json.dumps(UnavailableError("ipfs.disk-full", "full").as_json()).encode()

    def full(request: Any) -> Any:
        return httpx.Response(503, stream=httpx.ByteStream(body)) if "/blocks/" in str(request.url) else None

    world.storage[1].transport.fault = world.storage[2].transport.fault = full
    call = partial(core.upload, DAG.root.to_bytes(), len(DATA), never, "body", None)
    assert code_of(call) == "light.too-few-storage-nodes"
    world.storage[1].transport.fault = None
    call()
    assert held(world) == [1, 2]


def test_a_defect_while_copying_ends_the_upload_too(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    put_document(world.storage[0].store, DATA)
    core = world.light()

    def broken(*_given: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(core.uploads._copies, "_copy", broken)
    with pytest.raises(UnavailableError) as caught:
        core.upload(DAG.root.to_bytes(), len(DATA), never, "body", None)
    assert "ZeroDivisionError" in caught.value.message


def test_a_dead_storage_node_does_not_stop_an_upload(world: World) -> None:
    world.storage[1].transport.fault = dead
    core = world.light()
    put_all(core)
    assert held(world) == [1, 3]
    assert len(core.storage_receipt(DAG.root.digest, len(DATA)).storage_node_ids) == 2
    world.storage[1].transport.fault = None
    [finding] = core.audit()
    assert finding.missing_replicas == 0
    assert held(world) == [1, 2, 3]
    assert len(core.storage_receipt(DAG.root.digest, len(DATA)).storage_node_ids) == 3


def test_a_node_that_dies_in_the_middle_is_filled_up_later(world: World) -> None:
    core = world.light()
    core.begin_upload(DAG.root, len(DATA), "body", PROVIDER)
    for number, (cid, block) in enumerate(BLOCKS.items()):
        if number == 2:
            world.storage[2].transport.fault = dead
        core.uploads.put_block(DAG.root, cid, block)
    assert core.uploads.state(DAG.root).missing == ()
    core.uploads.finish(DAG.root)
    assert held(world) == [1, 2]
    world.storage[2].transport.fault = None
    core.audit()
    assert held(world) == [1, 2, 3]


def test_one_storage_node_is_not_enough(world: World) -> None:
    world.storage[0].transport.fault = world.storage[1].transport.fault = dead
    core = world.light()
    assert code_of(lambda: core.begin_upload(DAG.root, len(DATA), "body", PROVIDER)) == "light.too-few-storage-nodes"
    world.storage[1].transport.fault = None
    core.begin_upload(DAG.root, len(DATA), "body", PROVIDER)
    world.storage[1].transport.fault = dead
    assert (
        code_of(lambda: core.uploads.put_block(DAG.root, DAG.root, BLOCKS[DAG.root])) == "light.too-few-storage-nodes"
    )
    assert code_of(lambda: core.uploads.finish(DAG.root)) == "light.too-few-storage-nodes"


def test_a_node_that_says_stored_and_gives_junk_back_does_not_count(world: World) -> None:
    core = world.light()
    core.begin_upload(DAG.root, len(DATA), "body", PROVIDER)
    for cid, block in BLOCKS.items():
        core.uploads.put_block(DAG.root, cid, block)
    world.storage[0].transport.fault = lambda request: (
        httpx.Response(200, stream=httpx.ByteStream(b"junk")) if "/ipfs/" in str(request.url) else None
    )
    core.uploads.finish(DAG.root)
    receipt = core.storage_receipt(DAG.root.digest, len(DATA))
    assert set(receipt.storage_node_ids) == {world.storage[1].node_id, world.storage[2].node_id}
    world.storage[1].transport.fault = world.storage[0].transport.fault
    assert code_of(lambda: core.uploads.finish(DAG.root)) == "light.too-few-replicas"


def test_refusals(world: World) -> None:
    core = world.light()
    assert code_of(lambda: core.begin_upload(DAG.root, len(DATA), "else", PROVIDER)) == "light.purpose"
    assert code_of(lambda: core.begin_upload(DAG.root, 65 * 2**20, "document", PROVIDER)) == "light.purpose"
    assert code_of(lambda: core.begin_upload(DAG.root, 5, "body", PROVIDER)) == "ipfs.length"
    assert code_of(lambda: core.uploads.state(DAG.root)) == "light.no-upload"
    assert code_of(lambda: core.storage_receipt(DAG.root.digest, len(DATA))) == "light.not-stored"
    core.begin_upload(DAG.root, len(DATA), "body", PROVIDER)
    assert code_of(lambda: core.begin_upload(DAG.root, len(DATA) + 1, "body", PROVIDER)) == "ipfs.length"
    assert code_of(lambda: core.uploads.finish(DAG.root)) == "ipfs.incomplete"
    assert code_of(lambda: core.uploads.put_block(DAG.root, DAG.root, b"junk")) == "ipld.block"
    core.uploads.put_block(DAG.root, DAG.root, BLOCKS[DAG.root])
    other, blocks = blocks_of(content(5))
    assert code_of(lambda: core.uploads.put_block(DAG.root, other.root, blocks[other.root])) == "ipfs.foreign-block"


def test_a_receipt_names_registered_nodes_only(world: World) -> None:
    core = world.light()
    put_all(core)
    world.chain.node_list = [n for n in world.chain.node_list if n.node_id != world.storage[0].node_id]
    assert world.storage[0].node_id not in core.storage_receipt(DAG.root.digest, len(DATA)).storage_node_ids
    world.chain.node_list = []
    assert code_of(lambda: core.storage_receipt(DAG.root.digest, len(DATA))) == "light.too-few-storage-nodes"


def test_distinct_operators_come_first(world: World) -> None:
    for number, replica in enumerate(world.replicas):
        replica.operator = PROVIDER if number < 2 else LEDGER
    core = world.light(wanted_replicas=2)
    for _ in range(8):
        assert {replica.operator for replica in core.uploads.candidates()[:2]} == {PROVIDER, LEDGER}


@pytest.mark.parametrize("how", ["flip", "lost block", "lost body"])
@pytest.mark.parametrize("bad", [1, 2])
def test_the_audit_repairs_damage_from_a_good_replica(world: World, how: str, bad: int) -> None:
    core = world.light()
    put_all(core)
    for stored in world.storage[:bad]:
        for leaf in DAG.leaves:  # all of them, so that a sample cannot miss it
            if how == "flip":
                stored.store.blocks[DAG.root][leaf] = b"?" + BLOCKS[leaf][1:]
            elif how == "lost block":
                del stored.store.blocks[DAG.root][leaf]
        if how == "lost body":
            stored.store.remove(DAG.root)
    [finding] = core.audit()
    assert len(finding.good) == 3 - bad
    assert len(finding.repaired) == bad
    assert finding.missing_replicas == 0
    for stored in world.storage:
        assert stored.store.blocks[DAG.root] == BLOCKS
    [finding] = core.audit()
    assert len(finding.good) == 3


def test_three_replicas_damaged_in_different_blocks_repair_each_other(world: World) -> None:
    core = world.light()
    put_all(core)
    for number, stored in enumerate(world.storage):
        stored.store.blocks[DAG.root][DAG.leaves[number]] = b"?"
    core.audit()
    for stored in world.storage:
        assert stored.store.blocks[DAG.root] == BLOCKS


def test_a_lost_replica_is_replaced_and_a_total_loss_reported(tmp_path: Path) -> None:
    world = World(tmp_path, storage=4)
    core = world.light()
    put_all(core)
    first = held(world)
    assert len(first) == 3
    world.storage[first[0] - 1].transport.fault = dead
    [finding] = core.audit()
    assert finding.lost == (f"storage node {first[0]}",)
    assert finding.missing_replicas == 0
    assert len(held(world)) == 4
    for stored in world.storage:
        stored.transport.fault = dead
    [finding] = core.audit()
    assert finding.missing_replicas == 3
    assert "light.replicas-below-r" in [reason.code for reason in core.health()]


def test_deletion_needs_a_retired_idle_asset_of_the_asker(world: World) -> None:
    core = world.light()
    put_all(core)

    def asset(provider: str, retired: bool, busy_until: int) -> SimpleNamespace:
        return SimpleNamespace(
            provider=provider,
            retired=retired,
            busy_until=busy_until,
            asset_id=b"\xaa" * 32,
            listing=SimpleNamespace(body_digest=DAG.root.digest),
        )

    for assets, asker in (
        ([], PROVIDER),
        ([asset(PROVIDER, False, 0)], PROVIDER),
        ([asset(PROVIDER, True, int(world.now) + 1)], PROVIDER),
        ([asset(LEDGER, True, 0)], PROVIDER),
        ([asset(PROVIDER, True, 0), asset(LEDGER, False, 0)], PROVIDER),
    ):
        world.chain.asset_list = assets
        assert code_of(lambda asker=asker: core.unpin(DAG.root, asker)) == "light.unpin"
    world.chain.asset_list = [asset(PROVIDER, True, 0)]
    paid = world.chain.orders_by_id[ORDER_ID]
    world.chain.orders_by_id[ORDER_ID] = replace(paid, state=OrderState.APPROVED, pay_by=int(world.now) + 1)
    assert code_of(lambda: core.unpin(DAG.root, PROVIDER)) == "light.unpin"
    world.chain.orders_by_id[ORDER_ID] = replace(paid, state=OrderState.APPROVED, pay_by=int(world.now))
    world.storage[2].transport.fault = dead
    receipts, silent = core.unpin(DAG.root, PROVIDER)
    assert silent == ["storage node 3"]
    keys = {s.node_id: s.key.address for s in world.storage}
    for receipt in receipts:
        check_unpin(
            receipt, chain_id=CHAIN_ID, registry="0x6370eF2f4Db3611D657b90667De398a2Cc2a370C", root=DAG.root,
            node_id=receipt.node_id, signing_address=keys[receipt.node_id],
        )  # fmt: skip
    world.storage[2].transport.fault = None
    receipts, silent = core.unpin(DAG.root, PROVIDER)
    assert (len(receipts), silent, held(world)) == (1, [], [])
    assert code_of(lambda: core.unpin(DAG.root, PROVIDER)) == "light.no-upload"


def test_a_lying_storage_node_is_named(world: World) -> None:
    liar = world.replicas[0]
    for answer in ({}, {"root": "x"}, {"root": str(DAG.root), "missing": 1, "complete": True}):
        world.storage[0].transport.fault = lambda _request, answer=answer: httpx.Response(
            200, stream=httpx.ByteStream(json.dumps(answer).encode())
        )
        with pytest.raises(BridgeError) as caught:
            liar.begin(DAG.root, len(DATA))
        assert (caught.value.code, caught.value.actor) == ("transport.reply", "storage node 1")
    for call in (liar.free_bytes, lambda: liar.remove(DAG.root), lambda: liar.finish(DAG.root)):
        assert code_of(call) == "transport.reply"


def test_stores_of_this_process_serve_as_replicas(world: World) -> None:
    stores = [StorageNode(number) for number in (7, 8, 9)]
    world.replicas = [
        StoreReplica(
            s.node_id,
            s.store,
            key=AccountKey(b"\x44" * 32),
            chain_id=CHAIN_ID,
            registry=REGISTRY,
            clock=lambda: world.now,
        )
        for s in stores
    ]
    world.chain.node_list += [node(s.node_id, NodeKind.STORAGE, s.key) for s in stores]
    core = world.light()
    put_all(core)
    assert len(core.storage_receipt(DAG.root.digest, len(DATA)).storage_node_ids) == 3
    assert world.replicas[0].remove(DAG.root).length_bytes == len(DATA)
    assert world.replicas[0].free_bytes() > 0
