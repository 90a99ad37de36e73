"""The store over a real kubo: kills of either side at every step, lost and damaged blocks, deletion, notes that may be lost."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from asset_bridge.errors import BridgeError
from asset_bridge.ipfs.kubo.daemon import KuboDaemon
from asset_bridge.ipfs.kubo.own import PIN_NAME, add_body
from asset_bridge.ipfs.kubo.store import KuboStore
from asset_bridge.ipfs.store import put_document
from asset_bridge.ipld.cid import Cid
from asset_bridge.ipld.unixfs import LEAF_BYTES
from tests.ports.test_blocks import blocks_of, code_of, content
from tests.support.kubo import block_file, empty

pytestmark = pytest.mark.needs_kubo
DATA = content(3 * LEAF_BYTES + 7, 5)
DAG, BLOCKS = blocks_of(DATA)


class Bench:
    """A kubo, and stores over it on the same notes, opened again after each kill."""

    def __init__(self, daemon: KuboDaemon, folder: Path) -> None:
        self.daemon, self.notes = daemon, folder / "notes"
        self.opened: list[KuboStore] = []

    def store(self) -> KuboStore:
        """What a kill -9 leaves of the former one: its lock goes with the process, nothing is closed or flushed by us."""
        for former in self.opened:
            former._lock_file.close()
        self.opened.append(KuboStore(self.daemon.rpc(timeout_seconds=5), self.notes, reserve_bytes=0))
        return self.opened[-1]

    def kill_kubo(self) -> None:
        """kill -9 of kubo's guard and with it of kubo, then a new start."""
        assert self.daemon._running is not None
        os.kill(self.daemon._running.pid, signal.SIGKILL)
        self.daemon._end()
        self.daemon.start()

    def read(self, store: KuboStore) -> None:
        for cid, block in BLOCKS.items():
            assert store.get_block(cid) == block, str(cid)


@pytest.fixture
def bench(kubo_trio: list[KuboDaemon], tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(kubo_trio[0], tmp_path)
    yield bench
    if bench.daemon._running is None:
        bench.daemon.start()  # a test that failed may have left it down
    empty(bench.store())
    for store in bench.opened:
        store.close()


@pytest.mark.parametrize("order", [list(BLOCKS), list(reversed(BLOCKS))], ids=["tree first", "leaves first"])
def test_an_import_killed_after_each_block_goes_on(bench: Bench, order: list[Cid]) -> None:
    store = bench.store()
    store.begin(DAG.root, len(DATA))
    for number, cid in enumerate(order):
        store.put_block(DAG.root, cid, BLOCKS[cid])
        store = bench.store()
        if DAG.root in order[: number + 1]:
            assert store.state(DAG.root).missing_count == len(order) - number - 1
    store.finish(DAG.root)
    store = bench.store()
    assert store.state(DAG.root).complete
    bench.read(store)
    assert store._rpc.pins(PIN_NAME) == {DAG.root: f"{PIN_NAME}{len(DATA)}"}


def test_a_killed_kubo_lost_nothing_that_was_acknowledged(bench: Bench) -> None:
    store = bench.store()
    store.begin(DAG.root, len(DATA))
    for cid in list(BLOCKS)[:3]:
        store.put_block(DAG.root, cid, BLOCKS[cid])
    bench.kill_kubo()
    store = bench.store()
    for cid in store.state(DAG.root).missing:
        store.put_block(DAG.root, cid, BLOCKS[cid])
    store.finish(DAG.root)
    bench.kill_kubo()
    bench.read(bench.store())


def test_while_kubo_is_down_the_error_says_so_and_the_import_goes_on_after_it(bench: Bench) -> None:
    store = bench.store()
    store.begin(DAG.root, len(DATA))
    bench.daemon.stop()
    for call in (
        lambda: store.put_block(DAG.root, DAG.leaves[0], BLOCKS[DAG.leaves[0]]),
        lambda: store.free_bytes(),
        lambda: bench.store(),
    ):
        assert code_of(call) == "ipfs.kubo-down"
    bench.daemon.start()
    store = bench.store()
    for cid, block in BLOCKS.items():
        store.put_block(DAG.root, cid, block)
    store.finish(DAG.root)
    bench.read(store)


def test_a_file_cut_off_on_its_way_leaves_nothing_served_and_is_deleted_with_its_import(
    bench: Bench, tmp_path: Path
) -> None:
    store, path = bench.store(), tmp_path / "body"
    path.write_bytes(DATA[: 2 * LEAF_BYTES])  # as if this process were killed in the middle: kubo gets no more
    assert code_of(lambda: store.add_file(DAG, path)) == "ipfs.kubo-reply"
    store = bench.store()
    assert not store.state(DAG.root).complete
    assert store._rpc.pins(PIN_NAME) == {}
    for leaf in DAG.leaves[:2]:
        store._rpc.block_put(leaf, BLOCKS[leaf])  # what kubo may have kept
    assert store.remove(DAG.root)
    assert [leaf for leaf in DAG.leaves if store._rpc.block_size(leaf) is not None] == []
    path.write_bytes(DATA)
    bench.store().add_file(DAG, path)
    bench.kill_kubo()
    store = bench.store()
    assert store._rpc.pins(PIN_NAME) == {DAG.root: f"{PIN_NAME}{len(DATA)}"}
    bench.read(store)


def test_a_kubo_that_is_down_says_so_for_a_file_too(bench: Bench, tmp_path: Path) -> None:
    store = bench.store()
    (tmp_path / "body").write_bytes(DATA)
    store.begin(DAG.root, len(DATA))
    bench.daemon.stop()
    assert code_of(lambda: store.add_file(DAG, tmp_path / "body")) == "ipfs.kubo-down"
    bench.daemon.start()
    bench.store().add_file(DAG, tmp_path / "body")


def test_a_body_that_somebody_else_pinned_under_our_name_is_here_without_a_restart(
    bench: Bench, tmp_path: Path
) -> None:
    store, path = bench.store(), tmp_path / "body"
    path.write_bytes(DATA)
    store._rpc.add_file(path, 0, len(DATA), "of somebody else")
    assert code_of(lambda: store.state(DAG.root)) == "ipfs.no-import"
    store._rpc.unpin(DAG.root)
    add_body(store._rpc, DAG, path)
    assert store.begin(DAG.root, len(DATA)).complete
    bench.read(store)
    assert store.remove(DAG.root)
    assert [cid for cid in BLOCKS if store._rpc.block_size(cid) is not None] == []


def test_leaves_that_kubo_lost_during_an_import_are_asked_for_again(bench: Bench) -> None:
    store = bench.store()
    store.begin(DAG.root, len(DATA))
    for cid, block in BLOCKS.items():
        store.put_block(DAG.root, cid, block)
    block_file(bench.daemon, DAG.leaves[0]).unlink()
    block_file(bench.daemon, DAG.leaves[2]).write_bytes(bytes(LEAF_BYTES))
    assert code_of(lambda: store.finish(DAG.root)) == "ipfs.incomplete"
    assert set(store.state(DAG.root).missing) == {DAG.leaves[0], DAG.leaves[2]}
    assert store._rpc.pins(PIN_NAME) == {}
    for cid in store.state(DAG.root).missing:
        store.put_block(DAG.root, cid, BLOCKS[cid])
    store.finish(DAG.root)
    bench.read(store)


@pytest.mark.parametrize("how", ["flip", "zero", "cut", "empty", "gone"])
@pytest.mark.parametrize("which", ["leaf", "root"])
def test_a_pin_is_not_believed_and_a_good_block_repairs(bench: Bench, how: str, which: str) -> None:
    store = bench.store()
    put_document(store, DATA)
    cid = DAG.root if which == "root" else DAG.leaves[1]
    path = block_file(bench.daemon, cid)
    raw = path.read_bytes()
    if how == "gone":
        path.unlink()
    else:
        path.write_bytes(
            {"flip": raw[:9] + bytes([raw[9] ^ 1]) + raw[10:], "zero": bytes(len(raw)), "cut": raw[:-1]}.get(how, b"")
        )
    assert DAG.root in store._rpc.pins(PIN_NAME)
    assert code_of(lambda: store.get_block(cid)) == "ipfs.block-damaged"
    store.put_block(DAG.root, cid, BLOCKS[cid])
    bench.read(store)


def test_the_notes_may_be_lost_or_damaged(bench: Bench) -> None:
    put_document(bench.store(), DATA)
    for damage in (b"", b"not a database" * 500):
        shutil.rmtree(bench.notes)
        if damage:
            bench.notes.mkdir()
            for name in ("blocks.sqlite", "imports.sqlite"):
                (bench.notes / name).write_bytes(damage)
        store = bench.store()
        assert [(info.root, info.length_bytes) for info in store.inventory()] == [(DAG.root, len(DATA))]
        bench.read(store)


def test_a_body_whose_pin_is_gone_is_not_here(bench: Bench) -> None:
    store = bench.store()
    put_document(store, DATA)
    store._rpc.unpin(DAG.root)
    store = bench.store()
    assert store.inventory() == ()
    assert code_of(lambda: store.get_block(DAG.root)) == "ipfs.block-missing"
    put_document(store, DATA)
    bench.read(store)


def test_a_deletion_cut_off_in_the_middle_is_finished(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    store = bench.store()
    shared = put_document(store, DATA[:LEAF_BYTES])
    put_document(store, DATA)
    monkeypatch.setattr(store._rpc, "block_remove", lambda _cids: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        store.remove(DAG.root)
    assert block_file(bench.daemon, DAG.leaves[1]).exists()
    store = bench.store()
    assert [info.root for info in store.inventory()] == [shared]
    assert not any(block_file(bench.daemon, cid).exists() for cid in BLOCKS if cid != shared)
    assert store.get_block(shared) == DATA[:LEAF_BYTES]


def test_deletion_spares_what_an_open_import_needs(bench: Bench) -> None:
    store = bench.store()
    longer, blocks = blocks_of(DATA + b"more")
    put_document(store, DATA)
    store.begin(longer.root, len(DATA) + 4)
    for cid, block in blocks.items():
        store.put_block(longer.root, cid, block)
    assert store.remove(DAG.root)
    store.finish(longer.root)
    assert b"".join(store.get_block(leaf) for leaf in longer.leaves) == DATA + b"more"


def test_what_others_pinned_in_the_same_kubo_stays_theirs(bench: Bench) -> None:
    store = bench.store()
    other, blocks = blocks_of(b"of somebody else")
    store._rpc.block_put(other.root, blocks[other.root])
    store._rpc.pin(other.root, "mine")
    try:
        store = bench.store()
        assert store.inventory() == ()
        assert code_of(lambda: store.get_block(other.root)) == "ipfs.block-missing"
        put_document(store, b"of somebody else")
        store.remove(other.root)
    finally:
        store._rpc.unpin(other.root)
        store._rpc.block_remove([other.root])


def test_a_second_process_is_refused(bench: Bench) -> None:
    bench.store()
    with pytest.raises(BridgeError) as caught:
        KuboStore(bench.daemon.rpc(), bench.notes)
    assert caught.value.code == "ipfs.store-locked"


def test_what_does_not_fit_is_refused_with_need_and_free(kubo_trio: list[KuboDaemon], tmp_path: Path) -> None:
    store = KuboStore(kubo_trio[0].rpc(), tmp_path / "n", reserve_bytes=100, disk_free_bytes=lambda: len(DATA) + 99)
    with pytest.raises(BridgeError) as caught:
        store.begin(DAG.root, len(DATA))
    store.close()
    assert caught.value.code == "ipfs.disk-full"
    assert str(len(DATA)) in caught.value.message
    assert str(len(DATA) - 1) in caught.value.message
