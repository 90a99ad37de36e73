"""JSON that strangers wrote: vendors' collateral, event logs, runtime data.

Promises: bounded nesting whatever the process's recursion limit is (some libraries raise it, and the parser then overruns the stack), no
key twice in an object, and only EvidenceRefused(format) leaves. Does not promise: anything about the values.
"""

from __future__ import annotations

import json
import re
from typing import Any

from asset_bridge.attestation.refusal import EvidenceRefused, Refusal

MAX_DEPTH = 32
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_BRACKETS = re.compile(r"[\[\]{}]")


def load(data: bytes, what: str) -> Any:
    """The value of these bytes (UTF-8); EvidenceRefused(format) naming `what`."""
    try:
        text = data.decode("utf-8")
        if _depth(text) > MAX_DEPTH:
            raise EvidenceRefused(Refusal.FORMAT, f"{what} is nested too deep")
        return json.loads(text, object_pairs_hook=_once)
    except ValueError:  # also UnicodeDecodeError and JSONDecodeError
        raise EvidenceRefused(Refusal.FORMAT, f"{what} is not JSON") from None


def _depth(text: str) -> int:
    deepest = depth = 0
    for bracket in _BRACKETS.findall(_STRING.sub("", text)):
        depth += 1 if bracket in "[{" else -1
        deepest = max(deepest, depth)
    return deepest


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key twice")
    return found
