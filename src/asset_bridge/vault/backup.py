"""Backup and restore: two files, `keys` and `tweaks`, both needed.

Source: spec/home.md §7, design §4. `keys` is an envelope under the passphrase: seeds, accounts, policy, networks, open orders,
verified fragments; keep it for ever. `tweaks` holds tweaks sealed to period keys, which are in the second place; keep it no longer than the
retention. Promises: restore of both gives a home with the same secrets and records. Does not promise: bodies, which anyone can fetch
again from storage nodes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asset_bridge.errors import InputError, RefusedError, TamperedError
from asset_bridge.vault.contents import Contents
from asset_bridge.vault.durable import read_private, write_private
from asset_bridge.vault.envelope import DEFAULT_COST, Cost, open_envelope, seal_envelope
from asset_bridge.vault.home import Home, RandBytes, Vault
from asset_bridge.vault.network import Network
from asset_bridge.vault.passphrase import Passphrase
from asset_bridge.vault.secret import pack, unpack

PURPOSE = b"asset-bridge/1/backup-keys"
TWEAKS_MAGIC = b"ABTWEAKS\x01\x1a\r\n"
VERSION = 1
SHREDDED = "shred-"  # journal records of assets whose tweak was destroyed; `restore` leaves those tweaks out
_KEYS_FIELDS = {"version", "contents", "network", "policy", "orders", "halves", "journal"}
_TWEAKS_FIELDS = {"version", "home_id", "made_at", "periods", "tweaks"}


@dataclass(frozen=True, slots=True)
class BackedUp:
    """What a backup holds, for the report."""

    accounts: int
    orders: int
    halves: int
    tweaks: int


def backup(
    home: Home,
    vault: Vault,
    keys_file: Path,
    tweaks_file: Path,
    *,
    passphrase: Passphrase,
    randbytes: RandBytes,
    now_at: int,
    cost: Cost = DEFAULT_COST,
) -> BackedUp:
    """Write both files. The passphrase must be the home's, so that one backup never needs two.

    Raises:
        InputError(vault.exists): a file is there; it is not overwritten.
        InputError(vault.second-place-inside): a backup file would lie in the second place, beside the period keys.
    """
    home.check_passphrase(passphrase)
    for path in (keys_file, tweaks_file):
        if path.exists():
            raise InputError("vault.exists", f"{path} exists already and is not overwritten")
        if path.absolute().parent.resolve() == home.info.second_place.resolve():
            raise InputError(
                "vault.second-place-inside", "a backup must not lie beside the period keys", hint="name another folder"
            )
    stores: dict[str, dict[str, bytes]] = {
        name: {record: store.get(record) or b"" for record in store.names()}
        for name, store in (("orders", vault.orders), ("halves", vault.halves), ("journal", vault.journal))
    }
    policy = read_private(home.policy_path) if home.policy_path.exists() else None
    keys: dict[str, Any] = {
        "version": VERSION,
        "contents": vault.contents.encode(),
        "network": home.network.to_toml(),
        "policy": policy,
        **stores,
    }
    own = home.network.contracts["Exchange"].address
    others = [one.to_toml() for one in home.networks_beside(own).values()]
    if others:
        keys["networks"] = others
    tweaks = vault.tweaks.export()
    bundle = {
        "version": VERSION,
        "home_id": home.info.home_id,
        "made_at": now_at,
        "periods": vault.tweaks.export_periods(),
        "tweaks": tweaks,
    }
    sealed = seal_envelope(pack(keys), passphrase(), purpose=PURPOSE, randbytes=randbytes, cost=cost)
    write_private(keys_file, sealed, replace=False)
    write_private(tweaks_file, TWEAKS_MAGIC + pack(bundle), replace=False)
    home.note_backup(now_at)
    return BackedUp(len(vault.account_names), len(stores["orders"]), len(stores["halves"]), len(tweaks))


def restore(
    root: Path,
    keys_file: Path,
    tweaks_file: Path,
    *,
    second_place: Path,
    passphrase: Passphrase,
    randbytes: RandBytes,
    network: Network | None = None,
    cost: Cost = DEFAULT_COST,
) -> Home:
    """Make a home from both files. Nothing is written before both are read and belong together.

    Raises:
        RefusedError(vault.passphrase): it does not open the `keys` file.
        RefusedError(vault.backup-mismatch): the files are of two homes.
        TamperedError(vault.malformed): a file is damaged.
    """
    keys = _read_keys(keys_file, passphrase)
    tweaks = read_tweaks(tweaks_file)
    contents = Contents.decode(keys["contents"])
    if tweaks["home_id"] != contents.home_id:
        raise RefusedError("vault.backup-mismatch", "the two backup files belong to different homes")
    before = [Network.from_toml(text) for text in (*keys.get("networks", ()), keys["network"])]
    network = network or before[-1]
    home = Home.lay_out(root, contents, network=network, second_place=second_place)
    with home.exclusive():
        for one in before:
            if one.contracts != network.contracts:
                home.keep_network(one)
        if keys["policy"] is not None:
            write_private(home.policy_path, keys["policy"])
        home.write_keystore(contents, passphrase, randbytes, cost)
        vault = Vault(home, contents, randbytes)
        for name, store in (("orders", vault.orders), ("halves", vault.halves), ("journal", vault.journal)):
            for record, content in keys[name].items():
                store.put(record, content)
        live = {name: sealed for name, sealed in tweaks["tweaks"].items() if SHREDDED + name not in keys["journal"]}
        vault.tweaks.restore(live, tweaks["periods"])
    return home


def _read_keys(path: Path, passphrase: Passphrase) -> dict[str, Any]:
    value = unpack(open_envelope(read_private(path), passphrase(), purpose=PURPOSE), "the keys backup")
    good = (
        isinstance(value, dict)
        and set(value) - {"networks"} == _KEYS_FIELDS
        and value["version"] == VERSION
        and isinstance(value["contents"], bytes)
        and isinstance(value["network"], str)
        and _is_texts(value.get("networks", [""]))
        and (value["policy"] is None or isinstance(value["policy"], bytes))
        and all(_is_records(value[name]) for name in ("orders", "halves", "journal"))
    )
    if not good:
        raise TamperedError("vault.malformed", "the keys backup is not what this program writes")
    fields: dict[str, Any] = value
    return fields


def read_tweaks(path: Path) -> dict[str, Any]:
    """The `tweaks` backup, every field checked; TamperedError(vault.malformed)."""
    content = read_private(path)
    if not content.startswith(TWEAKS_MAGIC):
        raise TamperedError("vault.malformed", "the tweaks backup is not what this program writes")
    value = unpack(content[len(TWEAKS_MAGIC) :], "the tweaks backup")
    good = (
        isinstance(value, dict)
        and set(value) == _TWEAKS_FIELDS
        and value["version"] == VERSION
        and isinstance(value["home_id"], bytes)
        and isinstance(value["periods"], bytes)
        and _is_records(value["tweaks"])
        and all(len(name) == 32 and set(name) <= set("0123456789abcdef") for name in value["tweaks"])
    )
    if not good:
        raise TamperedError("vault.malformed", "the tweaks backup is not what this program writes")
    fields: dict[str, Any] = value
    return fields


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(text, str) for text in value)


def _is_records(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(k, str) and isinstance(v, bytes) for k, v in value.items())
