"""Reaches light nodes over HTTP for their acks: endpoint document by its digest, then the URL that the operator signed.

Source: spec/node-http-tee.md §5. Promises: only URLs of a document whose digest the registry holds and whose operator signed it.
Does not promise: to reach providers: a profile names the key for `Ack` and no URL in version 1, so an ack of a provider comes only through
an `AckSource` that knows a way.
"""

from __future__ import annotations

from dataclasses import dataclass

from asset_bridge.chain.records import Ack, DeliveryReceipt, FetchSignature, Node, Order
from asset_bridge.errors import BridgeError, UnavailableError
from asset_bridge.ipld.cid import RAW, Cid
from asset_bridge.trade.directory import Connect, connect_pinned
from asset_bridge.trade.documents.endpoint import Endpoint
from asset_bridge.trade.ports import BlockSource
from asset_bridge.trade.remote import RemoteLight
from asset_bridge.transport.client import Peer

MAX_ENDPOINT_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class HttpAckSource:
    """`documents` serves blocks by CID (storage and light nodes); `connect` opens a peer at a URL under a name."""

    documents: BlockSource
    connect: Connect[Peer]
    chain_id: int
    registry: str

    def acknowledge(self, node: Node, order_id: bytes, fetch: FetchSignature, receipt: DeliveryReceipt) -> Ack:
        """The light node's answer, unverified; UnavailableError(tee.light-node) when none of its URLs gave one."""
        name = f"light node 0x{node.node_id.hex()[:8]}"
        endpoint = self._endpoint(node)
        for url in endpoint.urls:
            try:
                peer = connect_pinned(self.connect, url, name, endpoint.tls_pin)
            except BridgeError:
                continue
            try:
                return RemoteLight(peer).acknowledge(order_id, fetch, receipt)
            except BridgeError:  # the next URL; the node's own words are not passed on
                continue
            finally:
                peer.close()
        raise UnavailableError("tee.light-node", f"{name} did not acknowledge", actor=name)

    def provider_ack(
        self,
        order: Order,  # noqa: ARG002 - the port's arguments
        profile_digest: bytes,  # noqa: ARG002
        fetch: FetchSignature,  # noqa: ARG002
        receipt: DeliveryReceipt,  # noqa: ARG002
    ) -> tuple[bytes, Ack] | None:
        """None: a version 1 profile says by which key, not where."""
        return None

    def _endpoint(self, node: Node) -> Endpoint:
        if node.endpoint_length > MAX_ENDPOINT_BYTES:
            raise UnavailableError("tee.light-node", "an endpoint document is too long", actor="light node")
        found = Endpoint.decode(self.documents.get_block(Cid(RAW, node.endpoint_digest).to_bytes()))
        found.expect(node, self.chain_id, self.registry)
        return found
