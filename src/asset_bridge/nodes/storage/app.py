"""The embedded storage node as an HTTP service.

Source: spec/node-http.md §6 and §7, design §6. Promises: blocks to everybody, writes only by signed requests of accounts that `allow` lets
through; `finish` answers after the body is fsynced; a deletion is answered with a signed receipt.
Does not promise: to know what a body is; bodies, forms and descriptions are the same to it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from starlette.applications import Starlette

from asset_bridge import __version__
from asset_bridge.chain.records import NodeKind
from asset_bridge.errors import BridgeError, InputError, RefusedError, UnavailableError
from asset_bridge.ipfs.store import BlockStore, ImportState
from asset_bridge.ipld.cid import Cid
from asset_bridge.ipld.unixfs import LEAF_BYTES
from asset_bridge.nodes.storage.archives import MAX_ARCHIVE_BYTES, ArchiveRoutes, Archives
from asset_bridge.nodes.storage.gateway import gateway_routes
from asset_bridge.trade.ports import ChainReader, Signer
from asset_bridge.trade.unpin import sign_unpin
from asset_bridge.transport.calls import Answer, Call, Reason, Route, field_int, field_str
from asset_bridge.transport.server import Guard, build_app
from asset_bridge.transport.wire import to_json

LOOK_AGAIN_SECONDS = 15.0
BODY_SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "required": ["root", "length"],
    "properties": {"root": {"type": "string"}, "length": {"type": "integer", "minimum": 0}},
}


@dataclass(frozen=True, slots=True)
class StorageIdentity:
    """Who this node is in the NodeRegistry. `key` is its signing key."""

    node_id: bytes
    epoch: int
    key: Signer
    chain_id: int
    registry: str
    exchange: str


def build(
    store: BlockStore,
    identity: StorageIdentity,
    guard: Guard,
    *,
    allow: Callable[[str], None],
    low_bytes: int = 0,
    store_name: str = "embedded",
    on_stop: tuple[Callable[[], None], ...] = (),
) -> Starlette:
    """The node's app.

    Args:
        allow: raises RefusedError for an account that may not write.
        low_bytes: with less than this free, /health says so. store_name: what keeps the blocks, for /v1/info.
    """
    node = _Storage(store, identity, guard, low_bytes, store_name)

    def write(method: str, path: str, handler: Callable[[Call], Answer], summary: str, **more: Any) -> Route:
        return Route(method, path, handler, summary, signed=True, allow=allow, **more)

    routes = [
        *gateway_routes(store),
        write("POST", "/v1/bodies", node.begin, "Begin or resume an import", request=BODY_SCHEMA),
        write("GET", "/v1/bodies/{root}", node.state, "How far an import is"),
        write("PUT", "/v1/bodies/{root}/blocks/{cid}", node.put, "Add or repair a block", max_body_bytes=LEAF_BYTES),
        write("POST", "/v1/bodies/{root}/finish", node.finish, "Make the body durable"),
        write("DELETE", "/v1/bodies/{root}", node.remove, "Delete a body; answers with a signed receipt"),
        Route(
            "GET",
            "/v1/inventory",
            node.inventory,
            "Bodies and imports of this node, for writers and for its operator",
            signed=True,
            allow=lambda address: None if address == identity.key.address else allow(address),
        ),
    ]
    if isinstance(store, Archives):
        archives = ArchiveRoutes(store)
        routes += [
            write("PUT", "/v1/archives", archives.add, "Import any DAG as CAR", max_body_bytes=MAX_ARCHIVE_BYTES),
            write("GET", "/v1/archives", archives.list, "Imported archives"),
            write("DELETE", "/v1/archives/{name}", archives.remove, "Delete an imported archive"),
        ]
    return build_app(
        routes,
        title="Asset Bridge storage node",
        info=node.info,
        health=node.health,
        guard=guard,
        on_stop=(*on_stop, store.close),
    )


def only(accounts: frozenset[str]) -> Callable[[str], None]:
    """`allow` for a fixed set of accounts."""

    def allow(address: str) -> None:
        if address not in accounts:
            raise _not_a_writer()

    return allow


def registered_light_nodes(reader: ChainReader, clock: Callable[[], float] = time.monotonic) -> Callable[[str], None]:
    """`allow` for the signing key of every live light node of the registry.

    The registry is read at most every LOOK_AGAIN_SECONDS (an upload asks for each block), and once more, at most each second, before a
    key is turned away. While the chain does not answer, whoever was known stays known.
    """
    lock = threading.Lock()
    known: set[str] = set()
    looked_at = float("-inf")

    def look(now: float) -> None:
        nonlocal known, looked_at
        try:
            known = {node.current.signing_address for node in reader.nodes(NodeKind.LIGHT) if node.live}
        except UnavailableError:
            if not known:
                raise
        looked_at = now

    def allow(address: str) -> None:
        with lock:
            now = clock()
            if now - looked_at > (LOOK_AGAIN_SECONDS if address in known else 1.0):
                look(now)
            if address not in known:
                raise _not_a_writer()

    return allow


def state_json(state: ImportState) -> dict[str, Any]:
    """An import's state on the wire."""
    return {
        "root": str(state.root),
        "length": state.length_bytes,
        "complete": state.complete,
        "missing": [str(cid) for cid in state.missing],
        "missing_count": state.missing_count,
        "done_bytes": state.done_bytes,
    }


class _Storage:
    """The handlers."""

    def __init__(self, store: BlockStore, identity: StorageIdentity, guard: Guard, low_bytes: int, name: str) -> None:
        self._store, self._identity, self._guard, self._low_bytes = store, identity, guard, low_bytes
        self._name = name

    def info(self) -> dict[str, Any]:
        who = self._identity
        return {
            "kind": "storage",
            "node_id": to_json(who.node_id),
            "epoch": who.epoch,
            "chain_id": who.chain_id,
            "exchange": who.exchange,
            "registry": who.registry,
            "signing_address": who.key.address,
            "free_bytes": self._store.free_bytes(),
            "store": self._name,
            "version": __version__,
        }

    def health(self) -> list[Reason]:
        try:
            free = self._store.free_bytes()
        except BridgeError as error:
            return [Reason(error.code, error.message)]
        if free < self._low_bytes:
            text = (
                f"The disk has {max(0, free)} bytes free for bodies; below {self._low_bytes} this node counts as full."
            )
            return [Reason("storage.disk-low", text)]
        return []

    def begin(self, call: Call) -> Answer:
        obj = call.json()
        root = Cid.parse(field_str(obj, "root"))
        return Answer(json=state_json(self._store.begin(root, field_int(obj, "length", 0, 2**53 - 1))))

    def state(self, call: Call) -> Answer:
        return Answer(json=state_json(self._store.state(_root(call))))

    def put(self, call: Call) -> Answer:
        self._store.put_block(_root(call), Cid.parse(call.params["cid"]), call.body)
        return Answer(json={"stored": True})

    def finish(self, call: Call) -> Answer:
        root = _root(call)
        self._store.finish(root)
        return Answer(json={**state_json(self._store.state(root)), "node_id": to_json(self._identity.node_id)})

    def remove(self, call: Call) -> Answer:
        root, who = _root(call), self._identity
        length = next((info.length_bytes for info in self._store.inventory() if info.root == root), None)
        if length is None or not self._store.remove(root):
            raise InputError("ipfs.no-import", f"The body {root} is not here.")
        receipt = sign_unpin(who.key, who.chain_id, who.registry, root, length, who.node_id, int(self._guard.clock()))
        return Answer(json={"receipt": to_json(receipt)})

    def inventory(self, _call: Call) -> Answer:
        bodies = [
            {"root": str(info.root), "length": info.length_bytes, "complete": info.complete}
            for info in self._store.inventory()
        ]
        return Answer(json={"bodies": bodies, "free_bytes": self._store.free_bytes()})


def _root(call: Call) -> Cid:
    return Cid.parse(call.params["root"])


def _not_a_writer() -> RefusedError:
    return RefusedError(
        "storage.not-allowed",
        "This account may not write to this storage node.",
        hint="Ask its operator to name your light node's key in `writers`, or register the light node.",
        actor="operator",
    )
