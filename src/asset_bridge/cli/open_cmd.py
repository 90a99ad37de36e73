"""`asset-bridge open`: open an order's data again, whole, one member, or a range of it, without any TEE node."""

from __future__ import annotations

import re
from pathlib import Path

import click

from asset_bridge.cli.app import App, common, examples
from asset_bridge.cli.fetch_cmd import fetched_lines
from asset_bridge.cli.output import size
from asset_bridge.cli.session import consumer, order_argument, pick_order
from asset_bridge.errors import InputError


@click.command(
    "open",
    epilog=examples(
        "asset-bridge open 0x1f2e3d4c5b6a -o cohort-again",
        "asset-bridge open 0x1f2e3d4c5b6a -o cohort-again --sealed cohort.sealed",
        "asset-bridge open 0x1f2e3d4c5b6a -o patients.ndjson --member Patient.ndjson",
    ),
)
@order_argument
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    help="A new folder for the opened data; with --member a new file.",
)
@click.option(
    "--sealed", type=click.Path(path_type=Path, exists=True), help="The sealed file, when you keep it elsewhere."
)
@click.option("--member", metavar="PATH", help="Open only this file of the asset; only its blocks are read.")
@click.option("--range", "range_", metavar="A-B", help="With --member: only bytes A up to and not including B.")
@click.option(
    "--crypt4gh",
    "crypt4gh_key",
    type=click.Path(path_type=Path),
    metavar="PUBLIC-KEY",
    help="With --member: write a Crypt4GH file for the holder of this key; plaintext never touches the disk.",
)
@common
def open_(
    app: App,
    *,
    order: str,
    output: Path,
    sealed: Path | None,
    member: str | None,
    range_: str | None,
    crypt4gh_key: Path | None,
) -> None:
    """Open the data of ORDER again from what this home keeps: no TEE node is asked, also after access has ended."""
    if (member is None and (range_ or crypt4gh_key)) or (range_ and crypt4gh_key):
        raise InputError("cli.open", "--range and --crypt4gh need --member, and exclude each other")
    start, end = bounds(range_)
    with consumer(app, acting=False) as session:
        order_id = pick_order(session, order)
        again = app.command(f"status 0x{order_id.hex()[:12]}")
        if member is None:
            done = session.open_again(order_id, output.absolute(), sealed=sealed)
            app.result(done, fetched_lines(done), next_command=again)
            return
        part = session.open_member(
            order_id, member, output.absolute(), start=start, end=end, sealed=sealed, crypt4gh_key=crypt4gh_key
        )
        kind = "Crypt4GH file" if part.crypt4gh else "opened"
        app.result(part, [f"{kind}     {part.output}: {size(part.bytes_written)}"], next_command=again)


def bounds(text: str | None) -> tuple[int, int | None]:
    """The two numbers of A-B; B may be left out."""
    if text is None:
        return 0, None
    found = re.fullmatch(r"([0-9]{1,15})-([0-9]{1,15})?", text)
    if not found:
        raise InputError("cli.open", "a range is A-B: two whole numbers, as in 0-1048576; B may be left out")
    return int(found[1]), int(found[2]) if found[2] else None
