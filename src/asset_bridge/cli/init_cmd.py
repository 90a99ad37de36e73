"""`asset-bridge init`: make a home."""

from __future__ import annotations

import os
import shlex
import time
from pathlib import Path

import click

from asset_bridge.cli.app import App, common, examples
from asset_bridge.cli.backup_cmd import share_lines, shares_of
from asset_bridge.client.homes import load_network, make_home
from asset_bridge.errors import InputError


@click.command(
    "init",
    epilog=examples(
        "asset-bridge init --network devnet/network.toml --home provider",
        "asset-bridge init --network https://example.org/network.toml --second-place /media/second-place",
    ),
)
@click.option("--second-place", type=click.Path(path_type=Path), help="Folder on another disk for the period key.")
@click.option(
    "--recovery-shares", metavar="K/N", help="Also write N recovery shares beside the home; any K recover it."
)
@common
def init(app: App, *, second_place: Path | None, recovery_shares: str | None) -> None:
    """Make a home: keys, settings, and a second place for what must never be in a backup.

    The home holds an encrypted keystore. The second place (another disk, best a removable one) holds the key that the backup
    does not contain, so that destroying an asset's key also reaches backups. Without --second-place a folder beside the home
    is used: move it to another disk before you publish anything that matters.
    """
    chosen = (second_place or app.home.with_name(app.home.name + "-second-place")).expanduser().absolute()
    if recovery_shares is not None:
        shares_of(recovery_shares)
    source, app.network = app.network, None  # from now on it is the home's own
    if source is None:
        hint = "take network.toml from your network's operator, or run: asset-bridge devnet up"
        raise InputError("cli.network", "init needs --network FILE|URL", hint=hint)
    known = load_network(source)
    home = make_home(
        app.home,
        network=known,
        second_place=chosen,
        passphrase=lambda: app.passphrase(confirm=True),
        randbytes=os.urandom,
        now_at=int(time.time()),
    )
    lines = [
        f"home       {app.home}",
        f"account    {home.info.address}",
        f"network    {known.name} (chain {known.chain_id}), contracts checked",
        "",
        "Keep these, apart from each other; without all of them your data or money is lost:",
        "  1. your passphrase (nobody can reset it)",
        f"  2. the second place: {chosen}",
        f"  3. a backup, made now and after each publish: {app.command('backup FOLDER')}",
    ]
    if recovery_shares is not None:
        lines += ["", *share_lines(app, app.home.with_name(app.home.name + "-recovery-shares"), recovery_shares)]
    if known.is_development:
        beside = Path(source).expanduser().absolute().parent
        folder = f" --folder {shlex.quote(str(beside))}" if (beside / "devnet.json").exists() else " --folder DEVNET"
        following = app.command(f"devnet fund {home.info.address}{folder}")
    else:
        lines += ["", f"The account needs coins of chain {known.chain_id} for its transactions."]
        following = app.command("balance")
    app.result({"home": app.home, "address": home.info.address, "second_place": chosen}, lines, next_command=following)
