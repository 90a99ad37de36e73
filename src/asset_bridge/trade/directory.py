"""From a node of the registry to a connection: its endpoint document, fetched by digest, checked, remembered.

Source: protocol §2, spec/node-http.md §8. Promises: a URL is used only from a document whose digest stands in the registry and whose
signature is the operator's; documents come from any storage or light node, verified against their CID.
Does not promise: that the node answers there.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Protocol

from asset_bridge.chain.records import Node, NodeKind
from asset_bridge.ipfs.gateway import BlockSource
from asset_bridge.ipfs.multi import MultiSource
from asset_bridge.ipld.unixfs import body_cid
from asset_bridge.trade.desk import layer
from asset_bridge.trade.documents.endpoint import Endpoint
from asset_bridge.transport.client import Peer

_ROLES = {NodeKind.LIGHT: "light node", NodeKind.TEE: "tee node", NodeKind.STORAGE: "storage node"}


class Connect(Protocol):
    """Makes the connection to a URL; `name` is how errors call the node."""

    def __call__(self, url: str, name: str) -> Peer: ...


def node_name(node: Node) -> str:
    """How errors and reports call a node: its role and the first bytes of its id."""
    return f"{_ROLES[node.kind]} 0x{node.node_id.hex()[:8]}"


class Directory:
    """Connections to registered nodes.

    Args:
        chain_id, registry: what an endpoint document must name.
        sources: where endpoint documents come from; asked anew each time, as replicas come and go.
        connect: makes a Peer.
    """

    def __init__(
        self, chain_id: int, registry: str, sources: Callable[[], Sequence[BlockSource]], connect: Connect
    ) -> None:
        self._chain_id, self._registry, self._sources, self._connect = chain_id, registry, sources, connect
        self._lock = threading.Lock()
        self._known: dict[tuple[bytes, bytes], tuple[Endpoint, Peer]] = {}

    def endpoint(self, node: Node) -> Endpoint:
        """The node's checked endpoint document. Raises UnavailableError(ipfs.replicas-down), TamperedError(trade.endpoint)."""
        return self._find(node)[0]

    def peer(self, node: Node) -> Peer:
        """A connection to the node's first URL."""
        return self._find(node)[1]

    def _find(self, node: Node) -> tuple[Endpoint, Peer]:
        key = (node.node_id, node.endpoint_digest)
        with self._lock:
            found = self._known.get(key)
        if found is None:
            root = body_cid(node.endpoint_digest, node.endpoint_length)
            with layer("documents"):
                document = MultiSource(self._sources()).fetch_bytes(root, node.endpoint_length)
            endpoint = Endpoint.decode(document)
            endpoint.expect(node, self._chain_id, self._registry)
            found = (endpoint, self._connect(endpoint.urls[0], node_name(node)))
            with self._lock:
                self._known[key] = found
        return found
