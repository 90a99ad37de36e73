"""`asset-bridge tokens`: which tokens may be a price, and the governor's way to change that."""

from __future__ import annotations

import click

from asset_bridge.cli.app import App, WithDefault, common, examples
from asset_bridge.cli.output import moment
from asset_bridge.cli.session import consumer, cost_lines, token_of
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
        times, now_at, governor = (
            session.chain.token_times(),
            session.chain.block().timestamp,
            session.chain.governor_address(),
        )
        lines = [f"governor   {governor}"]
        for token, at in times.items():
            when = "removed" if not at else "yes" if at <= now_at else f"from {moment(at)}"
            lines.append(f"token      {token}  {when}")
        data = {"governor": governor, "tokens": times}
        app.result(data, lines if times else [*lines, "tokens     none"], next_command=app.command("balance"))


@tokens.command("allow", epilog=examples("asset-bridge tokens allow 0x52908400098527886E0F7030069857D2E4169EE7"))
@click.argument("token")
@common
def allow(app: App, *, token: str) -> None:
    """Let TOKEN be a price, after the network's delay. Not one that keeps a fee of transfers: payments in it fail."""
    with consumer(app) as session:
        sent = allow_token(session.desk.account, token_of(token))
        app.result(sent, [f"token      {token_of(token)}", *cost_lines(sent)], next_command=app.command("tokens"))


@tokens.command("forbid", epilog=examples("asset-bridge tokens forbid 0x52908400098527886E0F7030069857D2E4169EE7"))
@click.argument("token")
@common
def forbid(app: App, *, token: str) -> None:
    """Let TOKEN be no price for new requests, at once. Orders in it go on, and what waits in it can be claimed."""
    with consumer(app) as session:
        sent = forbid_token(session.desk.account, token_of(token))
        app.result(sent, [f"token      {token_of(token)}", *cost_lines(sent)], next_command=app.command("tokens"))
