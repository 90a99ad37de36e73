"""`asset-bridge backup` and `restore`: two files, both needed, each useless alone."""

from __future__ import annotations

import os
import time
from pathlib import Path

import click

from asset_bridge.cli.app import App, common
from asset_bridge.client.homes import backup_home, load_network, restore_home

KEYS_FILE, TWEAKS_FILE = "keys.backup", "tweaks.backup"


@click.command("backup")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@common
def backup(app: App, *, folder: Path) -> None:
    """Write the backup's two files into FOLDER: `keys` (kept for ever) and `tweaks` (useless without the second place)."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    keys_file, tweaks_file = folder / f"{stamp}-{KEYS_FILE}", folder / f"{stamp}-{TWEAKS_FILE}"
    backup_home(
        app.home, keys_file, tweaks_file, passphrase=app.passphrase, randbytes=os.urandom, now_at=int(time.time())
    )
    lines = [
        f"keys       {keys_file}",
        f"tweaks     {tweaks_file}",
        "Restoring needs both files, your passphrase and the second place. Keep the files on different media.",
    ]
    app.result({"keys": keys_file, "tweaks": tweaks_file}, lines, next_command=app.command("status"))


@click.command("restore")
@click.argument("keys_file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.argument("tweaks_file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--network", required=True, metavar="FILE|URL", help="The network.toml to work with.")
@click.option("--second-place", type=click.Path(path_type=Path), required=True, help="Where the period keys are.")
@common
def restore(app: App, *, keys_file: Path, tweaks_file: Path, network: str, second_place: Path) -> None:
    """Make a home again from the two files of a backup."""
    home = restore_home(
        app.home,
        keys_file,
        tweaks_file,
        network=load_network(network),
        second_place=second_place.expanduser().absolute(),
        passphrase=app.passphrase,
        randbytes=os.urandom,
        now_at=int(time.time()),
    )
    lines = [f"home       {app.home}", f"account    {home.info.address}"]
    app.result({"home": app.home, "address": home.info.address}, lines, next_command=app.command("status"))
