"""Gateways on real sockets that lie in every way a gateway can, beside one honest one: a lie costs time only.

The slow ones send their last bytes too slowly; nobody else may wait for them.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from asset_bridge.errors import BridgeError
from asset_bridge.ipfs.gateway import Gateway
from asset_bridge.ipfs.multi import MultiSource
from asset_bridge.ipld.unixfs import LEAF_BYTES
from tests.ports.test_blocks import blocks_of, content

DATA = content(12 * LEAF_BYTES - 5, 12)
DAG, BLOCKS = blocks_of(DATA)
BY_NAME = {str(cid): block for cid, block in BLOCKS.items()}
PATIENCE_SECONDS = 1.0


class Server:
    """A gateway that answers each request as `answer(connection, cid text)` does."""

    def __init__(self, answer: Callable[[socket.socket, str], None]) -> None:
        self._answer = answer
        self.requests = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.ended = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _address = self._listener.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            while not self.ended.is_set():
                head = b""
                while b"\r\n\r\n" not in head:
                    part = connection.recv(65_536)
                    if not part:
                        return
                    head += part
                self.requests += 1
                self._answer(connection, head.split(b" ")[1].decode().split("/")[2].split("?")[0])

    def close(self) -> None:
        self.ended.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


def head(length: int | None, status: str = "200 OK", *more: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", *more, *([f"content-length: {length}"] if length is not None else [])]
    return "\r\n".join([*lines, "", ""]).encode()


def honest(connection: socket.socket, cid: str) -> None:
    connection.sendall(head(len(BY_NAME[cid])) + BY_NAME[cid])


def wrong_bytes(connection: socket.socket, cid: str) -> None:
    connection.sendall(head(len(BY_NAME[cid])) + b"\0" + BY_NAME[cid][1:])


def wrong_cid(connection: socket.socket, cid: str) -> None:
    other = next(block for name, block in BY_NAME.items() if name != cid and len(block) == LEAF_BYTES)
    connection.sendall(head(len(other)) + other)


def truncated(connection: socket.socket, cid: str) -> None:
    connection.sendall(head(len(BY_NAME[cid])) + BY_NAME[cid][:-1])
    connection.shutdown(socket.SHUT_RDWR)


def endless(connection: socket.socket, _cid: str) -> None:
    connection.sendall(head(None))
    for _ in range(10_000):  # bounded all the same: 640 MB
        connection.sendall(b"x" * 65_536)


def endless_head(connection: socket.socket, _cid: str) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    for number in range(100_000):
        connection.sendall(f"x-{number}: y\r\n".encode())


def silent(_connection: socket.socket, _cid: str) -> None:
    time.sleep(3)


def slow(connection: socket.socket, cid: str) -> None:
    connection.sendall(head(len(BY_NAME[cid])) + BY_NAME[cid][:-20])
    for at in range(20):
        time.sleep(0.2)
        connection.sendall(BY_NAME[cid][-20 + at :][:1])


def short_length(connection: socket.socket, cid: str) -> None:
    connection.sendall(head(len(BY_NAME[cid]) - 1) + BY_NAME[cid])


def long_length(connection: socket.socket, cid: str) -> None:
    connection.sendall(head(len(BY_NAME[cid]) + 1) + BY_NAME[cid])


def huge_length(connection: socket.socket, _cid: str) -> None:
    connection.sendall(head(2**40))
    time.sleep(0.1)


def no_length(connection: socket.socket, _cid: str) -> None:
    connection.sendall(head(None, "200 OK", "content-length: many") + b"x")


def zipped(connection: socket.socket, cid: str) -> None:
    connection.sendall(head(len(BY_NAME[cid]), "200 OK", "content-encoding: gzip") + BY_NAME[cid])


def garbage(connection: socket.socket, _cid: str) -> None:
    connection.sendall(b"SSH-2.0-OpenSSH\r\n\r\n")


def failing(connection: socket.socket, _cid: str) -> None:
    connection.sendall(head(2, "500 Internal Server Error") + b"no")


LIES = [
    wrong_bytes, wrong_cid, truncated, endless, endless_head, silent, slow, short_length, long_length, huge_length,
    no_length, zipped, garbage, failing,
]  # fmt: skip


@pytest.fixture
def serve() -> Iterator[Callable[[Callable[[socket.socket, str], None]], Server]]:
    servers: list[Server] = []

    def start(answer: Callable[[socket.socket, str], None]) -> Server:
        servers.append(Server(answer))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def source(server: Server, name: str) -> Gateway:
    return Gateway(server.url, name, timeout_seconds=PATIENCE_SECONDS)


@pytest.mark.parametrize("lie", LIES, ids=lambda lie: lie.__name__)
def test_a_lie_costs_time_only(serve: Callable[..., Server], tmp_path: Path, lie: Callable[..., None]) -> None:
    sources = [source(serve(lie), "liar"), source(serve(honest), "honest")]
    report = MultiSource(sources).fetch_file(DAG.root, len(DATA), tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == DATA
    assert {failure.source for failure in report.bad} == {"liar"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]
    for one in sources:
        one.close()


@pytest.mark.parametrize("lie", [wrong_bytes, truncated, endless, slow, garbage], ids=lambda lie: lie.__name__)
def test_with_liars_alone_it_ends_and_writes_nothing(
    serve: Callable[..., Server], tmp_path: Path, lie: Callable[..., None]
) -> None:
    liar = source(serve(lie), "liar")
    with pytest.raises(BridgeError, match="liar"):
        MultiSource([liar]).fetch_file(DAG.root, len(DATA), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    liar.close()


def test_nobody_follows_a_redirect(serve: Callable[..., Server], tmp_path: Path) -> None:
    elsewhere = serve(honest)

    def redirect(connection: socket.socket, cid: str) -> None:
        connection.sendall(head(0, "302 Found", f"location: {elsewhere.url}/ipfs/{cid}?format=raw"))

    sources = [source(serve(redirect), "liar"), source(serve(honest), "honest")]
    report = MultiSource(sources).fetch_file(DAG.root, len(DATA), tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == DATA
    assert {(failure.source, failure.code) for failure in report.bad} == {("liar", "ipfs.gateway-reply")}
    assert elsewhere.requests == 0
    for one in sources:
        one.close()


def test_a_connection_that_the_other_side_closed_is_opened_again(serve: Callable[..., Server]) -> None:
    def once(connection: socket.socket, cid: str) -> None:
        honest(connection, cid)
        raise OSError("closed, whatever was asked meanwhile")

    server = serve(once)
    gateway = Gateway(server.url, "gateway")
    for cid, block in BLOCKS.items():
        assert gateway.get_block(cid.to_bytes()) == block
    assert server.requests == len(BLOCKS)
    gateway.close()
