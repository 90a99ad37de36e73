"""What operators of storage nodes are told: who may ask, what is said, how it is read, and what a person sees of it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from asset_bridge.chain.keys import AccountKey
from asset_bridge.chain.records import Node, NodeKind
from asset_bridge.cli.storage_table import storage_lines
from asset_bridge.client.storage import storage_status
from asset_bridge.errors import InputError, UnavailableError
from asset_bridge.ipld.unixfs import LEAF_BYTES
from asset_bridge.nodes.light.app import build
from asset_bridge.trade.remote import RemoteLight
from asset_bridge.trade.replica_report import AuditResult, FileReplicas, ReplicaReport
from tests.ports.test_blocks import blocks_of, code_of, content
from tests.support.light import World
from tests.support.peers import guard, peer
from tests.support.storage import StorageNode

DATA = content(2 * LEAF_BYTES + 3)
DAG, BLOCKS = blocks_of(DATA)
ROOT = str(DAG.root)
RESULT = AuditResult(("storage node 1",), ("storage node 2",), (), {"storage node 2": "ipfs.block-damaged"}, 0, (), 0)
REPORT = ReplicaReport(
    (FileReplicas(ROOT, 5, "body", (b"\1" * 32, b"\2" * 32), RESULT), FileReplicas(ROOT, 6, "document", (), None)),
    3,
    99,
)
LOST = AuditResult((), (), ("storage node 1",), {}, 3, (str(DAG.leaves[1]),), 1)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def upload(world: World) -> Any:
    core = world.light()
    blocks = {cid.to_bytes(): block for cid, block in BLOCKS.items()}
    core.upload(DAG.root.to_bytes(), len(DATA), blocks.__getitem__, "body", None)
    return core


def asking(app: Any, key: Any) -> RemoteLight:
    return RemoteLight(peer(app, signer=key, name="light node", host="light.test"))


def test_operators_of_storage_nodes_are_told_and_nobody_else(world: World) -> None:
    core = upload(world)
    app = build(core, guard("light.test"))
    stranger = AccountKey(b"\x91" * 32)
    assert code_of(lambda: asking(app, stranger).replicas()) == "light.not-an-operator"
    assert code_of(lambda: asking(app, None).replicas()) == "transport.unsigned"
    before = asking(app, world.storage[0].key).replicas()
    assert (before.wanted, before.audited_at, before.files[0].audit) == (3, 0, None)
    assert set(before.files[0].held_by) == {stored.node_id for stored in world.storage}
    for leaf in DAG.leaves:
        world.storage[1].store.blocks[DAG.root][leaf] = b"?"
    core.audit()
    after = asking(app, world.storage[0].key).replicas()
    assert after.audited_at == int(world.now)
    audit = after.files[0].audit
    assert audit is not None
    assert (audit.repaired, audit.damage) == (("storage node 2",), {"storage node 2": "ipfs.gateway-block"})


def test_a_storage_nodes_bodies_are_for_writers_and_its_operator(world: World) -> None:
    upload(world)
    stored = world.storage[0]
    assert [body["root"] for body in stored.peer(signer=stored.key).get("/v1/inventory")["bodies"]] == [ROOT]
    assert code_of(lambda: stored.peer(signer=world.storage[1].key).get("/v1/inventory")) == "storage.not-allowed"
    assert code_of(lambda: stored.peer(signer=stored.key).post("/v1/bodies", {"root": ROOT, "length": 5})) == (
        "storage.not-allowed"
    )


def test_the_report_is_read_back_as_it_was_sent() -> None:
    assert ReplicaReport.decode(REPORT.encode()) == REPORT


@pytest.mark.parametrize(
    "spoil",
    [
        lambda wire: wire.pop("files"),
        lambda wire: wire.update(wanted="three"),
        lambda wire: wire["files"].append(5),
        lambda wire: wire["files"][0].update(root="bafy"),
        lambda wire: wire["files"][0].update(length=-1),
        lambda wire: wire["files"][0].update(held_by=["0x12"]),
        lambda wire: wire["files"][0].update(held_by=None),
        lambda wire: wire["files"][0].update(purpose="\x1b[2J"),
        lambda wire: wire["files"][0]["audit"].update(damage=[]),
        lambda wire: wire["files"][0]["audit"].update(good=["x" * 201]),
        lambda wire: wire["files"][0]["audit"].update(missing_blocks=["x"]),
    ],
)
def test_another_form_is_refused(spoil: Callable[[dict[str, Any]], object]) -> None:
    wire = copy.deepcopy(REPORT.encode())
    spoil(wire)
    with pytest.raises(InputError):
        ReplicaReport.decode(wire)


def test_a_person_sees_space_bodies_copies_and_what_is_wrong(world: World) -> None:
    upload(world)
    nodes: list[Node] = [node for node in world.chain.node_list if node.kind is NodeKind.STORAGE]
    by_id: dict[bytes, StorageNode] = {stored.node_id: stored for stored in world.storage}
    own = world.storage[0]

    def down(_request: Any) -> None:
        raise httpx.ConnectError("down")

    world.storage[2].transport.fault = down  # type: ignore[assignment]

    class Light:
        name = "light node 1"

        def replicas(self) -> ReplicaReport:
            return ReplicaReport((*REPORT.files, FileReplicas(ROOT, 7, "body", (b"\1" * 32,), LOST)), 3, 99)

    class Silent:
        name = "light node 2"

        def replicas(self) -> ReplicaReport:
            raise UnavailableError("transport.down", "light node 2 does not answer")

    found = storage_status(
        nodes, own.key.address, lambda node: by_id[node.node_id].peer(signer=own.key, attempts=1), [Light(), Silent()]
    )
    assert [one.bodies is not None for one in found.nodes] == [True, False, False]
    text = "\n".join(storage_lines(found))
    assert "embedded" in text
    assert "does not answer" in text
    for line in (
        f"{ROOT}  storage node 2: ipfs.block-damaged",
        f"{ROOT}  repaired: storage node 2",
        f"{ROOT}  lost: storage node 1",
        f"{ROOT}  no replica gives block {DAG.leaves[1]}",
        "light node 2: no list of replicas (light node 2 does not answer)",
    ):
        assert line in text
    rows = [line for line in text.splitlines() if line.startswith(ROOT)]
    assert any(line.endswith("1 blocks lost") for line in rows)
    assert any(line.endswith("1 short") for line in rows)
    assert any("2.1 MB" in line and line.endswith("whole") for line in rows)
