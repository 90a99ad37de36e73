"""`asset-bridge pay`: check that the approved key will open the asset, then put the price into escrow."""

from __future__ import annotations

import click

from asset_bridge.chain.records import ZERO_ADDRESS
from asset_bridge.cli.app import App, common, examples
from asset_bridge.cli.output import ask
from asset_bridge.cli.session import consumer, cost_lines, label, order_argument, pick_order, yes_option
from asset_bridge.cli.signing import signable
from asset_bridge.errors import RefusedError


@click.command(
    "pay",
    epilog=examples(
        "asset-bridge pay 0x1f2e3d4c5b6a --check",
        "asset-bridge pay 0x1f2e3d4c5b6a",
        "asset-bridge pay 0x1f2e3d4c5b6a --minimum-accepts 2   # do not wait for the third node",
    ),
)
@order_argument
@click.option("--check", "check_only", is_flag=True, help="Only check; pay nothing.")
@click.option("--download-first", is_flag=True, help="Fetch and verify the whole ciphertext before paying.")
@click.option("--minimum-accepts", type=int, help="Pay when this many nodes (at least the threshold) have accepted.")
@yes_option
@common
@signable
def pay(
    app: App, *, order: str, check_only: bool, download_first: bool, minimum_accepts: int | None, yes: bool
) -> None:
    """Pay for ORDER. First this machine proves to itself, from the chain alone, that the approved key opens this asset.

    Then it asks the TEE nodes for their signed acceptance and samples blocks of the ciphertext from two replicas.

    A price in a token is taken by a permit that this account signs; where the token has none, one transaction more first allows the
    Exchange exactly the price.
    """
    with consumer(app) as session:
        order_id = pick_order(session, order)
        checked = session.check(order_id, minimum_accepts=minimum_accepts, download_first=download_first)
        lines = [
            "checked    the key opens this asset (listing, capsule, proof, signatures, every set of shares)",
            f"checked    {checked.accepts} of {checked.shares} TEE nodes opened their share and signed",
            f"checked    {checked.sampled_blocks} blocks of the ciphertext from {checked.replicas} replicas",
        ]
        lines += [f"bad        {name}: {code}" for name, code in checked.bad]
        price, token = session.price(checked.price_wei, checked.token), checked.token
        lines.append(f"price      {price}{f' (token {token})' if token != ZERO_ADDRESS else ''}")
        if check_only:
            app.result(checked, lines, next_command=app.command(f"pay {label(order_id)}"))
            return
        for line in lines:
            app.note(line)
        if app.sign_only is not None and token == ZERO_ADDRESS:
            app.note(
                f"Coins cannot be taken by a signature: whoever submits it gives the {price}; a refund would be yours."
            )
        if not ask(f"Pay {price} into escrow?", yes=yes or app.as_json):
            raise RefusedError("cli.not-confirmed", "nothing was paid", hint="answer y, or give --yes")
        paid = session.pay(order_id, minimum_accepts=minimum_accepts, download_first=download_first)
        lines = [f"order      0x{order_id.hex()} paid, {price} in escrow", *cost_lines(*paid.allowed, paid.sent)]
        app.result(paid, lines, next_command=app.command(f"fetch {label(order_id)} -o FOLDER"))
