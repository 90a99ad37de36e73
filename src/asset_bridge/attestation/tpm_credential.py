"""Credential activation: the one way to learn that a signing key and an endorsement key live in the same TPM.

Implements spec/attestation.md §8.6 (TPM 2.0 Library, Part 1 §24: credential protection; Part 1 §11.4.10.2: KDFa). Pure: randomness is an
argument. Promises: only the TPM that holds both the EK of the certificate and the object of that name can recover the secret.
Does not promise: that the EK is a real TPM's; that is the EK certificate's chain.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.decrepit.ciphers.modes import CFB
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from asset_bridge.attestation.refusal import EvidenceRefused, Refusal

ENROLMENT_OID = x509.ObjectIdentifier("2.25.84316254732461938405529617350412")
"""Extension of an AK certificate: SHA-256 of the EK certificate (DER) ‖ the AK's name."""
_SEED_BYTES, _AES_BITS, _SHA256_ID = 32, 128, b"\x00\x0b"


@dataclass(frozen=True, slots=True)
class Credential:
    """What goes to the TPM: `blob` (TPM2B_ID_OBJECT) and `secret` (TPM2B_ENCRYPTED_SECRET)."""

    blob: bytes
    secret: bytes


def object_name(public: bytes) -> bytes:
    """The name of a TPMT_PUBLIC with name algorithm SHA-256."""
    return _SHA256_ID + hashlib.sha256(public).digest()


def enrolment(ek: x509.Certificate, name: bytes) -> bytes:
    """The value of the enrolment extension."""
    return ek.fingerprint(hashes.SHA256()) + name


def make_credential(ek: x509.Certificate, name: bytes, secret: bytes, randbytes: Callable[[int], bytes]) -> Credential:
    """Protect `secret` (at most 32 bytes) for the object of this name beside this EK (RSA, default template: AES-128, SHA-256).

    Raises: EvidenceRefused(format): the EK is not an RSA key.
    """
    key = ek.public_key()
    if not isinstance(key, rsa.RSAPublicKey):
        raise EvidenceRefused(Refusal.FORMAT, "an endorsement key of another kind than RSA")
    seed = randbytes(_SEED_BYTES)
    oaep = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), b"IDENTITY\0")
    sealed_seed = key.encrypt(seed, oaep)
    storage = _kdfa(seed, b"STORAGE", name, _AES_BITS)
    encryptor = Cipher(algorithms.AES(storage), CFB(bytes(16))).encryptor()
    identity = encryptor.update(_sized(secret)) + encryptor.finalize()
    integrity = hmac.digest(_kdfa(seed, b"INTEGRITY", b"", 256), identity + name, "sha256")
    return Credential(_sized(_sized(integrity) + identity), _sized(sealed_seed))


def certify(
    ek: x509.Certificate,
    public: bytes,
    key: rsa.RSAPublicKey | ec.EllipticCurvePublicKey,
    issuer: x509.Certificate,
    issuer_key: ec.EllipticCurvePrivateKey,
    *,
    now: int,
    days: int,
    serial: int,
) -> bytes:
    """The enrolment certificate (DER) of an AK whose activation this authority saw succeed."""
    at = datetime.fromtimestamp(now, UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "attestation key")]))
        .issuer_name(issuer.subject)
        .public_key(key)
        .serial_number(serial)
        .not_valid_before(at - timedelta(minutes=5))
        .not_valid_after(at + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.UnrecognizedExtension(ENROLMENT_OID, enrolment(ek, object_name(public))), critical=False)
    )
    return builder.sign(issuer_key, hashes.SHA384()).public_bytes(Encoding.DER)


def _sized(data: bytes) -> bytes:
    return len(data).to_bytes(2, "big") + data


def _kdfa(key: bytes, label: bytes, context: bytes, bits: int) -> bytes:
    """KDFa with SHA-256; 256 bits at most, so one block."""
    block = (1).to_bytes(4, "big") + label + b"\0" + context + bits.to_bytes(4, "big")
    return hmac.digest(key, block, "sha256")[: bits // 8]
