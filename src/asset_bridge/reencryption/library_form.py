"""The longer encodings of umbral-pre 0.11.0: capsule 105, kfrag 310, cfrag 381 bytes. For conversion only.

Implements spec/reencryption.md R37-R39. Promises: exactly one accepted encoding (fixed length, parse, encode,
compare); a library kfrag becomes usable only after both of its signatures and its commitment verified.
Nothing of this is on our wire: there the forms of 98 and 359 bytes stand.
"""

from __future__ import annotations

import hashlib

from asset_bridge.errors import TamperedError
from asset_bridge.keys.secp256k1 import Point, SecretScalar
from asset_bridge.keys.signing import sign_digest, verify_digest
from asset_bridge.reencryption.capsule import Capsule
from asset_bridge.reencryption.cfrag import CapsuleFrag, VerifiedCapsuleFrag
from asset_bridge.reencryption.hashes import PARAMETER_U, receiver_digest, receiver_message
from asset_bridge.reencryption.kfrag import KeyFrag, PublishedShare, VerifiedKeyFrag

# MessagePack: 9n = array of n, c4 len = bytes, c3 = true.
_CAPSULE = (b"\x93", 33, 33, 32)
_CFRAG = (b"\x95", 33, 33, 32, 33, b"\x96", 33, 33, 33, 33, 32, 64)
_KFRAG = (b"\x95\x91", 33, 32, 32, 33, b"\x95", 33, 64, 64, b"\xc3\xc3")


def _join(shape: tuple[bytes | int, ...], fields: list[bytes]) -> bytes:
    rest = iter(fields)
    return b"".join(part if isinstance(part, bytes) else bytes((0xC4, part)) + next(rest) for part in shape)


def _split(shape: tuple[bytes | int, ...], encoded: bytes, name: str) -> list[bytes]:
    fields, at = [], 0
    for part in shape:
        if isinstance(part, bytes):
            at += len(part)
        else:
            fields.append(bytes(encoded[at + 2 : at + 2 + part]))
            at += 2 + part
    if len(encoded) != at or _join(shape, fields) != encoded:
        raise TamperedError("reencryption.library-form", f"the bytes are not a {name} of umbral-pre 0.11.0")
    return fields


def capsule_to_library(capsule: Capsule) -> bytes:
    """105 bytes."""
    encoded = capsule.to_bytes()
    return _join(_CAPSULE, [encoded[:33], encoded[33:66], encoded[66:]])


def capsule_from_library(encoded: bytes) -> Capsule:
    """TamperedError: reencryption.library-form or reencryption.capsule."""
    return Capsule.from_bytes(b"".join(_split(_CAPSULE, encoded, "capsule")))


def cfrag_to_library(cfrag: CapsuleFrag | VerifiedCapsuleFrag) -> bytes:
    """381 bytes."""
    encoded, fields, at = cfrag.to_bytes(), [], 0
    for part in _CFRAG:
        if isinstance(part, int):
            fields.append(encoded[at : at + part])
            at += part
    return _join(_CFRAG, fields)


def cfrag_from_library(encoded: bytes) -> CapsuleFrag:
    """TamperedError: reencryption.library-form or reencryption.cfrag-form."""
    return CapsuleFrag.from_bytes(b"".join(_split(_CFRAG, encoded, "cfrag")))


def kfrag_to_library(kfrag: VerifiedKeyFrag, signer: SecretScalar) -> bytes:
    """310 bytes, secret included; the proxy-side signature, which our protocol never sends, is made here."""
    message = receiver_message(kfrag.kfrag_id, kfrag.u1, kfrag.x_a, kfrag.pk_a, kfrag.pk_b)
    proxy = sign_digest(signer, hashlib.sha256(message).digest())
    fields = [PARAMETER_U.to_bytes(), kfrag.kfrag_id, kfrag.rk.to_secret_bytes(), kfrag.x_a.to_bytes()]
    return _join(_KFRAG, [*fields, kfrag.u1.to_bytes(), proxy[:64], kfrag.receiver_signature[:64]])


def kfrag_from_library(encoded: bytes, *, pk_a: Point, pk_b: Point, signer: Point) -> VerifiedKeyFrag:
    """Parse 310 bytes signed over both keys, and verify all of it.

    TamperedError: reencryption.library-form, .share, .commitment, .receiver-signature, keys.scalar, keys.signature.
    """
    parameter, kfrag_id, rk, x_a, u1, proxy, receiver = _split(_KFRAG, encoded, "kfrag signed over both keys")
    if parameter != PARAMETER_U.to_bytes():
        raise TamperedError("reencryption.library-form", "the kfrag was made for another parameter point")
    share = PublishedShare.from_fields(kfrag_id, u1, x_a, receiver + b"\x1b")
    digest = receiver_digest(kfrag_id, share.u1, share.x_a, pk_a, pk_b)
    verify_digest(signer, digest, proxy)
    kfrag = KeyFrag(SecretScalar.from_bytes(rk), share)
    try:
        return kfrag.verify(pk_a=pk_a, pk_b=pk_b, signer=signer)
    except TamperedError as error:
        if error.code != "reencryption.receiver-signature":
            raise
    # The library does not keep v; it is one of two values.
    share = PublishedShare.from_fields(kfrag_id, u1, x_a, receiver + b"\x1c")
    return KeyFrag(kfrag.rk, share).verify(pk_a=pk_a, pk_b=pk_b, signer=signer)
