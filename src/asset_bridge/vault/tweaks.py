"""The per-asset tweaks: 32 random bytes without which an asset can never again be read or approved.

Source: spec/home.md §5, design §4. A tweak is sealed (HPKE, ML-KEM-768 + X25519) to the public half of a period key; the private half
lies in a second place that is neither the home nor a backup. Promises: a tweak is durable when `create` returns; after `destroy` and
the end of the period's retention no backup of the home opens it. Does not promise: to reach a copy of the second place that
somebody made.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import (
    AEAD,
    KDF,
    KEM,
    MLKEM768X25519PrivateKey,
    MLKEM768X25519PublicKey,
    Suite,
)

from asset_bridge.errors import InputError, TamperedError, UnavailableError
from asset_bridge.vault.durable import erase, make_private_folder, read_private, write_private
from asset_bridge.vault.sealed_store import SALT_BYTES, SealedStore, open_record, seal_record
from asset_bridge.vault.secret import Secret, pack, unpack

MAGIC = b"ABTWEAK\x01"
TWEAK_BYTES = 32
CONTAINER_ID_BYTES = 16
RETENTION_SECONDS = 30 * 86_400  # design §4: the old period key is destroyed at the end of it
_SUITE = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA384, AEAD.AES_256_GCM)
_PERIODS = "periods"


def _private(secret: bytes) -> MLKEM768X25519PrivateKey:
    return MLKEM768X25519PrivateKey(
        MLKEM768PrivateKey.from_seed_bytes(secret[:64]), X25519PrivateKey.from_private_bytes(secret[64:])
    )


def _public_bytes(secret: bytes) -> bytes:
    post_quantum = MLKEM768PrivateKey.from_seed_bytes(secret[:64]).public_key().public_bytes_raw()
    return post_quantum + X25519PrivateKey.from_private_bytes(secret[64:]).public_key().public_bytes_raw()


def _public(encoded: bytes) -> MLKEM768X25519PublicKey:
    return MLKEM768X25519PublicKey(
        MLKEM768PublicKey.from_public_bytes(encoded[:1184]), X25519PublicKey.from_public_bytes(encoded[1184:])
    )


def _info(home_id: bytes, container_id: bytes, number: int) -> bytes:
    return b"asset-bridge/1/tweak\0" + home_id + container_id + number.to_bytes(8, "big")


def seal_tweak(tweak: bytes, public: bytes, home_id: bytes, container_id: bytes, number: int) -> bytes:
    """The file form of a tweak, sealed to the public half (1,216 bytes) of period `number`."""
    sealed = _SUITE.encrypt(tweak, _public(public), _info(home_id, container_id, number))
    return MAGIC + number.to_bytes(8, "big") + sealed


def open_tweak(content: bytes, secret: bytes, home_id: bytes, container_id: bytes) -> Secret:
    """A tweak from its file form and the period's private half (96 bytes).

    Raises:
        TamperedError(vault.tweak): changed, or of another home, container or period.
    """
    number = int.from_bytes(content[len(MAGIC) : len(MAGIC) + 8], "big")
    try:
        tweak = _SUITE.decrypt(content[len(MAGIC) + 8 :], _private(secret), _info(home_id, container_id, number))
    except (InvalidTag, ValueError):
        raise TamperedError("vault.tweak", "the stored tweak was changed", hint="restore it from a backup") from None
    return Secret(tweak)


class TweakStore:
    """The tweaks of one home. `second_place` may be absent while nothing is read."""

    def __init__(
        self,
        folder: Path,
        *,
        second_place: Path,
        home_id: bytes,
        storage_key: Secret,
        randbytes: Callable[[int], bytes],
    ) -> None:
        make_private_folder(folder)
        self._folder, self._second_place, self._home_id = folder, second_place, home_id
        self._key, self._randbytes = storage_key, randbytes
        self._meta = SealedStore(folder / "meta", storage_key, "tweaks", randbytes)

    # periods

    def _periods(self) -> dict[int, tuple[bytes, int]]:
        """number → (public key, ended_at or 0)."""
        packed = self._meta.get(_PERIODS)
        return (
            {} if packed is None else {n: (public, ended) for n, public, ended in unpack(packed, "the list of periods")}
        )

    def _save_periods(self, periods: dict[int, tuple[bytes, int]]) -> None:
        self._meta.put(_PERIODS, pack([[number, *periods[number]] for number in sorted(periods)]))

    def _key_file(self, number: int) -> Path:
        return self._second_place / f"asset-bridge-{self._home_id.hex()}-period-{number}.key"

    def _period_secret(self, number: int) -> bytes:
        path = self._key_file(number)
        try:
            sealed = path.read_bytes()
        except OSError:
            raise UnavailableError(
                "vault.second-place",
                f"the key of period {number} is not in the second place {self._second_place}",
                hint="attach the disk or folder that was named at init",
            ) from None
        return open_record(sealed, self._key, "period", str(number))

    def new_period(self, now_at: int) -> int:
        """Start a period: a new key, the live tweaks sealed again; the old key stays until its retention ends."""
        periods = self._periods()
        number = max(periods, default=0) + 1
        while self._key_file(number).exists():  # a restored home knows fewer periods than the second place
            number += 1
        tweaks = {name: self.get(bytes.fromhex(name)) for name in self.names()}
        secret = self._randbytes(96)
        if not self._second_place.is_dir():
            raise UnavailableError(
                "vault.second-place",
                f"the second place {self._second_place} is not there",
                hint="attach the disk or make the folder, then run it again",
            )
        sealed = seal_record(secret, self._key, "period", str(number), self._randbytes(SALT_BYTES))
        write_private(self._key_file(number), sealed)
        live = [n for n, (_, ended) in periods.items() if not ended]
        for old in live:
            periods[old] = (periods[old][0], now_at)
        periods[number] = (_public_bytes(secret), 0)
        self._save_periods(
            periods
        )  # before the tweaks: a crash between leaves tweaks of a period whose key still exists
        for name, tweak in tweaks.items():
            self._write(bytes.fromhex(name), tweak.reveal(), number, periods[number][0])
        return number

    def destroy_old_periods(self, now_at: int) -> list[int]:
        """Erase the keys of periods whose retention is over; returns their numbers.

        A tweak that a crash left in such a period is sealed to the current one first. A period whose key is not in the second place
        now stays on the list: a disk that is not attached still holds it.
        """
        periods = self._periods()
        over = [n for n, (_, ended) in periods.items() if ended and now_at >= ended + RETENTION_SECONDS]
        gone = [number for number in over if self._key_file(number).exists()]
        late = [bytes.fromhex(name) for name in self.names() if gone and self._period_of(name) in gone]
        for container_id in late:
            self._write(container_id, self.get(container_id).reveal(), *self._current(periods))
        for number in gone:
            erase(self._key_file(number))
            del periods[number]
        if gone:
            self._save_periods(periods)
        return gone

    def ended_periods(self) -> dict[int, int]:
        """number → when its key becomes due for erasure, of ended periods whose key is not erased yet (Unix seconds)."""
        return {number: ended + RETENTION_SECONDS for number, (_, ended) in self._periods().items() if ended}

    def _current(self, periods: dict[int, tuple[bytes, int]]) -> tuple[int, bytes]:
        live = [(number, public) for number, (public, ended) in periods.items() if not ended]
        if not live:
            raise InputError("vault.no-period", "this home has no period key", hint="asset-bridge init")
        return live[-1]

    # tweaks

    def _path(self, container_id: bytes) -> Path:
        if len(container_id) != CONTAINER_ID_BYTES:
            raise InputError("vault.record-name", f"a container id has {CONTAINER_ID_BYTES} bytes")
        return self._folder / f"{container_id.hex()}.tweak"

    def _write(self, container_id: bytes, tweak: bytes, number: int, public: bytes) -> None:
        write_private(self._path(container_id), seal_tweak(tweak, public, self._home_id, container_id, number))

    def _period_of(self, name: str) -> int:
        content = read_private(self._folder / f"{name}.tweak")
        return int.from_bytes(content[len(MAGIC) : len(MAGIC) + 8], "big")

    def create(self, container_id: bytes) -> Secret:
        """Draw the tweak of a new asset. Durable on return; a container has one tweak for ever."""
        if self._path(container_id).exists():
            raise InputError("vault.exists", "this container has a tweak already; seal again with a new one")
        current = self._current(self._periods())
        tweak = self._randbytes(TWEAK_BYTES)
        self._write(container_id, tweak, *current)
        return Secret(tweak)

    def get(self, container_id: bytes) -> Secret:
        """The tweak of an asset; needs the second place.

        Raises:
            InputError(vault.no-tweak): never made here, or destroyed.
            UnavailableError(vault.second-place): the period key is not at hand.
            TamperedError(vault.tweak): the stored tweak was changed.
        """
        path = self._path(container_id)
        if not path.exists():
            raise InputError(
                "vault.no-tweak",
                "this home holds no tweak for that asset: it was destroyed, or the asset is of another home",
                hint="asset-bridge restore, with both backup files",
            )
        content = read_private(path)
        number = int.from_bytes(content[len(MAGIC) : len(MAGIC) + 8], "big")
        if content[: len(MAGIC)] != MAGIC:
            raise TamperedError("vault.tweak", "the stored tweak is not what this program writes")
        return open_tweak(content, self._period_secret(number), self._home_id, container_id)

    def destroy(self, container_id: bytes) -> None:
        """Erase a tweak here. Backups lose it when the period in which they were made ends its retention."""
        erase(self._path(container_id))

    def names(self) -> list[str]:
        """Container ids (hex) of the live tweaks, sorted."""
        return sorted(path.stem for path in self._folder.glob("*.tweak") if not path.name.startswith("."))

    # backup

    def export(self) -> dict[str, bytes]:
        """Sealed tweaks by container id, and the list of periods; nothing here opens without the second place."""
        return {name: read_private(self._folder / f"{name}.tweak") for name in self.names()}

    def export_periods(self) -> bytes:
        """The public list of periods."""
        return self._meta.get(_PERIODS) or pack([])

    def restore(self, tweaks: dict[str, bytes], periods: bytes) -> None:
        """Put back what `export` gave."""
        unpack(periods, "the list of periods")
        self._meta.put(_PERIODS, periods)
        for name, sealed in tweaks.items():
            write_private(self._path(bytes.fromhex(name)), sealed)
