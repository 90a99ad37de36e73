"""`--sign-only FILE`: the verb's transaction is signed into a file, for anyone to send with `submit`.

Source: spec/signed-verb.md §1. Promises: FILE is written whole or not at all, never over another; it holds no secret.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from asset_bridge.chain.signing.account import NothingSent
from asset_bridge.cli.app import App, Command, SignOnly
from asset_bridge.cli.output import moment, seconds_of
from asset_bridge.client.signing import Signing, signed_of
from asset_bridge.errors import InputError
from asset_bridge.vault.files import written_only_if_whole

DEFAULT_DEADLINE = "24h"


def signable(function: Command) -> Command:
    """Add --sign-only and --deadline; stands under `common`, nearest to the command."""

    @click.option(
        "--sign-only",
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="FILE",
        help="Send nothing: sign it into FILE, which anyone may submit and pay the fee for.",
    )
    @click.option(
        "--deadline", metavar="DURATION", help=f"With --sign-only: how long the signature is good [{DEFAULT_DEADLINE}]."
    )
    @functools.wraps(function)
    def wrapped(app: App, *, sign_only: Path | None, deadline: str | None, **rest: Any) -> None:
        if sign_only is None and deadline is not None:
            raise InputError("cli.sign-only", "--deadline belongs to --sign-only", hint="give --sign-only FILE too")
        if sign_only is not None:
            if sign_only.exists():
                raise InputError("cli.exists", f"{sign_only} exists", hint="name a file that is not there yet")
            app.sign_only = SignOnly(sign_only, seconds_of(deadline or DEFAULT_DEADLINE))
        function(app, **rest)

    return wrapped


@contextmanager
def signing(app: App, session: Signing) -> Iterator[None]:
    """With `--sign-only`, what happens inside ends at the first transaction: its signed document is the command's result."""
    wanted = app.sign_only
    if wanted is None:
        yield
        return
    session.sign_from_now_on(wanted.seconds)
    try:
        yield
    except NothingSent as stopped:
        signed = signed_of(stopped)
        with written_only_if_whole(wanted.path) as out:
            out.write(signed.document)
        lines = [
            f"signed     {signed.says}",
            f"file       {wanted.path}",
            f"until      {moment(signed.deadline)}; it cannot be taken back before, unless what it asks for is made impossible",
            "Nothing was sent. Whoever has the file can submit it; it holds no secret.",
        ]
        app.result(
            {"file": wanted.path, "says": signed.says, "account": signed.account, "deadline": signed.deadline},
            lines,
            next_command=f"asset-bridge submit {wanted.path}",
        )
    else:
        app.note(f"There was nothing left to sign; {wanted.path} was not written.")
