"""Random kills of a long upload, of the provider, the light node or a storage node: it goes on, at most one block comes again each time.

Deep: 1 GiB. At each node a block counts as come when the node was sent it whole.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from asset_bridge.ipld.unixfs import LEAF_BYTES
from tests.faults.kills.test_big_transfer import leaf
from tests.faults.kills.world import World
from tests.support.depth import depth
from tests.support.zygote import Zygote, alive, until

NODES = ("storage0", "storage1")


@pytest.fixture
def place() -> Iterator[Path]:
    """In memory: the kills are what is tested, not the disk."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        yield Path(folder)


@pytest.mark.slow
def test_random_kills_of_an_upload_cost_at_most_one_block_each(place: Path) -> None:
    draw, leaves, kills = random.Random(65), depth("kill_upload_leaves"), depth("kill_uploads")
    zygote = Zygote()
    world = World(zygote, place / "world")
    try:
        base = random.Random(2).randbytes(LEAF_BYTES)
        with (world.folder / "body").open("wb") as body:
            for number in range(leaves):
                body.write(leaf(number, base))
        points = sorted(draw.sample(range(1, leaves - 2), kills))
        done, killed = world.folder / "upload.done", 0
        while not done.exists():
            world.start()
            client = world.client("upload")
            until(partial(_time_to_look, world, done, client, points), 300)
            if not done.exists() and points and alive(client):
                points.pop(0)
                killed += 1
                victim = draw.choice(("upload", "light", *NODES))
                zygote.kill(client if victim == "upload" else world.pids[victim])
            if not done.exists():
                zygote.kill(client)  # one whose node died ends by itself, and is started again
        assert killed == kills
        for name in NODES:
            came = world.lines(name)
            assert len(came) == leaves + 1
            assert sum(came.values()) - len(came) <= killed
            [stored] = (world.folder / name / "store" / "bodies").iterdir()
            _same(stored / "body", world.folder / "body")
    finally:
        world.close()
        zygote.close()


def _time_to_look(world: World, done: Path, client: int, points: list[int]) -> bool:
    log = world.folder / "storage0.log"
    came = log.stat().st_size // 60 if log.exists() else 0
    return done.exists() or not alive(client) or (bool(points) and came > points[0])


def _same(one: Path, other: Path) -> None:
    with one.open("rb") as left, other.open("rb") as right:
        while part := left.read(LEAF_BYTES):
            assert part == right.read(LEAF_BYTES)
        assert right.read(1) == b""
