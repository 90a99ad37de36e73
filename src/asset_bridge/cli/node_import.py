"""`asset-bridge node import`: a sealed file, or any DAG as CAR, into a storage node of this machine without a network."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import click

from asset_bridge.cli.app import App, common, examples
from asset_bridge.errors import InputError
from asset_bridge.ipfs.dags import import_archive
from asset_bridge.ipfs.store import dag_of_file, put_file
from asset_bridge.nodes.node_file import FILE_NAME, NodeFile
from asset_bridge.sealing.header import HEADER_BYTES, MAGIC


@click.command(
    "import",
    epilog=examples(
        "asset-bridge node import cohort.sealed --folder /srv/storage   # came on a disk; the node is stopped",
        "asset-bridge node import reference.car",
        "asset-bridge node import a.car b.car --folder /srv/storage",
    ),
)
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--folder", type=click.Path(path_type=Path), help="The storage node's folder [HOME/nodes/storage].")
@common
def import_(app: App, *, files: tuple[Path, ...], folder: Path | None) -> None:
    """Import sealed files or CAR archives into a storage node of this machine, which serves them at /ipfs/CID.

    A sealed file becomes a body like an uploaded one, on an embedded node or on kubo: a copy that came on a disk need not go over the
    network, and an upload of the same file goes on from there. The node must be stopped for it.

    CAR archives (files, folders, any IPFS DAG) go into an embedded node, running or not. Every block is checked; nothing of an archive
    is kept unless all of it is good.
    """
    where = (folder or app.home / "nodes" / "storage").absolute()
    if not (where / FILE_NAME).exists():
        raise InputError(
            "cli.no-node-folder", f"{where} is no node's folder", hint="start the node once, or name its --folder"
        )
    file = NodeFile.load(where)
    done, lines = [], []
    for path in files:
        found = _import_body(app, file, path) if _is_sealed(path) else _import_archive(file, path)
        done.append({"file": str(path), **found})
        lines += [f"imported   {path}", *(f"root       {root}" for root in found["roots"])]
    app.result(done, lines, next_command=app.command("node list storage"))


def _is_sealed(path: Path) -> bool:
    with open(path, "rb") as content:
        return content.read(len(MAGIC)) == MAGIC


def _import_archive(file: NodeFile, path: Path) -> dict[str, Any]:
    if file.kubo or file.kubo_api:
        raise InputError(
            "cli.archive-on-kubo", "this node keeps its blocks in kubo", hint="use kubo's own `ipfs dag import`"
        )
    with open(path, "rb") as archive:
        name, roots = import_archive(file.data_folder / "blocks", archive.read)
    return {"name": name, "roots": [str(root) for root in roots]}


def _import_body(app: App, file: NodeFile, path: Path) -> dict[str, Any]:
    from asset_bridge.nodes.launch.storage import open_store

    length_bytes = path.stat().st_size - HEADER_BYTES
    dag = dag_of_file(path, HEADER_BYTES, lambda done: app.progress("read", done, length_bytes))
    with open_store(file) as (store, _name), contextlib.closing(store):
        put_file(store, dag, path, HEADER_BYTES)
    return {"name": str(dag.root), "roots": [str(dag.root)]}
