"""`asset-bridge deploy`: put the contracts on an EVM chain, once, for a network of one's own."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from asset_bridge.chain.config import DeployConfig
from asset_bridge.chain.deploy import chain_id_of
from asset_bridge.chain.deploy import deploy as deploy_contracts
from asset_bridge.chain.keys import AccountKey
from asset_bridge.chain.network import is_development
from asset_bridge.cli.app import App, common, examples
from asset_bridge.cli.output import ask
from asset_bridge.cli.session import token_of, yes_option
from asset_bridge.errors import InputError, RefusedError
from asset_bridge.trade.network import network_of


@click.command(
    "deploy",
    epilog=examples(
        "asset-bridge deploy --rpc https://one.example --rpc https://two.example --key-file deployer.key \\",
        "    --light https://light.example --storage https://storage.example -o network.toml",
    ),
)
@click.option(
    "--rpc", "rpc_urls", multiple=True, required=True, help="The chain's RPC URL; give two outside development."
)
@click.option(
    "--key-file", type=click.Path(path_type=Path, exists=True), required=True, help="32-byte key as hex, mode 0600."
)
@click.option("--governor", help="The account that keeps the lists [the deployer].")
@click.option("--token", "tokens", multiple=True, help="A token that may be a price from the start; repeatable.")
@click.option("--light", "light_urls", multiple=True, help="A light node to start from; repeatable.")
@click.option("--storage", "storage_urls", multiple=True, help="A storage node to start from; repeatable.")
@click.option("--name", default="network", show_default=True, help="The network's name.")
@click.option("-o", "--output", type=click.Path(path_type=Path), default="network.toml", show_default=True)
@yes_option
@common
def deploy(
    app: App,
    *,
    rpc_urls: tuple[str, ...],
    key_file: Path,
    governor: str | None,
    tokens: tuple[str, ...],
    light_urls: tuple[str, ...],
    storage_urls: tuple[str, ...],
    name: str,
    output: Path,
    yes: bool,
) -> None:
    """Deploy the contracts and write network.toml. They are immutable: nobody can change or stop them later."""
    if output.exists():
        raise InputError("cli.exists", f"{output} exists", hint="name another --output")
    if key_file.stat().st_mode & 0o077:
        raise InputError("cli.key-file", f"others can read {key_file}", hint=f"chmod 600 {key_file}")
    try:
        key = AccountKey(bytes.fromhex(key_file.read_text().strip().removeprefix("0x")))
    except ValueError:
        raise InputError("cli.key-file", f"{key_file} does not hold 32 bytes of hex") from None
    chain_id = chain_id_of(rpc_urls[0])
    may_be_prices = tuple(token_of(token) for token in tokens)
    make = DeployConfig if is_development(chain_id) else DeployConfig.production
    config = make(governor or key.address, tokens=may_be_prices)
    kind = "development" if config.development else "production"
    app.note(f"chain {chain_id}, {kind} deployment by {key.address}, governor {config.governor}")
    if not ask("Deploy?", yes=yes or app.as_json):
        raise RefusedError("cli.not-confirmed", "nothing was deployed", hint="answer y, or give --yes")
    deployment = deploy_contracts(rpc_urls[0], key, config)
    network = network_of(deployment, name, list(rpc_urls), list(light_urls), list(storage_urls))
    network.save(output)
    lines = [f"{contract:<22} {deployment.address_of(contract)}" for contract in deployment.code_hashes]
    app.result(
        deployment.to_json(),
        [*lines, f"network    {output}"],
        next_command=app.command(f"init --network {shlex.quote(str(output))}"),
    )
