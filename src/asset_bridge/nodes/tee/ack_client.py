"""Reaches light nodes over HTTP for their acks: endpoint document by its digest, then the URL that the operator signed.

Source: spec/node-http-tee.md §5. Promises: only URLs of a document whose digest the registry holds and whose operator signed it.
A provider is reached at the URL of his profile (its second format); one who does not answer is left alone for a minute.
Does not promise: that what a provider's URL names is his (his key's signature decides), or that he learns nothing of the node: its address.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from asset_bridge.chain.records import Ack, DeliveryReceipt, FetchSignature, Node, Order
from asset_bridge.errors import BridgeError, UnavailableError
from asset_bridge.ipld.cid import RAW, Cid
from asset_bridge.trade.directory import Connect, connect_pinned
from asset_bridge.trade.documents.endpoint import Endpoint
from asset_bridge.trade.documents.profile import ProfileDocument
from asset_bridge.trade.ports import BlockSource
from asset_bridge.trade.remote import RemoteLight
from asset_bridge.transport.client import Peer

MAX_ENDPOINT_BYTES = 64 * 1024
MOST_PROFILES = 1_000
LEFT_ALONE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class HttpAckSource:
    """`documents` serves blocks by CID (storage and light nodes); `connect` opens a peer at a URL under a name, `connect_provider` one
    that is given up soon, since a release waits for its answer, and that goes only where a stranger's URL may lead (transport.outward).
    """

    documents: BlockSource
    connect: Connect[Peer]
    chain_id: int
    registry: str
    connect_provider: Connect[Peer] | None = None
    monotonic: Callable[[], float] = time.monotonic
    _profiles: OrderedDict[bytes, bytes] = field(default_factory=OrderedDict)
    _silent: dict[str, float] = field(default_factory=dict)

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
        self, order: Order, profile_digest: bytes, fetch: FetchSignature, receipt: DeliveryReceipt
    ) -> tuple[bytes, Ack] | None:
        """The profile and its endpoint's answer, unverified; None where the profile names no URL or nobody answered there lately."""
        document = self._profile(profile_digest)
        url = ProfileDocument.decode(document).ack_url
        if not url or self.monotonic() < self._silent.get(url, 0.0):
            return None
        try:
            peer = (self.connect_provider or self.connect)(url, "the provider's ack endpoint")
            try:
                return document, RemoteLight(peer).acknowledge(order.order_id, fetch, receipt)
            finally:
                peer.close()
        except UnavailableError:
            if len(self._silent) >= MOST_PROFILES:
                self._silent.clear()
            self._silent[url] = self.monotonic() + LEFT_ALONE_SECONDS
            raise

    def _profile(self, digest: bytes) -> bytes:
        """The document of this digest, fetched once; blocks come verified against their CID."""
        found = self._profiles.get(digest)
        if found is None:
            found = self._profiles[digest] = self.documents.get_block(Cid(RAW, digest).to_bytes())
            while len(self._profiles) > MOST_PROFILES:
                self._profiles.popitem(last=False)
        return found

    def _endpoint(self, node: Node) -> Endpoint:
        if node.endpoint_length > MAX_ENDPOINT_BYTES:
            raise UnavailableError("tee.light-node", "an endpoint document is too long", actor="light node")
        found = Endpoint.decode(self.documents.get_block(Cid(RAW, node.endpoint_digest).to_bytes()))
        found.expect(node, self.chain_id, self.registry)
        return found
