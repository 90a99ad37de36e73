"""Delivery from several replicas: every lie costs time only; what is on disk is not fetched again; the end names who failed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from asset_bridge.errors import BridgeError, StoppedError, TamperedError, UnavailableError
from asset_bridge.ipfs.gateway import Gateway, StoreSource
from asset_bridge.ipfs.memory import InMemoryStore
from asset_bridge.ipfs.multi import MultiSource
from asset_bridge.ipfs.store import put_document
from asset_bridge.ipld.unixfs import LEAF_BYTES
from tests.ports.test_blocks import blocks_of, code_of, content
from tests.support.storage import StorageNode

DATA = content(6 * LEAF_BYTES + 9)
DAG, BLOCKS = blocks_of(DATA)


@pytest.fixture
def nodes() -> list[StorageNode]:
    found = [StorageNode(number) for number in (1, 2, 3)]
    for node in found:
        put_document(node.store, DATA)
    return found


def multi(nodes: list[StorageNode], **changes: Any) -> MultiSource:
    return MultiSource([node.gateway(timeout_seconds=2.0) for node in nodes], **changes)


def reply(status: int = 200, content: Any = b"", **headers: str) -> Callable[[Any], httpx.Response]:
    return lambda _request: httpx.Response(status, stream=httpx.ByteStream(content), headers=headers)


class Endless(httpx.SyncByteStream):
    def __iter__(self) -> Any:
        while True:
            yield b"x" * 65_536


def raising(_request: Any) -> None:
    raise httpx.ReadTimeout("slow")


LIES: dict[str, tuple[Callable[[Any], Any], str]] = {
    "wrong bytes": (reply(content=b"x" * LEAF_BYTES), "ipfs.gateway-block"),
    "truncated": (reply(content=DATA[: LEAF_BYTES - 1]), "ipfs.gateway-block"),
    "empty": (reply(), "ipfs.gateway-block"),
    "endless": (lambda _request: httpx.Response(200, stream=Endless()), "ipfs.gateway-reply"),
    "redirect": (reply(302, location="http://elsewhere.test/"), "ipfs.gateway-reply"),
    "compressed": (
        lambda _r: httpx.Response(200, stream=httpx.ByteStream(b"x"), headers={"content-encoding": "gzip"}),
        "ipfs.gateway-reply",
    ),
    "not found": (reply(404), "ipfs.block-missing"),
    "broken": (reply(500), "ipfs.gateway-reply"),
    "dead": (raising, "ipfs.gateway-down"),
}


@pytest.mark.parametrize("lie", LIES)
def test_one_bad_replica_is_named_and_costs_time_only(nodes: list[StorageNode], tmp_path: Path, lie: str) -> None:
    nodes[1].transport.fault, code = LIES[lie]
    report = multi(nodes).fetch_file(DAG.root, len(DATA), tmp_path / "body")
    assert (tmp_path / "body").read_bytes() == DATA
    assert {(failure.source, failure.code) for failure in report.bad} <= {("storage node 2", code)}
    assert report.fetched_bytes == len(DATA)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["body"]


@pytest.mark.parametrize("lie", LIES)
def test_when_all_replicas_are_bad_it_ends_and_says_so(nodes: list[StorageNode], tmp_path: Path, lie: str) -> None:
    for node in nodes:
        node.transport.fault = LIES[lie][0]
    with pytest.raises(BridgeError) as caught:
        multi(nodes).fetch_file(DAG.root, len(DATA), tmp_path / "body")
    assert caught.value.code == (
        "ipfs.replicas-damaged" if LIES[lie][1] == "ipfs.gateway-block" else "ipfs.replicas-down"
    )
    assert caught.value.actor == "storage node"
    assert "storage node 3" in caught.value.message
    assert not (tmp_path / "body").exists()


@pytest.mark.parametrize("how", ["missing", "damaged"])
def test_each_block_on_one_replica_only(nodes: list[StorageNode], tmp_path: Path, how: str) -> None:
    for place, leaf in enumerate(DAG.leaves):
        for number, node in enumerate(nodes):
            if (place // 3) % 3 != number and how == "missing":
                del node.store.blocks[DAG.root][leaf]
            elif (place // 3) % 3 != number:
                node.store.blocks[DAG.root][leaf] = b"damaged"
    report = multi(nodes).fetch_file(DAG.root, len(DATA), tmp_path / "body")
    assert (tmp_path / "body").read_bytes() == DATA
    assert {failure.code for failure in report.bad} == {
        "ipfs.block-missing" if how == "missing" else "ipfs.gateway-block"
    }


@pytest.mark.parametrize("damage", ["none", "flip", "cut", "tree"])
def test_what_is_on_disk_is_not_fetched_again(nodes: list[StorageNode], tmp_path: Path, damage: str) -> None:
    stop, seen = threading.Event(), []

    def progress(_step: str, done: int, total: int) -> None:
        seen.append((done, total))
        if done >= 3 * LEAF_BYTES:
            stop.set()

    with pytest.raises(StoppedError) as caught:
        multi(nodes[:1]).fetch_file(DAG.root, len(DATA), tmp_path / "body", progress=progress, stop=stop)
    assert caught.value.code == "ipfs.stopped"
    kept = seen[-1][0]
    part, tree = tmp_path / "body.part", tmp_path / "body.tree"
    lost = 0
    if damage == "flip":
        raw = bytearray(part.read_bytes())
        first = next(
            n for n, leaf in enumerate(DAG.leaves) if raw[n * LEAF_BYTES : (n + 1) * LEAF_BYTES] == BLOCKS[leaf]
        )
        raw[first * LEAF_BYTES] ^= 1
        part.write_bytes(raw)
        lost = LEAF_BYTES
    elif damage == "cut":
        part.write_bytes(b"")
        lost = kept
    elif damage == "tree":
        tree.write_bytes(tree.read_bytes()[:-1])
    before = nodes[1].transport.requests
    report = multi(nodes[1:2]).fetch_file(DAG.root, len(DATA), tmp_path / "body")
    assert (tmp_path / "body").read_bytes() == DATA
    assert report.reused_bytes == kept - lost
    asked = nodes[1].transport.requests - before
    assert asked == -(-(len(DATA) - report.reused_bytes) // LEAF_BYTES) + (damage == "tree")
    assert not part.exists()
    assert not tree.exists()


def test_progress_is_exact_and_ends_at_the_whole(nodes: list[StorageNode], tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    multi(nodes).fetch_file(
        DAG.root, len(DATA), tmp_path / "b", progress=lambda _s, done, total: seen.append((done, total))
    )
    assert seen == sorted(seen)
    assert seen[-1] == (len(DATA), len(DATA))
    assert len(seen) == len(DAG.leaves)


def test_small_files_and_the_empty_one(tmp_path: Path) -> None:
    store = InMemoryStore()
    source = MultiSource([StoreSource(store, "here")])
    for data in (b"", b"x", DATA):
        root = put_document(store, data)
        assert source.fetch_bytes(root, len(data)) == data
        source.fetch_file(root, len(data), tmp_path / f"f{len(data)}")
        assert (tmp_path / f"f{len(data)}").read_bytes() == data
    assert code_of(lambda: source.fetch_file(root, len(data), tmp_path / "f0")) == "ipfs.target-exists"
    assert code_of(lambda: source.fetch_bytes(root, 2**40)) == "ipfs.too-long"
    assert code_of(lambda: source.fetch_bytes(root, len(data) - 1)) == "ipld.shape"


def test_a_leaf_of_another_size_is_the_providers_fault(tmp_path: Path) -> None:
    store = InMemoryStore()
    root = put_document(store, b"four")
    assert code_of(lambda: MultiSource([StoreSource(store, "here")]).fetch_bytes(root, 5)) == "ipfs.leaf-size"


def test_no_replica_at_all(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError) as caught:
        MultiSource([]).fetch_file(DAG.root, len(DATA), tmp_path / "body")
    assert caught.value.code == "ipfs.replicas-down"


def test_a_sample_names_the_replica_that_lost_blocks(nodes: list[StorageNode]) -> None:
    numbers = iter(range(10_000))
    nodes[2].store.blocks[DAG.root][DAG.leaves[4]] = b"?"
    good, failures = multi(nodes).sample(DAG.root, len(DATA), 64, lambda size: next(numbers).to_bytes(size, "big"))
    assert good == 2
    assert [(failure.source, failure.code) for failure in failures] == [("storage node 3", "ipfs.gateway-block")]


@pytest.mark.parametrize(("count", "asked"), [(64, 7), (7, 7), (3, 3)])
def test_a_sample_asks_for_no_block_twice(nodes: list[StorageNode], count: int, asked: int) -> None:
    draws = iter([5, 5, 1, 5, 3] * 100)
    source = multi(nodes[:1])
    before = nodes[0].transport.requests
    source.sample(DAG.root, len(DATA), count, lambda size: next(draws).to_bytes(size, "big"))
    assert nodes[0].transport.requests - before == asked + 1  # and the root


def test_a_block_comes_from_the_first_replica_that_has_it(nodes: list[StorageNode]) -> None:
    source = multi(nodes)
    nodes[0].transport.fault = LIES["wrong bytes"][0]
    for _ in range(3):
        assert source.get_block(DAG.leaves[0].to_bytes()) == BLOCKS[DAG.leaves[0]]
    assert [(failure.source, failure.count) for failure in source.bad] == [("storage node 1", 3)]
    before = nodes[0].transport.requests
    source.get_block(DAG.leaves[0].to_bytes())
    assert nodes[0].transport.requests == before  # left aside after three
    nodes[1].transport.fault = nodes[2].transport.fault = LIES["dead"][0]
    with pytest.raises(TamperedError):
        source.get_block(DAG.leaves[0].to_bytes())


@pytest.mark.parametrize("url", ["ftp://x", "http://", "http://u@x", "http://x/?a"])
def test_a_url_that_is_no_gateway(url: str) -> None:
    assert code_of(lambda: Gateway(url, "x")) == "ipfs.url"


def test_a_trickling_gateway_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter(range(0, 10_000, 2))
    monkeypatch.setattr("asset_bridge.ipfs.gateway.time.monotonic", lambda: next(now))

    class Trickle(httpx.SyncByteStream):
        def __iter__(self) -> Any:
            while True:
                yield b"x"

    transport = httpx.MockTransport(lambda _request: httpx.Response(200, stream=Trickle()))
    source = Gateway("http://x.test", "slow", transport=transport, timeout_seconds=5)
    assert code_of(lambda: source.get_block(DAG.root.to_bytes())) == "ipfs.gateway-reply"


def test_an_endless_answer_is_cut_at_two_mebibytes() -> None:
    given: list[int] = []

    class Counted(httpx.SyncByteStream):
        def __iter__(self) -> Any:
            while sum(given) < 2**24:
                given.append(65_536)
                yield b"x" * 65_536

    transport = httpx.MockTransport(lambda _request: httpx.Response(200, stream=Counted()))
    assert (
        code_of(lambda: Gateway("http://x.test", "x", transport=transport).get_block(DAG.root.to_bytes()))
        == "ipfs.gateway-reply"
    )
    assert sum(given) <= 2 * 2**20 + 65_536


def test_a_replica_left_aside_is_asked_again_for_what_nobody_else_has(nodes: list[StorageNode], tmp_path: Path) -> None:
    failures = iter([None, *[reply(500)(None) for _ in range(3)]])  # the tree comes, then three failures running
    nodes[0].transport.fault = lambda _request: next(failures, None)
    nodes[1].store.remove(DAG.root)
    report = multi(nodes[:2], workers=1).fetch_file(DAG.root, len(DATA), tmp_path / "body")
    assert (tmp_path / "body").read_bytes() == DATA
    assert [(f.code, f.count) for f in report.bad if f.source == "storage node 1"] == [("ipfs.gateway-reply", 3)]


@pytest.mark.parametrize("claimed", [3, 5])
def test_a_block_that_is_longer_or_shorter_than_its_place_is_refused_and_written_nowhere_else(
    claimed: int, tmp_path: Path
) -> None:
    """Its hash is right: the listing lied about the length."""
    node = StorageNode(1)
    root = put_document(node.store, b"four")
    source = MultiSource([node.gateway()])
    assert code_of(lambda: source.fetch_file(root, claimed, tmp_path / "out")) == "ipfs.replicas-damaged"
    assert {failure.code for failure in source.bad} == {"ipfs.leaf-size"}
    assert (tmp_path / "out.part").stat().st_size == claimed
    assert not (tmp_path / "out").exists()
