"""`asset-bridge cancel`: the consumer withdraws before paying."""

from __future__ import annotations

import click

from asset_bridge.cli.app import App, common, examples
from asset_bridge.cli.session import consumer, cost_lines, order_argument, pick_order
from asset_bridge.cli.signing import signable


@click.command("cancel", epilog=examples("asset-bridge cancel 0x1f2e3d4c5b6a"))
@order_argument
@common
@signable
def cancel(app: App, *, order: str) -> None:
    """Withdraw ORDER before it is paid."""
    with consumer(app) as session:
        order_id = pick_order(session, order)
        sent = session.cancel(order_id)
        lines = [f"order      0x{order_id.hex()} cancelled", *cost_lines(sent)]
        app.result({"order_id": order_id, "sent": sent}, lines, next_command=app.command("catalog"))
