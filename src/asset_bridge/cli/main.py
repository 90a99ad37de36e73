"""The `asset-bridge` command: one file a command, errors printed in one place.

Source: design §8, spec/cli.md. Promises: an error goes to stderr as one sentence with its code, actor and hint, and sets the exit
status of its class; an unknown exception is shown as an id only, with the traceback in the home's log.
"""

from __future__ import annotations

import importlib
import os
import secrets
import sys
import traceback
from collections.abc import Sequence

import click

import asset_bridge.lean  # noqa: F401  before the first import of httpx
from asset_bridge import __version__, settings
from asset_bridge.cli.commands import COMMANDS
from asset_bridge.cli.output import print_error
from asset_bridge.errors import BridgeError, DefectError, StoppedError, UnavailableError

GROUPS = (
    ("Start", ("init", "backup", "restore", "account", "balance", "network", "doctor")),
    (
        "Provider",
        ("publish", "assets", "inbox", "approve", "deny", "claim", "revoke", "reseal", "regenerate", "retire"),
    ),
    ("Trust", ("policy", "evidence", "agent")),
    (
        "Consumer",
        (
            "catalog",
            "request",
            "pay",
            "fetch",
            "open",
            "accept",
            "refund",
            "challenge",
            "cancel",
            "consent",
            "submit",
            "status",
        ),
    ),
    ("Operator", ("node", "deploy", "tokens", "exchanges", "governor", "devnet", "demo")),
)


class CommandGroup(click.Group):
    """Loads a command's module when the command is used; lists them by the role that uses them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        entry = COMMANDS[cmd_name]
        command = getattr(importlib.import_module(f"asset_bridge.cli.{entry.module}"), entry.attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, names in GROUPS:
            with formatter.section(title):
                formatter.write_dl([(name, COMMANDS[name].summary) for name in names])


@click.group(cls=CommandGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="asset-bridge")
def main() -> None:
    """Sell or share encrypted health data without handing it to anyone in between.

    A first look: `asset-bridge demo` runs a whole trade on this machine. To try it by hand: `asset-bridge devnet up`,
    then `asset-bridge init --network …` as that command's output says. Every command's output ends with the next one.
    """


def run(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with the status that spec/cli.md gives to the outcome."""
    argv = list(sys.argv[1:] if arguments is None else arguments)
    as_json = "--json" in argv
    try:
        main.main(args=argv, prog_name="asset-bridge", standalone_mode=False)
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except click.ClickException as wrong:
        wrong.show()
        sys.exit(2)
    except (KeyboardInterrupt, click.Abort):
        print_error(StoppedError("cli.stopped", "stopped", hint="run the same command again; it resumes"), as_json)
        sys.exit(StoppedError.exit_status)
    except BrokenPipeError:
        os._exit(0)
    except BridgeError as error:
        print_error(error, as_json)
        sys.exit(error.exit_status)
    except OSError as error:
        # The operating system's own words name a path and a cause, never a secret.
        text = (
            f"{error.strerror or 'system error'}: {error.filename}" if error.filename else str(error.strerror or error)
        )
        print_error(UnavailableError("cli.system", text, hint="check the path, its rights and the disk"), as_json)
        sys.exit(UnavailableError.exit_status)
    except Exception:  # noqa: BLE001  the last resort: an unknown exception becomes an id
        print_error(_defect(), as_json)
        sys.exit(DefectError.exit_status)


def _defect() -> DefectError:
    """Write the traceback where only its owner reads it; show an id."""
    mark = secrets.token_hex(4)
    folder = settings.home_folder() / "log"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        log = folder / "defects.log"
        with os.fdopen(os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "a") as out:
            out.write(f"--- {mark}\n{traceback.format_exc()}\n")
        where = f"the traceback is in {log} under {mark}"
    except OSError:
        where = "set ASSET_BRIDGE_HOME to a writable folder to keep the traceback"
    return DefectError("cli.defect", f"a bug of ours ({mark})", hint=where, actor="nobody")
