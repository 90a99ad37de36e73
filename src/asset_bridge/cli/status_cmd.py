"""`asset-bridge status`: the state of one order or all, who must act, until when, and the next command."""

from __future__ import annotations

import time

import click

from asset_bridge.chain.records import OrderState
from asset_bridge.cli.app import App, common, examples
from asset_bridge.cli.output import moment, remaining, short, table
from asset_bridge.cli.session import DONE, consumer, following, label, pick_order, tell_elsewhere
from asset_bridge.client import Consumer, Status
from asset_bridge.errors import BridgeError

ANSWERED = (OrderState.APPROVED, OrderState.DENIED)


@click.command(
    "status",
    epilog=examples(
        "asset-bridge status",
        "asset-bridge status 0x1f2e3d4c5b6a --wait     # returns when it is your turn",
        "asset-bridge status 0x1f2e3d4c5b6a --follow --json",
    ),
)
@click.argument("order", metavar="[ORDER]", required=False)
@click.option("--wait", is_flag=True, help="Wait until it is somebody else's turn no longer.")
@click.option("--follow", is_flag=True, help="Print each change until the order has ended.")
@common
def status(app: App, *, order: str | None, wait: bool, follow: bool) -> None:
    """Show where ORDER stands, or all your orders."""
    with consumer(app, acting=False) as session:
        warning = session.backup_warning()
        if warning:
            app.note(f"warning: {warning}. Run: {app.command('backup FOLDER')}")
        if order is None:
            _all(app, session)
            return
        order_id = pick_order(session, order)
        now, told = session.status(order_id), ""
        while (wait and not session.is_my_turn(now) and now.state not in DONE) or (follow and now.state not in DONE):
            waited = waiting_for(now)
            if waited != told:
                stamp = f"{moment(int(time.time()))}  {now.state.name.lower()}: " if follow else ""
                app.note(f"{stamp}{waited} (Ctrl-C stops waiting; nothing is lost)")
                told = waited
            session.wait_for_change(order_id)
            now = session.status(order_id)
        command = following(session, now)
        lines = lines_of(now)
        if now.role == "consumer" and now.state in ANSWERED and (reply := _reply(session, order_id)):
            lines.append("reply      " + reply.replace("\n", "\n           "))
        app.result(now, lines, next_command=app.command(command) if command else "")


def _reply(session: Consumer, order_id: bytes) -> str:
    """What the provider wrote with the answer; a reply that cannot be read now is no reason to hide the status."""
    try:
        return session.reply(order_id)
    except BridgeError as error:
        return f"(not readable: {error.message})"


def _all(app: App, session: Consumer) -> None:
    found = session.orders()
    tell_elsewhere(app, session, "status")
    if not found:
        entries = [entry for entry in session.catalog() if not entry.asset.retired]
        own = any(entry.asset.provider == session.address for entry in entries)
        command = "inbox --wait" if own else "catalog" if entries else "publish PATH --title TITLE --price PRICE"
        app.result(found, ["you have no orders"], next_command=app.command(command))
        return
    rows = [(short(one.order_id), one.role, one.state.name.lower(), one.who, _until(one), one.detail) for one in found]
    lines = table(rows, ("ORDER", "YOU ARE", "STATE", "WAITS FOR", "UNTIL", ""))
    first = next((one for one in found if session.is_my_turn(one) and one.next_command), None)
    lost = next((one for one in found if one.lost and one.role == "provider" and one.next_command), None)
    open_order = next((one for one in found if one.state not in DONE), None)
    if chosen := first or lost:
        command = following(session, chosen)
    elif open_order is not None:
        command = f"status {label(open_order.order_id)} --wait"
    else:
        command = following(session, found[0])
    app.result(found, lines, next_command=app.command(command) if command else "")


def waiting_for(now: Status) -> str:
    """Whom and what one waits for, in a sentence."""
    what = {
        OrderState.REQUESTED: "to answer the request",
        OrderState.APPROVED: "to pay",
        OrderState.PAID: "to fetch the data, and for the delivery to be recorded",
        OrderState.DELIVERED: "to accept, or for the window to pass",
    }.get(now.state, "")
    until = f" until {moment(now.until_at)}" if now.until_at else ""
    return f"waiting for the {now.who} {what}{until}".rstrip()


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
        lines += [f"           slot {slot}: TEE node {short(node_id)} {reason}" for slot, node_id, reason in now.lost]
        dead = {slot for slot, _, _ in now.lost}
        lines += [
            f"           slot {one.slot}: TEE node {short(one.node_id)} tee: {one.tee}, measurement {short(one.measurement_id)}"
            for one in now.holders
            if one.slot not in dead
        ]
        if now.lost and now.role == "consumer":
            lines.append("           the provider can mend this: asset-bridge reseal ORDER")
    return lines
