"""The event log of a TDX guest: what was measured into RTMR0..3, in order.

Implements spec/attestation.md §8.3. A log is a JSON list of {imr, event_type, digest, event, event_payload}, as dstack writes it.
Promises: the log leads to exactly the registers of the quote; for events of register 3 the digest is that of the named payload, so that a
reader may trust name and payload. Does not promise: anything about the payload of registers 0 to 2; their digests are the firmware's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from asset_bridge.attestation import json_text
from asset_bridge.attestation.refusal import EvidenceRefused, Refusal

MAX_EVENTS = 1024
REGISTERS = 4
_APPLICATION_REGISTER = 3
_DIGEST_BYTES = 48


@dataclass(frozen=True, slots=True)
class Event:
    """One measured event. `payload` is authentic only in register 3."""

    register: int
    name: str
    payload: bytes


def check(log: bytes, registers: Sequence[bytes]) -> list[Event]:
    """The events of a log that leads to these four registers (48 bytes each).

    Raises: EvidenceRefused(format): not such a list. EvidenceRefused(event-log): it does not lead to the registers.
    """
    reached = [bytes(_DIGEST_BYTES)] * REGISTERS
    events: list[Event] = []
    for item in _items(log):
        register, kind, digest, name, payload = _event(item)
        if register == _APPLICATION_REGISTER:
            measured = hashlib.sha384(kind.to_bytes(4, "little") + b":" + name.encode() + b":" + payload).digest()
            if measured != digest:
                raise EvidenceRefused(Refusal.EVENT_LOG, "an event's digest is not that of its payload")
        reached[register] = hashlib.sha384(reached[register] + digest).digest()
        events.append(Event(register, name, payload))
    if reached != list(registers):
        raise EvidenceRefused(Refusal.EVENT_LOG)
    return events


def _items(log: bytes) -> list[Any]:
    items = json_text.load(log, "the event log")
    if not isinstance(items, list) or len(items) > MAX_EVENTS:
        raise EvidenceRefused(Refusal.FORMAT, "the event log is not a list")
    return items


def _event(item: Any) -> tuple[int, int, bytes, str, bytes]:
    if not isinstance(item, dict):
        raise EvidenceRefused(Refusal.FORMAT, "not an event")
    register, kind, name = item.get("imr"), item.get("event_type"), item.get("event")
    if type(register) is not int or not 0 <= register < REGISTERS or type(kind) is not int or not 0 <= kind < 1 << 32:
        raise EvidenceRefused(Refusal.FORMAT, "an event without register or type")
    try:
        digest, payload = bytes.fromhex(item.get("digest", "")), bytes.fromhex(item.get("event_payload", ""))
    except (ValueError, TypeError):
        raise EvidenceRefused(Refusal.FORMAT, "an event whose bytes are not hexadecimal") from None
    if len(digest) != _DIGEST_BYTES or not isinstance(name, str):
        raise EvidenceRefused(Refusal.FORMAT, "an event without digest or name")
    return register, kind, digest, name, payload
