"""DAG-CBOR and DAG-JSON of strangers (dagcbor.py): every kind of value, and every way to be malformed."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import pytest

from asset_bridge.errors import TamperedError
from asset_bridge.ipld.content_id import ContentId
from asset_bridge.ipld.dagcbor import MOST_DEPTH, decode_dag_cbor, decode_dag_json, links_in

NAME = b"\x01\x55\x12\x20" + bytes(range(32))
CID = ContentId.read(NAME)[0]
LINK = b"\xd8\x2a\x58\x25\x00" + NAME


def refused(call: Callable[[], object]) -> None:
    with pytest.raises(TamperedError) as caught:
        call()
    assert (caught.value.code, caught.value.actor) == ("ipld.data", "provider")


@pytest.mark.parametrize(
    ("encoded", "value"),
    [
        ("00", 0),
        ("17", 23),
        ("1818", 24),
        ("18ff", 255),
        ("190100", 256),
        ("1a00010000", 65536),
        ("1b0000000100000000", 2**32),
        ("1bffffffffffffffff", 2**64 - 1),
        ("20", -1),
        ("3818", -25),
        ("3bffffffffffffffff", -(2**64)),
        ("40", b""),
        ("43616263", b"abc"),
        ("60", ""),
        ("63c3a961", "éa"),
        ("80", []),
        ("8201820203", [1, [2, 3]]),
        ("a0", {}),
        ("a26161016162a0", {"a": 1, "b": {}}),
        ("f4", False),
        ("f5", True),
        ("f6", None),
        ("f7", None),
        ("f93c00", 1.0),
        ("fa40200000", 2.5),
        ("fb3ff199999999999a", 1.1),
        (LINK.hex(), CID),
        ("81" + LINK.hex(), [CID]),
    ],
)
def test_cbor_values(encoded: str, value: Any) -> None:
    raw = bytes.fromhex(encoded)
    found = decode_dag_cbor(raw)
    assert found == value
    assert type(found) is type(value)
    refused(lambda: decode_dag_cbor(raw + b"\0"))
    for at in range(len(raw)):
        refused(lambda at=at: decode_dag_cbor(raw[:at]))


@pytest.mark.parametrize(
    "encoded",
    [
        "1c",
        "1c" + "00" * 16,
        "1f",
        "5f41614162ff",
        "9fff",
        "bfff",
        "f3",
        "f8ff",
        "fc",
        "61ff",
        "a10101",
        "a2616101616102",
        "a1410101",
        "9b7fffffffffffffff",
        "bb7fffffffffffffff",
        "5b7fffffffffffffff",
        "c101",
        "d82b4100",
        "d82a00",
        "d82a40",
        "d82a4101",
        "d82a5824" + NAME.hex(),
        "d82a582600" + NAME.hex() + "00",
        "d82a582400" + NAME.hex()[:-2],
        "d82a6100",
        "820102" + "03",
        "8301",
        "a161",
    ],
)
def test_malformed_cbor(encoded: str) -> None:
    refused(lambda: decode_dag_cbor(bytes.fromhex(encoded)))


def test_cbor_is_at_most_so_deep() -> None:
    value = decode_dag_cbor(b"\x81" * MOST_DEPTH + b"\x05")
    for _ in range(MOST_DEPTH):
        (value,) = value
    assert value == 5
    assert MOST_DEPTH == 128
    for head in (b"\x81", b"\xa1\x61a", b"\xd8\x2a"):
        refused(lambda head=head: decode_dag_cbor(head * (MOST_DEPTH + 1) + b"\x05"))
    assert decode_dag_cbor(b"\xa1\x61a" * MOST_DEPTH + b"\x05")
    assert decode_dag_cbor(b"\x81" * (MOST_DEPTH - 1) + LINK)  # a link's bytes are one deeper than the link
    refused(lambda: decode_dag_cbor(b"\x81" * MOST_DEPTH + LINK))
    for head in (b"\x81", b"\xa1", b"\xa1\x61a", b"\xd8\x2a"):
        refused(lambda head=head: decode_dag_cbor(head * 100_000))


def test_json_values() -> None:
    text = f'{{"a": [1, null, {{"/": "{CID}"}}], "b": {{"/": {{"bytes": "aGVsbG8"}}}}, "c": {{"/": 5}}, "d": {{"/": {{"bytes": 5}}}}}}'
    found = decode_dag_json(text.encode())
    assert found == {"a": [1, None, CID], "b": b"hello", "c": {"/": 5}, "d": {"/": {"bytes": 5}}}
    for size in range(12):
        encoded = base64.b64encode(b"a" * size).decode().rstrip("=")
        assert decode_dag_json(f'{{"/": {{"bytes": "{encoded}"}}}}'.encode()) == b"a" * size
    more = f'{{"/": "{CID}", "x": 1}}'
    assert decode_dag_json(more.encode()) == {"/": str(CID), "x": 1}
    more = '{"/": {"bytes": "YQ", "x": 1}}'
    assert decode_dag_json(more.encode()) == {"/": {"bytes": "YQ", "x": 1}}


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"\xff",
        b'{"/": "no id"}',
        b'{"/": {"bytes": "A"}}',
        b"[" * 100_000,
        b'[1, {"/": "b"}]',
        "[1]".encode("utf-16"),
    ],
)
def test_malformed_json(text: bytes) -> None:
    refused(lambda: decode_dag_json(text))


def test_json_is_at_most_so_deep() -> None:
    decode_dag_json(b"[" * MOST_DEPTH + b"5" + b"]" * MOST_DEPTH)
    decode_dag_json(b'{"a":' * MOST_DEPTH + b"5" + b"}" * MOST_DEPTH)
    refused(lambda: decode_dag_json(b"[" * (MOST_DEPTH + 1) + b"5" + b"]" * (MOST_DEPTH + 1)))
    refused(lambda: decode_dag_json(b'{"a":' * (MOST_DEPTH + 1) + b"5" + b"}" * (MOST_DEPTH + 1)))
    for closed in (b"[]", b"{}"):  # what is closed counts no more, and no less
        most = MOST_DEPTH - 1
        decode_dag_json(b"[" + closed + b"," + b"[" * most + b"5" + b"]" * most + b"]")
        refused(lambda closed=closed: decode_dag_json(b"[" + closed + b"," + b"[" * 128 + b"5" + b"]" * 129))


def test_brackets_in_texts_are_no_depth() -> None:
    opening = "[" * 200
    assert decode_dag_json(f'["{opening}", "a\\"{opening}", "\\\\", [1]]'.encode()) == [
        opening,
        f'a"{opening}',
        "\\",
        [1],
    ]
    assert decode_dag_json(b"[" + b"[],{}," * 200 + b"1]")[-1] == 1
    refused(lambda: decode_dag_json(b'["\\\\", ' + b"[" * MOST_DEPTH + b"5" + b"]" * (MOST_DEPTH + 1)))
    refused(lambda: decode_dag_json(b'"' + b'\\"' * 1_000_000))  # in one pass: no string in it ends
    refused(lambda: decode_dag_json(b"[" * 2_000_000))


def test_links_come_in_the_order_of_the_value() -> None:
    other = ContentId.read(b"\x01\x55\x12\x20" + bytes(32))[0]
    assert list(links_in({"b": [CID, 1], "a": {"x": other, "y": "text"}, "c": CID})) == [CID, other, CID]
    assert list(links_in(CID)) == [CID]
    assert list(links_in(5)) == []
