"""`asset-bridge tokens`: which tokens may be a price, and the governor's way to change that."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from asset_bridge.chain.records import Sent
from asset_bridge.cli.app import App, WithDefault, common, examples
from asset_bridge.cli.governing import counting, govern, key_file_option
from asset_bridge.cli.session import consumer, token_of
from asset_bridge.trade.ports import ChainAccount
from asset_bridge.trade.tokens import allow_token, forbid_token


@click.group(
    "tokens",
    cls=WithDefault,
    epilog=examples(
        "asset-bridge tokens",
        "asset-bridge tokens allow 0x52908400098527886E0F7030069857D2E4169EE7 --home governor",
    ),
)
def tokens() -> None:
    """Which tokens may be a price on this network.

    Everybody can look. Only the network's governor changes the list: an addition waits the network's delay, a removal counts at once for
    new requests and never for orders that are open.
    """


@tokens.command("list")
@common
def list_(app: App) -> None:
    """Show every token that was ever on the list, and from when on it may be a price."""
    with consumer(app, acting=False) as session:
        times, governor = session.chain.token_times(), session.chain.governor_of("AssetLedger")
        now_at = session.chain.block().timestamp
        lines = [f"governor   {governor}"]
        for token, at in times.items():
            lines.append(f"token      {token}  {counting(at, now_at)}")
        data = {"governor": governor, "tokens": times}
        app.result(data, lines if times else [*lines, "tokens     none"], next_command=app.command("balance"))


@tokens.command(
    "allow",
    epilog=examples(
        "asset-bridge tokens allow 0x52908400098527886E0F7030069857D2E4169EE7 --home governor",
        "asset-bridge tokens allow 0x52908400098527886E0F7030069857D2E4169EE7 --key-file governor.key \\",
        "    --network network.toml",
    ),
)
@click.argument("token")
@key_file_option
@common
def allow(app: App, *, token: str, key_file: Path | None) -> None:
    """Let TOKEN be a price, after the network's delay. Not one that keeps a fee of transfers: payments in it fail."""
    _change(app, token, key_file, allow_token)


@tokens.command(
    "forbid", epilog=examples("asset-bridge tokens forbid 0x52908400098527886E0F7030069857D2E4169EE7 --home governor")
)
@click.argument("token")
@key_file_option
@common
def forbid(app: App, *, token: str, key_file: Path | None) -> None:
    """Let TOKEN be no price for new requests, at once. Orders in it go on, and what waits in it can be claimed."""
    _change(app, token, key_file, forbid_token)


def _change(
    app: App, text: str, key_file: Path | None, change: Callable[[ChainAccount, str], tuple[Sent, ...]]
) -> None:
    address = token_of(text)

    def about(_account: ChainAccount) -> tuple[dict[str, Any], list[str]]:
        return {"token": address}, [f"token      {address}"]

    govern(app, key_file, lambda account: change(account, address), "tokens", about=about)
