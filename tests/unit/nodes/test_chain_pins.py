"""A TEE node is held to its chain endpoints by pinned TLS keys and a checkpoint, and binds both (protocol §6)."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from asset_bridge.attestation.configuration import ATTESTED_VIEW
from asset_bridge.chain.endpoint import Endpoint
from asset_bridge.errors import BridgeError, UnavailableError
from asset_bridge.nodes.launch import chain_pins
from asset_bridge.nodes.node_file import NodeFile
from asset_bridge.transport.tls import certificate_pin
from tests.unit.transport.test_serve import self_signed

A, B = "https://rpc.one:8545/key/secret", "https://rpc.two/v1"
PINS = (f"https://rpc.one:8545 {'11' * 32}", f"https://rpc.two 0x{'22' * 32}")
HASH = b"h" * 32


def file(folder: Path, **changes: Any) -> NodeFile:
    made = NodeFile(folder, "tee", folder, bytes(32), rpc_pins=PINS, checkpoint=f"700:0x{HASH.hex()}")
    return replace(made, **changes)


def code_of(act: Callable[[], object]) -> str:
    with pytest.raises(BridgeError) as caught:
        act()
    return caught.value.code


@dataclass
class Chain:
    """What `configuration` asks of a chain: its endpoints, and a header from each."""

    headers: dict[str, object] = field(default_factory=lambda: {A: HASH, B: HASH})
    chain_id: int = 1
    registry: str = "0x" + "aa" * 20
    ledger: str = "0x" + "bb" * 20
    exchange: str = "0x" + "cc" * 20

    @property
    def endpoints(self) -> Any:
        def header(endpoint: Any, number: int) -> Any:
            assert number == 700
            found = self.headers[endpoint.url]
            return None if found is None else SimpleNamespace(ref=SimpleNamespace(hash=found))

        return SimpleNamespace(all=[SimpleNamespace(url=url, name=url) for url in self.headers], header=header)


def test_the_configuration_that_evidence_binds(tmp_path: Path) -> None:
    found = chain_pins.configuration(file(tmp_path), Chain())  # type: ignore[arg-type]
    assert found is not None
    assert found.chain_view() == ATTESTED_VIEW
    assert [(one.origin, one.tls_key) for one in found.endpoints] == [
        ("https://rpc.one:8545", b"\x11" * 32), ("https://rpc.two", b"\x22" * 32)
    ]  # fmt: skip
    assert "secret" not in str(found)
    assert (found.checkpoint_number, found.checkpoint_hash, found.exchanges) == (700, HASH, (b"\xcc" * 20,))
    assert chain_pins.configuration(file(tmp_path, rpc_pins=()), Chain()) is None  # type: ignore[arg-type]


@pytest.mark.parametrize("shown", [None, b"x" * 32])
def test_an_endpoint_without_the_checkpoints_block(tmp_path: Path, shown: object) -> None:
    chain: Any = Chain({A: HASH, B: shown})
    assert code_of(lambda: chain_pins.configuration(file(tmp_path), chain)) == "nodes.checkpoint"


@pytest.mark.parametrize(
    "changes",
    [
        {"rpc_pins": PINS[:1]},
        {"rpc_pins": ("http://rpc.one:8545 " + "11" * 32,)},
        {"rpc_pins": (PINS[0], "https://rpc.two")},
        {"rpc_pins": (PINS[0], "https://rpc.two " + "22" * 31)},
        {"rpc_pins": (PINS[0], "https://rpc.two/v1 " + "22" * 32)},
        {"checkpoint": ""},
        {"checkpoint": "700"},
        {"checkpoint": "0:" + HASH.hex()},
        {"checkpoint": "700:" + HASH.hex()[2:]},
    ],
)
def test_what_an_operator_mistypes(tmp_path: Path, changes: dict[str, Any]) -> None:
    chain: Any = Chain()
    assert code_of(lambda: chain_pins.configuration(file(tmp_path, **changes), chain)) == "nodes.chain-pins"


def test_the_node_file_keeps_them(tmp_path: Path) -> None:
    file(tmp_path).save()
    assert NodeFile.load(tmp_path).rpc_pins == PINS
    assert NodeFile.load(tmp_path).checkpoint == f"700:0x{HASH.hex()}"


# ── real TLS ──
class Rpc(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        body = json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": "0x1"}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        return None


def server(pem: Path, port: int = 0) -> ThreadingHTTPServer:
    made = ThreadingHTTPServer(("127.0.0.1", port), Rpc)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    made.socket = context.wrap_socket(made.socket, server_side=True)
    threading.Thread(target=made.serve_forever, daemon=True).start()
    return made


@pytest.fixture
def pems(tmp_path: Path) -> list[Path]:
    found = [tmp_path / "one", tmp_path / "two"]
    for path in found:
        self_signed(path)
    return found


def test_only_the_server_with_the_pinned_key_is_asked(pems: list[Path]) -> None:
    running = server(pems[0])
    url = f"https://localhost:{running.server_port}/path"
    try:
        tls = chain_pins.contexts({url: certificate_pin(pems[0].read_bytes())})
        endpoint = Endpoint(url, 5.0, tls[url])
        assert endpoint.call("eth_chainId") == "0x1"
        assert code_of(lambda: chain_pins.contexts({url: certificate_pin(pems[1].read_bytes())})) == "transport.pin"
    finally:
        running.shutdown()
        running.server_close()
    other = server(pems[1], running.server_port)  # somebody else answers at the same address later
    try:
        with pytest.raises(UnavailableError):
            Endpoint(url, 5.0, tls[url]).call("eth_chainId")
    finally:
        other.shutdown()
        other.server_close()
