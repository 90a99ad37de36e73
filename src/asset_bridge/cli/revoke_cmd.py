"""`asset-bridge revoke`, `reseal`, `retire`: the provider ends or repairs what was given."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from asset_bridge.cli.app import App, common, examples
from asset_bridge.cli.output import ask, short
from asset_bridge.cli.session import (
    asset_argument,
    cost_lines,
    label,
    needs_policy,
    node_label,
    order_argument,
    pick_asset,
    pick_order,
    provider,
    yes_option,
)
from asset_bridge.cli.signing import signable
from asset_bridge.client import Provider
from asset_bridge.errors import InputError, RefusedError
from asset_bridge.trade.desk import short as desk_short


@click.command("revoke", epilog=examples("asset-bridge revoke 0x1f2e3d4c5b6a"))
@order_argument
@yes_option
@common
@signable
def revoke(app: App, *, order: str, yes: bool) -> None:
    """Stop serving ORDER: no further re-encryption. Who opened the data already keeps it; undelivered money goes back."""
    with provider(app) as session:
        order_id = pick_order(session, order)
        if session.revoking_loses_a_challenge(order_id):
            app.note(
                "warning: the order has newer shares than those of its recorded delivery. Once it is revoked nobody can answer a challenge"
                " of them, and the consumer could get the price back. Wait until it is settled, unless serving must end now."
            )
        if not ask("Revoke this order for good?", yes=yes or app.as_json):
            raise RefusedError("cli.not-confirmed", "nothing was revoked", hint="answer y, or give --yes")
        done = session.revoke(order_id)
        lines = [
            f"order      0x{order_id.hex()} revoked",
            f"nodes      destroyed {done.destroyed}, ended by restart {done.ended} (attested new epoch), silent {done.silent}",
            *cost_lines(*done.sent),
        ]
        app.result(done, lines, next_command=app.command(f"status {label(order_id)}"))


@click.command("reseal", epilog=examples("asset-bridge reseal 0x1f2e3d4c5b6a --policy policy.toml"))
@order_argument
@click.option("--policy", type=click.Path(path_type=Path, exists=True), help="Which TEE nodes you trust (TOML).")
@common
@signable
def reseal(app: App, *, order: str, policy: Path | None) -> None:
    """Seal the lost shares of ORDER again, after TEE nodes restarted (a restart means new keys)."""
    with provider(app) as session:
        order_id = pick_order(session, order)
        done = session.reseal(order_id, policy=policy)
        lines = [
            f"resealed   slot {slot} to {node_label(done.names.get(desk_short(node_id), ''), short(node_id))}"
            for slot, node_id in done.slots
        ]
        lines += [
            f"failed     {node_label(done.names.get(name, ''), name)}: {', '.join(codes)}"
            for name, codes in done.failed
        ]
        if done.failed:
            lines.append("a node that is gone for good keeps its slot: new shares without it are made by `regenerate`")
        lines = lines or ["all shares are live; nothing to do"]
        again = f"reseal {label(order_id)}{needs_policy(session)}" if done.failed else f"status {label(order_id)}"
        app.result(done, [*lines, *cost_lines(*done.sent)], next_command=app.command(again))


@click.command(
    "retire",
    epilog=examples(
        "asset-bridge retire 0x0a1b2c3d4e5f",
        "asset-bridge retire 0x0a1b2c3d4e5f --unpin",
        "asset-bridge retire 0x0a1b2c3d4e5f --shred --certificate shredded.json",
    ),
)
@asset_argument
@click.option("--shred", "destroy", is_flag=True, help="Then destroy its key for ever, also in backups.")
@click.option("--unpin", is_flag=True, help="Then delete its ciphertext from the storage nodes, with receipts.")
@click.option("--certificate", type=click.Path(path_type=Path, dir_okay=False), help="Where to write the certificate.")
@yes_option
@common
@signable
def retire(app: App, *, asset: str, destroy: bool, unpin: bool, certificate: Path | None, yes: bool) -> None:
    """Take no new requests for ASSET. Open orders go on, unless --shred ends them and makes the asset unreadable.

    --unpin also deletes the ciphertext from the storage nodes, which sign receipts; refused while an order is paid or can be paid. Run it
    again for nodes that were silent.

    --shred revokes every order, waits for the TEE nodes to say that their keys are gone, destroys the asset's key here and, after
    30 days, in every backup, deletes the ciphertext, and writes a signed certificate. Who opened the asset keeps it. Run it again to
    ask those who were silent.
    """
    if certificate is not None and (certificate.exists() or not destroy):
        raise InputError(
            "cli.certificate", "--certificate needs --shred and the name of a file that is not there yet", hint="--help"
        )
    if app.sign_only is not None and (destroy or unpin):
        raise InputError(
            "cli.sign-only",
            "only the retirement itself can be signed",
            hint="run it again with --shred or --unpin later",
        )
    with provider(app) as session:
        asset_id = pick_asset(session, asset)
        question = "Make this asset unreadable for ever? This cannot be undone." if destroy else "Retire this asset?"
        if not ask(question, yes=yes or app.as_json):
            raise RefusedError("cli.not-confirmed", "nothing was retired", hint="answer y, or give --yes")
        if not destroy:
            _retire(app, session, asset_id, unpin=unpin)
            return
        done = session.shred(asset_id)
        if certificate is not None:
            certificate.write_bytes(done.document)
        following = "assets" if done.complete else f"retire 0x{asset_id.hex()[:12]} --shred"
        data = {"certificate": done.certificate, "document": done.document.decode(), "sent": done.sent}
        app.result(data, [*shred_lines(done.certificate), *cost_lines(*done.sent)], next_command=app.command(following))


def _retire(app: App, session: Provider, asset_id: bytes, *, unpin: bool) -> None:
    again = unpin and session.chain.asset(asset_id).retired
    sent = None if again else session.retire(asset_id)
    lines = [f"asset      0x{asset_id.hex()} retired", *cost_lines(sent)]
    data: dict[str, Any] = {"asset_id": asset_id, "sent": sent}
    following = "assets"
    if unpin:
        receipts, silent = session.unpin(asset_id)
        data |= {"unpinned": receipts, "silent_storage": silent}
        lines.append(f"storage    deleted by {len(receipts)} nodes, silent {len(silent)}")
        lines += [f"  receipt  {one['storage_node']} at {one['removed_at']}" for one in receipts]
        lines += [f"  silent   {name}" for name in silent]
        following = f"retire 0x{asset_id.hex()[:12]} --unpin" if silent else "assets"
    app.result(data, lines, next_command=app.command(following))


def shred_lines(said: dict[str, Any]) -> list[str]:
    """A certificate for people."""
    day = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(said["backups_unreadable_at"]))
    keys = f"destroyed {len(said['destroyed_slots'])}, ended by restart {len(said['ended_slots'])}"
    lines = [
        f"asset      {said['asset_id']} shredded: its key is destroyed in this home",
        f"backups    those made until now can be opened until {day}, none after it: keep the second place attached then",
        f"nodes      {keys}, silent {len(said['silent_slots'])}",
        *(f"  silent   {slot}" for slot in said["silent_slots"]),
        f"storage    deleted by {len(said['unpinned'])} nodes, silent {len(said['silent_storage'])}",
        *(f"  silent   {name}" for name in said["silent_storage"]),
    ]
    if said["on_chain_body"]:
        lines.append("chain      the ciphertext itself stays on the chain for ever")
    kept = [f"{who} (opened it)" for who in said["kept_by"]] + [f"{who} (may have)" for who in said["may_be_kept_by"]]
    return [*lines, f"kept by    {', '.join(kept) or 'nobody opened it'}"]
