"""Content ids: CIDv1, sha2-256, codec raw or dag-pb, in their one canonical text and binary form.

Implements spec/sealed-file.md §7 (rules S40, S41).
Promises: `Cid.parse` and `Cid.from_bytes` accept exactly what `str` and `to_bytes` write; `verify_block` is the one
place that decides whether a block belongs to a CID.
Does not promise: other versions, hashes, codecs or bases; a peer that names one is refused.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass

from asset_bridge.errors import InputError, TamperedError

RAW = 0x55
DAG_PB = 0x70
DIGEST_BYTES = 32
CID_BYTES = 36
TEXT_CHARACTERS = 59  # "b" and ceil(36 × 8 / 5) base32 digits
EMPTY_FILE = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"

_CODECS = (RAW, DAG_PB)
_SHA2_256 = bytes((0x12, DIGEST_BYTES))


@dataclass(frozen=True, slots=True, order=True)
class Cid:
    """A content id. `codec` is RAW or DAG_PB, `digest` the 32 bytes of the block's sha2-256."""

    codec: int
    digest: bytes

    def __post_init__(self) -> None:
        if self.codec not in _CODECS or type(self.digest) is not bytes or len(self.digest) != DIGEST_BYTES:
            raise InputError("ipld.cid", "a content id needs the codec raw or dag-pb and a digest of 32 bytes")

    def __str__(self) -> str:
        return "b" + base64.b32encode(self.to_bytes()).decode("ascii").rstrip("=").lower()

    def to_bytes(self) -> bytes:
        """The 36 bytes: version 1, codec, sha2-256, length, digest."""
        return bytes((1, self.codec)) + _SHA2_256 + self.digest

    @classmethod
    def from_bytes(cls, encoded: bytes) -> Cid:
        """Read the binary form.

        Raises:
            InputError(ipld.cid): anything but the 36 canonical bytes.
        """
        encoded = bytes(encoded)
        if len(encoded) != CID_BYTES or encoded[0] != 1 or encoded[1] not in _CODECS or encoded[2:4] != _SHA2_256:
            raise InputError("ipld.cid", "not a CIDv1 with sha2-256 and the codec raw or dag-pb")
        return cls(encoded[1], encoded[4:])

    @classmethod
    def parse(cls, text: str) -> Cid:
        """Read the text form, lower-case base32.

        Raises:
            InputError(ipld.cid): anything but the one spelling that `str` writes.
        """
        if len(text) != TEXT_CHARACTERS or text[0] != "b" or not text.isascii():
            raise InputError("ipld.cid", "not a content id: expected 59 characters that begin with bafk or bafy")
        try:
            encoded = base64.b32decode(text[1:].upper() + "=" * 6)
        except (binascii.Error, ValueError):
            raise InputError("ipld.cid", "not a content id: a character is no base32 digit") from None
        cid = cls.from_bytes(encoded)
        if str(cid) != text:  # upper case, or stray bits in the last digit
            raise InputError("ipld.cid", "not a content id in its canonical spelling")
        return cid


def raw_cid(block: bytes | bytearray | memoryview) -> Cid:
    """The CID of a raw block."""
    return Cid(RAW, hashlib.sha256(block).digest())


def verify_block(cid: Cid, block: bytes | bytearray | memoryview) -> None:
    """Check that `block` is what `cid` names.

    Raises:
        TamperedError(ipld.block): it is not.
    """
    if hashlib.sha256(block).digest() != cid.digest:
        raise TamperedError(
            "ipld.block",
            f"the block received for {cid} has another hash",
            hint="another replica is asked; a node that does this repeatedly should be reported",
            actor="storage node",
        )
