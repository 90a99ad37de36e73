"""DAG-CBOR and DAG-JSON as far as a gateway needs them: the values, with their links as ContentId.

Source: IPLD codec specifications. Promises: bounded depth and size; anything malformed is refused, so nothing else than a value comes out.
Does not promise: to refuse non-canonical encodings; the block's hash is what a reader verifies.
"""

from __future__ import annotations

import base64
import json
import re
import struct
from collections.abc import Iterator
from typing import Any

from asset_bridge.errors import InputError, TamperedError
from asset_bridge.ipld.content_id import ContentId

MOST_DEPTH = 128
_NESTING = re.compile(r'"(?:[^"\\]|\\.)*+"?|[][{}]', re.DOTALL)  # whole strings, also one without an end, and brackets
_SIMPLE = {20: False, 21: True, 22: None, 23: None}


def decode_dag_cbor(block: bytes) -> Any:
    """The value of a DAG-CBOR block. Raises TamperedError(ipld.data)."""
    value, at = _item(block, 0, 0)
    if at != len(block):
        raise _malformed()
    return value


def decode_dag_json(block: bytes) -> Any:
    """The value of a DAG-JSON block. Raises TamperedError(ipld.data)."""
    try:
        text = block.decode()  # json.loads would guess other encodings
        _check_depth(text)  # before the library's own recursion, whose limit is the process's affair
        return _json_value(json.loads(text))
    except ValueError:
        raise _malformed() from None


def links_in(value: Any) -> Iterator[ContentId]:
    """Every link of a value, in the order of the encoding."""
    if isinstance(value, ContentId):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from links_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from links_in(inner)


def _item(block: bytes, at: int, depth: int) -> tuple[Any, int]:
    if at >= len(block) or depth > MOST_DEPTH:
        raise _malformed()
    major, short = block[at] >> 5, block[at] & 31
    at += 1
    if major == 7 and short in (25, 26, 27):
        size = 2 << short - 25
        form = {2: ">e", 4: ">f", 8: ">d"}[size]
        if at + size > len(block):
            raise _malformed()
        return struct.unpack_from(form, block, at)[0], at + size
    number, at = _number(block, at, short)
    if major == 0:
        return number, at
    if major == 1:
        return -1 - number, at
    if major in (2, 3):
        raw = block[at : at + number]
        if len(raw) != number:
            raise _malformed()
        return (bytes(raw) if major == 2 else _text(raw)), at + number
    if major == 4:
        return _list(block, at, number, depth)
    if major == 5:
        return _map(block, at, number, depth)
    if major == 6:
        raw, at = _item(block, at, depth + 1)
        if number != 42 or not isinstance(raw, bytes) or raw[:1] != b"\0":
            raise _malformed()
        return _link(raw[1:]), at
    if number not in _SIMPLE:
        raise _malformed()
    return _SIMPLE[number], at


def _number(block: bytes, at: int, short: int) -> tuple[int, int]:
    if short < 24:
        return short, at
    if short > 27:
        raise _malformed()
    size = 1 << short - 24
    if at + size > len(block):
        raise _malformed()
    return int.from_bytes(block[at : at + size], "big"), at + size


def _list(block: bytes, at: int, count: int, depth: int) -> tuple[list[Any], int]:
    if count > len(block) - at:
        raise _malformed()
    out = []
    for _ in range(count):
        value, at = _item(block, at, depth + 1)
        out.append(value)
    return out, at


def _map(block: bytes, at: int, count: int, depth: int) -> tuple[dict[str, Any], int]:
    if count > len(block) - at:
        raise _malformed()
    out: dict[str, Any] = {}
    for _ in range(count):
        key, at = _item(block, at, depth + 1)
        if not isinstance(key, str) or key in out:
            raise _malformed()
        out[key], at = _item(block, at, depth + 1)
    return out, at


def _text(raw: bytes) -> str:
    try:
        return bytes(raw).decode()
    except UnicodeDecodeError:
        raise _malformed() from None


def _link(raw: bytes) -> ContentId:
    try:
        cid, rest = ContentId.read(raw)
    except InputError:
        raise _malformed() from None
    if rest:
        raise _malformed()
    return cid


def _check_depth(text: str) -> None:
    depth = 0
    for found in _NESTING.finditer(text):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(found[0], 0)
        if depth > MOST_DEPTH:
            raise _malformed()


def _json_value(value: Any) -> Any:
    if isinstance(value, list):
        return [_json_value(inner) for inner in value]
    if not isinstance(value, dict):
        return value
    if list(value) == ["/"]:
        inner = value["/"]
        if isinstance(inner, str):
            try:
                return ContentId.parse(inner)
            except InputError:
                raise _malformed() from None
        if isinstance(inner, dict) and list(inner) == ["bytes"] and isinstance(inner["bytes"], str):
            return base64.b64decode(inner["bytes"] + "=" * (-len(inner["bytes"]) % 4))
    return {key: _json_value(inner) for key, inner in value.items()}


def _malformed() -> TamperedError:
    return TamperedError("ipld.data", "a block is not valid DAG-CBOR or DAG-JSON", actor="provider")
