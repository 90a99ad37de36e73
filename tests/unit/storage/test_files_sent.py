"""Blocks that go from the file to the socket: same answers as through memory, only what was hashed, and nothing after the file changed."""

from __future__ import annotations

import os
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import uvicorn

from asset_bridge.ipfs import checked
from asset_bridge.ipfs.checked import CheckedLeaves, stamp_of
from asset_bridge.ipfs.embedded import EmbeddedStore
from asset_bridge.ipfs.gateway import Gateway
from asset_bridge.ipfs.multi import MultiSource
from asset_bridge.ipfs.store import put_document
from asset_bridge.ipld.cid import Cid
from asset_bridge.ipld.unixfs import LEAF_BYTES
from asset_bridge.nodes.serve import bind
from asset_bridge.transport import sendfile
from tests.ports.test_blocks import blocks_of, content
from tests.support.storage import StorageNode
from tests.unit.transport.test_serve import self_signed

DATA = content(3 * LEAF_BYTES + 7, 61)
DAG, BLOCKS = blocks_of(DATA)


@dataclass
class Served:
    """A node on a real socket, its store, and how many answers went from the file."""

    url: str
    store: EmbeddedStore
    folder: Path
    from_file: list[int]

    def get(self, number: int, **headers: str) -> httpx.Response:
        return httpx.get(f"{self.url}/ipfs/{DAG.leaves[number]}?format=raw", headers=headers, timeout=3)

    @property
    def body(self) -> Path:
        return self.folder / "bodies" / str(DAG.root) / "body"


def _serve(folder: Path, monkeypatch: pytest.MonkeyPatch, **tls: str) -> Iterator[Served]:
    store = EmbeddedStore(folder / "store", reserve_bytes=0)
    put_document(store, DATA)
    from_file: list[int] = []
    taken = sendfile.send_part

    async def counted(part: sendfile.FilePart, *rest: object) -> None:
        from_file.append(part.length)
        await taken(part, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr("asset_bridge.transport.door.send_part", counted)
    listener = bind("127.0.0.1", 0)
    config = uvicorn.Config(
        StorageNode(1, store).app, log_config=None, http=sendfile.FileProtocol, timeout_graceful_shutdown=2, **tls
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    scheme = "https" if tls else "http"
    yield Served(f"{scheme}://127.0.0.1:{listener.getsockname()[1]}", store, folder / "store", from_file)
    server.should_exit = True
    thread.join(20)
    assert not thread.is_alive()
    listener.close()


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    yield from _serve(tmp_path, monkeypatch)


def test_blocks_and_ranges_are_those_of_the_body(served: Served) -> None:
    with httpx.Client() as client:  # one connection: each answer ends where it said it would
        for number, leaf in enumerate(DAG.leaves):
            answer = client.get(f"{served.url}/ipfs/{leaf}?format=raw")
            assert answer.content == BLOCKS[leaf]
            assert answer.headers["etag"] == f'"{leaf}.raw"'
            assert int(answer.headers["content-length"]) == DAG.leaf_size(number)
        part = client.get(f"{served.url}/ipfs/{DAG.leaves[1]}?format=raw", headers={"range": "bytes=10-19"})
        assert (part.status_code, part.content) == (206, BLOCKS[DAG.leaves[1]][10:20])
        beyond = client.get(f"{served.url}/ipfs/{DAG.leaves[3]}?format=raw", headers={"range": "bytes=99-"})
        assert beyond.status_code == 416
        assert client.head(f"{served.url}/ipfs/{DAG.leaves[0]}?format=raw").content == b""
        assert client.get(f"{served.url}/ipfs/{DAG.root}?format=raw").content == BLOCKS[DAG.root]
    assert served.from_file == [*(DAG.leaf_size(number) for number in range(4)), 10]


def test_a_changed_file_is_hashed_again_and_a_damaged_block_is_refused(served: Served) -> None:
    assert served.get(0).status_code == 200
    with open(served.body, "r+b") as body:
        body.seek(5)
        body.write(b"?")
    assert served.get(0).status_code == 422
    assert served.get(1).content == BLOCKS[DAG.leaves[1]]
    assert len(served.from_file) == 1, "the file changed: its blocks went through memory"
    assert served.get(1).content == BLOCKS[DAG.leaves[1]]
    assert len(served.from_file) == 2, "hashed since: from the file again"
    served.store.put_block(DAG.root, DAG.leaves[0], BLOCKS[DAG.leaves[0]])
    assert served.get(0).content == BLOCKS[DAG.leaves[0]]


def test_a_file_cut_while_it_is_sent_ends_the_connection(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CheckedLeaves, "knows", lambda *_: True)
    os.truncate(served.body, LEAF_BYTES + 5)
    with pytest.raises(httpx.RemoteProtocolError):
        served.get(1)
    assert served.get(0).content == BLOCKS[DAG.leaves[0]], "and only that connection"


def test_a_client_that_goes_away_leaves_no_open_file(served: Served) -> None:
    for _ in range(3):
        with httpx.stream("GET", f"{served.url}/ipfs/{DAG.leaves[0]}?format=raw") as answer:
            next(answer.iter_raw(100))
    deadline = time.monotonic() + 5
    while _open_bodies(served) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert _open_bodies(served) == 0
    assert served.get(2).content == BLOCKS[DAG.leaves[2]]


def test_a_whole_delivery_comes_from_the_file(served: Served, tmp_path: Path) -> None:
    report = MultiSource([Gateway(served.url, "node")]).fetch_file(DAG.root, len(DATA), tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == DATA
    assert (report.bad, sum(served.from_file)) == ((), len(DATA))


def test_over_tls_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    self_signed(tmp_path / "pem")
    for served in _serve(tmp_path, monkeypatch, ssl_certfile=str(tmp_path / "pem"), ssl_keyfile=str(tmp_path / "pem")):
        with httpx.Client(verify=_anyone()) as client:
            for leaf in DAG.leaves:
                assert client.get(f"{served.url}/ipfs/{leaf}?format=raw").content == BLOCKS[leaf]
        assert sum(served.from_file) == len(DATA)


def test_what_was_hashed_counts_for_the_same_file_and_for_a_while(tmp_path: Path) -> None:
    now = 0.0
    leaves, root, path = CheckedLeaves(lambda: now), Cid.parse(str(DAG.root)), tmp_path / "body"
    path.write_bytes(b"abc")

    def stamp() -> checked.Stamp:
        with open(path, "rb") as body:
            return stamp_of(body.fileno())

    leaves.note(root, stamp(), 0, 2)
    assert [leaves.knows(root, stamp(), number) for number in range(3)] == [True, False, True]
    now = checked.RECHECK_SECONDS + 1
    assert not leaves.knows(root, stamp(), 0)
    leaves.note(root, stamp(), 1)
    assert [leaves.knows(root, stamp(), number) for number in range(3)] == [False, True, False]
    other = tmp_path / "other"
    other.write_bytes(b"abd")
    os.utime(other, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    other.replace(path)
    assert not leaves.knows(root, stamp(), 1), "another file under the same name, size and time"
    leaves.note(root, stamp(), 1)
    leaves.forget(root)
    assert not leaves.knows(root, stamp(), 1)


def _open_bodies(served: Served) -> int:
    found = 0
    for link in Path("/proc/self/fd").iterdir():
        try:
            found += os.readlink(link) == str(served.body)
        except OSError:
            continue
    return found


def _anyone() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context
