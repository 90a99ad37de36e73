"""`account ack` and `agent --ack`: the key, the profile, the server with the agent's turns beside it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Event
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from click.testing import CliRunner

from asset_bridge.chain.keys import AccountKey
from asset_bridge.cli import account_cmd, agent_acks, agent_cmd
from asset_bridge.cli import session as session_module
from asset_bridge.cli.app import App
from asset_bridge.client import Provider
from asset_bridge.client import session as client_session
from asset_bridge.client.provider import ACK_ACCOUNT
from asset_bridge.errors import InputError, RefusedError
from asset_bridge.trade.profile import read_profile
from asset_bridge.vault.home import Home
from tests.support.asgi import AsgiTransport
from tests.support.trade import PASSPHRASE
from tests.support.trade_steps import Trade, published

URL = "https://acks.hospital.example"


@pytest.fixture
def trade(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Trade:
    """A listed asset; the provider's home and session on the twin."""
    trade = published(tmp_path)

    @contextmanager
    def opened(*_: object, **__: object) -> Iterator[Provider]:
        nothing: Any = None
        yield Provider(Home.open(trade.folder / "provider"), trade.provider, nothing, ExitStack())

    monkeypatch.setattr(session_module, "Provider", SimpleNamespace(open=opened))
    chain = trade.scene.chain
    monkeypatch.setattr(chain, "close", lambda: None, raising=False)
    monkeypatch.setattr(agent_acks, "RpcChain", lambda *_: chain)
    monkeypatch.setattr(agent_acks, "deployment_of", lambda _: None)
    network = SimpleNamespace(chain_id=chain.chain_id, rpc_urls=[])
    monkeypatch.setattr(Home, "network", property(lambda _: network), raising=False)
    return trade


def _secret(trade: Trade) -> Path:
    secret = trade.folder / "passphrase"
    secret.write_text(PASSPHRASE)
    return secret


def run(trade: Trade, command: Any, *words: object) -> str:
    text = [*map(str, words), "--home", str(trade.folder / "provider"), "--passphrase-file", str(_secret(trade))]
    done = CliRunner().invoke(command, text, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def refused(trade: Trade, command: Any, *words: object) -> str:
    with pytest.raises(InputError) as error:
        run(trade, command, *words)
    assert error.value.code == "cli.ack"
    return error.value.message


def test_the_key_is_made_once_and_named_in_the_profile(trade: Trade) -> None:
    refused(trade, account_cmd.account, "ack")
    refused(trade, account_cmd.account, "ack", URL, "--none")
    shown = run(trade, account_cmd.account, "ack", URL)
    assert "next: asset-bridge agent --ack HOST:PORT" in shown
    trade.scene.chain.mine(3)
    named = read_profile(trade.provider, trade.provider.address)
    key = AccountKey(trade.provider.vault.account(ACK_ACCOUNT).reveal())
    assert (named.ack_url, named.ack_address) == (URL, key.address)
    assert key.address in shown
    run(trade, account_cmd.account, "ack", URL + "/2")
    trade.scene.chain.mine(3)
    assert read_profile(trade.provider, trade.provider.address).ack_address == key.address
    run(trade, account_cmd.account, "ack", "--none")
    trade.scene.chain.mine(3)
    assert read_profile(trade.provider, trade.provider.address).ack_url == ""


def test_the_server_gets_place_key_and_profile(trade: Trade, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "no key for acks" in refused(trade, agent_cmd.agent, "--ack", "127.0.0.1:0")
    run(trade, account_cmd.account, "ack", URL)
    trade.scene.chain.mine(3)
    seen: dict[str, Any] = {}

    def serve(app: Any, guard: Any, **how: Any) -> None:
        seen.update(how)
        with ExitStack() as stack:
            client = stack.enter_context(httpx.Client(base_url="http://127.0.0.1:8460", transport=AsgiTransport(app)))
            seen["info"] = client.get("/v1/info").json()
            seen["status"] = client.post("/v1/acks", json={"order_id": "0x" + "00" * 32}).status_code

    monkeypatch.setattr(agent_acks, "serve", serve)
    run(trade, agent_cmd.agent, "--ack", "127.0.0.1:8460", "--behind-proxy")
    assert (seen["host"], seen["port"], seen["public_urls"], seen["behind_proxy"]) == ("127.0.0.1", 8460, (URL,), True)
    assert seen["info"]["kind"] == "provider acks"
    assert seen["status"] == 400


def test_the_home_is_unlocked_once_for_key_and_profile(trade: Trade, monkeypatch: pytest.MonkeyPatch) -> None:
    run(trade, account_cmd.account, "ack", URL)
    trade.scene.chain.mine(3)
    nothing, desk = (lambda: None), trade.provider
    chain: Any = SimpleNamespace(check=nothing, close=nothing)
    peers: Any = SimpleNamespace(light=desk.light, storage=desk.storage, replicas=desk.replicas, tee=desk.connect_tee)
    account: Any = SimpleNamespace(reader=desk.reader, address=desk.address, close=nothing)
    monkeypatch.setattr(session_module, "Provider", Provider)
    deployment = SimpleNamespace(exchange=desk.reader.exchange)
    faked = {
        "RpcChain": chain,
        "RpcAccount": account,
        "Peers": peers,
        "deployment_of": deployment,
        "require_beside": None,
    }
    for name, made in faked.items():
        monkeypatch.setattr(client_session, name, lambda *_, made=made, **__: made)
    unlocked, check = [], Home.check_passphrase

    def counted(self: Home, passphrase: Any) -> Any:
        unlocked.append(self.root)
        return check(self, passphrase)

    monkeypatch.setattr(Home, "check_passphrase", counted)
    seen: dict[str, Any] = {}
    monkeypatch.setattr(agent_acks, "serve", lambda *_, **how: seen.update(how))
    server = agent_acks.AckServer(App(trade.folder / "provider", False, _secret(trade), None), "127.0.0.1:8460")
    server.serve(lambda _: None, certificate=None, key=None, behind_proxy=False)
    assert seen["public_urls"] == (URL,)
    assert unlocked == [trade.folder / "provider"]


def test_turns_go_on_until_the_end_and_a_failed_one_is_told(trade: Trade, monkeypatch: pytest.MonkeyPatch) -> None:
    run(trade, account_cmd.account, "ack", URL)
    trade.scene.chain.mine(3)
    ended, swept = Event(), 0

    def sweep(_account: object) -> list[object]:
        nonlocal swept
        swept += 1
        if swept == 3:
            ended.set()
        raise RefusedError("chain.reverted", "not now")

    app = App(trade.folder / "provider", False, None, None)
    server: Any = SimpleNamespace(acks=SimpleNamespace(sweep=sweep))
    daemon: Any = SimpleNamespace(turn=lambda *_: [])
    monkeypatch.setattr(App, "passphrase", lambda self, **_: PASSPHRASE)
    started = time.monotonic()
    agent_cmd._turns(app, daemon, None, 0, server=server, ended=ended)
    assert swept == 3
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("place", ["8460", "localhost", ":8460", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:99999"])
def test_what_is_no_place(trade: Trade, place: str) -> None:
    assert "is not HOST:PORT" in refused(trade, agent_cmd.agent, "--ack", place)


def test_its_options_need_it(trade: Trade) -> None:
    refused(trade, agent_cmd.agent, "--behind-proxy")
    refused(trade, agent_cmd.agent, "--ack", "127.0.0.1:0", "--once")
