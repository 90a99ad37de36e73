"""The two encodings of the chain: ABI values and RLP lists.

Source: Solidity ABI specification 0.8 ("Formal Specification of the Encoding", "Strict Encoding Mode"); Ethereum yellow paper,
appendix B (RLP). Pure. Kinds: uint8 to uint256, bool, address, bytes1 to bytes32, bytes, string, T[], tuples of these.
Promises: `decode` accepts exactly what `encode` gives (one form a value, nothing behind it); `decode(…, exact=False)` also takes
offsets and padding of others' making, for text that foreign contracts answer with. Neither reads more than it is given.
Does not promise: signed numbers, fixed-point numbers, arrays of fixed length; the contracts have none.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from asset_bridge.chain.keys import address_bytes

WORD_BYTES = 32


class EncodingError(ValueError):
    """A value does not fit its kind, or bytes are not the encoding of one."""


def encode(kinds: Sequence[str], values: Sequence[Any]) -> bytes:
    """The ABI encoding of `values`; addresses are hex text or 20 bytes.

    Raises:
        EncodingError: a value does not fit its kind, or their numbers differ. InputError(chain.address): not an address.
    """
    if len(kinds) != len(values):
        raise EncodingError(f"{len(values)} values for {len(kinds)} kinds")
    at, heads, tails = sum(_head_bytes(kind) for kind in kinds), [], []
    for kind, value in zip(kinds, values, strict=True):
        body = _encode_one(kind, value)
        if _is_dynamic(kind):
            heads.append(at.to_bytes(WORD_BYTES, "big"))
            tails.append(body)
            at += len(body)
        else:
            heads.append(body)
    return b"".join(heads + tails)


def decode(kinds: Sequence[str], data: bytes, *, exact: bool = True) -> tuple[Any, ...]:
    """The values that `data` encodes: int, bool, bytes, str (addresses in lower-case hex), tuples.

    Raises:
        EncodingError: `data` is not their encoding.
    """
    values, end = _decode_all(kinds, data, 0, exact)
    if exact and end != len(data):
        raise EncodingError("bytes behind the last value")
    return values


def rlp(item: bytes | int | Sequence[Any]) -> bytes:
    """The RLP encoding of bytes, of a number of at least 0 in its shortest form, or of a list of these."""
    if isinstance(item, int):
        item = item.to_bytes((item.bit_length() + 7) // 8, "big")
    if isinstance(item, bytes):
        return item if len(item) == 1 and item[0] < 0x80 else _rlp_head(len(item), 0x80) + item
    body = b"".join(rlp(part) for part in item)
    return _rlp_head(len(body), 0xC0) + body


def _rlp_head(length: int, base: int) -> bytes:
    if length < 56:
        return bytes([base + length])
    size = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes([base + 55 + len(size)]) + size


# ── kinds ──
@cache
def members(kind: str) -> tuple[str, ...]:
    """The kinds inside a tuple's brackets."""
    parts, depth, start = [], 0, 1
    for place, letter in enumerate(kind):
        depth += (letter == "(") - (letter == ")")
        if (letter == "," and depth == 1) or (letter == ")" and depth == 0):
            parts.append(kind[start:place])
            start = place + 1
    return tuple(part for part in parts if part)


@cache
def _is_dynamic(kind: str) -> bool:
    return (
        kind in ("bytes", "string") or kind.endswith("[]") or (kind[0] == "(" and any(map(_is_dynamic, members(kind))))
    )


@cache
def _head_bytes(kind: str) -> int:
    if kind[0] == "(" and not _is_dynamic(kind):
        return sum(map(_head_bytes, members(kind)))
    return WORD_BYTES


@cache
def _bits(kind: str) -> int:
    """Of a uint."""
    bits = int(kind[4:]) if kind.startswith("uint") and kind[4:].isdigit() else 0
    if not 8 <= bits <= 256 or bits % 8:
        raise EncodingError(f"{kind} is no kind of the contracts")
    return bits


@cache
def _fixed_bytes(kind: str) -> int:
    """N of bytesN, else 0."""
    length = int(kind[5:]) if kind.startswith("bytes") and kind[5:].isdigit() else 0
    return length if 1 <= length <= WORD_BYTES else 0


def _padding(length: int) -> bytes:
    return bytes(-length % WORD_BYTES)


# ── one value ──
def _encode_one(kind: str, value: Any) -> bytes:
    if kind.endswith("[]"):
        return len(value).to_bytes(WORD_BYTES, "big") + encode([kind[:-2]] * len(value), value)
    if kind[0] == "(":
        return encode(members(kind), value)
    if kind == "address":
        raw = value if isinstance(value, bytes) else address_bytes(value)
        if len(raw) != 20:
            raise EncodingError("an address has 20 bytes")
        return bytes(12) + raw
    if kind in ("bytes", "string"):
        body = value.encode() if kind == "string" else bytes(value)
        return len(body).to_bytes(WORD_BYTES, "big") + body + _padding(len(body))
    if length := _fixed_bytes(kind):
        if not isinstance(value, bytes) or len(value) != length:
            raise EncodingError(f"a {kind} has {length} bytes")
        return value + _padding(length)
    if kind == "bool":
        if not isinstance(value, bool):
            raise EncodingError("a bool is True or False")
    elif isinstance(value, bool) or not isinstance(value, int) or value < 0 or value.bit_length() > _bits(kind):
        raise EncodingError(f"the number does not fit {kind}")
    return int(value).to_bytes(WORD_BYTES, "big")


def _decode_all(kinds: Sequence[str], data: bytes, start: int, exact: bool) -> tuple[tuple[Any, ...], int]:
    """The values whose heads begin at `start`, and where the last of them ends. Offsets count from `start`."""
    head, values = start, []
    end = start + sum(map(_head_bytes, kinds))
    for kind in kinds:
        if _is_dynamic(kind):
            place = start + _number(data, head)
            if exact and place != end:
                raise EncodingError("an offset that is not the next free place")
            value, end = _decode_one(kind, data, place, exact)
        else:
            value, _ = _decode_one(kind, data, head, exact)
        values.append(value)
        head += _head_bytes(kind)
    return tuple(values), end


def _decode_one(kind: str, data: bytes, at: int, exact: bool) -> tuple[Any, int]:
    if kind.endswith("[]"):
        count = _number(data, at)
        if count * WORD_BYTES > len(data) - at:
            raise EncodingError("an array longer than the bytes that hold it")
        return _decode_all([kind[:-2]] * count, data, at + WORD_BYTES, exact)
    if kind[0] == "(":
        return _decode_all(members(kind), data, at, exact)
    if kind in ("bytes", "string"):
        return _decode_bytes(kind, data, at, exact)
    word = _part(data, at, WORD_BYTES)
    if length := _fixed_bytes(kind):
        if any(word[length:]):
            raise EncodingError(f"a {kind} with bytes in its padding")
        return word[:length], at + WORD_BYTES
    bits = 160 if kind == "address" else 1 if kind == "bool" else _bits(kind)
    number = int.from_bytes(word, "big")
    if number >> bits:
        raise EncodingError(f"the number does not fit {kind}")
    if kind == "address":
        return "0x" + word[12:].hex(), at + WORD_BYTES
    return bool(number) if kind == "bool" else number, at + WORD_BYTES


def _decode_bytes(kind: str, data: bytes, at: int, exact: bool) -> tuple[bytes | str, int]:
    length, begin = _number(data, at), at + WORD_BYTES
    body = _part(data, begin, length)
    end = begin + length
    if exact:
        padding = _padding(length)
        if _part(data, end, len(padding)) != padding:
            raise EncodingError("padding that is not zero")
        end += len(padding)
    if kind == "bytes":
        return body, end
    try:
        return body.decode(), end
    except UnicodeDecodeError:
        raise EncodingError("text that is not UTF-8") from None


def _number(data: bytes, at: int) -> int:
    return int.from_bytes(_part(data, at, WORD_BYTES), "big")


def _part(data: bytes, at: int, length: int) -> bytes:
    if at + length > len(data):
        raise EncodingError("fewer bytes than the values need")
    return bytes(data[at : at + length])
