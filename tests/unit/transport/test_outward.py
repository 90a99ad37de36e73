"""URLs that strangers chose: public addresses only, the ones that were looked at, and an end to every exchange."""

from __future__ import annotations

import datetime
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from asset_bridge.chain.keys import AccountKey
from asset_bridge.errors import InputError, UnavailableError
from asset_bridge.nodes.launch.base import Started
from asset_bridge.transport.client import Peer
from asset_bridge.transport.outward import OutwardTransport, is_public

PUBLIC = ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "64:ff9b::808:808"]
NOT_PUBLIC = [
    "127.0.0.1", "127.8.8.8", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "169.254.169.254", "192.0.2.1",
    "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255", "::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fec0::1", "ff02::1",
    "2001:db8::1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "64:ff9b::a00:1", "64:ff9b::7f00:1", "2002:7f00:1::", "2001:0:4136:e378::1",
]  # fmt: skip


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_addresses_of_a_machine_a_network_or_of_nobody(address: str) -> None:
    assert not is_public(address)


def request_of(connection: socket.socket) -> bytes:
    """All that one request sends: an end with something unread would reset the connection under its answer."""
    came, head, body = b"", b"", b""
    while more := connection.recv(65_536):
        came += more
        head, end, body = came.partition(b"\r\n\r\n")
        length = next(
            (int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0
        )
        if end and len(body) >= length:
            break
    return came


@contextmanager
def listening(answer: Callable[[socket.socket], None], read: bool = True) -> Iterator[tuple[int, list[bytes]]]:
    """A server on loopback that takes connections one by one; (port, what came with each)."""
    came: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.05)
        ended = threading.Event()

        def serve() -> None:
            while not ended.is_set():
                try:
                    connection, _ = server.accept()
                except TimeoutError:
                    continue
                with connection:
                    came.append(request_of(connection) if read else b"")
                    with suppress(OSError):
                        answer(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server.getsockname()[1], came
        finally:
            ended.set()
            thread.join(5)


def peer(url: str, **how: Any) -> Peer:
    transport = OutwardTransport(**{"whole_seconds": 5.0, **how})
    return Peer(
        url, name="endpoint", chain_id=1, signer=None, clock=time.time, randbytes=os.urandom, sleep=lambda _: None,
        transport=transport, timeout_seconds=3.0, attempts=1,
    )  # fmt: skip


def refused(code: str, asked: Peer) -> UnavailableError:
    with pytest.raises(UnavailableError) as caught:
        asked.post("/v1/acks", {})
    asked.close()
    assert caught.value.code == code
    return caught.value


def good(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\n" + b'{"is":true}')


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "0.0.0.0", "2130706433"])
def test_nothing_reaches_this_machine(host: str) -> None:
    with listening(good) as (port, came):
        refused("transport.not-public", peer(f"http://{host}:{port}"))
    assert came == []


def test_the_connection_goes_to_the_address_that_was_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def resolve(host: str, port: int, *_: object, **__: object) -> list[Any]:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    with listening(good) as (port, came):
        found = socket.getaddrinfo
        both = lambda h, *a, **k: (resolve if h.endswith(".example") else found)(h, *a, **k)  # noqa: E731
        monkeypatch.setattr(socket, "getaddrinfo", both)
        asker = peer(f"http://acks.example:{port}", allowed=lambda one: one == "127.0.0.1")
        assert asker.post("/", {}) == {"is": True}
    assert asked == ["acks.example"], "looked up once"
    assert b"host: acks.example:" in came[0].lower()


def test_one_private_address_among_public_ones_is_enough_to_refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, 443)) for one in ("8.8.8.8", "10.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: rows)
    refused("transport.not-public", peer("https://acks.example"))


def test_a_name_that_does_not_exist_and_a_port_that_is_closed() -> None:
    refused("transport.down", peer("http://nobody.invalid"))
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    refused("transport.down", peer(f"http://127.0.0.1:{port}", allowed=lambda _: True))


@pytest.mark.parametrize("head", [b"", b"HTTP/1.1 200 OK\r\ncontent-length: 999\r\n\r\n"])
def test_an_answer_that_drips_ends(head: bytes) -> None:
    def drip(connection: socket.socket) -> None:
        connection.sendall(head)
        for byte in (b"" if head else b"HTTP/1.1 200 OK\r\nx-slow: ") + b"1" * 60:
            connection.sendall(bytes((byte,)))
            time.sleep(0.05)

    with listening(drip) as (port, _):
        started = time.monotonic()
        refused("transport.down", peer(f"http://127.0.0.1:{port}", allowed=lambda _: True, whole_seconds=0.4))
        assert time.monotonic() - started < 2


def test_a_redirect_is_not_followed() -> None:
    with listening(good) as (inner, reached):

        def redirect(connection: socket.socket) -> None:
            where = f"http://127.0.0.1:{inner}/".encode()
            connection.sendall(b"HTTP/1.1 307 Over there\r\ncontent-length: 0\r\nlocation: " + where + b"\r\n\r\n")

        with listening(redirect) as (port, _):
            refused("transport.reply", peer(f"http://127.0.0.1:{port}", allowed=lambda _: True))
    assert reached == []


@pytest.mark.parametrize(
    "url", ["https://xn--", "https://xn--a-ecp.ru", "https://[v1.x]/", "https://a/\x7f", "ftp://a", "https://"]
)
def test_what_no_client_can_call_is_refused_as_ours(url: str) -> None:
    """A provider's URL comes this far (is_url): another exception would end a release in place of asking light nodes."""
    with pytest.raises(InputError) as caught:
        peer(url)
    assert caught.value.code == "transport.url"


@pytest.mark.parametrize(("named", "code"), [("acks.example", ""), ("other.example", "transport.down")])
def test_tls_verifies_the_name_although_the_address_was_looked_up_before(
    named: str, code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - datetime.timedelta(1)).not_valid_after(now + datetime.timedelta(1))
    certificate = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(named)]), False).sign(key, SHA256())
    pem = certificate.public_bytes(Encoding.PEM)
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "server.pem").write_bytes(pem + secret)
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(tmp_path / "server.pem")

    def answer(connection: socket.socket) -> None:
        with serving.wrap_socket(connection, server_side=True) as secured:
            request_of(secured)
            good(secured)

    found = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda _, *rest, **how: found("127.0.0.1", *rest, **how))
    with listening(answer, read=False) as (port, _):
        trusting = ssl.create_default_context(cadata=pem.decode())
        asker = peer(f"https://acks.example:{port}", allowed=lambda _: True, verify=trusting)
        if code:
            refused(code, asker)
        else:
            assert asker.post("/", {}) == {"is": True}


def started(chain_id: int) -> Started:
    node = object.__new__(Started)
    node.network, node.key = SimpleNamespace(chain_id=chain_id), AccountKey(b"\x01" * 32)  # type: ignore[assignment]
    return node


def test_a_tee_node_asks_a_provider_over_tls_at_public_addresses_only() -> None:
    with listening(good) as (port, came):
        for url in (f"http://127.0.0.1:{port}", "http://acks.example", "HTTP://acks.example"):
            with pytest.raises(UnavailableError) as caught:
                started(1).peer_of_a_provider(url, "endpoint")
            assert caught.value.code == "transport.not-public"
        refused("transport.not-public", started(1).peer_of_a_provider(f"https://127.0.0.1:{port}", "endpoint"))
        assert came == []
        assert started(31337).peer_of_a_provider(f"http://127.0.0.1:{port}", "endpoint").post("/", {}) == {"is": True}
