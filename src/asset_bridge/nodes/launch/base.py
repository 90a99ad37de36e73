"""What every kind of node needs to start: its folder's lock, the operator's account, the chain, its URL and its registration.

Source: protocol §2, spec/home.md ("node.toml"). Promises: a second process on the same folder refuses; a registration is sent only when
the registry does not already say what this start would say.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import ssl
import time
from dataclasses import dataclass
from pathlib import Path

from asset_bridge.chain.account import RpcAccount
from asset_bridge.chain.adapter import RpcChain
from asset_bridge.chain.ids import node_id as node_id_of
from asset_bridge.chain.keys import AccountKey
from asset_bridge.chain.network import is_development
from asset_bridge.chain.records import Node, NodeKind
from asset_bridge.errors import BridgeError, InputError, UnavailableError
from asset_bridge.ipfs.gateway import Gateway
from asset_bridge.ipfs.multi import MultiSource
from asset_bridge.ipld.unixfs import file_dag
from asset_bridge.nodes.launch.chain_pins import contexts, pins_of
from asset_bridge.nodes.node_file import NodeFile
from asset_bridge.nodes.serve import Tls, bind, serve
from asset_bridge.trade.directory import connect_pinned
from asset_bridge.trade.documents.endpoint import Endpoint
from asset_bridge.trade.network import deployment_of, require_beside
from asset_bridge.trade.ports import BlockSource
from asset_bridge.trade.register import NodePlan, announce
from asset_bridge.trade.remote import RemoteLight
from asset_bridge.transport.client import Peer
from asset_bridge.transport.nonces import NonceStore
from asset_bridge.transport.outward import OutwardTransport, is_public, not_public
from asset_bridge.transport.server import Guard
from asset_bridge.transport.tls import certificate_pin, check_bind
from asset_bridge.vault.home import Home
from asset_bridge.vault.network import Network
from asset_bridge.vault.passphrase import Passphrase

KINDS = {"light": NodeKind.LIGHT, "storage": NodeKind.STORAGE, "tee": NodeKind.TEE}
SHORT_SECONDS = 3.0
WHOLE_SECONDS = 6.0
LONG_REGISTRATION_SECONDS = 365 * 86_400  # nodes without evidence: nothing of theirs ages
RENEW_BEFORE_SECONDS = 30 * 86_400


@dataclass(slots=True)
class Started:
    """An operator's node between opening and serving. Holds the folder's lock as long as it lives."""

    file: NodeFile
    network: Network
    key: AccountKey
    chain: RpcChain
    account: RpcAccount
    listener: socket.socket
    url: str
    lock: int

    @property
    def kind(self) -> NodeKind:
        """The node's kind."""
        return KINDS[self.file.kind]

    @property
    def node_id(self) -> bytes:
        """The node's id, which never changes."""
        return node_id_of(self.key.address, self.file.salt)

    def guard(self) -> Guard:
        """The app's guard: chain id, clock, and nonces that survive a restart."""
        return Guard(self.network.chain_id, NonceStore(self.file.data_folder / "nonces.sqlite"), time.time)

    def endpoint(self) -> bytes:
        """The signed endpoint document of this start; it pins the TLS key where the node itself ends TLS."""
        pin = None
        if self.file.tls_certificate:
            pin = certificate_pin((self.file.folder / self.file.tls_certificate).read_bytes())
        return Endpoint(
            self.kind, self.node_id, self.key.address, self.network.chain_id, self.chain.registry, (self.url,), pin
        ).sign(self.key)

    def start_nodes(self, *, light: bool = False) -> list[BlockSource]:
        """The storage nodes of network.toml, and with `light` its light nodes; one that does not show its pinned key is left out."""
        found: list[BlockSource] = []
        for one in self.network.storage_nodes:
            with contextlib.suppress(BridgeError):
                found.append(connect_pinned(gateway, one.url, f"storage node {one.url}", one.tls_pin))
        return [*found, *self.light_nodes()] if light else found

    def light_nodes(self) -> list[RemoteLight]:
        """The light nodes of network.toml that show their pinned key, where one is pinned."""
        found = []
        for one in self.network.light_nodes:
            with contextlib.suppress(BridgeError):
                found.append(RemoteLight(connect_pinned(self.peer, one.url, f"light node {one.url}", one.tls_pin)))
        return found

    def peer_of_a_provider(self, url: str, name: str, verify: ssl.SSLContext | bool = True) -> Peer:
        """A connection for one short try to a URL that a provider chose; outside a development chain over TLS to public addresses only.

        Raises:
            UnavailableError(transport.not-public): the URL is not https. An address that is not public is refused when it is called.
        """
        anywhere = is_development(self.network.chain_id)
        if not anywhere and not url.lower().startswith("https://"):
            raise not_public(url, "it is not https")
        allowed = (lambda _: True) if anywhere else is_public
        transport = OutwardTransport(whole_seconds=WHOLE_SECONDS, verify=verify, allowed=allowed)
        return self.peer(url, name, timeout_seconds=SHORT_SECONDS, attempts=1, transport=transport)

    def peer(
        self,
        url: str,
        name: str,
        verify: ssl.SSLContext | bool = True,
        *,
        timeout_seconds: float = 20.0,
        attempts: int = 4,
        transport: OutwardTransport | None = None,
    ) -> Peer:
        """A connection that signs as this operator."""
        return Peer(
            url,
            name=name,
            chain_id=self.network.chain_id,
            signer=self.key,
            clock=time.time,
            randbytes=os.urandom,
            sleep=time.sleep,
            verify=verify,
            timeout_seconds=timeout_seconds,
            attempts=attempts,
            transport=transport,
        )

    def registered(self) -> Node | None:
        """The node in the registry, or None."""
        try:
            return self.chain.node(self.node_id)
        except InputError as error:
            if error.code != "chain.not-found":
                raise
            return None

    def register_plain(self, document: bytes) -> int:
        """Register a node without evidence (light, storage); its signing key is the operator's account. Returns the epoch."""
        dag = file_dag(document)
        now, found = int(time.time()), self.registered()
        if (
            found is not None
            and found.live
            and found.endpoint_digest == dag.root.digest
            and found.current.signing_address == self.key.address
            and found.current.expires_at > now + RENEW_BEFORE_SECONDS
        ):
            return found.current.epoch
        plan = NodePlan(
            kind=self.kind,
            salt=self.file.salt,
            endpoint_digest=dag.root.digest,
            endpoint_length=len(document),
            signing_address=self.key.address,
            expires_at=now + LONG_REGISTRATION_SECONDS,
            stake_wei=self.file.stake_wei,
        )
        return announce(self.account, plan).epoch

    def serve(self, app: object, guard: Guard) -> None:
        """Serve until a signal; the URL file names the node once it listens."""
        url_file = self.file.port_file
        part = url_file.with_suffix(".part")
        part.write_text(self.url)
        part.replace(url_file)
        tls = None
        if self.file.tls_certificate:
            tls = Tls(self.file.folder / self.file.tls_certificate, self.file.folder / self.file.tls_key)
        try:
            serve(
                app,  # type: ignore[arg-type]
                guard,
                host=self.file.host,
                public_urls=(self.url,),
                tls=tls,
                behind_proxy=self.file.behind_proxy,
                listener=self.listener,
            )
        finally:
            url_file.unlink(missing_ok=True)
            os.close(self.lock)


def gateway(url: str, name: str, verify: ssl.SSLContext | bool = True) -> Gateway:
    """A storage node's gateway."""
    return Gateway(url, name, verify=verify)


class StartNodes:
    """The nodes of network.toml as one source of documents, looked up anew each time: they may start after this node."""

    name = "nodes of network.toml"

    def __init__(self, node: Started) -> None:
        self._node = node

    def get_block(self, cid: bytes) -> bytes:
        """See BlockSource."""
        return MultiSource(self._node.start_nodes(light=True)).get_block(cid)


def begin(file: NodeFile, passphrase: Passphrase, network: Network | None = None) -> Started:
    """Lock the folder, open the operator's home, check the chain, bind the port. `network`: another Exchange's than the home's own.

    Raises:
        UnavailableError(nodes.busy): another process runs this node.
        InputError(trade.other-network): `network` is not one of the home's.
        InputError(vault.passphrase …), TamperedError(chain.code-hash), RefusedError(transport.no-tls): as their rooms say.
    """
    check_bind(file.host, has_tls=bool(file.tls_certificate), behind_proxy=file.behind_proxy)
    lock = _lock(file.folder / "lock")
    file.data_folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    file.port_file.unlink(missing_ok=True)
    home = Home.open(file.home)
    key = AccountKey(home.unlock(passphrase, os.urandom).account(file.account).reveal())
    own, network = home.network, network or home.network
    require_beside(own, network)
    pins = pins_of(file, network.rpc_urls)
    chain = RpcChain(
        deployment_of(network), network.rpc_urls, index_path=file.data_folder / "index.sqlite", tls=contexts(pins)
    )
    chain.check()
    if network is not own:
        chain.require_listed_exchange()
    account = RpcAccount(chain, key, home.chain_folder / f"{key.address.lower()}.sqlite")
    account.resume()
    listener = bind(file.host, file.port)
    port = listener.getsockname()[1]
    scheme = "https" if file.tls_certificate else "http"
    host = f"[{file.host}]" if ":" in file.host else file.host
    return Started(file, network, key, chain, account, listener, file.public_url or f"{scheme}://{host}:{port}", lock)


def _lock(path: Path) -> int:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise UnavailableError(
            "nodes.busy", f"another process runs the node in {path.parent}", hint="stop it first", actor="operator"
        ) from None
    return descriptor
