"""chain/encoding.py: the same bytes as eth-abi and rlp, for every kind of the contracts; everything but the one right form is refused."""

from __future__ import annotations

from typing import Any

import pytest
import rlp as other_rlp
from eth_abi.abi import decode as other_decode
from eth_abi.abi import encode as other_encode
from hypothesis import given, settings
from hypothesis import strategies as st

from asset_bridge.chain.abi import event_types, functions
from asset_bridge.chain.encoding import EncodingError, decode, encode, members, rlp
from asset_bridge.errors import InputError
from tests.support.depth import depth

KINDS = sorted(
    {kind for one in functions().values() for kind in (*one.inputs, *one.outputs)}
    | {kind for one in event_types().values() for kind, _, _ in one.inputs}
    | {"string", "bytes4", "uint256[]", "(bytes,uint8[],(string,bool))", "(uint8,bytes32)[]", "bytes[]"}
)


def values_of(kind: str) -> st.SearchStrategy[Any]:
    """Values that fit a kind."""
    if kind.endswith("[]"):
        return st.lists(values_of(kind[:-2]), max_size=4).map(tuple)
    if kind[0] == "(":
        return st.tuples(*map(values_of, members(kind)))
    if kind.startswith("uint"):
        return st.integers(0, (1 << int(kind[4:])) - 1)
    fixed = {
        "bool": st.booleans(),
        "address": st.binary(min_size=20, max_size=20).map(lambda raw: "0x" + raw.hex()),
        "bytes": st.binary(max_size=70),
        "string": st.text(max_size=40),
    }
    if kind in fixed:
        return fixed[kind]
    return st.binary(min_size=int(kind[5:]), max_size=int(kind[5:]))


MANY = st.lists(st.sampled_from(KINDS), min_size=1, max_size=4).flatmap(
    lambda kinds: st.tuples(st.just(kinds), st.tuples(*map(values_of, kinds)))
)


@settings(max_examples=depth("chain_encoding_values"), deadline=None)
@given(MANY)
def test_the_same_bytes_as_eth_abi_and_back(case: tuple[list[str], tuple[Any, ...]]) -> None:
    kinds, values = case
    made = encode(kinds, values)
    assert made == other_encode(kinds, values)
    assert decode(kinds, made) == values == other_decode(kinds, made)
    assert decode(kinds, made, exact=False) == values


@settings(max_examples=depth("chain_encoding_values"), deadline=None)
@given(MANY, st.data())
def test_what_decodes_is_the_one_right_form(case: tuple[list[str], tuple[Any, ...]], data: st.DataObject) -> None:
    kinds, values = case
    made = bytearray(encode(kinds, values))
    place = data.draw(st.integers(0, len(made) - 1))
    made[place] ^= data.draw(st.integers(1, 255))
    for changed in (bytes(made), bytes(made[:place]), encode(kinds, values) + bytes(32)):
        try:
            found = decode(kinds, changed)
        except EncodingError:
            continue
        assert encode(kinds, found) == changed
        assert found != values


@pytest.mark.parametrize(
    ("kinds", "values"),
    [
        (["uint8"], [256]),
        (["uint256"], [-1]),
        (["uint8"], [True]),
        (["uint8"], ["1"]),
        (["bool"], [1]),
        (["bytes4"], [b"abc"]),
        (["bytes32"], ["0x" + "00" * 32]),
        (["uint8", "uint8"], [1]),
        (["(uint8,uint8)"], [(1,)]),
        (["int8"], [1]),
        (["uint7"], [1]),
        (["uint264"], [1]),
        (["bytes33"], [bytes(33)]),
    ],
)
def test_a_value_that_does_not_fit_is_refused(kinds: list[str], values: list[Any]) -> None:
    with pytest.raises(EncodingError):
        encode(kinds, values)


def test_an_address_is_text_or_bytes() -> None:
    assert encode(["address"], [b"\x01" * 20]) == encode(["address"], ["0x" + "01" * 20]) == bytes(12) + b"\x01" * 20
    with pytest.raises(EncodingError):
        encode(["address"], [bytes(32)])


def test_an_address_with_a_wrong_checksum_is_refused() -> None:
    with pytest.raises(InputError):
        encode(["address"], ["0x52908400098527886E0F7030069857D2E4169Ee7"])


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("uint8", [256]),
        ("bool", [2]),
        ("address", [1 << 160]),
        ("bytes4", [1]),
        ("bytes", [64, 0, 0]),  # an offset that leaves a gap
        ("bytes", [0]),  # an offset into the head
        ("bytes", [1 << 255, 0]),
        ("bytes", [32, 1, 1]),  # padding that is not zero
        ("string", [32, 1, 0xFF << 248]),
        ("bytes32[]", [32, 1 << 200]),
        ("bytes32[]", [32, 2, 7]),
    ],
)
def test_bytes_that_are_no_encoding_are_refused(kind: str, words: list[int]) -> None:
    with pytest.raises(EncodingError):
        decode([kind], b"".join(word.to_bytes(32, "big") for word in words))


def test_text_of_foreign_contracts_may_have_another_form() -> None:
    text = b"".join(word.to_bytes(32, "big") for word in (64, 99, 3)) + b"ABC"
    assert decode(["string"], text, exact=False) == ("ABC",)
    with pytest.raises(EncodingError):
        decode(["string"], text)
    with pytest.raises(EncodingError):
        decode(["string"], text[:-1], exact=False)


ITEMS = st.recursive(st.binary(max_size=70) | st.integers(0, 1 << 256), lambda inner: st.lists(inner, max_size=5))


@settings(max_examples=depth("chain_encoding_values"), deadline=None)
@given(ITEMS)
def test_the_same_bytes_as_rlp(item: Any) -> None:
    assert rlp(item) == other_rlp.encode(item)


@pytest.mark.parametrize("length", [0, 1, 55, 56, 255, 256, 65_536])
def test_lengths_at_the_limits_of_rlp(length: int) -> None:
    assert rlp(b"\x80" * length) == other_rlp.encode(b"\x80" * length)
    assert rlp([b"\x01"] * length) == other_rlp.encode([b"\x01"] * length)
