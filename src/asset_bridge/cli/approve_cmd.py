"""`asset-bridge approve` and `deny`: the provider's answer."""

from __future__ import annotations

from pathlib import Path

import click

from asset_bridge.cli.app import App, common, examples
from asset_bridge.cli.inbox_cmd import page
from asset_bridge.cli.output import ask, moment
from asset_bridge.cli.session import cost_lines, holder_lines, label, order_argument, pick, provider, yes_option
from asset_bridge.cli.signing import signable
from asset_bridge.errors import RefusedError

_WHERE = "`asset-bridge inbox` shows the requests that wait for you"


@click.command(
    "approve",
    epilog=examples(
        "asset-bridge approve 0x1f2e3d4c5b6a --policy policy.toml",
        'asset-bridge approve 0x1f2e3d4c5b6a --reply "Please cite the register." --threshold 3 --shares 5',
    ),
)
@order_argument
@click.option("--policy", type=click.Path(path_type=Path, exists=True), help="Which TEE nodes you trust (TOML).")
@click.option("--reply", default="", help="A message that only the consumer can read.")
@click.option("--threshold", type=int, help="How many TEE nodes must act together [the policy's].")
@click.option("--shares", type=int, help="How many TEE nodes get a share [the policy's].")
@yes_option
@common
@signable
def approve(
    app: App, *, order: str, policy: Path | None, reply: str, threshold: int | None, shares: int | None, yes: bool
) -> None:
    """Approve ORDER: verify TEE nodes, make the proxy key, seal each share to one of them, record it.

    Each TEE node's evidence is challenged and verified on this machine against your policy. The policy names the operators,
    measurements and platforms you trust; without one nobody is trusted.
    """
    with provider(app) as session:
        items = {item.order.order_id: item for item in session.inbox()}
        order_id = pick(order, items, "order", _WHERE)
        if order_id in items:
            offer = items[order_id].order.terms.offer
            for line in page(items[order_id], session.price(offer.price_wei, offer.token)):
                app.note(line)
        if not ask("Approve this request?", yes=yes or app.as_json):
            raise RefusedError("cli.not-confirmed", "nothing was approved", hint="answer y, or give --yes")
        app.note("asking each TEE node for fresh evidence and verifying it here …")
        done = session.approve(order_id, policy=policy, reply=reply, threshold=threshold, shares=shares)
        lines = [f"order      0x{order_id.hex()}"]
        lines += [
            *holder_lines(done.threshold, done.chosen, done.refused, done.names),
            f"accepted   {done.accepted} of {len(done.chosen)} nodes opened their share and signed",
            *cost_lines(*done.sent),
        ]
        app.result(done, lines, next_command=app.command(f"status {label(order_id)}"))


@click.command("deny", epilog=examples('asset-bridge deny 0x1f2e3d4c5b6a --reply "The ethics vote is missing."'))
@order_argument
@click.option("--reply", default="", help="A message that only the consumer can read.")
@common
@signable
def deny(app: App, *, order: str, reply: str) -> None:
    """Say no to ORDER."""
    with provider(app) as session:
        order_id = pick(order, [item.order.order_id for item in session.inbox()], "order", _WHERE)
        sent = session.deny(order_id, reply=reply)
        lines = [f"order      0x{order_id.hex()} denied {moment(sent.block.timestamp)}", *cost_lines(sent)]
        app.result({"order_id": order_id, "sent": sent}, lines, next_command=app.command("inbox"))
