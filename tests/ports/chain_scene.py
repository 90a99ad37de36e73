"""A small market on any chain: provider, consumer, recorder, one light, two storage and four TEE nodes, with real signatures.

Shares here are signed but not encrypted to anyone: the contracts check signatures and commitments, never what a blob holds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from coincurve import PrivateKey
from eth_hash.auto import keccak

from asset_bridge.chain import messages
from asset_bridge.chain.actor import Actor
from asset_bridge.chain.ids import cfrag_digest
from asset_bridge.chain.keys import AccountKey
from asset_bridge.chain.records import (
    ZERO32,
    ZERO_ADDRESS,
    AcceptSignature,
    Approval,
    ApprovedSlot,
    DeliveryReceipt,
    DestroyedReceipt,
    FetchSignature,
    Listing,
    NodeKind,
    Offer,
    Order,
    Periods,
    RequestTerms,
    StorageReceipt,
    Vendor,
)

MEASUREMENT = keccak(b"measurement of the scene")
PERIODS = Periods(600, 600, 600, 300, 200, 86_400)
PRICE_WEI = 1_000_003  # not divisible by the fees: rounding shows
FAR = 2**32 - 1


class Numbers:
    """Reproducible bytes."""

    def __init__(self, seed: str) -> None:
        self._seed, self._n = seed.encode(), 0

    def __call__(self, length: int) -> bytes:
        self._n += 1
        out = b""
        while len(out) < length:
            out += keccak(self._seed + self._n.to_bytes(4, "big") + len(out).to_bytes(4, "big"))
        return out[:length]

    def point(self) -> bytes:
        return PrivateKey(self(32)).public_key.format()


@dataclass
class NodeActor:
    """A node: its operator's account and its signing key."""

    operator: Actor
    key: AccountKey
    node_id: bytes = ZERO32
    epoch: int = 1


@dataclass
class Scene:
    """The market. `account(name)` makes a funded account on the chain under test."""

    account: Callable[[str], Actor]
    numbers: Numbers
    asset_numbers: Iterator[int] = field(default_factory=lambda: iter(range(10_000)))

    def __post_init__(self) -> None:
        self.provider, self.consumer, self.recorder = (self.account(n) for n in ("provider", "consumer", "recorder"))
        self.signer = AccountKey(self.numbers(32))
        self.light = self._node("light", NodeKind.LIGHT)
        self.storage = sorted((self._node(f"storage {i}", NodeKind.STORAGE) for i in range(2)), key=lambda n: n.node_id)
        self.tees = [self._node(f"tee {i}", NodeKind.TEE) for i in range(4)]
        self.provider.set_profile(keccak(b"profile"), self.provider.address, ZERO_ADDRESS)
        self.domain = messages.Domain(self.provider.reader.chain_id, self.provider.reader.exchange)
        self.ledger_domain = messages.Domain(self.provider.reader.chain_id, self.provider.reader.ledger)

    def _node(self, name: str, kind: NodeKind) -> NodeActor:
        node = NodeActor(self.account(name), AccountKey(self.numbers(32)))
        node.node_id, _ = node.operator.register_node(
            salt=self.numbers(32), kind=kind, stake_wei=10**17, **self.epoch(kind, node.key)
        )
        return node

    def epoch(self, kind: NodeKind, key: AccountKey, expires_at: int = FAR) -> dict[str, object]:
        tee = kind == NodeKind.TEE
        return {
            "endpoint_digest": keccak(b"endpoint"),
            "endpoint_length": 321,
            "signing_address": key.address,
            "vendor": Vendor.SIMULATED if tee else Vendor.NONE,
            "measurement_id": MEASUREMENT if tee else ZERO32,
            "platform_id": keccak(b"platform") if tee else ZERO32,
            "evidence_digest": keccak(b"evidence") if tee else ZERO32,
            "expires_at": expires_at,
        }

    # ── provider ──
    def listing(self, *, body: bytes = b"", supersedes: bytes = ZERO32, token: str = ZERO_ADDRESS) -> Listing:
        n = self.numbers
        capsule = n.point() + n.point() + n(32)
        content = body or n(100)
        receipt = StorageReceipt(
            hashlib.sha256(content).digest(),
            len(content),
            tuple(s.node_id for s in self.storage),
            self.provider.reader.block().number,
            self.light.node_id,
            1,
            b"",
        )
        digest = messages.storage_receipt_digest(self.ledger_domain, receipt)
        receipt = replace(receipt, signature=self.light.key.sign_digest(digest))
        signer = PrivateKey(self.signer.secret).public_key.format()
        return Listing(
            header=n(128),
            capsule=capsule,
            package=n(137),
            pk_a=n.point(),
            kfrag_signer=signer,
            w=n.point(),
            w_proof=n(98),
            pq_commit=n(32),
            body_digest=receipt.body_digest,
            body_length=len(content),
            description_digest=n(32),
            offer=Offer(PRICE_WEI, token, n(32), PERIODS),
            supersedes=supersedes,
            receipt=receipt,
            on_chain_body=body,
        )

    def listed(self, **options: object) -> bytes:
        return self.provider.list_asset(self.listing(**options))[0]  # type: ignore[arg-type]

    def approval(
        self, order: Order, *, generation: int = 1, threshold: int = 2, nodes: list[NodeActor] | None = None
    ) -> Approval:
        precursor = self.numbers.point()
        slots = tuple(self.slot(order, node, precursor) for node in nodes or self.tees[:3])
        reply = (keccak(b"reply"), 99) if generation == 1 else (ZERO32, 0)
        return Approval(generation, threshold, precursor, slots, self.numbers(1168), *reply)

    def slot(
        self,
        order: Order,
        node: NodeActor,
        precursor: bytes,
        *,
        like: ApprovedSlot | None = None,
        expires_at: int = FAR,
    ) -> ApprovedSlot:
        pk_a = self.provider.reader.asset(order.terms.asset_id).listing.pk_a
        kfrag_id, u1 = (like.kfrag_id, like.u1) if like else (self.numbers(32), self.numbers.point())
        text = kfrag_id + u1 + precursor + b"\x01" + pk_a + b"\x01" + order.terms.pk_b
        receiver = like.receiver_signature if like else self.signer.sign_digest(hashlib.sha256(text).digest())
        kem = self.numbers(32)
        promise = messages.order_key_digest(self.domain, order.order_id, node.node_id, node.epoch, kem, expires_at)
        return ApprovedSlot(
            kfrag_id,
            u1,
            receiver,
            node.node_id,
            node.epoch,
            kem,
            expires_at,
            node.key.sign_digest(promise),
            self.numbers(80),
        )

    # ── consumer ──
    def terms(self, asset_id: bytes, *, fetch_signer: str = "") -> RequestTerms:
        n = self.numbers
        offer = self.consumer.reader.asset(asset_id).offer
        return RequestTerms(
            asset_id, n.point(), n(32), n(32), 4_321, offer, n(32), fetch_signer or self.consumer.address
        )

    def requested(self, **options: object) -> Order:
        order_id, _ = self.consumer.request(self.terms(self.listed(**options)))
        return self.consumer.reader.order(order_id)

    def approved(self, **options: object) -> Order:
        order = self.requested(**options)
        self.provider.approve(order.order_id, self.approval(order))
        return self.consumer.reader.order(order.order_id)

    def paid(self, slots: tuple[int, ...] = (0, 1, 2), **options: object) -> Order:
        order = self.approved(**options)
        self.consumer.pay(order.order_id, [self.accept(order, slot) for slot in slots])
        return self.consumer.reader.order(order.order_id)

    def fetch(self, order: Order, generation: int = 1) -> FetchSignature:
        digest = messages.fetch_digest(self.domain, order.order_id, generation)
        return FetchSignature(generation, self.consumer.sign_digest(digest))

    def delivered(self, slots: tuple[int, ...] = (0, 2), **options: object) -> Order:
        order = self.paid(**options)
        receipts = [self.receipt(order, slot) for slot in slots]
        self.recorder.record_delivery(order.order_id, self.fetch(order), receipts)
        return self.consumer.reader.order(order.order_id)

    # ── nodes ──
    def holder(self, slot: ApprovedSlot) -> NodeActor:
        return next(n for n in self.tees if n.node_id == slot.node_id)

    def accept(self, order: Order, slot: int, given: ApprovedSlot | None = None) -> AcceptSignature:
        assert order.approval is not None
        s = given or order.approval.slots[slot]
        accept = AcceptSignature(order.approval.generation, slot, s.kfrag_id, s.kem_key_digest, s.node_id, s.epoch, b"")
        digest = messages.accept_digest(self.domain, order.order_id, accept)
        return replace(accept, signature=self.holder(s).key.sign_digest(digest))

    def receipt(self, order: Order, slot: int) -> DeliveryReceipt:
        assert order.approval is not None
        s, block = order.approval.slots[slot], self.consumer.reader.block()
        generation = order.approval.generation
        receipt = DeliveryReceipt(
            generation,
            slot,
            s.kfrag_id,
            cfrag_digest(s.kfrag_id, self.numbers.point(), self.numbers.point()),
            messages.fetch_digest(self.domain, order.order_id, generation),
            block.number,
            block.hash,
            s.node_id,
            s.epoch,
            b"",
        )
        digest = messages.receipt_digest(self.domain, order.order_id, receipt)
        return replace(receipt, signature=self.holder(s).key.sign_digest(digest))

    def destroyed(self, order: Order, slot: int, reason: int = 1) -> DestroyedReceipt:
        assert order.approval is not None
        s = order.approval.slots[slot]
        receipt = DestroyedReceipt(order.approval.generation, slot, s.kem_key_digest, s.node_id, s.epoch, reason, b"")
        digest = messages.destroyed_digest(self.domain, order.order_id, receipt)
        return replace(receipt, signature=self.holder(s).key.sign_digest(digest))
