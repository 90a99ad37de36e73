"""Content ids as the IPFS world writes them: any version, codec, base and supported hash. For the gateway and imported archives only.

Source: the CID and multihash specifications, multiformats table. What the product itself seals and lists is named by the strict `Cid`.
Promises: one block has one `multihash`, whatever codec or spelling named it; `verify` is the one place that decides; an identity id carries
its block. Does not promise: hashes outside HASHES; such an id is refused, since nobody here could verify its block.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from asset_bridge.errors import InputError, TamperedError
from asset_bridge.ipld.cid import DAG_PB, RAW, Cid
from asset_bridge.ipld.dagpb import encode_varint

DAG_CBOR = 0x71
DAG_JSON = 0x0129
CBOR = 0x51
JSON = 0x0200
IDENTITY, SHA2_256 = 0x00, 0x12
MOST_INLINE_BYTES = 128
MOST_CHARACTERS = 512

HASHES: dict[int, Callable[[bytes], bytes]] = {
    SHA2_256: lambda data: hashlib.sha256(data).digest(),
    0x13: lambda data: hashlib.sha512(data).digest(),
    0x14: lambda data: hashlib.sha3_512(data).digest(),
    0x16: lambda data: hashlib.sha3_256(data).digest(),
    0xB220: lambda data: hashlib.blake2b(data, digest_size=32).digest(),
    0xB240: lambda data: hashlib.blake2b(data, digest_size=64).digest(),
    0xB260: lambda data: hashlib.blake2s(data, digest_size=32).digest(),
}
_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_BASE36 = "0123456789abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True, slots=True)
class ContentId:
    """One content id. `version` is 0 or 1; `digest` is the block itself where `hash_code` is IDENTITY."""

    version: int
    codec: int
    hash_code: int
    digest: bytes

    @property
    def multihash(self) -> bytes:
        """What names the block: hash function, length, digest."""
        return encode_varint(self.hash_code) + encode_varint(len(self.digest)) + self.digest

    @property
    def inline(self) -> bytes | None:
        """The block of an identity id, else None."""
        return self.digest if self.hash_code == IDENTITY else None

    def to_bytes(self) -> bytes:
        """The binary form."""
        return self.multihash if self.version == 0 else b"\x01" + encode_varint(self.codec) + self.multihash

    def __str__(self) -> str:
        if self.version == 0:
            return _base58(self.to_bytes())
        return "b" + base64.b32encode(self.to_bytes()).decode("ascii").rstrip("=").lower()

    def strict(self) -> Cid | None:
        """The same id as a sealed body's, where it can be one."""
        if self.hash_code != SHA2_256:
            return None
        return Cid(DAG_PB if self.codec == DAG_PB else RAW, self.digest)

    @classmethod
    def of(cls, cid: Cid) -> ContentId:
        """The general form of a strict id."""
        return cls(1, cid.codec, SHA2_256, cid.digest)

    @classmethod
    def parse(cls, text: str) -> ContentId:
        """Read any usual spelling: Qm…, and version 1 in base 16, 32, 36, 58 or 64.

        Raises:
            InputError(ipld.cid): not a content id, or of a hash that nobody here can verify.
        """
        if not 2 <= len(text) <= MOST_CHARACTERS or not text.isascii() or "=" in text:
            raise _no_cid("its length, or a character that is no digit of any base")
        if len(text) == 46 and text.startswith("Qm"):
            encoded = _number(text, _BASE58)
        else:
            encoded = _decode(text[0], text[1:])
            if encoded[:1] == b"\x12":
                raise _no_cid("version 0 has no other spelling than Qm…")
        cid, rest = cls.read(encoded)
        if rest:
            raise _no_cid("bytes are left over")
        return cid

    @classmethod
    def read(cls, encoded: bytes) -> tuple[ContentId, bytes]:
        """The id at the start of `encoded`, and what follows. Raises InputError(ipld.cid)."""
        if encoded[:2] == b"\x12\x20":
            if len(encoded) < 34:
                raise _no_cid("it is cut off")
            return cls(0, DAG_PB, SHA2_256, bytes(encoded[2:34])), encoded[34:]
        version, at = _varint(encoded, 0)
        codec, at = _varint(encoded, at)
        hash_code, at = _varint(encoded, at)
        length, at = _varint(encoded, at)
        digest = bytes(encoded[at : at + length])
        if version != 1 or len(digest) != length:
            raise _no_cid("its version or length")
        if hash_code == IDENTITY:
            if length > MOST_INLINE_BYTES:
                raise _no_cid(f"an inline block has at most {MOST_INLINE_BYTES} bytes")
        elif hash_code not in HASHES or length != len(HASHES[hash_code](b"")):
            raise _no_cid(f"the hash function 0x{hash_code:x} of {length} bytes cannot be verified here")
        return cls(1, codec, hash_code, digest), encoded[at + length :]

    def verify(self, block: bytes) -> None:
        """Check that `block` is what this id names. Raises TamperedError(ipld.block)."""
        found = block if self.hash_code == IDENTITY else HASHES[self.hash_code](block)
        if found != self.digest:
            raise TamperedError("ipld.block", f"the block received for {self} has another hash", actor="storage node")


def _varint(encoded: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 63, 7):
        if at >= len(encoded):
            break
        byte = encoded[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if byte == 0 and shift:
                break
            return value, at
    raise _no_cid("a number has no end or is not in shortest form")


def _decode(base: str, text: str) -> bytes:
    try:
        if base in "bB":
            return base64.b32decode(text.upper() + "=" * (-len(text) % 8))
        if base in "fF":
            return binascii.unhexlify(text)  # unlike bytes.fromhex it takes no spaces
        if base == "z":
            return _number(text, _BASE58)
        if base in "kK":
            return _number(text.lower(), _BASE36)
        if base in "um":
            padded = text + "=" * (-len(text) % 4)
            return base64.b64decode(padded, altchars=b"-_" if base == "u" else None, validate=True)
    except (ValueError, binascii.Error):
        raise _no_cid("a character is no digit of its base") from None
    raise _no_cid("its base is not known")


def _number(text: str, digits: str) -> bytes:
    value = 0
    for character in text:
        place = digits.find(character)
        if place < 0:
            raise _no_cid("a character is no digit of its base")
        value = value * len(digits) + place
    zeros = len(text) - len(text.lstrip(digits[0]))
    return bytes(zeros) + value.to_bytes((value.bit_length() + 7) // 8, "big")


def _base58(data: bytes) -> str:
    """Of bytes that begin with another than zero, as every id of version 0 does."""
    value, out = int.from_bytes(data, "big"), ""
    while value:
        value, place = divmod(value, 58)
        out = _BASE58[place] + out
    return out


def _no_cid(why: str) -> InputError:
    return InputError("ipld.cid", f"not a content id: {why}")
