"""The capsule: 98 public bytes that hold the key of one package for one delegating key.

Implements spec/reencryption.md R6-R9. Promises: a `Capsule` exists only if its own check s·G = V + h·E held; one
capsule has one encoding (E 33 ‖ V 33 ‖ s 32); a package opens under its own capsule only (it is the AEAD's data).
Does not promise: that the package inside is the one the listing describes; the package's own digests tell that.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import InitVar, dataclass

from asset_bridge.errors import TamperedError
from asset_bridge.keys.checks import fixed
from asset_bridge.keys.secp256k1 import (
    ORDER,
    SCALAR_BYTES,
    WIDE_BYTES,
    Point,
    SecretScalar,
    add_points,
    multiply_public,
    public_times_base,
    respond,
    same_point,
    secret_add,
    shared_point,
)
from asset_bridge.reencryption import dem
from asset_bridge.reencryption.hashes import capsule_challenge
from asset_bridge.reencryption.proof_of_check import CHECKED, require_checked

CAPSULE_BYTES = 98


@dataclass(frozen=True, slots=True)
class Capsule:
    """A capsule whose own check held. Build it by `from_bytes` or `encapsulate`."""

    e: Point
    v: Point
    s: int
    encoded: bytes
    checked: InitVar[object]

    def __post_init__(self, checked: object) -> None:
        require_checked(checked)

    @classmethod
    def from_bytes(cls, encoded: bytes) -> Capsule:
        """Parse 98 bytes and run the capsule's own check; TamperedError(reencryption.capsule) otherwise."""
        if not isinstance(encoded, bytes) or len(encoded) != CAPSULE_BYTES:
            raise _refused("a capsule must have exactly 98 bytes")
        s = int.from_bytes(encoded[66:], "big")
        if not 1 <= s < ORDER:
            raise _refused("the scalar of the capsule is out of range")
        try:
            e, v = Point.from_bytes(encoded[:33]), Point.from_bytes(encoded[33:66])
            holds = same_point(public_times_base(s), add_points(v, multiply_public(e, capsule_challenge(e, v))))
        except TamperedError:
            raise _refused("a point of the capsule is not a point of the curve") from None
        if not holds:
            raise _refused("the capsule's own check does not hold")
        return cls(e, v, s, encoded, CHECKED)

    def to_bytes(self) -> bytes:
        """E ‖ V ‖ s, 98 bytes."""
        return self.encoded


def _refused(message: str) -> TamperedError:
    return TamperedError("reencryption.capsule", message, hint="the listing cannot be used", actor="provider")


def encapsulate(pk_a: Point, randbytes: Callable[[int], bytes]) -> tuple[Capsule, Point]:
    """A fresh capsule for `pk_a` and the secret point (r+u)·pk_A that keys the package; 96 random bytes."""
    wide = fixed("randomness", randbytes(2 * WIDE_BYTES), 2 * WIDE_BYTES)
    r, u = SecretScalar.from_wide(wide[:WIDE_BYTES]), SecretScalar.from_wide(wide[WIDE_BYTES:])
    e, v = r.public_key(), u.public_key()
    s = respond(u, r, capsule_challenge(e, v))
    encoded = e.to_bytes() + v.to_bytes() + s.to_bytes(SCALAR_BYTES, "big")
    capsule = Capsule(e, v, s, encoded, CHECKED)
    return capsule, shared_point(secret_add(r, u), pk_a)


def encrypt_package(pk_a: Point, package: bytes, randbytes: Callable[[int], bytes]) -> tuple[Capsule, bytes]:
    """Seal `package` for the delegating key: a capsule and 40 bytes more than the package."""
    capsule, key = encapsulate(pk_a, randbytes)
    nonce = fixed("randomness", randbytes(dem.NONCE_BYTES), dem.NONCE_BYTES)
    return capsule, dem.seal(key.to_bytes(), nonce, package, capsule.to_bytes())


def decrypt_package(delegating: SecretScalar, capsule: Capsule, sealed: bytes) -> bytes:
    """The provider's own opening; TamperedError(reencryption.package)."""
    key = shared_point(delegating, add_points(capsule.e, capsule.v))
    return dem.open_sealed(key.to_bytes(), sealed, capsule.to_bytes())


assert CAPSULE_BYTES == 2 * 33 + SCALAR_BYTES
