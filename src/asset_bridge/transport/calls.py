"""What a route's handler gets and gives: a checked request, an answer. No framework type passes this file.

Source: spec/node-http.md §1 and §3. Promises: the body is within the route's cap, JSON is one object without duplicate names, and `signer`
is an account whose signature over this very request was verified and whose nonce was consumed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from asset_bridge.errors import InputError
from asset_bridge.transport.wire import bytes_of, integer_of, load_json

JSON_BYTES = 65_536
"""Cap of a request body where the route names no other."""


@dataclass(frozen=True, slots=True)
class Call:
    """One request, checked. `signer` is an EIP-55 address, or None for an unsigned request."""

    method: str
    path: str
    params: Mapping[str, str]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    signer: str | None

    def json(self) -> dict[str, Any]:
        """The body as one JSON object. Raises InputError(transport.json)."""
        return parse_object(self.body)

    def hex32(self, name: str) -> bytes:
        """A path parameter of 32 bytes. Raises InputError(transport.json)."""
        return bytes_of(self.params[name], 32, name=name)

    def query_int(self, name: str, default: int, low: int, high: int) -> int:
        """An integer of the query string. Raises InputError(transport.json)."""
        text = self.query.get(name)
        if text is None:
            return default
        if not (text.isascii() and text.isdigit() and len(text) <= 15):
            raise InputError("transport.json", f"{name} is not an integer.")
        return integer_of(int(text), low, high, name=name)


@dataclass(frozen=True, slots=True)
class FilePart:
    """`length` bytes of an open file from `offset` on, which whoever answers closes."""

    file: BinaryIO
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What a handler returns: JSON, bytes, a stream or a part of a file, exactly one of them."""

    status: int = 200
    json: Any = None
    body: bytes | None = None
    stream: Iterator[bytes] | AsyncIterator[bytes] | None = None
    part: FilePart | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    media_type: str = "application/json"


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a node is not healthy."""

    code: str
    message: str
    actor: str = "operator"

    def as_json(self) -> dict[str, str]:
        """As /health shows it."""
        return {"code": self.code, "message": self.message, "actor": self.actor}


@dataclass(frozen=True, slots=True)
class Route:
    """One route of a node.

    Args:
        handler: plain blocking code; it runs in a thread and raises only BridgeError on purpose.
        signed: refuse a request without a valid signature.
        allow: called with the signer's address; raises RefusedError when this account may not.
        request: JSON schema of the body, for /openapi.json.
    """

    method: str
    path: str
    handler: Callable[[Call], Answer]
    summary: str
    signed: bool = False
    allow: Callable[[str], None] | None = None
    max_body_bytes: int = JSON_BYTES
    request: Mapping[str, Any] | None = None


def parse_object(body: bytes) -> dict[str, Any]:
    """One JSON object, strict. Raises InputError(transport.json)."""
    try:
        obj = load_json(body, object_pairs_hook=_unique, parse_constant=_no_constant)
    except ValueError as error:
        raise InputError("transport.json", "The body is not one JSON object.") from error
    if not isinstance(obj, dict):
        raise InputError("transport.json", "The body is not one JSON object.")
    return obj


def field_bytes(obj: Mapping[str, Any], name: str, length: int | None = None) -> bytes:
    """A 0x-hex member of a JSON object. Raises InputError(transport.json)."""
    return bytes_of(obj.get(name), length, name=name)


def field_int(obj: Mapping[str, Any], name: str, low: int, high: int) -> int:
    """An integer member of a JSON object. Raises InputError(transport.json)."""
    return integer_of(obj.get(name), low, high, name=name)


def field_str(obj: Mapping[str, Any], name: str, max_length: int = 256) -> str:
    """A string member of a JSON object. Raises InputError(transport.json)."""
    value = obj.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= max_length or not value.isprintable():
        raise InputError("transport.json", f"{name} is not a string of 1 to {max_length} printable characters.")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    obj = dict(pairs)
    if len(obj) != len(pairs):
        raise ValueError("a name occurs twice")
    return obj


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
