"""The storage nodes of the network as their operators see them: space, bodies, replicas, the last audit.

Source: spec/node-http.md §7 and §9. Promises: one node that is down or refuses leaves its own line empty, with the reason.
Does not promise: that what a node says of itself is true; the audit's findings are what light nodes read and verified.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from asset_bridge.chain.records import Node, NodeKind
from asset_bridge.errors import BridgeError
from asset_bridge.trade.replica_report import ReplicaReport

MOST_BYTES = 64 * 1024 * 1024


class Asked(Protocol):
    """A signed connection to a node."""

    def get(self, path: str, *, max_bytes: int = ...) -> dict[str, Any]: ...


class AuditingLight(Protocol):
    """A light node that tells operators of storage nodes what its audits found."""

    name: str

    def replicas(self) -> ReplicaReport: ...


@dataclass(frozen=True, slots=True)
class StorageNodeStatus:
    """One storage node. `bodies` is None where this account may not ask for them; `problem` says why something is missing."""

    node: Node
    info: dict[str, Any]
    bodies: list[dict[str, Any]] | None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Storage:
    """All storage nodes, and the files of each light node that answered (GET /v1/replicas); `silent`: the reason of each that did not."""

    nodes: list[StorageNodeStatus]
    audits: dict[str, ReplicaReport] = field(default_factory=dict)
    silent: dict[str, str] = field(default_factory=dict)


def storage_status(
    nodes: Sequence[Node], address: str, peer: Callable[[Node], Asked], lights: Sequence[AuditingLight]
) -> Storage:
    """Ask every storage node for its state, this account's own ones for their bodies, and every light node for its audits."""
    found = []
    for node in nodes:
        if node.kind is not NodeKind.STORAGE:
            continue
        info: dict[str, Any] = {}
        bodies: list[dict[str, Any]] | None = None
        problem = "" if node.live else "not live in the registry"
        try:
            asked = peer(node)
            info = asked.get("/v1/info")
            if address in (node.operator, node.current.signing_address):
                listed = asked.get("/v1/inventory", max_bytes=MOST_BYTES).get("bodies")
                bodies = [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
        except BridgeError as error:
            problem = error.message
        found.append(StorageNodeStatus(node, info, bodies, problem))
    audits: dict[str, ReplicaReport] = {}
    silent: dict[str, str] = {}
    for light in lights:
        try:
            audits[light.name] = light.replicas()
        except BridgeError as error:
            silent[light.name] = error.message
    return Storage(found, audits, silent)
