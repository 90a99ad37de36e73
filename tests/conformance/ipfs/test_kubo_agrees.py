"""The same files give the same CIDs as `ipfs add`, kubo reads our CAR, and we read kubo's."""

from __future__ import annotations

import hashlib
import random
import subprocess
from collections.abc import Iterator

import pytest

from asset_bridge.errors import BridgeError
from asset_bridge.ipfs.kubo.daemon import KuboDaemon
from asset_bridge.ipld.car import car_block, car_header, read_car
from asset_bridge.ipld.cid import EMPTY_FILE, Cid
from asset_bridge.ipld.unixfs import LEAF_BYTES, FileDag, FileDagBuilder, file_dag, read_dag
from tests.ports.test_blocks import blocks_of, content
from tests.support.depth import depth
from tests.support.kubo import add_argv, ipfs, ipfs_environment

pytestmark = pytest.mark.needs_kubo
SMALL = [0, 1, LEAF_BYTES - 1, LEAF_BYTES, LEAF_BYTES + 1, 2 * LEAF_BYTES, 5 * LEAF_BYTES + 17]
FEW = [random.Random(seed).randbytes(LEAF_BYTES) for seed in range(7)]
DIGESTS = [hashlib.sha256(leaf).digest() for leaf in FEW]


def pieces(length: int) -> Iterator[tuple[int, int]]:
    """(which of FEW, bytes) of each leaf of a long file made of a few different leaves in no simple order."""
    for number in range(-(-length // LEAF_BYTES)):
        yield (number * number + number // 3) % 7, min(LEAF_BYTES, length - number * LEAF_BYTES)


def long_dag(length: int) -> FileDag:
    builder = FileDagBuilder()
    for which, size in pieces(length):
        builder.add(DIGESTS[which] if size == LEAF_BYTES else hashlib.sha256(FEW[which][:size]).digest(), size)
    return builder.finish()


def added(daemon: KuboDaemon, length: int) -> str:
    """What `ipfs add` calls the long file, which goes through a pipe."""
    argv = add_argv(daemon, "--only-hash")
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=ipfs_environment(daemon)) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for which, size in pieces(length):
            process.stdin.write(FEW[which][:size])
        process.stdin.close()
        said = process.stdout.read().decode().strip()
    assert process.returncode == 0
    return said


def car(dag: FileDag, blocks: dict[Cid, bytes]) -> Iterator[bytes]:
    yield car_header(dag.root)
    for cid, block in blocks.items():
        yield car_block(cid, block)


def reader(parts: Iterator[bytes]) -> Iterator[bytes]:
    """`read(n)` for read_car over a stream of parts."""
    rest = bytearray()

    def read(count: int) -> bytes:
        while len(rest) < count:
            part = next(parts, None)
            if part is None:
                break
            rest.extend(part)
        taken = bytes(rest[:count])
        del rest[:count]
        return taken

    return read  # type: ignore[return-value]


@pytest.mark.parametrize("length", SMALL)
def test_ipfs_add_gives_our_cid(kubo_trio: list[KuboDaemon], length: int) -> None:
    data = content(length)
    assert ipfs(kubo_trio[0], *add_argv(kubo_trio[0])[2:], data=data).decode().strip() == str(file_dag(data).root)


def test_the_empty_file_is_the_one_of_the_specification(kubo_trio: list[KuboDaemon]) -> None:
    assert ipfs(kubo_trio[0], *add_argv(kubo_trio[0])[2:], data=b"").decode().strip() == EMPTY_FILE


@pytest.mark.slow
@pytest.mark.parametrize("blocks", [1024, 1025])
def test_ipfs_add_gives_our_cid_around_a_full_node(kubo_trio: list[KuboDaemon], blocks: int) -> None:
    length = blocks * LEAF_BYTES - (0 if blocks == 1024 else 5)
    dag = long_dag(length)
    assert len(dag.interior) == (1 if blocks == 1024 else 3)
    assert added(kubo_trio[0], length) == str(dag.root)


def test_ipfs_add_gives_our_cid_for_gibibytes(kubo_trio: list[KuboDaemon]) -> None:
    for gibibytes in range(2, 2 + depth("ipfs_add_gibibytes")):
        length = gibibytes * 2**30 + 12_345
        assert added(kubo_trio[0], length) == str(long_dag(length).root)


@pytest.mark.parametrize("length", [*SMALL, 1025 * LEAF_BYTES])
def test_kubo_reads_our_car_and_we_read_its(kubo_trio: list[KuboDaemon], length: int) -> None:
    if length > 8 * LEAF_BYTES:
        dag = long_dag(length)
        blocks = {**dag.interior, **{Cid(0x55, digest): leaf for digest, leaf in zip(DIGESTS, FEW, strict=True)}}
    else:
        dag, blocks = blocks_of(content(length))
    first, second = kubo_trio[0].rpc(), kubo_trio[1].rpc()
    try:
        assert first.dag_import(car(dag, blocks)) == len(blocks)
        first.pin(dag.root, "test")
        assert dag.root in first.pins("")
        root, sections = read_car(reader(first.dag_export(dag.root)))  # type: ignore[arg-type]
        found = dict(sections)
        assert (root, found.keys()) == (dag.root, blocks.keys())  # each block has its CID's hash: read_car checked
        if length > LEAF_BYTES:
            assert read_dag(root, length, found.__getitem__).leaves == dag.leaves
        if length <= 8 * LEAF_BYTES:
            whole = ipfs(kubo_trio[0], "cat", str(root))
            assert hashlib.sha256(whole).digest() == hashlib.sha256(content(length)).digest()
        # What one kubo exports another imports, through our own reading and writing.
        assert second.dag_import(car(dag, found)) == len(blocks)
        second.pin(dag.root, "test")
        assert len(second.block_get(dag.leaves[-1])) == len(blocks[dag.leaves[-1]])
    finally:
        for rpc in (first, second):
            if rpc.unpin(dag.root):
                rpc.block_remove(list(blocks))
            rpc.close()


@pytest.mark.parametrize("how", ["cut", "flip", "no leaf"])
def test_kubo_refuses_a_car_that_is_not_whole(kubo_trio: list[KuboDaemon], how: str) -> None:
    dag, blocks = blocks_of(content(2 * LEAF_BYTES + 1, 3))
    parts = list(car(dag, blocks))
    if how == "cut":
        parts[-1] = parts[-1][:-7]
    elif how == "flip":
        parts[2] = parts[2][:-1] + bytes([parts[2][-1] ^ 1])
    else:
        parts.pop()
    rpc = kubo_trio[0].rpc()
    try:
        with pytest.raises(BridgeError) as caught:  # noqa: PT012 - which of the two refuses depends on the damage
            rpc.dag_import(parts)
            rpc.pin(dag.root, "test")
        assert caught.value.code in ("ipfs.kubo-reply", "ipfs.kubo-pin")
        assert dag.root not in rpc.pins("")
    finally:
        rpc.block_remove(list(blocks))
        rpc.close()
