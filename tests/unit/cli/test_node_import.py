"""`node import`: a sealed file becomes a body of a stopped node, embedded or on kubo; a CAR goes into an embedded one."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from asset_bridge.cli import main as frame
from asset_bridge.ipfs.embedded import EmbeddedStore
from asset_bridge.ipfs.kubo.daemon import KuboDaemon
from asset_bridge.ipld.car import car_block, car_header
from asset_bridge.ipld.content_id import ContentId
from asset_bridge.ipld.unixfs import LEAF_BYTES
from asset_bridge.nodes.launch.storage import open_store
from asset_bridge.nodes.node_file import NodeFile
from asset_bridge.sealing.header import HEADER_BYTES, MAGIC
from tests.ports.test_blocks import blocks_of, content

BODY = content(LEAF_BYTES + 11, 91)
DAG, BLOCKS = blocks_of(BODY)


def run(*words: str) -> int:
    try:
        frame.run(list(words))
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 0
    return 0


@pytest.fixture
def sealed(tmp_path: Path) -> Path:
    path = tmp_path / "cohort.sealed"
    path.write_bytes(MAGIC.ljust(HEADER_BYTES, b"h") + BODY)
    return path


def node(tmp_path: Path, **changes: str) -> NodeFile:
    (tmp_path / "node").mkdir()
    made = NodeFile(tmp_path / "node", "storage", tmp_path / "home", bytes(32), reserve_bytes=0, **changes)  # type: ignore[arg-type]
    made.save()
    return made


def test_a_sealed_file_becomes_a_body_of_an_embedded_node(
    sealed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = node(tmp_path)
    words = ("node", "import", str(sealed), "--folder", str(tmp_path / "node"), "--home", str(tmp_path / "home"))
    assert run(*words, "--json") == 0
    assert json.loads(capsys.readouterr().out)[0]["roots"] == [str(DAG.root)]
    assert run(*words) == 0, "a second time changes nothing"
    with open_store(file) as (store, _name):
        assert store.state(DAG.root).complete
        assert b"".join(store.get_block(leaf) for leaf in DAG.leaves) == BODY
        capsys.readouterr()
        assert run(*words) != 0, "the node runs"
        assert "ipfs.store-locked" in capsys.readouterr().err
        store.close()


@pytest.mark.needs_kubo
def test_and_of_a_node_on_kubo_which_takes_no_archive(
    sealed: Path, tmp_path: Path, kubo_trio: list[KuboDaemon], capsys: pytest.CaptureFixture[str]
) -> None:
    daemon = kubo_trio[0]
    url = daemon.rpc()._base.removesuffix("/api/v0/")
    file = node(tmp_path, kubo_api=url, kubo_secret_file="secret")
    (tmp_path / "node" / "secret").write_text(daemon.secret)
    assert run("node", "import", str(sealed), "--folder", str(tmp_path / "node")) == 0
    with open_store(file) as (store, _name):
        assert [store.get_block(cid) for cid in BLOCKS] == list(BLOCKS.values())
        assert store.remove(DAG.root)
        store.close()
    (tmp_path / "some.car").write_bytes(car_header(DAG.root))
    assert run("node", "import", str(tmp_path / "some.car"), "--folder", str(tmp_path / "node")) == 2
    assert "cli.archive-on-kubo" in capsys.readouterr().err


def test_an_archive_is_found_by_the_running_node_and_a_damaged_one_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = node(tmp_path)
    car = io.BytesIO(car_header(DAG.root))
    car.seek(0, io.SEEK_END)
    for cid, block in BLOCKS.items():
        car.write(car_block(cid, block))
    whole = car.getvalue()
    (tmp_path / "good.car").write_bytes(whole)
    (tmp_path / "bad.car").write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with open_store(file) as (store, _name):
        assert isinstance(store, EmbeddedStore)
        assert run("node", "import", str(tmp_path / "bad.car"), "--folder", str(tmp_path / "node")) != 0
        assert "ipld.block" in capsys.readouterr().err
        assert store.archives() == ()
        assert run("node", "import", str(tmp_path / "good.car"), "--folder", str(tmp_path / "node")) == 0
        assert str(DAG.root) in capsys.readouterr().out
        assert store.find_block(ContentId.of(DAG.leaves[1])) == BLOCKS[DAG.leaves[1]]
        store.close()


def test_a_folder_that_is_no_nodes_is_named(sealed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("node", "import", str(sealed), "--folder", str(tmp_path)) == 2
    assert "cli.no-node-folder" in capsys.readouterr().err
