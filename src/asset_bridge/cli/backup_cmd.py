"""`asset-bridge backup` and `restore`: two files, both needed, each useless alone; or recovery shares in place of the first."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

import click

from asset_bridge.cli.app import App, common, examples
from asset_bridge.client.homes import backup_home, load_network, recover_home, restore_home, write_recovery_shares
from asset_bridge.errors import InputError

KEYS_FILE, TWEAKS_FILE = "keys.backup", "tweaks.backup"
FILE = click.Path(path_type=Path, exists=True, dir_okay=False)


def shares_of(text: str) -> tuple[int, int]:
    """ "2/3" → (2, 3): any 2 of 3 holders recover."""
    found = re.fullmatch(r"([0-9]{1,2})/([0-9]{1,2})", text.strip())
    if not found:
        raise InputError("cli.shares", f"{text!r} is not K/N", hint="write 2/3: three holders, any two recover")
    return int(found[1]), int(found[2])


def share_lines(app: App, folder: Path, wanted: str) -> list[str]:
    """Write recovery shares and say what to do with them."""
    threshold, shares = shares_of(wanted)
    paths = write_recovery_shares(app.home, folder, threshold, shares, passphrase=app.passphrase, randbytes=os.urandom)
    return [
        *(f"share      {path}" for path in paths),
        f"Give each share to another person, then erase these files. Any {threshold} of them bring back every key of this home",
        "without your passphrase, and with the tweaks backup and the second place all its assets; fewer tell nothing.",
    ]


@click.command("backup", epilog=examples("asset-bridge backup /media/backup/asset-bridge"))
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--shares", metavar="K/N", help="Also write N recovery shares, any K of which replace the keys file.")
@common
def backup(app: App, *, folder: Path, shares: str | None) -> None:
    """Write the backup's two files into FOLDER: `keys` (kept for ever) and `tweaks` (useless without the second place)."""
    if shares is not None:
        shares_of(shares)
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
    if shares is not None:
        lines += share_lines(app, folder, shares)
    app.result({"keys": keys_file, "tweaks": tweaks_file}, lines, next_command=app.command("status"))


@click.command(
    "restore",
    epilog=examples(
        "asset-bridge restore 20260101-120000-keys.backup 20260101-120000-tweaks.backup \\",
        "    --network network.toml --second-place /media/second-place",
    ),
)
@click.argument("files", type=FILE, nargs=-1, required=True, metavar="[KEYS_FILE] TWEAKS_FILE")
@click.option(
    "--share", "shares", type=FILE, multiple=True, help="A recovery share, in place of the keys file; repeat."
)
@click.option("--second-place", type=click.Path(path_type=Path), required=True, help="Where the period keys are.")
@common
def restore(app: App, *, files: tuple[Path, ...], shares: tuple[Path, ...], second_place: Path) -> None:
    """Make a home again from the two files of a backup, or from the tweaks file and recovery shares."""
    if len(files) != (1 if shares else 2):
        wanted = "the tweaks file alone" if shares else "the keys file and the tweaks file"
        raise InputError("cli.restore-files", f"restore needs {wanted}", hint=app.command("restore --help"))
    if app.network is None:
        hint = "take network.toml from your network's operator"
        raise InputError("cli.network", "restore needs --network FILE|URL", hint=hint)
    place = second_place.expanduser().absolute()
    known = load_network(app.network)
    app.network = None  # from now on it is the home's own
    if shares:
        home = recover_home(
            app.home,
            shares,
            files[0],
            network=known,
            second_place=place,
            passphrase=lambda: app.passphrase(confirm=True),
            randbytes=os.urandom,
        )
    else:
        home = restore_home(
            app.home,
            files[0],
            files[1],
            network=known,
            second_place=place,
            passphrase=app.passphrase,
            randbytes=os.urandom,
            now_at=int(time.time()),
        )
    lines = [f"home       {app.home}", f"account    {home.info.address}"]
    following = app.command("backup FOLDER" if shares else "status")
    app.result({"home": app.home, "address": home.info.address}, lines, next_command=following)
