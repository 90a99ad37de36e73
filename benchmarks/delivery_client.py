"""The acts of benchmarks/delivery.py, as a process: reads one a line, prints what it found and the most memory it took so far."""

from __future__ import annotations

import json
import os
import resource
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from asset_bridge.chain.keys import AccountKey
from asset_bridge.ipfs.embedded import EmbeddedStore
from asset_bridge.ipfs.gateway import BUFFER_BYTES, Gateway
from asset_bridge.ipfs.kubo.own import OwnKubo, add_body
from asset_bridge.ipfs.kubo.rpc import KuboRpc
from asset_bridge.ipfs.multi import MultiSource
from asset_bridge.ipfs.store import dag_of_file, put_file
from asset_bridge.ipld.cid import Cid
from asset_bridge.ipld.unixfs import LEAF_BYTES, FileDag
from asset_bridge.nodes.serve import serve as serve_app
from asset_bridge.nodes.storage.app import StorageIdentity, build, only
from asset_bridge.sealing.header import HEADER_BYTES
from asset_bridge.sealing.open import Opener
from asset_bridge.transport.nonces import NonceStore
from asset_bridge.transport.server import Guard
from asset_bridge.vault.files import walk
from asset_bridge.vault.files_opened import write_member
from asset_bridge.vault.files_sealed import SealedFile, seal_to_disk

WORKERS = os.cpu_count() or 2


def rpc_of(repo: str, secret: str) -> KuboRpc:
    """The daemon of this repository."""
    port = (Path(repo) / "api").read_text().rpartition("/")[2].strip()
    return KuboRpc(f"http://127.0.0.1:{port}", secret=secret)


def add(body: str, repo: str, _program: str, secret: str) -> str:
    """Put a body into kubo."""
    dag = dag_of_file(Path(body))
    add_body(rpc_of(repo, secret), dag, Path(body))
    return str(dag.root)


def deliver(url: str, root: str, sealed: str, out: str) -> str:
    """Fetch, verify, open, write."""
    target = Path(out + ".body")
    gateway = Gateway(url, "node")
    with SealedFile(Path(sealed)) as known:
        header, length = known.header, known.body_length_bytes
    MultiSource([gateway]).fetch_file(Cid.parse(root), length, target)
    descriptor = os.open(target, os.O_RDONLY)

    def into(number: int, view: memoryview) -> int:
        return os.preadv(descriptor, [view], number * LEAF_BYTES)

    opener = Opener(
        header,
        file_key=bytes(32),
        lister=bytes(20),
        body_length_bytes=length,
        fetch_segment=lambda number: os.pread(descriptor, LEAF_BYTES, number * LEAF_BYTES),
        fetch_into=into,
        workers=WORKERS,
    )
    write_member(opener, "source", Path(out))
    os.close(descriptor)
    return ""


def limit(url: str, root: str, sealed: str, _out: str) -> str:
    """Only take every block from the daemon and hash it: what is left to do where all else costs nothing."""
    with SealedFile(Path(sealed)) as known:
        length = known.body_length_bytes
    dag = MultiSource([Gateway(url, "node")]).tree(Cid.parse(root), length)
    todo, lock = iter(dag.leaves), threading.Lock()
    gateway = Gateway(url, "node")

    def work() -> None:
        buffer = bytearray(BUFFER_BYTES)
        while True:
            with lock:
                leaf = next(todo, None)
            if leaf is None:
                return
            gateway.copy_block(leaf.to_bytes(), LEAF_BYTES, buffer, lambda _part, _at: None)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return ""


def serve(folder: str, body: str) -> str:
    """An embedded storage node with this body."""
    writer = AccountKey(b"w" * 32).address
    guard = Guard(31337, NonceStore(None), time.time)
    identity = StorageIdentity(b"n" * 32, 1, AccountKey(b"k" * 32), 31337, writer, writer)
    store = EmbeddedStore(Path(folder) / "store", reserve_bytes=0)
    put_file(store, dag_of_file(Path(body)), Path(body))
    app = build(store, identity, guard, allow=only(frozenset({writer})))
    serve_app(app, guard, port_file=Path(folder) / "port")
    return ""


def publish(source: str, sealed: str, repo: str, _program: str, secret: str) -> str:
    """Seal a file; its body goes into kubo as it is sealed (`publish --kubo`). Then delete the sealed file again."""
    own = OwnKubo(rpc_of(repo, secret))
    body = _sealed(source, Path(sealed), own)
    if own.error is not None:
        raise own.error
    return str(body.root)


def publish_sealed(source: str, sealed: str, repo: str, _program: str, secret: str) -> str:
    """The other design: seal the whole file, then put it into kubo."""
    out = Path(sealed)
    body = _sealed(source, out, None, lambda body: add_body(rpc_of(repo, secret), body, out, HEADER_BYTES))
    return str(body.root)


def _sealed(
    source: str, out: Path, beside: OwnKubo | None, then: Callable[[FileDag], object] = lambda _body: None
) -> FileDag:
    summary = seal_to_disk(
        walk(Path(source)),
        out,
        file_key=bytes(32),
        container_id=os.urandom(16),
        lister=bytes(20),
        randbytes=os.urandom,
        workers=WORKERS,
        beside=beside,
    )
    then(summary.body)
    out.unlink()
    return summary.body


ACTS: dict[str, Callable[..., str]] = {
    "add": add,
    "deliver": deliver,
    "limit": limit,
    "publish": publish,
    "publish_sealed": publish_sealed,
    "serve": serve,
}

if __name__ == "__main__":
    if len(sys.argv) > 1:
        ACTS[sys.argv[1]](*sys.argv[2:])
    for line in sys.stdin:
        name, *words = json.loads(line)
        said = ACTS[name](*words)
        memory_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(json.dumps({"said": said, "memory_bytes": memory_bytes}), flush=True)
