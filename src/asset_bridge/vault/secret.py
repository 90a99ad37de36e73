"""A secret that does not print itself, and the canonical CBOR that this room stores.

Source: spec/home.md §2. Promises: no secret in repr, str, pickle or a comparison that stops early; only one encoding of a value is
accepted. Does not promise: that the memory is wiped (Python copies freely).
"""

from __future__ import annotations

import hmac
from typing import Any, NoReturn

import cbor2

from asset_bridge.errors import InputError, TamperedError


class Secret:
    """Bytes that must not be shown. `reveal` is the only way to them, so that a reader of the code sees each use."""

    __slots__ = ("_value",)

    def __init__(self, value: bytes) -> None:
        self._value = bytes(value)

    def reveal(self) -> bytes:
        """The bytes themselves."""
        return self._value

    def __repr__(self) -> str:
        return f"Secret({len(self._value)} bytes)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(self._value, other._value)

    __hash__ = None  # type: ignore[assignment]  # a secret as a dictionary key would live on in unexpected places

    def __reduce__(self) -> NoReturn:
        raise InputError("vault.secret-pickled", "a secret is never serialised outside the vault")


def pack(value: Any) -> bytes:
    """`value` as canonical CBOR (RFC 8949 §4.2.1)."""
    return cbor2.dumps(value, canonical=True)


def unpack(content: bytes, what: str) -> Any:
    """The value of canonical CBOR bytes; `what` names the file in the error.

    Raises:
        TamperedError(vault.malformed): not CBOR, more than one item, or another encoding of the same value.
    """
    try:
        value = cbor2.loads(content)
        canonical = pack(value)
    except (cbor2.CBORError, ValueError, TypeError, RecursionError, OverflowError, MemoryError):
        raise TamperedError("vault.malformed", f"{what} is not what this program writes") from None
    if canonical != content:
        raise TamperedError("vault.malformed", f"{what} is not what this program writes")
    return value
