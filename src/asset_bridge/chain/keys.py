"""The secret key of one account, as an object that shows nothing of itself.

Source: protocol §1 (canonical 65-byte r ‖ s ‖ v signatures, low s), style rule "no secret in repr". Signing is libsecp256k1's
(deterministic, constant time). Promises: no repr, str, format, pickle or copy shows the secret.
Does not promise: that the bytes leave the process's memory when the object dies (Python gives no such means).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

from coincurve import PrivateKey

from asset_bridge.errors import InputError
from asset_bridge.keys.address import checksum
from asset_bridge.keys.keccak import keccak

SECRET_BYTES = 32


def checksum_address(raw: bytes) -> str:
    """The EIP-55 form of a 20-byte address.

    Raises:
        InputError(chain.address): not 20 bytes.
    """
    if len(raw) != 20:
        raise InputError("chain.address", f"An address has 20 bytes, not {len(raw)}.")
    return checksum(raw)


def address_bytes(address: str) -> bytes:
    """The 20 bytes of an address in hex, checksummed or in one case.

    Raises:
        InputError(chain.address): not an address, or its EIP-55 checksum is wrong.
    """
    if not isinstance(address, str) or len(address) != 42 or not address.startswith("0x"):
        raise InputError("chain.address", "An account is written as 0x and 40 hex digits.")
    try:
        raw = bytes.fromhex(address[2:])
    except ValueError:
        raise InputError("chain.address", "An account is written as 0x and 40 hex digits.") from None
    digits = address[2:]
    if digits not in (digits.lower(), digits.upper()) and checksum_address(raw) != address:
        raise InputError("chain.address", "The account's checksum is wrong; one of its characters was changed.")
    return raw


class AccountKey:
    """Signs digests and transactions for one account; `address` is EIP-55."""

    __slots__ = ("_key", "address")

    def __init__(self, secret: bytes) -> None:
        """Take a 32-byte secret.

        Raises:
            InputError(chain.account-key): not 32 bytes, zero, or not below the group order.
        """
        try:
            if len(secret) != SECRET_BYTES:
                raise ValueError
            self._key = PrivateKey(bytes(secret))
        except ValueError:
            raise InputError(
                "chain.account-key", "An account key is 32 bytes that form a valid secp256k1 scalar."
            ) from None
        self.address = checksum_address(keccak(self._key.public_key.format(compressed=False)[1:])[12:])

    @classmethod
    def from_random(cls, randbytes: Callable[[int], bytes]) -> AccountKey:
        """A fresh key from `randbytes`."""
        return cls(randbytes(SECRET_BYTES))

    @property
    def secret(self) -> bytes:
        """The 32 bytes; only the keystore and the transaction signer ask for them."""
        return bytes(self._key.secret)

    def sign_digest(self, digest: bytes) -> bytes:
        """65 bytes r ‖ s ‖ v (27 or 28), low s, over a 32-byte digest."""
        if len(digest) != 32:
            raise InputError("chain.digest", f"A digest has 32 bytes, not {len(digest)}.")
        signature: bytes = self._key.sign_recoverable(digest, hasher=None)
        return signature[:64] + bytes([signature[64] + 27])

    def __repr__(self) -> str:
        return f"AccountKey({self.address})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("an AccountKey is not serialised; the keystore writes it")

    def __deepcopy__(self, memo: dict[int, Any]) -> AccountKey:
        return self
