"""The small CBOR: one encoding per value, and only the room's own error for anything else (spec/attestation.md A1)."""

from __future__ import annotations

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asset_bridge.attestation import cbor
from asset_bridge.attestation.refusal import EvidenceRefused, Refusal
from tests.support.depth import depth

KEYS = st.one_of(st.integers(0, 2**64 - 1), st.text(max_size=4))
LEAVES = st.one_of(st.integers(0, 2**64 - 1), st.binary(max_size=40), st.text(max_size=40))
VALUES = st.recursive(
    LEAVES, lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=3)), max_leaves=5
)


def nested(value: object) -> int:
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + max((nested(item) for item in items), default=0) if isinstance(value, (dict, list)) else 0


@settings(max_examples=depth("attestation_cbor"))
@given(VALUES.filter(lambda value: nested(value) <= cbor.MAX_DEPTH))
def test_what_is_written_is_read_and_is_what_another_library_writes(value: cbor.Value) -> None:
    data = cbor.encode(value)
    assert cbor.decode(data) == value
    assert cbor2.loads(data) == value


@settings(max_examples=depth("attestation_cbor"))
@given(st.binary(max_size=80))
def test_any_bytes_end_in_a_value_that_writes_them_or_in_a_refusal(data: bytes) -> None:
    refusal = None
    try:
        assert cbor.encode(cbor.decode(data)) == data
    except EvidenceRefused as refused:
        refusal = refused.refusal
    assert refusal in (None, Refusal.FORMAT)


@pytest.mark.parametrize(
    "text",
    [
        "",  # nothing
        "1801",  # 1 in two bytes
        "1b0000000000000001",  # 1 in nine bytes
        "190018",  # 24 in three bytes
        "20",  # a negative number
        "5f4101ff",  # indefinite length
        "a202000100",  # keys out of order
        "a201000100",  # a key twice
        "a1410000",  # a byte string as key
        "c11a514b67b0",  # a tag
        "f5",  # true
        "f6",  # null
        "f90000",  # a float
        "0000",  # bytes after the end
        "1c",  # reserved length
        "61ff",  # a text that is not UTF-8
        "5affffffff00",  # announces 4 GiB
        "9affffffff00",  # announces 4 billion items
        "818181818181" + "00",  # too deep
        "4201",  # cut short
        "19",  # head cut short
    ],
)
def test_other_spellings_are_refused(text: str) -> None:
    with pytest.raises(EvidenceRefused) as caught:
        cbor.decode(bytes.fromhex(text))
    assert caught.value.code == "attestation.format"


@pytest.mark.parametrize("value", [-1, 1 << 64, True])
def test_values_outside_are_not_written(value: int) -> None:
    with pytest.raises(EvidenceRefused):
        cbor.encode(value)
