"""SIGKILL at every durable system call of one 8 MiB upload and one delivery, at both ends: each finishes after a restart.

The calls are counted by strace in an undisturbed run and enumerated as (who, n-th call); the quick run draws from the list, the deep run
takes all. At most one block goes over the wire a second time, and the result is the same bytes.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.kills.world import BLOCKS, DATA, Traced, World
from tests.support.depth import depth
from tests.support.zygote import Zygote, ended

ENDS = {"upload": ("upload", "light", "storage0"), "fetch": ("fetch", "storage0")}


@pytest.fixture(scope="module")
def zygote() -> Iterator[Zygote]:
    found = Zygote()
    yield found
    found.close()


@pytest.fixture
def memory() -> Iterator[Path]:
    """A folder in memory where there is one: a kill does not need a disk, and thirty of them need no fsync of one."""
    place = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=place if place.is_dir() else None) as folder:
        yield Path(folder)


def run(zygote: Zygote, folder: Path, story: str, who: str, kill_at: int | None) -> int:
    """One story from the start, traced at one end; returns its durable calls when nobody is killed."""
    world = World(zygote, folder)
    calls = 0
    try:
        if story == "fetch":
            world.fill()
        world.start(with_light=story == "upload")
        if who == story:
            pid = world.client(story, wait=True)
            traced = Traced(pid, folder / "trace", kill_at)
            (folder / "go").touch()
            assert ended(pid)
        else:
            traced = Traced(world.pids[who], folder / "trace", kill_at)
            assert ended(world.client(story))
        calls = traced.calls() if kill_at is None else 0
        traced.end()
        world.finish(story)
        check(world, story)
    finally:
        world.close()
    return calls


def check(world: World, story: str) -> None:
    """The result is whole, and at most one block came a second time."""
    if story == "upload":
        for name in ("storage0", "storage1"):
            seen = world.lines(name)
            assert set(seen) == {str(cid) for cid in BLOCKS}
            assert sum(seen.values()) <= len(BLOCKS) + 1
            bodies = list((world.folder / name / "store" / "bodies").iterdir())
            assert [(body / "body").read_bytes() == DATA for body in bodies] == [True]
    else:
        assert (world.folder / "out").read_bytes() == DATA
        assert sum(world.lines("fetch").values()) <= len(BLOCKS) + 1
        assert not list(world.folder.glob("out.*"))


@pytest.mark.slow
@pytest.mark.needs_strace
def test_a_kill_at_any_durable_call_costs_at_most_one_block(zygote: Zygote, memory: Path) -> None:
    points = []
    for story, ends in ENDS.items():
        for who in ends:
            calls = run(zygote, memory / "count", story, who, None)
            assert calls > 0, f"{who} made no durable call"
            points += [(story, who, number) for number in range(1, calls + 1)]
    random.Random(30).shuffle(points)
    for story, who, number in points[: depth("kill_points")]:
        try:
            run(zygote, memory / "kill", story, who, number)
        except AssertionError as error:
            raise AssertionError(f"{story}, {who} killed at durable call {number} of {len(points)}: {error}") from error
