"""A TEE node with paid orders, for the measurements: what is not the node's own work costs nothing, and is counted.

The chain is the in-memory twin behind readers that answer each question from memory after the first time. Nothing else is left out: every
request passes every rule, and two light nodes' acks are verified.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from asset_bridge.chain.records import Ack, DeliveryReceipt, FetchSignature, Node
from asset_bridge.nodes.tee.core import TeeNodeCore
from asset_bridge.nodes.tee.released import MadeCfrags
from tests.unit.tee.market import Market

ORDERS = 16


@dataclass
class Counted:
    """A reader that asks the twin once and then answers from memory; `reads` counts every question."""

    inner: Any
    reads: int = 0
    _known: dict[Any, Any] = field(default_factory=dict)

    def forget(self) -> None:
        """Ask the twin again from now on."""
        self._known.clear()

    def __getattr__(self, name: str) -> Any:
        asked = getattr(self.inner, name)
        if not callable(asked):
            return asked

        def answer(*arguments: Any) -> Any:
            self.reads += 1
            found = self._known.get((name, arguments), self)
            if found is self:
                found = self._known[name, arguments] = asked(*arguments)
            return found

        self.__dict__[name] = answer
        return answer


class Forgetful(MadeCfrags):
    """Keeps nothing, so that each request makes its cfrag."""

    def get(self, _name: Any) -> None:
        return None

    def keep(self, _name: Any, made: Any) -> Any:
        return made


class ReadyAcks:
    """Light nodes whose acks are there already: their work is not this node's. Each is verified by the node."""

    def __init__(self, inner: Any) -> None:
        self._inner, self._known = inner, dict[Any, Ack]()

    def acknowledge(self, node: Node, order_id: bytes, fetch: FetchSignature, receipt: DeliveryReceipt) -> Ack:
        known = self._known.get((node.node_id, receipt.cfrag_digest, order_id))
        if known is None:
            known = self._known[node.node_id, receipt.cfrag_digest, order_id] = self._inner.acknowledge(
                node, order_id, fetch, receipt
            )
        return known

    def provider_ack(self, *_arguments: Any) -> None:
        return None


@dataclass
class ReadyNode:
    """A node, its paid orders and their `Fetch` signatures."""

    core: TeeNodeCore
    market: Market
    orders: list[bytes]
    fetches: list[FetchSignature]
    readers: list[Counted]


def ready_node(folder: Path, *, forgetful: bool = True) -> ReadyNode:
    """A node whose orders were each served once; `forgetful`: each request makes its cfrag anew."""
    market = Market(folder)
    orders = [market.paid() for _ in range(ORDERS)]
    core = market.tees[0].core
    readers = [Counted(lens) for lens in market.lenses]
    core.view._readers = tuple(readers)
    if forgetful:
        core._made = Forgetful()
    core._acks._source = ReadyAcks(market.acks)
    fetches = [market.fetch(order) for order in orders]
    for order, fetch in zip(orders, fetches, strict=True):
        core.reencrypt(order, fetch)
    return ReadyNode(core, market, orders, fetches, readers)
