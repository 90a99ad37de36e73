"""Start an embedded storage node. Source: design §6, spec/node-http.md §6."""

from __future__ import annotations

from asset_bridge.ipfs.embedded import EmbeddedStore
from asset_bridge.ipfs.store import put_document
from asset_bridge.nodes.launch.base import Started
from asset_bridge.nodes.storage.app import StorageIdentity, build, only, registered_light_nodes


def run(node: Started) -> None:
    """Register, then serve until a signal."""
    store = EmbeddedStore(node.file.data_folder / "blocks", reserve_bytes=node.file.reserve_bytes)
    document = node.endpoint()
    put_document(store, document)
    epoch = node.register_plain(document)
    identity = StorageIdentity(
        node_id=node.node_id,
        epoch=epoch,
        key=node.key,
        chain_id=node.network.chain_id,
        registry=node.chain.registry,
        exchange=node.chain.exchange,
    )
    guard = node.guard()
    writers = frozenset(node.file.writers)
    allow = only(writers) if writers else registered_light_nodes(node.chain)
    node.serve(build(store, identity, guard, allow=allow, low_bytes=2 * node.file.reserve_bytes), guard)
