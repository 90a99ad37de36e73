"""`asset-bridge network`: which network.toml this home works with, and how to go over to a new Exchange of the same contracts."""

from __future__ import annotations

import click

from asset_bridge.cli.app import App, WithDefault, common, examples
from asset_bridge.cli.exchanges_cmd import state_of
from asset_bridge.cli.session import consumer
from asset_bridge.client.homes import load_network, use_network


@click.group(
    "network",
    cls=WithDefault,
    epilog=examples("asset-bridge network", "asset-bridge network use new-network.toml"),
)
def network() -> None:
    """Which network this home works with.

    A home belongs to one AssetLedger and NodeRegistry. Where a new Exchange stands beside the old one, `network use` goes over
    to it, and every command with `--network FILE` still works with the other.
    """


@network.command("list")
@common
def list_(app: App) -> None:
    """Show the network that commands of this home work with now."""
    with consumer(app, acting=False) as session:
        known, chain = session.network, session.chain
        state = state_of(chain.exchange_listing(chain.exchange), chain.block().timestamp)
        lines = [
            f"network    {known.name} (chain {known.chain_id})",
            *(f"{name:<22} {contract.address}" for name, contract in sorted(known.contracts.items())),
            f"exchange   {state}",
            *(f"rpc        {url}" for url in known.rpc_urls),
            *(f"light      {peer.url}" for peer in known.light_nodes),
            *(f"storage    {peer.url}" for peer in known.storage_nodes),
        ]
        data = {"network": known, "exchange": chain.exchange_listing(chain.exchange)}
        app.result(data, lines, next_command=app.command("exchanges"))


@network.command("use", epilog=examples("asset-bridge network use new-network.toml"))
@click.argument("source", metavar="FILE|URL")
@common
def use(app: App, *, source: str) -> None:
    """Work with the network.toml at FILE from now on: another Exchange, or other endpoints and nodes, of the same contracts.

    What the home used before is kept as HOME/networks/EXCHANGE.toml. Orders belong to their Exchange for ever, so those of the old one are
    seen and ended with that file: `asset-bridge status --network HOME/networks/EXCHANGE.toml`.
    """
    known = load_network(source)
    kept = use_network(app.home, known)
    old = f"--network {kept}" if kept is not None else ""
    lines = [f"network    {known.name} (chain {known.chain_id}), contracts checked"]
    if kept is not None:
        lines += [f"before     {kept}", f"older orders: {app.command(f'status {old}')}"]
    app.result({"network": known.network, "before": kept}, lines, next_command=app.command("status"))
