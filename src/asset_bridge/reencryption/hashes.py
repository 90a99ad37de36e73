"""Umbral's hashes to a scalar, its parameter point U, and the bytes a provider signs for a share.

Implements spec/reencryption.md R2-R5. The domain strings and U are constants of the umbral-pre 0.11.0 wire format
(U as its public `Parameters` prints it); tests compare each with that library.
Promises: secret inputs only reach SHA-256 and `SecretScalar.from_digest`; public ones give a plain int.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable

from asset_bridge.keys.secp256k1 import ORDER, Point, SecretScalar

PARAMETER_U = Point.from_bytes(bytes.fromhex("03079390d0fbe220fc34aab8ecbf49098098036820fadb98c03143e55db8ec73cd"))
_CAPSULE, _CFRAG = b"CAPSULE_POINTS", b"CFRAG_VERIFICATION"
_INDEX, _SHARED = b"POLYNOMIAL_ARG", b"SHARED_SECRET"


def _digest(domain: bytes, parts: Iterable[bytes]) -> bytes:
    return hashlib.sha256(_head(domain) + b"".join(parts)).digest()


@functools.cache
def _head(domain: bytes) -> bytes:
    return len(domain).to_bytes(4, "big") + domain


def public_scalar(domain: bytes, *parts: bytes) -> int:
    """(SHA-256(len(domain) ‖ domain ‖ parts) mod (n-1)) + 1, for parts that everybody may know (R3)."""
    return _number(_digest(domain, parts))


def _number(public_digest: bytes) -> int:
    return int.from_bytes(public_digest, "big") % (ORDER - 1) + 1


def capsule_challenge(e: Point, v: Point) -> int:
    """The challenge of a capsule's own check."""
    return public_scalar(_CAPSULE, e.to_bytes(), v.to_bytes())


def cfrag_challenge(*points: Point) -> int:
    """The challenge of a cfrag's proof over E, E1, E2, V, V1, V2, U, U1, U2 in this order."""
    return _number(_digest(_CFRAG, [point.to_bytes() for point in points]))


def shared_secret(x_a: bytes, pk_b: bytes, dh: bytes) -> SecretScalar:
    """d, which only provider (x) and consumer (b) can compute."""
    return SecretScalar.from_digest(_digest(_SHARED, (x_a, pk_b, dh)))


def share_index(x_a: bytes, pk_b: bytes, dh: bytes, kfrag_id: bytes) -> SecretScalar:
    """The polynomial's argument for one share; kept as a secret, since it comes from the shared point."""
    return SecretScalar.from_digest(_digest(_INDEX, (x_a, pk_b, dh, kfrag_id)))


def receiver_message(kfrag_id: bytes, u1: Point, x_a: Point, pk_a: Point, pk_b: Point) -> bytes:
    """The 166 bytes under the receiver-side signature: id ‖ U1 ‖ X_A ‖ 01 ‖ pk_A ‖ 01 ‖ pk_B (R5)."""
    return b"".join((kfrag_id, u1.to_bytes(), x_a.to_bytes(), b"\x01", pk_a.to_bytes(), b"\x01", pk_b.to_bytes()))


def receiver_digest(kfrag_id: bytes, u1: Point, x_a: Point, pk_a: Point, pk_b: Point) -> bytes:
    """SHA-256 of the receiver message: what is signed, and what the chain recovers the signer from."""
    return hashlib.sha256(receiver_message(kfrag_id, u1, x_a, pk_a, pk_b)).digest()
