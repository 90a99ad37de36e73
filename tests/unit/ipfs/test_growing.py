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


def test_a_failed_writer_wakes_the_reader() -> None:
    file = Growing(10)
    threading.Timer(0.05, file.fail).start()
    with pytest.raises(UnavailableError):
        file.wait(0)


def test_a_reader_waits_for_the_writer() -> None:
    file = Growing(10)
    threading.Timer(0.05, file.written, (0, 10)).start()
    assert file.wait(0) == 10
