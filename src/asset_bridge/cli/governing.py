"""Act as the network's governor: with the account of a home, or with a key file, as the one that deployed the contracts.

Source: spec/cli.md C22, C24. A key file acts without a home: the network comes from --network or the home's own file, and the journal
of what was sent lives as long as the command, because each of these verbs may be given again.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import click

from asset_bridge.chain.account import RpcAccount
from asset_bridge.chain.adapter import RpcChain
from asset_bridge.chain.keys import AccountKey
from asset_bridge.chain.records import Sent
from asset_bridge.cli.app import App
from asset_bridge.cli.output import ask, moment
from asset_bridge.cli.session import chosen_network, consumer, cost_lines
from asset_bridge.errors import InputError, RefusedError
from asset_bridge.trade.network import deployment_of
from asset_bridge.trade.ports import ChainAccount
from asset_bridge.vault.home import Home

Change = Callable[[ChainAccount], tuple[Sent, ...]]
About = Callable[[ChainAccount], tuple[dict[str, Any], list[str]]]

key_file_option = click.option(
    "--key-file",
    type=click.Path(path_type=Path, exists=True),
    help="The governor's key, 32 bytes as hex, mode 0600 [the home's account].",
)


def key_of(key_file: Path) -> AccountKey:
    """The account key in a file.

    Raises:
        InputError(cli.key-file): others can read it, or it does not hold 32 bytes of hex.
    """
    if key_file.stat().st_mode & 0o077:
        raise InputError("cli.key-file", f"others can read {key_file}", hint=f"chmod 600 {key_file}")
    try:
        return AccountKey(bytes.fromhex(key_file.read_text().strip().removeprefix("0x")))
    except ValueError:
        raise InputError("cli.key-file", f"{key_file} does not hold 32 bytes of hex") from None


def counting(at: int, now_at: int) -> str:
    """Whether what a list has counts now, or from when on; `at` is the list's own word, 0 for what was taken off."""
    return "removed" if not at else "yes" if at <= now_at else f"from {moment(at)}"


@contextmanager
def governing(app: App, key_file: Path | None) -> Iterator[ChainAccount]:
    """The account that a governor's verb acts with."""
    if key_file is None:
        with consumer(app) as session:
            yield session.desk.account
        return
    key = key_of(key_file)
    network = chosen_network(app) or Home.open(app.home).network
    with (
        closing(RpcChain(deployment_of(network), network.rpc_urls)) as chain,
        tempfile.TemporaryDirectory() as folder,
        closing(RpcAccount(chain, key, Path(folder) / "journal.sqlite")) as account,
    ):
        chain.check()
        yield account


def govern(
    app: App,
    key_file: Path | None,
    change: Change,
    following: str,
    *,
    question: str = "",
    about: About = lambda _account: ({}, []),
) -> None:
    """Change one of the network's lists and show what was sent, or that it was so already.

    Args:
        following: the command that is suggested next.
        question: asked first; empty for none.
        about: what to show of the list afterwards, as data and as lines.
    Raises:
        RefusedError(cli.not-confirmed): the question was not answered with yes.
    """
    with governing(app, key_file) as account:
        if question and not ask(question, yes=app.as_json):
            raise RefusedError("cli.not-confirmed", "nothing was changed", hint="answer y, or give --yes")
        sent = change(account)
        data, lines = about(account)
        lines = [*lines, *(cost_lines(*sent) or ["nothing to do: it is so already"])]
        app.result({**data, "sent": sent}, lines, next_command=app.command(following))
