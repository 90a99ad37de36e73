"""`asset-bridge deploy`: put the contracts on an EVM chain for a network of one's own, or a new Exchange beside an old one."""

from __future__ import annotations

import shlex
import time
from pathlib import Path

import click

from asset_bridge.chain.beside import Ground, deploy_beside, look
from asset_bridge.chain.config import DeployConfig
from asset_bridge.chain.deploy import chain_id_of
from asset_bridge.chain.deploy import deploy as deploy_contracts
from asset_bridge.chain.keys import AccountKey
from asset_bridge.chain.network import Deployment, is_development
from asset_bridge.cli.app import App, common, examples
from asset_bridge.cli.governing import key_of
from asset_bridge.cli.output import ask, moment
from asset_bridge.cli.session import token_of, yes_option
from asset_bridge.errors import InputError, RefusedError
from asset_bridge.trade.network import beside_of, deployment_of, network_of
from asset_bridge.vault.network import Network


@click.command(
    "deploy",
    epilog=examples(
        "asset-bridge deploy --rpc https://one.example --rpc https://two.example --key-file deployer.key \\",
        "    --light https://light.example --storage https://storage.example -o network.toml",
        "asset-bridge deploy --beside network.toml --key-file deployer.key -o new-network.toml",
    ),
)
@click.option("--rpc", "rpc_urls", multiple=True, help="The chain's RPC URL; give two outside development.")
@click.option(
    "--key-file", type=click.Path(path_type=Path, exists=True), required=True, help="32-byte key as hex, mode 0600."
)
@click.option(
    "--beside",
    type=click.Path(path_type=Path, exists=True),
    help="The network.toml of an older Exchange, whose AssetLedger and NodeRegistry the new one shares.",
)
@click.option("--governor", help="The account that keeps the lists [the deployer].")
@click.option("--token", "tokens", multiple=True, help="A token that may be a price from the start; repeatable.")
@click.option("--light", "light_urls", multiple=True, help="A light node to start from; repeatable.")
@click.option("--storage", "storage_urls", multiple=True, help="A storage node to start from; repeatable.")
@click.option("--name", help='The network\'s name ["network"].')
@click.option("-o", "--output", type=click.Path(path_type=Path), default="network.toml", show_default=True)
@yes_option
@common
def deploy(
    app: App,
    *,
    rpc_urls: tuple[str, ...],
    key_file: Path,
    beside: Path | None,
    governor: str | None,
    tokens: tuple[str, ...],
    light_urls: tuple[str, ...],
    storage_urls: tuple[str, ...],
    name: str | None,
    output: Path,
    yes: bool,
) -> None:
    """Deploy the contracts and write network.toml. They are immutable: nobody can change or stop them later.

    With --beside only a new Exchange with its Grants and Challenges is made, over the AssetLedger and NodeRegistry of an older
    network: assets, profiles, nodes and stakes stay, and orders stay with their Exchange (docs/howto/upgrade-the-exchange.md).
    Endpoints, nodes and name are those of the older file unless given anew.
    """
    if output.exists():
        raise InputError("cli.exists", f"{output} exists", hint="name another --output")
    key = key_of(key_file)
    if beside is not None:
        if governor is not None or tokens:
            raise InputError(
                "cli.deploy",
                "--governor and --token do not go with --beside: both belong to the AssetLedger that is there",
                hint="leave them out; `asset-bridge tokens` changes that list",
            )
        _beside(app, beside, key, rpc_urls, light_urls, storage_urls, name=name, output=output, yes=yes)
        return
    if not rpc_urls:
        raise InputError("cli.deploy", "deploy needs --rpc URL, or --beside network.toml", hint="--help")
    chain_id = chain_id_of(rpc_urls[0])
    may_be_prices = tuple(token_of(token) for token in tokens)
    make = DeployConfig if is_development(chain_id) else DeployConfig.production
    config = make(governor or key.address, tokens=may_be_prices)
    kind = "development" if config.development else "production"
    app.note(f"chain {chain_id}, {kind} deployment by {key.address}, governor {config.governor}")
    _confirm("Deploy?", yes=yes or app.as_json)
    deployment = deploy_contracts(rpc_urls[0], key, config)
    network = network_of(deployment, name or "network", list(rpc_urls), list(light_urls), list(storage_urls))
    network.save(output)
    lines = [f"{contract:<22} {deployment.address_of(contract)}" for contract in deployment.code_hashes]
    app.result(
        deployment.to_json(),
        [*lines, f"network    {output}"],
        next_command=app.command(f"init --network {shlex.quote(str(output))}"),
    )


def _confirm(question: str, *, yes: bool) -> None:
    if not ask(question, yes=yes):
        raise RefusedError("cli.not-confirmed", "nothing was deployed", hint="answer y, or give --yes")


def _beside(
    app: App,
    old_file: Path,
    key: AccountKey,
    rpc_urls: tuple[str, ...],
    light_urls: tuple[str, ...],
    storage_urls: tuple[str, ...],
    *,
    name: str | None,
    output: Path,
    yes: bool,
) -> None:
    """Checks first, then three or four contracts, network.toml, and the lists where the deployer is their governor."""
    old = Network.load(old_file)
    urls = rpc_urls or old.rpc_urls
    ground = look(urls, deployment_of(old))
    kind = "development" if ground.development else "production"
    fees = ground.config()
    app.note(f"chain {old.chain_id}, {kind} Exchange by {key.address} beside {ground.deployment.exchange}")
    app.note(
        f"fixed for ever: fees in basis points tee {fees.fee_tee}, recorder {fees.fee_recorder}, light {fees.fee_light},"
        f" storage {fees.fee_storage}; margin {fees.margin_seconds} s, grace {fees.grace_seconds} s"
    )
    if not ground.keeps_verifier:
        app.note("the ReencryptionVerifier there is of another release: a new one is made too")
    _confirm("Deploy?", yes=yes or app.as_json)

    def made(new: Deployment) -> None:
        beside_of(old, new, name=name, rpc_urls=urls, light_urls=light_urls, storage_urls=storage_urls).save(output)

    done = deploy_beside(urls, key, ground, made)
    new = done.deployment
    lines = [
        f"{contract:<22} {address}{'' if address != ground.deployment.address_of(contract) else '  as before'}"
        for contract, address in new.addresses.items()
    ]
    missing = [contract for contract, at in done.listed_from.items() if not at]
    lines += [f"listed on {contract:<12} {_since(ground, contract, at)}" for contract, at in done.listed_from.items()]
    allow = f"exchanges allow {new.exchange}"  # with a home of the older network: the lists are the same
    if missing:
        lines.append(f"the governor must run: asset-bridge {allow} --home GOVERNOR")
    use = app.command(f"network use {shlex.quote(str(output))}")
    app.result(
        {**new.to_json(), "listed_from": done.listed_from, "governors": ground.governors, "network": output},
        [*lines, f"network    {output}"],
        next_command=f"asset-bridge {allow} --home GOVERNOR" if missing else use,
    )


def _since(ground: Ground, contract: str, at: int) -> str:
    if not at:
        return f"not yet: its governor is {ground.governors[contract]}"
    return "from now on" if at <= time.time() + 60 else f"counts from {moment(at)}"
