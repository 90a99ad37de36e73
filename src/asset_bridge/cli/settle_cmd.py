"""`asset-bridge accept`, `refund`, `claim`: how money leaves the escrow."""

from __future__ import annotations

import click

from asset_bridge.chain.records import ZERO_ADDRESS
from asset_bridge.cli.app import App, common, examples
from asset_bridge.cli.session import (
    consumer,
    cost_lines,
    label,
    order_argument,
    pick_order,
    provider,
    token_of,
    token_option,
)
from asset_bridge.cli.signing import signable
from asset_bridge.errors import InputError


@click.command("accept", epilog=examples("asset-bridge accept 0x1f2e3d4c5b6a"))
@order_argument
@common
@signable
def accept(app: App, *, order: str) -> None:
    """Say that ORDER was delivered as promised: the escrow is settled at once instead of after the windows.

    Where no node has recorded the delivery yet, that is done first, so this may send two transactions; both costs are shown.
    """
    with consumer(app) as session:
        order_id = pick_order(session, order)
        sent = session.accept(order_id)
        lines = [f"order      0x{order_id.hex()} settled", *cost_lines(*sent)]
        data = {"order_id": order_id, "sent": sent}
        app.result(data, lines, next_command=app.command(f"status {label(order_id)}"))


@click.command(
    "refund",
    epilog=examples(
        "asset-bridge refund 0x1f2e3d4c5b6a",
        "asset-bridge refund 0x1f2e3d4c5b6a --agree                  # prints this side's agreement",
        "asset-bridge refund 0x1f2e3d4c5b6a --agree --with 0x90af…   # the other side sends it",
    ),
)
@order_argument
@click.option("--agree", is_flag=True, help="Refund by agreement of both sides, at any time before settlement.")
@click.option(
    "--with", "other", metavar="AGREEMENT", help="With --agree: the other side's agreement; sends the refund."
)
@common
def refund(app: App, *, order: str, agree: bool, other: str | None) -> None:
    """Get the price of ORDER back after a missed delivery, or, with --agree, by consent of both.

    By agreement: one side runs `refund ORDER --agree` and gives the printed text to the other, who runs the command that came with
    it. Either side may begin; the text is good for 30 days and for this order only.
    """
    if other is not None and not agree:
        raise InputError("cli.refund", "--with belongs to --agree", hint="asset-bridge refund ORDER --agree --with …")
    with consumer(app) as session:
        order_id = pick_order(session, order)
        offer = session.chain.order(order_id).terms.offer
        price = session.price(offer.price_wei, offer.token)
        if not agree:
            sent = session.refund(order_id)
            lines = [f"order      0x{order_id.hex()} refunded, {price}", *cost_lines(sent)]
        elif other is None:
            agreement = session.agreement(order_id)
            lines = [f"agreement  {agreement}", "Give it to the other side. Until they send it, nothing happens."]
            following = f"asset-bridge refund {label(order_id)} --agree --with {agreement}"
            app.result({"order_id": order_id, "agreement": agreement}, lines, next_command=following)
            return
        else:
            sent = session.agree_refund(order_id, other)
            lines = [f"order      0x{order_id.hex()} refunded by agreement, {price}", *cost_lines(sent)]
        claim_it = "claim" if offer.token == ZERO_ADDRESS else f"claim --token {offer.token}"
        following = app.command(claim_it if session.balance_wei(offer.token) else f"status {label(order_id)}")
        app.result({"order_id": order_id, "sent": sent}, lines, next_command=following)


@click.command(
    "claim",
    epilog=examples(
        "asset-bridge claim",
        "asset-bridge claim 0x1f2e3d4c5b6a",
        "asset-bridge claim --token 0x52908400098527886E0F7030069857D2E4169EE7",
    ),
)
@click.argument("order", metavar="[ORDER]", required=False)
@token_option
@common
@signable
def claim(app: App, *, order: str | None, token: str | None) -> None:
    """Take out what is yours. Orders whose windows have passed (or ORDER alone) are settled first.

    Coins, unless --token names a token or ORDER was paid in one; `balance` shows what waits.
    """
    with provider(app) as session:
        done = session.claim(pick_order(session, order) if order else None, token_of(token) if token else None)
        lines = [f"settled    0x{one.hex()}" for one in done.settled]
        lines += [f"not settled 0x{one.hex()}: {code}" for one, code in done.unsettled]
        lines += [f"claimed    {session.price(done.amount_wei, done.token)} to {done.payee}", *cost_lines(*done.sent)]
        app.result(done, lines, next_command=app.command("balance"))
