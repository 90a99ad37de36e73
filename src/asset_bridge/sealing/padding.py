"""How long a sealed file is made to look, and the arithmetic of its lengths.

Implements spec/sealed-file.md §4.3 (rules S24 to S27).
Promises: one padded length for each mode and true length, so a body of another length is refused; Padmé leaks
O(log log n) bits of the length at a cost under 12 %.
Does not promise: to hide how many files a provider lists, or when.
"""

from __future__ import annotations

from enum import Enum

from asset_bridge.errors import InputError
from asset_bridge.sealing.floe import OVERHEAD_BYTES, FloeParameters

MAX_SEGMENTS = 2**24  # 16 TiB; FLOE itself allows 2^40
ON_CHAIN_BODY_BYTES = (4_096, 8_192, 16_384, 24_576)  # the contract's limit is the last


class Padding(Enum):
    """The header's flags byte."""

    NONE = 0
    PADME = 1
    ON_CHAIN = 2


def padme(length_bytes: int) -> int:
    """The Padmé length (PURBs, PETS 2019): the fewest zeros so that only the top bits of the length vary."""
    if length_bytes < 2:
        return length_bytes
    exponent = length_bytes.bit_length() - 1
    mask = (1 << (exponent - exponent.bit_length())) - 1
    return (length_bytes + mask) & ~mask


def padded_length(padding: Padding, length_bytes: int) -> int:
    """Plaintext bytes, padding included, of a file that needs `length_bytes` (prologue, index and content).

    Raises:
        InputError(sealing.on-chain-size): it does not fit the largest on-chain body.
    """
    if padding is Padding.NONE:
        return length_bytes
    if padding is Padding.PADME:
        return padme(length_bytes)
    for body_bytes in ON_CHAIN_BODY_BYTES:
        if length_bytes <= body_bytes - OVERHEAD_BYTES:
            return body_bytes - OVERHEAD_BYTES
    limit = ON_CHAIN_BODY_BYTES[-1] - OVERHEAD_BYTES
    raise InputError(
        "sealing.on-chain-size",
        f"an on-chain asset holds at most {limit} bytes of index and content; this one needs {length_bytes}",
        hint="publish it without --on-chain",
    )


def segment_count(plaintext_bytes: int, parameters: FloeParameters) -> int:
    """Segments of a plaintext of at least one byte; the last one is never empty.

    Raises:
        InputError(sealing.too-large): more than MAX_SEGMENTS.
    """
    count = -(-plaintext_bytes // parameters.payload_bytes)
    if count > MAX_SEGMENTS:
        raise InputError("sealing.too-large", f"a sealed file has at most {MAX_SEGMENTS} segments; publish it in parts")
    return count


def body_length(plaintext_bytes: int, parameters: FloeParameters) -> int:
    """Bytes of the sealed body."""
    return plaintext_bytes + OVERHEAD_BYTES * segment_count(plaintext_bytes, parameters)
