"""`network.toml`: which chain, which contracts, which nodes to start from.

Source: spec/home.md §6. Promises: only a complete, well-formed file becomes a `Network`; nothing in it is trusted before
`check_against_chain`. Does not promise: that a node named in it is honest or up.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import tomli_w

from asset_bridge.errors import InputError, TamperedError
from asset_bridge.keys.address import is_address
from asset_bridge.vault.durable import write_private

FORMAT = "asset-bridge/network/1"
_CONTRACT_NAME = re.compile(r"[A-Z][A-Za-z]{1,39}")
MAX_NETWORK_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Contract:
    """A contract's address and the keccak of its run-time code (32 bytes)."""

    address: str
    code_hash: bytes


@dataclass(frozen=True, slots=True)
class Peer:
    """A node to start from. `tls_pin` is the SHA-256 of its TLS public key, where it serves TLS with a key of its own."""

    url: str
    tls_pin: bytes | None = None


@dataclass(frozen=True, slots=True)
class Network:
    """Everything a command needs to know before it asks anyone."""

    name: str
    chain_id: int
    rpc_urls: tuple[str, ...]
    contracts: Mapping[str, Contract]
    deployed_block: int
    light_nodes: tuple[Peer, ...]
    storage_nodes: tuple[Peer, ...]

    def to_toml(self) -> str:
        """The file's text. `from_toml` gives an equal value back."""
        return tomli_w.dumps(
            {
                "format": FORMAT,
                "name": self.name,
                "chain_id": self.chain_id,
                "rpc_urls": list(self.rpc_urls),
                "deployed_block": self.deployed_block,
                "contracts": {
                    name: {
                        "address": self.contracts[name].address,
                        "code_hash": "0x" + self.contracts[name].code_hash.hex(),
                    }
                    for name in sorted(self.contracts)
                },
                "light_nodes": [_peer_table(peer) for peer in self.light_nodes],
                "storage_nodes": [_peer_table(peer) for peer in self.storage_nodes],
            }
        )

    @staticmethod
    def from_toml(text: str) -> Network:
        """Parse a file's text.

        Raises:
            InputError(vault.network): not TOML, another format, a key missing, unknown or of the wrong kind.
        """
        try:
            table = tomllib.loads(text)
        except (tomllib.TOMLDecodeError, RecursionError):
            raise _bad("it is not TOML") from None
        return _from_table(table)

    @staticmethod
    def load(path: Path) -> Network:
        """Read a file."""
        try:
            with path.open("rb") as file:
                content = file.read(MAX_NETWORK_BYTES + 1)
        except OSError as error:
            raise InputError("vault.network", f"{path} cannot be read: {error.strerror}") from None
        if len(content) > MAX_NETWORK_BYTES:
            raise _bad("it is too large")
        try:
            return Network.from_toml(content.decode())
        except UnicodeDecodeError:
            raise _bad("it is not UTF-8") from None

    def save(self, path: Path) -> None:
        """Write the file, whole or not at all."""
        write_private(path, self.to_toml().encode())

    def check_against_chain(self, chain_id: int, code_hash_of: Callable[[str], bytes]) -> None:
        """Compare with what a chain endpoint says: `code_hash_of(address)` is the keccak of the code there.

        Raises:
            InputError(vault.wrong-chain): the endpoint serves another chain.
            TamperedError(vault.code-hash): a contract has other code than the file says.
        """
        if chain_id != self.chain_id:
            raise InputError(
                "vault.wrong-chain",
                f"network.toml names chain {self.chain_id}, the endpoint serves chain {chain_id}",
                hint="asset-bridge init --network FILE with the right file, or start the right chain",
                actor="you",
            )
        for name, contract in self.contracts.items():
            if code_hash_of(contract.address) != contract.code_hash:
                raise TamperedError(
                    "vault.code-hash",
                    f"the {name} contract at {contract.address} has other code than network.toml says",
                    hint="ask who gave you network.toml for a new one; do not trade before",
                    actor="chain endpoint",
                )


def _peer_table(peer: Peer) -> dict[str, str]:
    return {"url": peer.url} | ({"tls_pin": peer.tls_pin.hex()} if peer.tls_pin is not None else {})


def _bad(reason: str) -> InputError:
    return InputError("vault.network", f"network.toml is not usable: {reason}", hint="asset-bridge init --network FILE")


def _from_table(table: dict[str, Any]) -> Network:
    expected = {"format", "name", "chain_id", "rpc_urls", "deployed_block", "contracts", "light_nodes", "storage_nodes"}
    if table.get("format") != FORMAT:
        raise _bad(f"its format is not {FORMAT}")
    if set(table) != expected:
        raise _bad(f"missing or unknown: {', '.join(sorted(set(table) ^ expected))}")
    rpc_urls = table["rpc_urls"]
    if not isinstance(rpc_urls, list) or not rpc_urls:
        raise _bad("rpc_urls is empty")
    contracts = table["contracts"]
    if not isinstance(contracts, dict) or not 1 <= len(contracts) <= 16:
        raise _bad("contracts names no contract")
    if not all(_CONTRACT_NAME.fullmatch(name) for name in contracts):
        raise _bad("a contract's name is malformed")
    if not isinstance(table["name"], str):
        raise _bad("name is not text")
    return Network(
        name=table["name"],
        chain_id=_count(table["chain_id"], "chain_id"),
        rpc_urls=tuple(_url(url) for url in rpc_urls),
        contracts={name: _contract(contracts[name], name) for name in contracts},
        deployed_block=_count(table["deployed_block"], "deployed_block"),
        light_nodes=_peers(table["light_nodes"], "light_nodes"),
        storage_nodes=_peers(table["storage_nodes"], "storage_nodes"),
    )


def _count(value: object, name: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 63:
        raise _bad(f"{name} is not a count")
    return value


def is_url(value: object) -> bool:
    """Whether this is http(s)://host[:port][/path] without user, password, query or blanks."""
    if not isinstance(value, str) or len(value) > 2000 or not value.isascii() or any(c <= " " for c in value):
        return False
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        return False
    plain = parts.username is None and parts.password is None and not parts.query and not parts.fragment
    return parts.scheme in ("http", "https") and bool(parts.hostname) and port != 0 and plain


def _url(value: object) -> str:
    if not isinstance(value, str) or not is_url(value):
        raise _bad("a URL is not http(s)://host[:port][/path] without a password")
    return value


def _hex32(value: object, name: str) -> bytes:
    if not isinstance(value, str) or len(value) != 64:
        raise _bad(f"{name} is not 32 bytes in hex")
    try:
        return bytes.fromhex(value)
    except ValueError:
        raise _bad(f"{name} is not 32 bytes in hex") from None


def _contract(value: object, name: str) -> Contract:
    if not isinstance(value, dict) or set(value) != {"address", "code_hash"}:
        raise _bad(f"contracts.{name} needs address and code_hash")
    if not is_address(value["address"]):
        raise _bad(f"contracts.{name}.address is not an EIP-55 address")
    code_hash = value["code_hash"]
    prefix = isinstance(code_hash, str) and code_hash.startswith("0x")
    return Contract(value["address"], _hex32(code_hash[2:] if prefix else None, f"contracts.{name}.code_hash"))


def _peers(value: object, name: str) -> tuple[Peer, ...]:
    if not isinstance(value, list):
        raise _bad(f"{name} is not a list of tables")
    peers = []
    for entry in value:
        if not isinstance(entry, dict) or not {"url"} <= set(entry) <= {"url", "tls_pin"}:
            raise _bad(f"an entry of {name} needs url and may have tls_pin")
        pin = _hex32(entry["tls_pin"], "tls_pin") if "tls_pin" in entry else None
        peers.append(Peer(_url(entry["url"]), pin))
    return tuple(peers)
