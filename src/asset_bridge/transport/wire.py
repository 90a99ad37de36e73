"""Records to JSON and back, for any dataclass of bytes, integers, strings, enums, tuples and other dataclasses.

Source: spec/node-http.md §3. Bytes are lower-case 0x-hex, integers are numbers up to 2^53 - 1 and decimal strings above, enums their value.
Promises: `from_json` takes exactly the fields of the record, of exactly their types; anything else is InputError(transport.json).
Does not promise: that what it returns is true. A record from a peer is unverified until a named check took it.
"""

from __future__ import annotations

import dataclasses
import json
import re
import types
import typing
from collections.abc import Mapping
from enum import Enum
from functools import cache
from itertools import accumulate
from typing import Any, TypeVar

from asset_bridge.errors import InputError

_SAFE_INTEGER = 2**53 - 1  # RFC 8259 §6
_R = TypeVar("_R")
MAX_DEPTH = 32  # our deepest record has 6
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_STEP = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}
_NO_BRACKETS = bytes(value for value in range(256) if value not in _STEP)


def load_json(content: bytes, **options: Any) -> Any:
    """json.loads of the UTF-8 that a stranger sent. Raises ValueError, also for nesting deeper than MAX_DEPTH.

    The depth is counted first: Python's own limit is a process-wide setting, libraries raise it, and then deep nesting overflows the stack.
    """
    # json.loads would take bytes in UTF-16 and UTF-32 too, and those say nothing about brackets.
    text = content.decode("utf-8")
    if content.count(b"[") + content.count(b"{") > MAX_DEPTH:
        brackets = _STRING.sub(b"", content).translate(None, _NO_BRACKETS)
        if brackets and max(accumulate(map(_STEP.__getitem__, brackets))) > MAX_DEPTH:
            raise ValueError("nested too deeply")
    return json.loads(text, **options)


def hex_of(data: bytes) -> str:
    """0x and lower-case hex."""
    return "0x" + data.hex()


def bytes_of(text: object, length: int | None = None, *, name: str = "value") -> bytes:
    """The bytes of a canonical 0x-hex string of `length` bytes. Raises InputError(transport.json)."""
    try:
        data = bytes.fromhex(text[2:]) if isinstance(text, str) else b""
    except ValueError:
        data = b""
    if text != hex_of(data):  # fromhex takes blanks and upper case too
        raise _bad(name, "is not lower-case 0x-hex")
    if length is not None and len(data) != length:
        raise _bad(name, f"does not have {length} bytes")
    return data


def to_json(value: object) -> Any:
    """The JSON form of a record or of one of its values."""
    kind: Any = type(value)
    if kind is bytes:  # most values of a record are bytes and integers
        return "0x" + value.hex()  # type: ignore[attr-defined]
    if kind is int:
        return value if -_SAFE_INTEGER <= value <= _SAFE_INTEGER else str(value)  # type: ignore[operator]
    names = _names(kind)
    if names is not None:
        return {name: to_json(getattr(value, name)) for name in names}
    if isinstance(value, bytes):
        return hex_of(value)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return value
    if isinstance(value, int):
        return value if abs(value) <= _SAFE_INTEGER else str(value)
    if isinstance(value, tuple | list):
        return [to_json(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in value.items()}
    raise TypeError(f"no JSON form for {type(value).__name__}")


def from_json(cls: type[_R], obj: object, lengths: Mapping[str, int] | None = None) -> _R:
    """A record of class `cls` from parsed JSON; `lengths` fixes the bytes of fields by name.

    Raises:
        InputError(transport.json): a field is missing, unknown, of another type or of another length.
    """
    if not isinstance(obj, dict):
        raise _bad(cls.__name__, "is not an object")
    hints = _hints(typing.cast(Any, cls))
    names = [field.name for field in dataclasses.fields(typing.cast(Any, cls))]
    if set(obj) != set(names):
        raise _bad(cls.__name__, "does not have exactly its fields")
    return cls(**{name: _value(hints[name], obj[name], name, lengths or {}) for name in names})


@cache
def _names(cls: Any) -> tuple[str, ...] | None:
    """The fields of a record; None for what is none."""
    return tuple(field.name for field in dataclasses.fields(cls)) if dataclasses.is_dataclass(cls) else None


@cache
def _hints(cls: Any) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def _value(hint: Any, value: object, name: str, lengths: Mapping[str, int]) -> Any:
    if hint is bytes:
        return bytes_of(value, lengths.get(name), name=name)
    if hint is bool:
        if not isinstance(value, bool):
            raise _bad(name, "is not true or false")
        return value
    if hint is int:
        return integer_of(value, name=name)
    if hint is str:
        if not isinstance(value, str):
            raise _bad(name, "is not a string")
        return value
    origin = typing.get_origin(hint)
    if origin is tuple:
        return _tuple(typing.get_args(hint), value, name, lengths)
    if origin in (typing.Union, types.UnionType):
        inner = [part for part in typing.get_args(hint) if part is not type(None)]
        return None if value is None else _value(inner[0], value, name, lengths)
    if isinstance(hint, type) and issubclass(hint, Enum):
        try:
            return hint(value)
        except ValueError as error:
            raise _bad(name, "is not one of its values") from error
    return from_json(hint, value, lengths)


def _tuple(parts: tuple[Any, ...], value: object, name: str, lengths: Mapping[str, int]) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise _bad(name, "is not a list")
    if len(parts) == 2 and parts[1] is Ellipsis:
        return tuple(_value(parts[0], item, name, lengths) for item in value)
    if len(parts) != len(value):
        raise _bad(name, "has another number of entries")
    return tuple(_value(part, item, name, lengths) for part, item in zip(parts, value, strict=True))


def integer_of(value: object, low: int = 0, high: int = 2**256 - 1, *, name: str = "value") -> int:
    """An integer within bounds, from a number or (above 2^53 - 1 only) a decimal string. Raises InputError(transport.json)."""
    number: int
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) <= _SAFE_INTEGER:
        number = value
    elif (
        isinstance(value, str)
        and len(value) <= 78
        and value.isascii()
        and value.isdigit()
        and int(value) > _SAFE_INTEGER
    ):
        number = int(value)
        if str(number) != value:
            raise _bad(name, "is not a canonical integer")
    else:
        raise _bad(name, "is not an integer")
    if not low <= number <= high:
        raise _bad(name, f"is not between {low} and {high}")
    return number


def _bad(name: str, why: str) -> InputError:
    return InputError("transport.json", f"{name} {why}.", hint="See spec/node-http.md for the shape of this message.")
