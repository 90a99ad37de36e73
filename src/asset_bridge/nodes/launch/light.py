"""Start a light node. Source: design §6, spec/node-http.md §9."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import httpx

from asset_bridge.chain.records import Node, NodeKind
from asset_bridge.errors import BridgeError, UnavailableError
from asset_bridge.ipld.unixfs import file_dag
from asset_bridge.nodes.launch.base import Started, gateway
from asset_bridge.nodes.light.app import build
from asset_bridge.nodes.light.core import LightNodeCore, LightParts
from asset_bridge.nodes.light.delivery import ReceiptHolder
from asset_bridge.nodes.light.replicas import HttpReplica
from asset_bridge.nodes.light.workers import Workers
from asset_bridge.trade.directory import Directory, connect_pinned, node_name
from asset_bridge.trade.ports import TeeNode
from asset_bridge.trade.remote import RemoteLight, RemoteTee

LOOK_AGAIN_SECONDS, SOON_SECONDS = 15.0, 0.5
START_SECONDS = 60.0
WEBHOOK_SECONDS = 10.0


class StorageNodes:
    """The live storage nodes of the registry, looked up again every few seconds; a node that cannot be found is left out."""

    def __init__(self, node: Started, directory: Directory, clock: Callable[[], float] = time.monotonic) -> None:
        self._node, self._directory, self._clock = node, directory, clock
        self._lock = threading.Lock()
        self._known: dict[bytes, tuple[bytes, HttpReplica]] = {}
        self._looked_at: float | None = None

    def __call__(self) -> list[HttpReplica]:
        """The replicas known now."""
        with self._lock:
            if self._looked_at is None or self._clock() - self._looked_at > LOOK_AGAIN_SECONDS:
                self._look()
            return [replica for _, replica in self._known.values()]

    def _look(self) -> None:
        try:
            registered = [one for one in self._node.chain.nodes(NodeKind.STORAGE) if one.live]
        except BridgeError:
            return  # the chain is down: those that were known stay
        found: dict[bytes, tuple[bytes, HttpReplica]] = {}
        for one in registered:
            known = self._known.get(one.node_id)
            if known is not None and known[0] == one.endpoint_digest:
                found[one.node_id] = known
                continue
            try:
                endpoint = self._directory.endpoint(one)
                url, name = endpoint.urls[0], node_name(one)
                served = connect_pinned(gateway, url, name, endpoint.tls_pin)
                replica = HttpReplica(one.node_id, self._directory.peer(one), served, operator=one.operator)
            except BridgeError:
                continue
            found[one.node_id] = (one.endpoint_digest, replica)
        self._known = found
        complete = len(found) == len(registered) and len(found) >= self._node.file.replicas
        self._looked_at = self._clock() - (0.0 if complete else LOOK_AGAIN_SECONDS - SOON_SECONDS)


def post_webhook(url: str, event: Mapping[str, Any]) -> None:
    """Send one event to a URL of the operator's list; UnavailableError(light.webhook) unless it answered with 2xx."""
    try:
        answer = httpx.post(url, json=dict(event), timeout=WEBHOOK_SECONDS, follow_redirects=False, trust_env=False)
    except httpx.HTTPError:
        answer = None
    if answer is None or not answer.is_success:
        raise UnavailableError("light.webhook", "a webhook did not take its event", actor="operator")


def publish_document(core: LightNodeCore, document: bytes) -> None:
    """Put the endpoint document on the storage nodes; waits a while for storage nodes that are just starting."""
    root = file_dag(document).root.to_bytes()
    until = time.monotonic() + START_SECONDS
    while True:
        try:
            core.upload(root, len(document), {root: document}.__getitem__, "document", None)
        except UnavailableError:
            if time.monotonic() > until:
                raise
            time.sleep(SOON_SECONDS)
        else:
            return


def run(node: Started) -> None:
    """Register, put the endpoint document on the storage nodes, then serve until a signal."""
    document = node.endpoint()
    epoch = node.register_plain(document)
    directory = Directory(node.network.chain_id, node.chain.registry, node.start_nodes, node.peer)
    replicas = StorageNodes(node, directory)

    def tee_of(one: Node) -> TeeNode:
        return RemoteTee(directory.peer(one))

    def light_of(one: Node) -> ReceiptHolder:
        return RemoteLight(directory.peer(one))

    core = LightNodeCore(
        LightParts(
            node_id=node.node_id,
            epoch=epoch,
            key=node.key,
            reader=node.chain,
            index=node.chain.index,
            account=node.account,
            replicas=replicas,
            tee_of=tee_of,
            light_of=light_of,
            folder=node.file.data_folder,
            clock=time.time,
            randbytes=os.urandom,
            wanted_replicas=node.file.replicas,
            webhooks=frozenset(node.file.webhooks),
            post=post_webhook,
        )
    )
    publish_document(core, document)
    guard = node.guard()
    node.serve(build(core, guard, workers=Workers(core, audit_seconds=node.file.audit_seconds)), guard)
