"""Write spec/vectors/home: keystore, record, tweak, backup, home.toml and network.toml from fixed inputs.

HPKE draws its own randomness, so tweak.json holds a value sealed once; a test opens it.
Run: python tools/vectors/home.py [FOLDER]
     python tools/vectors/home.py --seal-once   (tweak.json)
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable
from pathlib import Path

from asset_bridge.vault.backup import PURPOSE as BACKUP_PURPOSE
from asset_bridge.vault.backup import TWEAKS_MAGIC
from asset_bridge.vault.contents import PURPOSE, Contents
from asset_bridge.vault.envelope import seal_envelope
from asset_bridge.vault.home import HomeInfo
from asset_bridge.vault.network import Contract, Network, Peer
from asset_bridge.vault.sealed_store import seal_record
from asset_bridge.vault.secret import Secret, pack
from asset_bridge.vault.tweaks import _public_bytes, seal_tweak

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "spec" / "vectors" / "home"
PASSPHRASE = "fünf Worte für den Tresor"
NOW_AT = 1_800_000_000


def fixed(label: str, length_bytes: int = 32) -> bytes:
    """Fixed bytes that look random."""
    return hashlib.shake_256(b"asset-bridge home vectors: " + label.encode()).digest(length_bytes)


def drawn() -> Callable[[int], bytes]:
    """A source of fixed bytes: salt first, then nonce."""
    labels = iter(("salt", "nonce"))
    return lambda length: fixed(next(labels), length)


CONTENTS = Contents(
    home_id=fixed("home id", 16),
    created_at=NOW_AT,
    storage_key=Secret(fixed("storage key")),
    provider_seed=Secret(fixed("provider seed")),
    consumer_seed=Secret(fixed("consumer seed")),
    accounts={"default": Secret(fixed("account")), "second": Secret(fixed("second account"))},
)
NETWORK = Network(
    name="golden",
    chain_id=31337,
    rpc_urls=("http://127.0.0.1:8545", "https://rpc.example:8443/path"),
    contracts={
        name: Contract(f"0x{number:040x}", fixed(name))
        for number, name in enumerate(("AssetLedger", "Exchange", "NodeRegistry", "ReencryptionVerifier"), 1)
    },
    deployed_block=12,
    light_nodes=(Peer("https://light.example", fixed("pin")), Peer("http://127.0.0.1:7001")),
    storage_nodes=(Peer("http://127.0.0.1:7002"),),
)


def write(folder: Path) -> None:
    """Every file that fixed inputs determine."""
    folder.mkdir(parents=True, exist_ok=True)
    contents = CONTENTS.encode()
    keystore = seal_envelope(contents, PASSPHRASE, purpose=PURPOSE, randbytes=drawn())
    _json(folder / "keystore.json", {"passphrase": PASSPHRASE, "contents": contents.hex(), "keystore": keystore.hex()})
    record = seal_record(b"a record", CONTENTS.storage_key, "orders", "ab12", fixed("salt"))
    fields = {
        "storage_key": CONTENTS.storage_key.reveal().hex(),
        "store": "orders",
        "name": "ab12",
        "content": b"a record".hex(),
    }
    _json(folder / "record.json", {**fields, "record": record.hex()})
    keys = {
        "version": 1,
        "contents": contents,
        "network": NETWORK.to_toml(),
        "policy": b"policy",
        "orders": {"ab12": b"order"},
        "halves": {"cd34": b"half"},
        "journal": {},
    }
    bundle = {
        "version": 1,
        "home_id": CONTENTS.home_id,
        "made_at": NOW_AT,
        "periods": pack([[1, fixed("public", 1216), 0]]),
        "tweaks": {fixed("container", 16).hex(): fixed("sealed tweak", 1184)},
    }
    sealed = seal_envelope(pack(keys), PASSPHRASE, purpose=BACKUP_PURPOSE, randbytes=drawn())
    backup = {"passphrase": PASSPHRASE, "keys": sealed.hex(), "tweaks": (TWEAKS_MAGIC + pack(bundle)).hex()}
    _json(folder / "backup.json", backup)
    info = HomeInfo(CONTENTS.home_id, NOW_AT, "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed", Path("/media/second-place"))
    (folder / "home.toml").write_text(info.to_toml())
    (folder / "network.toml").write_text(NETWORK.to_toml())
    (folder / "VERSION").write_text("1\n")


def seal_once(folder: Path) -> None:
    """tweak.json."""
    secret, container = fixed("period", 96), fixed("container", 16)
    sealed = seal_tweak(fixed("tweak"), _public_bytes(secret), CONTENTS.home_id, container, 7)
    fields = {"period_secret": secret, "home_id": CONTENTS.home_id, "container_id": container, "tweak": fixed("tweak")}
    _json(folder / "tweak.json", {name: value.hex() for name, value in {**fields, "file": sealed}.items()})


def _json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    if sys.argv[1:] == ["--seal-once"]:
        seal_once(FOLDER)
    else:
        write(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
