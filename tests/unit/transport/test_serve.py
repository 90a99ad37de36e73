"""A real process on a real socket: the port file, a request, a clean stop, no second node on the port."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx

from asset_bridge.nodes.serve import bind

SCRIPT = """
import sys, time, resource
from pathlib import Path
from asset_bridge.nodes.serve import serve, configure_logs
from asset_bridge.transport.calls import Answer, Route
from asset_bridge.transport.server import Guard, build_app
from asset_bridge.transport.nonces import NonceStore
configure_logs()
guard = Guard(31337, NonceStore(None), time.time)
stopped = Path(sys.argv[1]) / "stopped"
core = lambda call: Answer(json={"core": resource.getrlimit(resource.RLIMIT_CORE)[0], "names": sorted(guard.authorities)})
app = build_app([Route("GET", "/core", core, "x")], title="t", info=dict, health=list, guard=guard, on_stop=[stopped.touch])
serve(app, guard, port=int(sys.argv[2]), port_file=Path(sys.argv[1]) / "port")
"""


def start(folder: Path, port: int = 0) -> subprocess.Popen[bytes]:
    source = Path(__file__).resolve().parents[3] / "src"
    environment = {**os.environ, "PYTHONPATH": str(source)}
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(folder), str(port)], stderr=subprocess.DEVNULL, env=environment
    )


def test_a_node_listens_answers_and_stops(tmp_path: Path) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        process = start(tmp_path)
        try:
            deadline = time.monotonic() + 30
            while not (tmp_path / "port").exists() and time.monotonic() < deadline:
                time.sleep(0.05)
            port = int((tmp_path / "port").read_text())
            answer = httpx.get(f"http://127.0.0.1:{port}/core", trust_env=False).json()
            assert answer["core"] == 0
            assert f"127.0.0.1:{port}" in answer["names"]
            if number == signal.SIGTERM:
                second = start(tmp_path / "other", port)
                assert second.wait(30) != 0
            process.send_signal(number)
            assert process.wait(15) == 0
            assert (tmp_path / "stopped").exists()
            assert not (tmp_path / "port").exists()
        finally:
            process.kill()
            process.wait()
            (tmp_path / "stopped").unlink(missing_ok=True)


def test_answers_do_not_wait_for_acknowledged_packets() -> None:
    """An accepted connection knows that it is TCP, so that asyncio sets TCP_NODELAY (else each answer took 40 ms)."""
    listener = bind("127.0.0.1", 0)
    with listener, socket.create_connection(listener.getsockname()):
        accepted, _address = listener.accept()
        with accepted:
            assert accepted.proto == socket.IPPROTO_TCP
