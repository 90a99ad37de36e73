"""`asset-bridge exchanges`: the Exchanges of this AssetLedger and NodeRegistry, and the governor's way to allow, close and remove one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from asset_bridge.chain.exchanges import LISTS, ExchangeListing
from asset_bridge.chain.records import Sent
from asset_bridge.cli.app import App, WithDefault, common, examples
from asset_bridge.cli.governing import govern, key_file_option
from asset_bridge.cli.output import moment
from asset_bridge.cli.session import consumer, token_of, yes_option
from asset_bridge.trade.exchanges import allow_exchange, close_exchange, remove_exchange
from asset_bridge.trade.ports import ChainAccount


@click.group(
    "exchanges",
    cls=WithDefault,
    epilog=examples(
        "asset-bridge exchanges",
        "asset-bridge exchanges allow 0x52908400098527886E0F7030069857D2E4169EE7 --home governor",
    ),
)
def exchanges() -> None:
    """Which Exchanges take orders for the assets of this network.

    Everybody can look. Only the governors of AssetLedger and NodeRegistry (one account, unless one of them was handed on) change it: an
    addition waits the network's delay. A new one comes from `deploy --beside`.
    """


@exchanges.command("list")
@common
def list_(app: App) -> None:
    """Show every Exchange that was ever listed, from when on it counts, and which are closed; `*` marks this home's."""
    with consumer(app, acting=False) as session:
        found, now_at = session.chain.exchange_listings(), session.chain.block().timestamp
        governors = {contract: session.chain.governor_of(contract) for contract in LISTS}
        own = session.chain.exchange
        lines = [f"governor   {governors[contract]}  {contract}" for contract in LISTS]
        lines += [f"{'*' if one.address == own else ' '} {one.address}  {state_of(one, now_at)}" for one in found]
        data = {"governors": governors, "exchange": own, "exchanges": found}
        app.result(data, lines, next_command=app.command("status"))


def state_of(one: ExchangeListing, now_at: int) -> str:
    """What an Exchange takes now, and each list's own word where it takes nothing."""
    if one.takes_requests(now_at):
        return "takes requests"

    def since(at: int) -> str:
        return "not listed" if not at else "listed" if at <= now_at else f"from {moment(at)}"

    lists = ", ".join(f"{contract} {since(one.listed_from(contract))}" for contract in LISTS)
    return f"{'closed to new requests' if one.closed else 'takes no requests'} ({lists})"


@exchanges.command(
    "allow",
    epilog=examples(
        "asset-bridge exchanges allow 0x52908400098527886E0F7030069857D2E4169EE7 --home governor",
        "asset-bridge exchanges allow 0x52908400098527886E0F7030069857D2E4169EE7 --key-file governor.key \\",
        "    --network network.toml",
    ),
)
@click.argument("exchange", metavar="ADDRESS")
@key_file_option
@common
def allow(app: App, *, exchange: str, key_file: Path | None) -> None:
    """List the Exchange at ADDRESS on AssetLedger and NodeRegistry, each after the network's delay.

    Refused unless the contract there is this release's Exchange and names this AssetLedger and NodeRegistry. An Exchange can keep
    assets from being retired and, through its Challenges, take stakes of nodes: know who deployed it.
    """
    _change(app, exchange, key_file, allow_exchange)


@exchanges.command(
    "close", epilog=examples("asset-bridge exchanges close 0x52908400098527886E0F7030069857D2E4169EE7 --home governor")
)
@click.argument("exchange", metavar="ADDRESS")
@key_file_option
@yes_option
@common
def close(app: App, *, exchange: str, key_file: Path | None, yes: bool) -> None:
    """End new requests at the Exchange at ADDRESS, for ever.

    Whatever orders it has go on to their end: approval, payment, delivery, refund, claim.
    """
    question = f"End new requests at {exchange} for ever?"
    _change(app, exchange, key_file, close_exchange, "" if yes else question)


@exchanges.command(
    "remove",
    epilog=examples("asset-bridge exchanges remove 0x52908400098527886E0F7030069857D2E4169EE7 --home governor"),
)
@click.argument("exchange", metavar="ADDRESS")
@key_file_option
@yes_option
@common
def remove(app: App, *, exchange: str, key_file: Path | None, yes: bool) -> None:
    """Take the Exchange at ADDRESS from the NodeRegistry's list at once: for one that is at fault, not for an ordinary upgrade.

    Its approved orders cannot be paid any more, shares cannot be sealed again, and nobody loses a deposit to it. Refunds, settlement and
    claims go on. `allow` lists it again, after the network's delay.
    """
    question = f"Remove {exchange} at once? Its approved orders can then not be paid"
    _change(app, exchange, key_file, remove_exchange, "" if yes else question)


def _change(
    app: App,
    text: str,
    key_file: Path | None,
    change: Callable[[ChainAccount, str], tuple[Sent, ...]],
    question: str = "",
) -> None:
    address = token_of(text)

    def about(account: ChainAccount) -> tuple[dict[str, Any], list[str]]:
        found, now_at = account.reader.exchange_listing(address), account.reader.block().timestamp
        return {"exchange": found}, [f"exchange   {address}", f"state      {state_of(found, now_at)}"]

    govern(app, key_file, lambda account: change(account, address), "exchanges", question=question, about=about)
