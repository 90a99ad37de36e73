"""A storage node as the light node uses it: over HTTP, or a store in this process.

Source: spec/node-http.md §7. Promises: a state or a receipt that a storage node sends has its form; every block it serves has its CID.
Does not promise: that a storage node still holds what it says; the audit looks.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

from asset_bridge.chain.records import ZERO_ADDRESS
from asset_bridge.errors import BridgeError, InputError, UnavailableError
from asset_bridge.ipfs.gateway import Gateway
from asset_bridge.ipfs.store import BlockStore, ImportState
from asset_bridge.ipld.cid import Cid
from asset_bridge.trade.ports import Signer
from asset_bridge.trade.unpin import UnpinReceipt, sign_unpin
from asset_bridge.transport.client import Peer
from asset_bridge.transport.wire import from_json, integer_of

_STATE_BYTES = 1 << 20  # 4,096 names of missing blocks and the rest


class Replica(Protocol):
    """One storage node. `operator` is ZERO_ADDRESS where it is not known. Also a BlockSource."""

    name: str
    node_id: bytes
    operator: str

    def begin(self, root: Cid, length_bytes: int) -> ImportState: ...
    def state(self, root: Cid) -> ImportState: ...
    def put_block(self, root: Cid, cid: Cid, block: bytes) -> None: ...
    def finish(self, root: Cid) -> None: ...
    def get_block(self, cid: bytes) -> bytes: ...
    def remove(self, root: Cid) -> UnpinReceipt: ...
    def free_bytes(self) -> int: ...


class HttpReplica:
    """A storage node over HTTP; `peer` signs with the light node's key."""

    def __init__(self, node_id: bytes, peer: Peer, gateway: Gateway, *, operator: str = ZERO_ADDRESS) -> None:
        self.node_id, self.operator, self.name = node_id, operator, peer.name
        self._peer, self._gateway = peer, gateway

    def begin(self, root: Cid, length_bytes: int) -> ImportState:
        """See Replica."""
        body = {"root": str(root), "length": length_bytes}
        return self._state(root, self._peer.post("/v1/bodies", body, idempotent=True, max_bytes=_STATE_BYTES))

    def state(self, root: Cid) -> ImportState:
        """See Replica."""
        return self._state(root, self._peer.get(f"/v1/bodies/{root}", max_bytes=_STATE_BYTES))

    def put_block(self, root: Cid, cid: Cid, block: bytes) -> None:
        """See Replica."""
        self._peer.put_bytes(f"/v1/bodies/{root}/blocks/{cid}", block, sha256=cid.digest)  # uploads.py verified it

    def finish(self, root: Cid) -> None:
        """See Replica."""
        if not self._state(root, self._peer.post(f"/v1/bodies/{root}/finish", {}, idempotent=True)).complete:
            raise self._bad_reply()

    def get_block(self, cid: bytes) -> bytes:
        """See Replica."""
        return self._gateway.get_block(cid)

    def remove(self, root: Cid) -> UnpinReceipt:
        """See Replica."""
        answer = self._peer.delete(f"/v1/bodies/{root}")
        try:
            return from_json(UnpinReceipt, answer.get("receipt"), {"root": 36, "node_id": 32, "signature": 65})
        except InputError as error:
            raise self._bad_reply() from error

    def free_bytes(self) -> int:
        """See Replica."""
        try:
            return integer_of(self._peer.get("/v1/info").get("free_bytes"), -(2**53), 2**53)
        except InputError as error:
            raise self._bad_reply() from error

    def _state(self, root: Cid, answer: dict[str, Any]) -> ImportState:
        try:
            missing = answer["missing"]
            if answer["root"] != str(root) or not isinstance(missing, list) or not isinstance(answer["complete"], bool):
                raise self._bad_reply()
            return ImportState(
                root,
                integer_of(answer["length"]),
                answer["complete"],
                tuple(Cid.parse(str(text)) for text in missing),
                integer_of(answer["missing_count"]),
                integer_of(answer["done_bytes"]),
            )
        except (InputError, KeyError) as error:
            raise self._bad_reply() from error

    def _bad_reply(self) -> UnavailableError:
        return UnavailableError(
            "transport.reply",
            f"The answer of the {self.name} does not have its form.",
            hint="Use another.",
            actor=self.name,
        )


class StoreReplica:
    """A block store of this process as a storage node, for a trade in one process."""

    def __init__(
        self,
        node_id: bytes,
        store: BlockStore,
        *,
        key: Signer,
        chain_id: int,
        registry: str,
        clock: Callable[[], float],
        operator: str = ZERO_ADDRESS,
    ) -> None:
        self.node_id, self.operator, self.store = node_id, operator, store
        self.name = f"storage node 0x{node_id.hex()[:8]}"
        self._key, self._chain_id, self._registry, self._clock = key, chain_id, registry, clock

    def begin(self, root: Cid, length_bytes: int) -> ImportState:
        """See Replica."""
        return self.store.begin(root, length_bytes)

    def state(self, root: Cid) -> ImportState:
        """See Replica."""
        return self.store.state(root)

    def put_block(self, root: Cid, cid: Cid, block: bytes) -> None:
        """See Replica."""
        self.store.put_block(root, cid, block)

    def finish(self, root: Cid) -> None:
        """See Replica."""
        self.store.finish(root)

    def get_block(self, cid: bytes) -> bytes:
        """See Replica."""
        return self.store.get_block(Cid.from_bytes(cid))

    def remove(self, root: Cid) -> UnpinReceipt:
        """See Replica."""
        length = self.store.state(root).length_bytes
        self.store.remove(root)
        return sign_unpin(self._key, self._chain_id, self._registry, root, length, self.node_id, int(self._clock()))

    def free_bytes(self) -> int:
        """See Replica."""
        return self.store.free_bytes()


def try_each(calls: dict[bytes, Callable[[], Any]]) -> tuple[dict[bytes, Any], dict[bytes, BridgeError]]:
    """Run the calls of several replicas at once: results and failures by node id."""
    done: dict[bytes, Any] = {}
    failed: dict[bytes, BridgeError] = {}
    if not calls:
        return done, failed
    with ThreadPoolExecutor(max_workers=len(calls)) as pool:
        futures = {node_id: pool.submit(call) for node_id, call in calls.items()}
        for node_id, future in futures.items():
            try:
                done[node_id] = future.result()
            except BridgeError as error:
                failed[node_id] = error
    return done, failed
