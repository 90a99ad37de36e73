"""The demonstration's own parts: what it refuses before it makes anything, and that its comparison finds what differs."""

from __future__ import annotations

import json
import os
import shutil
import socket
from collections import namedtuple
from pathlib import Path
from types import SimpleNamespace

import pytest

from asset_bridge.cli.demo import data, goods, memory, strangers
from asset_bridge.cli.demo.show import Show
from asset_bridge.cli.demo.timeline import Row, Timeline
from asset_bridge.errors import BridgeError, DefectError, InputError, RefusedError

ODD = ("a b.txt", "größe/日本語.csv", "x/y/z/deep/er/file", "empty", ".hidden", "SHA256SUMS")


def odd_folder(root: Path) -> Path:
    for number, name in enumerate(ODD):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"" if name == "empty" else os.urandom(1000 * number + 1))
    (root / "nothing in here").mkdir()
    return root


def refused(code: str, path: Path | None, folder: Path) -> InputError:
    before = sorted(folder.parent.rglob("*"))
    with pytest.raises(InputError) as caught:
        data.check(path, folder)
    assert caught.value.code == code
    assert sorted(folder.parent.rglob("*")) == before  # nothing is left behind
    return caught.value


def test_a_socket_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        assert "a socket" in refused("files.special", path, tmp_path / "out").message


def test_a_pipe_inside_a_folder_is_refused(tmp_path: Path) -> None:
    folder = odd_folder(tmp_path / "in")
    os.mkfifo(folder / "x" / "pipe")
    refused("files.special", folder, tmp_path / "out")


def test_a_missing_path_is_refused(tmp_path: Path) -> None:
    refused("files.missing", tmp_path / "nowhere", tmp_path / "out")


def test_an_unreadable_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "secret"
    path.write_bytes(b"1")
    real = os.open

    def opened(name: object, *rest: object, **more: object) -> int:
        if str(name) == str(path):
            raise PermissionError(13, "Permission denied")
        return real(name, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", opened)
    refused("files.unreadable", path, tmp_path / "out")


def test_a_small_disk_is_refused_with_need_and_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 0, 12_345))
    message = refused("files.disk-space", None, tmp_path / "out").message
    assert "12,345" in message
    assert f"{data.COPIES * data.GENERATED_BYTES + data.SPARE_BYTES + 1024 * 1024:,}" in message


def test_a_folder_that_is_there_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    refused("demo.folder", None, tmp_path / "out")


def test_a_folder_inside_the_data_is_refused(tmp_path: Path) -> None:
    folder = odd_folder(tmp_path / "in")
    refused("demo.folder", folder, folder / "x" / "demo")


def opened_copy(tmp_path: Path) -> tuple[Path, Path]:
    original = odd_folder(tmp_path / "in")
    shutil.copytree(original, tmp_path / "out", copy_function=shutil.copy2)
    for name in ("asset-bridge-SHA256SUMS", "TERMS.txt", "provenance.json"):
        (tmp_path / "out" / name).write_text("ours")
    return original, tmp_path / "out"


def test_equal_folders_compare_equal(tmp_path: Path) -> None:
    original, opened = opened_copy(tmp_path)
    found = data.compare(original, opened)
    assert (found.files, found.differences) == (len(ODD), ())
    assert found.compared_bytes == sum(path.stat().st_size for path in original.rglob("*") if path.is_file())


def test_a_single_file_compares(tmp_path: Path) -> None:
    original = tmp_path / "one"
    original.write_bytes(os.urandom(3 * (1 << 20) + 5))
    (tmp_path / "out").mkdir()
    shutil.copy2(original, tmp_path / "out" / "one")
    assert data.compare(original, tmp_path / "out").differences == ()


@pytest.mark.parametrize("what", ["byte", "longer", "shorter", "missing", "added", "time", "folder", "empty folder"])
def test_every_difference_is_found(tmp_path: Path, what: str) -> None:
    original, opened = opened_copy(tmp_path)
    file = opened / "x/y/z/deep/er/file"
    content, times = bytearray(file.read_bytes()), (file.stat().st_atime, file.stat().st_mtime)
    if what == "byte":
        content[-1] ^= 1
        file.write_bytes(content)
    elif what == "longer":
        file.write_bytes(content + b"x")
    elif what == "shorter":
        file.write_bytes(content[:-1])
    elif what == "missing":
        file.unlink()
    elif what == "added":
        (opened / "x" / "more").write_bytes(b"")
    elif what == "time":
        times = (times[0], times[1] + 5)
    elif what == "folder":
        (opened / "nothing in here").rmdir()
    elif what == "empty folder":
        (opened / "another").mkdir()
    if file.exists():
        os.utime(file, times)
    assert len(data.compare(original, opened).differences) == (2 if what == "missing" else 1)


def test_a_failure_names_its_step(capsys: pytest.CaptureFixture[str]) -> None:
    show = Show()
    with pytest.raises(RefusedError) as caught, show.step("Somebody acts"):
        raise RefusedError("tee.not-paid", "the order is not paid", actor="consumer")
    error: BridgeError = caught.value
    assert (error.code, error.actor) == ("tee.not-paid", "consumer")
    assert error.message == "step 1, Somebody acts: the order is not paid"
    assert "[1/8] Somebody acts" in capsys.readouterr().out


def test_what_must_hold_and_does_not_stops(capsys: pytest.CaptureFixture[str]) -> None:
    show = Show()
    show.must(True, "this")
    with pytest.raises(DefectError, match="does not hold: that"):
        show.must(False, "that")
    assert "✓ this" in capsys.readouterr().out


def test_with_json_the_story_goes_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    show = Show(as_json=True)
    with show.step("Title"):
        show.line("text")
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "Title" in printed.err


def test_a_peers_text_cannot_move_the_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    Show().line("bad\x1b[2Jtext")
    assert "\x1b" not in capsys.readouterr().out


def test_peak_memory_of_this_process() -> None:
    found = memory.report([("me", os.getpid()), ("gone", 2**22 - 3)])
    if found:  # only Linux says
        assert found.keys() == {"me"}
        assert found["me"][0] > 1_000_000


def test_texts_fall_back_to_letters_that_no_name_holds() -> None:
    first, *others = goods.texts("Research data")
    assert first[0] == "Research data"
    assert len({other[0] for other in others}) == 3


class FakeEndpoint:
    """A chain of two blocks."""

    def call(self, method: str) -> str:
        assert method == "eth_blockNumber"
        return "0x2"

    def batch(self, calls: list[tuple[str, list[object]]]) -> list[object]:
        sender = "0x" + "11" * 20
        blocks = {
            "0x1": {
                "timestamp": "0x64",
                "transactions": [{"hash": "0xaa", "from": sender, "to": None, "input": "0x00"}],
            },
            "0x2": {
                "timestamp": "0x66",
                "transactions": [{"hash": "0xbb", "from": sender, "to": sender, "input": "0x01020304"}],
            },
        }
        receipts = {"0xaa": {"status": "0x1", "gasUsed": "0x5"}, "0xbb": {"status": "0x0", "gasUsed": "0x6"}}
        return [(blocks if name == "eth_getBlockByNumber" else receipts)[str(params[0])] for name, params in calls]

    def as_int(self, value: str) -> int:
        return int(value, 16)

    def as_bytes(self, value: str, _length: int | None = None) -> bytes:
        return bytes.fromhex(value[2:])

    def as_object(self, value: object) -> object:
        return value


def test_the_timeline_leaves_no_transaction_out() -> None:
    timeline = Timeline(started_at=100.0)
    timeline.off_chain("provider", "seal", now_at=101.5, seconds=0.5, size_bytes=7)
    name = "0x1111111111111111111111111111111111111111"
    timeline.add_chain(FakeEndpoint(), {name: "tee-1"})  # type: ignore[arg-type]
    assert timeline.sorted() == [
        Row(0, "tee-1", "deploy a contract", "0xaa", 5, 0.0, 1),
        Row(1.0, "provider", "seal", seconds=0.5, size_bytes=7),
        Row(2, "tee-1", "send coins (reverted)", "0xbb", 6, 0.0, 4),
    ]
    assert len(timeline.lines()) == 4


@pytest.mark.parametrize(
    "answers",
    [
        {"tee-1": "tee.revoked", "tee-2": "a fragment"},
        {"tee-1": "tee.revoked", "tee-2": "transport.down"},
        {},
    ],
)
def test_a_refusal_that_is_not_as_it_must_be_stops(monkeypatch: pytest.MonkeyPatch, answers: dict[str, str]) -> None:
    monkeypatch.setattr(strangers, "ask_each", lambda *_: answers)
    monkeypatch.setattr(strangers, "consumer_fetch", lambda *_: None)
    trade = SimpleNamespace(scene=SimpleNamespace(show=Show()), orders={"x": b""})
    with pytest.raises(DefectError, match="does not hold"):
        strangers.must_say(trade, "x", "tee.revoked", "nodes refuse")  # type: ignore[arg-type]


def test_a_refusal_as_it_must_be_is_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(strangers, "ask_each", lambda *_: {"tee-1": "tee.revoked"})
    monkeypatch.setattr(strangers, "consumer_fetch", lambda *_: None)
    trade = SimpleNamespace(scene=SimpleNamespace(show=Show()), orders={"x": b""})
    strangers.must_say(trade, "x", "tee.revoked", "nodes refuse")  # type: ignore[arg-type]
    assert "✓ nodes refuse: tee-1 tee.revoked" in capsys.readouterr().out


@pytest.mark.parametrize(("status", "opened", "fragments"), [(0, True, 0), (1, False, 0), (0, False, 1)])
def test_a_stranger_who_gets_something_stops_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int, opened: bool, fragments: int
) -> None:
    (tmp_path / "stranger.json").write_text(json.dumps({"opened": opened, "fragments_in_answers": fragments}))
    scene = SimpleNamespace(show=Show(), record=tmp_path, ended={})
    process = SimpleNamespace(stdout=["tried\n"], wait=lambda: status)
    with pytest.raises(DefectError, match="does not hold"):
        strangers.hear_stranger(scene, process)  # type: ignore[arg-type]
