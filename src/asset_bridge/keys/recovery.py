"""Recovery shares: a secret split so that any `threshold` of the holders get it back and fewer learn nothing.

Implements spec/keys.md K21-K26: Shamir's scheme over GF(2^8), byte by byte, with a tag inside the secret.
Promises: secret bytes meet only XOR, AND and shifts of numbers of one fixed size, since every factor is a public share
number; malformed, mixed, too few and wrong shares are refused by name. Does not promise: to name the wrong one among
exactly `threshold` shares (one more share is needed for that), or that a share that was handed out comes back.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NoReturn

from asset_bridge.errors import DefectError, InputError, RefusedError, TamperedError
from asset_bridge.keys.checks import fixed

MAX_RECOVERY_SHARES = 16
MAX_SECRET_BYTES = 4096
MAX_TEXT_CHARACTERS = 16_384  # a share of the longest secret has 6,620
TAG_BYTES = 16
SET_ID_BYTES = 8
CHECKSUM_BYTES = 8
_MAGIC = b"ABSHARE\x01"
_HEAD_BYTES = len(_MAGIC) + SET_ID_BYTES + 4
_LINE_CHARACTERS = 60


@dataclass(frozen=True, slots=True, eq=False)
class RecoveryShare:
    """One holder's share. Its value is secret; its other fields are not."""

    set_id: bytes
    threshold: int
    shares: int
    number: int
    value: bytes = field(repr=False)

    def to_bytes(self) -> bytes:
        """magic 8 ‖ set id 8 ‖ threshold ‖ shares ‖ number ‖ 00 ‖ value ‖ checksum 8 (K23)."""
        head = _MAGIC + self.set_id + bytes((self.threshold, self.shares, self.number, 0))
        return head + self.value + _checksum(head + self.value)

    @classmethod
    def from_bytes(cls, encoded: bytes) -> RecoveryShare:
        """Parse the one encoding; TamperedError(keys.share-form) for anything else."""
        longest = _HEAD_BYTES + MAX_SECRET_BYTES + TAG_BYTES + CHECKSUM_BYTES
        if (
            not isinstance(encoded, bytes)
            or not _HEAD_BYTES + TAG_BYTES + 1 + CHECKSUM_BYTES <= len(encoded) <= longest
        ):
            raise _malformed("it has an impossible length")
        body, checksum = encoded[:-CHECKSUM_BYTES], encoded[-CHECKSUM_BYTES:]
        if not body.startswith(_MAGIC):
            raise _malformed("it does not begin like one")
        if checksum != _checksum(body):
            raise _malformed("its checksum does not hold, so a character is wrong or missing")
        threshold, shares, number, zero = body[16:_HEAD_BYTES]
        if zero or not 2 <= threshold <= shares <= MAX_RECOVERY_SHARES or not 1 <= number <= shares:
            raise _malformed("its numbers are out of range")
        return cls(body[8:16], threshold, shares, number, body[_HEAD_BYTES:])

    def to_text(self) -> str:
        """What is printed or kept in a file: a line for people, then base32 (K24)."""
        letters = base64.b32encode(self.to_bytes()).decode().rstrip("=").lower()
        lines = [letters[at : at + _LINE_CHARACTERS] for at in range(0, len(letters), _LINE_CHARACTERS)]
        about = f"# asset-bridge recovery share {self.number} of {self.shares}, any {self.threshold} recover; "
        return "\n".join([f"{about}set {self.set_id.hex()}", *lines, ""])

    @classmethod
    def from_text(cls, text: str) -> RecoveryShare:
        """Parse what a person typed: comment lines, spaces and the case of letters do not count."""
        if len(text) > MAX_TEXT_CHARACTERS:
            raise _malformed("it is too long")
        kept = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
        letters = "".join("".join(kept).split()).upper()
        try:
            encoded = base64.b32decode(letters + "=" * (-len(letters) % 8))
        except (binascii.Error, ValueError):
            raise _malformed("it has a character that no share has, or one too few") from None
        if base64.b32encode(encoded).decode().rstrip("=") != letters:
            raise _malformed("its last character is another spelling")
        return cls.from_bytes(encoded)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RecoveryShare) and hmac.compare_digest(self.to_bytes(), other.to_bytes())

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> NoReturn:
        raise DefectError("keys.secret-copied", "a recovery share must not be pickled or copied")


def split(secret: bytes, threshold: int, shares: int, randbytes: Callable[[int], bytes]) -> list[RecoveryShare]:
    """Split `secret` (1 to 4,096 bytes) into `shares`, any `threshold` of which recover it.

    Raises InputError: keys.threshold unless 2 <= threshold <= shares <= 16, keys.size for the secret's length.
    """
    if not 2 <= threshold <= shares <= MAX_RECOVERY_SHARES:
        raise InputError("keys.threshold", "recovery shares need 2 <= threshold <= shares <= 16")
    if not isinstance(secret, bytes) or not 1 <= len(secret) <= MAX_SECRET_BYTES:
        raise InputError("keys.size", f"a secret to split must have 1 to {MAX_SECRET_BYTES} bytes")
    set_id = fixed("randomness", randbytes(SET_ID_BYTES), SET_ID_BYTES)
    constant = _tag(set_id, threshold, shares, secret) + secret  # the tag leads, so that no number is short (K22)
    size = len(constant)
    drawn = [fixed("randomness", randbytes(size), size) for _ in range(threshold - 1)]
    polynomial = [int.from_bytes(part, "big") for part in (*drawn, constant)]  # highest power first
    made = []
    for number in range(1, shares + 1):
        value = polynomial[0]
        for part in polynomial[1:]:
            value = _times(value, number, size) ^ part
        made.append(RecoveryShare(set_id, threshold, shares, number, value.to_bytes(size, "big")))
    return made


def recover(given: Sequence[RecoveryShare]) -> bytes:
    """The secret.

    Raises:
        RefusedError(keys.share-too-few): fewer different shares than the threshold.
        RefusedError(keys.share-mixed): shares of different sets.
        TamperedError(keys.share-wrong): they do not belong together; named, when there is one more than needed.
    """
    if not given:
        raise RefusedError("keys.share-too-few", "no recovery share was given", hint="name the files of the shares")
    first = given[0]
    for share in given:
        if _set_of(share) != _set_of(first):
            raise RefusedError(
                "keys.share-mixed",
                f"share {share.number} of set {share.set_id.hex()} is not of the set {first.set_id.hex()}",
                hint="give shares that were made together; the first line of each names its set",
            )
    by_number = {share.number: share for share in given}
    twice = sorted({share.number for share in given if by_number[share.number] != share})
    if twice:
        raise _wrong(f"share {twice[0]} was given twice and differs")
    if len(by_number) < first.threshold:
        raise RefusedError(
            "keys.share-too-few",
            f"{len(by_number)} of the {first.threshold} recovery shares that are needed are there",
            hint="ask another holder",
        )
    ordered = [by_number[number] for number in sorted(by_number)]
    for chosen in itertools.combinations(ordered, first.threshold):
        constant = _value_at(chosen, 0)
        tag, secret = constant[:TAG_BYTES], constant[TAG_BYTES:]
        if hmac.compare_digest(tag, _tag(first.set_id, first.threshold, first.shares, secret)):
            rest = [share for share in ordered if share not in chosen]
            odd = [share.number for share in rest if _value_at(chosen, share.number) != share.value]
            if odd:
                raise _wrong(f"share {', '.join(map(str, odd))} was changed; the others recover without it")
            return secret
    raise _wrong("they do not belong together: at least one was changed")


def _set_of(share: RecoveryShare) -> tuple[bytes, int, int, int]:
    return share.set_id, share.threshold, share.shares, len(share.value)


def _checksum(body: bytes) -> bytes:
    return hashlib.sha256(b"asset-bridge/1/recovery-share\x00" + body).digest()[:CHECKSUM_BYTES]


def _tag(set_id: bytes, threshold: int, shares: int, secret: bytes) -> bytes:
    return hmac.digest(secret, b"asset-bridge/1/recovery\x00" + set_id + bytes((threshold, shares)), "sha256")[
        :TAG_BYTES
    ]


def _value_at(chosen: Sequence[RecoveryShare], position: int) -> bytes:
    """The polynomial through `chosen` at another public position (Lagrange); in GF(2^8) minus is plus."""
    size, total = len(chosen[0].value), 0
    for share in chosen:
        others = [other.number for other in chosen if other.number != share.number]
        factor = _ratio([position ^ other for other in others], [share.number ^ other for other in others])
        total ^= _times(int.from_bytes(share.value, "big"), factor, size)
    return total.to_bytes(size, "big")


def _times(vector: int, factor: int, size: int) -> int:
    """Every byte of `vector` times the public `factor`, modulo x^8 + x^4 + x^3 + x + 1 (FIPS 197 §4.2)."""
    ones = int.from_bytes(b"\x01" * size, "big")
    low, total = ones * 0x7F, 0
    for bit in range(8):
        if factor >> bit & 1:
            total ^= vector
        vector = ((vector & low) << 1) ^ ((vector >> 7 & ones) * 0x1B)
    return total


def _powers() -> tuple[list[int], dict[int, int]]:
    """Powers of the generator x + 1 and their logarithms."""
    powers = [1]
    while len(powers) < 255:
        powers.append(_times(powers[-1], 3, 1))
    return powers, {power: exponent for exponent, power in enumerate(powers)}


_POWER, _LOGARITHM = _powers()  # for public share numbers only: a table would leak a secret index


def _ratio(above: Sequence[int], below: Sequence[int]) -> int:
    """The product of `above` over the product of `below`, none of them 0."""
    exponent = sum(_LOGARITHM[value] for value in above) - sum(_LOGARITHM[value] for value in below)
    return _POWER[exponent % 255]


def _malformed(why: str) -> TamperedError:
    return TamperedError("keys.share-form", f"this is not a recovery share: {why}", hint="compare it with the original")


def _wrong(why: str) -> TamperedError:
    return TamperedError("keys.share-wrong", f"the recovery shares are not right: {why}", hint="try other shares")
