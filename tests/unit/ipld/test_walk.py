"""Paths, scopes and ranges over DAGs (walk.py), on blocks that no part of the product made; only what is needed is asked for."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from asset_bridge.errors import BridgeError, InputError
from asset_bridge.ipld import walk as walk_module
from asset_bridge.ipld.content_id import ContentId
from asset_bridge.ipld.murmur import murmur3_x64_64
from asset_bridge.ipld.walk import ALL, BLOCK, ENTITY, MOST_BLOCKS, MOST_SEGMENTS, ByteRange, links_of, resolve, walk
from tests.conformance.gateway.dags import CBOR, JSON, PB, RAW, Dag, cbor_link, chunk, pb, text, unixfs

DAG = Dag()
CONTENT = random.Random(6).randbytes(1283)
FILE = DAG.file(CONTENT)  # six leaves of 256, three to a node
LEAVES = [name for name in DAG.blocks if name[1] == RAW]
HALVES = [name for name in DAG.blocks if name[1] == PB and name != FILE]
SMALL = DAG.add(RAW, b"small")
FOLDER = DAG.folder({"big": FILE, "small": SMALL})
INLINE = b"\x01\x55\x00\x05" + b"inner"
DOCUMENT = DAG.add(CBOR, b"\xa3\x61a\x82\x05" + cbor_link(FOLDER) + b"\x61b" + cbor_link(SMALL) + b"\x61c\xa1\x61d\x07")
NOTE = DAG.add(JSON, f'{{"at": {{"/": "{text(DOCUMENT)}"}}, "n": 1}}'.encode())
PLAIN = DAG.add(PB, pb([(SMALL, "x", 1), (INLINE, "in", 1)], b"no unixfs \xff"))
LINKED = DAG.add(PB, pb([], unixfs(4, data=b"target")))
OWN = DAG.add(PB, pb([(SMALL, "", 5), (SMALL, "", 5)], unixfs(2, data=b"abc", size=13, spans=(5, 5))))
RAW_NODE = DAG.add(PB, pb([], unixfs(0, data=b"abc")))
ODD = DAG.add(PB, pb([(SMALL, "", 5), (LEAVES[0], "", 256)], unixfs(2, size=261, spans=(5,))))


def shard(members: dict[str, bytes], bits: int, at: int = 0) -> bytes:
    """A HAMT of fanout 2^bits."""
    width = len(f"{(1 << bits) - 1:X}")
    by_place: dict[int, dict[str, bytes]] = {}
    for label, name in members.items():
        place = int.from_bytes(murmur3_x64_64(label.encode()), "big") >> 64 - at - bits & (1 << bits) - 1
        by_place.setdefault(place, {})[label] = name
    links = []
    for place, found in sorted(by_place.items()):
        if len(found) == 1:
            links += [(name, f"{place:0{width}X}{label}", 1) for label, name in found.items()]
        else:
            links.append((shard(found, bits, at + bits), f"{place:0{width}X}", 1))
    return DAG.add(PB, pb(links, unixfs(5, data=b"\x01", fanout=1 << bits)))


NAMES = [f"{number}.txt" for number in range(60)]
SHARDS = {}
for BITS in (8, 3, 4):
    before = set(DAG.blocks)
    SHARDS[BITS] = shard(dict.fromkeys(NAMES, FILE), BITS)
    SHARDS[BITS, "all"] = [name for name in DAG.blocks if name not in before]


def of(name: bytes) -> ContentId:
    return ContentId.read(name)[0]


def blocks(asked: list[bytes] | None = None) -> Callable[[ContentId], bytes]:
    def get(cid: ContentId) -> bytes:
        if asked is not None:
            asked.append(cid.to_bytes())
        return cid.inline if cid.inline is not None else DAG.blocks[cid.to_bytes()]

    return get


def walked(name: bytes, scope: str, wanted: str | None = None) -> list[bytes]:
    asked: list[bytes] = []
    found = list(walk(blocks(asked), of(name), scope, None if wanted is None else ByteRange.parse(wanted)))
    assert all(DAG.blocks[cid.to_bytes()] == block for cid, block in found)
    names = [cid.to_bytes() for cid, _ in found]
    assert [name for name in asked if name != INLINE] == names, "what was not needed was asked for"
    return names


def code(call: Callable[[], Any]) -> str:
    with pytest.raises(BridgeError) as caught:
        call()
    return caught.value.code


def ends(root: bytes, path: str) -> tuple[bytes, list[bytes], list[bytes], tuple[str, ...]]:
    asked: list[bytes] = []
    found = resolve(blocks(asked), of(root), path.split("/") if path else [])
    passed = [cid.to_bytes() for cid in found.passed]
    assert asked[: len(passed)] == passed
    return found.cid.to_bytes(), passed, [cid.to_bytes() for cid in found.roots], found.inside


def doubled(levels: int) -> bytes:
    """A file of 5 · 2^levels bytes and one block a level; each names the one below it twice."""
    name, size = SMALL, 5
    for _ in range(levels):
        name, size = (
            DAG.add(PB, pb([(name, "", size), (name, "", size)], unixfs(2, size=2 * size, spans=(size, size)))),
            2 * size,
        )
    return name


@pytest.mark.parametrize(
    ("scope", "wanted", "most"),
    [(ALL, None, 41), (ENTITY, None, 41), (ENTITY, "7:*", 2 * 41), (ENTITY, "11:-13", 3 * 41)],
)
def test_once_a_dag_with_two_to_the_fortieth_paths_is_walked_by_its_blocks(
    scope: str, wanted: str | None, most: int
) -> None:
    asked, sent = [], set[bytes]()
    names = []
    for cid, _ in walk(blocks(asked), of(doubled(40)), scope, ByteRange.parse(wanted) if wanted else None, sent=sent):
        if cid.digest not in sent:
            names.append(cid.to_bytes())
        sent.add(cid.digest)
    assert len(names) == 41
    assert names[-1] == SMALL
    assert len(asked) <= most


def test_with_every_repetition_it_ends_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walk_module, "MOST_BLOCKS", 1000)
    assert len(walked(doubled(8), ALL)) == 2**9 - 1
    for scope in (ALL, ENTITY):
        assert code(lambda scope=scope: walked(doubled(40), scope)) == "ipfs.repeats"


def test_the_walk_ends_behind_the_last_block_that_it_may_take(monkeypatch: pytest.MonkeyPatch) -> None:
    assert MOST_BLOCKS == 2 * 2**24, "spec/sealed-file.md S17: a body has at most 2^24 segments"
    below = 2**5 - 2  # the root is not counted
    monkeypatch.setattr(walk_module, "MOST_BLOCKS", below)
    assert len(walked(doubled(4), ALL)) == below + 1
    monkeypatch.setattr(walk_module, "MOST_BLOCKS", below - 1)
    assert code(lambda: walked(doubled(4), ALL)) == "ipfs.repeats"


def test_once_a_block_that_was_sent_is_not_asked_for_unless_other_bytes_below_it_are_wanted() -> None:
    asked: list[bytes] = []
    list(walk(blocks(asked), of(FOLDER), ALL, sent={of(SMALL).digest, of(LEAVES[1]).digest}))
    assert asked == [name for name in walked(FOLDER, ALL) if name not in (SMALL, LEAVES[1])]

    byte = DAG.add(RAW, b"1")
    for first, size, wanted in ((LEAVES[0], 256, "256:300"), (LEAVES[0], 256, "256:*"), (byte, 1, "1:*")):
        spans = (size, 5)
        pair = DAG.add(PB, pb([(first, "", size), (SMALL, "", 5)], unixfs(2, size=sum(spans), spans=spans)))
        spans = (size + 5, size + 5)
        twice = DAG.add(PB, pb([(pair, "", size + 5), (pair, "", size + 5)], unixfs(2, size=sum(spans), spans=spans)))
        sent, names = set[bytes](), []
        for cid, _ in walk(blocks(), of(twice), ENTITY, ByteRange.parse(wanted), sent=sent):
            names.append(cid.to_bytes())
            sent.add(cid.digest)
        assert names == [twice, pair, SMALL, pair, first]


def test_once_a_shard_that_two_places_share_is_walked_for_the_first() -> None:
    inner = DAG.add(PB, pb([(SMALL, "00x", 5)], unixfs(5, data=b"\x01", fanout=256)))
    outer = DAG.add(PB, pb([(inner, "00", 1), (inner, "01", 1)], unixfs(5, data=b"\x03", fanout=256)))
    assert walked(outer, ENTITY) == [outer, inner, inner]
    assert [cid.to_bytes() for cid, _ in walk(blocks(), of(outer), ENTITY, sent=set())] == [outer, inner]


def test_murmur_is_that_of_the_reference() -> None:
    """The first half of MurmurHash3_x64_128 with seed 0 as its C source prints it."""
    known = {"": "0000000000000000", "hello": "cbd8a7b341bd9b02", "hello, world": "342fac623a5ebc8e"}
    for label, digest in known.items():
        assert murmur3_x64_64(label.encode()).hex() == digest
    for data, digest in (
        (b"a" * 15, "7d07a8dbfd2e7fbc"),
        (b"a" * 16, "f2c1180d62aaa6ce"),
        (b"a" * 17, "6f7214c7cef2d698"),
        (bytes(range(64)), "ffd5522d8d812301"),
        (bytes(range(255)), "03b09a824269589d"),
    ):
        assert murmur3_x64_64(data).hex() == digest
    assert murmur3_x64_64(b"The quick brown fox jumps over the lazy dog.").hex() == "cd99481f9ee902c9"


def test_paths_through_folders_and_documents() -> None:
    assert ends(FOLDER, "") == (FOLDER, [], [FOLDER], ())
    assert ends(FOLDER, "big") == (FILE, [FOLDER], [FOLDER, FILE], ())
    assert ends(DOCUMENT, "a/1/small") == (SMALL, [DOCUMENT, FOLDER], [DOCUMENT, FOLDER, SMALL], ())
    assert ends(NOTE, "at/b") == (SMALL, [NOTE, DOCUMENT], [NOTE, DOCUMENT, SMALL], ())
    assert ends(DOCUMENT, "a/0") == (DOCUMENT, [], [DOCUMENT], ("a", "0"))
    assert ends(NOTE, "at/c/d") == (DOCUMENT, [NOTE], [NOTE, DOCUMENT], ("c", "d"))
    assert ends(PLAIN, "x") == (SMALL, [PLAIN], [PLAIN, SMALL], ())
    assert ends(PLAIN, "in") == (INLINE, [PLAIN], [PLAIN, INLINE], ())


@pytest.mark.parametrize(
    ("root", "path"),
    [
        (FOLDER, "none"),
        (FOLDER, "small/x"),
        (FILE, "x"),
        (LINKED, "x"),
        (DAG.add(PB, pb([(SMALL, "x", 5)], unixfs(2, size=5, spans=(5,)))), "x"),
        (DOCUMENT, "x"),
        (DOCUMENT, "a/2"),
        (DOCUMENT, "a/-1"),
        (DOCUMENT, "a/x"),
        (DOCUMENT, "a/0/x"),
        (DOCUMENT, "a/1234567890"),
        (DOCUMENT, "a/²"),
        (DOCUMENT, "c/d/x"),
        (SHARDS[8], "none"),
        (SHARDS[3], "none"),
    ],
)
def test_there_is_nothing_at_a_path(root: bytes, path: str) -> None:
    assert code(lambda: ends(root, path)) == "ipfs.path"


def test_a_path_has_at_most_so_many_segments() -> None:
    root = SMALL
    for _ in range(MOST_SEGMENTS):
        root = DAG.add(CBOR, b"\xa1\x61x" + cbor_link(root))
    assert ends(root, "/".join("x" * MOST_SEGMENTS))[0] == SMALL
    root = DAG.add(CBOR, b"\xa1\x61x" + cbor_link(root))
    asked: list[bytes] = []
    with pytest.raises(InputError):
        resolve(blocks(asked), of(root), ["x"] * (MOST_SEGMENTS + 1))
    assert not asked


@pytest.mark.parametrize("bits", [8, 3, 4])
def test_sharded_folders(bits: int) -> None:
    root, all_shards = SHARDS[bits], SHARDS[bits, "all"]
    assert len(all_shards) > 1
    for label in NAMES:
        cid, passed, roots, inside = ends(root, label)
        asked: list[bytes] = []
        resolve(blocks(asked), of(root), [label])
        assert passed == [name for name in asked if name in all_shards]
        assert (cid, roots, inside) == (FILE, [root, FILE], ())
        assert passed[0] == root
        assert set(passed) <= set(all_shards)
    found = walked(root, ENTITY)
    assert found[0] == root
    assert sorted(found) == sorted(all_shards)
    assert walked(root, BLOCK) == [root]


def test_a_shard_without_a_fanout_has_the_usual_one_and_a_path_ends_with_the_hash() -> None:
    place = murmur3_x64_64(b"x")[0]
    usual = DAG.add(PB, pb([(SMALL, f"{place:02X}x", 1)], unixfs(5, data=b"\x01")))
    assert ends(usual, "x")[0] == SMALL
    below = DAG.add(PB, pb([(SMALL, "x", 1)], unixfs(1)))
    other = DAG.add(PB, pb([(below, f"{place:02X}", 1)], unixfs(5, data=b"\x01")))
    assert code(lambda: ends(other, "x")) == "ipfs.path"
    bits = int.from_bytes(murmur3_x64_64(b"x"), "big")
    plain = DAG.add(PB, pb([(SMALL, f"{bits >> 48 & 255:02X}x", 1)], unixfs(1)))  # what would be the next shard is none
    other = DAG.add(PB, pb([(plain, f"{place:02X}", 1)], unixfs(5, data=b"\x01")))
    assert code(lambda: ends(other, "x")) == "ipfs.path"
    deep, places = SMALL, [bits >> 64 - 8 * (level + 1) & 255 for level in range(8)]
    for level in reversed(range(8)):
        label = f"{places[level]:02X}" + ("x" if level == 7 else "")
        deep = DAG.add(PB, pb([(deep, label, 1)], unixfs(5, data=b"\x01", fanout=256)))
    assert ends(deep, "x")[0] == SMALL  # the last bits of the hash
    deep = DAG.add(PB, pb([(SMALL, "00x", 1)], unixfs(5, data=b"\x01", fanout=256)))
    for level in reversed(range(8)):
        deep = DAG.add(PB, pb([(deep, f"{places[level]:02X}", 1)], unixfs(5, data=b"\x01", fanout=256)))
    assert code(lambda: ends(deep, "x")) == "ipfs.path"


def test_scopes() -> None:
    assert walked(FILE, BLOCK) == [FILE]
    assert walked(FILE, ALL) == walked(FILE, ENTITY) == [FILE, HALVES[0], *LEAVES[:3], HALVES[1], *LEAVES[3:]]
    assert walked(FOLDER, ENTITY) == walked(FOLDER, BLOCK) == [FOLDER]
    assert walked(FOLDER, ALL) == [FOLDER, *walked(FILE, ALL), SMALL]
    assert walked(SMALL, ALL) == walked(SMALL, ENTITY) == [SMALL]
    assert walked(DOCUMENT, ENTITY) == [DOCUMENT]
    assert walked(NOTE, ALL) == [NOTE, DOCUMENT, *walked(FOLDER, ALL), SMALL]
    assert walked(PLAIN, ENTITY) == [PLAIN]
    assert walked(PLAIN, ALL) == [PLAIN, SMALL]
    assert walked(LINKED, ENTITY) == [LINKED]
    assert walked(RAW_NODE, ENTITY) == [RAW_NODE]
    assert walked(INLINE, ALL) == walked(INLINE, ENTITY) == []


@pytest.mark.parametrize(
    ("wanted", "leaves"),
    [
        ("0:*", range(6)),
        ("0:0", [0]),
        ("255:255", [0]),
        ("256:256", [1]),
        ("255:256", [0, 1]),
        ("700:800", [2, 3]),
        ("768:1023", [3]),
        ("1280:*", [5]),
        ("1282:5000", [5]),
        ("1283:*", []),
        ("-3:*", [5]),
        ("-4:*", [4, 5]),
        ("-5000:0", [0]),
        ("0:-1", range(6)),
        ("0:-4", range(5)),
        ("0:-1283", [0]),
        ("0:-1284", []),
        ("-10:-9", [4]),
    ],
)
def test_ranges_of_a_file(wanted: str, leaves: list[int]) -> None:
    found = walked(FILE, ENTITY, wanted)
    assert [name for name in found if name in LEAVES] == [LEAVES[number] for number in leaves]
    assert [name for name in found if name in HALVES] == [HALVES[n] for n in (0, 1) if any(x // 3 == n for x in leaves)]
    assert found[0] == FILE


def test_a_range_goes_past_content_in_the_node_itself() -> None:
    assert walked(OWN, ENTITY, "0:2") == [OWN]
    assert walked(OWN, ENTITY, "3:3") == [OWN, SMALL]
    assert walked(OWN, ENTITY, "7:8") == [OWN, SMALL, SMALL]
    assert walked(OWN, ENTITY, "8:*") == [OWN, SMALL]


def test_a_first_leaf_of_one_byte_is_content() -> None:
    byte = DAG.add(RAW, b"1")
    node = DAG.add(PB, pb([(byte, "", 1), (SMALL, "", 5)], unixfs(2, size=6, spans=(1, 5))))
    assert walked(node, ENTITY) == walked(node, ENTITY, "0:*") == [node, byte, SMALL]


def test_a_node_that_gives_no_sizes_is_followed_whole() -> None:
    assert walked(ODD, ENTITY, "200:210") == [ODD, SMALL]
    assert walked(ODD, ENTITY, "0:*") == [ODD, SMALL]
    inner = DAG.add(PB, pb([(SMALL, "", 5)], b"\xff"))  # no UnixFS inside a file: nothing below is content
    outer = DAG.add(PB, pb([(inner, "", 5)], unixfs(2, size=5, spans=(5,))))
    assert walked(outer, ENTITY) == [outer, inner]


@pytest.mark.parametrize(
    "asked",
    [
        *("", "5", ":", "5:", ":5", "a:5", "5:a", "5:4", "1:0", "--5:*", "5:--5", "+5:*", "5:+6", "²:*", "0:²", " 5:*"),
        *("5:6:7", "1" * 21 + ":*", "0:" + "1" * 21, "0:" + "9" * 5000, "*:5", "-:*", "0:-"),
    ],
)
def test_no_range(asked: str) -> None:
    assert code(lambda: ByteRange.parse(asked)) == "ipfs.format"


def test_the_widest_ranges() -> None:
    assert ByteRange.parse("1" * 20 + ":" + "1" * 20) == ByteRange(int("1" * 20), int("1" * 20))
    assert ByteRange.parse("-5:0") == ByteRange(-5, 0)
    assert ByteRange.parse("5:-7") == ByteRange(5, -7)
    assert ByteRange.parse("5:5").within(5) == (0, 0)
    assert ByteRange.parse("4:9").within(5) == (4, 5)
    assert ByteRange.parse("-2:*").within(5) == (3, 5)
    assert ByteRange.parse("0:-2").within(5) == (0, 4)


def test_links_of_each_codec() -> None:
    def named(name: bytes) -> list[bytes]:
        return [cid.to_bytes() for cid in links_of(of(name), DAG.blocks[name])]

    assert named(FOLDER) == [FILE, SMALL]
    assert named(DOCUMENT) == [FOLDER, SMALL]
    assert named(NOTE) == [DOCUMENT]
    assert named(SMALL) == []
    with pytest.raises(BridgeError):
        links_of(of(FOLDER), chunk(2, b""))
