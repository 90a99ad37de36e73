"""What every block store promises (ipfs/store.py), on the in-memory twin, on the embedded store and on a real kubo."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from asset_bridge.errors import BridgeError
from asset_bridge.ipfs.embedded import EmbeddedStore
from asset_bridge.ipfs.memory import InMemoryStore
from asset_bridge.ipfs.store import BlockStore, put_document, put_file
from asset_bridge.ipld.cid import EMPTY_FILE, Cid, raw_cid
from asset_bridge.ipld.unixfs import LEAF_BYTES, FileDag, file_dag
from tests.support.depth import depth
from tests.support.kubo import store_of

MAKERS: dict[str, Callable[[Path], BlockStore]] = {
    "memory": lambda _folder: InMemoryStore(),
    "embedded": lambda folder: EmbeddedStore(folder / "store", reserve_bytes=0),
}


@pytest.fixture(params=[*MAKERS, pytest.param("kubo", marks=pytest.mark.needs_kubo)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BlockStore]:
    if request.param == "kubo":
        with store_of(request.getfixturevalue("kubo_trio")[0], tmp_path) as kubo:
            yield kubo
        return
    made = MAKERS[request.param](tmp_path)
    yield made
    made.close()


def content(length: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(length)


def blocks_of(data: bytes) -> tuple[FileDag, dict[Cid, bytes]]:
    dag = file_dag(data)
    leaves = {leaf: data[number * LEAF_BYTES : (number + 1) * LEAF_BYTES] for number, leaf in enumerate(dag.leaves)}
    return dag, {**dag.interior, **leaves}


def code_of(call: Callable[[], object]) -> str:
    with pytest.raises(BridgeError) as caught:
        call()
    return caught.value.code


@pytest.mark.parametrize("length", [0, 1, LEAF_BYTES - 1, LEAF_BYTES, LEAF_BYTES + 1, 3 * LEAF_BYTES + 5])
def test_a_body_comes_back_block_by_block(store: BlockStore, length: int) -> None:
    data = content(length)
    dag, blocks = blocks_of(data)
    begun = store.begin(dag.root, length)
    assert (begun.complete, begun.length_bytes) == (False, length)
    while missing := store.state(dag.root).missing:
        for cid in missing:
            store.put_block(dag.root, cid, blocks[cid])
    store.finish(dag.root)
    store.finish(dag.root)
    for cid, block in blocks.items():
        assert store.get_block(cid) == block
        assert store.block_size(cid) == len(block)
    state = store.begin(dag.root, length)
    assert (state.complete, state.missing_count, state.done_bytes) == (True, 0, length)
    [info] = store.inventory()
    assert (info.root, info.length_bytes, info.complete) == (dag.root, length, True)


@pytest.mark.parametrize("length", [0, 1, LEAF_BYTES, 2 * LEAF_BYTES + 5])
def test_a_body_that_lies_in_a_file_is_imported_whole(store: BlockStore, tmp_path: Path, length: int) -> None:
    data = content(length, 71)
    dag, blocks = blocks_of(data)
    (tmp_path / "sealed").write_bytes(b"header" + data + b"more")
    put_file(store, dag, tmp_path / "sealed", at=6)
    put_file(store, dag, tmp_path / "sealed", at=6)
    assert store.state(dag.root).complete
    for cid, block in blocks.items():
        assert store.get_block(cid) == block
    assert [(info.root, info.length_bytes) for info in store.inventory()] == [(dag.root, length)]
    assert store.remove(dag.root)


def test_a_file_that_holds_something_else_is_refused_and_the_right_one_goes_on(
    store: BlockStore, tmp_path: Path
) -> None:
    data = content(2 * LEAF_BYTES + 5, 72)
    dag, _blocks = blocks_of(data)
    path = tmp_path / "body"
    for wrong in (data[:-1] + bytes([data[-1] ^ 1]), bytes([data[0] ^ 1]) + data[1:], data[:-1]):
        path.write_bytes(wrong)
        assert code_of(lambda: put_file(store, dag, path)) in ("ipld.block", "ipfs.other-content", "ipfs.kubo-reply")
        assert code_of(lambda: store.get_block(dag.leaves[1])) == "ipfs.block-missing"
        assert [(info.root, info.complete) for info in store.inventory()] == [(dag.root, False)]
        if wrong != data[:-1]:
            assert store.remove(dag.root)  # its good blocks would be kept
    path.write_bytes(data)
    put_file(store, dag, path)
    assert store.get_block(dag.leaves[2]) == data[2 * LEAF_BYTES :]


def test_the_empty_file_needs_no_block(store: BlockStore) -> None:
    assert str(put_document(store, b"")) == EMPTY_FILE
    assert store.get_block(Cid.parse(EMPTY_FILE)) == b""


def test_blocks_come_in_any_order_and_twice(store: BlockStore) -> None:
    for seed in range(depth("blocks_orders")):
        data = content(2 * LEAF_BYTES + seed, seed + 100)
        dag, blocks = blocks_of(data)
        order = list(blocks.items()) * 2
        random.Random(seed).shuffle(order)
        store.begin(dag.root, len(data))
        for cid, block in order:
            store.put_block(dag.root, cid, block)
        store.finish(dag.root)
        assert b"".join(store.get_block(leaf) for leaf in dag.leaves) == data


def test_equal_leaves_are_put_once(store: BlockStore) -> None:
    data = bytes(3 * LEAF_BYTES)
    dag, blocks = blocks_of(data)
    store.begin(dag.root, len(data))
    for cid, block in blocks.items():
        store.put_block(dag.root, cid, block)
    store.finish(dag.root)
    assert len(blocks) == 2
    assert b"".join(store.get_block(leaf) for leaf in dag.leaves) == data


def test_documents_share_and_survive_removal_of_a_twin(store: BlockStore) -> None:
    data = content(LEAF_BYTES)
    leaf = put_document(store, data)
    long = put_document(store, data + b"x")
    assert store.remove(long)
    assert not store.remove(long)
    assert store.get_block(leaf) == data
    assert code_of(lambda: store.get_block(raw_cid(b"x"))) == "ipfs.block-missing"
    assert store.block_size(raw_cid(b"x")) is None


def test_an_import_is_not_served_before_it_is_finished(store: BlockStore) -> None:
    data = content(LEAF_BYTES + 1)
    dag, blocks = blocks_of(data)
    store.begin(dag.root, len(data))
    assert code_of(lambda: store.finish(dag.root)) == "ipfs.incomplete"
    store.put_block(dag.root, dag.leaves[0], blocks[dag.leaves[0]])
    state = store.state(dag.root)
    assert state.missing == (dag.root,)
    assert state.done_bytes == LEAF_BYTES
    assert code_of(lambda: store.get_block(dag.leaves[0])) == "ipfs.block-missing"
    store.put_block(dag.root, dag.root, blocks[dag.root])
    assert store.state(dag.root).missing == (dag.leaves[1],)
    assert code_of(lambda: store.finish(dag.root)) == "ipfs.incomplete"
    assert [info.complete for info in store.inventory()] == [False]
    assert store.remove(dag.root)
    assert code_of(lambda: store.state(dag.root)) == "ipfs.no-import"


def test_wrong_and_foreign_blocks_are_refused(store: BlockStore) -> None:
    data = content(2 * LEAF_BYTES)
    dag, blocks = blocks_of(data)
    other_dag, other = blocks_of(content(2 * LEAF_BYTES, 2))
    store.begin(dag.root, len(data))
    leaf = dag.leaves[0]
    assert code_of(lambda: store.put_block(dag.root, leaf, blocks[leaf][:-1] + b"?")) == "ipld.block"
    assert code_of(lambda: store.put_block(other_dag.root, leaf, blocks[leaf])) == "ipfs.no-import"
    store.put_block(dag.root, dag.root, blocks[dag.root])
    assert code_of(lambda: store.put_block(dag.root, other_dag.root, other[other_dag.root])) == "ipfs.foreign-block"
    assert (
        code_of(lambda: store.put_block(dag.root, other_dag.leaves[0], other[other_dag.leaves[0]]))
        == "ipfs.foreign-block"
    )
    no_node = b"\x0a\xff"
    junk = Cid(0x70, raw_cid(no_node).digest)
    assert code_of(lambda: store.put_block(dag.root, junk, no_node)) in ("ipfs.foreign-block", "ipld.node")
    for cid, block in blocks.items():
        store.put_block(dag.root, cid, block)
    store.finish(dag.root)
    assert (
        code_of(lambda: store.put_block(dag.root, other_dag.leaves[0], other[other_dag.leaves[0]]))
        == "ipfs.foreign-block"
    )


def test_a_flood_of_unplaced_blocks_is_refused(store: BlockStore) -> None:
    dag, _blocks = blocks_of(content(2 * LEAF_BYTES))
    store.begin(dag.root, 2 * LEAF_BYTES)
    for number in range(2):
        store.put_block(dag.root, raw_cid(b"%d" % number), b"%d" % number)
    assert code_of(lambda: store.put_block(dag.root, raw_cid(b"z"), b"z")) == "ipfs.foreign-block"


def test_lengths_that_cannot_be(store: BlockStore) -> None:
    dag, _blocks = blocks_of(content(2 * LEAF_BYTES))
    for root, length in ((dag.root, LEAF_BYTES), (dag.leaves[0], LEAF_BYTES + 1), (dag.root, -1), (dag.root, 2**45)):
        assert code_of(lambda root=root, length=length: store.begin(root, length)) == "ipfs.length"
    store.begin(dag.root, 2 * LEAF_BYTES)
    assert code_of(lambda: store.begin(dag.root, 2 * LEAF_BYTES + 1)) == "ipfs.length"


def test_a_root_that_is_another_tree_never_finishes(store: BlockStore) -> None:
    data = content(2 * LEAF_BYTES)
    dag, blocks = blocks_of(data)
    store.begin(dag.root, len(data) + 1)
    assert code_of(lambda: store.put_block(dag.root, dag.root, blocks[dag.root])) == "ipld.shape"
    assert code_of(lambda: store.finish(dag.root)) == "ipfs.incomplete"


def test_what_does_not_fit_is_refused_with_need_and_free(tmp_path: Path) -> None:
    dag, _blocks = blocks_of(content(2 * LEAF_BYTES))
    small = EmbeddedStore(tmp_path / "s", reserve_bytes=100, disk_free_bytes=lambda: 2 * LEAF_BYTES + 99)
    for store in (InMemoryStore(capacity_bytes=2 * LEAF_BYTES - 1), small):
        with pytest.raises(BridgeError) as caught:
            store.begin(dag.root, 2 * LEAF_BYTES)
        assert caught.value.code == "ipfs.disk-full"
        assert str(2 * LEAF_BYTES) in caught.value.message
        assert str(2 * LEAF_BYTES - 1) in caught.value.message
        assert store.inventory() == ()
