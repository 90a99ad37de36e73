"""Every parser of the sealed file and its edges against hostile bytes: only our refusals, one encoding, quick, small.

The same targets run under atheris, guided by coverage (test_guided.py; `python -m tests.fuzz.sealed_file TARGET [RUNS]`
lets the corpus in tests/fuzz/corpus/sealed-TARGET grow), and here under a plain mutator that needs nothing.
"""

from __future__ import annotations

import io
import random
import time
import tracemalloc
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import cbor2
import pytest

from asset_bridge.errors import BridgeError, DefectError
from asset_bridge.ipld.any_car import archive_header as any_header
from asset_bridge.ipld.any_car import read_archive, section
from asset_bridge.ipld.car import car_block, car_header, read_car
from asset_bridge.ipld.cid import DAG_PB, Cid, raw_cid
from asset_bridge.ipld.content_id import ContentId
from asset_bridge.ipld.dagcbor import decode_dag_cbor, decode_dag_json, links_in
from asset_bridge.ipld.dagpb import FileLink, encode_file_node, parse_file_node
from asset_bridge.ipld.unixfs import read_dag
from asset_bridge.ipld.unixfs_node import read_pb_node
from asset_bridge.ipld.walk import ByteRange, resolve, walk
from asset_bridge.sealing import cbor
from asset_bridge.sealing.floe import FloeParameters, FloeSealer
from asset_bridge.sealing.header import SealedHeader, file_aad
from asset_bridge.sealing.index import Index
from asset_bridge.sealing.open import Opener
from asset_bridge.sealing.package import KeyPackage
from asset_bridge.sealing.padding import Padding
from asset_bridge.vault import crypt4gh
from tests.support.depth import depth

CORPUS = Path(__file__).resolve().parent / "corpus"
MOST_SECONDS, MOST_BYTES = 1.0, 64 * 1024 * 1024
KEY, CONTAINER, LISTER, SECRET = b"k" * 32, b"c" * 16, b"l" * 20, bytes(range(32))
SMALL = FloeParameters(96)
Target = Callable[[bytes], object]


def fixed(size: int) -> bytes:
    return bytes(range(256))[:size]


@cache
def sealer(mode: int) -> FloeSealer:
    """One for all inputs: it keeps nothing of what it sealed."""
    return FloeSealer(SMALL, KEY, file_aad(Padding(mode), CONTAINER, LISTER), fixed(32))


def crafted(plaintext: bytes, mode: int) -> tuple[bytes, bytes]:
    """What a provider with the key makes of any plaintext."""
    floe = sealer(mode)
    pieces = [plaintext[at : at + 64] for at in range(0, len(plaintext), 64)]
    body = b""
    for position, piece in enumerate(pieces):
        out = bytearray(len(piece) + 32)
        floe.seal_into(out, memoryview(piece), position, position == len(pieces) - 1, fixed(12))
        body += out
    return SealedHeader(Padding(mode), CONTAINER, floe.header).encode(), body


def opened(header: bytes, body: bytes) -> bytes:
    """Everything that comes out, by both ways of opening; they agree."""
    whole = Opener(
        header,
        file_key=KEY,
        lister=LISTER,
        body_length_bytes=len(body),
        fetch_segment=lambda number: body[number * 96 : number * 96 + 96],
        parameters=SMALL,
        workers=1,
    )
    content = b"".join(bytes(piece) for _, piece in whole.stream())
    assert content == b"".join(whole.read(member.path) for member in whole.members)
    assert len(content) == whole.content_length_bytes
    return content


def plaintext(data: bytes) -> None:
    """Behind a valid seal, anything: the provider is a stranger, too. The first byte chooses the padding."""
    opened(*crafted(data[1:], sum(data[:1]) & 1))


def container(data: bytes) -> None:
    """Header and body as they come from a peer: nothing but the honest one opens."""
    opened(data[:128], data[128:])
    assert data == SEEDS["container"], "a changed container was opened"


def car(data: bytes) -> None:
    """What is accepted is what is written again."""
    root, blocks = read_car(io.BytesIO(data).read)
    assert car_header(root) + b"".join(car_block(cid, block) for cid, block in blocks) == data


def cid_text(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    assert str(Cid.parse(text)) == text


def tree(data: bytes) -> None:
    """A root block from a stranger, for a length of two leaves of 8 bytes and one of 3."""
    root = Cid(DAG_PB, raw_cid(data).digest)
    assert read_dag(root, 19, lambda _: data, leaf_bytes=8, links_per_node=3).length_bytes == 19


def content_id(data: bytes) -> None:
    """Of any version, codec and hash: what is read is written again, and its text names it, too."""
    cid, rest = ContentId.read(data)
    assert cid.to_bytes() + rest == data
    assert ContentId.parse(str(cid)) == cid


def content_id_text(data: bytes) -> None:
    cid = ContentId.parse(data.decode("utf-8", "replace"))
    assert ContentId.parse(str(cid)) == cid


def any_archive(data: bytes) -> None:
    """Of version 1 or 2; every block that comes out has its hash."""
    roots, blocks = read_archive(io.BytesIO(data).read)
    for cid, block in blocks:
        cid.verify(block)
    any_header(roots[:23])


def request(data: bytes) -> None:
    """What a stranger may ask a gateway for: a block of his, a path in it and a range of it."""
    asked, _, block = data.partition(b"\n")
    path, _, bounds = asked.decode("utf-8", "surrogateescape").partition("?")
    codec = {"p": 0x70, "c": 0x71, "j": 0x0129}.get(path[:1], 0x55)
    root = ContentId(1, codec, 0x12, raw_cid(block).digest)
    wanted = ByteRange.parse(bounds) if bounds else None

    def get(cid: ContentId) -> bytes:
        if cid.inline is not None:
            return cid.inline
        cid.verify(block)
        return block

    found = resolve(get, root, path[1:].split("/") if path[1:] else [])
    for scope in ("block", "entity", "all"):
        for _ in walk(get, found.cid, scope, wanted):
            pass


def numbers(data: bytes) -> None:
    """The small CBOR reads what the general library reads, or refuses."""
    found = cbor.decode(data)
    assert cbor2.loads(data) == found


def archive_header(data: bytes) -> None:
    crypt4gh._read_header(io.BytesIO(data), SECRET)


KEY_FOLDER = TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None)  # written for every input


def key_file(data: bytes) -> None:
    """Both kinds of key files, from a place that holds these bytes."""
    path = Path(KEY_FOLDER.name) / "key"
    path.write_bytes(data)
    for read in (crypt4gh.read_public_key, lambda file: crypt4gh.read_secret_key(file, lambda: b"")):
        try:
            read(path)
        except BridgeError:
            continue


def same(parse: Callable[[bytes], bytes]) -> Target:
    """A parser whose every accepted input is the one encoding of what it gave."""

    def target(data: bytes) -> None:
        assert parse(data) == data, "a second encoding was accepted"

    return target


def seeds() -> Iterator[tuple[str, bytes]]:
    index = cbor2.dumps([1, 1, [["a/b", 40, "text/plain", 7], ["a/c", 0, "a/b", 0], ["d"]]], canonical=True)
    honest = (40).to_bytes(8, "big") + len(index).to_bytes(4, "big") + index + bytes(range(40))
    leaves = [FileLink(raw_cid(bytes(size)), size, size) for size in (8, 8, 3)]
    block = b"hello world"
    public = crypt4gh.X25519PrivateKey.from_private_bytes(SECRET).public_key().public_bytes_raw()
    yield "header", crafted(honest, 0)[0]
    yield "cbor", index
    yield "index", index
    yield "package", KeyPackage(CONTAINER, b"p" * 32, b"d" * 32, 5, 6).encode()
    yield "plaintext", b"\0" + honest
    yield "container", b"".join(crafted(honest, 0))
    yield "cid", raw_cid(block).to_bytes()
    yield "cid-text", str(raw_cid(block)).encode()
    yield "node", encode_file_node(tuple(leaves))
    yield "tree", encode_file_node(tuple(leaves))
    yield "car", car_header(raw_cid(block)) + car_block(raw_cid(block), block)
    link = b"\x01\x55\x00\x05inner"
    named = b"\x0a" + bytes((len(link),)) + link + b"\x12\x01n\x18\x05"
    node = b"\x12" + bytes((len(named),)) + named + b"\x0a\x06\x08\x02\x18\x05\x20\x05"
    inline = ContentId.read(link)[0]
    yield "content-id", inline.to_bytes()
    yield "content-id-text", str(inline).encode()
    yield "dag-cbor", b"\xa2\x61a\x82\x18\x2a\xf9\x3c\x00\x61l\xd8\x2a\x4a\0" + link
    yield "dag-json", f'{{"a": [1, {{"/": "{inline}"}}], "b": {{"/": {{"bytes": "YQ"}}}}}}'.encode()
    yield "dag-node", node
    yield "any-archive", any_header([inline]) + section(ContentId.of(raw_cid(block)), block)
    yield "request", b"p?1:-2\n" + node
    yield "crypt4gh-header", crypt4gh._header(KEY, public, fixed)
    yield (
        "crypt4gh-key-file",
        b"-----BEGIN CRYPT4GH PUBLIC KEY-----\n" + b"A" * 43 + b"=\n-----END CRYPT4GH PUBLIC KEY-----\n",
    )


SEEDS = dict(seeds())
TARGETS: dict[str, Target] = {
    "header": same(lambda data: SealedHeader.parse(data, SMALL).encode()),
    "cbor": numbers,
    "index": same(lambda data: Index.decode(data).encode()),
    "package": same(lambda data: KeyPackage.decode(data).encode()),
    "plaintext": plaintext,
    "container": container,
    "cid": same(lambda data: Cid.from_bytes(data).to_bytes()),
    "cid-text": cid_text,
    "node": same(lambda data: encode_file_node(parse_file_node(data).links)),
    "tree": tree,
    "car": car,
    "content-id": content_id,
    "content-id-text": content_id_text,
    "dag-cbor": lambda data: list(links_in(decode_dag_cbor(data))),
    "dag-json": lambda data: list(links_in(decode_dag_json(data))),
    "dag-node": read_pb_node,
    "any-archive": any_archive,
    "request": request,
    "crypt4gh-header": archive_header,
    "crypt4gh-key-file": key_file,
}
# Lengths and heads that parsers trip over.
PIECES = (
    b"",
    b"\0",
    b"\xff",
    b"\x9b" + b"\xff" * 8,
    b"\x7a" + b"\xff" * 4,
    b"\x80\x80\x80\x01",
    bytes(12),
    b"\xff" * 16,
    b"../",
    b"\x81" * 9,
)


def feed(name: str, data: bytes) -> None:
    """One input; anything but success and our own refusals is a finding."""
    try:
        TARGETS[name](data)
    except DefectError:
        raise
    except BridgeError:
        return


def mutated(draw: random.Random, pool: list[bytes]) -> bytes:
    """One to three changes of a member of the pool."""
    data = bytearray(draw.choice(pool))
    for _ in range(draw.randint(1, 3)):
        at, act = draw.randrange(len(data) + 1), draw.randrange(6)
        if act == 0 and data:
            data[at % len(data)] ^= 1 << draw.randrange(8)
        elif act == 1 and data:
            data[at % len(data)] = draw.randrange(256)
        elif act == 2:
            data[at:at] = draw.choice(PIECES)
        elif act == 3:
            del data[at : at + draw.randint(1, 9)]
        elif act == 4:
            data[at:] = draw.choice(pool)[at:]
        else:
            piece = draw.choice(PIECES)
            data[at : at + len(piece)] = piece
    return bytes(data[:20_000])


@pytest.mark.parametrize("name", TARGETS)
def test_target(name: str) -> None:
    TARGETS[name](SEEDS[name])
    draw = random.Random(name)
    folder = CORPUS / f"sealed-{name}"
    kept = [path.read_bytes() for path in sorted(folder.glob("*"))] if folder.is_dir() else []
    pool = [SEEDS[name], *kept, *PIECES]
    slowest = 0.0
    tracemalloc.start()
    for data in [*pool, *(mutated(draw, pool) for _ in range(300))]:
        feed(name, data)
    most_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    for _ in range(depth("sealing-fuzz")):
        data = mutated(draw, pool)
        began = time.process_time()
        feed(name, data)
        slowest = max(slowest, time.process_time() - began)
    assert most_bytes < MOST_BYTES
    assert slowest < MOST_SECONDS
