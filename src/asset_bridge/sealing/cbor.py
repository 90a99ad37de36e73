"""The corner of CBOR that an index uses: unsigned integers, text and arrays of known length.

Implements spec/sealed-file.md §4.2 (rule S18). The index comes from a stranger, so the general decoder with its tags
(dates, regular expressions, big numbers, shared references) is not let near it; encoding uses cbor2.
Promises: time and memory in proportion to the input; canonical heads only; nothing but InputError(sealing.index).
Does not promise: any other type of CBOR.
"""

from __future__ import annotations

from typing import Any

from asset_bridge.errors import InputError

_UNSIGNED, _TEXT, _ARRAY = 0, 3, 4
_MAX_DEPTH = 3  # index, entries, entry


def decode(encoded: bytes) -> Any:
    """The one item that `encoded` holds, made of int, str and list.

    Raises:
        InputError(sealing.index): another type, a head not in shortest form, nesting, or bytes too few or too many.
    """
    item, end = _item(encoded, 0, 1)
    if end != len(encoded):
        raise _bad("bytes are left over")
    return item


def _item(encoded: bytes, at: int, depth: int) -> tuple[Any, int]:
    major, value, at = _head(encoded, at)
    if major == _UNSIGNED:
        return value, at
    if value > len(encoded) - at:  # an array's items take a byte each, so this bounds both
        raise _bad("bytes are missing")
    if major == _TEXT:
        try:
            return encoded[at : at + value].decode("utf-8"), at + value
        except UnicodeDecodeError:
            raise _bad("a text is not valid UTF-8") from None
    if major != _ARRAY or depth > _MAX_DEPTH:
        raise _bad("it holds an item of another type, or too deep")
    items = []
    for _ in range(value):
        item, at = _item(encoded, at, depth + 1)
        items.append(item)
    return items, at


def _head(encoded: bytes, at: int) -> tuple[int, int, int]:
    """Major type, value, and the place behind the head."""
    if at >= len(encoded):
        raise _bad("bytes are missing")
    major, low = encoded[at] >> 5, encoded[at] & 0x1F
    at += 1
    if low < 24:
        return major, low, at
    width = 1 << (low - 24)
    if width > 8 or at + width > len(encoded):
        raise _bad("a head is malformed")
    value = int.from_bytes(encoded[at : at + width], "big")
    if value < (24 if width == 1 else 1 << 4 * width):
        raise _bad("a number is not in shortest form")
    return major, value, at + width


def _bad(why: str) -> InputError:
    return InputError("sealing.index", f"the index of the sealed file is malformed: {why}")
