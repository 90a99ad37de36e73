"""W = a·U, the listing's second image of the delegating key, with its proof.

Implements spec/reencryption.md R28-R30 (Chaum-Pedersen, made non-interactive by hashing).
Promises: W and pk_A hold the same secret, proved for one listing: chain, contract, provider, container. The nonce is
derived from secret and context, so a bad random source cannot give the key away.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass

from asset_bridge.errors import TamperedError
from asset_bridge.keys.checks import ACCOUNT_BYTES, CONTAINER_ID_BYTES, fixed, unsigned
from asset_bridge.keys.secp256k1 import (
    WIDE_BYTES,
    Point,
    SecretScalar,
    add_points,
    multiply_public,
    public_times_base,
    respond,
    same_point,
    shared_point,
)
from asset_bridge.reencryption.hashes import PARAMETER_U, public_scalar

W_PROOF_BYTES = 98
_LABEL = b"asset-bridge/1/w-proof"


@dataclass(frozen=True, slots=True)
class ListingContext:
    """Where a listing stands: what the proof of W is bound to."""

    chain_id: int
    ledger: bytes
    provider: bytes
    container_id: bytes

    def to_bytes(self) -> bytes:
        """chain id 32 ‖ AssetLedger 20 ‖ provider 20 ‖ container id 16."""
        accounts = fixed("ledger", self.ledger, ACCOUNT_BYTES) + fixed("provider", self.provider, ACCOUNT_BYTES)
        return (
            unsigned("chain id", self.chain_id, 32)
            + accounts
            + fixed("container id", self.container_id, CONTAINER_ID_BYTES)
        )


def _challenge(context: bytes, pk_a: Point, w: Point, r_g: Point, r_u: Point) -> int:
    return public_scalar(_LABEL, context, pk_a.to_bytes(), w.to_bytes(), r_g.to_bytes(), r_u.to_bytes())


def prove_commitment(delegating: SecretScalar, context: ListingContext) -> tuple[Point, bytes]:
    """W and its 98-byte proof R_G ‖ R_U ‖ z."""
    bound = context.to_bytes()
    w, pk_a = shared_point(delegating, PARAMETER_U), delegating.public_key()
    material = hmac.digest(delegating.to_secret_bytes(), _LABEL + b"-nonce\x00" + bound, "sha512")
    k = SecretScalar.from_wide(material[:WIDE_BYTES])
    r_g, r_u = k.public_key(), shared_point(k, PARAMETER_U)
    z = respond(k, delegating, _challenge(bound, pk_a, w, r_g, r_u))
    return w, r_g.to_bytes() + r_u.to_bytes() + z.to_bytes(32, "big")


def verify_commitment(pk_a: Point, w: Point, proof: bytes, context: ListingContext) -> None:
    """TamperedError(reencryption.w-proof) unless log_G pk_A = log_U W was proved for this very listing."""
    if not _holds(pk_a, w, proof, context.to_bytes()):
        raise TamperedError(
            "reencryption.w-proof",
            "the proof that W belongs to the delegating key does not hold for this listing",
            hint="do not buy from this listing",
            actor="provider",
        )


def _holds(pk_a: Point, w: Point, proof: bytes, bound: bytes) -> bool:
    if not isinstance(proof, bytes) or len(proof) != W_PROOF_BYTES:
        return False
    z = int.from_bytes(proof[66:], "big")
    try:
        r_g, r_u = Point.from_bytes(proof[:33]), Point.from_bytes(proof[33:66])
        challenge = _challenge(bound, pk_a, w, r_g, r_u)
        on_g = same_point(public_times_base(z), add_points(r_g, multiply_public(pk_a, challenge)))
        return on_g and same_point(multiply_public(PARAMETER_U, z), add_points(r_u, multiply_public(w, challenge)))
    except TamperedError:
        return False
