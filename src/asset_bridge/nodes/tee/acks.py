"""Where a receipt must lie before its cfrag leaves the node.

Source: protocol §5.2, spec/node-http-tee.md §5. Promises: the light nodes are drawn here, at random, from the registry at a final block, no
two of one operator; an ack counts only when the key that the registry (or the provider's profile) names made it over this receipt.
Does not promise: that a light node keeps its word; two of different operators, or the provider himself, must break it together.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Protocol

from asset_bridge.chain.messages import Domain, ack_digest, is_signed_by
from asset_bridge.chain.records import ZERO32, Ack, DeliveryReceipt, FetchSignature, Node, Order
from asset_bridge.errors import BridgeError, UnavailableError
from asset_bridge.nodes.tee.chain_view import ChainView

NEEDED_OPERATORS = 2
MOST_ASKED = 6
"""How many light nodes are asked for one release, so that a request cannot make the node call the whole registry."""


class AckSource(Protocol):
    """Reaches those who can hold a receipt. Answers are unverified."""

    def acknowledge(self, node: Node, order_id: bytes, fetch: FetchSignature, receipt: DeliveryReceipt) -> Ack:
        """Ask this light node to store the receipt, with the `Fetch` without which nobody could record it."""
        ...

    def provider_ack(
        self, order: Order, profile_digest: bytes, fetch: FetchSignature, receipt: DeliveryReceipt
    ) -> tuple[bytes, Ack] | None:
        """The provider's profile document and its key's ack, where the provider runs an endpoint; else None."""
        ...


class AckCollector:
    """Gets the acks that allow a release. `ack_address_of` reads the ack key's address in a profile document ("" for none)."""

    def __init__(
        self,
        view: ChainView,
        source: AckSource,
        randbytes: Callable[[int], bytes],
        ack_address_of: Callable[[bytes], str],
    ) -> None:
        self._view, self._source, self._randbytes, self._ack_address_of = view, source, randbytes, ack_address_of

    def collect(
        self, domain: Domain, order: Order, fetch: FetchSignature, receipt: DeliveryReceipt, digest: bytes
    ) -> tuple[Ack, ...]:
        """Enough acks for this receipt, whose digest is `digest`, or none needed because it is in a finalized block already.

        Raises:
            UnavailableError(tee.no-ack): nobody who counts holds the receipt; nothing may leave the node.
        """
        if is_recorded(order, receipt):
            return ()
        by_provider = self._provider(domain, order, fetch, receipt, digest)
        if by_provider is not None:
            return (by_provider,)
        return self._light_nodes(domain, order, fetch, receipt, digest)

    def _provider(
        self, domain: Domain, order: Order, fetch: FetchSignature, receipt: DeliveryReceipt, digest: bytes
    ) -> Ack | None:
        profile = self._view.profile(order.provider)
        if profile is None:
            return None
        try:
            answer = self._source.provider_ack(order, profile.document_digest, fetch, receipt)
        except BridgeError:  # a provider without a reachable endpoint: the light nodes then
            return None
        if answer is None:
            return None
        document, ack = answer
        if hashlib.sha256(document).digest() != profile.document_digest or ack.node_id != ZERO32 or ack.epoch != 0:
            return None
        try:
            address = self._ack_address_of(document)
        except BridgeError:
            return None
        return ack if address and _signed(domain, ack, digest, address) else None

    def _light_nodes(
        self, domain: Domain, order: Order, fetch: FetchSignature, receipt: DeliveryReceipt, digest: bytes
    ) -> tuple[Ack, ...]:
        drawn = self._draw()
        needed = min(NEEDED_OPERATORS, len(drawn))
        acks: list[Ack] = []
        for node in drawn[:MOST_ASKED]:
            try:
                ack = self._source.acknowledge(node, order.order_id, fetch, receipt)
            except BridgeError:  # down, or refuses: the next one
                continue
            named = (ack.node_id, ack.epoch) == (node.node_id, node.current.epoch)
            if named and _signed(domain, ack, digest, node.current.signing_address):
                acks.append(ack)
            if len(acks) == needed:
                return tuple(acks)
        raise UnavailableError(
            "tee.no-ack",
            f"{len(acks)} of the {max(needed, 1)} light nodes that must hold the receipt acknowledged it",
            hint="ask again in a minute",
            actor="light node",
        )

    def _draw(self) -> list[Node]:
        """One live light node of each operator, in random order."""
        by_operator: dict[str, list[Node]] = {}
        for node in self._view.light_nodes():
            by_operator.setdefault(node.operator, []).append(node)
        shuffled = sorted(by_operator.values(), key=lambda _nodes: self._randbytes(16))
        return [nodes[int.from_bytes(self._randbytes(8), "big") % len(nodes)] for nodes in shuffled]


def is_recorded(order: Order, receipt: DeliveryReceipt) -> bool:
    """Whether the (finalized) order carries this very receipt; its signature may be in another form."""
    return any(
        (known.generation, known.slot, known.node_id, known.kfrag_id, known.cfrag_digest)
        == (receipt.generation, receipt.slot, receipt.node_id, receipt.kfrag_id, receipt.cfrag_digest)
        for known in order.delivered_receipts
    )


def _signed(domain: Domain, ack: Ack, digest: bytes, address: str) -> bool:
    if ack.receipt_digest != digest:
        return False
    return is_signed_by(address, ack_digest(domain, digest, ack.node_id, ack.epoch), ack.signature)
