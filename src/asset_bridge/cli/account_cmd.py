"""`asset-bridge balance` and `asset-bridge account payee|recovery`."""

from __future__ import annotations

import click

from asset_bridge.cli.app import App, common
from asset_bridge.cli.output import amount, moment
from asset_bridge.cli.session import consumer, cost_lines, provider


@click.command("balance")
@common
def balance(app: App) -> None:
    """What the account holds, and what waits for it in the Exchange."""
    with consumer(app, acting=False) as session:
        coins_wei, waiting_wei = session.coins_wei(), session.balance_wei()
        lines = [
            f"account    {session.address}",
            f"coins      {amount(coins_wei)}",
            f"to claim   {amount(waiting_wei)}",
        ]
        following = app.command("claim") if waiting_wei else app.command("status")
        data = {"address": session.address, "coins_wei": coins_wei, "claimable_wei": waiting_wei}
        app.result(data, lines, next_command=following)


@click.group("account")
def account() -> None:
    """Who is paid, and who can recover the account.

    A change waits 7 days (less on a development chain) and the owner or the recovery account can cancel it in that time.
    """


def _change(app: App, payee: str | None, recovery: str | None) -> None:
    with provider(app) as session:
        changed = session.change_account(payee=payee, recovery=recovery)
        word = "takes effect" if changed.effective_at else "took effect at once"
        lines = [
            f"payee      {changed.payee}",
            f"recovery   {changed.recovery}",
            f"{word} {moment(changed.effective_at) if changed.effective_at else ''}".rstrip(),
            *cost_lines(changed.sent),
        ]
        app.result(changed, lines, next_command=app.command("balance"))


@account.command("payee")
@click.argument("address")
@common
def payee(app: App, *, address: str) -> None:
    """Have money paid out to ADDRESS."""
    _change(app, address, None)


@account.command("recovery")
@click.argument("address")
@common
def recovery(app: App, *, address: str) -> None:
    """Let ADDRESS cancel changes and, after the delay, replace the owner."""
    _change(app, None, address)
