"""`asset-bridge revoke`, `reseal`, `retire`: the provider ends or repairs what was given."""

from __future__ import annotations

from pathlib import Path

import click

from asset_bridge.cli.app import App, common
from asset_bridge.cli.output import ask, short
from asset_bridge.cli.session import (
    asset_argument,
    cost_lines,
    order_argument,
    pick_asset,
    pick_order,
    provider,
    yes_option,
)
from asset_bridge.errors import RefusedError


@click.command("revoke")
@order_argument
@yes_option
@common
def revoke(app: App, *, order: str, yes: bool) -> None:
    """Stop serving ORDER: no further re-encryption. Who opened the data already keeps it; undelivered money goes back."""
    with provider(app) as session:
        order_id = pick_order(session, order)
        if not ask("Revoke this order for good?", yes=yes or app.as_json):
            raise RefusedError("cli.not-confirmed", "nothing was revoked", hint="answer y, or give --yes")
        done = session.revoke(order_id)
        label = f"0x{order_id.hex()[:12]}"
        lines = [
            f"order      0x{order_id.hex()} revoked",
            f"nodes      destroyed {done.destroyed}, ended by restart {done.ended} (attested new epoch), silent {done.silent}",
            *cost_lines(*done.sent),
        ]
        app.result(done, lines, next_command=app.command(f"status {label}"))


@click.command("reseal")
@order_argument
@click.option("--policy", type=click.Path(path_type=Path, exists=True), help="Which TEE nodes you trust (TOML).")
@common
def reseal(app: App, *, order: str, policy: Path | None) -> None:
    """Seal the lost shares of ORDER again, after TEE nodes restarted (a restart means new keys)."""
    with provider(app) as session:
        order_id = pick_order(session, order)
        done = session.reseal(order_id, policy=policy)
        lines = [f"resealed   slot {slot} to node {short(node_id)}" for slot, node_id in done.slots]
        lines = lines or ["all shares are live; nothing to do"]
        following = app.command(f"status 0x{order_id.hex()[:12]}")
        app.result(done, [*lines, *cost_lines(*done.sent)], next_command=following)


@click.command("retire")
@asset_argument
@yes_option
@common
def retire(app: App, *, asset: str, yes: bool) -> None:
    """Take no new requests for ASSET. Open orders go on."""
    with provider(app) as session:
        asset_id = pick_asset(session, asset)
        if not ask("Retire this asset?", yes=yes or app.as_json):
            raise RefusedError("cli.not-confirmed", "nothing was retired", hint="answer y, or give --yes")
        sent = session.retire(asset_id)
        lines = [f"asset      0x{asset_id.hex()} retired", *cost_lines(sent)]
        app.result({"asset_id": asset_id, "sent": sent}, lines, next_command=app.command("assets"))
