"""Encode calls, decode answers and logs, by the table in interface.py.

Source: spec/contracts.md §5, §6. Pure. Addresses come out EIP-55; a log or answer that does not decode is refused, never guessed.
Promises: decoding accepts only what encoding gives.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from asset_bridge.chain.encoding import EncodingError, decode, encode, members
from asset_bridge.chain.interface import EVENTS, FUNCTIONS, STRUCTS
from asset_bridge.chain.keys import address_bytes, checksum_address
from asset_bridge.chain.packing import OfferArgs, malformed
from asset_bridge.chain.records import BlockRef
from asset_bridge.keys.keccak import keccak


@dataclass(frozen=True, slots=True)
class Function:
    """A function of a contract."""

    contract: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    selector: bytes


@dataclass(frozen=True, slots=True)
class EventType:
    """An event of a contract: (type, name, indexed) of each argument."""

    contract: str
    name: str
    inputs: tuple[tuple[str, str, bool], ...]
    topic: bytes


@dataclass(frozen=True, slots=True)
class Event:
    """An event in a block. `args` by ABI name: bytes, int, bool, EIP-55 str, OfferArgs, or tuples of these."""

    contract: str
    name: str
    args: Mapping[str, Any]
    block: BlockRef
    transaction_hash: bytes
    log_index: int


def _expand(kind: str) -> str:
    return STRUCTS.get(kind, kind)


def _split(text: str) -> list[str]:
    return [item.strip() for item in text.split(",") if item.strip()]


@cache
def functions() -> dict[tuple[str, str], Function]:
    """Every function of interface.py by (contract, name)."""
    found = {}
    for contract, lines in FUNCTIONS.items():
        for line in lines.split("\n"):
            match = re.fullmatch(r"(\w+)\((.*?)\)(?: -> (.+))?", line.strip())
            if match:
                inputs = tuple(_expand(k) for k in _split(match[2]))
                selector = keccak(f"{match[1]}({','.join(inputs)})".encode())[:4]
                outputs = tuple(_split(match[3] or ""))
                found[contract, match[1]] = Function(contract, match[1], inputs, outputs, selector)
    return found


@cache
def event_types() -> dict[tuple[str, str], EventType]:
    """Every event of interface.py by (contract, name)."""
    found = {}
    for contract, lines in EVENTS.items():
        for line in lines.split("\n"):
            match = re.fullmatch(r"(\w+)\((.*)\)", line.strip())
            if match:
                parts = [item.split(" ") for item in _split(match[2])]
                inputs = tuple((_expand(kind), name.lstrip("*"), name.startswith("*")) for kind, name in parts)
                topic = keccak(f"{match[1]}({','.join(kind for kind, _, _ in inputs)})".encode())
                found[contract, match[1]] = EventType(contract, match[1], inputs, topic)
    return found


@cache
def _by_topic() -> dict[tuple[str, bytes], EventType]:
    return {(e.contract, e.topic): e for e in event_types().values()}


# ── calls ──
def encode_call(contract: str, name: str, args: Sequence[object]) -> bytes:
    """Selector and arguments."""
    function = functions()[contract, name]
    return function.selector + encode(function.inputs, args)


def decode_answer(contract: str, name: str, data: bytes) -> Any:
    """A view's answer: one value, or a tuple of several.

    Raises:
        TamperedError(chain.malformed): not what the view returns.
    """
    outputs = functions()[contract, name].outputs
    values = tuple(_rich(k, v) for k, v in zip(outputs, _decode(outputs, data), strict=True))
    return values[0] if len(values) == 1 else values


def _decode(kinds: Sequence[str], data: bytes) -> tuple[Any, ...]:
    try:
        return decode(kinds, data)
    except EncodingError:
        raise malformed("an answer does not fit the contract's ABI") from None


def _rich(kind: str, value: Any) -> Any:
    if kind == "address":
        return checksum_address(address_bytes(value))
    if kind == STRUCTS["Offer"]:
        return OfferArgs(value[0], checksum_address(address_bytes(value[1])), *value[2:])
    if kind.endswith("[]"):
        return tuple(_rich(kind[:-2], v) for v in value)
    return value


# ── logs ──
def decode_log(contract: str, topics: Sequence[bytes], data: bytes) -> tuple[str, dict[str, Any]] | None:
    """(name, arguments) of a log; None for an event that interface.py does not name.

    Raises:
        TamperedError(chain.malformed): the log does not fit its event.
    """
    kind = _by_topic().get((contract, topics[0])) if topics else None
    if kind is None:
        return None
    indexed = [(k, n) for k, n, star in kind.inputs if star]
    others = [(k, n) for k, n, star in kind.inputs if not star]
    if len(topics) != len(indexed) + 1:
        raise malformed(f"the log of {kind.name}")
    args = {n: _rich(k, _decode([k], topic)[0]) for (k, n), topic in zip(indexed, topics[1:], strict=True)}
    values = _decode([k for k, _ in others], data)
    args.update({n: _rich(k, v) for (k, n), v in zip(others, values, strict=True)})
    return kind.name, {n: args[n] for _, n, _ in kind.inputs}


# ── a JSON form of events: what the index keeps and what light nodes hand out ──
def args_to_json(contract: str, name: str, args: Mapping[str, Any]) -> str:
    """Canonical JSON: bytes as 0x-hex, numbers over 64 bits as decimal strings, structs and arrays as lists."""
    kind = event_types()[contract, name]
    plain = {n: _to_json(k, args[n]) for k, n, _ in kind.inputs}
    return json.dumps(plain, separators=(",", ":"), sort_keys=True)


def args_from_json(contract: str, name: str, text: str) -> dict[str, Any]:
    """The inverse of `args_to_json`."""
    plain = json.loads(text)
    return {n: _from_json(k, plain[n]) for k, n, _ in event_types()[contract, name].inputs}


def _to_json(kind: str, value: Any) -> Any:
    if kind.endswith("[]"):
        return [_to_json(kind[:-2], v) for v in value]
    if kind.startswith("("):
        return [_to_json(k, v) for k, v in zip(members(kind), value, strict=True)]
    if kind.startswith("bytes"):
        return "0x" + value.hex()
    return str(value) if kind == "uint256" else value


def _from_json(kind: str, value: Any) -> Any:
    if kind.endswith("[]"):
        return tuple(_from_json(kind[:-2], v) for v in value)
    if kind.startswith("("):
        return OfferArgs(*(_from_json(k, v) for k, v in zip(members(kind), value, strict=True)))
    if kind.startswith("bytes"):
        return bytes.fromhex(value[2:])
    return int(value) if kind == "uint256" else value
