"""Leaves that come together go into kubo together: what was acknowledged is there and noted, a failure reaches whom it concerns."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from asset_bridge.errors import BridgeError, InputError
from asset_bridge.ipfs.kubo.daemon import KuboDaemon
from asset_bridge.ipfs.kubo.groups import GROUP_BLOCKS, LANES, Groups, Leaf
from asset_bridge.ipfs.kubo.store import KuboStore
from asset_bridge.ipfs.memory import disk_full
from asset_bridge.ipld.cid import Cid, raw_cid
from asset_bridge.ipld.unixfs import LEAF_BYTES
from tests.ports.test_blocks import blocks_of, code_of, content
from tests.support.kubo import block_file, store_of
from tests.unit.ipfs.test_kubo_store import Bench

LEAVES = [(raw_cid(bytes([number])), bytes([number])) for number in range(40)]
ROOT = raw_cid(b"root")


class Slow:
    """kubo's two calls, which wait until `go`; every group is written down."""

    def __init__(self, fault: Callable[[], None] = lambda: None) -> None:
        self.go, self.fault = threading.Event(), fault
        self.groups: list[int] = []
        self.running = self.most_running = 0
        self.lock = threading.Lock()

    def block_put(self, _cid: Cid, _block: bytes) -> None:
        self._take(1)

    def dag_import(self, car: Iterable[bytes]) -> int:
        count = (len(list(car)) - 1) // 2
        self._take(count)
        return count

    def _take(self, count: int) -> None:
        with self.lock:
            self.running += 1
            self.most_running = max(self.most_running, self.running)
            self.groups.append(count)
        self.go.wait(10)
        with self.lock:
            self.running -= 1
        self.fault()


def put_all(groups: Groups, rpc: Slow) -> list[str]:
    """Every leaf on a thread of its own, let go once two calls are under way; returns the error codes."""

    def put(leaf: tuple[Cid, bytes]) -> str:
        try:
            groups.put(ROOT, *leaf)
        except BridgeError as error:
            return error.code
        return ""

    with ThreadPoolExecutor(len(LEAVES)) as pool:
        futures = [pool.submit(put, leaf) for leaf in LEAVES]
        while len(rpc.groups) < LANES:
            time.sleep(0.001)
        rpc.go.set()
        return [future.result(10) for future in futures]


def test_what_waits_goes_together_and_is_noted_before_it_is_acknowledged() -> None:
    rpc, noted = Slow(), list[Cid]()
    groups = Groups(rpc, lambda group: noted.extend(leaf.cid for leaf in group))  # type: ignore[arg-type]
    assert set(put_all(groups, rpc)) == {""}
    assert sorted(noted) == sorted(cid for cid, _block in LEAVES)
    assert sum(rpc.groups) == len(LEAVES)
    assert 1 < max(rpc.groups) <= GROUP_BLOCKS
    assert rpc.most_running == LANES


def test_a_group_that_fails_is_not_noted_and_the_next_one_goes() -> None:
    def full() -> None:
        raise disk_full(1, 0)

    noted = list[Cid]()
    rpc = Slow(full)
    groups = Groups(rpc, lambda group: noted.extend(leaf.cid for leaf in group))  # type: ignore[arg-type]
    assert set(put_all(groups, rpc)) == {"ipfs.disk-full"}
    assert noted == []
    rpc.fault = lambda: None
    groups.put(ROOT, *LEAVES[0])
    assert noted == [LEAVES[0][0]]


def test_a_leaf_that_belongs_to_nothing_fails_alone() -> None:
    def note(group: Sequence[Leaf]) -> None:
        for leaf in group:
            if leaf.cid == LEAVES[7][0]:
                leaf.error = InputError("ipfs.foreign-block", "Not of this file.")

    rpc = Slow()
    codes = put_all(Groups(rpc, note), rpc)  # type: ignore[arg-type]
    assert [number for number, code in enumerate(codes) if code] == [7]


def test_an_interrupted_sender_leaves_nobody_waiting() -> None:
    def interrupted() -> None:
        rpc.fault = lambda: None
        raise KeyboardInterrupt

    rpc = Slow(interrupted)
    rpc.go.set()
    groups = Groups(rpc, lambda _group: None)  # type: ignore[arg-type]
    with pytest.raises(KeyboardInterrupt):
        groups.put(ROOT, *LEAVES[0])
    groups.put(ROOT, *LEAVES[1])


def test_another_number_of_blocks_is_no_success() -> None:
    class Short(Slow):
        def dag_import(self, car: Iterable[bytes]) -> int:
            return super().dag_import(car) - 1

    rpc = Short()
    assert "ipfs.kubo-reply" in put_all(Groups(rpc, lambda _group: None), rpc)  # type: ignore[arg-type]


DATA = content(20 * LEAF_BYTES + 7, 6)
DAG, BLOCKS = blocks_of(DATA)


@pytest.fixture
def kubo(kubo_trio: list[KuboDaemon]) -> KuboDaemon:
    return kubo_trio[0]


def put_at_once(store: KuboStore, cids: Iterable[Cid]) -> None:
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda cid: store.put_block(DAG.root, cid, BLOCKS[cid]), cids))


@pytest.mark.needs_kubo
@pytest.mark.parametrize("tree_first", [True, False])
def test_many_at_once_on_kubo_also_over_damaged_copies(
    kubo: KuboDaemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tree_first: bool
) -> None:
    imported = list[int]()
    with store_of(kubo, tmp_path) as store:
        plain = store._rpc.dag_import

        def counted(car: Iterable[bytes]) -> int:
            imported.append(plain(car))
            return imported[-1]

        monkeypatch.setattr(store._rpc, "dag_import", counted)
        store.begin(DAG.root, len(DATA))
        order = list(DAG.interior) + list(DAG.leaves) if tree_first else list(DAG.leaves) + list(DAG.interior)
        put_at_once(store, order)
        assert max(imported) > 1
        for leaf in DAG.leaves[:12]:
            block_file(kubo, leaf).write_bytes(bytes(LEAF_BYTES))
        assert code_of(lambda: store.finish(DAG.root)) == "ipfs.incomplete"
        assert set(store.state(DAG.root).missing) == set(DAG.leaves[:12])
        imported.clear()
        put_at_once(store, DAG.leaves[:12])
        assert max(imported) > 1
        store.finish(DAG.root)
        assert b"".join(store.get_block(leaf) for leaf in DAG.leaves) == DATA


@pytest.fixture
def bench(kubo: KuboDaemon, tmp_path: Path) -> Iterator[Bench]:
    made = Bench(kubo, tmp_path)
    yield made
    store = made.store()
    store.remove(DAG.root)
    for former in made.opened:
        former.close()


@pytest.mark.needs_kubo
def test_a_kill_of_both_sides_loses_nothing_that_was_acknowledged(bench: Bench) -> None:
    store, acknowledged = bench.store(), list[Cid]()
    store.begin(DAG.root, len(DATA))
    store.put_block(DAG.root, DAG.root, BLOCKS[DAG.root])

    def put(cid: Cid) -> None:
        try:
            store.put_block(DAG.root, cid, BLOCKS[cid])
            acknowledged.append(cid)
        except BridgeError:
            return  # kubo was killed

    with ThreadPoolExecutor(16) as pool:
        for cid in DAG.leaves:
            pool.submit(put, cid)
        while len(acknowledged) < 3:
            time.sleep(0.001)
        bench.kill_kubo()
    kept = list(acknowledged)
    store = bench.store()
    assert not set(kept) & set(store.state(DAG.root).missing)
    for cid in kept:
        assert store._rpc.block_get(cid) == BLOCKS[cid]
    for cid in store.state(DAG.root).missing:
        store.put_block(DAG.root, cid, BLOCKS[cid])
    store.finish(DAG.root)
    assert b"".join(store.get_block(leaf) for leaf in DAG.leaves) == DATA
