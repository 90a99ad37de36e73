"""The consumer's side: his half of the key, and opening the package from `t` verified cfrags.

Implements spec/reencryption.md R23-R27. Promises: a cfrag verified for another capsule or key, given twice, or of
another set is refused by name, and so are shares that do not belong to the delegating key (garbage that proves itself).
All scalars here come from the shared point and are handled as secrets.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NoReturn

from asset_bridge.errors import DefectError, InputError, RefusedError, TamperedError
from asset_bridge.keys.checks import POINT_BYTES, fixed
from asset_bridge.keys.secp256k1 import (
    Point,
    SecretScalar,
    add_points,
    multiply_public,
    same_point,
    secret_inverse,
    secret_multiply,
    secret_subtract,
    shared_point,
)
from asset_bridge.reencryption import dem
from asset_bridge.reencryption.capsule import Capsule
from asset_bridge.reencryption.cfrag import VerifiedCapsuleFrag
from asset_bridge.reencryption.hashes import capsule_challenge, share_index, shared_secret

HALF_KEY_BYTES = 3 * POINT_BYTES


@dataclass(frozen=True, slots=True, eq=False)
class HalfKey:
    """The consumer's half of one approval: the shared point b·X_A. With `t` cfrags it opens, for ever."""

    x_a: Point
    pk_b: Point
    _dh: bytes = field(repr=False)

    def to_secret_bytes(self) -> bytes:
        """X_A ‖ pk_B ‖ b·X_A, 99 bytes, for the consumer's sealed store."""
        return self.x_a.to_bytes() + self.pk_b.to_bytes() + self._dh

    @classmethod
    def from_secret_bytes(cls, encoded: bytes) -> HalfKey:
        """From the sealed store; InputError(keys.size) or TamperedError(keys.point)."""
        parts = [fixed("half key", encoded, HALF_KEY_BYTES)[at : at + 33] for at in (0, 33, 66)]
        return cls(Point.from_bytes(parts[0]), Point.from_bytes(parts[1]), Point.from_bytes(parts[2]).to_bytes())

    def shared_secret(self) -> SecretScalar:
        """d."""
        return shared_secret(self.x_a.to_bytes(), self.pk_b.to_bytes(), self._dh)

    def index(self, kfrag_id: bytes) -> SecretScalar:
        """The polynomial's argument of one share."""
        return share_index(self.x_a.to_bytes(), self.pk_b.to_bytes(), self._dh, kfrag_id)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, HalfKey) and hmac.compare_digest(self.to_secret_bytes(), other.to_secret_bytes())

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> NoReturn:
        raise DefectError("keys.secret-copied", "a half key must not be pickled or copied")


def half_open(receiving: SecretScalar, x_a: Point) -> HalfKey:
    """The consumer's half from his receiving key and the approval's X_A."""
    return HalfKey(x_a, receiving.public_key(), shared_point(receiving, x_a).to_bytes())


def lagrange_at_zero(indices: Sequence[SecretScalar]) -> tuple[SecretScalar, tuple[SecretScalar, ...]]:
    """λ_1 and the ratios λ_i / λ_1 for i > 1, at zero: Σλ_i·P_i = λ_1·(P_1 + Σ(λ_i/λ_1)·P_i).

    With λ_i = N / (x_i · Π(x_j - x_i)), N = Πx_j: one inverse (of the product of all denominators) serves all.
    DefectError(keys.curve) for equal indices, which distinct ids never give.
    """
    numerator, denominators = indices[0], []
    for index in indices[1:]:
        numerator = secret_multiply(numerator, index)
    for i, index in enumerate(indices):
        denominator = index
        for j, other in enumerate(indices):
            if j != i:
                denominator = secret_multiply(denominator, secret_subtract(other, index))
        denominators.append(denominator)
    running = [denominators[0]]
    for denominator in denominators[1:]:
        running.append(secret_multiply(running[-1], denominator))
    inverse, ratios = secret_inverse(running[-1]), []
    for i in range(len(indices) - 1, 0, -1):
        ratios.append(secret_multiply(secret_multiply(inverse, running[i - 1]), denominators[0]))
        inverse = secret_multiply(inverse, denominators[i])
    return secret_multiply(numerator, inverse), tuple(reversed(ratios))


def combine(points: Sequence[Point], ratios: Sequence[SecretScalar]) -> Point:
    """P_1 + Σ ratio_i · P_i."""
    if not ratios:
        return points[0]
    return add_points(points[0], *(shared_point(ratio, point) for ratio, point in zip(ratios, points[1:], strict=True)))


def open_package(
    half: HalfKey,
    *,
    pk_a: Point,
    capsule: Capsule,
    cfrags: Sequence[VerifiedCapsuleFrag],
    threshold: int,
    sealed: bytes,
) -> bytes:
    """The key package from `threshold` of the cfrags.

    Raises:
        InputError(reencryption.threshold): threshold below 1.
        RefusedError(reencryption.too-few): fewer distinct shares than the threshold.
        RefusedError(reencryption.other-set): a cfrag was verified for another capsule, key or X_A.
        TamperedError(reencryption.garbage-shares): the shares do not belong to the delegating key.
        TamperedError(reencryption.package): the package does not open under the key that they give.
    """
    if threshold < 1:
        raise InputError("reencryption.threshold", "the threshold must be at least 1")
    by_id: dict[bytes, VerifiedCapsuleFrag] = {}
    for cfrag in cfrags:
        by_id.setdefault(cfrag.kfrag_id, cfrag)
        if (cfrag.capsule_bytes, cfrag.pk_a, cfrag.pk_b, cfrag.frag.x_a) != (
            capsule.to_bytes(),
            pk_a,
            half.pk_b,
            half.x_a,
        ):
            message = f"the cfrag of share {cfrag.kfrag_id.hex()[:8]} was verified for another capsule, key or approval"
            raise RefusedError("reencryption.other-set", message, hint="take cfrags of this order's generation only")
    if len(by_id) < threshold:
        raise RefusedError(
            "reencryption.too-few",
            f"{len(by_id)} of the {threshold} cfrags needed are there",
            hint="ask the remaining nodes, or the provider to reseal",
            actor="tee node",
        )
    chosen = list(by_id.values())[:threshold]
    key = _opened_key(half, pk_a, capsule, chosen)
    if key is None:
        raise TamperedError(
            "reencryption.garbage-shares",
            "every cfrag proves itself, but together they do not belong to the listing's delegating key",
            hint="challenge the order: the approval was made with shares that open nothing",
            actor="provider",
        )
    return dem.open_sealed(key.to_bytes(), sealed, capsule.to_bytes())


def _opened_key(half: HalfKey, pk_a: Point, capsule: Capsule, chosen: Sequence[VerifiedCapsuleFrag]) -> Point | None:
    """d·(ΣλE1 + ΣλV1), or None unless d·(h·ΣλE1 + ΣλV1) = s·pk_A: the capsule's check, seen through the shares."""
    first, ratios = lagrange_at_zero([half.index(cfrag.kfrag_id) for cfrag in chosen])
    scale = secret_multiply(half.shared_secret(), first)
    try:
        e, v = combine([c.frag.e1 for c in chosen], ratios), combine([c.frag.v1 for c in chosen], ratios)
        both = add_points(multiply_public(e, capsule_challenge(capsule.e, capsule.v)), v)
        total = add_points(e, v)
    except TamperedError:  # a sum at infinity, which honest shares never give
        return None
    holds = same_point(shared_point(scale, both), multiply_public(pk_a, capsule.s))
    return shared_point(scale, total) if holds else None
