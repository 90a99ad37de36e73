"""`asset-bridge fetch`: download, re-encrypt and open in one."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from asset_bridge.chain.records import OrderState
from asset_bridge.cli.app import App, common, examples
from asset_bridge.cli.output import size
from asset_bridge.cli.session import consumer, cost_lines, label, order_argument, pick_order, resumable
from asset_bridge.client import Fetched


@click.command(
    "fetch",
    epilog=examples(
        "asset-bridge fetch 0x1f2e3d4c5b6a -o cohort",
        "asset-bridge fetch 0x1f2e3d4c5b6a -o cohort --gateway http://127.0.0.1:8080   # the ciphertext from your own IPFS node",
    ),
)
@order_argument
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True, help="A new folder for the opened data."
)
@click.option(
    "--gateway",
    "gateways",
    metavar="URL",
    multiple=True,
    help="Take the ciphertext from this IPFS gateway (trustless, raw blocks) and not from the network's nodes. May be repeated.",
)
@common
def fetch(app: App, *, order: str, output: Path, gateways: tuple[str, ...]) -> None:
    """Fetch the data of a paid ORDER into a new folder.

    Every block is verified on arrival; only then the TEE nodes are asked to re-encrypt. Nothing appears in the folder unless
    every byte verified. Stopped half-way, the same command goes on where it was, also with another --gateway.
    """
    with consumer(app) as session:
        order_id = pick_order(session, order)
        more = "".join(f" --gateway {shlex.quote(url)}" for url in gateways)
        with resumable(app, lambda: f"fetch {label(order_id)} -o {shlex.quote(str(output))}{more}"):
            done = session.fetch(order_id, output.absolute(), gateways=gateways)
        open_order = session.status(order_id).state in (OrderState.PAID, OrderState.DELIVERED)
        command = f"accept {label(order_id)}" if open_order else f"status {label(order_id)}"
        app.result(done, fetched_lines(done), next_command=app.command(command))


def fetched_lines(done: Fetched) -> list[str]:
    """What was written and who misbehaved on the way."""
    lines = [f"opened     {done.output}: {done.files} files, {size(done.bytes_written)}"]
    lines += [f"skipped    replica {name}: {code}" for name, code in done.bad_replicas]
    lines += [f"skipped    TEE node {name}: {code}" for name, code in done.failed_nodes]
    return [*lines, *cost_lines(done.recorded), "Checksums are in SHA256SUMS, the terms you agreed to in TERMS.txt."]
