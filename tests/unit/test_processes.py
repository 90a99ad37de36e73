"""Processes are found again and ended by their own ids only, and end with their parent when asked to."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from asset_bridge import processes
from asset_bridge.errors import UnavailableError
from asset_bridge.processes import Running, start, start_mark, wait_for_file

SLEEPER = [sys.executable, "-c", "import time; time.sleep(60)"]


def begin(folder: Path, argv: list[str]) -> Running:
    return start("sleeper", argv, log=folder / "log", record=folder / "record.json")


def test_a_process_is_found_again_by_another_command_and_stopped(tmp_path: Path) -> None:
    begin(tmp_path, SLEEPER)
    found = Running.load(tmp_path / "record.json")
    assert found is not None
    assert found.alive()
    assert found.stop()
    assert not found.alive()
    assert not found.stop()


def test_a_reused_process_id_is_not_taken_for_ours(tmp_path: Path) -> None:
    other = subprocess.Popen(SLEEPER)
    try:
        stranger = Running("sleeper", other.pid, start_mark(other.pid) + "1")
        assert not stranger.alive()
        assert not stranger.stop()
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


def test_a_process_that_ignores_the_gentle_signal_is_killed(tmp_path: Path) -> None:
    stubborn = [
        sys.executable,
        "-c",
        f"import signal, time, pathlib; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        f" pathlib.Path({str(tmp_path / 'ready')!r}).write_text('yes'); time.sleep(60)",
    ]
    process = begin(tmp_path, stubborn)
    wait_for_file(tmp_path / "ready", process, log=tmp_path / "log", wait_seconds=20)
    assert process.stop(grace_seconds=0.3)
    assert not process.alive()


def test_a_process_that_ends_while_starting_is_named_with_its_log(tmp_path: Path) -> None:
    process = begin(tmp_path, [sys.executable, "-c", "import sys; sys.exit('no room at the inn')"])
    with pytest.raises(UnavailableError, match="no room at the inn") as caught:
        wait_for_file(tmp_path / "never", process, log=tmp_path / "log", wait_seconds=20)
    assert caught.value.code == "nodes.start"
    assert str(tmp_path / "log") in caught.value.hint


def test_a_process_that_does_not_start_in_time_is_named(tmp_path: Path) -> None:
    process = begin(tmp_path, SLEEPER)
    with pytest.raises(UnavailableError) as caught:
        wait_for_file(tmp_path / "never", process, log=tmp_path / "log", wait_seconds=0.2)
    process.stop()
    assert caught.value.code == "nodes.start"


def test_children_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    child = (
        "import os, sys, time; from asset_bridge.processes import end_with; end_with(int(sys.argv[1])); time.sleep(60)"
    )
    parent = (
        "import os, pathlib, sys, time\n"
        "from asset_bridge.processes import start\n"
        "folder = pathlib.Path(sys.argv[1]); read, write = os.pipe()\n"
        f"argv = [sys.executable, '-c', {child!r}, str(read)]\n"
        "start('child', argv, log=folder / 'log', record=folder / 'record.json', while_open=read)\n"
        "time.sleep(60)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    process = subprocess.Popen([sys.executable, "-c", parent, str(tmp_path)], env=environment)
    until = time.monotonic() + 20
    while not (tmp_path / "record.json").exists() and time.monotonic() < until:
        time.sleep(0.05)
    found = Running.load(tmp_path / "record.json")
    assert found is not None
    time.sleep(0.3)
    process.send_signal(signal.SIGKILL)
    process.wait()
    while found.alive() and time.monotonic() < until:
        time.sleep(0.05)
    assert not found.alive()


def test_a_damaged_record_is_no_process(tmp_path: Path) -> None:
    (tmp_path / "record.json").write_text('{"pid": "x"')
    assert Running.load(tmp_path / "record.json") is None


def test_free_ports_are_different_unused_and_not_those_of_outgoing_connections() -> None:
    ports = processes.free_ports(50)
    assert len(set(ports)) == 50
    assert all(10_000 <= port < 32_768 for port in ports)
    for port in ports:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", port))


def test_no_free_port_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setattr(processes, "_FIRST_PORT", taken.getsockname()[1])
        monkeypatch.setattr(processes, "_LAST_PORT", taken.getsockname()[1] + 1)
        with pytest.raises(UnavailableError) as caught:
            processes.free_ports(1)
    assert caught.value.code == "node.port"
