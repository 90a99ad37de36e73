"""`asset-bridge balance` and `asset-bridge account`: what the account holds, who is paid, who can recover it."""

from __future__ import annotations

import time

import click

from asset_bridge.chain.keys import address_bytes, checksum_address
from asset_bridge.chain.records import ZERO_ADDRESS, ProviderAccount
from asset_bridge.cli.app import App, Command, WithDefault, common, examples
from asset_bridge.cli.output import amount, moment, remaining
from asset_bridge.cli.session import consumer, cost_lines, provider, tell_elsewhere
from asset_bridge.cli.signing import signable
from asset_bridge.client.results import Changed
from asset_bridge.errors import InputError

ENOUGH_COINS_WEI = 10**16


@click.command("balance", epilog=examples("asset-bridge balance", "asset-bridge balance --json"))
@common
def balance(app: App) -> None:
    """What the account holds, and what waits for it in the Exchange."""
    with consumer(app, acting=False) as session:
        tell_elsewhere(app, session, "balance")
        coins_wei, waiting_wei = session.coins_wei(), session.balance_wei()
        lines = [
            f"account    {session.address}",
            f"coins      {amount(coins_wei)}",
            f"to claim   {amount(waiting_wei)}",
        ]
        tokens = session.token_balances()
        for one in tokens:
            lines += [
                f"token      {session.price(one.held, one.token)} ({one.token})",
                f"to claim   {session.price(one.claimable, one.token)}",
            ]
        if coins_wei < ENOUGH_COINS_WEI:
            lines.append(f"low        send coins of chain {session.network.chain_id} to {session.address}")
        waiting = next((one.token for one in tokens if one.claimable), "")
        following = app.command("claim" if waiting_wei else f"claim --token {waiting}" if waiting else "status")
        data = {"address": session.address, "coins_wei": coins_wei, "claimable_wei": waiting_wei, "tokens": tokens}
        app.result(data, lines, next_command=following)


class Account(WithDefault):
    """`account` alone shows."""

    default = "show"


_of = click.option(
    "--of", "whose", metavar="ADDRESS", help="The provider whose recovery account this is [this account]."
)


@click.group(
    "account",
    cls=Account,
    epilog=examples(
        "asset-bridge account",
        "asset-bridge account payee 0x52908400098527886E0F7030069857D2E4169EE7",
        "asset-bridge account recovery 0x52908400098527886E0F7030069857D2E4169EE7",
        "asset-bridge account cancel",
        "asset-bridge account apply",
    ),
)
def account() -> None:
    """Who is paid, and who can recover the account.

    A change waits (7 days; less on a development chain). In that time the owner or the recovery account can cancel it; after it
    anyone can apply it. So a thief of the key cannot take the money of orders at once, and the recovery account can stop him.
    """


def account_lines(found: ProviderAccount) -> list[str]:
    """An account as lines, with the change that waits and when it applies."""
    lines = [
        f"account    {found.provider}",
        f"owner      {found.owner}",
        f"payee      {found.payee}",
        f"recovery   {_or_nobody(found.recovery)}",
    ]
    change = found.change
    if change is None:
        return [*lines, "pending    no change waits"]
    for name, old, new in (
        ("owner", found.owner, change.owner),
        ("payee", found.payee, change.payee),
        ("recovery", found.recovery, change.recovery),
    ):
        if old != new:
            lines.append(f"pending    {name} becomes {_or_nobody(new)}")
    left = change.applies_at - int(time.time())
    return [*lines, f"applies    from {moment(change.applies_at)} ({remaining(left) if left > 0 else 'now'})"]


def _or_nobody(address: str) -> str:
    return "nobody" if address == ZERO_ADDRESS else address


def _next(app: App, found: ProviderAccount, whose: str | None) -> str:
    of = f" --of {whose}" if whose else ""
    if found.change is None:
        return app.command("balance")
    return app.command(f"account {'apply' if found.change.applies_at <= time.time() else 'cancel'}{of}")


def _whose(text: str | None) -> str | None:
    return checksum_address(address_bytes(text)) if text else None


@account.command("show")
@_of
@common
def show(app: App, *, whose: str | None) -> None:
    """Show owner, payee, recovery account, and the change that waits."""
    with provider(app, acting=False) as session:
        found = session.account(_whose(whose))
        app.result(found, account_lines(found), next_command=_next(app, found, whose))


def _report(app: App, changed: Changed, whose: str | None) -> None:
    lines = [*account_lines(changed.account), *cost_lines(changed.sent)]
    app.result(changed, lines, next_command=_next(app, changed.account, whose))


@account.command("payee", epilog=examples("asset-bridge account payee 0x52908400098527886E0F7030069857D2E4169EE7"))
@click.argument("address")
@_of
@common
@signable
def payee(app: App, *, address: str, whose: str | None) -> None:
    """Have money paid out to ADDRESS. The change waits; `account apply` makes it take effect."""
    with provider(app) as session:
        _report(app, session.propose_change(payee=address, provider=_whose(whose)), whose)


@account.command(
    "recovery", epilog=examples("asset-bridge account recovery 0x52908400098527886E0F7030069857D2E4169EE7")
)
@click.argument("address")
@_of
@common
@signable
def recovery(app: App, *, address: str, whose: str | None) -> None:
    """Let ADDRESS cancel and propose changes of this account. The change waits like any other."""
    with provider(app) as session:
        _report(app, session.propose_change(recovery=address, provider=_whose(whose)), whose)


@account.command("ack", epilog=examples("asset-bridge account ack https://acks.hospital.example"))
@click.argument("url", required=False)
@click.option("--none", "remove", is_flag=True, help="Nobody acknowledges for you: light nodes do.")
@common
@signable
def ack(app: App, *, url: str | None, remove: bool) -> None:
    """Say in your profile that `agent --ack` acknowledges receipts of your deliveries at URL, with a key of this home.

    TEE nodes ask there before a fragment leaves, and light nodes only where it does not answer: nobody else can lose the proof of a
    delivery then. Make a backup afterwards: it holds the key.
    """
    if (url is None) != remove:
        raise InputError("cli.ack", "give a URL, or --none", hint="asset-bridge account ack https://…")
    with provider(app) as session:
        address, sent = session.ack_endpoint(url or "", app.passphrase)
        lines = [f"acks       {f'by {address} at {url}' if url else 'by light nodes'}", *cost_lines(sent)]
        data = {"ack_address": address, "ack_url": url or "", "sent": sent}
        app.result(data, lines, next_command=app.command("agent --ack HOST:PORT" if url else "account"))


def _simple(verb: str, text: str) -> Command:
    @account.command(verb, help=text, epilog=examples(f"asset-bridge account {verb}"))
    @_of
    @common
    @signable
    def run(app: App, *, whose: str | None) -> None:
        with provider(app) as session:
            act = session.cancel_change if verb == "cancel" else session.apply_change
            _report(app, act(_whose(whose)), whose)

    return run


cancel = _simple("cancel", "Drop the change that waits, as the owner or the recovery account.")
apply = _simple("apply", "Make the change that waits take effect, once its time has come.")
