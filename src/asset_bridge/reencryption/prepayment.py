"""Before a consumer pays: will this approval open this capsule? Decided from the chain alone.

Implements spec/reencryption.md R31-R36 and protocol §4.4. Promises: what passes opens the package's key with any
`threshold` of the slots and with no fewer; sets that pass every proof of Umbral but share another secret, or lie on no
one polynomial, or on one of a lower degree, are refused, and the code names the part.
Does not promise: that the nodes answer, or that the content is what the description says.
"""

from __future__ import annotations

from collections.abc import Sequence

from asset_bridge.errors import InputError, TamperedError
from asset_bridge.keys.derivation import MAX_SHARES
from asset_bridge.keys.secp256k1 import (
    Point,
    SecretScalar,
    add_points,
    same_point,
    secret_inverse,
    secret_multiply,
    secret_subtract,
    shared_point,
)
from asset_bridge.reencryption.capsule import Capsule
from asset_bridge.reencryption.commitment import ListingContext, verify_commitment
from asset_bridge.reencryption.kfrag import PublishedShare
from asset_bridge.reencryption.opening import HalfKey, combine, half_open, lagrange_at_zero


def pre_payment_check(
    *,
    capsule: bytes,
    pk_a: bytes,
    signer: bytes,
    w: bytes,
    proof: bytes,
    context: ListingContext,
    slots: Sequence[PublishedShare],
    threshold: int,
    receiving: SecretScalar,
) -> HalfKey:
    """Run every check and return the consumer's half of the key, ready for the sealed store.

    Raises:
        InputError(reencryption.threshold): not 2 <= threshold <= slots <= 16.
        TamperedError: reencryption.capsule, .listing-key, .w-proof, .duplicate-share, .precursor,
            .receiver-signature, .garbage-shares or .low-degree, each the fault of the provider.
    """
    if not 2 <= threshold <= len(slots) <= MAX_SHARES:
        raise InputError("reencryption.threshold", "an approval needs 2 to 16 slots and a threshold of at least 2")
    Capsule.from_bytes(capsule)
    delegating_key, signer_key, w_point = _listed(pk_a, "pk_A"), _listed(signer, "signer"), _listed(w, "W")
    verify_commitment(delegating_key, w_point, proof, context)
    if len({slot.kfrag_id for slot in slots}) < len(slots) or len({slot.u1 for slot in slots}) < len(slots):
        raise _refused("reencryption.duplicate-share", "two slots have the same id or the same commitment")
    if any(slot.x_a != slots[0].x_a for slot in slots):
        raise _refused("reencryption.precursor", "the slots do not share one X_A")
    half = half_open(receiving, slots[0].x_a)
    for slot in slots:
        slot.check_signature(pk_a=delegating_key, pk_b=half.pk_b, signer=signer_key)
    _check_polynomial(half, slots, threshold, w_point)
    return half


def _check_polynomial(half: HalfKey, slots: Sequence[PublishedShare], threshold: int, w: Point) -> None:
    """d·Σλ_i·U1_i = W for the first t slots, every other slot on their polynomial, and its degree exactly t-1."""
    indices = [half.index(slot.kfrag_id) for slot in slots]
    known, points = indices[:threshold], [slot.u1 for slot in slots[:threshold]]
    try:
        first, ratios = lagrange_at_zero(known)
        opened = shared_point(secret_multiply(half.shared_secret(), first), combine(points, ratios))
        if not same_point(opened, w):
            raise _refused("reencryption.garbage-shares", "the shares belong to another secret than the listing's key")
        for number, slot in enumerate(slots[threshold:], threshold):
            # Seen from this slot's index, the slot's own value is the polynomial's value at zero.
            first, ratios = lagrange_at_zero([secret_subtract(index, indices[number]) for index in known])
            if not same_point(shared_point(first, combine(points, ratios)), slot.u1):
                raise _refused("reencryption.garbage-shares", f"slot {number} is not on the other shares' polynomial")
    except TamperedError as error:
        if error.code == "keys.point":  # a sum at infinity: no honest set gives one
            raise _refused("reencryption.garbage-shares", "the shares add up to nothing") from None
        raise
    if not _has_full_degree(known, points):
        raise _refused("reencryption.low-degree", f"fewer than {threshold} of these shares would open the asset")


def _has_full_degree(indices: Sequence[SecretScalar], points: Sequence[Point]) -> bool:
    """Whether the coefficient of the highest power, Σ U1_i / Π(x_i - x_j), is other than zero."""
    terms = []
    for i, index in enumerate(indices):
        factors = [secret_subtract(index, other) for j, other in enumerate(indices) if j != i]
        product = factors[0]
        for factor in factors[1:]:
            product = secret_multiply(product, factor)
        terms.append(shared_point(secret_inverse(product), points[i]))
    try:
        add_points(*terms)
    except TamperedError:
        return False
    return True


def _listed(encoded: bytes, name: str) -> Point:
    try:
        return Point.from_bytes(encoded)
    except TamperedError:
        raise _refused("reencryption.listing-key", f"the listing's {name} is not a point of the curve") from None


def _refused(code: str, message: str) -> TamperedError:
    return TamperedError(code, message, hint="do not pay; ask the provider to approve again", actor="provider")
