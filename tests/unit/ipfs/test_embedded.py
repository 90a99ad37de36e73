"""The embedded store on disk: kills, damage, repair, a second process."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

import pytest

from asset_bridge.errors import BridgeError
from asset_bridge.ipfs.embedded import EmbeddedStore
from asset_bridge.ipfs.store import put_document
from asset_bridge.ipld.cid import Cid
from asset_bridge.ipld.unixfs import LEAF_BYTES
from tests.ports.test_blocks import blocks_of, code_of, content

DATA = content(3 * LEAF_BYTES + 7)
DAG, BLOCKS = blocks_of(DATA)


def opened(folder: Path) -> EmbeddedStore:
    return EmbeddedStore(folder, reserve_bytes=0)


def killed(store: EmbeddedStore) -> None:
    """What a kill -9 leaves: the lock goes with the process, nothing is closed or flushed by us."""
    store._lock_file.close()


def body_of(folder: Path, root: Cid = DAG.root) -> Path:
    return folder / "bodies" / str(root) / "body"


def filled(folder: Path) -> EmbeddedStore:
    store = opened(folder)
    put_document(store, DATA)
    return store


@pytest.mark.parametrize("order", [list(BLOCKS), list(reversed(BLOCKS))])
def test_an_import_killed_after_each_block_goes_on(tmp_path: Path, order: list[Cid]) -> None:
    store = opened(tmp_path)
    store.begin(DAG.root, len(DATA))
    for number, cid in enumerate(order):
        store.put_block(DAG.root, cid, BLOCKS[cid])
        killed(store)
        store = opened(tmp_path)
        assert store.state(DAG.root).missing_count <= len(order) - number - 1 + (DAG.root not in order[: number + 1])
    store.finish(DAG.root)
    killed(store)
    store = opened(tmp_path)
    assert store.state(DAG.root).complete
    assert b"".join(store.get_block(leaf) for leaf in DAG.leaves) == DATA
    assert sorted(os.listdir(tmp_path / "bodies" / str(DAG.root))) == ["body", "index"]
    assert body_of(tmp_path).read_bytes() == DATA


def test_blocks_lost_or_torn_by_a_power_cut_are_asked_for_again(tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.begin(DAG.root, len(DATA))
    for cid, block in BLOCKS.items():
        store.put_block(DAG.root, cid, block)
    killed(store)
    incoming = tmp_path / "incoming" / str(DAG.root)
    with open(incoming / "body", "r+b") as body:
        body.seek(LEAF_BYTES + 9)
        body.write(b"torn")
    store = opened(tmp_path)
    assert store.state(DAG.root).missing == (DAG.leaves[1],)
    killed(store)
    shutil.rmtree(incoming / "interior")
    store = opened(tmp_path)
    assert store.state(DAG.root).missing == (DAG.root,)
    store.put_block(DAG.root, DAG.root, BLOCKS[DAG.root])
    assert store.state(DAG.root).missing == (DAG.leaves[1],)


def test_the_kill_between_rename_and_index(tmp_path: Path) -> None:
    store = filled(tmp_path)
    store._catalogue.remove(DAG.root)
    (tmp_path / "bodies" / str(DAG.root) / "meta").write_text("1")
    killed(store)
    store = opened(tmp_path)
    assert store.get_block(DAG.leaves[2]) == BLOCKS[DAG.leaves[2]]
    assert sorted(os.listdir(tmp_path / "bodies" / str(DAG.root))) == ["body", "index"]


def test_the_index_database_may_be_deleted_or_damaged(tmp_path: Path) -> None:
    killed(filled(tmp_path))
    for damage in (b"", b"not a database" * 500):
        for path in tmp_path.glob("blocks.sqlite*"):
            path.unlink()
        if damage:
            (tmp_path / "blocks.sqlite").write_bytes(damage)
        store = opened(tmp_path)
        assert store.get_block(DAG.root) == BLOCKS[DAG.root]
        killed(store)


def test_a_damaged_index_file_is_made_again_from_the_body(tmp_path: Path) -> None:
    killed(filled(tmp_path))
    (tmp_path / "blocks.sqlite").unlink()
    index = tmp_path / "bodies" / str(DAG.root) / "index"
    good = index.read_bytes()
    index.write_bytes(good[:-1] + b"\0")
    store = opened(tmp_path)
    assert store.get_block(DAG.leaves[3]) == BLOCKS[DAG.leaves[3]]
    assert index.read_bytes() == good
    killed(store)
    (tmp_path / "blocks.sqlite").unlink()
    index.unlink()
    with open(body_of(tmp_path), "r+b") as body:
        body.write(b"?")
    store = opened(tmp_path)
    assert store.inventory() == ()


@pytest.mark.parametrize("how", ["flip", "zero", "cut", "gone"])
def test_damage_is_found_on_reading_and_repaired_by_a_good_block(tmp_path: Path, how: str) -> None:
    store = filled(tmp_path)
    path = body_of(tmp_path)
    raw = bytearray(path.read_bytes())
    if how == "flip":
        raw[LEAF_BYTES + 5] ^= 1
    elif how == "zero":
        raw[LEAF_BYTES : 2 * LEAF_BYTES] = bytes(LEAF_BYTES)
    elif how == "cut":
        del raw[LEAF_BYTES + 3 :]
    path.write_bytes(raw)
    if how == "gone":
        path.unlink()
    assert code_of(lambda: store.get_block(DAG.leaves[1])) == "ipfs.block-damaged"
    if how == "gone":
        assert code_of(lambda: store.put_block(DAG.root, DAG.leaves[1], BLOCKS[DAG.leaves[1]])) == "ipfs.disk"
    if how in ("gone", "cut"):
        killed(store)
        store = opened(tmp_path)  # at a start, a body that is not whole is no body: its blocks are asked for again
        assert store.inventory() == ()
        put_document(store, DATA)
    for cid, block in BLOCKS.items():
        store.put_block(DAG.root, cid, block)
    assert path.read_bytes() == DATA
    assert store.get_block(DAG.leaves[1]) == BLOCKS[DAG.leaves[1]]


def test_a_good_copy_in_another_body_serves(tmp_path: Path) -> None:
    store = filled(tmp_path)
    longer = put_document(store, DATA[: 2 * LEAF_BYTES])
    raw = bytearray(body_of(tmp_path).read_bytes())
    raw[0] ^= 1
    body_of(tmp_path).write_bytes(raw)
    assert store.get_block(DAG.leaves[0]) == BLOCKS[DAG.leaves[0]]
    store.remove(longer)
    assert code_of(lambda: store.get_block(DAG.leaves[0])) == "ipfs.block-damaged"


def test_a_second_process_is_refused(tmp_path: Path) -> None:
    store = opened(tmp_path)
    assert code_of(lambda: opened(tmp_path)) == "ipfs.store-locked"
    store.close()
    opened(tmp_path)


def test_strange_entries_do_no_harm(tmp_path: Path) -> None:
    for folder in ("bodies", "incoming", "trash"):
        (tmp_path / folder / "lost+found").mkdir(parents=True)
    (tmp_path / "incoming" / str(DAG.root)).mkdir()
    store = opened(tmp_path)
    assert store.inventory() == ()
    assert code_of(lambda: store.state(DAG.root)) == "ipfs.no-import"
    put_document(store, DATA)


def test_the_body_on_disk_is_the_file_itself(tmp_path: Path) -> None:
    filled(tmp_path)
    assert hashlib.sha256(body_of(tmp_path).read_bytes()).digest() == hashlib.sha256(DATA).digest()


def test_disk_errors_name_no_path(tmp_path: Path) -> None:
    from asset_bridge.ipfs.files import disk_errors

    for number, code in ((28, "ipfs.disk-full"), (5, "ipfs.disk"), (30, "ipfs.disk")):
        with pytest.raises(BridgeError) as caught, disk_errors():
            raise OSError(number, "x", "/secret/path")
        assert caught.value.code == code
        assert "/secret" not in caught.value.message
