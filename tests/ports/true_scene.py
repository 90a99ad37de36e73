"""The market of chain_scene with shares that re-encrypt, so that fragments have proofs."""

from __future__ import annotations

from dataclasses import replace

from asset_bridge import reencryption as pre
from asset_bridge.chain import messages
from asset_bridge.chain.ids import cfrag_digest
from asset_bridge.chain.records import Approval, DeliveryReceipt, Listing, Order, RequestTerms
from asset_bridge.keys.derivation import ShareRandomness
from asset_bridge.keys.secp256k1 import SecretScalar
from asset_bridge.reencryption.chain_proof import to_chain_proof
from tests.ports.chain_scene import NodeActor, Scene


class TrueScene(Scene):
    """One delegating and one receiving key for all its orders."""

    def __post_init__(self) -> None:
        self.a, self.b = self.scalar(), self.scalar()
        self.capsule, _ = pre.encrypt_package(self.a.public_key(), b"package", self.numbers)
        self.kfrags: dict[bytes, list[pre.VerifiedKeyFrag]] = {}
        super().__post_init__()

    def scalar(self) -> SecretScalar:
        return SecretScalar.from_wide(self.numbers(48))

    def listing(self, **options: object) -> Listing:  # type: ignore[override]
        made = super().listing(**options)  # type: ignore[arg-type]
        return replace(made, capsule=self.capsule.to_bytes(), pk_a=self.a.public_key().to_bytes())

    def terms(self, asset_id: bytes, *, fetch_signer: str = "") -> RequestTerms:
        return replace(super().terms(asset_id, fetch_signer=fetch_signer), pk_b=self.b.public_key().to_bytes())

    def approval(
        self, order: Order, *, generation: int = 1, threshold: int = 2, nodes: list[NodeActor] | None = None
    ) -> Approval:
        made = super().approval(order, generation=generation, threshold=threshold, nodes=nodes)
        coefficients = tuple(self.scalar() for _ in range(threshold - 1))
        chosen = ShareRandomness(self.scalar(), coefficients, tuple(slot.kfrag_id for slot in made.slots))
        signer = SecretScalar.from_bytes(self.signer.secret)
        kfrags = pre.generate_shares(self.a, self.b.public_key(), signer, threshold, chosen)
        self.kfrags[order.order_id] = kfrags
        slots = tuple(
            replace(slot, u1=k.u1.to_bytes(), receiver_signature=k.receiver_signature)
            for slot, k in zip(made.slots, kfrags, strict=True)
        )
        return replace(made, precursor=kfrags[0].x_a.to_bytes(), slots=slots)

    def cfrag(self, order: Order, slot: int) -> pre.VerifiedCapsuleFrag:
        return pre.reencrypt(self.capsule, self.kfrags[order.order_id][slot])

    def proof(self, order: Order, slot: int) -> bytes:
        return to_chain_proof(self.cfrag(order, slot))

    def receipt(self, order: Order, slot: int) -> DeliveryReceipt:
        frag, made = self.cfrag(order, slot).frag, super().receipt(order, slot)
        true = replace(made, cfrag_digest=cfrag_digest(frag.kfrag_id, frag.e1.to_bytes(), frag.v1.to_bytes()))
        digest = messages.receipt_digest(self.domain, order.order_id, true)
        assert order.approval is not None
        return replace(true, signature=self.holder(order.approval.slots[slot]).key.sign_digest(digest))
