"""`deploy --beside`: what is looked at before anything is sent, what is made, who lists it and from when on it counts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from asset_bridge.chain.beside import deploy_beside, look
from asset_bridge.chain.config import DAY, DeployConfig
from asset_bridge.chain.deploy import deploy, deploying
from asset_bridge.chain.keys import AccountKey, address_bytes
from asset_bridge.chain.network import Deployment
from asset_bridge.chain.packing import pack_periods
from asset_bridge.chain.records import At
from asset_bridge.cli.deploy_cmd import deploy as deploy_command
from asset_bridge.cli.exchanges_cmd import exchanges
from asset_bridge.errors import BridgeError, InputError, RefusedError, TamperedError
from asset_bridge.trade.exchanges import require_open
from asset_bridge.vault.network import Network
from tests.support.upgrade import LIGHT, Upgrade, command, upgrade_world

pytestmark = pytest.mark.needs_anvil
OTHER = AccountKey(b"\x51" * 32)


@pytest.fixture(scope="module")
def net(anvil_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upgrade]:
    with upgrade_world(anvil_path, tmp_path_factory.mktemp("beside")) as made:
        made.world.rpc("anvil_setBalance", OTHER.address, hex(10**20))
        made.world.mine(3)
        yield made


def refused(kind: type[BridgeError], call: Callable[[], object]) -> BridgeError:
    with pytest.raises(kind) as caught:
        call()
    return caught.value


def height(net: Upgrade) -> int:
    return int(net.world.rpc("eth_blockNumber"), 16)


def with_address(old: Deployment, contract: str, of: Deployment, name: str = "") -> Deployment:
    """`old` with another deployment's contract under this name, as a network.toml that was put together would have it."""
    name = name or contract
    return replace(
        old,
        addresses={**old.addresses, contract: of.addresses[name]},
        code_hashes={**old.code_hashes, contract: of.code_hashes[name]},
    )


def test_what_is_there_is_looked_at_before_anything_is_sent(net: Upgrade) -> None:
    old, urls, before = net.world.deployment, [net.world.url], height(net)
    assert look(urls, old).keeps_verifier
    assert refused(InputError, lambda: look(urls, replace(old, chain_id=1337))).code == "chain.wrong-chain"
    assert refused(InputError, lambda: look(urls, replace(old, chain_id=1))).code == "chain.one-endpoint"
    for contract in ("AssetLedger", "NodeRegistry", "ReencryptionVerifier"):
        other = replace(old, code_hashes={**old.code_hashes, contract: b"\x01" * 32})
        assert refused(TamperedError, lambda other=other: look(urls, other)).code == "chain.code-hash"  # type: ignore[misc]
    assert height(net) == before


def test_ledger_and_registry_must_belong_together(net: Upgrade) -> None:
    old, urls = net.world.deployment, [net.world.url]
    second = deploy(urls, OTHER, DeployConfig(OTHER.address))
    net.world.mine(3)
    mixed = with_address(old, "NodeRegistry", second)
    error = refused(TamperedError, lambda: look(urls, mixed))
    assert (error.code, old.registry in error.message, second.registry in error.message) == ("chain.beside", True, True)


def test_a_ledger_for_development_over_a_registry_for_production_is_refused(net: Upgrade) -> None:
    """Its Exchange could be neither: one contract would take simulated nodes, the other would hold their stakes for a week."""
    old, urls = net.world.deployment, [net.world.url]
    production = deploy(urls, OTHER, DeployConfig.production(OTHER.address))
    with deploying(urls, OTHER, old.chain_id, None) as work:
        governor, minimum = address_bytes(OTHER.address), pack_periods(DeployConfig(OTHER.address).minimum_periods)
        registry = address_bytes(production.registry)
        ledger, _ = work._create("AssetLedger", governor, True, registry, 0, 7 * DAY, minimum, [])
        hashes = work.code_hashes({"AssetLedger": ledger})
    net.world.mine(3)
    mixed = replace(
        production,
        addresses={**production.addresses, "AssetLedger": ledger},
        code_hashes={**production.code_hashes, **hashes},
    )
    assert refused(RefusedError, lambda: look(urls, mixed)).code == "chain.development"


def test_a_verifier_of_another_release_is_not_used_again(net: Upgrade) -> None:
    old, urls = net.world.deployment, [net.world.url]
    assert deploy_kept(net, old).address_of("ReencryptionVerifier") == old.address_of("ReencryptionVerifier")
    odd = with_address(old, "ReencryptionVerifier", old, "Grants")  # some other code, named correctly
    ground = look(urls, odd)
    assert not ground.keeps_verifier
    new = deploy_beside(urls, OTHER, ground, lambda _: None).deployment
    assert new.code_hashes["ReencryptionVerifier"] == old.code_hashes["ReencryptionVerifier"]
    assert new.address_of("ReencryptionVerifier") not in (*old.addresses.values(), *odd.addresses.values())
    named = net.chain(new).source.calls([("Challenges", "verifier", ())], net.chain(new).block(), At.HEAD)
    assert named == [new.address_of("ReencryptionVerifier")]


def test_outside_development_the_new_exchange_counts_after_the_delay(net: Upgrade) -> None:
    urls = [net.world.url]
    old = deploy(urls, OTHER, DeployConfig.production(OTHER.address))
    net.world.mine(3)
    ground = look(urls, old)
    assert (ground.development, ground.config().margin_seconds) == (False, 3_600)
    done = deploy_beside(urls, OTHER, ground, lambda _: None)
    now_at = int(net.world.rpc("eth_getBlockByNumber", "latest", False)["timestamp"], 16)
    assert all(0 <= at - now_at - 7 * DAY + 60 <= 60 for at in done.listed_from.values())
    chain = net.chain(done.deployment)
    error = refused(InputError, lambda: require_open(chain))
    assert (error.code, str(max(done.listed_from.values())) in error.message) == ("trade.too-early", True)


def test_the_command_refuses_before_it_sends(net: Upgrade) -> None:
    before = height(net)
    given = ["--beside", net.file, "--key-file", net.key_file]

    def code(*words: object) -> str:
        return refused(BridgeError, lambda: command(deploy_command, *words)).code

    assert code(*given, "-o", net.file) == "cli.exists"
    assert code(*given, "-o", net.folder / "x.toml", "--governor", OTHER.address) == "cli.deploy"
    assert code(*given, "-o", net.folder / "x.toml", "--token", OTHER.address) == "cli.deploy"
    assert code("--key-file", net.key_file, "-o", net.folder / "x.toml") == "cli.deploy"
    with pytest.raises(RefusedError) as error:  # nobody there to say yes
        CliRunner().invoke(deploy_command, [*map(str, given), "-o", str(net.folder / "x.toml")], catch_exceptions=False)
    assert error.value.code == "cli.not-confirmed"
    for verb in ("close", "remove"):
        words = [verb, net.world.deployment.exchange, "--key-file", str(net.key_file), "--network", str(net.file)]
        with pytest.raises(RefusedError) as error:
            CliRunner().invoke(exchanges, words, catch_exceptions=False)
        assert error.value.code == "cli.not-confirmed"
    assert not (net.folder / "x.toml").exists()
    assert height(net) == before


def test_a_deployer_who_is_not_the_governor_leaves_the_list_to_him(net: Upgrade) -> None:
    light = "http://127.0.0.1:7"
    key_file = net.key_of("other", OTHER)
    file, made, said = net.beside("by another", "--light", light, "--name", "second", key_file=key_file)
    assert said["listed_from"] == {"AssetLedger": 0, "NodeRegistry": 0}
    assert said["next"] == f"asset-bridge exchanges allow {made.exchange} --home GOVERNOR"
    kept = Network.load(file)
    assert (kept.name, [peer.url for peer in kept.light_nodes]) == ("second", [light])
    assert light != LIGHT
    chain = net.chain(made)
    assert refused(InputError, lambda: require_open(chain)).code == "trade.exchange-closed"
    assert refused(RefusedError, chain.require_listed_exchange).code == "chain.exchange-unlisted"

    def run(verb: str, address: str, key: Path, *more: str) -> dict[str, object]:
        said: dict[str, object] = command(exchanges, verb, address, "--key-file", key, "--network", file, *more)
        return said

    for verb, more in (("allow", ()), ("close", ("--yes",)), ("remove", ("--yes",))):
        target = made.exchange if verb == "allow" else net.world.deployment.exchange
        error = refused(RefusedError, lambda v=verb, t=target, m=more: run(v, t, key_file, *m))  # type: ignore[misc]
        assert error.code == "trade.not-governor"
        assert net.world._dev.accounts[0].address in error.message
    assert len(run("allow", made.exchange, net.key_file)["sent"]) == 2  # type: ignore[arg-type]
    assert run("allow", made.exchange, net.key_file)["sent"] == []
    require_open(chain)
    chain.require_listed_exchange()
    for contract in ("Grants", "Challenges"):
        mixed = net.chain(with_address(made, contract, net.world.deployment))
        assert refused(TamperedError, mixed.require_listed_exchange).code == "chain.beside"
    # What is not an Exchange of this network, or not this release's, is never listed.
    assert refused(InputError, lambda: run("allow", OTHER.address, net.key_file)).code == "chain.not-an-exchange"
    assert refused(InputError, lambda: run("allow", made.ledger, net.key_file)).code == "chain.not-an-exchange"
    assert refused(RefusedError, lambda: run("allow", made.grants, net.key_file)).code == "chain.exchange-code"
    for verb in ("close", "remove"):
        error = refused(InputError, lambda v=verb: run(v, OTHER.address, net.key_file, "--yes"))  # type: ignore[assignment,misc]
        assert error.code == "trade.exchange-not-listed"
    # Removed at once, and listed again; closed for ever.
    assert len(run("remove", made.exchange, net.key_file, "--yes")["sent"]) == 1  # type: ignore[arg-type]
    assert run("remove", made.exchange, net.key_file, "--yes")["sent"] == []
    assert refused(InputError, lambda: require_open(chain)).code == "trade.exchange-closed"
    assert len(run("allow", made.exchange, net.key_file)["sent"]) == 1  # type: ignore[arg-type]
    require_open(chain)
    assert len(run("close", made.exchange, net.key_file, "--yes")["sent"]) == 1  # type: ignore[arg-type]
    assert run("close", made.exchange, net.key_file, "--yes")["sent"] == []
    assert refused(InputError, lambda: run("allow", made.exchange, net.key_file)).code == "trade.exchange-closed"


def deploy_kept(net: Upgrade, old: Deployment) -> Deployment:
    """Another Exchange by somebody who may list nothing."""
    return deploy_beside([net.world.url], OTHER, look([net.world.url], old), lambda _: None).deployment
