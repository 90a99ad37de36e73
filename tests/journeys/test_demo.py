"""The demonstration as a newcomer runs it: real processes, a real development chain.

Issue 3, "what a newcomer does and sees" and must-show 1 and 2: every file identical, two runs side by side, odd names, an empty file,
refused data with nothing left behind, and no process left after Ctrl-C or kill -9.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.kubo import missing_kubo

pytestmark = [pytest.mark.needs_anvil, pytest.mark.slow]

ROOT = Path(__file__).resolve().parents[2]
SOURCES = os.pathsep.join(str(ROOT / part) for part in ("src", "packages/asset-bridge-simulator/src"))
COMMAND = [sys.executable, "-c", "from asset_bridge.cli.main import run; run()", "demo"]
PEAK_BYTES = 200_000_000
RUN_SECONDS = 420


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    env = os.environ | {"PYTHONPATH": SOURCES, "ASSET_BRIDGE_HOME": str(folder.parent / "no-home")}
    return subprocess.Popen(
        [*COMMAND, "--folder", str(folder), *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=env,
        cwd=folder.parent,
    )


def finish(process: subprocess.Popen[str]) -> dict[str, object]:
    out, err = process.communicate(timeout=RUN_SECONDS)
    assert process.returncode == 0, err[-4000:]
    summary = json.loads(out)
    assert isinstance(summary, dict)
    return summary


def processes_of(folder: Path) -> list[str]:
    """Command lines that name the folder, of this machine's processes."""
    listed = subprocess.run(["ps", "-axww", "-o", "pid=,command="], capture_output=True, text=True, check=True).stdout
    return [line for line in listed.splitlines() if f"{folder}/" in line or line.endswith(str(folder))]


def assert_none_left(folder: Path, within_seconds: float) -> None:
    until = time.monotonic() + within_seconds
    while (left := processes_of(folder)) and time.monotonic() < until:
        time.sleep(0.1)
    assert left == []


def assert_same(original: Path, opened: Path) -> None:
    """A comparison of its own: the demonstration's is not believed."""
    if original.is_file():
        assert (opened / original.name).read_bytes() == original.read_bytes()
        return
    for path in original.rglob("*"):
        there = opened / path.relative_to(original)
        assert there.is_dir() == path.is_dir()
        if path.is_file():
            assert there.read_bytes() == path.read_bytes()


def test_two_demonstrations_side_by_side(tmp_path: Path) -> None:
    odd = tmp_path / "odd data"
    for number, name in enumerate(
        ["a b.txt", "größe/日本語.csv", "/".join("abcdefghij") + "/deep", "empty", "TERMS.txt"]
    ):
        path = odd / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"" if name == "empty" else os.urandom(700_000 * number + 3))
    (odd / "nothing in here").mkdir()
    folders = tmp_path / "first", tmp_path / "second"
    # The second one on real kubo nodes, where there is a kubo; that there must be one is for the test of the killed one to say.
    kubo = ["--kubo"] if missing_kubo() is None else []
    runs = start(folders[0], "--json", "--measure"), start(folders[1], "--json", "--measure", "--data", str(odd), *kubo)
    for run, folder, original in zip(runs, folders, (folders[0] / "data", odd), strict=True):
        summary = finish(run)
        assert summary["identical"] is True
        peaks = summary["peak_memory_bytes"]
        assert isinstance(peaks, dict)
        assert {name: peak for name, peak in peaks.items() if peak > PEAK_BYTES} == {}
        assert_same(original, folder / "opened" / "data")
        assert_record(folder)
        assert_none_left(folder, 0)
        assert sorted(path.name for path in folder.iterdir() if path.name in ("homes", "devnet")) == []
        said = [(folder / "logs" / f"storage-{number}.log").read_text() for number in (1, 2, 3)]
        assert sum('"text":"kubo 0.' in log for log in said) == (3 if kubo and folder is folders[1] else 0)
    assert sum(path.stat().st_size for path in (folders[0] / "data").rglob("*")) > 20_000_000


def assert_record(folder: Path) -> None:
    events = json.loads((folder / "record" / "events.json").read_text())
    names = [event["event"] for event in events]
    assert [names.count(name) for name in ("Listed", "Requested", "Approved", "Paid", "Delivered", "BodySaved")] == [
        3,
        3,
        3,
        3,
        2,
        1,
    ]
    timeline = json.loads((folder / "record" / "timeline.json").read_text())
    assert {"provider", "consumer", "light-1", "tee-1", "deployer"} <= {row["who"] for row in timeline}
    assert all(row["gas"] > 0 for row in timeline if row["transaction"])
    stranger = json.loads((folder / "record" / "stranger.json").read_text())
    assert stranger["opened"] is False
    assert len(stranger["attempts"]) >= 16
    assert all(one["lacked"] and one["outcome"] != "OPENED" for one in stranger["attempts"])
    routes = {(answer["node"].split()[0], answer["route"]) for answer in stranger["answers"]}
    assert {("tee", "/v1/orders/{order_id}/reencrypt"), ("light", "/v1/orders/{order_id}/kfrags")} <= routes
    log = (folder / "logs" / "demo.log").read_text()
    for said in ("tee-4-unlisted is refused by name", "tee-5-replay is refused by name", "tee.not-paid", "tee.expired"):
        assert said in log
    assert log.count("tee.revoked") == 6
    assert (folder / "logs" / "tee-1.log").exists()


def test_an_empty_file(tmp_path: Path) -> None:
    empty = tmp_path / "empty.csv"
    empty.touch()
    summary = finish(start(tmp_path / "demo", "--json", "--data", str(empty)))
    assert summary["identical"] is True
    assert (tmp_path / "demo" / "opened" / "data" / "empty.csv").read_bytes() == b""


@pytest.mark.parametrize(
    ("number", "moment", "options"),
    [
        (signal.SIGINT, "storage-1 ", ()),
        (signal.SIGKILL, "storage-1 ", ()),
        (signal.SIGKILL, "contracts ", ()),
        pytest.param(signal.SIGKILL, "storage-1 ", ("--kubo",), marks=pytest.mark.needs_kubo),
    ],
)
def test_stopped_it_leaves_no_process(
    tmp_path: Path, number: signal.Signals, moment: str, options: tuple[str, ...]
) -> None:
    process = start(tmp_path / "demo", *options)
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip().startswith(moment):
            break
    assert len(processes_of(tmp_path / "demo")) > 1
    assert any("/repo daemon" in line for line in processes_of(tmp_path / "demo")) == bool(options)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    if number is signal.SIGINT:
        assert process.returncode == 130
        assert "nothing of the demonstration runs any more" in err
        assert_none_left(tmp_path / "demo", 0)
    else:
        assert_none_left(tmp_path / "demo", 15)


@pytest.mark.parametrize(
    ("what", "code"), [("socket", "files.special"), ("pipe", "files.special"), ("missing", "files.missing")]
)
def test_data_that_cannot_be_sealed_leaves_nothing_behind(tmp_path: Path, what: str, code: str) -> None:
    path = tmp_path / "data"
    listening = socket.socket(socket.AF_UNIX)
    if what == "socket":
        listening.bind(str(path))
    elif what == "pipe":
        os.mkfifo(path)
    process = start(tmp_path / "demo", "--data", str(path))
    out, err = process.communicate(timeout=60)
    listening.close()
    assert process.returncode == 2
    assert f"[{code}]" in err
    assert err.count("error:") == 1
    assert out == ""
    assert not (tmp_path / "demo").exists()
