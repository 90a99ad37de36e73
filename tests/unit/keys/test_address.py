"""Addresses with their checksum: EIP-55's own examples, and every other spelling."""

from __future__ import annotations

import pytest

from asset_bridge.keys.address import checksum, is_address

EXAMPLES = (
    "0x52908400098527886E0F7030069857D2E4169EE7",
    "0x8617E340B3D01FA5F11F306F4090FD50E238070D",
    "0xde709f2102306220921060314715629080e2fb77",
    "0x27b1fdb04752bbc536007a920d24acb045561c26",
    "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
    "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
    "0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB",
    "0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb",
)


@pytest.mark.parametrize("address", EXAMPLES)
def test_the_published_examples(address: str) -> None:
    assert checksum(bytes.fromhex(address[2:])) == address
    assert is_address(address)
    for at, character in enumerate(address[2:], 2):
        if character.isalpha():
            assert not is_address(address[:at] + character.swapcase() + address[at + 1 :])


@pytest.mark.parametrize(
    "other",
    [None, 5, b"", "", EXAMPLES[0][2:], EXAMPLES[0][:-1], EXAMPLES[0] + "0", EXAMPLES[0] + "\n", "0x" + "g" * 40],
)
def test_what_is_no_address(other: object) -> None:
    assert not is_address(other)
