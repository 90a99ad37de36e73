"""Keccak-256, Ethereum's hash: of ids, typed messages and addresses.

Source: the Keccak submission to SHA-3 (padding 01, not SHA-3's 06). One function, so that the whole project hashes by one library:
safe-pysha3 where it has wheels (Linux; a microsecond for what is short), else eth-hash over pycryptodome (six).
Promises: 32 bytes. Does not promise: constant time for secrets; none is hashed with it.
"""

from __future__ import annotations

from collections.abc import Callable

from eth_hash.auto import keccak as _portable

try:
    from sha3 import keccak_256 as _fast
except ImportError:
    _fast = None


def _by_sha3(data: bytes) -> bytes:
    digest: bytes = _fast(data).digest()
    return digest


keccak: Callable[[bytes], bytes] = _by_sha3 if _fast is not None else _portable
"""The 32-byte Keccak-256 digest; TypeError for a text."""
