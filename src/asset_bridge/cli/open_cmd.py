"""`asset-bridge open`: open an order's data again, without any node."""

from __future__ import annotations

from pathlib import Path

import click

from asset_bridge.cli.app import App, common, examples
from asset_bridge.cli.fetch_cmd import fetched_lines
from asset_bridge.cli.session import consumer, order_argument, pick_order


@click.command(
    "open",
    epilog=examples(
        "asset-bridge open 0x1f2e3d4c5b6a -o cohort-again",
        "asset-bridge open 0x1f2e3d4c5b6a -o cohort-again --sealed cohort.sealed",
    ),
)
@order_argument
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True, help="A new folder for the opened data."
)
@click.option(
    "--sealed", type=click.Path(path_type=Path, exists=True), help="The sealed file, when you keep it elsewhere."
)
@common
def open_(app: App, *, order: str, output: Path, sealed: Path | None) -> None:
    """Open the data of ORDER again from what this home keeps: no node is asked, also after access has ended."""
    with consumer(app, acting=False) as session:
        order_id = pick_order(session, order)
        done = session.open_again(order_id, output.absolute(), sealed=sealed)
        app.result(done, fetched_lines(done), next_command=app.command(f"status 0x{order_id.hex()[:12]}"))
