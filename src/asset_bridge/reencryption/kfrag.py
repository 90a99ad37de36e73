"""Shares of the delegating key: made by the provider, accepted by a TEE node.

Implements spec/reencryption.md R11-R16. Promises: a `VerifiedKeyFrag` comes only from its maker or from a check of
rk·U = U1 and of the receiver-side signature over both keys; equal randomness gives the equal share (re-sealing).
Does not promise: that a set of shares opens anything. The consumer's pre-payment check tells that (prepayment.py).
"""

from __future__ import annotations

from dataclasses import InitVar, dataclass

from asset_bridge.errors import InputError, TamperedError
from asset_bridge.keys.derivation import ShareRandomness
from asset_bridge.keys.secp256k1 import (
    Point,
    SecretScalar,
    same_point,
    secret_add,
    secret_inverse,
    secret_multiply,
    shared_point,
)
from asset_bridge.keys.signing import RECOVERABLE_BYTES, sign_digest, verify_digest
from asset_bridge.reencryption.hashes import PARAMETER_U, receiver_digest, share_index, shared_secret
from asset_bridge.reencryption.proof_of_check import CHECKED, require_checked

KFRAG_ID_BYTES = 32


@dataclass(frozen=True, slots=True)
class PublishedShare:
    """What the approval event says in clear about one share. Parsed, not verified."""

    kfrag_id: bytes
    u1: Point
    x_a: Point
    receiver_signature: bytes

    @classmethod
    def from_fields(cls, kfrag_id: bytes, u1: bytes, x_a: bytes, receiver_signature: bytes) -> PublishedShare:
        """From the event's bytes; TamperedError(reencryption.share) for a wrong length or a bad point."""
        if len(kfrag_id) != KFRAG_ID_BYTES or len(receiver_signature) != RECOVERABLE_BYTES:
            raise _malformed("a share's id has 32 bytes and its receiver-side signature 65")
        try:
            return cls(bytes(kfrag_id), Point.from_bytes(u1), Point.from_bytes(x_a), bytes(receiver_signature))
        except TamperedError:
            raise _malformed("a point of the share is not a point of the curve") from None

    def check_signature(self, *, pk_a: Point, pk_b: Point, signer: Point) -> None:
        """TamperedError(reencryption.receiver-signature) unless the listed signer signed exactly this share."""
        digest = receiver_digest(self.kfrag_id, self.u1, self.x_a, pk_a, pk_b)
        try:
            verify_digest(signer, digest, self.receiver_signature)
        except TamperedError:
            raise TamperedError(
                "reencryption.receiver-signature",
                f"share {self.kfrag_id.hex()[:8]} is not signed by the listing's signer for these two keys",
                hint="do not use this approval; ask the provider to approve again",
                actor="provider",
            ) from None


@dataclass(frozen=True, slots=True)
class VerifiedKeyFrag:
    """One share, secret included, that passed the checks. Built here only."""

    kfrag_id: bytes
    rk: SecretScalar
    u1: Point
    x_a: Point
    receiver_signature: bytes
    pk_a: Point
    pk_b: Point
    signer: Point
    checked: InitVar[object]

    def __post_init__(self, checked: object) -> None:
        require_checked(checked)

    def published(self) -> PublishedShare:
        """The public part, for the approval."""
        return PublishedShare(self.kfrag_id, self.u1, self.x_a, self.receiver_signature)


@dataclass(frozen=True, slots=True)
class KeyFrag:
    """A share and its secret as somebody handed them over: nothing about it is known yet."""

    rk: SecretScalar
    share: PublishedShare

    def verify(self, *, pk_a: Point, pk_b: Point, signer: Point) -> VerifiedKeyFrag:
        """Check rk·U = U1 (reencryption.commitment) and the receiver-side signature."""
        if not same_point(shared_point(self.rk, PARAMETER_U), self.share.u1):
            raise TamperedError(
                "reencryption.commitment",
                "the share's secret does not match its published commitment",
                hint="refuse the slot; the provider sealed something else than was published",
                actor="provider",
            )
        self.share.check_signature(pk_a=pk_a, pk_b=pk_b, signer=signer)
        share = self.share
        return VerifiedKeyFrag(
            share.kfrag_id, self.rk, share.u1, share.x_a, share.receiver_signature, pk_a, pk_b, signer, CHECKED
        )


def generate_shares(
    delegating: SecretScalar, pk_b: Point, signer: SecretScalar, threshold: int, randomness: ShareRandomness
) -> list[VerifiedKeyFrag]:
    """Shares of delegating / d for `pk_b`, one for each id in `randomness`; any `threshold` of them open.

    Raises InputError(reencryption.threshold) when threshold, coefficients and ids do not fit together.
    """
    ids = randomness.ids
    if not 1 <= threshold <= len(ids) or len(randomness.coefficients) != threshold - 1 or len(set(ids)) != len(ids):
        raise InputError("reencryption.threshold", "threshold, coefficients and distinct share ids do not fit together")
    x_a, dh = randomness.precursor.public_key(), shared_point(randomness.precursor, pk_b)
    context = (x_a.to_bytes(), pk_b.to_bytes(), dh.to_bytes())
    constant = secret_multiply(delegating, secret_inverse(shared_secret(*context)))
    polynomial = (*reversed(randomness.coefficients), constant)  # highest power first
    pk_a, signer_key = delegating.public_key(), signer.public_key()
    shares = []
    for kfrag_id in ids:
        index, rk = share_index(*context, kfrag_id), polynomial[0]
        for coefficient in polynomial[1:]:
            rk = secret_add(secret_multiply(rk, index), coefficient)
        u1 = shared_point(rk, PARAMETER_U)
        signature = sign_digest(signer, receiver_digest(kfrag_id, u1, x_a, pk_a, pk_b))
        shares.append(VerifiedKeyFrag(kfrag_id, rk, u1, x_a, signature, pk_a, pk_b, signer_key, CHECKED))
    return shares


def _malformed(message: str) -> TamperedError:
    return TamperedError("reencryption.share", message, hint="do not use this approval", actor="provider")
