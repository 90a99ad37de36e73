"""Homes made, backed up and restored with the network checked against its chain.

Source: design §7, spec/home.md. Promises: a network.toml from a file or an https address becomes a home's only after chain id and
contract code hashes agreed with the chain.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import httpx

from asset_bridge.chain.adapter import RpcChain
from asset_bridge.chain.network import is_development
from asset_bridge.errors import InputError, UnavailableError
from asset_bridge.trade.network import deployment_of, require_beside
from asset_bridge.vault.backup import BackedUp, backup, restore
from asset_bridge.vault.envelope import DEFAULT_COST, MIN_COST
from asset_bridge.vault.home import Home, RandBytes
from asset_bridge.vault.network import MAX_NETWORK_BYTES, Network
from asset_bridge.vault.passphrase import Passphrase
from asset_bridge.vault.recovery import make_shares, read_share, restore_from_shares, write_shares


@dataclass(frozen=True, slots=True)
class KnownNetwork:
    """A network whose chain was asked."""

    network: Network

    @property
    def name(self) -> str:
        """Its name."""
        return self.network.name

    @property
    def chain_id(self) -> int:
        """Its chain id."""
        return self.network.chain_id

    @property
    def is_development(self) -> bool:
        """Whether it is a development chain, by its id."""
        return is_development(self.network.chain_id)


def load_network(source: str) -> KnownNetwork:
    """A network.toml from a file or a URL, checked against its chain.

    Raises:
        InputError(vault.network, vault.wrong-chain, client.network-url): not usable.
        TamperedError(chain.code-hash): a contract has other code than the file says.
        UnavailableError: the address or the chain does not answer.
    """
    network = read_network(source)
    check_network(network)
    return KnownNetwork(network)


def read_network(source: str) -> Network:
    """A network.toml from a file or a URL, before its chain was asked; whoever works with it compares (`check_network`, Session.open)."""
    return Network.from_toml(_download(source)) if "://" in source else Network.load(Path(source).expanduser())


def use_network(root: Path, network: KnownNetwork) -> Path | None:
    """Make this the network of a home; what it used before is kept beside, and its path returned where that was another Exchange.

    Raises:
        InputError(trade.other-network): another chain, AssetLedger or NodeRegistry than the home's.
        RefusedError(chain.exchange-unlisted): the AssetLedger does not list its Exchange.
        UnavailableError(vault.home-busy): another process works on the home.
    """
    home = Home.open(root)
    with home.exclusive():
        before = home.network
        require_beside(before, network.network)
        with closing(RpcChain(deployment_of(network.network), network.network.rpc_urls)) as chain:
            chain.require_listed_exchange()
        kept = home.keep_network(before) if before.contracts != network.network.contracts else None
        home.set_network(network.network)
    return kept


def check_network(network: Network) -> None:
    """Chain id and code hashes against every endpoint; see `load_network`."""
    RpcChain(deployment_of(network), network.rpc_urls).check()


def _download(url: str) -> str:
    host = httpx.URL(url).host
    if not url.startswith("https://") and not (url.startswith("http://") and host in ("127.0.0.1", "localhost", "::1")):
        raise InputError(
            "client.network-url", "a network.toml is taken from https only", hint="download it yourself and check it"
        )
    try:
        with httpx.stream("GET", url, timeout=20, follow_redirects=False, trust_env=False) as response:
            if response.status_code != 200:
                raise UnavailableError("client.network-url", f"{host} answered with status {response.status_code}")
            content = b""
            for piece in response.iter_bytes():
                content += piece
                if len(content) > MAX_NETWORK_BYTES:
                    raise InputError("client.network-url", "the network.toml there is too large")
    except httpx.HTTPError:
        raise UnavailableError(
            "client.network-url", f"{host} does not answer", hint="try again, or use a file"
        ) from None
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise InputError("vault.network", "the network.toml there is not UTF-8 text") from None


def make_home(
    root: Path,
    *,
    network: KnownNetwork | Network,
    second_place: Path,
    passphrase: Passphrase,
    randbytes: RandBytes,
    now_at: int,
) -> Home:
    """A new home; on a development chain with a keystore that opens sooner (docs/decisions/0010)."""
    plain = _plain(network)
    return Home.init(
        root,
        network=plain,
        second_place=second_place,
        passphrase=passphrase,
        randbytes=randbytes,
        now_at=now_at,
        cost=MIN_COST if is_development(plain.chain_id) else DEFAULT_COST,
    )


def backup_home(
    root: Path, keys_file: Path, tweaks_file: Path, *, passphrase: Passphrase, randbytes: RandBytes, now_at: int
) -> BackedUp:
    """Back a home up."""
    home = Home.open(root)
    with home.exclusive():
        vault = home.unlock(passphrase, randbytes)
        return backup(home, vault, keys_file, tweaks_file, passphrase=passphrase, randbytes=randbytes, now_at=now_at)


def restore_home(
    root: Path,
    keys_file: Path,
    tweaks_file: Path,
    *,
    network: KnownNetwork | Network,
    second_place: Path,
    passphrase: Passphrase,
    randbytes: RandBytes,
    now_at: int,
) -> Home:
    """A home again, from its backup; it counts as backed up from now on."""
    home = restore(
        root,
        keys_file,
        tweaks_file,
        network=_plain(network),
        second_place=second_place,
        passphrase=passphrase,
        randbytes=randbytes,
    )
    home.note_backup(now_at)
    return home


def write_recovery_shares(
    root: Path, folder: Path, threshold: int, shares: int, *, passphrase: Passphrase, randbytes: RandBytes
) -> list[Path]:
    """Recovery shares of a home as files, one for each holder; any `threshold` of them recover its keystore."""
    home = Home.open(root)
    with home.exclusive():
        vault = home.unlock(passphrase, randbytes)
        return write_shares(folder, make_shares(vault, threshold, shares, randbytes))


def recover_home(
    root: Path,
    share_files: Sequence[Path],
    tweaks_file: Path,
    *,
    network: KnownNetwork | Network,
    second_place: Path,
    passphrase: Passphrase,
    randbytes: RandBytes,
) -> Home:
    """A home again, from holders' shares and the `tweaks` backup, under a new passphrase."""
    return restore_from_shares(
        root,
        [read_share(path) for path in share_files],
        tweaks_file,
        network=_plain(network),
        second_place=second_place,
        passphrase=passphrase,
        randbytes=randbytes,
    )


def _plain(network: KnownNetwork | Network) -> Network:
    return network.network if isinstance(network, KnownNetwork) else network
