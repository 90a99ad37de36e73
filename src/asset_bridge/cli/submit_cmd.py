"""`asset-bridge submit FILE…`: send what others signed with --sign-only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from asset_bridge.cli.app import App, common, examples
from asset_bridge.cli.output import amount, ask, moment
from asset_bridge.cli.session import cost_lines, label, provider, yes_option
from asset_bridge.client import Provider
from asset_bridge.client.signing import Examined
from asset_bridge.errors import BridgeError, InputError, RefusedError
from asset_bridge.trade.documents.signed_verb import MAX_DOCUMENT_BYTES


@click.command(
    "submit",
    epilog=examples(
        "asset-bridge submit cancel.json",
        "asset-bridge submit --check approve.json",
        "asset-bridge submit --allow-value pay.json   # a price in coins: this account gives it",
    ),
)
@click.argument("files", metavar="FILE…", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option("--check", "check_only", is_flag=True, help="Check and show; send nothing.")
@click.option("--allow-value", is_flag=True, help="Send along the coins that a payment or a challenge needs.")
@yes_option
@common
def submit(app: App, *, files: tuple[Path, ...], check_only: bool, allow_value: bool, yes: bool) -> None:
    """Send what an account signed with --sign-only; this home's account pays the fee.

    Each FILE is checked first: chain, contracts, deadline, nonce and signature, and whether the contract would take it now. One that
    was submitted already is shown with its transaction and costs nothing.
    """
    done: list[dict[str, Any]] = []
    lines: list[str] = []
    with provider(app, acting=not check_only) as session:
        following = "status"
        for path in files:
            try:
                found = session.examine(_read(path))
            except BridgeError as error:
                text = f"{path}: {error.message}"
                raise type(error)(error.code, text, hint=error.hint, actor=error.actor) from None
            shown = _lines(path, found)
            row = {"file": path, "says": found.says, "account": found.account, "already": found.done is not None}
            row |= {"value_wei": found.value_wei, "gas": found.gas, "fee_wei": found.fee_wei, "sent": None}
            if found.done is None and not check_only:
                _confirm(app, session, found, shown, allow_value=allow_value, yes=yes)
                row["sent"] = sent = session.submit(found)
                shown = [f"submitted  {path}", *cost_lines(sent)]  # what it says was shown before the question
            done.append(row)
            lines += shown
            following = f"status {label(found.order_id)}" if found.order_id is not None else following
        if check_only:
            following = f"submit {' '.join(str(path) for path in files)}"
        app.result({"documents": done}, lines, next_command=app.command(following))


def _read(path: Path) -> bytes:
    if not path.is_file():
        raise InputError("cli.submit", "there is no such file", hint="name a file that --sign-only wrote")
    with path.open("rb") as source:
        return source.read(MAX_DOCUMENT_BYTES + 1)


def _lines(path: Path, found: Examined) -> list[str]:
    lines = [f"document   {path}", f"says       {found.says}"]
    if found.done is not None:
        block = found.done.block
        return [*lines, f"already    done in block {block.number}, {moment(block.timestamp)}"]
    lines.append(f"costs you  about {amount(found.fee_wei)} ({found.gas} gas)")
    if found.value_wei:
        lines.append(
            f"and gives  {amount(found.value_wei)} of yours, which come back to account {found.account}, not to you"
        )
    return lines


def _confirm(app: App, session: Provider, found: Examined, shown: list[str], *, allow_value: bool, yes: bool) -> None:
    if found.value_wei and not allow_value:
        raise InputError(
            "cli.submit-value",
            f"this takes {amount(found.value_wei)} from account {session.address}, not from {found.account}",
            hint="coins cannot be taken by a signature: give --allow-value to spend yours, or let its account send it",
        )
    for line in shown:
        app.note(line)
    if not ask("Send it?", yes=yes or app.as_json):
        raise RefusedError("cli.not-confirmed", "nothing was sent", hint="answer y, or give --yes")
