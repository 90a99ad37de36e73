"""kill -9 of a real storage node in the middle of an upload: it starts again, keeps what was there, and the upload finishes."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from asset_bridge.errors import UnavailableError
from asset_bridge.ipfs.gateway import Gateway
from asset_bridge.ipfs.multi import MultiSource
from asset_bridge.ipld.unixfs import LEAF_BYTES
from asset_bridge.transport.client import Peer
from tests.ports.test_blocks import blocks_of, content
from tests.support.depth import depth
from tests.support.storage import WRITER

NODE = """
import sys, time
from pathlib import Path
from asset_bridge.chain.keys import AccountKey
from asset_bridge.ipfs.embedded import EmbeddedStore
from asset_bridge.nodes.serve import serve
from asset_bridge.nodes.storage.app import StorageIdentity, build, only
from asset_bridge.transport.nonces import NonceStore
from asset_bridge.transport.server import Guard
folder, writer = Path(sys.argv[1]), sys.argv[2]
guard = Guard(31337, NonceStore(folder / "nonces"), time.time)
identity = StorageIdentity(b"n" * 32, 1, AccountKey(b"k" * 32), 31337, writer, writer)
store = EmbeddedStore(folder / "store", reserve_bytes=0)
serve(build(store, identity, guard, allow=only(frozenset({writer}))), guard, port_file=folder / "port")
"""
ROOT = Path(__file__).resolve().parents[3]


class Process:
    """A storage node as a process of its own."""

    def __init__(self, folder: Path) -> None:
        (folder / "port").unlink(missing_ok=True)
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
        command = [sys.executable, "-c", NODE, str(folder), WRITER.address]
        self.process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 30
        while not (folder / "port").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        self.url = f"http://127.0.0.1:{(folder / 'port').read_text().strip()}"
        self.peer = Peer(
            self.url,
            name="storage node",
            chain_id=31337,
            signer=WRITER,
            clock=time.time,
            randbytes=os.urandom,
            sleep=time.sleep,
            attempts=1,
        )

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.peer.close()


def test_uploads_survive_kills_of_the_storage_node(tmp_path: Path) -> None:
    draw, kills, seed = random.Random(7), depth("storage_kills"), 0
    node = Process(tmp_path)
    try:
        while kills > 0:
            seed += 1
            data = content(4 * LEAF_BYTES + seed, seed)
            dag, blocks = blocks_of(data)
            by_name, acknowledged = {str(cid): block for cid, block in blocks.items()}, set[str]()
            while missing := node.peer.post("/v1/bodies", {"root": str(dag.root), "length": len(data)})["missing"]:
                assert not acknowledged & set(missing)  # what was acknowledged is not asked for again
                for name in missing:
                    die = kills > 0 and draw.random() < 0.4
                    if die and draw.random() < 0.5:
                        node.process.send_signal(signal.SIGKILL)  # while the block is on its way
                    with contextlib.suppress(UnavailableError):
                        node.peer.put_bytes(f"/v1/bodies/{dag.root}/blocks/{name}", by_name[name])
                        acknowledged.add(name)
                    if die:
                        kills -= 1
                        node.kill()
                        node = Process(tmp_path)
                        break
            node.peer.post(f"/v1/bodies/{dag.root}/finish", {})
            source = MultiSource([Gateway(node.url, "storage node")])
            source.fetch_file(dag.root, len(data), tmp_path / f"out{seed}")
            assert (tmp_path / f"out{seed}").read_bytes() == data
        node.kill()
        node = Process(tmp_path)
        assert len(node.peer.get("/v1/inventory")["bodies"]) == seed
    finally:
        node.kill()
