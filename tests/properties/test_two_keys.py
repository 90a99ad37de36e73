"""One ciphertext, two keys: AES-GCM accepts it, the sealed file does not (rule S10, S15).

A provider who can do this sells one thing and shows another. The crafting is real: each segment verifies under AES-GCM
with both segment keys, at its place, with its associated data.
"""

from __future__ import annotations

import random

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from asset_bridge.errors import TamperedError
from asset_bridge.sealing.floe import FloeOpener, FloeParameters, FloeSealer
from asset_bridge.sealing.header import SealedHeader, file_aad
from asset_bridge.sealing.open import Opener
from asset_bridge.sealing.padding import Padding
from tests.support.depth import depth

PARAMETERS = FloeParameters(96)
LISTER, AAD = b"l" * 20, bytes(8) + b"\x01"
POLYNOMIAL = (1 << 128) | 0x87  # x^128 + x^7 + x^2 + x + 1; numbers here have x^i at bit i


def element(block: bytes) -> int:
    """A block as a polynomial: GCM writes the lowest power first."""
    return int(f"{int.from_bytes(block, 'big'):0128b}"[::-1], 2)


def block_of(value: int) -> bytes:
    return int(f"{value:0128b}"[::-1], 2).to_bytes(16, "big")


def times(left: int, right: int) -> int:
    product = 0
    while right:
        low = right & -right
        product ^= left * low
        right ^= low
    return reduced(product)


def reduced(value: int) -> int:
    while value >> 128:
        high = value >> 128
        value = (value & (1 << 128) - 1) ^ high ^ high << 1 ^ high << 2 ^ high << 7
    return value


def inverse(value: int) -> int:
    """Extended Euclid over polynomials."""
    old, new, old_factor, factor = POLYNOMIAL, value, 0, 1
    while new != 1:
        shift = old.bit_length() - new.bit_length()
        if shift < 0:
            old, new, old_factor, factor = new, old, factor, old_factor
            continue
        old ^= new << shift
        old_factor ^= factor << shift
        if old < new:
            old, new, old_factor, factor = new, old, factor, old_factor
    return reduced(factor)


def one_block(key: bytes, block: bytes) -> int:
    encryptor = Cipher(algorithms.AES(key), modes.ECB()).encryptor()  # GCM's own building block
    return element(encryptor.update(block))


def hashed(h: int, blocks: list[int]) -> int:
    value = 0
    for block in blocks:
        value = times(value ^ block, h)
    return value


def two_key_ciphertext(keys: tuple[bytes, bytes], iv: bytes, blocks: list[bytes]) -> bytes:
    """Ciphertext and tag that AES-GCM accepts under both keys; the last block is solved for."""
    head = [element(AAD.ljust(16, b"\0"))]
    tail = element((len(AAD) * 8).to_bytes(8, "big") + (len(blocks) * 128).to_bytes(8, "big"))
    masks = [one_block(key, iv + b"\0\0\0\x01") for key in keys]
    h = [one_block(key, bytes(16)) for key in keys]
    known = [hashed(each, [*head, *map(element, blocks[:-1]), 0, tail]) for each in h]
    coefficient = times(h[0], h[0]) ^ times(h[1], h[1])
    blocks[-1] = block_of(times(known[0] ^ known[1] ^ masks[0] ^ masks[1], inverse(coefficient)))
    tag = hashed(h[0], [*head, *map(element, blocks), tail]) ^ masks[0]
    return b"".join(blocks) + block_of(tag)


def raw_segment_key(key: bytes, aad: bytes, iv: bytes) -> bytes:
    """The key that FLOE derives for segment 0, through the product's own derivation."""
    from asset_bridge.sealing import floe

    message_key = floe._derive(PARAMETERS, key, iv, aad, b"MESSAGE_KEY:", floe.MESSAGE_KEY_BYTES)
    return floe._derive(PARAMETERS, message_key, iv, aad, b"DEK:" + bytes(8), floe.KEY_BYTES)


def test_none_of_the_crafted_ciphertexts_opens_under_both_keys() -> None:
    rand = random.Random(16)
    for _ in range(depth("sealing-two-key")):
        keys = (rand.randbytes(32), rand.randbytes(32))
        container, floe_iv, iv = rand.randbytes(16), rand.randbytes(32), rand.randbytes(12)
        aad = file_aad(Padding.NONE, container, LISTER)
        segment_keys = tuple(raw_segment_key(key, aad, floe_iv) for key in keys)
        crafted = two_key_ciphertext(segment_keys, iv, [rand.randbytes(16) for _ in range(rand.randrange(1, 5))])
        contents = [AESGCM(key).decrypt(iv, crafted, AAD) for key in segment_keys]  # AES-GCM takes both
        assert contents[0] != contents[1]
        segment = (len(crafted) + 16).to_bytes(4, "big") + iv + crafted
        for made_for, other in (keys, keys[::-1]):
            header = FloeSealer(PARAMETERS, made_for, aad, floe_iv).header
            assert FloeOpener(PARAMETERS, made_for, aad, header).open(segment, 0, True) in contents
            with pytest.raises(TamperedError) as caught:
                Opener(
                    SealedHeader(Padding.NONE, container, header).encode(),
                    file_key=other,
                    lister=LISTER,
                    body_length_bytes=len(segment),
                    fetch_segment=lambda _, segment=segment: segment,
                    parameters=PARAMETERS,
                )
            assert caught.value.code == "sealing.key"
