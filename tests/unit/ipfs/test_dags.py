"""Imported archives: whole or not at all, verified when read, found after a restart and beside a running node."""

from __future__ import annotations

import errno
import io
import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from asset_bridge.errors import BridgeError, TamperedError, UnavailableError
from asset_bridge.ipfs.dags import import_archive
from asset_bridge.ipfs.embedded import EmbeddedStore
from asset_bridge.ipfs.store import put_document
from asset_bridge.ipld.content_id import ContentId
from tests.conformance.gateway.dags import RAW, Dag, text, varint

DAG = Dag()
FILE = DAG.file(random.Random(3).randbytes(2000))
ROOT = DAG.folder({"file": FILE})
CAR = DAG.car([ROOT])


def opened(folder: Path) -> EmbeddedStore:
    return EmbeddedStore(folder, reserve_bytes=0)


def whole(store: EmbeddedStore) -> bool:
    return all(store.find_block(ContentId.parse(text(name))) == block for name, block in DAG.blocks.items())


def code(call: Callable[[], object]) -> str:
    with pytest.raises(BridgeError) as caught:
        call()
    return caught.value.code


def test_an_archive_stays_after_a_restart_and_without_its_index(tmp_path: Path) -> None:
    store = opened(tmp_path)
    first = store.add_archive(io.BytesIO(CAR).read)
    assert store.add_archive(io.BytesIO(CAR).read) == first
    assert [str(root) for root in first.roots] == [text(ROOT)]
    assert whole(store)
    store.close()
    for left in tmp_path.glob("dags.sqlite*"):
        left.unlink()
    (tmp_path / "dags" / "0123.part").write_bytes(b"left by a crash")
    (tmp_path / "dags" / ("0" * 64 + ".car")).write_bytes(b"no archive")
    store = opened(tmp_path)
    assert store.archives() == (first,)
    assert whole(store)
    assert not list((tmp_path / "dags").glob("*.part"))
    assert store.remove_archive(first.name)
    assert not store.remove_archive(first.name)
    assert code(lambda: store.find_block(ContentId.parse(text(ROOT)))) == "ipfs.block-missing"
    store.close()


def test_another_process_imports_beside_a_running_node(tmp_path: Path) -> None:
    store = opened(tmp_path)
    assert store.find_size(ContentId.parse(text(FILE))) is None
    import_archive(tmp_path, io.BytesIO(CAR).read)
    assert store.find_size(ContentId.parse(text(FILE))) == len(DAG.blocks[FILE])
    assert whole(store)
    store.close()


def test_a_version_2_archive_is_its_inner_one(tmp_path: Path) -> None:
    fixed = bytes(16) + (64).to_bytes(8, "little") + len(CAR).to_bytes(8, "little") + bytes(8)
    outer = bytes.fromhex("0aa16776657273696f6e02") + fixed + bytes(13) + CAR + b"an index"
    store = opened(tmp_path)
    assert [str(root) for root in store.add_archive(io.BytesIO(outer).read).roots] == [text(ROOT)]
    assert whole(store)
    store.close()


@pytest.mark.parametrize(
    "bad",
    [b"", CAR[:20], CAR[:-1], CAR[:-1] + bytes((CAR[-1] ^ 1,)), CAR + varint(3 << 20), CAR + b"\x05\x01\x55\x12\x20x"],
)
def test_a_bad_archive_leaves_nothing(tmp_path: Path, bad: bytes) -> None:
    store = opened(tmp_path)
    with pytest.raises(TamperedError):
        store.add_archive(io.BytesIO(bad).read)
    assert store.archives() == ()
    assert not list((tmp_path / "dags").iterdir())
    store.close()


def test_a_full_disk_leaves_nothing_and_what_is_there_intact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = 1 << 30
    store = EmbeddedStore(tmp_path, reserve_bytes=0, disk_free_bytes=lambda: free)
    store.add_archive(io.BytesIO(CAR).read)
    other = Dag()
    archive = other.car([other.file(b"other" * 999)])
    free = 10
    assert code(lambda: store.add_archive(io.BytesIO(archive).read)) == "ipfs.disk-full"
    free = 1 << 30

    def refuse(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "full")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", refuse)
        with pytest.raises(UnavailableError, match="full"):
            store.add_archive(io.BytesIO(archive).read)
    assert len(list((tmp_path / "dags").iterdir())) == 1
    assert whole(store)
    assert store.add_archive(io.BytesIO(archive).read).blocks == len(other.blocks)
    store.close()


def test_a_damaged_block_is_not_served_unless_another_copy_is_good(tmp_path: Path) -> None:
    store = opened(tmp_path)
    archive = store.add_archive(io.BytesIO(CAR).read)
    path = tmp_path / "dags" / f"{archive.name}.car"
    leaf = next(name for name in DAG.blocks if name[1] == RAW)
    data = bytearray(path.read_bytes())
    data[data.index(DAG.blocks[leaf]) + 5] ^= 1
    path.write_bytes(data)
    cid = ContentId.parse(text(leaf))
    assert code(lambda: store.find_block(cid)) == "ipfs.block-damaged"
    put_document(store, DAG.blocks[leaf])  # the same bytes as a body of their own
    assert store.find_block(cid) == DAG.blocks[leaf]
    store.close()
