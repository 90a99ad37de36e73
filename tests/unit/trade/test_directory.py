"""A node is talked to only where its operator's document says, and only behind the TLS key that the document pins."""

from __future__ import annotations

import os
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from asset_bridge.chain.keys import AccountKey
from asset_bridge.chain.records import NodeKind
from asset_bridge.client.peers import reachable
from asset_bridge.errors import BridgeError, InputError, TamperedError, UnavailableError
from asset_bridge.ipfs.gateway import StoreSource
from asset_bridge.ipfs.memory import InMemoryStore
from asset_bridge.ipfs.store import put_document
from asset_bridge.nodes.launch.base import Started
from asset_bridge.nodes.tee.ack_client import HttpAckSource
from asset_bridge.trade.directory import Directory
from asset_bridge.trade.documents.endpoint import Endpoint
from asset_bridge.transport.client import Peer
from asset_bridge.transport.tls import certificate_pin
from asset_bridge.vault import network as vault_network
from tests.support.light import CHAIN_ID, node

OPERATOR = AccountKey(b"\x07" * 32)
REGISTRY = AccountKey(b"\x08" * 32).address
NODE_ID = b"\x21" * 32


def certificate(folder: Path, name: str) -> Path:
    """A self-signed certificate and its key in one PEM file."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "node")])
    start = datetime.now(UTC) - timedelta(days=1)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=30))
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = folder / f"{name}.pem"
    path.write_bytes(secret + made.public_bytes(serialization.Encoding.PEM))
    return path


class Answer(BaseHTTPRequestHandler):
    """Answers every GET with an empty JSON object."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


@contextmanager
def serving(pem: Path, port: int = 0) -> Iterator[int]:
    """An HTTPS server with this certificate; its port."""
    server = ThreadingHTTPServer(("127.0.0.1", port), Answer)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def connect(url: str, name: str, verify: ssl.SSLContext | bool = True) -> Peer:
    return Peer(
        url, name=name, chain_id=CHAIN_ID, signer=None, clock=lambda: 0.0, randbytes=os.urandom,
        sleep=lambda _: None, verify=verify, attempts=1, timeout_seconds=5.0,
    )  # fmt: skip


def listed(port: int, pin: bytes | None, kind: NodeKind = NodeKind.TEE) -> tuple[Directory, Any, bytes]:
    """A directory, and a registered node whose document names the port and the pin."""
    store = InMemoryStore()
    endpoint = Endpoint(kind, NODE_ID, OPERATOR.address, CHAIN_ID, REGISTRY, (f"https://127.0.0.1:{port}",), pin)
    document = endpoint.sign(OPERATOR)
    root = put_document(store, document)
    registered = node(NODE_ID, kind, OPERATOR, operator=OPERATOR.address)
    registered = replace(registered, endpoint_digest=root.digest, endpoint_length=len(document))
    return Directory(CHAIN_ID, REGISTRY, lambda: [StoreSource(store, "here")], connect), registered, document


def test_the_pinned_key_is_talked_to_and_no_other(tmp_path: Path) -> None:
    good, other = certificate(tmp_path, "good"), certificate(tmp_path, "other")
    pin = certificate_pin(good.read_bytes())
    with serving(good) as port:
        directory, registered, _ = listed(port, pin)
        assert directory.peer(registered).get("/v1/info") == {}
        unpinned, same, _ = listed(port, None)
        with pytest.raises(UnavailableError) as down:  # no authority vouches for it
            unpinned.peer(same).get("/v1/info")
        assert down.value.code == "transport.down"
        wrong, same, _ = listed(port, certificate_pin(other.read_bytes()))
        with pytest.raises(TamperedError) as refused:
            wrong.peer(same)
        assert refused.value.code == "transport.pin"
        wrong.endpoint(same)  # the document itself is well
    with serving(other, port), pytest.raises(BridgeError) as refused_later:  # somebody else took the port
        directory.peer(registered).get("/v1/info")
    assert refused_later.value.code == "transport.down"


def test_the_nodes_of_network_toml_are_pinned_alike(tmp_path: Path) -> None:
    good, other = certificate(tmp_path, "good"), certificate(tmp_path, "other")
    with serving(good) as port:
        peers = [
            vault_network.Peer(f"https://127.0.0.1:{port}", certificate_pin(pem.read_bytes())) for pem in (other, good)
        ]
        (found,) = reachable(peers, "light node", connect)
        assert found.get("/v1/info") == {}


def test_an_ack_is_asked_of_the_pinned_key_only(tmp_path: Path) -> None:
    good, other = certificate(tmp_path, "good"), certificate(tmp_path, "other")
    with serving(good) as port:
        _, registered, document = listed(port, certificate_pin(other.read_bytes()), NodeKind.LIGHT)
        documents: Any = SimpleNamespace(name="here", get_block=lambda cid: document)
        made: list[str] = []

        def note(url: str, name: str, verify: ssl.SSLContext | bool = True) -> Peer:
            made.append(url)
            return connect(url, name, verify)

        source = HttpAckSource(documents, note, CHAIN_ID, REGISTRY)
        with pytest.raises(UnavailableError) as caught:
            source.acknowledge(registered, bytes(32), None, None)  # type: ignore[arg-type]
        assert (caught.value.code, made) == ("tee.light-node", [])


def test_a_node_that_ends_tls_itself_pins_its_key(tmp_path: Path) -> None:
    pem = certificate(tmp_path, "own")
    file: Any = SimpleNamespace(folder=tmp_path, tls_certificate=pem.name, kind="storage", salt=bytes(32))
    started: Any = SimpleNamespace(
        file=file, key=OPERATOR, kind=NodeKind.STORAGE, node_id=NODE_ID, url="https://127.0.0.1:1",
        network=SimpleNamespace(chain_id=CHAIN_ID), chain=SimpleNamespace(registry=REGISTRY),
    )  # fmt: skip
    assert Endpoint.decode(Started.endpoint(started)).tls_pin == certificate_pin(pem.read_bytes())
    file.tls_certificate = ""
    assert Endpoint.decode(Started.endpoint(started)).tls_pin is None


def test_a_file_without_a_certificate_is_refused() -> None:
    with pytest.raises(InputError) as caught:
        certificate_pin(b"-----BEGIN NOTHING-----")
    assert caught.value.code == "transport.certificate"
