"""Random kills of a 1 GiB transfer, of the consumer or of the storage node: it goes on, and at most one block comes again each time."""

from __future__ import annotations

import hashlib
import random
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from asset_bridge.ipfs.embedded import EmbeddedStore
from asset_bridge.ipld.unixfs import LEAF_BYTES, FileDag, FileDagBuilder
from tests.faults.kills.world import World
from tests.support.depth import depth
from tests.support.zygote import Zygote, alive, until

LEAVES = 1024


@pytest.fixture
def place() -> Iterator[Path]:
    """In memory where 3 GiB are free there: the kills are what is tested, not the disk."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        yield Path(folder)


def leaf(number: int, base: bytes) -> bytes:
    return number.to_bytes(8, "big") + base[8:]


def filled(folder: Path) -> FileDag:
    """A body of 1 GiB in the first storage node's store."""
    base, builder = random.Random(1).randbytes(LEAF_BYTES), FileDagBuilder()
    for number in range(LEAVES):
        builder.add(hashlib.sha256(leaf(number, base)).digest(), LEAF_BYTES)
    dag = builder.finish()
    store = EmbeddedStore(folder, reserve_bytes=0)
    store.begin(dag.root, dag.length_bytes)
    for cid, block in dag.interior.items():
        store.put_block(dag.root, cid, block)
    for number in range(LEAVES):
        store.put_block(dag.root, dag.leaves[number], leaf(number, base))
    store.finish(dag.root)
    store.close()
    return dag


@pytest.mark.slow
def test_random_kills_cost_at_most_one_block_each(place: Path) -> None:
    draw, kills, done_kills = random.Random(64), depth("kill_transfers"), 0
    zygote = Zygote()
    world = World(zygote, place / "world")
    try:
        dag = filled(world.folder / "storage0" / "store")
        while done_kills < kills:
            done_kills += _one_transfer(world, zygote, dag, draw, kills - done_kills)
    finally:
        world.close()
        zygote.close()


def _one_transfer(world: World, zygote: Zygote, dag: FileDag, draw: random.Random, most: int) -> int:
    """One delivery, killed at up to ten points drawn over its length; returns how many kills it had."""
    points = sorted(draw.sample(range(1, LEAVES - 20), min(most, 10)))
    log, target, done = world.folder / "fetch.log", world.folder / "out", world.folder / "fetch.done"
    killed = 0
    while True:
        world.start(with_light=False)
        client = zygote.start(
            "fetch",
            urls=[f"http://127.0.0.1:{world.ports[0]}"],
            root=str(dag.root),
            length=dag.length_bytes,
            target=str(target),
            workers=4,
            log=str(log),
            done=str(done),
        )
        until(partial(_time_to_look, done, client, log, points), 300)
        if done.exists():
            break
        if points and alive(client):
            points.pop(0)
            killed += 1
            zygote.kill(world.pids["storage0"] if draw.random() < 0.3 else client)
        zygote.kill(client)  # one whose node died ends by itself, and is started again
    names = log.read_text().split()
    assert set(names) == {str(cid) for cid in (*dag.leaves, dag.root)}
    assert len(names) - len(set(names)) <= killed
    found = hashlib.sha256()
    with target.open("rb") as out:
        for number, cid in enumerate(dag.leaves):
            block = out.read(LEAF_BYTES)
            assert hashlib.sha256(block).digest() == cid.digest, f"block {number} is another"
            found.update(block)
        assert out.read(1) == b""
    for left in (log, target, done):
        left.unlink()
    return max(killed, 1)


def _time_to_look(done: Path, client: int, log: Path, points: list[int]) -> bool:
    return done.exists() or not alive(client) or (bool(points) and _lines(log) > points[0])


def _lines(log: Path) -> int:
    return log.stat().st_size // 60 if log.exists() else 0
