"""TPM 2.0 quotes and public areas: what Azure's vTPM and a plain TPM have in common.

Implements spec/attestation.md §8.4 (TPM 2.0 Library, Part 2: TPMS_ATTEST, TPMT_PUBLIC). Promises: the attested structure is a quote made
inside a TPM, its PCR selection is exactly the one asked for, its digest is that of the given values; only EvidenceRefused leaves.
Does not promise: whose key signed; that is each vendor's chain.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils

from asset_bridge.attestation.refusal import EvidenceRefused, Refusal

PCR_BYTES = 32
ALL_PCRS = tuple(range(24))
MEASURED_PCRS = (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14)
"""What enters the measurement id: firmware, loader, kernel, image. 10 grows while running; 15 is for disks; 16 and 23 can be reset."""
SHA256_BANK = 0x000B
_MAGIC, _QUOTE = 0xFF544347, 0x8018  # TPM_GENERATED_VALUE, TPM_ST_ATTEST_QUOTE
AkKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey


@dataclass(frozen=True, slots=True)
class Quote:
    """A verified quote. `extra` is the asker's qualifying data; `pcrs` are the 24 values of the SHA-256 bank."""

    extra: bytes
    signer: bytes
    pcrs: tuple[bytes, ...]
    resets: int
    restarts: int

    def measured(self) -> dict[str, bytes]:
        """The registers of the measurement id."""
        return {f"pcr{index}": self.pcrs[index] for index in MEASURED_PCRS}


class Cursor:
    """Reads big-endian TPM structures; EvidenceRefused(format) at the end of the bytes."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def take(self, length_bytes: int) -> bytes:
        """The next bytes."""
        part = self._data[self._at : self._at + length_bytes]
        if len(part) != length_bytes:
            raise EvidenceRefused(Refusal.FORMAT, "a TPM structure is cut short")
        self._at += length_bytes
        return part

    def number(self, size_bytes: int) -> int:
        """The next unsigned number."""
        return int.from_bytes(self.take(size_bytes), "big")

    def sized(self) -> bytes:
        """The next TPM2B."""
        return self.take(self.number(2))

    def end(self) -> None:
        """EvidenceRefused(format) when bytes are left."""
        if self._at != len(self._data):
            raise EvidenceRefused(Refusal.FORMAT, "bytes after a TPM structure")


def check_quote(message: bytes, signature: bytes, key: AkKey, pcrs: Sequence[bytes]) -> Quote:
    """Verify a quote over PCR 0..23 of the SHA-256 bank.

    Args:
        signature: RSASSA-PKCS1-v1.5 bytes, or for a P-256 key r ‖ s of 32 bytes each; SHA-256.
    Raises: EvidenceRefused(signature): the key did not sign it. EvidenceRefused(format): not such a quote, or other PCRs.
        EvidenceRefused(event-log): the values are not those that the quote is about.
    """
    check_signature(message, signature, key)
    cursor = Cursor(message)
    if (cursor.number(4), cursor.number(2)) != (_MAGIC, _QUOTE):
        raise EvidenceRefused(Refusal.FORMAT, "not a quote made by a TPM")
    signer, extra = cursor.sized(), cursor.sized()
    _clock, resets, restarts, _safe = struct.unpack(">QIIB", cursor.take(17))
    cursor.take(8)  # firmware version
    banks, bank, size = cursor.number(4), cursor.number(2), cursor.number(1)
    if (banks, bank, size, cursor.take(3)) != (1, SHA256_BANK, 3, b"\xff\xff\xff"):
        raise EvidenceRefused(Refusal.FORMAT, "a PCR selection other than exactly 0 to 23 of SHA-256")
    digest = cursor.sized()
    cursor.end()
    if len(pcrs) != len(ALL_PCRS) or any(len(value) != PCR_BYTES for value in pcrs):
        raise EvidenceRefused(Refusal.FORMAT, "not 24 PCR values")
    if hashlib.sha256(b"".join(pcrs)).digest() != digest:
        raise EvidenceRefused(Refusal.EVENT_LOG, "the PCR values are not those of the quote")
    return Quote(extra, signer, tuple(pcrs), resets, restarts)


def check_signature(message: bytes, signature: bytes, key: AkKey) -> None:
    """SHA-256 with RSASSA or ECDSA; EvidenceRefused(signature)."""
    try:
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, message, padding.PKCS1v15(), hashes.SHA256())
            return
        if len(signature) != 64:
            raise EvidenceRefused(Refusal.SIGNATURE, "not a P-256 signature")
        key.verify(_der(signature), message, ec.ECDSA(hashes.SHA256()))
    except (InvalidSignature, ValueError, UnsupportedAlgorithm):
        raise EvidenceRefused(Refusal.SIGNATURE) from None


def _der(signature: bytes) -> bytes:
    return utils.encode_dss_signature(int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big"))


def rsa_key(modulus: bytes, exponent: int) -> rsa.RSAPublicKey:
    """A 2048- to 4096-bit key; EvidenceRefused(format)."""
    if not 256 <= len(modulus) <= 512 or modulus[0] < 0x80:
        raise EvidenceRefused(Refusal.FORMAT, "an attestation key of another size")
    try:
        return rsa.RSAPublicNumbers(exponent, int.from_bytes(modulus, "big")).public_key()
    except ValueError:
        raise EvidenceRefused(Refusal.FORMAT, "no RSA key") from None
