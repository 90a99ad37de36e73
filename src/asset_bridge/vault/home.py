"""The home folder of a provider or consumer: one folder, one lock, one keystore.

Source: spec/home.md §1. Promises: two processes never change one home at the same time; nothing that others can read is used.
Does not promise: that the second place is safe, or that a backup exists (`warn_backup` says so).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import tomli_w

from asset_bridge.errors import InputError, TamperedError, UnavailableError
from asset_bridge.vault.contents import DEFAULT_ACCOUNT, PURPOSE, Contents, address_of, new_account, new_contents
from asset_bridge.vault.durable import make_private_folder, read_private, require_private, sync_folder, write_private
from asset_bridge.vault.envelope import DEFAULT_COST, Cost, cost_of, open_envelope, seal_envelope
from asset_bridge.vault.network import Network
from asset_bridge.vault.passphrase import Passphrase
from asset_bridge.vault.sealed_store import SealedStore
from asset_bridge.vault.secret import Secret
from asset_bridge.vault.tweaks import TweakStore

FORMAT = "asset-bridge/home/1"
RandBytes = Callable[[int], bytes]
_STORES = ("orders", "halves", "journal")


@dataclass(frozen=True, slots=True)
class HomeInfo:
    """What `home.toml` says; nothing in it is secret."""

    home_id: bytes
    created_at: int
    address: str
    second_place: Path

    def to_toml(self) -> str:
        """The file's text."""
        return tomli_w.dumps(
            {
                "format": FORMAT,
                "home_id": self.home_id.hex(),
                "created_at": self.created_at,
                "address": self.address,
                "second_place": str(self.second_place),
            }
        )

    @staticmethod
    def from_toml(content: bytes) -> HomeInfo:
        """Parse the file's text; TamperedError vault.malformed."""
        try:
            table = tomllib.loads(content.decode())
            home_id, known = bytes.fromhex(table["home_id"]), table["format"] == FORMAT
            info = HomeInfo(home_id, int(table["created_at"]), str(table["address"]), Path(table["second_place"]))
        except (ValueError, KeyError, TypeError, RecursionError):
            raise TamperedError("vault.malformed", "home.toml is not what this program writes") from None
        if not known or len(home_id) != 16:
            raise TamperedError("vault.malformed", "home.toml is not what this program writes")
        return info


class Vault:
    """An unlocked home. Every secret in it is a `Secret`."""

    def __init__(self, home: Home, contents: Contents, randbytes: RandBytes) -> None:
        self._home, self._contents, self._randbytes = home, contents, randbytes
        stores = {name: SealedStore(home.root / name, contents.storage_key, name, randbytes) for name in _STORES}
        self.orders, self.halves, self.journal = stores["orders"], stores["halves"], stores["journal"]
        self.tweaks = TweakStore(
            home.root / "tweaks",
            second_place=home.info.second_place,
            home_id=contents.home_id,
            storage_key=contents.storage_key,
            randbytes=randbytes,
        )

    def __repr__(self) -> str:
        return f"Vault({self._home.root})"

    @property
    def contents(self) -> Contents:
        """For the backup."""
        return self._contents

    @property
    def provider_seed(self) -> Secret:
        """Seed of everything a provider derives."""
        return self._contents.provider_seed

    @property
    def consumer_seed(self) -> Secret:
        """Seed of everything a consumer derives."""
        return self._contents.consumer_seed

    @property
    def account_names(self) -> list[str]:
        """Names of the accounts."""
        return sorted(self._contents.accounts)

    def account(self, name: str = DEFAULT_ACCOUNT) -> Secret:
        """The key of an account; InputError vault.no-account."""
        try:
            return self._contents.accounts[name]
        except KeyError:
            raise InputError("vault.no-account", f"this home has no account named {name}") from None

    def add_account(self, name: str, passphrase: Passphrase) -> Secret:
        """A fresh account (design §9.7), durable on return."""
        if name in self._contents.accounts:
            raise InputError("vault.exists", f"this home has an account named {name} already")
        account = new_account(self._randbytes)
        self._home.check_passphrase(passphrase)
        contents = replace(self._contents, accounts={**self._contents.accounts, name: account})
        cost = cost_of(read_private(self._home.root / "keystore"))
        self._home.write_keystore(contents, passphrase, self._randbytes, cost)
        self._contents = contents
        return account


class Home:
    """A home folder. Opening it needs no passphrase; its secrets do (`unlock`)."""

    def __init__(self, root: Path, info: HomeInfo) -> None:
        self.root, self.info = root, info

    @staticmethod
    def init(
        root: Path,
        *,
        network: Network,
        second_place: Path,
        passphrase: Passphrase,
        randbytes: RandBytes,
        now_at: int,
        cost: Cost = DEFAULT_COST,
    ) -> Home:
        """Make a home with fresh secrets and its first period key in the second place."""
        contents = new_contents(randbytes, now_at)
        home = Home.lay_out(root, contents, network=network, second_place=second_place)
        home.write_keystore(contents, passphrase, randbytes, cost)
        with home.exclusive():
            Vault(home, contents, randbytes).tweaks.new_period(now_at)
        return home

    @staticmethod
    def lay_out(root: Path, contents: Contents, *, network: Network, second_place: Path) -> Home:
        """The folder and its public files, for `init` and `restore`."""
        root, second_place = root.absolute(), second_place.absolute()
        if second_place.resolve().is_relative_to(root.resolve()):
            raise InputError(
                "vault.second-place-inside",
                "the second place lies inside the home, so a copy of the home would hold both",
                hint="name a folder on another disk",
            )
        if root.exists() and (not root.is_dir() or any(root.iterdir())):
            raise InputError(
                "vault.home-exists", f"{root} exists and is not an empty folder", hint="name another folder"
            )
        try:
            second_place.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise InputError("vault.cannot-write", f"{second_place} cannot be made: {error.strerror}") from None
        make_private_folder(root)
        info = HomeInfo(
            contents.home_id, contents.created_at, address_of(contents.accounts[DEFAULT_ACCOUNT]), second_place
        )
        network.save(root / "network.toml")
        write_private(root / "home.toml", info.to_toml().encode())
        return Home(root, info)

    @staticmethod
    def open(root: Path) -> Home:
        """Open an existing home.

        Raises:
            InputError(vault.no-home): `root` is not a home.
            RefusedError(vault.readable-by-others): others can reach it.
        """
        if not (root / "home.toml").exists():
            raise InputError(
                "vault.no-home", f"{root} is not an Asset Bridge home", hint="asset-bridge init --network FILE"
            )
        root = root.absolute()
        require_private(root)
        return Home(root, HomeInfo.from_toml(read_private(root / "home.toml")))

    # public parts

    @property
    def network(self) -> Network:
        """The network this home works on."""
        return Network.load(self.root / "network.toml")

    def set_network(self, network: Network) -> None:
        """Replace `network.toml`; another chain id is refused, since every id in this home belongs to one chain."""
        if network.chain_id != self.network.chain_id:
            raise InputError(
                "vault.wrong-chain",
                f"this home belongs to chain {self.network.chain_id}, the file names {network.chain_id}",
                hint="asset-bridge init --home with another folder",
            )
        network.save(self.root / "network.toml")

    def keep_network(self, network: Network) -> Path:
        """Keep a network.toml that this home worked with, as `networks/EXCHANGE.toml`; its path."""
        path = self._folder("networks") / f"{network.contracts['Exchange'].address}.toml"
        network.save(path)
        return path

    def networks_beside(self, exchange: str) -> dict[Path, Network]:
        """The networks of other Exchanges that this home works with or has worked with, one for each, by their files."""
        files = [*sorted((self.root / "networks").glob("*.toml")), self.root / "network.toml"]  # the home's own wins
        found: dict[str, tuple[Path, Network]] = {}
        for path in files:
            network = Network.load(path)
            found[network.contracts["Exchange"].address] = path, network
        found.pop(exchange, None)
        return dict(found.values())

    @property
    def policy_path(self) -> Path:
        """Where the provider's policy file lies, if there is one."""
        return self.root / "policy.toml"

    def _folder(self, name: str) -> Path:
        make_private_folder(self.root / name)
        return self.root / name

    @property
    def chain_folder(self) -> Path:
        """Journals of sent transactions."""
        return self._folder("chain")

    @property
    def work_folder(self) -> Path:
        """Ciphertext on its way out."""
        return self._folder("work")

    @property
    def bodies_folder(self) -> Path:
        """Ciphertext that was fetched."""
        return self._folder("bodies")

    # lock

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[None]:
        """Hold the home's lock. The system frees it when the process ends, however it ends.

        Raises:
            UnavailableError(vault.home-busy): another process, or another object of this one, holds it.
        """
        descriptor = os.open(self.root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UnavailableError(
                    "vault.home-busy",
                    f"another asset-bridge works on {self.root}",
                    hint="wait for it to end, or use another home",
                ) from None
            yield
        finally:
            os.close(descriptor)

    # keystore

    def write_keystore(self, contents: Contents, passphrase: Passphrase, randbytes: RandBytes, cost: Cost) -> None:
        """Replace the keystore."""
        sealed = seal_envelope(contents.encode(), passphrase(), purpose=PURPOSE, randbytes=randbytes, cost=cost)
        write_private(self.root / "keystore", sealed)

    def check_passphrase(self, passphrase: Passphrase) -> Contents:
        """The keystore's contents, when the passphrase opens it and it is this home's."""
        contents = Contents.decode(open_envelope(read_private(self.root / "keystore"), passphrase(), purpose=PURPOSE))
        if contents.home_id != self.info.home_id:
            raise TamperedError("vault.malformed", "the keystore belongs to another home than home.toml says")
        return contents

    def unlock(self, passphrase: Passphrase, randbytes: RandBytes) -> Vault:
        """Open the keystore. Hold `exclusive` around any change."""
        return Vault(self, self.check_passphrase(passphrase), randbytes)

    # backup state

    @property
    def last_backup_at(self) -> int | None:
        """When the last backup was made, if ever."""
        path = self.root / "last-backup"
        if not path.exists():
            return None
        content = read_private(path)
        if not content.isdigit() or len(content) > 15:
            raise TamperedError("vault.malformed", "last-backup is not what this program writes")
        return int(content)

    def note_backup(self, now_at: int) -> None:
        """Remember that a backup was made."""
        write_private(self.root / "last-backup", str(now_at).encode())
        sync_folder(self.root)

    def warn_backup(self, newest_at: int) -> str | None:
        """A sentence for `status` when something is newer than the last backup; `newest_at` 0: nothing yet."""
        last = self.last_backup_at
        if last is None:
            return "there is no backup of this home: without one a lost disk loses every asset and order"
        if newest_at > last:
            return "the last backup is older than the newest asset or order"
        return None
