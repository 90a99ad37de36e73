"""The document of new shares: what is outside its bounds is refused before anything looks at it (spec/documents.md §10)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from asset_bridge.chain.packing import MAX_GENERATION
from asset_bridge.errors import TamperedError
from asset_bridge.trade.documents.canonical import encode_json
from asset_bridge.trade.documents.new_generation import MAX_DOCUMENT_BYTES, decode_new_generation
from tools.vectors import documents as golden

PLAIN = golden.documents()["new-generation.json"]
VALUE: dict[str, Any] = json.loads(PLAIN)
SLOT, ACCEPT = VALUE["slots"][0], VALUE["accepts"][0]


def many(count: int) -> dict[str, Any]:
    return {"slots": [SLOT] * count, "accepts": [ACCEPT] * count}


BAD: dict[str, dict[str, Any]] = {
    "another format": {"format": "asset-bridge/new-generation/2"},
    "no format": {"format": None},
    "an unknown field": {"note": "x"},
    "a missing field": {"precursor": None},
    "a number in text": {"threshold": "2"},
    "a threshold of one": {"threshold": 1},
    "a threshold above the shares": {"threshold": 4},
    "the first generation": {"generation": 1},
    "too high a generation": {"generation": MAX_GENERATION + 1},
    "too many shares": many(17),
    "no shares": {**many(0), "threshold": 0},
    "an accept too few": {"accepts": VALUE["accepts"][:2]},
    "a lower-case address": {"exchange": VALUE["exchange"].lower()},
    "no address": {"exchange": "0x12"},
    "a short id": {"order_id": "0x12"},
    "a short precursor": {"precursor": "0x02"},
    "a short blob": {"slots": [{**SLOT, "sealed_rk": "0x00"}, *VALUE["slots"][1:]]},
    "an epoch too high": {"slots": [{**SLOT, "epoch": str(1 << 63)}, *VALUE["slots"][1:]]},
    "a consent that is only an account": {"consent": "0x" + "11" * 60},
    "a consent too long": {"consent": "0x" + "11" * 1085},
    "a short request": {"consent": "0x" + "11" * 125, "fetch": "0x" + "11" * 64},
    "a request without a consent": {"fetch": "0x" + "11" * 65},
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_out_of_bounds_is_refused(case: str) -> None:
    changed = {name: value for name, value in {**VALUE, **BAD[case]}.items() if value is not None}
    with pytest.raises(TamperedError) as error:
        decode_new_generation(encode_json(changed))
    assert error.value.code == "trade.document"


def test_sixteen_shares_fit_and_another_encoding_does_not_count() -> None:
    most = encode_json({**VALUE, **many(16), "consent": "0x" + "11" * 1084, "fetch": "0x" + "11" * 65})
    assert len(most) < MAX_DOCUMENT_BYTES
    assert decode_new_generation(most).encode() == most
    for raw in (PLAIN + b"\n", json.dumps(VALUE).encode(), b"[]", b"", b" " * (MAX_DOCUMENT_BYTES + 1)):
        with pytest.raises(TamperedError):
            decode_new_generation(raw)
