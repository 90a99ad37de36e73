"""Options that every command has, and the object that commands receive: home, passphrase, output.

Source: design §7 (precedence: flag, ASSET_BRIDGE_*, file) and §8. A passphrase comes from a prompt, a file or a file descriptor;
never from an argument or an environment variable.
"""

from __future__ import annotations

import functools
import getpass
import json
import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import click

from asset_bridge import settings
from asset_bridge.cli.output import ProgressBars, clean, jsonable
from asset_bridge.errors import InputError

MAX_PASSPHRASE_BYTES = 1024


class SignOnly(NamedTuple):
    """What `--sign-only FILE --deadline DURATION` asks for."""

    path: Path
    seconds: int


class App:
    """What a command works with. Holds no secret longer than the call that asked for it."""

    def __init__(
        self,
        home: Path,
        as_json: bool,
        passphrase_file: Path | None,
        passphrase_fd: int | None,
        network: str | None = None,
    ) -> None:
        self.home = home
        self.as_json = as_json
        self.network = network  # where the network.toml is that was asked for; None: the home's own
        self.sign_only: SignOnly | None = None
        self._file, self._fd = passphrase_file, passphrase_fd
        self._kept: str | None = None
        self.progress = ProgressBars(quiet=as_json)

    def passphrase(self, *, confirm: bool = False) -> str:
        """The keystore's passphrase, read once from file, descriptor or prompt.

        Raises:
            InputError(cli.passphrase): empty, too long, or no terminal to ask on.
        """
        if self._kept is None:
            self._kept = self._read(confirm)
        return self._kept

    def _read(self, confirm: bool) -> str:
        if self._file is not None:
            value = self._file.read_bytes()
        elif self._fd is not None:
            with os.fdopen(self._fd, "rb", closefd=False) as source:
                value = source.read(MAX_PASSPHRASE_BYTES + 2)
        elif sys.stdin.isatty():
            value = getpass.getpass("Passphrase of this home: ").encode()
            if confirm and getpass.getpass("The same again: ").encode() != value:
                raise InputError("cli.passphrase", "the two passphrases differ", hint="run the command again")
        else:
            raise InputError(
                "cli.passphrase",
                "no terminal to ask for the passphrase",
                hint="give --passphrase-file FILE or --passphrase-fd N",
            )
        value = value.rstrip(b"\r\n")
        if not value or len(value) > MAX_PASSPHRASE_BYTES:
            raise InputError("cli.passphrase", "the passphrase is empty or longer than 1,024 bytes")
        try:
            return value.decode()
        except UnicodeDecodeError:
            raise InputError("cli.passphrase", "the passphrase is not UTF-8 text") from None

    def note(self, text: str) -> None:
        """A line for the person, on stderr."""
        if not self.as_json:
            self.progress.close()
            click.echo(clean(text), err=True)

    def result(self, data: Any, lines: list[str], *, next_command: str = "") -> None:
        """The command's result: `data` with --json, else `lines` and the command that comes next."""
        self.progress.close()
        if self.as_json:
            body = jsonable(data)
            if isinstance(body, dict) and next_command:
                body = {**body, "next": next_command}
            click.echo(json.dumps(body, indent=2))
            return
        for line in lines:
            click.echo(clean(line))
        if next_command:
            click.echo(f"\nnext: {clean(next_command)}")

    def command(self, rest: str) -> str:
        """`asset-bridge REST` as this person must type it: with --home and --network where they were given, before any redirection."""
        given = "" if self.home == default_home() else f" --home {shlex.quote(str(self.home))}"
        if self.network is not None and self.network != settings.network_source():
            given += f" --network {shlex.quote(self.network)}"
        words, redirect, target = rest.partition(" > ")
        return f"asset-bridge {words}{given}{redirect}{target}"


def default_home() -> Path:
    """The home without --home."""
    return settings.home_folder()


class WithDefault(click.Group):
    """A group that runs the command `default` when none of its own is named, options included: `assets --home X`."""

    default = "list"

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or (args[0] not in self.commands and args[0] not in ctx.help_option_names):
            args = [self.default, *args]
        return super().parse_args(ctx, args)


def examples(*lines: str) -> str:
    """The end of a command's help: lines that can be pasted, kept as they are."""
    return "\n".join(("\b", "Examples:", *(f"  {line}" for line in lines)))


Command = Callable[..., None]


def common(function: Command) -> Command:
    """Add --home, --network, --json and the passphrase options; the command is called as `function(app, …)`."""
    path = click.Path(path_type=Path)

    @click.option("--home", type=path, help="Folder with keys and settings [ASSET_BRIDGE_HOME, ~/.asset-bridge].")
    @click.option(
        "--network", metavar="FILE|URL", help="The network.toml to work with [ASSET_BRIDGE_NETWORK, the home's own]."
    )
    @click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")
    @click.option("--passphrase-file", type=path, help="Read the passphrase from a file.")
    @click.option("--passphrase-fd", type=int, help="Read the passphrase from an open file descriptor.")
    @functools.wraps(function)
    def wrapped(
        *,
        home: Path | None,
        network: str | None,
        as_json: bool,
        passphrase_file: Path | None,
        passphrase_fd: int | None,
        **rest: Any,
    ) -> None:
        file = None if passphrase_fd is not None else settings.passphrase_file(passphrase_file)
        source = settings.network_source(network)
        app = App(settings.home_folder(home), as_json, file, passphrase_fd, source)
        try:
            function(app, **rest)
        finally:
            app.progress.close()

    return wrapped
