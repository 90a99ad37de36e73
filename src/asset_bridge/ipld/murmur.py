"""MurmurHash3 (x64, 128 bit, seed 0), of which UnixFS shards take the first 64 bits. No cryptographic use.

Source: UnixFS specification, HAMT (hash function 0x22). Promises: the digest of the reference algorithm.
"""

from __future__ import annotations

_MASK = 2**64 - 1
_C1, _C2 = 0x87C37B91114253D5, 0x4CF5AD432745937F


def murmur3_x64_64(data: bytes) -> bytes:
    """The first half of the 128-bit hash, big-endian."""
    first = second = 0
    whole = len(data) // 16 * 16
    for at in range(0, whole, 16):
        first ^= _mix(int.from_bytes(data[at : at + 8], "little"), _C1, _C2, 31)
        first = ((_turn(first, 27) + second) * 5 + 0x52DCE729) & _MASK
        second ^= _mix(int.from_bytes(data[at + 8 : at + 16], "little"), _C2, _C1, 33)
        second = ((_turn(second, 31) + first) * 5 + 0x38495AB5) & _MASK
    tail = data[whole:]
    second ^= _mix(int.from_bytes(tail[8:], "little"), _C2, _C1, 33)
    first ^= _mix(int.from_bytes(tail[:8], "little"), _C1, _C2, 31)
    first, second = first ^ len(data), second ^ len(data)
    first = (first + second) & _MASK
    second = (second + first) & _MASK
    return ((_last(first) + _last(second)) & _MASK).to_bytes(8, "big")


def _turn(value: int, bits: int) -> int:
    return (value << bits | value >> 64 - bits) & _MASK


def _mix(value: int, one: int, other: int, bits: int) -> int:
    return _turn(value * one & _MASK, bits) * other & _MASK


def _last(value: int) -> int:
    value = (value ^ value >> 33) * 0xFF51AFD7ED558CCD & _MASK
    value = (value ^ value >> 33) * 0xC4CEB9FE1A85EC53 & _MASK
    return value ^ value >> 33
