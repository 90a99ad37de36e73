"""EIP-55 addresses: the one spelling of an account (EIP-55), without a library that takes 0.3 s to import."""

from __future__ import annotations

import re
from functools import lru_cache

from asset_bridge.keys.keccak import keccak

_FORM = re.compile(r"0x[0-9a-fA-F]{40}")


@lru_cache(maxsize=1024)
def checksum(raw: bytes) -> str:
    """The EIP-55 text of 20 bytes; the same accounts are asked for again and again, so the last ones are kept."""
    plain = raw.hex()
    digest = keccak(plain.encode()).hex()
    return "0x" + "".join(c.upper() if d >= "8" else c for c, d in zip(plain, digest, strict=False))


def is_address(value: object) -> bool:
    """Whether this is an address with its right EIP-55 checksum."""
    return isinstance(value, str) and bool(_FORM.fullmatch(value)) and checksum(bytes.fromhex(value[2:])) == value
