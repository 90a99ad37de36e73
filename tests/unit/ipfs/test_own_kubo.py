"""A body goes into a real kubo while it is sealed; what is cut off leaves neither a pin nor a block."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from asset_bridge.errors import BridgeError
from asset_bridge.ipfs.kubo.daemon import KuboDaemon
from asset_bridge.ipfs.kubo.own import PIN_NAME, KuboPlace, OwnKubo, forget_cut_off, hold_body
from asset_bridge.ipfs.kubo.rpc import KuboRpc
from asset_bridge.ipld.unixfs import LEAF_BYTES, FileDag
from tests.ports.test_blocks import blocks_of, code_of, content

DATA = content(5 * LEAF_BYTES + 7, 56)
DAG, BLOCKS = blocks_of(DATA)
ORDER = (1, 0, 3, 2, 5, 4)


@pytest.fixture
def rpc(kubo_trio: list[KuboDaemon]) -> Iterator[KuboRpc]:
    found = kubo_trio[0].rpc(timeout_seconds=5)
    yield found
    found.unpin(DAG.root)
    found.block_remove(list(BLOCKS))
    found.close()


def held(rpc: KuboRpc) -> int:
    return sum(rpc.block_size(cid) is not None for cid in BLOCKS)


def seal(own: OwnKubo, path: Path, parts: tuple[int, ...] = ORDER, body: FileDag | None = DAG) -> None:
    """What vault.files_sealed does with its Beside."""
    path.write_bytes(b"head" + bytes(len(DATA)))
    own.begin(path, 4, len(DATA))
    with open(path, "r+b") as file:
        for number in parts:
            part = DATA[number * LEAF_BYTES : (number + 1) * LEAF_BYTES]
            own.before(number * LEAF_BYTES)
            file.seek(4 + number * LEAF_BYTES)
            file.write(part)
            file.flush()
            own.written(number * LEAF_BYTES, len(part))
    own.end(body)


@pytest.mark.needs_kubo
def test_it_is_held_pinned_and_whole_when_the_sealing_ends(rpc: KuboRpc, tmp_path: Path) -> None:
    own, path = OwnKubo(rpc), tmp_path / "sealed"
    seal(own, path)
    assert (own.error, own.left_bytes) == (None, 0)
    assert rpc.pin_name(DAG.root) == f"{PIN_NAME}{len(DATA)}"
    assert b"".join(rpc.block_get(leaf) for leaf in DAG.leaves) == DATA
    assert not hold_body(rpc, DAG, path, 4)
    own.take_back(DAG)
    assert (rpc.pin_name(DAG.root), held(rpc)) == (None, 0)
    assert hold_body(rpc, DAG, path, 4)
    assert rpc.pin_name(DAG.root) == f"{PIN_NAME}{len(DATA)}"


@pytest.mark.needs_kubo
def test_a_sealing_that_fails_leaves_nothing(rpc: KuboRpc, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    own = OwnKubo(rpc, lambda done, total: told.append((done, total)))
    seal(own, tmp_path / "sealed", ORDER[:4], None)
    assert (held(rpc), own.left_bytes, rpc.pins(PIN_NAME)) == (0, 0, {})
    assert told[-1] == (4 * LEAF_BYTES, 4 * LEAF_BYTES)


@pytest.mark.needs_kubo
def test_another_body_than_was_sealed_is_not_kept(rpc: KuboRpc, tmp_path: Path) -> None:
    other, _blocks = blocks_of(DATA[:-1] + b"?")
    own = OwnKubo(rpc)
    seal(own, tmp_path / "sealed", body=other)
    assert own.error is not None
    assert own.error.code == "ipfs.other-content"
    assert rpc.pins(PIN_NAME) == {}
    assert code_of(lambda: hold_body(rpc, other, tmp_path / "sealed", 4)) == "ipfs.other-content"
    assert rpc.pins(PIN_NAME) == {}


@pytest.mark.needs_kubo
def test_what_a_kill_left_is_named_by_the_half_of_the_file_and_holes_are_not(rpc: KuboRpc, tmp_path: Path) -> None:
    path = tmp_path / "half"
    path.write_bytes(b"head" + DATA[: 2 * LEAF_BYTES] + bytes(2 * LEAF_BYTES))
    zeros, zero_blocks = blocks_of(bytes(LEAF_BYTES))
    for cid, block in {**{leaf: BLOCKS[leaf] for leaf in DAG.leaves[:2]}, **zero_blocks}.items():
        rpc.block_put(cid, block)
    try:
        forget_cut_off(rpc, path, 4, 4 * LEAF_BYTES)
        assert held(rpc) == 0
        assert rpc.block_size(zeros.root) == LEAF_BYTES
    finally:
        rpc.block_remove([zeros.root])


@pytest.mark.needs_kubo
@pytest.mark.parametrize("body", [DAG, None], ids=["sealed", "failed"])
def test_a_kubo_that_ends_meanwhile_does_not_end_the_sealing(
    rpc: KuboRpc, kubo_trio: list[KuboDaemon], tmp_path: Path, body: FileDag | None
) -> None:
    own, path, daemon = OwnKubo(rpc), tmp_path / "sealed", kubo_trio[0]
    honest, came = own.written, []

    def written(offset: int, size_bytes: int) -> None:
        came.append(offset)
        if len(came) == 3:
            daemon.stop()
        honest(offset, size_bytes)

    own.written = written  # type: ignore[method-assign]
    try:
        seal(own, path, body=body)
        assert own.error is not None
        assert own.error.code in (
            "ipfs.kubo-down",
            "ipfs.kubo-down" if body else "ipfs.not-written",
        )  # which comes first
        assert own.left_bytes == (0 if body else len(DATA))
        assert code_of(lambda: seal(OwnKubo(rpc), path)) == "ipfs.kubo-down"  # before the first byte
    finally:
        daemon.start()
    path.write_bytes(b"head" + DATA)
    assert rpc.pins(PIN_NAME) == {}
    assert hold_body(rpc, DAG, path, 4)
    assert b"".join(rpc.block_get(leaf) for leaf in DAG.leaves) == DATA


def test_places(tmp_path: Path) -> None:
    secret, repo = tmp_path / "secret", tmp_path / "repo"
    secret.write_text("s3\n")
    repo.mkdir()

    def url(where: str, secret_file: str = "") -> str:
        return repr(KuboPlace(where, secret_file).rpc())

    (tmp_path / "binary").write_bytes(b"\xff")
    assert url("http://127.0.0.1:5001", str(secret)) == "KuboRpc(http://127.0.0.1:5001/api/v0/)"
    cases: list[tuple[Callable[[], object], str]] = [
        (lambda: url("http://127.0.0.1:5001", str(tmp_path / "none")), "ipfs.kubo-secret"),
        (lambda: url("http://127.0.0.1:5001", str(tmp_path / "binary")), "ipfs.kubo-secret"),
        (lambda: url(str(repo)), "ipfs.kubo-url"),
        (lambda: url("ftp://127.0.0.1"), "ipfs.kubo-url"),
    ]
    for call, code in cases:
        assert code_of(call) == code
    (repo / "config").touch()
    assert code_of(lambda: url(str(repo))) == "ipfs.kubo-down"
    (repo / "api").write_text("/ip4/127.0.0.1/tcp/5002\n")
    assert url(str(repo)) == "KuboRpc(http://127.0.0.1:5002/api/v0/)"
    (repo / "api").write_text("junk")
    with pytest.raises(BridgeError):
        url(str(repo))
