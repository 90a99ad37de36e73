"""`asset-bridge node import`: any DAG as CAR into an embedded storage node, running or not."""

from __future__ import annotations

from pathlib import Path

import click

from asset_bridge.cli.app import App, common, examples
from asset_bridge.errors import InputError
from asset_bridge.ipfs.dags import import_archive
from asset_bridge.nodes.node_file import FILE_NAME, NodeFile


@click.command(
    "import",
    epilog=examples(
        "asset-bridge node import reference.car", "asset-bridge node import a.car b.car --folder /srv/storage"
    ),
)
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--folder", type=click.Path(path_type=Path), help="The storage node's folder [HOME/nodes/storage].")
@common
def import_(app: App, *, files: tuple[Path, ...], folder: Path | None) -> None:
    """Import CAR archives (files, folders, any IPFS DAG) into an embedded storage node, which serves them at /ipfs/CID.

    Every block is checked. The node may be running; nothing of an archive is kept unless all of it is good.
    """
    where = (folder or app.home / "nodes" / "storage").absolute()
    if not (where / FILE_NAME).exists():
        raise InputError(
            "cli.no-node-folder", f"{where} is no node's folder", hint="start the node once, or name its --folder"
        )
    store = NodeFile.load(where).data_folder / "blocks"
    done, lines = [], []
    for path in files:
        with open(path, "rb") as archive:
            name, roots = import_archive(store, archive.read)
        done.append({"file": str(path), "name": name, "roots": [str(root) for root in roots]})
        lines += [f"imported   {path}", *(f"root       {root}" for root in roots)]
    app.result(done, lines, next_command=app.command("node list storage"))
