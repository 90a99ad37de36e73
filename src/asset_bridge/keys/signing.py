"""ECDSA on secp256k1 over a 32-byte digest: 65 bytes r ‖ s ‖ v, low-s only.

Implements spec/keys.md K7. Promises: deterministic (RFC 6979), constant-time signing; one signature has one encoding,
and a high-s twin is refused although the mathematics would accept it. Does not hash: the caller names the digest.
"""

from __future__ import annotations

from coincurve._libsecp256k1 import ffi, lib
from coincurve.context import GLOBAL_CONTEXT

from asset_bridge.errors import DefectError, TamperedError
from asset_bridge.keys.checks import fixed
from asset_bridge.keys.secp256k1 import Point, SecretScalar

SIGNATURE_BYTES = 64
RECOVERABLE_BYTES = 65
_V_BASE = 27  # what `ecrecover` takes: 27 for an even y of R, 28 for an odd one
_CTX = GLOBAL_CONTEXT.ctx


def sign_digest(secret: SecretScalar, digest: bytes) -> bytes:
    """r(32) ‖ s(32) ‖ v(1) with s in the lower half and v 27 or 28."""
    signature = ffi.new("secp256k1_ecdsa_recoverable_signature *")
    message = fixed("digest", digest, 32)
    lib.secp256k1_ecdsa_sign_recoverable(_CTX, signature, message, secret.to_secret_bytes(), ffi.NULL, ffi.NULL)
    out, parity = ffi.new("unsigned char[]", SIGNATURE_BYTES), ffi.new("int *")
    lib.secp256k1_ecdsa_recoverable_signature_serialize_compact(_CTX, out, parity, signature)
    if parity[0] > 1:  # r overflowed: one nonce in 2^127, and the EVM cannot express it
        raise DefectError("keys.curve", "the signature has no form that the chain can check")
    return bytes(ffi.buffer(out)) + bytes([_V_BASE + parity[0]])


def verify_digest(key: Point, digest: bytes, signature: bytes) -> None:
    """Check 64 bytes r ‖ s, or 65 with v; TamperedError(keys.signature) unless it is the one low-s form by `key`."""
    if len(signature) == RECOVERABLE_BYTES:
        if recover_digest(digest, signature) != key:
            raise TamperedError("keys.signature", "the signature is not by the expected key")
        return
    parsed = ffi.new("secp256k1_ecdsa_signature *")
    if not lib.secp256k1_ecdsa_signature_parse_compact(_CTX, parsed, _compact(signature)):
        raise TamperedError("keys.signature", "the signature is out of range")
    # The library verifies low-s signatures only, so a high-s twin fails here.
    if not lib.secp256k1_ecdsa_verify(_CTX, parsed, fixed("digest", digest, 32), key.raw):
        raise TamperedError("keys.signature", "the signature is not by the expected key, or not in low-s form")


def recover_digest(digest: bytes, signature: bytes) -> Point:
    """The key whose low-s signature r ‖ s ‖ v this is; TamperedError(keys.signature) if there is none."""
    if len(signature) != RECOVERABLE_BYTES or signature[64] not in (_V_BASE, _V_BASE + 1):
        raise TamperedError("keys.signature", "a recoverable signature has 65 bytes and ends in 27 or 28")
    compact, parity = signature[:SIGNATURE_BYTES], signature[64] - _V_BASE
    recoverable = ffi.new("secp256k1_ecdsa_recoverable_signature *")
    plain = ffi.new("secp256k1_ecdsa_signature *")
    if not lib.secp256k1_ecdsa_recoverable_signature_parse_compact(_CTX, recoverable, compact, parity):
        raise TamperedError("keys.signature", "the signature is out of range")
    lib.secp256k1_ecdsa_recoverable_signature_convert(_CTX, plain, recoverable)
    if lib.secp256k1_ecdsa_signature_normalize(_CTX, ffi.NULL, plain):
        raise TamperedError("keys.signature", "the signature is not in low-s form")
    raw = ffi.new("secp256k1_pubkey *")
    if not lib.secp256k1_ecdsa_recover(_CTX, raw, recoverable, fixed("digest", digest, 32)):
        raise TamperedError("keys.signature", "the signature recovers no key")
    return Point(raw)


def _compact(signature: bytes) -> bytes:
    if len(signature) != SIGNATURE_BYTES:
        raise TamperedError("keys.signature", "a signature has 64 bytes, or 65 with v")
    return signature
