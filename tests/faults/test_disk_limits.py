"""A full disk, a folder that may not be written, no inodes left: a clear error, what is stored intact, the transfer goes on."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from asset_bridge.errors import BridgeError
from asset_bridge.ipfs.embedded import EmbeddedStore
from asset_bridge.ipfs.gateway import StoreSource
from asset_bridge.ipfs.memory import InMemoryStore
from asset_bridge.ipfs.multi import MultiSource
from asset_bridge.ipfs.store import BlockStore, put_document
from asset_bridge.ipld.unixfs import LEAF_BYTES, FileDag
from tests.ports.test_blocks import blocks_of, code_of, content

FIRST = content(2 * LEAF_BYTES, 21)
SECOND = content(3 * LEAF_BYTES + 7, 22)


@pytest.fixture
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """A file system in memory of its own, with the given mount options."""
    mounted: list[Path] = []

    def mount(options: str) -> Path:
        place = tmp_path / "disk"
        if place not in mounted:
            place.mkdir()
        how = [] if place not in mounted else ["remount,"]
        subprocess.run(["mount", "-t", "tmpfs", "-o", "".join(how) + options, "tmpfs", str(place)], check=True)
        mounted.append(place)
        return place

    yield mount
    for place in dict.fromkeys(mounted):
        subprocess.run(["umount", "-l", str(place)], check=False)


def send(store: BlockStore, dag: FileDag, data: bytes) -> None:
    """An upload: begin or go on, send what is missing, finish."""
    _dag, blocks = blocks_of(data)
    state = store.begin(dag.root, len(data))
    while not state.complete and state.missing_count:
        for cid in state.missing:
            store.put_block(dag.root, cid, blocks[cid])
        state = store.state(dag.root)
    store.finish(dag.root)


def intact(store: BlockStore, data: bytes) -> bool:
    return all(store.get_block(cid) == block for cid, block in blocks_of(data)[1].items())


@pytest.mark.needs_mount
def test_an_upload_onto_a_full_disk(disk: Callable[[str], Path]) -> None:
    place = disk("size=6m")
    store = EmbeddedStore(place / "store", reserve_bytes=0)
    put_document(store, FIRST)
    dag, _blocks = blocks_of(SECOND)
    store.begin(dag.root, len(SECOND))  # it fits; then others fill the disk
    with open(place / "others", "wb") as others:
        others.write(bytes(os.statvfs(place).f_bavail * 4096 - LEAF_BYTES - LEAF_BYTES // 2))
    assert code_of(lambda: send(store, dag, SECOND)) == "ipfs.disk-full"
    assert intact(store, FIRST)
    done = store.state(dag.root).done_bytes
    assert done >= LEAF_BYTES
    assert code_of(lambda: store.begin(blocks_of(content(9 * LEAF_BYTES))[0].root, 9 * LEAF_BYTES)) == "ipfs.disk-full"
    store.close()
    store = EmbeddedStore(place / "store", reserve_bytes=0)  # a start on the full disk
    assert intact(store, FIRST)
    assert store.state(dag.root).done_bytes == done
    (place / "others").unlink()
    send(store, dag, SECOND)
    assert intact(store, FIRST)
    assert intact(store, SECOND)
    store.close()


@pytest.mark.needs_mount
def test_a_delivery_onto_a_full_disk(disk: Callable[[str], Path]) -> None:
    place = disk("size=5m")
    source = InMemoryStore()
    put_document(source, SECOND)
    dag, _blocks = blocks_of(SECOND)
    multi = MultiSource([StoreSource(source, "replica")], workers=1)
    others = place / "others"

    def fill(_step: str, done: int, _total: int) -> None:
        if done >= LEAF_BYTES and not others.exists():
            others.write_bytes(bytes(os.statvfs(place).f_bavail * 4096 - LEAF_BYTES // 2))

    assert code_of(lambda: multi.fetch_file(dag.root, len(SECOND), place / "out", progress=fill)) == "ipfs.disk-full"
    assert not (place / "out").exists()
    assert code_of(lambda: multi.fetch_file(dag.root, len(SECOND), place / "out")) == "ipfs.disk-full"
    others.unlink()
    report = multi.fetch_file(dag.root, len(SECOND), place / "out")
    assert report.reused_bytes >= LEAF_BYTES
    assert (place / "out").read_bytes() == SECOND


def take_all_inodes(folder: Path) -> None:
    for number in range(100):
        (folder / str(number)).touch()


@pytest.mark.needs_mount
def test_no_inodes_left(disk: Callable[[str], Path]) -> None:
    place = disk("size=32m,nr_inodes=40")
    store = EmbeddedStore(place / "store", reserve_bytes=0)
    put_document(store, FIRST)
    others = place / "others"
    others.mkdir()
    with pytest.raises(OSError, match="space"):
        take_all_inodes(others)
    dag, _blocks = blocks_of(SECOND)
    assert code_of(lambda: send(store, dag, SECOND)) == "ipfs.disk-full"
    assert intact(store, FIRST)
    for path in others.iterdir():
        path.unlink()
    send(store, dag, SECOND)
    assert intact(store, SECOND)
    store.close()


@pytest.mark.needs_mount
def test_a_folder_that_may_not_be_written(disk: Callable[[str], Path]) -> None:
    place = disk("size=16m")
    store = EmbeddedStore(place / "store", reserve_bytes=0)
    put_document(store, FIRST)
    store.close()
    disk("ro")
    with pytest.raises(BridgeError) as caught:
        EmbeddedStore(place / "store", reserve_bytes=0)
    assert (caught.value.code, caught.value.actor) == ("ipfs.disk", "operator")
    source = InMemoryStore()
    put_document(source, SECOND)
    dag, _blocks = blocks_of(SECOND)
    multi = MultiSource([StoreSource(source, "replica")])
    assert code_of(lambda: multi.fetch_file(dag.root, len(SECOND), place / "out")) == "ipfs.disk"
    disk("rw")
    store = EmbeddedStore(place / "store", reserve_bytes=0)
    assert intact(store, FIRST)
    send(store, dag, SECOND)
    store.close()
