"""From a node of the registry to a connection: its endpoint document, fetched by digest, checked, remembered.

Source: protocol §2, spec/node-http.md §8. Promises: a URL is used only from a document whose digest stands in the registry and whose
signature is the operator's; documents come from any storage or light node, verified against their CID; where the document (or
network.toml) pins a TLS key, only a server with that key is talked to.
Does not promise: that the node answers there.
"""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar
from urllib.parse import urlsplit

from asset_bridge.chain.records import Node, NodeKind
from asset_bridge.ipfs.gateway import BlockSource
from asset_bridge.ipfs.multi import MultiSource
from asset_bridge.ipld.unixfs import body_cid
from asset_bridge.trade.desk import layer
from asset_bridge.trade.documents.endpoint import Endpoint
from asset_bridge.transport.client import Peer
from asset_bridge.transport.tls import pinned_context

_Made = TypeVar("_Made", covariant=True)
_ROLES = {NodeKind.LIGHT: "light node", NodeKind.TEE: "tee node", NodeKind.STORAGE: "storage node"}


class Connect(Protocol[_Made]):
    """Makes the connection to a URL; `name` is how errors call the node, `verify` how its TLS certificate is verified."""

    def __call__(self, url: str, name: str, verify: ssl.SSLContext | bool = True) -> _Made: ...


def connect_pinned(connect: Connect[_Made], url: str, name: str, tls_pin: bytes | None) -> _Made:
    """A connection that accepts only the pinned TLS key; without a pin the usual authorities decide.

    Raises:
        TamperedError(transport.pin): a server with another key answers there. UnavailableError(transport.down): none does.
    """
    parts = urlsplit(url)
    if tls_pin is None or parts.scheme != "https":
        return connect(url, name)
    return connect(url, name, verify=pinned_context(parts.hostname or "", parts.port or 443, tls_pin))


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
        self, chain_id: int, registry: str, sources: Callable[[], Sequence[BlockSource]], connect: Connect[Peer]
    ) -> None:
        self._chain_id, self._registry, self._sources, self._connect = chain_id, registry, sources, connect
        self._lock = threading.Lock()
        self._known: dict[tuple[bytes, bytes], Endpoint] = {}
        self._peers: dict[tuple[bytes, bytes], Peer] = {}

    def endpoint(self, node: Node) -> Endpoint:
        """The node's checked endpoint document. Raises UnavailableError(ipfs.replicas-down), TamperedError(trade.endpoint)."""
        key = (node.node_id, node.endpoint_digest)
        with self._lock:
            found = self._known.get(key)
        if found is None:
            root = body_cid(node.endpoint_digest, node.endpoint_length)
            with layer("documents"):
                document = MultiSource(self._sources()).fetch_bytes(root, node.endpoint_length)
            found = Endpoint.decode(document)
            found.expect(node, self._chain_id, self._registry)
            with self._lock:
                self._known[key] = found
        return found

    def peer(self, node: Node) -> Peer:
        """A connection to the node's first URL. Raises as `endpoint` and `connect_pinned` do."""
        key = (node.node_id, node.endpoint_digest)
        with self._lock:
            made = self._peers.get(key)
        if made is None:
            endpoint = self.endpoint(node)
            made = connect_pinned(self._connect, endpoint.urls[0], node_name(node), endpoint.tls_pin)
            with self._lock:
                self._peers[key] = made
        return made
