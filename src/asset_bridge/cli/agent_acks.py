"""The ack endpoint inside `asset-bridge agent --ack HOST:PORT`: the HTTP server on the main thread, the agent's turns beside it.

Source: spec/node-http-tee.md §5. Promises: the home is unlocked once, at start, and the key read then; the receipts
lie in the home's folder of the chain, fsynced.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread

from asset_bridge.chain.adapter import RpcChain
from asset_bridge.chain.keys import AccountKey
from asset_bridge.cli.app import App
from asset_bridge.cli.session import chosen_network, provider
from asset_bridge.client.provider import ACK_ACCOUNT
from asset_bridge.errors import BridgeError, InputError
from asset_bridge.nodes.provider_acks import ProviderAcks, build_ack_app
from asset_bridge.nodes.serve import Tls, serve
from asset_bridge.trade.network import deployment_of
from asset_bridge.trade.profile import read_profile
from asset_bridge.transport.nonces import NonceStore
from asset_bridge.transport.server import Guard
from asset_bridge.vault.home import Home, Vault

WAIT_SECONDS = 5.0


class AckServer:
    """Opened with the home's passphrase; `serve` blocks until a signal."""

    def __init__(self, app: App, place: str) -> None:
        """InputError(cli.ack): no HOST:PORT, or this home has no key for it."""
        host, colon, port = place.rpartition(":")
        if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65_535:
            raise InputError("cli.ack", f"{place!r} is not HOST:PORT", hint="write it as 127.0.0.1:8460")
        self._host, self._port = host.strip("[]"), int(port)
        home = Home.open(app.home)
        vault, network = home.unlock(app.passphrase, os.urandom), chosen_network(app) or home.network
        if ACK_ACCOUNT not in vault.account_names:
            raise InputError("cli.ack", "this home has no key for acks", hint="asset-bridge account ack https://…")
        key, own = AccountKey(vault.account(ACK_ACCOUNT).reveal()), AccountKey(vault.account().reveal())
        self._chain = RpcChain(deployment_of(network), network.rpc_urls)
        self.acks = ProviderAcks(self._chain, home.chain_folder / "acks.sqlite", key, own.address, time.time)
        self._guard = Guard(network.chain_id, NonceStore(None), time.time)
        self._urls = self._named(app, vault, key.address)

    @staticmethod
    def _named(app: App, vault: Vault, address: str) -> tuple[str, ...]:
        """The URL of the profile, if it names this key; a word to the owner if it does not."""
        try:
            with provider(app, acting=False, vault=vault) as session:
                profile = read_profile(session.desk, session.address)
        except BridgeError as error:
            app.note(f"agent: the profile could not be read ({error.message}); serving all the same")
            return ()
        if profile.ack_address != address or not profile.ack_url:
            app.note(
                "agent: your profile does not name this endpoint, so nobody will ask it: asset-bridge account ack URL"
            )
            return ()
        return (profile.ack_url,)

    def serve(
        self,
        turns: Callable[[Event], None],
        *,
        certificate: Path | None,
        key: Path | None,
        behind_proxy: bool,
    ) -> None:
        """Answer requests, with `turns` on a thread of its own, until SIGTERM or SIGINT."""
        if (certificate is None) != (key is None):
            raise InputError("cli.ack", "--tls-certificate and --tls-key belong together", hint="give both")
        ended = Event()
        worker = Thread(target=turns, args=(ended,), name="agent")

        def stop() -> None:
            ended.set()
            worker.join(WAIT_SECONDS)

        app = build_ack_app(self.acks, self._guard, on_start=worker.start, on_stop=stop)
        try:
            serve(
                app,
                self._guard,
                host=self._host,
                port=self._port,
                public_urls=self._urls,
                tls=Tls(certificate, key) if certificate is not None and key is not None else None,
                behind_proxy=behind_proxy,
            )
        finally:
            ended.set()
            self._chain.close()
