"""`asset-bridge catalog`: what is for sale."""

from __future__ import annotations

import click

from asset_bridge.chain.records import ZERO_ADDRESS
from asset_bridge.cli.app import App, common, examples
from asset_bridge.cli.output import moment, remaining, short, size, table
from asset_bridge.cli.session import consumer, label, pick_asset
from asset_bridge.client import CatalogEntry, Consumer


@click.command("catalog", epilog=examples("asset-bridge catalog", "asset-bridge catalog 0x0a1b2c3d4e5f"))
@click.argument("asset", required=False)
@common
def catalog(app: App, *, asset: str | None) -> None:
    """List what is for sale, or show one ASSET with its terms and deadlines."""
    with consumer(app, acting=False) as session:
        if asset:
            _one(app, session, session.show(pick_asset(session, asset)))
            return
        entries = session.catalog()
        rows = [
            (
                short(entry.asset.asset_id),
                entry.description.title if entry.description else f"({entry.problem})",
                session.price(entry.asset.offer.price_wei, entry.asset.offer.token),
                size(entry.asset.listing.body_length),
                entry.asset.provider,
            )
            for entry in entries
            if not entry.asset.retired
        ]
        lines = table(rows, ("ASSET", "TITLE", "PRICE", "SIZE", "PROVIDER")) if rows else ["nothing is listed yet"]
        listed = [entry.asset for entry in entries if not entry.asset.retired]
        first = next((asset for asset in listed if asset.provider != session.address), None)
        if first is not None:
            command = f"catalog {label(first.asset_id)}"
        else:
            command = "inbox --wait" if listed else "publish PATH --title TITLE --price PRICE"
        app.result(entries, lines, next_command=app.command(command))


def _one(app: App, session: Consumer, shown: CatalogEntry) -> None:
    asset, description = shown.asset, shown.description
    periods = asset.offer.periods
    lines = [
        f"asset      0x{asset.asset_id.hex()}",
        f"title      {description.title if description else f'({shown.problem})'}",
        *([f"summary    {description.summary}"] if description and description.summary else []),
        f"provider   {asset.provider}",
        f"price      {session.price(asset.offer.price_wei, asset.offer.token)}",
        *([f"token      {asset.offer.token}"] if asset.offer.token != ZERO_ADDRESS else []),
        f"size       {size(asset.listing.body_length)} of ciphertext",
        f"listed     {moment(asset.listed_in.timestamp)}, block {asset.listed_in.number}",
        f"deadlines  answer within {remaining(periods.approve_seconds)}, pay within {remaining(periods.pay_seconds)}, "
        f"delivery within {remaining(periods.deliver_seconds)}, access for {remaining(periods.access_seconds)}",
        "terms      " + shown.terms.replace("\n", "\n           "),
    ]
    following = app.command(f"request {label(asset.asset_id)} --example > application.json")
    app.result(shown, lines, next_command=following)
