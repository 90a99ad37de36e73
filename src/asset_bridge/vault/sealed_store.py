"""Named small records, each sealed under the home's storage key: open orders, verified fragments, journal.

Source: spec/home.md §4. Each record has a key of its own (HKDF of the storage key, a random salt, the store's label and the
record's name), so records cannot be swapped or renamed. Promises: a record is durable when `put` returns; damage is refused.
Does not promise: to hide how many records there are, their names or their sizes.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from asset_bridge.errors import InputError, TamperedError
from asset_bridge.vault.durable import erase, make_private_folder, read_private, write_private
from asset_bridge.vault.secret import Secret

MAGIC = b"ABSTORE\x01"
SALT_BYTES = 32
_NAME = re.compile(r"[0-9a-z][0-9a-z-]{0,99}")


def _key(storage_key: bytes, salt: bytes, label: str, name: str) -> bytes:
    info = b"asset-bridge/1/store\0" + label.encode() + b"\0" + name.encode()
    return HKDF(algorithm=SHA384(), length=32, salt=salt, info=info).derive(storage_key)


def seal_record(content: bytes, storage_key: Secret, label: str, name: str, salt: bytes) -> bytes:
    """The file form of one record. The key is used once (fresh `salt`), so a zero nonce is right."""
    return MAGIC + salt + AESGCM(_key(storage_key.reveal(), salt, label, name)).encrypt(bytes(12), content, MAGIC)


def open_record(sealed: bytes, storage_key: Secret, label: str, name: str) -> bytes:
    """The content of one record.

    Raises:
        TamperedError(vault.record): changed, of another store, another name or another home.
    """
    start = len(MAGIC) + SALT_BYTES
    if len(sealed) < start + 16 or sealed[: len(MAGIC)] != MAGIC:
        raise TamperedError("vault.record", f"the record {label}/{name} is not what this program writes")
    salt = sealed[len(MAGIC) : start]
    try:
        return AESGCM(_key(storage_key.reveal(), salt, label, name)).decrypt(bytes(12), sealed[start:], MAGIC)
    except InvalidTag:
        raise TamperedError(
            "vault.record",
            f"the record {label}/{name} was changed or belongs elsewhere",
            hint="restore it from a backup",
        ) from None


class SealedStore:
    """The records of one kind, one file each."""

    def __init__(self, folder: Path, storage_key: Secret, label: str, randbytes: Callable[[int], bytes]) -> None:
        make_private_folder(folder)
        self._folder, self._key, self._label, self._randbytes = folder, storage_key, label, randbytes

    def _path(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise InputError("vault.record-name", "a record's name is lower-case hex, digits or dashes")
        return self._folder / name

    def put(self, name: str, content: bytes) -> None:
        """Write or replace a record; durable on return."""
        sealed = seal_record(content, self._key, self._label, name, self._randbytes(SALT_BYTES))
        write_private(self._path(name), sealed)

    def get(self, name: str) -> bytes | None:
        """A record's content, or None where there is none."""
        path = self._path(name)
        return open_record(read_private(path), self._key, self._label, name) if path.exists() else None

    def delete(self, name: str) -> None:
        """Erase a record; one that is not there is already gone."""
        erase(self._path(name))

    def names(self) -> list[str]:
        """The names of all records, sorted."""
        return sorted(path.name for path in self._folder.iterdir() if _NAME.fullmatch(path.name))
