"""`asset-bridge devnet up|down|reset|fund`: a whole network on this machine to try everything on."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path

import click

from asset_bridge.cli.app import App, common, default_home, examples
from asset_bridge.cli.output import amount, ask
from asset_bridge.cli.session import wei_of, yes_option
from asset_bridge.errors import BridgeError, RefusedError
from asset_bridge.nodes.devnet import Devnet, require_simulator

folder_option = click.option(
    "--folder", type=click.Path(path_type=Path), default="devnet", show_default=True, help="The network's folder."
)


@click.group(
    "devnet",
    epilog=examples(
        "asset-bridge devnet up",
        "asset-bridge devnet fund 0x52908400098527886E0F7030069857D2E4169EE7 --amount 5",
        "asset-bridge devnet down",
        "asset-bridge devnet up          # the next day: everything is there again",
    ),
)
def devnet() -> None:
    """A development network on this machine: chain, storage nodes, light node, TEE nodes (simulated attestation).

    Everything lies in one folder and is there again after down and up. Two folders are two networks.
    """


@devnet.command(
    "up", epilog=examples("asset-bridge devnet up --folder try-out", "asset-bridge devnet up --folder real-ipfs --kubo")
)
@folder_option
@click.option("--with-impostors", is_flag=True, help="Two more TEE nodes that every provider must refuse.")
@click.option("--kubo", is_flag=True, help="Storage nodes keep their blocks in kubo; built once where it is missing.")
@common
def up(app: App, *, folder: Path, with_impostors: bool, kubo: bool) -> None:
    """Start the network, or whatever of it does not run. TEE nodes begin with new keys: reseal what they held."""
    require_simulator()
    net = Devnet(folder, report=app.note)
    fresh = not net.network_file.exists()
    try:
        network = net.up(impostors=with_impostors, kubo=kubo)
    except (BridgeError, KeyboardInterrupt):
        net.down()
        raise
    lines = [
        f"network    {net.network_file}",
        f"policy     {net.policy_file} (trusts these simulated TEE nodes; valid for this chain only)",
        f"chain      {net.rpc_url}",
    ]
    if fresh:
        following = f"asset-bridge init --network {shlex.quote(str(net.network_file))} --home provider"
        lines += [
            "",
            "One home for the provider and one for the consumer:",
            f"  {following.replace('provider', 'consumer')}",
        ]
    else:
        there = (Path("provider") / "home.toml").exists() and app.home == default_home()
        following = "asset-bridge status --home provider" if there else app.command("status")
    app.result(
        {"network": net.network_file, "policy": net.policy_file, "chain_id": network.chain_id},
        lines,
        next_command=following,
    )


@devnet.command("down", epilog=examples("asset-bridge devnet down --folder try-out"))
@folder_option
@common
def down(app: App, *, folder: Path) -> None:
    """Stop the network; chain, listings, orders and data stay in the folder."""
    stopped = Devnet(folder, report=app.note).down()
    lines = [f"stopped    {', '.join(stopped)}" if stopped else "nothing was running"]
    app.result({"stopped": stopped}, lines, next_command=f"asset-bridge devnet up --folder {shlex.quote(str(folder))}")


@devnet.command("reset", epilog=examples("asset-bridge devnet reset --folder try-out --yes"))
@folder_option
@yes_option
@common
def reset(app: App, *, folder: Path, yes: bool) -> None:
    """Stop the network and delete it: chain, listings, orders, stored bodies."""
    if not ask(f"Delete the network in {folder}?", yes=yes or app.as_json):
        raise RefusedError("cli.not-confirmed", "nothing was deleted", hint="answer y, or give --yes")
    Devnet(folder, report=app.note).reset()
    shutil.rmtree(folder, ignore_errors=True)
    app.result(
        {"deleted": folder},
        [f"deleted    {folder}"],
        next_command=f"asset-bridge devnet up --folder {shlex.quote(str(folder))}",
    )


@devnet.command(
    "fund", epilog=examples("asset-bridge devnet fund 0x52908400098527886E0F7030069857D2E4169EE7 --amount 5")
)
@click.argument("address")
@click.option("--amount", "coins", default="10", show_default=True, help="Whole coins.")
@folder_option
@common
def fund(app: App, *, address: str, coins: str, folder: Path) -> None:
    """Give ADDRESS development coins."""
    Devnet(folder, report=app.note).fund(address, wei_of(coins))
    lines = [f"{address} has {amount(wei_of(coins))} more"]
    app.result({"address": address, "wei": wei_of(coins)}, lines, next_command=app.command("balance"))
