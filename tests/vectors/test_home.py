"""Golden files of the home folder (spec/home.md): what was written by version 1 opens, and version 1 writes the same bytes."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from asset_bridge.vault import envelope
from asset_bridge.vault.backup import restore
from asset_bridge.vault.contents import PURPOSE, Contents
from asset_bridge.vault.envelope import open_envelope
from asset_bridge.vault.home import HomeInfo
from asset_bridge.vault.network import Network
from asset_bridge.vault.sealed_store import open_record
from asset_bridge.vault.secret import Secret
from asset_bridge.vault.tweaks import open_tweak
from tools.vectors import home as script

FOLDER = Path("spec/vectors/home")


@pytest.fixture(scope="module", autouse=True)
def _one_scrypt_for_one_salt() -> Iterator[None]:
    """Each passphrase, salt and cost is derived once, at the product's full cost."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(envelope, "_derive", functools.cache(envelope._derive))
        yield


def golden(name: str) -> dict[str, str]:
    table: dict[str, str] = json.loads((FOLDER / name).read_text())
    return table


def test_the_same_bytes_are_written(tmp_path: Path) -> None:
    script.write(tmp_path)
    for path in tmp_path.iterdir():
        assert path.read_bytes() == (FOLDER / path.name).read_bytes(), path.name


def test_the_keystore_opens() -> None:
    case = golden("keystore.json")
    contents = open_envelope(bytes.fromhex(case["keystore"]), case["passphrase"], purpose=PURPOSE)
    assert contents.hex() == case["contents"]
    assert Contents.decode(contents).encode() == contents


def test_the_record_opens() -> None:
    case = golden("record.json")
    key = Secret(bytes.fromhex(case["storage_key"]))
    assert open_record(bytes.fromhex(case["record"]), key, case["store"], case["name"]).hex() == case["content"]


def test_the_tweak_opens() -> None:
    case = {name: bytes.fromhex(value) for name, value in golden("tweak.json").items()}
    assert (
        open_tweak(case["file"], case["period_secret"], case["home_id"], case["container_id"]).reveal() == case["tweak"]
    )


def test_the_backup_restores(tmp_path: Path) -> None:
    case = golden("backup.json")
    for name in ("keys", "tweaks"):
        (tmp_path / name).write_bytes(bytes.fromhex(case[name]))
        (tmp_path / name).chmod(0o600)
    home = restore(
        tmp_path / "home",
        tmp_path / "keys",
        tmp_path / "tweaks",
        second_place=tmp_path / "second",
        passphrase=lambda: case["passphrase"],
        randbytes=lambda n: bytes(n),
    )
    vault = home.unlock(lambda: case["passphrase"], lambda n: bytes(n))
    assert vault.orders.get("ab12") == b"order"
    assert vault.halves.get("cd34") == b"half"
    assert vault.tweaks.names() == [script.fixed("container", 16).hex()]


def test_the_text_files_read() -> None:
    text = (FOLDER / "network.toml").read_text()
    assert Network.from_toml(text).to_toml() == text
    info = (FOLDER / "home.toml").read_bytes()
    assert HomeInfo.from_toml(info).to_toml().encode() == info
