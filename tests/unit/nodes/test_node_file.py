"""node.toml: written and read back equal; a typing mistake never becomes a silent default."""

from __future__ import annotations

from pathlib import Path

import pytest

from asset_bridge.cli.doctor_cmd import _kubos
from asset_bridge.errors import InputError, RefusedError, UnavailableError
from asset_bridge.ipfs.kubo.daemon import KuboDaemon
from asset_bridge.ipfs.kubo.settings import wrong_settings
from asset_bridge.ipfs.store import put_document
from asset_bridge.nodes.devnet import Devnet
from asset_bridge.nodes.launch.base import _lock
from asset_bridge.nodes.launch.storage import open_store
from asset_bridge.nodes.launch.tee import attester_of
from asset_bridge.nodes.node_file import NodeFile
from asset_bridge.nodes.run import renew_node

SALT = bytes(range(32))


def full(folder: Path) -> NodeFile:
    return NodeFile(
        folder, "tee", folder / "home", SALT, port=4711, stake_wei=10**18, writers=("0x00",), attester="simulated"
    )


def test_a_file_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    full(tmp_path / "node").save()
    assert NodeFile.load(tmp_path / "node") == full(tmp_path / "node")


def test_a_storage_node_on_kubo_is_read_back_too(tmp_path: Path) -> None:
    made = NodeFile(
        tmp_path / "node", "storage", tmp_path / "home", SALT, kubo=True, storage_max_bytes=5 * 10**11,
        swarm_key="swarm.key", swarm_listen=("/ip4/10.0.0.5/tcp/4001",), kubo_secret_file="secret",
    )  # fmt: skip
    made.save()
    assert NodeFile.load(tmp_path / "node") == made


def test_the_secret_of_a_running_kubo_must_be_readable(tmp_path: Path) -> None:
    made = NodeFile(tmp_path, "storage", tmp_path, SALT, kubo_api="http://127.0.0.1:1", kubo_secret_file="secret")
    with pytest.raises(InputError, match="No such file") as missing, open_store(made):
        pass
    (tmp_path / "secret").write_bytes(b"\xff\xfetoken")
    with pytest.raises(InputError, match="not text") as binary, open_store(made):
        pass
    for caught in (missing, binary):
        assert (caught.value.code, str(tmp_path / "secret") in caught.value.message) == ("ipfs.kubo-secret", True)
    assert "token" not in binary.value.message


@pytest.mark.needs_kubo
def test_a_kubo_that_runs_already_serves_as_store(kubo_trio: list[KuboDaemon], tmp_path: Path) -> None:
    daemon = kubo_trio[0]
    (tmp_path / "secret").write_text(daemon.secret + "\n")
    url = daemon.rpc()._base.removesuffix("/api/v0/")
    made = NodeFile(tmp_path, "storage", tmp_path, SALT, kubo_api=url, kubo_secret_file="secret", reserve_bytes=0)
    with open_store(made) as (store, name):
        assert name.startswith("kubo 0.")
        root = put_document(store, b"through a kubo of the operator's own")
        assert store.get_block(root) == b"through a kubo of the operator's own"
        assert store.remove(root)
        store.close()


@pytest.mark.needs_kubo
def test_doctor_and_the_start_name_settings_that_would_keep_damage(
    kubo_trio: list[KuboDaemon], tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    daemon, folder = kubo_trio[0], tmp_path / "nodes" / "storage"
    folder.mkdir(parents=True)
    (folder / "secret").write_text(daemon.secret)
    url = daemon.rpc()._base.removesuffix("/api/v0/")
    made = NodeFile(folder, "storage", tmp_path, SALT, kubo_api=url, kubo_secret_file="secret", reserve_bytes=0)
    made.save()
    [well] = _kubos(tmp_path / "nodes")
    assert (well.well, "settings as needed" in well.seen) == (True, True)
    config = daemon.rpc().settings()
    del config["Datastore"]["BlockKeyCacheSize"]
    monkeypatch.setattr("asset_bridge.ipfs.kubo.rpc.KuboRpc.settings", lambda _self: config)
    [bad] = _kubos(tmp_path / "nodes")
    assert (bad.well, "BlockKeyCacheSize is 65536 and must be 0" in bad.seen, bool(bad.fix)) == (False, True, True)
    with caplog.at_level("WARNING"), open_store(made) as (store, _name):
        store.close()
    assert any("BlockKeyCacheSize" in str(getattr(record, "fields", "")) for record in caplog.records)
    (folder / "secret").write_text("another")
    monkeypatch.undo()
    [refused] = _kubos(tmp_path / "nodes")
    assert (refused.well, "ipfs.kubo-authorization" in refused.seen) == (False, True)


def test_each_needed_setting_is_seen_alone() -> None:
    good = {"HashOnRead": True, "BlockKeyCacheSize": 0, "WriteThrough": True,
            "Spec": {"type": "mount", "mounts": [{"type": "measure", "child": {"type": "flatfs", "sync": True}}]}}  # fmt: skip
    assert wrong_settings({"Datastore": good}) == []
    for name, value in {"HashOnRead": False, "BlockKeyCacheSize": 65536, "WriteThrough": False}.items():
        [wrong] = wrong_settings({"Datastore": {**good, name: value}})
        assert wrong.startswith(f"Datastore.{name} is")
    unsynced = {"type": "mount", "mounts": [{"type": "flatfs", "sync": False}]}
    assert "sync" in wrong_settings({"Datastore": {**good, "Spec": unsynced}})[0]
    assert len(wrong_settings({})) == 2, "kubo's own defaults: no hash on read, a cache of keys"


def test_a_network_made_without_kubo_does_not_become_one_with_it(tmp_path: Path) -> None:
    (tmp_path / "devnet.json").write_text('{"kubo": false, "members": []}')
    with pytest.raises(InputError) as caught:
        Devnet(tmp_path, report=print).up(kubo=True)
    assert caught.value.code == "nodes.devnet-kubo"
    assert not (tmp_path / "chain").exists()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('kind = "tee"', 'kind = "oracle"'),
        ("port = 4711", 'port = "4711"'),
        ("port = 4711", "prot = 4711"),
        ("asset-bridge/node/1", "asset-bridge/node/2"),
        (SALT.hex(), SALT.hex()[:-2]),
        (SALT.hex(), "zz" * 32),
        ("behind_proxy = false", "behind_proxy = 0"),
        ("port = 4711", "port = "),
    ],
)
def test_what_is_not_a_node_file_is_refused(tmp_path: Path, old: str, new: str) -> None:
    full(tmp_path).save()
    path = tmp_path / "node.toml"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(InputError) as caught:
        NodeFile.load(tmp_path)
    assert caught.value.code == "nodes.file"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"node\.toml"):
        NodeFile.load(tmp_path)


def test_a_second_process_on_one_folder_refuses(tmp_path: Path) -> None:
    _lock(tmp_path / "lock")
    with pytest.raises(UnavailableError) as caught:
        _lock(tmp_path / "lock")
    assert caught.value.code == "nodes.busy"


def test_an_attester_that_cannot_run_here_is_refused_by_name(tmp_path: Path) -> None:
    file = NodeFile(tmp_path, "tee", tmp_path, SALT, attester="tdx")
    with pytest.raises(InputError, match="tdx") as caught:
        attester_of(file)
    assert caught.value.code == "nodes.attester"


def test_a_tee_node_does_not_renew_without_running(tmp_path: Path) -> None:
    with pytest.raises(RefusedError) as caught:
        renew_node(full(tmp_path), lambda: "unused passphrase")
    assert caught.value.code == "nodes.renew"
