"""Checks of lengths and ranges that every function of this room starts with.

Implements spec/keys.md K1. Promises: a value of the wrong length or range is refused with `keys.size` before any
key is touched, and the message names the field, never the value.
"""

from __future__ import annotations

from asset_bridge.errors import InputError

ACCOUNT_BYTES = 20
CONTAINER_ID_BYTES = 16
ID_BYTES = 32
POINT_BYTES = 33
SEED_BYTES = 32


def fixed(name: str, value: bytes, length_bytes: int) -> bytes:
    """Return `value` as bytes; InputError(keys.size) unless it has exactly `length_bytes`."""
    if not isinstance(value, (bytes, bytearray, memoryview)) or len(value) != length_bytes:
        raise InputError("keys.size", f"{name} must have exactly {length_bytes} bytes")
    return bytes(value)


def unsigned(name: str, value: int, length_bytes: int) -> bytes:
    """Encode `value` big-endian in `length_bytes`; InputError(keys.size) when it does not fit."""
    if isinstance(value, int) and not isinstance(value, bool):
        try:
            return value.to_bytes(length_bytes, "big")
        except OverflowError:  # negative, or too large
            pass
    raise InputError("keys.size", f"{name} must be a whole number of at most {length_bytes} bytes")
