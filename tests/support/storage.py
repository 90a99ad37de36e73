"""Storage nodes inside the test process, over the real app."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from asset_bridge.chain.keys import AccountKey
from asset_bridge.ipfs.gateway import Gateway
from asset_bridge.ipfs.memory import InMemoryStore
from asset_bridge.nodes.storage.app import StorageIdentity, build, only
from tests.support.asgi import AsgiTransport
from tests.support.peers import CHAIN_ID, guard, peer

REGISTRY = "0x6370eF2f4Db3611D657b90667De398a2Cc2a370C"
WRITER = AccountKey(b"\x21" * 32)


class StorageNode:
    """One node: its store, its app, a gateway client and a signed peer of it. `fault` may replace any answer."""

    def __init__(self, number: int, store: Any = None, **changes: Any) -> None:
        self.number = number
        self.node_id = bytes([number]) * 32
        self.key = AccountKey(bytes([0x40 + number]) * 32)
        self.store = InMemoryStore() if store is None else store
        self.host = f"storage{number}.test"
        self.guard = guard(self.host)
        identity = StorageIdentity(self.node_id, 1, self.key, CHAIN_ID, REGISTRY, REGISTRY)
        allow = changes.pop("allow", only(frozenset({WRITER.address})))
        self.app = build(self.store, identity, self.guard, allow=allow, **changes)
        self.transport = _Faulty(self.app)
        self.name = f"storage node {number}"

    def gateway(self, **changes: Any) -> Gateway:
        return Gateway(f"http://{self.host}", self.name, transport=self.transport, **changes)

    def peer(self, signer: Any = WRITER, **changes: Any) -> Any:
        return peer(self.app, signer=signer, name=self.name, host=self.host, transport=self.transport, **changes)


class _Faulty(AsgiTransport):
    """Lets a test replace answers or raise instead."""

    fault: Callable[[Any], Any] | None = None
    requests = 0

    def handle_request(self, request: Any) -> Any:
        self.requests += 1
        if self.fault is not None and (answer := self.fault(request)) is not None:
            return answer
        return super().handle_request(request)
