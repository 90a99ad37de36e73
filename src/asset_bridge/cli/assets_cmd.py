"""`asset-bridge assets`: the provider's own listings; `assets set` changes an offer for future requests."""

from __future__ import annotations

from pathlib import Path

import click

from asset_bridge.cli.app import App, WithDefault, common, examples
from asset_bridge.cli.output import short, size, table
from asset_bridge.cli.session import (
    asset_argument,
    cost_lines,
    period_option,
    periods_of,
    pick_asset,
    provider,
    wei_of,
)
from asset_bridge.cli.signing import signable


@click.group(
    "assets",
    cls=WithDefault,
    epilog=examples("asset-bridge assets", "asset-bridge assets set 0x0a1b2c3d4e5f --price 0.02 --period pay=7d"),
)
def assets() -> None:
    """List your own assets, or change what future requests see."""


@assets.command("list")
@common
def ls(app: App) -> None:
    """List your own assets."""
    with provider(app, acting=False) as session:
        entries = [entry for entry in session.catalog() if entry.asset.provider == session.address]
        rows = [
            (
                short(entry.asset.asset_id),
                entry.description.title if entry.description else f"({entry.problem})",
                session.price(entry.asset.offer.price_wei, entry.asset.offer.token),
                size(entry.asset.listing.body_length),
                "retired" if entry.asset.retired else "listed",
            )
            for entry in entries
        ]
        lines = table(rows, ("ASSET", "TITLE", "PRICE", "SIZE", "STATE")) if rows else ["you have listed nothing yet"]
        app.result(
            entries, lines, next_command=app.command("inbox" if rows else "publish PATH --title TITLE --price PRICE")
        )


@assets.command(
    "set", epilog=examples("asset-bridge assets set 0x0a1b2c3d4e5f --price 0.02 --terms terms.txt --period pay=7d")
)
@asset_argument
@click.option("--price", help="New price, in whole units of what the asset is sold for.")
@click.option("--terms", "terms_file", type=click.Path(path_type=Path, exists=True), help="File with new terms of use.")
@period_option
@common
@signable
def set_(app: App, *, asset: str, price: str | None, terms_file: Path | None, period: tuple[str, ...]) -> None:
    """Change price, terms or deadlines of ASSET for future requests; orders already made keep theirs."""
    with provider(app) as session:
        asset_id = pick_asset(session, asset)
        offer = session.show(asset_id).asset.offer
        sent = session.set_offer(
            asset_id,
            price_wei=wei_of(price, session.token(offer.token).decimals) if price is not None else offer.price_wei,
            terms=terms_file.read_text() if terms_file else None,
            periods=periods_of(period, offer.periods),
        )
        app.result({"asset_id": asset_id, "sent": sent}, cost_lines(sent), next_command=app.command("assets"))
