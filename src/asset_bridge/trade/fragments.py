"""Verified cfrags of one order, from the light node or straight from the TEE nodes, and the record that opens for ever.

Source: protocol §5.2, §5.3; spec/home.md §4 (store `halves`). Promises: a cfrag counts only after its proof and its receipt verified; one
that fails is named with its node and replaced by asking that node directly; verified cfrags and the consumer's half are sealed in
the home before anything is opened. Does not promise: that a node answers.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from asset_bridge.chain.ids import cfrag_digest
from asset_bridge.chain.messages import fetch_digest, receipt_digest, recover
from asset_bridge.chain.records import Asset, At, DeliveryReceipt, FetchSignature, Listing, Node, Order
from asset_bridge.errors import BridgeError, InputError, RefusedError, TamperedError, UnavailableError
from asset_bridge.keys.secp256k1 import Point
from asset_bridge.reencryption import Capsule, CapsuleFrag, HalfKey, VerifiedCapsuleFrag
from asset_bridge.trade.check_approval import OpeningKeys
from asset_bridge.trade.desk import Desk, short
from asset_bridge.transport.wire import from_json, to_json
from asset_bridge.vault.secret import pack, unpack

LOST_KEY = "tee.key-destroyed"  # a refusal that a reseal cures

LIGHT_NODE, ITSELF = "light node", "itself"
NO_FRAGMENT = "trade.no-fragment"  # in reports only: the light node brought nothing of this node


@dataclass(frozen=True, slots=True)
class NodeFailure:
    """A node whose answer did not count: its id, the code, and who handed it over."""

    node_id: bytes
    code: str
    through: str


@dataclass(frozen=True, slots=True)
class Fragments:
    """Everything that opens an order's asset, without any node."""

    provider: str
    listing: Listing
    threshold: int
    half: HalfKey = field(repr=False)
    k_pq: bytes = field(repr=False)
    cfrags: tuple[bytes, ...] = field(repr=False)
    fetch: FetchSignature
    receipts: tuple[DeliveryReceipt, ...]
    title: str
    terms: bytes = field(repr=False)

    def save(self, desk: Desk, order_id: bytes) -> None:
        """Sealed and durable on return."""
        table = {
            "provider": self.provider,
            "listing": to_json(self.listing),
            "threshold": self.threshold,
            "half": self.half.to_secret_bytes(),
            "k_pq": self.k_pq,
            "cfrags": list(self.cfrags),
            "fetch": to_json(self.fetch),
            "receipts": [to_json(receipt) for receipt in self.receipts],
            "title": self.title,
            "terms": self.terms,
        }
        desk.vault.halves.put(order_id.hex(), pack(table))

    @staticmethod
    def load(desk: Desk, order_id: bytes) -> Fragments | None:
        """What an earlier fetch kept, or None."""
        content = desk.vault.halves.get(order_id.hex())
        if content is None:
            return None
        table = unpack(content, "the kept fragments of an order")
        return Fragments(
            provider=table["provider"],
            listing=from_json(Listing, table["listing"]),
            threshold=table["threshold"],
            half=HalfKey.from_secret_bytes(table["half"]),
            k_pq=table["k_pq"],
            cfrags=tuple(table["cfrags"]),
            fetch=from_json(FetchSignature, table["fetch"]),
            receipts=tuple(from_json(DeliveryReceipt, receipt) for receipt in table["receipts"]),
            title=table["title"],
            terms=table["terms"],
        )

    def verified(self) -> list[VerifiedCapsuleFrag]:
        """The cfrags, verified again: a record is checked like anything else that was stored."""
        capsule = Capsule.from_bytes(self.listing.capsule)
        return [
            CapsuleFrag.from_bytes(cfrag).verify(
                capsule=capsule,
                signer=Point.from_bytes(self.listing.kfrag_signer),
                pk_a=Point.from_bytes(self.listing.pk_a),
                pk_b=self.half.pk_b,
            )
            for cfrag in self.cfrags
        ]


def sign_fetch(desk: Desk, order: Order, generation: int) -> FetchSignature:
    """The consumer's `Fetch` (protocol §1).

    Raises:
        InputError(trade.fetch-signer): the order names another account as its fetch signer.
    """
    if desk.signer.address != order.terms.fetch_signer:
        raise InputError(
            "trade.fetch-signer",
            f"the order's fetch signer is {order.terms.fetch_signer}, not {desk.signer.address}",
            hint="fetch with the account that was named in the request",
        )
    digest = fetch_digest(desk.exchange_domain, order.order_id, generation)
    return FetchSignature(generation, desk.signer.sign_digest(digest))


class Collector:
    """Takes answers of nodes, verifies each, and remembers who failed."""

    def __init__(self, desk: Desk, order: Order, keys: OpeningKeys, fetch: FetchSignature) -> None:
        self._desk, self._order, self._keys, self._fetch = desk, order, keys, fetch
        self._slots = {slot.node_id: (number, slot) for number, slot in enumerate(keys.approval.slots)}
        # read before anybody answers: what a chain endpoint says wrongly of a node is not the node's failure
        self.nodes = {node_id: desk.reader.node(node_id, At.FINAL) for node_id in self._slots}
        self._fetch_digest = fetch_digest(desk.exchange_domain, order.order_id, fetch.generation)
        self.good: dict[int, tuple[VerifiedCapsuleFrag, DeliveryReceipt]] = {}
        self.failures: list[NodeFailure] = []
        self.tampered, self.refused = False, True

    @property
    def complete(self) -> bool:
        """Whether there are as many as the threshold."""
        return len(self.good) >= self._keys.approval.threshold

    def offer(self, node_id: bytes, cfrag: bytes, receipt: DeliveryReceipt, through: str) -> None:
        """Verify one answer; what fails is remembered, not raised."""
        try:
            self._take(node_id, cfrag, receipt)
        except BridgeError as error:
            self.tampered = self.tampered or isinstance(error, TamperedError)
            self.fail(node_id, error, through)

    def fail(self, node_id: bytes, error: BridgeError, through: str) -> None:
        """Remember a node that did not answer well. Its own complaint, of its chain endpoint perhaps, is no false answer."""
        self.refused = self.refused and isinstance(error, RefusedError) and error.code != LOST_KEY
        self.failures.append(NodeFailure(node_id, error.code, through))

    def waiting(self) -> list[bytes]:
        """Nodes whose slot is still open, in slot order."""
        return [node_id for node_id, (number, _) in self._slots.items() if number not in self.good]

    def _take(self, node_id: bytes, cfrag: bytes, receipt: DeliveryReceipt) -> None:
        if node_id not in self._slots:
            raise TamperedError("trade.cfrag-node", "a fragment came from a node that holds no share of this order")
        number, slot = self._slots[node_id]
        if number in self.good:
            return
        listing = self._keys.asset.listing
        verified = CapsuleFrag.from_bytes(cfrag).verify(
            capsule=Capsule.from_bytes(listing.capsule),
            signer=Point.from_bytes(listing.kfrag_signer),
            pk_a=Point.from_bytes(listing.pk_a),
            pk_b=self._keys.half.pk_b,
        )
        frag = verified.frag
        if (frag.kfrag_id, frag.u1.to_bytes(), frag.x_a.to_bytes()) != (
            slot.kfrag_id,
            slot.u1,
            self._keys.approval.precursor,
        ):
            raise TamperedError("trade.cfrag-slot", "a fragment belongs to another share than its node's slot")
        self._check_receipt(self.nodes[node_id], number, verified, receipt)
        self.good[number] = (verified, receipt)

    def _check_receipt(self, node: Node, number: int, cfrag: VerifiedCapsuleFrag, receipt: DeliveryReceipt) -> None:
        """A receipt that would not count on chain is no receipt: payment rests on it."""
        slot, frag = self._slots[node.node_id][1], cfrag.frag
        expected = (
            self._fetch.generation,
            number,
            slot.kfrag_id,
            cfrag_digest(frag.kfrag_id, frag.e1.to_bytes(), frag.v1.to_bytes()),
            self._fetch_digest,
            node.node_id,
            slot.epoch,
        )
        given = (
            receipt.generation,
            receipt.slot,
            receipt.kfrag_id,
            receipt.cfrag_digest,
            receipt.fetch_digest,
            receipt.node_id,
            receipt.epoch,
        )
        epochs = {epoch.epoch: epoch for epoch in (*node.epochs, node.current)}
        digest = receipt_digest(self._desk.exchange_domain, self._order.order_id, receipt)
        try:
            signer = recover(digest, receipt.signature)
        except TamperedError:
            signer = ""
        if given != expected or slot.epoch not in epochs or signer != epochs[slot.epoch].signing_address:
            raise TamperedError("trade.receipt", "a delivery receipt is not this node's word about this fragment")

    def _culprits(self) -> str:
        """Nodes whose own answer failed; what failed only by way of the light node may be its doing."""
        failed = [f for f in self.failures if f.code.startswith(("reencryption.", "trade.")) and f.code != NO_FRAGMENT]
        direct = sorted({short(f.node_id) for f in failed if f.through == ITSELF})
        return f"tee node {', '.join(direct)}" if direct else LIGHT_NODE

    def refusal(self) -> BridgeError:
        """Why there are too few, with every node that failed."""
        threshold = self._keys.approval.threshold
        told = (
            "; ".join(f"tee node {short(f.node_id)} through {f.through}: {f.code}" for f in self.failures)
            or "no node answered"
        )
        message = f"layer fragments: {len(self.good)} of the {threshold} needed fragments verified ({told})"
        if self.tampered:
            return TamperedError(
                "trade.fragments",
                message,
                hint="run it again; the provider can replace a bad node: asset-bridge reseal ORDER",
                actor=self._culprits(),
            )
        if self.refused and self.failures:
            return RefusedError(
                "trade.nodes-refused",
                message,
                hint=f"asset-bridge status 0x{self._order.order_id.hex()}",
                actor="provider",
            )
        return UnavailableError(
            "trade.too-few-fragments",
            message,
            hint="run it again; the provider can replace a lost node: asset-bridge reseal ORDER",
            actor="tee node",
        )


def collect_fragments(desk: Desk, order: Order, keys: OpeningKeys, fetch: FetchSignature) -> Collector:
    """Ask the light node, then each node of a missing slot directly, until the threshold is reached.

    Raises:
        TamperedError(trade.fragments): too few verify; the nodes are named.
        UnavailableError(trade.too-few-fragments): too few answer.
    """
    collector = Collector(desk, order, keys, fetch)
    answers: Iterable[tuple[bytes, bytes, DeliveryReceipt, object]] = ()
    try:
        answers = desk.light.reencrypt(order.order_id, fetch)
    except BridgeError as error:
        collector.failures.append(NodeFailure(bytes(32), error.code, LIGHT_NODE))
    answered = set()
    for node_id, cfrag, receipt, _ in answers:
        answered.add(node_id)
        collector.offer(node_id, cfrag, receipt, LIGHT_NODE)
        desk.progress("fragments", len(collector.good), keys.approval.threshold)
    if answered:  # it asked every node: one of which it brings nothing is named, also when the others suffice
        silent = [node_id for node_id in collector.waiting() if node_id not in answered]
        collector.failures += [NodeFailure(node_id, NO_FRAGMENT, LIGHT_NODE) for node_id in silent]
    for node_id in collector.waiting():
        if collector.complete:
            break
        try:
            cfrag, receipt, _ = desk.connect_tee(collector.nodes[node_id]).reencrypt(order.order_id, fetch)
        except BridgeError as error:
            collector.fail(node_id, error, ITSELF)
            continue
        collector.offer(node_id, cfrag, receipt, ITSELF)
        desk.progress("fragments", len(collector.good), keys.approval.threshold)
    if not collector.complete:
        raise collector.refusal()
    return collector


def keep_fragments(
    desk: Desk,
    order: Order,
    asset: Asset,
    keys: OpeningKeys,
    fetch: FetchSignature,
    found: Collector,
    title: str,
    terms: bytes,
) -> Fragments:
    """Seal what was verified into the home."""
    fragments = Fragments(
        provider=asset.provider,
        listing=asset.listing,
        threshold=keys.approval.threshold,
        half=keys.half,
        k_pq=keys.k_pq,
        cfrags=tuple(cfrag.to_bytes() for cfrag, _ in found.good.values()),
        fetch=fetch,
        receipts=tuple(receipt for _, receipt in found.good.values()),
        title=title,
        terms=terms,
    )
    fragments.save(desk, order.order_id)
    return fragments
