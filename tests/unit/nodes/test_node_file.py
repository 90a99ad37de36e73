"""node.toml: written and read back equal; a typing mistake never becomes a silent default."""

from __future__ import annotations

from pathlib import Path

import pytest

from asset_bridge.errors import InputError, RefusedError, UnavailableError
from asset_bridge.nodes.launch.base import _lock
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
