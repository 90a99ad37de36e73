"""network.toml (spec/home.md §6)."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from asset_bridge.errors import InputError, TamperedError
from asset_bridge.vault.network import Network
from tests.unit.vault.test_home import NETWORK


def test_round_trip(tmp_path: Path) -> None:
    assert Network.from_toml(NETWORK.to_toml()) == NETWORK
    NETWORK.save(tmp_path / "network.toml")
    assert Network.load(tmp_path / "network.toml") == NETWORK


def changed(path: list[str | int], value: object) -> str:
    table = tomllib.loads(NETWORK.to_toml())
    place: Any = table
    for step in path[:-1]:
        place = place[step]
    if value is None:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return tomli_w.dumps(table)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["format"], "asset-bridge/network/2"),
        (["format"], None),
        (["extra"], 1),
        (["chain_id"], -1),
        (["chain_id"], "1"),
        (["chain_id"], True),
        (["name"], 5),
        (["contracts"], {"lower": {}}),
        (["rpc_urls"], []),
        (["rpc_urls"], [5]),
        (["rpc_urls"], ["ftp://x"]),
        (["rpc_urls"], ["http://user:pass@x"]),
        (["rpc_urls"], ["http://x:99999"]),
        (["contracts"], {}),
        (["contracts", "AssetLedger", "address"], "0x12"),
        (["contracts", "AssetLedger", "address"], 7),
        (["contracts", "AssetLedger", "code_hash"], "00" * 32),
        (["contracts", "AssetLedger", "code_hash"], "0x" + "zz" * 32),
        (["contracts", "AssetLedger", "extra"], 1),
        (["light_nodes"], 5),
        (["light_nodes"], ["http://x"]),
        (["light_nodes", 0, "tls_pin"], "00"),
        (["light_nodes", 0, "extra"], "00"),
    ],
)
def test_an_unusable_file_is_refused_by_name(path: list[str | int], value: object) -> None:
    with pytest.raises(InputError) as caught:
        Network.from_toml(changed(path, value))
    assert caught.value.code == "vault.network"


def test_files_that_are_no_toml(tmp_path: Path) -> None:
    path = tmp_path / "n"
    for content in (b"\xff", b"= =", bytes(300_000)):
        path.write_bytes(content)
        with pytest.raises(InputError) as caught:
            Network.load(path)
        assert caught.value.code == "vault.network"
    with pytest.raises(InputError):
        Network.load(tmp_path / "absent")


def test_the_chain_decides() -> None:
    hashes = {contract.address: contract.code_hash for contract in NETWORK.contracts.values()}
    NETWORK.check_against_chain(31337, hashes.__getitem__)
    with pytest.raises(InputError) as caught:
        NETWORK.check_against_chain(1, hashes.__getitem__)
    assert caught.value.code == "vault.wrong-chain"
    for name, contract in NETWORK.contracts.items():
        lying = {**hashes, contract.address: bytes(32)}
        with pytest.raises(TamperedError) as tampered:
            NETWORK.check_against_chain(31337, lying.__getitem__)
        assert tampered.value.code == "vault.code-hash"
        assert name in tampered.value.message
