"""The check of a light node's `StorageReceipt` before it goes into a listing (protocol §1, §3).

Promises: what passes names this body, at least two distinct registered storage nodes, and was signed by the light node it names.
Does not promise: that the blocks are still there; the buyer's sample and the audit look.
"""

from __future__ import annotations

from asset_bridge.chain.messages import Domain, recover, storage_receipt_digest
from asset_bridge.chain.records import NodeKind, StorageReceipt
from asset_bridge.errors import TamperedError
from asset_bridge.trade.ports import ChainReader

MIN_REPLICAS = 2


def check_storage_receipt(reader: ChainReader, receipt: StorageReceipt, body_digest: bytes, length_bytes: int) -> None:
    """Raises TamperedError(trade.storage-receipt) that says what is wrong."""
    if (receipt.body_digest, receipt.body_length) != (body_digest, length_bytes):
        raise _refused("is about another body")
    storage = set(receipt.storage_node_ids)
    if len(storage) != len(receipt.storage_node_ids) or len(storage) < MIN_REPLICAS:
        raise _refused(f"names fewer than {MIN_REPLICAS} storage nodes")
    if list(receipt.storage_node_ids) != sorted(storage):
        raise _refused("does not name its storage nodes in ascending order")
    known = {node.node_id for node in reader.nodes(NodeKind.STORAGE) if node.live}
    if not storage <= known:
        raise _refused("names a storage node that is not registered")
    lights = {node.node_id: node for node in reader.nodes(NodeKind.LIGHT)}
    light = lights.get(receipt.light_node_id)
    if light is None or receipt.epoch != light.current.epoch:
        raise _refused("names a light node that is not registered in that epoch")
    signer = recover(storage_receipt_digest(Domain(reader.chain_id, reader.ledger), receipt), receipt.signature)
    if signer != light.current.signing_address:
        raise _refused("was not signed by the light node it names")


def _refused(why: str) -> TamperedError:
    return TamperedError(
        "trade.storage-receipt",
        f"the light node's storage receipt {why}",
        hint="use another light node and run the command again",
        actor="light node",
    )
