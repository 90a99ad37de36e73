"""`asset-bridge challenge`: a delivery without valid fragments is disputed, answered, closed."""

from __future__ import annotations

import click

from asset_bridge.cli.app import App, common, examples
from asset_bridge.cli.session import consumer, cost_lines, label, order_argument, pick_order
from asset_bridge.cli.signing import signable
from asset_bridge.errors import InputError


@click.command(
    "challenge",
    epilog=examples(
        "asset-bridge challenge 0x1f2e3d4c5b6a",
        "asset-bridge challenge 0x1f2e3d4c5b6a --answer   # provider, operator or anyone: post the fragments",
        "asset-bridge challenge 0x1f2e3d4c5b6a --close    # nobody answered in time: price and bond go back",
    ),
)
@order_argument
@click.option(
    "--answer", is_flag=True, help="Get the fragments from the nodes again and post them; the bond pays for it."
)
@click.option("--close", is_flag=True, help="End a challenge that was not answered in time.")
@common
@signable
def challenge(app: App, *, order: str, answer: bool, close: bool) -> None:
    """Say that ORDER was recorded as delivered but its fragments are missing or not valid.

    Sends a bond. Whoever posts the missing fragments takes it, and from then on they are public, useless without your key. If nobody
    does in time, price and bond come back, and the nodes that owed an answer lose a deposit to you. This says nothing about content:
    where the data is not what was promised, agree on a refund.
    """
    if answer and close:
        raise InputError("cli.challenge", "--answer and --close exclude each other", hint="give one of them")
    with consumer(app) as session:
        order_id = pick_order(session, order)
        shown = f"order      0x{order_id.hex()}"
        following = app.command(f"status {label(order_id)}")
        if answer:
            done = session.answer_challenge(order_id)
            told = "challenge met" if done.met else "answered in part"
            lines = [f"{shown} {told}", f"slots      {', '.join(map(str, done.slots))}", *cost_lines(*done.sent)]
            app.result(
                {"order_id": order_id, "slots": done.slots, "met": done.met, "sent": done.sent},
                lines,
                next_command=following,
            )
            return
        if close:
            sent = session.close_challenge(order_id)
            lines, following = [f"{shown} refunded", *cost_lines(*sent)], app.command("claim")
        else:
            sent = (session.challenge(order_id),)
            lines = [f"{shown} challenged", *cost_lines(*sent)]
        app.result({"order_id": order_id, "sent": sent}, lines, next_command=following)
