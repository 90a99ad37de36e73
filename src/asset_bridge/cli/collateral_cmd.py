"""`asset-bridge evidence fetch`: what a vendor publishes beside its evidence, into files for offline use."""

from __future__ import annotations

import time
from pathlib import Path

import click

from asset_bridge.attesters.collateral import AMD_URL, INTEL_URL, AmdService, HttpFetch, IntelService
from asset_bridge.cli.app import App, common, examples
from asset_bridge.client.collateral import fetch_for
from asset_bridge.client.evidence_file import read

_file = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.command(
    "fetch",
    epilog=examples(
        "asset-bridge evidence fetch td.quote",
        "asset-bridge evidence fetch td.quote --intel https://pccs.example:8081",
        "asset-bridge evidence fetch report.bin --product Turin --into platform",
    ),
)
@click.argument("file", type=_file)
@click.option("--intel", default=INTEL_URL, show_default=True, help="Intel's service, or a PCCS.")
@click.option("--amd", default=AMD_URL, show_default=True, help="AMD's key distribution service.")
@click.option(
    "--product", type=click.Choice(["Milan", "Genoa", "Turin"]), default="Genoa", show_default=True,
    help="AMD's, where the file does not say it.",
)  # fmt: skip
@click.option(
    "--into", type=click.Path(path_type=Path, file_okay=False), help="Folder for the files [HOME/collateral]."
)
@common
def fetch_command(app: App, *, file: Path, intel: str, amd: str, product: str, into: Path | None) -> None:
    """Fetch what the evidence in FILE is judged by: Intel's TCB info and revocation lists, AMD's certificates and lists.

    Everything is signed by the vendor, so the server need not be trusted. Afterwards `evidence verify`, `approve` and `agent` work offline.
    """
    folder = into or app.home / "collateral"
    http = HttpFetch(time.sleep)
    try:
        stored = fetch_for(read(file), IntelService(http, intel), AmdService(http, amd), folder, product)
    finally:
        http.close()
    lines = [f"{'stored ' if one.new else 'current'}    {folder / one.name}" for one in stored]
    app.result(
        {"folder": str(folder), "files": [{"name": one.name, "new": one.new} for one in stored]},
        lines,
        next_command=app.command(f"evidence verify {file}"),
    )
