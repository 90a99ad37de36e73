"""A file that grows at several places: readers are told only of what is there from its start on."""

from __future__ import annotations

import itertools
import threading

import pytest

from asset_bridge.errors import UnavailableError
from asset_bridge.ipfs import growing as room
from asset_bridge.ipfs.growing import Growing

PARTS = [(0, 3), (3, 4), (7, 1), (8, 2)]


@pytest.mark.parametrize("order", itertools.permutations(PARTS))
def test_in_every_order_only_the_whole_start_counts(
    order: tuple[tuple[int, int], ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "WAIT_SECONDS", 0.0)
    file, there = Growing(10), set[int]()
    for offset, size in order:
        file.written(offset, size)
        there.update(range(offset, offset + size))
        start = next(number for number in range(11) if number not in there)
        if start:
            assert file.wait(0) == start
        with pytest.raises(UnavailableError) as caught:
            file.wait(start)
        assert caught.value.code == "ipfs.not-written"


def test_writers_stay_near_the_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "AHEAD_BYTES", 4)
    monkeypatch.setattr(room, "STEP_BYTES", 3)
    file, passed = Growing(20), [threading.Event() for _ in range(3)]

    def write(number: int) -> None:
        file.before(4 * number)
        passed[number].set()
        file.written(4 * number, 4)

    threads = [threading.Thread(target=write, args=(number,), daemon=True) for number in range(3)]
    for thread in threads:
        thread.start()
    assert passed[0].wait(5)
    assert file.wait(0) == 3
    assert not passed[1].wait(0.05)
    assert file.wait(3) == 4
    assert passed[1].wait(5)
    assert not passed[2].wait(0.05)
    file.leave()
    assert passed[2].wait(5)
    assert (file.wait(4), file.there_bytes) == (7, 12)


def test_a_failed_writer_wakes_the_reader() -> None:
    file = Growing(10)
    threading.Timer(0.05, file.fail).start()
    with pytest.raises(UnavailableError):
        file.wait(0)


def test_a_reader_waits_for_the_writer() -> None:
    file = Growing(10)
    threading.Timer(0.05, file.written, (0, 10)).start()
    assert file.wait(0) == 10
