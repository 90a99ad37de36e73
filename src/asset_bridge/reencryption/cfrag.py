"""Re-encryption of a capsule by one share, and the check that anybody can make of the result.

Implements spec/reencryption.md R17-R22. Promises: a `VerifiedCapsuleFrag` exists only if the receiver-side signature
and all three equations of the proof held for exactly this capsule and these keys, which it remembers; the same share
and capsule give the same 359 bytes (the proof's nonce is derived, never drawn); one cfrag has one encoding.
Does not promise: that `t` verified cfrags open the package; shares can be garbage that proves itself (prepayment.py).
"""

from __future__ import annotations

import hmac
from dataclasses import InitVar, dataclass
from typing import NamedTuple, NoReturn

from asset_bridge.errors import TamperedError
from asset_bridge.keys.secp256k1 import (
    ORDER,
    WIDE_BYTES,
    Point,
    SecretScalar,
    add_points,
    multiply_public,
    respond,
    same_point,
    shared_points,
)
from asset_bridge.keys.signing import verify_digest
from asset_bridge.reencryption.capsule import Capsule
from asset_bridge.reencryption.hashes import PARAMETER_U, cfrag_challenge, receiver_digest
from asset_bridge.reencryption.kfrag import KeyFrag, PublishedShare, VerifiedKeyFrag
from asset_bridge.reencryption.proof_of_check import CHECKED, require_checked

CFRAG_BYTES = 359


class CapsuleFrag(NamedTuple):
    """A cfrag as a peer sent it: well-formed, nothing more."""

    e1: Point
    v1: Point
    kfrag_id: bytes
    x_a: Point
    e2: Point
    v2: Point
    u1: Point
    u2: Point
    z: int
    signature: bytes

    @classmethod
    def from_bytes(cls, encoded: bytes) -> CapsuleFrag:
        """Parse E1 V1 id X_A E2 V2 U1 U2 z signature, 359 bytes; TamperedError(reencryption.cfrag-form)."""
        if not isinstance(encoded, bytes) or len(encoded) != CFRAG_BYTES:
            raise TamperedError("reencryption.cfrag-form", "a cfrag must have exactly 359 bytes", actor="tee node")
        z = int.from_bytes(encoded[263:295], "big")
        if not 1 <= z < ORDER:
            raise TamperedError("reencryption.cfrag-form", "the scalar of the cfrag is out of range", actor="tee node")
        try:
            e1, v1 = (Point.from_bytes(encoded[at : at + 33]) for at in (0, 33))
            x_a, e2, v2, u1, u2 = (Point.from_bytes(encoded[at : at + 33]) for at in range(98, 263, 33))
        except TamperedError:
            message = "a point of the cfrag is not a point of the curve"
            raise TamperedError("reencryption.cfrag-form", message, actor="tee node") from None
        return cls(e1, v1, encoded[66:98], x_a, e2, v2, u1, u2, z, encoded[295:])

    def to_bytes(self) -> bytes:
        """The 359 bytes."""
        return b"".join(
            (
                self.e1.to_bytes(),
                self.v1.to_bytes(),
                self.kfrag_id,
                self.x_a.to_bytes(),
                self.e2.to_bytes(),
                self.v2.to_bytes(),
                self.u1.to_bytes(),
                self.u2.to_bytes(),
                self.z.to_bytes(32, "big"),
                self.signature,
            )
        )

    def verify(self, *, capsule: Capsule, signer: Point, pk_a: Point, pk_b: Point) -> VerifiedCapsuleFrag:
        """The receiver-side signature, then the proof; TamperedError(reencryption.cfrag) names the share."""
        try:
            verify_digest(signer, receiver_digest(self.kfrag_id, self.u1, self.x_a, pk_a, pk_b), self.signature)
        except TamperedError:
            self._fail("its signature is not the listing's signer's")
        challenge = cfrag_challenge(
            capsule.e, self.e1, self.e2, capsule.v, self.v1, self.v2, PARAMETER_U, self.u1, self.u2
        )
        for base, image, nonce, part in (
            (PARAMETER_U, self.u1, self.u2, "U"),
            (capsule.e, self.e1, self.e2, "E"),
            (capsule.v, self.v1, self.v2, "V"),
        ):
            try:
                right = add_points(nonce, multiply_public(image, challenge))
            except TamperedError:  # infinity: only a forger's values give it
                self._fail(f"its proof does not hold for {part}")
            if not same_point(multiply_public(base, self.z), right):
                self._fail(f"its proof does not hold for {part}")
        return VerifiedCapsuleFrag(self, capsule.to_bytes(), signer, pk_a, pk_b, CHECKED)

    def _fail(self, why: str) -> NoReturn:
        raise TamperedError(
            "reencryption.cfrag",
            f"the cfrag of share {self.kfrag_id.hex()[:8]} does not verify: {why}",
            hint="take the cfrag of another node",
            actor="tee node",
        )


@dataclass(frozen=True, slots=True)
class VerifiedCapsuleFrag:
    """A cfrag that verified, and what it was verified against. Built here only."""

    frag: CapsuleFrag
    capsule_bytes: bytes
    signer: Point
    pk_a: Point
    pk_b: Point
    checked: InitVar[object]

    def __post_init__(self, checked: object) -> None:
        require_checked(checked)

    @property
    def kfrag_id(self) -> bytes:
        """The share's id."""
        return self.frag.kfrag_id

    def to_bytes(self) -> bytes:
        """The 359 bytes."""
        return self.frag.to_bytes()


def reencrypt(capsule: Capsule, kfrag: VerifiedKeyFrag) -> VerifiedCapsuleFrag:
    """rk·E and rk·V with a proof that it is the rk of U1; the same input gives the same bytes."""
    rk, u1 = kfrag.rk, kfrag.u1
    context = capsule.to_bytes() + kfrag.kfrag_id + u1.to_bytes() + kfrag.x_a.to_bytes()
    material = hmac.digest(rk.to_secret_bytes(), b"asset-bridge/1/cfrag-nonce\x00" + context, "sha512")
    tau = SecretScalar.from_wide(material[:WIDE_BYTES])
    e, v = capsule.e, capsule.v
    e1, v1, e2, v2, u2 = shared_points((rk, e), (rk, v), (tau, e), (tau, v), (tau, PARAMETER_U))
    challenge = cfrag_challenge(e, e1, e2, v, v1, v2, PARAMETER_U, u1, u2)
    z = respond(tau, rk, challenge)
    frag = CapsuleFrag(e1, v1, kfrag.kfrag_id, kfrag.x_a, e2, v2, u1, u2, z, kfrag.receiver_signature[:64])
    return VerifiedCapsuleFrag(frag, capsule.to_bytes(), kfrag.signer, kfrag.pk_a, kfrag.pk_b, CHECKED)


def accept_share(
    *, rk: SecretScalar, share: PublishedShare, pk_a: Point, pk_b: Point, signer: Point, capsule: Capsule
) -> VerifiedKeyFrag:
    """A TEE node's checks before `Accept`: rk·U = U1, the signature, and the consumer's own check on a trial cfrag.

    Raises TamperedError: reencryption.commitment, reencryption.receiver-signature or reencryption.cfrag.
    The trial cfrag never leaves this function.
    """
    kfrag = KeyFrag(rk, share).verify(pk_a=pk_a, pk_b=pk_b, signer=signer)
    trial = CapsuleFrag.from_bytes(reencrypt(capsule, kfrag).to_bytes())
    trial.verify(capsule=capsule, signer=signer, pk_a=pk_a, pk_b=pk_b)
    return kfrag
