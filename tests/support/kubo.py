"""Real kubo nodes for tests: three of them, started once a session, emptied between tests."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from asset_bridge.errors import BridgeError
from asset_bridge.ipfs.kubo.daemon import KuboDaemon
from asset_bridge.ipfs.kubo.program import find_kubo, obtain_kubo
from asset_bridge.ipfs.kubo.store import KuboStore
from asset_bridge.ipld.cid import Cid


def missing_kubo() -> str | None:
    """Why there is no kubo and none can be built, or None."""
    try:
        if find_kubo() is not None or shutil.which("go") or Path("/usr/local/go/bin/go").is_file():
            return None
    except BridgeError as error:
        return error.message
    return "no kubo, and no Go to build it with"


@contextmanager
def running(folder: Path, count: int) -> Iterator[list[KuboDaemon]]:
    """`count` kubos in `folder`."""
    program = obtain_kubo(print)
    daemons = [KuboDaemon(folder / f"kubo-{number}", program) for number in range(count)]
    try:
        for daemon in daemons:
            daemon.start()
        yield daemons
    finally:
        for daemon in daemons:
            daemon.stop()


@contextmanager
def store_of(daemon: KuboDaemon, folder: Path) -> Iterator[KuboStore]:
    """A store over a running kubo, with fresh notes in `folder`; afterwards the kubo holds nothing of it."""
    store = KuboStore(daemon.rpc(), folder / f"notes-{daemon.folder.name}", reserve_bytes=0)
    try:
        yield store
    finally:
        empty(store)
        store.close()


def empty(store: KuboStore) -> None:
    """Delete every body and import."""
    for info in store.inventory():
        store.remove(info.root)


def block_file(daemon: KuboDaemon, cid: Cid) -> Path:
    """Where kubo keeps a block: flatfs names it by the multihash, in a folder of the last but one two letters."""
    import base64

    name = base64.b32encode(cid.to_bytes()[2:]).decode().rstrip("=")
    return daemon.repo / "blocks" / name[-3:-1] / f"{name}.data"


def ipfs_environment(daemon: KuboDaemon) -> dict[str, str]:
    """For kubo's own command line against the running daemon."""
    return {**os.environ, "IPFS_PATH": str(daemon.repo), "IPFS_TELEMETRY": "off"}


def add_argv(daemon: KuboDaemon, *options: str) -> list[str]:
    """`ipfs add` of what comes through the pipe; prints the root."""
    return [str(daemon.program), f"--api-auth=bearer:{daemon.secret}", "add", "-Q", "--pin=false", *options]


def ipfs(daemon: KuboDaemon, *words: str, data: bytes | None = None) -> bytes:
    """kubo's own command line."""
    argv = [str(daemon.program), f"--api-auth=bearer:{daemon.secret}", *words]
    done = subprocess.run(argv, input=data, env=ipfs_environment(daemon), capture_output=True, check=True, timeout=300)
    return done.stdout
