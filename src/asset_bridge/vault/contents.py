"""What the keystore holds, and its one encoding.

Source: spec/home.md §3. Promises: no secret in repr; the account key is drawn by itself, never derived from a seed (design §4).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from asset_bridge.errors import BridgeError, TamperedError
from asset_bridge.keys.address import checksum
from asset_bridge.keys.keccak import keccak
from asset_bridge.keys.secp256k1 import SecretScalar
from asset_bridge.vault.secret import Secret, pack, unpack

VERSION = 1
PURPOSE = b"asset-bridge/1/keystore"
DEFAULT_ACCOUNT = "default"
_FIELDS = {"version", "home_id", "created_at", "storage_key", "provider_seed", "consumer_seed", "accounts"}


@dataclass(frozen=True, slots=True)
class Contents:
    """Everything secret that must survive: `storage_key` opens the other records of the home."""

    home_id: bytes
    created_at: int
    storage_key: Secret
    provider_seed: Secret
    consumer_seed: Secret
    accounts: Mapping[str, Secret]

    def encode(self) -> bytes:
        """Canonical CBOR."""
        return pack(
            {
                "version": VERSION,
                "home_id": self.home_id,
                "created_at": self.created_at,
                "storage_key": self.storage_key.reveal(),
                "provider_seed": self.provider_seed.reveal(),
                "consumer_seed": self.consumer_seed.reveal(),
                "accounts": {name: secret.reveal() for name, secret in self.accounts.items()},
            }
        )

    @staticmethod
    def decode(encoded: bytes) -> Contents:
        """The contents of a keystore that the passphrase opened.

        Raises:
            TamperedError(vault.malformed): not exactly the fields of this version.
        """
        value = unpack(encoded, "the keystore's content")
        if not isinstance(value, dict) or set(value) != _FIELDS or value["version"] != VERSION:
            raise TamperedError("vault.malformed", "the keystore's content is not what this program writes")
        accounts = value["accounts"]
        sizes = (
            _is_bytes(value["home_id"], 16)
            and isinstance(value["created_at"], int)
            and all(_is_bytes(value[name], 32) for name in ("storage_key", "provider_seed", "consumer_seed"))
            and isinstance(accounts, dict)
            and DEFAULT_ACCOUNT in accounts
            and all(isinstance(name, str) and _is_bytes(secret, 32) for name, secret in accounts.items())
        )
        if not sizes:
            raise TamperedError("vault.malformed", "the keystore's content is not what this program writes")
        return Contents(
            home_id=value["home_id"],
            created_at=value["created_at"],
            storage_key=Secret(value["storage_key"]),
            provider_seed=Secret(value["provider_seed"]),
            consumer_seed=Secret(value["consumer_seed"]),
            accounts={name: Secret(secret) for name, secret in accounts.items()},
        )


def _is_bytes(value: object, size: int) -> bool:
    return isinstance(value, bytes) and len(value) == size


def new_account(randbytes: Callable[[int], bytes]) -> Secret:
    """A fresh account key. A draw outside the group (once in 2^128) is drawn again."""
    while True:
        drawn = randbytes(32)
        try:
            SecretScalar.from_bytes(drawn)
        except BridgeError:
            continue
        return Secret(drawn)


def new_contents(randbytes: Callable[[int], bytes], now_at: int) -> Contents:
    """Fresh secrets for a new home."""
    return Contents(
        home_id=randbytes(16),
        created_at=now_at,
        storage_key=Secret(randbytes(32)),
        provider_seed=Secret(randbytes(32)),
        consumer_seed=Secret(randbytes(32)),
        accounts={DEFAULT_ACCOUNT: new_account(randbytes)},
    )


def address_of(account: Secret) -> str:
    """The EIP-55 address of an account key."""
    public = SecretScalar.from_bytes(account.reveal()).public_key().to_uncompressed_bytes()
    return checksum(keccak(public[1:])[-20:])
