"""What people see: exact amounts, short spans, ids as typed, clean text."""

from __future__ import annotations

import pytest

from asset_bridge.chain.records import Periods
from asset_bridge.cli.output import amount, clean, jsonable, remaining, size, table
from asset_bridge.cli.session import periods_of, pick, seconds_of, size_of, wei_of
from asset_bridge.errors import InputError

ONE, OTHER = bytes.fromhex("aabbcc" + "00" * 29), bytes.fromhex("aabbcd" + "00" * 29)


@pytest.mark.parametrize(
    ("wei", "text"),
    [(0, "0 ETH"), (1, "0.000000000000000001 ETH"), (15 * 10**17, "1.5 ETH"), (10**18, "1 ETH"), (-(10**18), "-1 ETH")],
)
def test_amounts_are_exact(wei: int, text: str) -> None:
    assert amount(wei) == text
    if wei >= 0:
        assert wei_of(text.split()[0]) == wei


@pytest.mark.parametrize("text", ["", "1,5", "-1", "1.", ".5", "1e3", "0." + "1" * 19, "١"])
def test_what_is_not_an_amount_is_refused(text: str) -> None:
    with pytest.raises(InputError) as caught:
        wei_of(text)
    assert caught.value.code == "cli.amount"


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("15m", 900), ("24h", 86_400), ("30d", 2_592_000)]
)
def test_durations(text: str, seconds: int) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "d", "1w", "1.5h", "-1d"])
def test_what_is_not_a_duration_is_refused(text: str) -> None:
    with pytest.raises(InputError) as caught:
        seconds_of(text)
    assert caught.value.code == "cli.duration"


@pytest.mark.parametrize(
    ("text", "count"),
    [("0", 0), ("500GB", 5 * 10**11), ("1.5 TB", 1_500 * 10**9), ("64MiB", 64 * 2**20), ("10k", 10_000), ("7b", 7)],
)
def test_sizes(text: str, count: int) -> None:
    assert size_of(text) == count


@pytest.mark.parametrize("text", ["", "GB", "1EB", "-1GB", "1,5GB", "5ib", "1e9"])
def test_what_is_not_a_size_is_refused(text: str) -> None:
    with pytest.raises(InputError) as caught:
        size_of(text)
    assert caught.value.code == "cli.size"


def test_periods_change_only_what_is_named() -> None:
    start = Periods(1, 2, 3, 4, 5, 6)
    assert periods_of(["pay=14d", "window=3h"], start) == Periods(1, 14 * 86_400, 3, 3 * 3_600, 5, 6)
    for wrong in ("pay", "pays=1d", "pay="):
        with pytest.raises(InputError):
            periods_of([wrong], start)


def test_an_id_is_known_by_its_start() -> None:
    assert pick("0xaabbcc", [ONE, OTHER], "order", "") == ONE
    assert pick("aabbcd…", [ONE, OTHER], "order", "") == OTHER
    assert pick("0x" + ONE.hex(), [], "order", "") == ONE


@pytest.mark.parametrize("text", ["0xaabb", "aabbce", "aabbzz", "", "0x" + "a" * 65])
def test_an_unclear_id_is_refused(text: str) -> None:
    with pytest.raises(InputError) as caught:
        pick(text, [ONE, OTHER], "order", "")
    assert caught.value.code == "cli.id"


def test_an_id_that_starts_several_is_refused() -> None:
    twin = ONE[:-1] + b"\x01"
    with pytest.raises(InputError, match="2 orders"):
        pick("aabbcc", [ONE, twin], "order", "")


def test_a_peers_text_cannot_move_the_cursor() -> None:
    assert "\x1b" not in clean("red \x1b[31m text")
    assert "\x1b" not in "".join(table([["\x1b[2J"]], ["HEAD"]))


def test_sizes_and_spans() -> None:
    assert [size(n) for n in (0, 999, 1_000, 20_300_000, 2 * 10**9)] == [
        "0 bytes",
        "999 bytes",
        "1.0 kB",
        "20.3 MB",
        "2.0 GB",
    ]
    assert [remaining(n) for n in (-1, 0, 59, 60, 3_660, 90_000)] == [
        "past",
        "past",
        "59 s",
        "1 min",
        "1 h 1 min",
        "1 d 1 h",
    ]


def test_results_become_json() -> None:
    assert jsonable({"a": b"\x01", "b": (1, Periods(1, 2, 3, 4, 5, 6))})["a"] == "0x01"
