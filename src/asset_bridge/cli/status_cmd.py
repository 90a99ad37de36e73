"""`asset-bridge status`: the state of one order or all, who must act, until when, and the next command."""

from __future__ import annotations

import time

import click

from asset_bridge.chain.records import OrderState
from asset_bridge.cli.app import App, common
from asset_bridge.cli.output import moment, remaining, short, table
from asset_bridge.cli.session import consumer, pick_order
from asset_bridge.client import Status

_DONE = (OrderState.DENIED, OrderState.CANCELLED, OrderState.EXPIRED, OrderState.REFUNDED, OrderState.SETTLED)


@click.command("status")
@click.argument("order", metavar="[ORDER]", required=False)
@click.option("--wait", is_flag=True, help="Wait until it is somebody else's turn no longer.")
@click.option("--follow", is_flag=True, help="Print each change until the order has ended.")
@common
def status(app: App, *, order: str | None, wait: bool, follow: bool) -> None:
    """Show where ORDER stands, or all your orders."""
    with consumer(app, acting=False) as session:
        warning = session.backup_warning()
        if warning:
            app.note(f"warning: {warning}")
        if order is None:
            found = session.orders()
            rows = [(short(one.order_id), one.state.name.lower(), one.who, _until(one), one.detail) for one in found]
            lines = table(rows, ("ORDER", "STATE", "WAITS FOR", "UNTIL", "")) if rows else ["you have no orders"]
            following = found[0].next_command if len(found) == 1 else "status ORDER" if rows else "catalog"
            app.result(found, lines, next_command=app.command(following) if following else "")
            return
        order_id = pick_order(session, order)
        now = session.status(order_id)
        while (wait and not session.is_my_turn(now) and now.state not in _DONE) or (follow and now.state not in _DONE):
            if follow:
                app.note(f"{moment(int(time.time()))}  {now.state.name.lower()}, waits for {now.who}")
            session.wait_for_change(order_id)
            now = session.status(order_id)
        app.result(now, lines_of(now), next_command=app.command(now.next_command) if now.next_command else "")


def _until(one: Status) -> str:
    return remaining(one.until_at - int(time.time())) if one.until_at else "–"


def lines_of(now: Status) -> list[str]:
    """One order's status as lines."""
    lines = [
        f"order      0x{now.order_id.hex()}",
        f"asset      0x{now.asset_id.hex()}",
        f"state      {now.state.name.lower()}{', ' + now.detail if now.detail else ''}",
        f"waits for  {now.who}" + (f" until {moment(now.until_at)} ({_until(now)})" if now.until_at else ""),
    ]
    if now.shares:
        lines.append(f"shares     {now.live_shares} of {now.shares} shares live, {now.threshold} needed")
        lines += [f"           slot {slot}: node {short(node_id)} {reason}" for slot, node_id, reason in now.lost]
    return lines
