"""FLOE (C2SP FLOE): AES-256-GCM and HKDF-Expand-SHA-384 over a file in segments, any of which opens alone.

Implements spec/sealed-file.md §3 (rules S10 to S16).
Promises: a segment opens only at its own place, as what it is (inner or last), under the one key, IV and AAD that the
header's tag commits to; bytes leave only after their segment's tag verified.
Does not promise: that all segments are there; the opener counts them and opens the last one first (S33).
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from asset_bridge.errors import DefectError, InputError, TamperedError

KEY_BYTES = 32
FLOE_IV_BYTES = 32
TAG_BYTES = 32  # the header's tag
PARAMETER_BYTES = 10
FLOE_HEADER_BYTES = PARAMETER_BYTES + FLOE_IV_BYTES + TAG_BYTES
IV_BYTES = 12
GCM_TAG_BYTES = 16
LENGTH_BYTES = 4
OVERHEAD_BYTES = LENGTH_BYTES + IV_BYTES + GCM_TAG_BYTES
MESSAGE_KEY_BYTES = 48
INNER = b"\xff\xff\xff\xff"  # the length field of every segment but the last

RandBytes = Callable[[int], bytes]


@dataclass(frozen=True, slots=True)
class FloeParameters:
    """What FLOE leaves open. Everything but the segment length and the rotation is fixed by the specification."""

    segment_bytes: int
    rotation_bits: int = 20

    def encode(self) -> bytes:
        """AEAD id 0 (AES-256-GCM), KDF id 0 (HKDF-Expand-SHA-384), segment length, IV length."""
        return b"\x00\x00" + self.segment_bytes.to_bytes(4, "big") + FLOE_IV_BYTES.to_bytes(4, "big")

    @property
    def payload_bytes(self) -> int:
        """Plaintext of a full segment."""
        return self.segment_bytes - OVERHEAD_BYTES


GCM256_IV256_1M = FloeParameters(segment_bytes=1_048_576)


class _FloeState:
    """What both directions share: the message key and the segment keys derived from it."""

    def __init__(self, parameters: FloeParameters, key: bytes, iv: bytes, aad: bytes) -> None:
        self.parameters = parameters
        self._iv = iv
        self._aad = aad
        self.header_tag = _derive(parameters, key, iv, aad, b"HEADER_TAG:", TAG_BYTES)
        self._message_key = _derive(parameters, key, iv, aad, b"MESSAGE_KEY:", MESSAGE_KEY_BYTES)
        self._cipher: tuple[int, AESGCM] | None = None

    def cipher(self, position: int) -> AESGCM:
        """The cipher for `position`. Neighbours share a key; the pair is replaced whole, so threads may race here."""
        masked = position >> self.parameters.rotation_bits << self.parameters.rotation_bits
        cached = self._cipher
        if cached is None or cached[0] != masked:
            purpose = b"DEK:" + masked.to_bytes(8, "big")
            key = _derive(self.parameters, self._message_key, self._iv, self._aad, purpose, KEY_BYTES)
            cached = self._cipher = (masked, AESGCM(key))
        return cached[1]


class FloeSealer(_FloeState):
    """Seal segments. The caller sees to it that each position is sealed once (S12)."""

    def __init__(self, parameters: FloeParameters, key: bytes, aad: bytes, iv: bytes) -> None:
        if len(iv) != FLOE_IV_BYTES:
            raise DefectError("sealing.randomness", "the source of randomness returned the wrong number of bytes")
        super().__init__(parameters, _checked_key(key), iv, aad)
        self.header = parameters.encode() + iv + self.header_tag

    def seal_into(
        self, out: bytearray | memoryview, plaintext: memoryview, position: int, is_last: bool, iv: bytes
    ) -> None:
        """Write the segment of `plaintext` at `position` into `out`, which has exactly its length.

        Args:
            iv: 12 fresh random bytes.
        """
        full = self.parameters.payload_bytes
        fits = len(plaintext) <= full if is_last else len(plaintext) == full
        if not fits or len(out) != len(plaintext) + OVERHEAD_BYTES or len(iv) != IV_BYTES:
            raise DefectError("sealing.segment-size", "a segment was about to be sealed with a wrong size")
        out[:LENGTH_BYTES] = len(out).to_bytes(4, "big") if is_last else INNER
        out[LENGTH_BYTES : LENGTH_BYTES + IV_BYTES] = iv
        target = memoryview(out)[LENGTH_BYTES + IV_BYTES :]
        self.cipher(position).encrypt_into(iv, plaintext, _segment_aad(position, is_last), target)


class FloeOpener(_FloeState):
    """Open segments in any order."""

    def __init__(self, parameters: FloeParameters, key: bytes, aad: bytes, header: bytes) -> None:
        """Check the header's tag.

        Raises:
            InputError(sealing.key-size): the key has not 32 bytes.
            TamperedError(sealing.header): not a header with these parameters.
            TamperedError(sealing.key): key, AAD or header differ from what was sealed.
        """
        if len(header) != FLOE_HEADER_BYTES or header[:PARAMETER_BYTES] != parameters.encode():
            raise TamperedError("sealing.header", "the header names another construction or segment length")
        iv = header[PARAMETER_BYTES : PARAMETER_BYTES + FLOE_IV_BYTES]
        super().__init__(parameters, _checked_key(key), iv, aad)
        if not hmac.compare_digest(self.header_tag, header[PARAMETER_BYTES + FLOE_IV_BYTES :]):
            raise TamperedError(
                "sealing.key",
                "the key does not open this file: key, header or listing account is not the one it was sealed with",
                actor="provider",
            )

    def open(self, segment: bytes | bytearray | memoryview, position: int, is_last: bool) -> bytearray | None:
        """The plaintext of `segment`, or None when it does not verify as segment `position`."""
        out = bytearray(max(0, len(segment) - OVERHEAD_BYTES))
        return out if self.open_into(memoryview(out), segment, position, is_last) else None

    def open_into(self, out: memoryview, segment: bytes | bytearray | memoryview, position: int, is_last: bool) -> bool:
        """Write the plaintext of `segment` into `out`, which has exactly its length.

        False: it does not verify as segment `position`, and what `out` holds must not be used.
        """
        size = len(segment)
        if is_last:
            well_formed = OVERHEAD_BYTES <= size <= self.parameters.segment_bytes
            length_field = size.to_bytes(4, "big") if well_formed else b""
        else:
            well_formed = size == self.parameters.segment_bytes
            length_field = INNER
        if not well_formed or segment[:LENGTH_BYTES] != length_field:
            return False
        view = memoryview(segment)
        iv = bytes(view[LENGTH_BYTES : LENGTH_BYTES + IV_BYTES])
        aad = _segment_aad(position, is_last)
        try:
            self.cipher(position).decrypt_into(iv, view[LENGTH_BYTES + IV_BYTES :], aad, out)
        except InvalidTag:
            return False
        return True


def _segment_aad(position: int, is_last: bool) -> bytes:
    return position.to_bytes(8, "big") + (b"\x01" if is_last else b"\x00")


def _derive(parameters: FloeParameters, key: bytes, iv: bytes, aad: bytes, purpose: bytes, size: int) -> bytes:
    return HKDFExpand(algorithm=SHA384(), length=size, info=parameters.encode() + iv + purpose + aad).derive(key)


def _checked_key(key: bytes) -> bytes:
    if len(key) != KEY_BYTES:
        raise InputError("sealing.key-size", "a file key has exactly 32 bytes")
    return key
