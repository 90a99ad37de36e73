"""The small deterministic CBOR that bindings, configurations and evidence are written in.

Implements spec/attestation.md §2: RFC 8949 §4.2.1 with unsigned numbers, byte strings, texts, arrays and maps only (keys: numbers or
texts). Promises: `decode` accepts exactly the bytes that `encode` writes, needs memory proportional to its input, and refuses
everything else with EvidenceRefused(format). Does not promise: to read other people's CBOR.
"""

from __future__ import annotations

from asset_bridge.attestation.refusal import EvidenceRefused, Refusal

Value = int | bytes | str | list["Value"] | dict["int | str", "Value"]
MAX_DEPTH = 4
_UNSIGNED, _BYTES, _TEXT, _ARRAY, _MAP = 0, 2, 3, 4, 5


def encode(value: Value) -> bytes:
    """The one encoding of `value`; EvidenceRefused(format) for a value outside the subset."""
    if isinstance(value, bool):
        raise EvidenceRefused(Refusal.FORMAT, "a truth value has no place here")
    if isinstance(value, int):
        return _head(_UNSIGNED, value)
    if isinstance(value, bytes):
        return _head(_BYTES, len(value)) + value
    if isinstance(value, str):
        text = value.encode()
        return _head(_TEXT, len(text)) + text
    if isinstance(value, list):
        return _head(_ARRAY, len(value)) + b"".join(encode(item) for item in value)
    pairs = sorted((encode(key), encode(item)) for key, item in value.items())
    return _head(_MAP, len(pairs)) + b"".join(key + item for key, item in pairs)


def decode(data: bytes) -> Value:
    """The value of `data`; EvidenceRefused(format) unless `encode` would write exactly these bytes."""
    value, end = _item(data, 0, 0)
    if end != len(data):
        raise EvidenceRefused(Refusal.FORMAT, "bytes after the end")
    if encode(value) != data:
        raise EvidenceRefused(Refusal.FORMAT, "not the canonical encoding")
    return value


def _head(major: int, number: int) -> bytes:
    if not 0 <= number < 1 << 64:
        raise EvidenceRefused(Refusal.FORMAT, "a number outside 0..2^64-1")
    if number < 24:
        return bytes([major << 5 | number])
    size = next(size for size in (1, 2, 4, 8) if number < 1 << (8 * size))
    return bytes([major << 5 | 24 + (1, 2, 4, 8).index(size)]) + number.to_bytes(size, "big")


def _item(data: bytes, at: int, depth: int) -> tuple[Value, int]:
    if depth > MAX_DEPTH:
        raise EvidenceRefused(Refusal.FORMAT, "nested too deep")
    major, number, at = _read_head(data, at)
    if major == _UNSIGNED:
        return number, at
    if number > len(data) - at:  # each member needs at least one byte, so nothing large is ever reserved
        raise EvidenceRefused(Refusal.FORMAT, "cut short")
    if major == _BYTES:
        return data[at : at + number], at + number
    if major == _TEXT:
        try:
            return data[at : at + number].decode(), at + number
        except UnicodeDecodeError:
            raise EvidenceRefused(Refusal.FORMAT, "a text that is not UTF-8") from None
    if major == _ARRAY:
        items: list[Value] = []
        for _ in range(number):
            item, at = _item(data, at, depth + 1)
            items.append(item)
        return items, at
    if major == _MAP:
        return _read_map(data, at, number, depth)
    raise EvidenceRefused(Refusal.FORMAT, "a kind of value that has no place here")


def _read_map(data: bytes, at: int, count: int, depth: int) -> tuple[Value, int]:
    found: dict[int | str, Value] = {}
    for _ in range(count):
        key, at = _item(data, at, depth + 1)
        if not isinstance(key, (int, str)) or key in found:
            raise EvidenceRefused(Refusal.FORMAT, "a key of a map is twice there or of a wrong kind")
        found[key], at = _item(data, at, depth + 1)
    return found, at


def _read_head(data: bytes, at: int) -> tuple[int, int, int]:
    if at >= len(data):
        raise EvidenceRefused(Refusal.FORMAT, "cut short")
    major, short = data[at] >> 5, data[at] & 31
    if short < 24:
        return major, short, at + 1
    if short > 27:
        raise EvidenceRefused(Refusal.FORMAT, "an indefinite or reserved length")
    size = (1, 2, 4, 8)[short - 24]
    if at + 1 + size > len(data):
        raise EvidenceRefused(Refusal.FORMAT, "cut short")
    return major, int.from_bytes(data[at + 1 : at + 1 + size], "big"), at + 1 + size


def field_bytes(fields: dict[int | str, Value], key: int, length_bytes: int) -> bytes:
    """The byte string of exactly this length under `key`, or EvidenceRefused(format)."""
    value = fields.get(key)
    if not isinstance(value, bytes) or len(value) != length_bytes:
        raise EvidenceRefused(Refusal.FORMAT, f"field {key} is not {length_bytes} bytes")
    return value


def field_int(fields: dict[int | str, Value], key: int) -> int:
    """The number under `key`, or EvidenceRefused(format)."""
    value = fields.get(key)
    if not isinstance(value, int):
        raise EvidenceRefused(Refusal.FORMAT, f"field {key} is not a number")
    return value


def field_text(fields: dict[int | str, Value], key: int, max_bytes: int = 256) -> str:
    """The text of at most `max_bytes` under `key`, or EvidenceRefused(format)."""
    value = fields.get(key)
    if not isinstance(value, str) or len(value.encode()) > max_bytes:
        raise EvidenceRefused(Refusal.FORMAT, f"field {key} is not a short text")
    return value


def decode_map(data: bytes, keys: set[int]) -> dict[int | str, Value]:
    """A map with exactly these number keys, or EvidenceRefused(format)."""
    value = decode(data)
    if not isinstance(value, dict) or set(value) != keys:
        raise EvidenceRefused(Refusal.FORMAT, "not the fields that this version has")
    return value
