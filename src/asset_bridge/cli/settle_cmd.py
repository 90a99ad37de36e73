"""`asset-bridge accept`, `refund`, `claim`: how money leaves the escrow."""

from __future__ import annotations

import click

from asset_bridge.cli.app import App, common
from asset_bridge.cli.output import amount
from asset_bridge.cli.session import consumer, cost_lines, order_argument, pick_order, provider
from asset_bridge.errors import InputError


@click.command("accept")
@order_argument
@common
def accept(app: App, *, order: str) -> None:
    """Say that ORDER was delivered as promised: the escrow is settled at once instead of after the windows."""
    with consumer(app) as session:
        order_id = pick_order(session, order)
        sent = session.accept(order_id)
        lines = [f"order      0x{order_id.hex()} settled", *cost_lines(sent)]
        app.result(
            {"order_id": order_id, "sent": sent}, lines, next_command=app.command(f"status 0x{order_id.hex()[:12]}")
        )


@click.command("refund")
@order_argument
@click.option("--agree", is_flag=True, help="Refund by agreement of both sides, at any time before settlement.")
@click.option(
    "--as", "role", type=click.Choice(["provider", "consumer"]), help="With --agree: whose agreement to sign."
)
@click.option(
    "--with", "other", metavar="AGREEMENT", help="With --agree: the other side's agreement; sends the refund."
)
@common
def refund(app: App, *, order: str, agree: bool, role: str | None, other: str | None) -> None:
    """Get the price of ORDER back after a missed delivery, or, with --agree, by consent of both.

    By agreement: one side runs `refund ORDER --agree --as …` and gives the printed text to the other, who runs the same with
    --with TEXT.
    """
    if not agree:
        with consumer(app) as session:
            order_id = pick_order(session, order)
            sent = session.refund(order_id)
            lines = [f"order      0x{order_id.hex()} refunded", *cost_lines(sent)]
            app.result({"order_id": order_id, "sent": sent}, lines, next_command=app.command("claim"))
        return
    if role is None:
        raise InputError("cli.refund", "--agree needs --as provider or --as consumer")
    opener = provider if role == "provider" else consumer
    with opener(app) as party:
        order_id = pick_order(party, order)
        if other is None:
            agreement = party.agreement(order_id)
            others = "consumer" if role == "provider" else "provider"
            following = f"asset-bridge refund 0x{order_id.hex()} --agree --as {others} --with {agreement}"
            app.result({"order_id": order_id, "agreement": agreement}, [agreement], next_command=following)
            return
        sent = party.agree_refund(order_id, other)
        lines = [f"order      0x{order_id.hex()} refunded by agreement", *cost_lines(sent)]
        app.result({"order_id": order_id, "sent": sent}, lines, next_command=app.command("claim"))


@click.command("claim")
@click.argument("order", metavar="[ORDER]", required=False)
@common
def claim(app: App, *, order: str | None) -> None:
    """Take out what is yours. Orders whose windows have passed (or ORDER alone) are settled first."""
    with provider(app) as session:
        done = session.claim(pick_order(session, order) if order else None)
        lines = [f"settled    0x{one.hex()}" for one in done.settled]
        lines += [f"claimed    {amount(done.amount_wei)} to {done.payee}", *cost_lines(*done.sent)]
        app.result(done, lines, next_command=app.command("balance"))
