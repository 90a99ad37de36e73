"""A real process on a real socket: the port file, a request, a clean stop, no second node on the port."""

from __future__ import annotations

import contextlib
import datetime
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from asset_bridge.errors import TamperedError, UnavailableError
from asset_bridge.nodes.serve import bind
from asset_bridge.transport.client import Peer
from asset_bridge.transport.tls import key_pin, pinned_context

SCRIPT = """
import sys, time, resource
from pathlib import Path
from asset_bridge.nodes.serve import Tls, serve, configure_logs
from asset_bridge.transport.calls import Answer, Route
from asset_bridge.transport.server import Guard, build_app
from asset_bridge.transport.nonces import NonceStore
configure_logs()
guard = Guard(31337, NonceStore(None), time.time)
stopped = Path(sys.argv[1]) / "stopped"
core = lambda call: Answer(json={"core": resource.getrlimit(resource.RLIMIT_CORE)[0], "names": sorted(guard.authorities)})
app = build_app([Route("GET", "/core", core, "x")], title="t", info=dict, health=list, guard=guard, on_stop=[stopped.touch])
pem = Path(sys.argv[1]) / "pem"
tls = Tls(pem, pem) if pem.exists() else None
serve(app, guard, port=int(sys.argv[2]), port_file=Path(sys.argv[1]) / "port", tls=tls, public_urls=["https://Node.example:8443/x"])
"""


EARLY = """
import signal, uvicorn
run = uvicorn.Server.run
def told_before(self, sockets):
    signal.raise_signal(signal.SIGTERM)
    run(self, sockets=sockets)
uvicorn.Server.run = told_before
"""


def start(folder: Path, port: int = 0, before: str = "") -> subprocess.Popen[bytes]:
    source = Path(__file__).resolve().parents[3] / "src"
    environment = {**os.environ, "PYTHONPATH": str(source)}
    return subprocess.Popen(
        [sys.executable, "-c", before + SCRIPT, str(folder), str(port)], stderr=subprocess.DEVNULL, env=environment
    )


def port_of(folder: Path) -> int:
    deadline = time.monotonic() + 30
    while not (folder / "port").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    return int((folder / "port").read_text())


def refused_head(port: int, headers: bytes) -> bytes:
    """The status with which a head that never ends is refused, when the connection is closed by the node."""
    with socket.create_connection(("127.0.0.1", port), 20) as connection:
        answer = b""
        with contextlib.suppress(ConnectionError):  # closed while we were still sending
            connection.sendall(b"GET /core HTTP/1.1\r\nhost: 127.0.0.1\r\n" + headers)
        with contextlib.suppress(ConnectionError):
            while part := connection.recv(4096):
                answer += part
    return answer.split(b" ")[1] if answer else b""


def self_signed(path: Path) -> None:
    """A certificate for localhost and its key in one PEM file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(secret + certificate.public_bytes(serialization.Encoding.PEM))


def test_tls_is_checked_by_the_client(tmp_path: Path) -> None:
    self_signed(tmp_path / "pem")
    process = start(tmp_path)
    try:
        port = port_of(tmp_path)

        def peer(verify: Any) -> Peer:
            return Peer(
                f"https://localhost:{port}", name="light node", chain_id=31337, signer=None, clock=time.time,
                randbytes=os.urandom, sleep=lambda _seconds: None, verify=verify,
            )  # fmt: skip

        trusted = ssl.create_default_context(cafile=tmp_path / "pem")
        assert peer(trusted).get("/core")["core"] == 0
        der = ssl.PEM_cert_to_DER_cert((tmp_path / "pem").read_text().partition("-----END PRIVATE KEY-----\n")[2])
        assert peer(pinned_context("127.0.0.1", port, key_pin(der))).get("/core")["core"] == 0
        with pytest.raises(TamperedError) as other_key:
            pinned_context("127.0.0.1", port, bytes(32))
        assert other_key.value.code == "transport.pin"
        self_signed(tmp_path / "other")
        other = ssl.create_default_context(cafile=tmp_path / "other")
        with pytest.raises(UnavailableError):
            peer(other).get("/core")
        with pytest.raises(UnavailableError) as caught:
            peer(True).get("/core")
        assert caught.value.code == "transport.down"
    finally:
        process.terminate()
        assert process.wait(15) == 0
    with pytest.raises(UnavailableError):
        pinned_context("127.0.0.1", port, bytes(32))


def test_a_node_listens_answers_and_stops(tmp_path: Path) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        process = start(tmp_path)
        try:
            port = port_of(tmp_path)
            answer = httpx.get(f"http://127.0.0.1:{port}/core", trust_env=False).json()
            assert answer["core"] == 0
            assert answer["names"] == sorted(
                [f"127.0.0.1:{port}", f"localhost:{port}", f"[::1]:{port}", "node.example:8443"]
            )
            if number == signal.SIGTERM:
                assert refused_head(port, b"x-long: " + b"a" * 100_000) == b"400"  # one header that does not end
                assert refused_head(port, b"x-many: 1\r\n" * 10_000) == b"400"
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


def test_a_signal_before_the_server_runs_is_not_lost(tmp_path: Path) -> None:
    """A network that is stopped while its nodes start leaves none behind."""
    process = start(tmp_path, before=EARLY)
    try:
        assert process.wait(30) == 0
        assert not (tmp_path / "port").exists()
    finally:
        process.kill()
        process.wait()


def test_answers_do_not_wait_for_acknowledged_packets() -> None:
    """An accepted connection knows that it is TCP, so that asyncio sets TCP_NODELAY (else each answer took 40 ms)."""
    listener = bind("127.0.0.1", 0)
    with listener, socket.create_connection(listener.getsockname()):
        accepted, _address = listener.accept()
        with accepted:
            assert accepted.proto == socket.IPPROTO_TCP
