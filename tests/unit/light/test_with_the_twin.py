"""The light node over the chain twin and the real index: registration as storage writer, receipts, events."""

from __future__ import annotations

from pathlib import Path

from asset_bridge.chain.index import Index
from asset_bridge.chain.keys import AccountKey
from asset_bridge.chain.records import NodeKind, Vendor
from asset_bridge.chain.twin import ChainTwin
from asset_bridge.chain.twin.chain import TwinSource
from asset_bridge.ipfs.store import put_document
from asset_bridge.nodes.light.app import build
from asset_bridge.nodes.storage.app import registered_light_nodes
from asset_bridge.trade.remote import RemoteLight
from asset_bridge.trade.storage_receipt import check_storage_receipt
from tests.ports.test_blocks import blocks_of, content
from tests.support.light import World
from tests.support.peers import guard, peer
from tests.support.storage import WRITER

DATA = content(2_000_000)
DAG, BLOCKS = blocks_of(DATA)


def register(chain: ChainTwin, operator: AccountKey, kind: NodeKind, signing: AccountKey, salt: bytes) -> bytes:
    chain.fund(operator.address, 10**20)
    node_id, _sent = chain.account(operator).register_node(
        salt=salt,
        kind=kind,
        endpoint_digest=b"\1" * 32,
        endpoint_length=1,
        signing_address=signing.address,
        vendor=Vendor.NONE,
        measurement_id=bytes(32),
        platform_id=bytes(32),
        evidence_digest=bytes(32),
        expires_at=chain.now_at + 80_000,
        stake_wei=chain.minimum_stake_wei(),
    )
    return node_id


def test_a_storage_receipt_that_the_story_accepts(tmp_path: Path) -> None:
    chain = ChainTwin()
    operator = AccountKey(b"\x0a" * 32)
    world = World(tmp_path)
    for replica, stored in zip(world.replicas, world.storage, strict=True):
        replica.node_id = register(chain, operator, NodeKind.STORAGE, stored.key, bytes([stored.number]) * 32)
    light_id = register(chain, operator, NodeKind.LIGHT, WRITER, b"\x99" * 32)
    registered_light_nodes(chain)(WRITER.address)
    chain.mine(3)
    index = Index(None, TwinSource(chain, chain.deployment))
    index.update()
    core = world.light(reader=chain, index=index, node_id=light_id, account=None, clock=lambda: float(chain.now_at))
    light = RemoteLight(peer(build(core, guard("light.test")), signer=operator, name="light node", host="light.test"))
    light.upload(
        DAG.root.to_bytes(),
        len(DATA),
        lambda cid: next(b for c, b in BLOCKS.items() if c.to_bytes() == cid),
        "body",
        None,
    )
    receipt = light.storage_receipt(DAG.root.digest, len(DATA))
    check_storage_receipt(chain, receipt, DAG.root.digest, len(DATA))
    assert core.health() == []
    events = list(light.events(0))
    assert [event["event"] for event in events].count("NodeRegistered") == 4
    assert light.catalog() == []
    assert put_document(world.storage[0].store, DATA) == DAG.root
