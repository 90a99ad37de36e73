"""One home and two Exchanges: it goes over to the new one with `network use`, and reads and ends its older orders with `--network`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import httpx
import pytest
from click.testing import CliRunner

from asset_bridge.chain.config import DeployConfig
from asset_bridge.chain.deploy import deploy
from asset_bridge.cli import doctor_cmd
from asset_bridge.cli.account_cmd import balance
from asset_bridge.cli.cancel_cmd import cancel
from asset_bridge.cli.exchanges_cmd import exchanges
from asset_bridge.cli.inbox_cmd import inbox
from asset_bridge.cli.network_cmd import network
from asset_bridge.cli.status_cmd import status
from asset_bridge.client import Consumer
from asset_bridge.client import session as client_session
from asset_bridge.errors import InputError, RefusedError, UnavailableError
from asset_bridge.nodes.launch.base import begin
from asset_bridge.nodes.node_file import NodeFile
from asset_bridge.trade.network import network_of
from asset_bridge.vault import envelope
from asset_bridge.vault.home import Home
from asset_bridge.vault.network import Network
from tests.support.trade import QUICK
from tests.support.upgrade import Upgrade, command, upgrade_world

pytestmark = pytest.mark.needs_anvil
PASSPHRASE = "a passphrase for tests"


@pytest.fixture(scope="module")
def net(anvil_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upgrade]:
    with upgrade_world(anvil_path, tmp_path_factory.mktemp("two")) as made:
        yield made


def told_of(words: click.Command, *given: object) -> str:
    """What a command says of other Exchanges, in one line."""
    done = CliRunner().invoke(words, [str(one) for one in given], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("what you have at Exchange 0x")]
    return line


def made_home(net: Upgrade, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A home on the network, that opens at once. No node runs, and nothing here needs one."""
    monkeypatch.setattr(envelope, "MIN_COST", QUICK)
    monkeypatch.setattr(client_session, "storage_sources", lambda *_: [])
    (net.folder / "passphrase").write_text(PASSPHRASE)
    (net.folder / "passphrase").chmod(0o600)
    return Home.init(
        folder / "home",
        network=Network.load(net.file),
        second_place=folder / "second",
        passphrase=lambda: PASSPHRASE,
        randbytes=os.urandom,
        now_at=1,
        cost=QUICK,
    )


def test_a_home_goes_over_and_keeps_its_older_orders_at_hand(
    net: Upgrade, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net.world.mine(3)
    made = made_home(net, tmp_path, monkeypatch)
    home, secret = made.root, net.folder / "passphrase"

    def run(words: click.Command, *given: object) -> Any:
        return command(words, *given, "--home", home, "--passphrase-file", secret)

    net.world.rpc("anvil_setBalance", made.info.address, hex(10**19))
    scene = net.world.scene("two exchanges")
    asset_id = scene.listed()
    with Consumer.open(home, lambda: PASSPHRASE) as session:
        old_order, _ = session.desk.account.request(scene.terms(asset_id))

    before = Network.load(net.file)
    file, new, _ = net.beside("new")
    old, there = before.contracts["Exchange"].address, ["--network", file]
    assert run(exchanges)["exchange"] == old
    looked = run(exchanges, *there)
    assert looked["exchange"] == new.exchange
    assert [one["address"] for one in looked["exchanges"]] == [old, new.exchange]
    assert looked["next"].endswith(f"--network {file}")

    used = run(network, "use", file)
    kept = home / "networks" / f"{old}.toml"
    assert (used["before"], Network.load(kept)) == (str(kept), before)
    assert Home.open(home).network == Network.load(file)
    assert run(network, "use", file)["before"] is None  # so already
    assert run(network)["exchange"]["address"] == new.exchange
    assert run(status) == []
    with Consumer.open(home, lambda: PASSPHRASE) as session:
        new_order, _ = session.desk.account.request(scene.terms(asset_id))
    assert [one["order_id"] for one in run(status)] == ["0x" + new_order.hex()]

    for words in (status, inbox, balance):  # each looks at one Exchange and names the way to the other
        for given, other in (((), kept), (("--network", kept), home / "network.toml")):
            told = told_of(words, *given, "--home", home, "--passphrase-file", secret)
            assert told.endswith(f"asset-bridge {words.name} --home {home} --network {other}")

    # The older order: seen with the flag or the variable, ended by the same account; both Exchanges have an index.
    assert [one["order_id"] for one in run(status, "--network", kept)] == ["0x" + old_order.hex()]
    monkeypatch.setenv("ASSET_BRIDGE_NETWORK", str(kept))
    shown = run(status, "0x" + old_order.hex())
    assert shown["state"] == "requested"
    run(cancel, "0x" + old_order.hex())
    assert run(status, "0x" + old_order.hex())["state"] == "cancelled"
    monkeypatch.delenv("ASSET_BRIDGE_NETWORK")
    assert {path.name for path in (home / "chain").glob("index*.sqlite")} == {
        "index.sqlite",
        f"index-{old.lower()}.sqlite",
    }
    with pytest.raises(InputError) as error:
        run(status, "0x" + old_order.hex())
    assert error.value.code == "chain.not-found"


def test_an_exchange_that_the_ledger_does_not_list_is_refused(
    net: Upgrade, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attack: a network.toml with the true AssetLedger and an Exchange of the attacker's, where the home's owner looks for a new one."""
    attacker = net.world._dev.accounts[2]
    file, _, _ = net.beside("attacker", key_file=net.key_of("attacker", attacker))
    home = made_home(net, tmp_path, monkeypatch).root
    common = ["--home", home, "--passphrase-file", net.folder / "passphrase"]
    for words in ([network, "use", file], [status, "--network", file]):
        with pytest.raises(RefusedError) as error:
            command(*words, *common)  # type: ignore[arg-type]
        assert error.value.code == "chain.exchange-unlisted"
    assert Home.open(home).network == Network.load(net.file)
    with pytest.raises(RefusedError) as error:
        begin(NodeFile(tmp_path / "node", "tee", home, b"\x01" * 32), lambda: PASSPHRASE, Network.load(file))
    assert error.value.code == "chain.exchange-unlisted"


def test_a_node_starts_for_the_exchange_that_it_is_given(
    net: Upgrade, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, new, _ = net.beside("for a node")
    home = made_home(net, tmp_path, monkeypatch).root
    for number, given in enumerate((None, Network.load(file))):
        node = begin(NodeFile(tmp_path / f"node {number}", "tee", home, bytes(32)), lambda: PASSPHRASE, given)
        node.listener.close()
        os.close(node.lock)
        assert node.chain.exchange == (net.world.deployment.exchange if given is None else new.exchange)
        node.account.close()
        node.chain.close()


def test_doctor_names_a_light_node_that_works_for_another_exchange(
    net: Upgrade, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After an upgrade the old light node still answers and is healthy, and records nothing of the new Exchange."""
    chain, own = net.chain(net.world.deployment), net.world.deployment.exchange
    says = {"exchange": own}

    def get(url: str, **_: object) -> httpx.Response:
        return httpx.Response(200, json=says if url.endswith("/v1/info") else {"ok": True})

    def light() -> doctor_cmd.Finding:
        return next(one for one in doctor_cmd._nodes(Network.load(net.file), chain) if one.what.startswith("light"))

    monkeypatch.setattr(httpx, "get", get)
    assert light().well
    says["exchange"] = net.world.deployment.grants
    assert (light().well, own in light().seen) == (False, True)
    del says["exchange"]
    assert not light().well


def test_a_network_of_other_contracts_is_refused(net: Upgrade, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Attack or mistake: a network.toml of another ledger would show this home's account other assets and take its signatures there."""
    net.world.mine(3)
    home = made_home(net, tmp_path, monkeypatch).root
    other = deploy([net.world.url], net.world._dev.accounts[1], DeployConfig(net.world._dev.accounts[1].address))
    net.world.mine(3)
    file = net.folder / "other.toml"
    network_of(other, "other", [net.world.url], [], []).save(file)
    common = ["--home", home, "--passphrase-file", net.folder / "passphrase"]
    for words in ([network, "use", file], [status, "--network", file], [exchanges, "--network", file]):
        with pytest.raises(InputError) as error:
            command(*words, *common)  # type: ignore[arg-type]
        assert error.value.code == "trade.other-network"
    assert Home.open(home).network == Network.load(net.file)
    with Home.open(home).exclusive(), pytest.raises(UnavailableError) as busy:
        command(network, "use", net.file, *common)
    assert busy.value.code == "vault.home-busy"
