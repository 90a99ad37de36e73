"""Ethereum's hash: known answers, and both libraries agree."""

from __future__ import annotations

import importlib
import random
import sys

import pytest
from eth_hash.auto import keccak as portable

from asset_bridge.keys.keccak import keccak


def test_known_answers() -> None:
    """Keccak team's known answer for no input, and Ethereum's for the text that makes the ERC-20 selector."""
    assert keccak(b"").hex() == "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"
    assert keccak(b"transfer(address,uint256)").hex()[:8] == "a9059cbb"


def test_the_two_libraries_agree_at_every_length_around_the_block() -> None:
    numbers = random.Random(1)
    for length in (*range(300), 1_000, 65_536):
        data = numbers.randbytes(length)
        assert keccak(data) == portable(data), length


def test_a_text_is_no_input() -> None:
    with pytest.raises(TypeError):
        keccak("text")  # type: ignore[arg-type]


def test_without_the_quick_library_the_portable_one_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sha3", None)  # importing it fails, as where there is no wheel
    monkeypatch.delitem(sys.modules, "asset_bridge.keys.keccak")
    monkeypatch.setattr("asset_bridge.keys.keccak", None)  # both are put back
    without = importlib.import_module("asset_bridge.keys.keccak")
    assert without.keccak is portable
    assert without.keccak(b"abc") == keccak(b"abc")
