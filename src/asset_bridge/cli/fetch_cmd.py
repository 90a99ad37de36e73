"""`asset-bridge fetch`: download, re-encrypt and open in one."""

from __future__ import annotations

from pathlib import Path

import click

from asset_bridge.cli.app import App, common
from asset_bridge.cli.output import size
from asset_bridge.cli.session import consumer, cost_lines, order_argument, pick_order
from asset_bridge.client import Fetched


@click.command("fetch")
@order_argument
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True, help="A new folder for the opened data."
)
@common
def fetch(app: App, *, order: str, output: Path) -> None:
    """Fetch the data of a paid ORDER into a new folder.

    Every block is verified on arrival; only then the TEE nodes are asked to re-encrypt. Nothing appears in the folder unless
    every byte verified. Stopped half-way, the same command goes on where it was.
    """
    with consumer(app) as session:
        order_id = pick_order(session, order)
        done = session.fetch(order_id, output.absolute())
        label = f"0x{order_id.hex()[:12]}"
        app.result(done, fetched_lines(done), next_command=app.command(f"accept {label}"))


def fetched_lines(done: Fetched) -> list[str]:
    """What was written and who misbehaved on the way."""
    lines = [f"opened     {done.output}: {done.files} files, {size(done.bytes_written)}"]
    lines += [f"skipped    replica {name}: {code}" for name, code in done.bad_replicas]
    lines += [f"skipped    TEE node {name}: {code}" for name, code in done.failed_nodes]
    return [*lines, *cost_lines(done.recorded), "Checksums are in SHA256SUMS, the terms you agreed to in TERMS.txt."]
