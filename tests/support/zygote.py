"""Nodes and clients as processes that start in milliseconds: one process imports everything once and forks for each order it reads.

Run as a program: each line of standard input is a JSON object {"role", …}; the answer is the pid of the new process. With "wait" it
does nothing until the file of that name exists, so that a tracer can attach.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


class Zygote:
    """The other side: start processes, end them."""

    def __init__(self) -> None:
        environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.zygote"],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.pids: set[int] = set()

    def start(self, role: str, **given: Any) -> int:
        """Start a process; returns its pid at once."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"role": role, **given}) + "\n")
        self._process.stdin.flush()
        pid = int(self._process.stdout.readline())
        self.pids.add(pid)
        return pid

    def kill(self, pid: int) -> None:
        """kill -9, and wait until it is gone."""
        if alive(pid):
            os.kill(pid, signal.SIGKILL)
        ended(pid)
        self.pids.discard(pid)

    def close(self) -> None:
        for pid in list(self.pids):
            self.kill(pid)
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(10)
        if self._process.stdout is not None:
            self._process.stdout.close()


def alive(pid: int) -> bool:
    """Whether the process still runs."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):  # it may end between the opening of that file and its reading
        return False


def ended(pid: int, seconds: float = 60) -> bool:
    """Wait for a process's end; False when it still runs."""
    return until(lambda: not alive(pid), seconds)


def until(true: Callable[[], bool], seconds: float = 60) -> bool:
    """Wait until `true`; False when it did not become so."""
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.002)
    return True


# --- inside the zygote ------------------------------------------------------------------------------------------------------


def note(path: str, text: str) -> None:
    """One line to a log that a test reads. writev: not among the calls at which a test kills."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.writev(descriptor, [text.encode() + b"\n"])
    os.close(descriptor)


def one_thread(app: Any) -> Any:
    """Handlers of an app on one thread, so that its calls come in one order."""
    from asset_bridge.transport import door

    door.MOST_AT_ONCE = 1
    return app


def storage(given: dict[str, Any]) -> None:
    """An embedded storage node; `log` gets a line for each block that it is sent."""
    from asset_bridge.chain.keys import AccountKey
    from asset_bridge.ipfs.embedded import EmbeddedStore
    from asset_bridge.ipld.cid import Cid
    from asset_bridge.nodes.serve import serve
    from asset_bridge.nodes.storage.app import StorageIdentity, build, only
    from asset_bridge.transport.nonces import NonceStore
    from asset_bridge.transport.server import Guard
    from tests.support.peers import CHAIN_ID
    from tests.support.storage import REGISTRY, WRITER

    class Noted(EmbeddedStore):
        def put_block(self, root: Cid, cid: Cid, block: bytes) -> None:
            note(given["log"], str(cid))
            super().put_block(root, cid, block)

    folder = Path(given["folder"])
    folder.mkdir(exist_ok=True)
    guard = Guard(CHAIN_ID, NonceStore(folder / "nonces"), time.time)
    identity = StorageIdentity(given["node_id"].encode() * 32, 1, AccountKey(b"k" * 32), CHAIN_ID, REGISTRY, REGISTRY)
    store = Noted(folder / "store", reserve_bytes=0)
    app = build(store, identity, guard, allow=only(frozenset({WRITER.address})))
    serve(one_thread(app), guard, port=given["port"], port_file=folder / "up")


def light(given: dict[str, Any]) -> None:
    """A light node over the storage nodes of these ports."""
    from asset_bridge.ipfs.gateway import Gateway
    from asset_bridge.nodes.light.app import build
    from asset_bridge.nodes.light.core import LightNodeCore
    from asset_bridge.nodes.light.replicas import HttpReplica
    from asset_bridge.nodes.serve import serve
    from asset_bridge.transport.client import Peer
    from asset_bridge.transport.nonces import NonceStore
    from asset_bridge.transport.server import Guard
    from tests.support.light import World
    from tests.support.peers import CHAIN_ID
    from tests.support.storage import WRITER

    folder = Path(given["folder"])
    folder.mkdir(exist_ok=True)
    replicas = []
    for number, port in enumerate(given["ports"]):
        url, name = f"http://127.0.0.1:{port}", f"storage node {number}"
        peer = Peer(
            url,
            name=name,
            chain_id=CHAIN_ID,
            signer=WRITER,
            clock=time.time,
            randbytes=os.urandom,
            sleep=time.sleep,
            attempts=1,
        )
        replicas.append(HttpReplica(str(number).encode() * 32, peer, Gateway(url, name)))
    parts = World(folder, storage=0).parts(replicas=lambda: replicas, folder=folder / "light", clock=time.time)
    guard = Guard(CHAIN_ID, NonceStore(folder / "nonces"), time.time)
    serve(one_thread(build(LightNodeCore(parts), guard)), guard, port=given["port"], port_file=folder / "up")


def upload(given: dict[str, Any]) -> None:
    """A provider's upload of a finished body through a light node."""
    from asset_bridge.ipld.unixfs import LEAF_BYTES, file_dag
    from asset_bridge.trade.remote import RemoteLight
    from asset_bridge.transport.client import Peer
    from tests.support.peers import CHAIN_ID
    from tests.support.storage import WRITER

    data = Path(given["file"]).read_bytes()
    dag = file_dag(data)
    places = {leaf.to_bytes(): number for number, leaf in enumerate(dag.leaves)}

    def block(cid: bytes) -> bytes:
        if cid in places:
            return data[places[cid] * LEAF_BYTES : (places[cid] + 1) * LEAF_BYTES]
        return next(block for name, block in dag.interior.items() if name.to_bytes() == cid)

    peer = Peer(
        given["url"],
        name="light node",
        chain_id=CHAIN_ID,
        signer=WRITER,
        clock=time.time,
        randbytes=os.urandom,
        sleep=time.sleep,
        attempts=1,
    )
    RemoteLight(peer).upload(dag.root.to_bytes(), len(data), block, "body", None)
    note(given["done"], str(dag.root))


def fetch(given: dict[str, Any]) -> None:
    """A consumer's delivery; `log` gets a line for each block that arrived whole."""
    from asset_bridge.ipfs.gateway import Gateway
    from asset_bridge.ipfs.multi import MultiSource
    from asset_bridge.ipld.cid import Cid

    class Noted(Gateway):
        def copy_block(self, cid: bytes, most_bytes: int, buffer: bytearray, write: Any, *more: Any) -> int:
            came, name = [], str(Cid.from_bytes(cid))

            def noted(part: memoryview, at: int) -> None:
                if at + len(part) == most_bytes:  # the last part of a leaf: it has arrived, and is not yet written
                    came.append(note(given["log"], name))
                write(part, at)

            size = super().copy_block(cid, most_bytes, buffer, noted, *more)
            if not came:  # an interior block, which nobody writes
                note(given["log"], name)
            return size

    sources = [Noted(url, url, timeout_seconds=5.0) for url in given["urls"]]
    multi = MultiSource(sources, workers=given.get("workers", 1))
    report = multi.fetch_file(Cid.parse(given["root"]), given["length"], Path(given["target"]))
    note(given["done"], str(report.fetched_bytes))


ROLES: dict[str, Callable[[dict[str, Any]], None]] = {
    "storage": storage,
    "light": light,
    "upload": upload,
    "fetch": fetch,
}


IMPORTED = (
    "anyio._backends._asyncio",
    "asset_bridge.nodes.light.app",
    "asset_bridge.nodes.serve",
    "asset_bridge.nodes.storage.app",
    "asset_bridge.trade.remote",
    "tests.support.light",
    "uvicorn.lifespan.on",
    "uvicorn.loops.auto",
    "uvicorn.protocols.http.auto",
    "uvicorn.protocols.websockets.auto",
)


def child(given: dict[str, Any]) -> None:
    """One role, to its end."""
    os.setsid()
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: nothing outlives the zygote
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    if given.get("wait"):
        until(lambda: Path(given["wait"]).exists())
    status = 1
    try:
        ROLES[given["role"]](given)
        status = 0
    except SystemExit:
        raise
    except BaseException:
        if given.get("log"):
            Path(given["log"] + ".error").write_text(traceback.format_exc())
    os._exit(status)


def main() -> None:
    """Import, then fork for each line."""
    for name in IMPORTED:
        importlib.import_module(name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # ended children leave no zombies
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            child(json.loads(line))
        print(pid, flush=True)


if __name__ == "__main__":
    main()
