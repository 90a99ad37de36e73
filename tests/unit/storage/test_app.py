"""The storage node over HTTP: the gateway's shapes, signed writes, receipts, a full disk."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest

from asset_bridge.chain.keys import AccountKey
from asset_bridge.chain.records import NodeKind
from asset_bridge.errors import BridgeError, TamperedError, UnavailableError
from asset_bridge.ipfs.embedded import EmbeddedStore
from asset_bridge.ipfs.store import put_document
from asset_bridge.ipld.car import read_car
from asset_bridge.ipld.unixfs import LEAF_BYTES
from asset_bridge.nodes.storage.app import registered_light_nodes
from asset_bridge.trade.unpin import UnpinReceipt, check_unpin
from asset_bridge.transport.wire import from_json
from tests.ports.test_blocks import blocks_of, code_of, content
from tests.support.peers import CHAIN_ID
from tests.support.storage import REGISTRY, StorageNode

DATA = content(2 * LEAF_BYTES + 9)
DAG, BLOCKS = blocks_of(DATA)


@pytest.fixture
def node() -> StorageNode:
    return StorageNode(1)


def upload(node: StorageNode) -> None:
    peer = node.peer()
    state = peer.post("/v1/bodies", {"root": str(DAG.root), "length": len(DATA)})
    assert state["missing"] == [str(DAG.root)]
    for cid, block in BLOCKS.items():
        peer.put_bytes(f"/v1/bodies/{DAG.root}/blocks/{cid}", block)
    done = peer.post(f"/v1/bodies/{DAG.root}/finish", {})
    assert done["complete"]
    assert done["node_id"] == "0x" + node.node_id.hex()


def http(node: StorageNode) -> httpx.Client:
    return httpx.Client(transport=node.transport, base_url=f"http://{node.host}")


def test_upload_and_gateway(node: StorageNode) -> None:
    upload(node)
    for cid, block in BLOCKS.items():
        assert node.gateway().get_block(cid.to_bytes()) == block
    answer = http(node).get(f"/ipfs/{DAG.leaves[0]}?format=raw")
    assert answer.headers["content-type"] == "application/vnd.ipld.raw"
    assert answer.headers["cache-control"] == "public, max-age=29030400, immutable"
    assert answer.headers["etag"] == f'"{DAG.leaves[0]}.raw"'
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["x-ipfs-roots"] == str(DAG.leaves[0])
    again = http(node).get(f"/ipfs/{DAG.leaves[0]}?format=raw", headers={"if-none-match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    by_accept = http(node).get(f"/ipfs/{DAG.root}", headers={"accept": "application/vnd.ipld.raw"})
    assert by_accept.content == BLOCKS[DAG.root]
    head = http(node).head(f"/ipfs/{DAG.leaves[0]}?format=raw")
    assert (head.status_code, head.headers["content-length"], head.content) == (200, str(LEAF_BYTES), b"")
    assert http(node).get("/ipfs/bafkqaaa?format=raw").content == b""


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/ipfs/Qm?format=raw", 400, "ipld.cid"),
        (f"/ipfs/{DAG.root}", 400, "ipfs.format"),
        (f"/ipfs/{DAG.root}?format=tar", 406, "ipfs.not-acceptable"),
        (f"/ipfs/{DAG.root}?format=car&dag-scope=x", 400, "ipfs.format"),
        (f"/ipfs/{DAG.root}?format=raw", 404, "ipfs.block-missing"),
        (f"/ipfs/{DAG.root}?format=car", 404, "ipfs.block-missing"),
        (f"/ipfs/{DAG.root}/a/b?format=raw", 404, "ipfs.block-missing"),
        (f"/ipfs/{DAG.root}?format=car&car-version=2", 400, "ipfs.format"),
        (f"/ipfs/{DAG.root}?format=car&entity-bytes=5:2", 400, "ipfs.format"),
    ],
)
def test_gateway_refusals(node: StorageNode, path: str, status: int, code: str) -> None:
    answer = http(node).get(path)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert http(node).head(path).status_code == status


def test_a_body_as_car(node: StorageNode) -> None:
    upload(node)
    answer = http(node).get(f"/ipfs/{DAG.root}?format=car")
    root, sections = read_car(io.BytesIO(answer.content).read)
    assert root == DAG.root
    assert [cid for cid, _block in sections] == [DAG.root, *DAG.leaves]
    one = http(node).get(f"/ipfs/{DAG.root}?format=car&dag-scope=block")
    assert [cid for cid, _block in read_car(io.BytesIO(one.content).read)[1]] == [DAG.root]


def test_only_named_accounts_write(node: StorageNode) -> None:
    for signer, code in ((None, "transport.unsigned"), (AccountKey(b"\x99" * 32), "storage.not-allowed")):
        peer = node.peer(signer)
        for call in (
            lambda peer=peer: peer.post("/v1/bodies", {"root": str(DAG.root), "length": 1}),
            lambda peer=peer: peer.get(f"/v1/bodies/{DAG.root}"),
            lambda peer=peer: peer.put_bytes(f"/v1/bodies/{DAG.root}/blocks/{DAG.root}", b"x"),
            lambda peer=peer: peer.post(f"/v1/bodies/{DAG.root}/finish", {}),
            lambda peer=peer: peer.delete(f"/v1/bodies/{DAG.root}"),
            lambda peer=peer: peer.get("/v1/inventory"),
        ):
            assert code_of(call) == code
    assert node.store.inventory() == ()


def test_the_default_writers_are_the_registered_light_nodes() -> None:
    def light(key: AccountKey, live: bool) -> SimpleNamespace:
        return SimpleNamespace(live=live, current=SimpleNamespace(signing_address=key.address))

    good, gone = AccountKey(b"\x31" * 32), AccountKey(b"\x32" * 32)
    nodes = [light(good, True), light(gone, False)]
    asked: list[NodeKind] = []
    now, down = 0.0, False

    def registered(kind: NodeKind) -> list[SimpleNamespace]:
        asked.append(kind)
        if down:
            raise UnavailableError("chain.endpoint-down", "The chain does not answer.")
        return nodes

    allow = registered_light_nodes(SimpleNamespace(nodes=registered), lambda: now)  # type: ignore[arg-type]
    for _ in range(3):
        allow(good.address)
    assert asked == [NodeKind.LIGHT]
    assert code_of(lambda: allow(gone.address)) == "storage.not-allowed"
    now, down = 20.0, True
    allow(good.address)  # the chain is down: who was known stays known
    assert code_of(lambda: allow(REGISTRY)) == "storage.not-allowed"
    now, down = 40.0, False
    nodes[0] = light(good, False)
    assert code_of(lambda: allow(good.address)) == "storage.not-allowed"
    nodes.append(light(gone, True))
    now = 42.0
    allow(gone.address)
    down = True
    fresh = registered_light_nodes(SimpleNamespace(nodes=registered), lambda: now)  # type: ignore[arg-type]
    assert code_of(lambda: fresh(good.address)) == "chain.endpoint-down"


def test_a_wrong_block_is_refused(node: StorageNode) -> None:
    peer = node.peer()
    peer.post("/v1/bodies", {"root": str(DAG.root), "length": len(DATA)})
    with pytest.raises(TamperedError) as caught:
        peer.put_bytes(f"/v1/bodies/{DAG.root}/blocks/{DAG.leaves[0]}", b"x")
    assert caught.value.code == "ipld.block"
    assert code_of(lambda: peer.post(f"/v1/bodies/{DAG.root}/finish", {})) == "ipfs.incomplete"


def test_deletion_gives_a_receipt_that_verifies(node: StorageNode) -> None:
    upload(node)
    assert node.peer().get("/v1/inventory")["bodies"] == [
        {"root": str(DAG.root), "length": len(DATA), "complete": True}
    ]
    receipt = from_json(UnpinReceipt, node.peer().delete(f"/v1/bodies/{DAG.root}")["receipt"], {"signature": 65})
    given = {"chain_id": CHAIN_ID, "registry": REGISTRY, "root": DAG.root, "node_id": node.node_id}
    check_unpin(receipt, signing_address=node.key.address, **given)
    for change in ({"root": DAG.leaves[0]}, {"chain_id": 1}, {"node_id": b"\x09" * 32}):
        with pytest.raises(BridgeError) as caught:
            check_unpin(receipt, signing_address=node.key.address, **{**given, **change})
        assert caught.value.code == "trade.unpin"
    assert code_of(lambda: node.gateway().get_block(DAG.root.to_bytes())) == "ipfs.block-missing"
    assert code_of(lambda: node.peer().delete(f"/v1/bodies/{DAG.root}")) == "ipfs.no-import"


def test_a_full_disk_shows_in_health_and_refuses_imports(tmp_path: Path) -> None:
    free = 10 * LEAF_BYTES
    store = EmbeddedStore(tmp_path, reserve_bytes=LEAF_BYTES, disk_free_bytes=lambda: free)
    put_document(store, b"kept")
    node = StorageNode(2, store, low_bytes=4 * LEAF_BYTES)
    assert http(node).get("/health").status_code == 200
    free = 3 * LEAF_BYTES
    answer = http(node).get("/health")
    assert (answer.status_code, answer.json()["reasons"][0]["code"]) == (503, "storage.disk-low")
    with pytest.raises(BridgeError) as caught:
        node.peer(attempts=1).post("/v1/bodies", {"root": str(DAG.root), "length": len(DATA)})
    assert caught.value.code == "ipfs.disk-full"
    assert str(len(DATA)) in caught.value.message
    assert http(node).get("/v1/info").json()["free_bytes"] == 2 * LEAF_BYTES


def test_a_damaged_block_is_not_served(node: StorageNode) -> None:
    upload(node)
    node.store.blocks[DAG.root][DAG.leaves[0]] = b"?"
    answer = http(node).get(f"/ipfs/{DAG.leaves[0]}?format=raw")
    assert (answer.status_code, answer.json()["code"]) == (422, "ipfs.block-damaged")
    with pytest.raises(TamperedError) as caught:
        node.gateway().get_block(DAG.leaves[0].to_bytes())
    assert (caught.value.code, caught.value.actor) == ("ipfs.gateway-block", node.name)
