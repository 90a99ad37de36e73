"""Canonical JSON and CBOR for documents, and the checks that every document shares.

Source: spec/documents.md §1. Promises: one encoding of each value, decode-encode-compare, a size limit before parsing.
Does not promise: that what a document says is true.
"""

from __future__ import annotations

import json
import re
from typing import Any

from asset_bridge.errors import InputError, TamperedError
from asset_bridge.vault.secret import pack, unpack

MAX_PUBLIC_BYTES = 1024 * 1024  # one raw block: description, terms, profile and endpoint have no length on chain
MAX_SEALED_BYTES = 16 * 1024 * 1024  # form and reply
MAX_TEXT_CHARACTERS = 20_000
MAX_DEPTH = 64
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def encode_json(value: object) -> bytes:
    """UTF-8, keys sorted, no spaces, nothing escaped that need not be.

    Raises:
        InputError(trade.document): a value that JSON cannot hold (NaN, half a surrogate pair, too deep).
    """
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":"))
        return text.encode()
    except (ValueError, TypeError, RecursionError):
        raise InputError("trade.document", "a value of the document cannot be written as JSON") from None


def decode_json(encoded: bytes, what: str, *, limit_bytes: int = MAX_PUBLIC_BYTES) -> dict[str, Any]:
    """The object of canonical JSON bytes.

    Raises:
        TamperedError(trade.document): too long, not JSON, no object, or another encoding of the same value.
    """
    if len(encoded) > limit_bytes:
        raise bad(what, "is too long")
    if nesting(encoded) > MAX_DEPTH:  # before the parser: its recursion must not depend on a stranger
        raise bad(what, "is nested too deeply")
    try:
        value = json.loads(encoded)
        canonical = encode_json(value)
    except (ValueError, RecursionError, InputError):
        raise bad(what, "is not JSON") from None
    if canonical != encoded or not isinstance(value, dict):
        raise bad(what, "is not in its canonical form")
    return value


def nesting(encoded: bytes) -> int:
    """How deep brackets nest outside strings; an upper bound for what is not JSON."""
    depth = deepest = 0
    for byte in _STRING.sub(b"", encoded):
        if byte in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif byte in b"]}":
            depth -= 1
    return deepest


def encode_cbor(value: object) -> bytes:
    """Canonical CBOR (RFC 8949 §4.2.1)."""
    return pack(value)


def decode_cbor(encoded: bytes, what: str) -> dict[str, Any]:
    """The map of canonical CBOR bytes; TamperedError trade.document."""
    if len(encoded) > MAX_SEALED_BYTES:
        raise bad(what, "is too long")
    try:
        value = unpack(encoded, what)
    except TamperedError:
        raise bad(what, "is not canonical CBOR") from None
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise bad(what, "is no map")
    return value


def bad(what: str, why: str, *, actor: str = "provider") -> TamperedError:
    """A document of somebody else's that is not what its format says."""
    return TamperedError("trade.document", f"{what} {why}", hint="its author must publish it again", actor=actor)


def require_fields(table: dict[str, Any], what: str, required: set[str], optional: set[str] = frozenset()) -> None:  # type: ignore[assignment]
    """Exactly the fields of the format."""
    if not required <= set(table) <= required | optional:
        raise bad(what, "has missing or unknown fields")


def text(value: object, what: str, *, low: int = 0, high: int = MAX_TEXT_CHARACTERS) -> str:
    """A string within bounds, without control or direction characters that would deceive a reader on a terminal."""
    if not isinstance(value, str) or not low <= len(value) <= high or _CONTROL.search(value):
        raise bad(what, f"is not a text of {low} to {high} printable characters")
    return value


def texts(value: object, what: str, *, count: int, high: int) -> tuple[str, ...]:
    """A list of short strings."""
    if not isinstance(value, list) or len(value) > count:
        raise bad(what, f"is not a list of at most {count} texts")
    return tuple(text(item, what, low=1, high=high) for item in value)


def hex_bytes(value: object, what: str, size: int) -> bytes:
    """0x and lower-case hex of `size` bytes."""
    if not isinstance(value, str) or len(value) != 2 + 2 * size or not re.fullmatch(r"0x[0-9a-f]*", value):
        raise bad(what, f"is not {size} bytes in lower-case 0x-hex")
    return bytes.fromhex(value[2:])


def counting(value: object, what: str, high: int = 2**53 - 1) -> int:
    """An integer from 0 to `high`."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= high:
        raise bad(what, f"is not a whole number from 0 to {high}")
    return value


def as_input(error: TamperedError) -> InputError:
    """The same refusal for a document that the caller is about to write himself."""
    return InputError(error.code, error.message, hint="change it and run the command again")
