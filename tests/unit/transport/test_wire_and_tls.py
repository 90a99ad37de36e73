"""Records to JSON and back, strictly; where a node may listen."""

from __future__ import annotations

import dataclasses
import sys
from enum import IntEnum
from typing import Any

import pytest

from asset_bridge.chain.records import Ack, DeliveryReceipt
from asset_bridge.errors import BridgeError
from asset_bridge.transport.tls import check_bind
from asset_bridge.transport.wire import bytes_of, from_json, load_json, to_json


class Colour(IntEnum):
    RED = 1


@dataclasses.dataclass(frozen=True)
class Sample:
    raw: bytes
    count: int
    name: str
    flag: bool
    colour: Colour
    acks: tuple[Ack, ...]
    pair: tuple[int, bytes]
    maybe: Ack | None


ACK = Ack(b"\1" * 32, b"\2" * 32, 3, b"\4" * 65)
SAMPLE = Sample(b"ab", 2**60, "n", True, Colour.RED, (ACK,), (1, b"x"), None)


def test_round_trip() -> None:
    assert from_json(Sample, to_json(SAMPLE)) == SAMPLE
    with_ack = dataclasses.replace(SAMPLE, maybe=ACK)
    assert from_json(Sample, to_json(with_ack)) == with_ack
    receipt = DeliveryReceipt(1, 2, b"k" * 33, b"c" * 32, b"f" * 32, 9, b"h" * 32, b"n" * 32, 1, b"s" * 65)
    assert from_json(DeliveryReceipt, to_json(receipt), {"node_id": 32, "signature": 65}) == receipt


@pytest.mark.parametrize(
    "change",
    [{"raw": "ab"}, {"raw": "0xAB"}, {"raw": "0xa"}, {"raw": 1}, {"count": "7"}, {"count": 2**60}, {"count": 1.0}, {"count": True},
     {"count": "0" * 20}, {"count": -1}, {"name": 1}, {"flag": 1}, {"colour": 2}, {"acks": {}}, {"acks": [1]}, {"pair": [1]},
     {"pair": [1, "0x", 3]}, {"extra": 1}, {"maybe": {}}],
)  # fmt: skip
def test_anything_else_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(BridgeError) as caught:
        from_json(Sample, {**to_json(SAMPLE), **change})
    assert caught.value.code == "transport.json"


def test_lengths_and_missing_fields_are_refused() -> None:
    for obj in (
        {**to_json(ACK), "signature": "0x00"},
        {k: v for k, v in to_json(ACK).items() if k != "epoch"},
        [],
        None,
    ):
        with pytest.raises(BridgeError) as caught:
            from_json(Ack, obj, {"signature": 65})
        assert caught.value.code == "transport.json"


def test_plain_http_stays_on_the_machine() -> None:
    for host in ("127.0.0.1", "::1", "localhost", "127.9.9.9"):
        check_bind(host, has_tls=False, behind_proxy=False)
    check_bind("0.0.0.0", has_tls=True, behind_proxy=False)
    check_bind("0.0.0.0", has_tls=False, behind_proxy=True)
    for host in ("0.0.0.0", "::", "192.0.2.1", "node.example"):
        with pytest.raises(BridgeError) as caught:
            check_bind(host, has_tls=False, behind_proxy=False)
        assert caught.value.code == "transport.no-tls"


def test_deep_nesting_is_refused_before_it_is_parsed() -> None:
    """Also where a library raised Python's recursion limit, and where closing brackets hide in strings."""
    deep = [
        b"[" * 60_000,
        b'{"a":' * 10_000,
        b'["]",' * 10_000,
        b'["\\"]",' * 10_000,
        b"[" * 40 + b"]" * 40,
        b'[[["' + b"[" * 60_000,
    ]
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(100_000)
    try:
        for content in deep:
            with pytest.raises(ValueError):
                load_json(content)
    finally:
        sys.setrecursionlimit(limit)
    assert load_json(b'["[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[", {"a": [1]}]')[1] == {"a": [1]}
    assert load_json(b"[" * 32 + b"]" * 32) is not None
    assert load_json(b'["' + b"[" * 40 + b'\\""]') == ["[" * 40 + '"']
    assert len(load_json(b"[" + b"[]," * 100 + b"{}]")) == 101


def test_json_is_utf_8_alone() -> None:
    """In UTF-16 a letter has the byte of a quotation mark, behind which brackets would not be counted."""
    hidden = '["\u2200", ' + "[" * 5_000 + "]" * 5_000 + ', "x"]'
    for content in (hidden.encode("utf-16-le"), '{"a":1}'.encode("utf-16"), '{"a":1}'.encode("utf-32"), b'["\xff"]'):
        with pytest.raises(ValueError):
            load_json(content)
    assert load_json('["\u2200"]'.encode()) == ["\u2200"]


@pytest.mark.parametrize(
    "text",
    ["0x01 02", " 0x0102", "0x 0102", "0xAB", "0x012", "0X01", "01", "", "0x\u0661\u0662", "0xzz", None, b"0x01"],
)
def test_hex_has_one_spelling(text: Any) -> None:
    with pytest.raises(BridgeError) as caught:
        bytes_of(text)
    assert caught.value.code == "transport.json"
    assert bytes_of("0x") == b""
    assert bytes_of("0x01ff", 2) == b"\1\xff"
