"""Content ids, trees and archives, against answers that kubo's own tests publish."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms

from asset_bridge.errors import InputError, TamperedError
from asset_bridge.ipld import any_car, content_id, walk
from asset_bridge.ipld.car import MAX_BLOCK_BYTES, car_block, car_header, read_car
from asset_bridge.ipld.cid import DAG_PB, EMPTY_FILE, RAW, Cid, raw_cid, verify_block
from asset_bridge.ipld.dagpb import MAX_NODE_BYTES, FileLink, encode_file_node, encode_varint, parse_file_node
from asset_bridge.ipld.unixfs import FileDag, FileDagBuilder, body_cid, file_dag, leaf_count, read_dag

GOLDEN = json.loads((Path(__file__).resolve().parents[3] / "spec/vectors/ipld/golden.json").read_text())
MIB = 1_048_576


def keystream(seed: str, length_bytes: int) -> Iterator[bytes]:
    """The bytes of kubo's test files: ChaCha20 under the seed's sha2-256."""
    cipher = Cipher(algorithms.ChaCha20(hashlib.sha256(seed.encode()).digest(), bytes(16)), None).encryptor()
    for at in range(0, length_bytes, MIB):
        yield cipher.update(bytes(min(MIB, length_bytes - at)))


def small(leaves: int, tail: int = 0, links: int = 3) -> FileDag:
    """A tree of leaves of 10 bytes, few to a node."""
    builder = FileDagBuilder(leaf_bytes=10, links_per_node=links)
    for number in range(leaves):
        builder.add(hashlib.sha256(bytes((number,)) * 10).digest(), 10)
    if tail:
        builder.add(hashlib.sha256(bytes(tail)).digest(), tail)
    return builder.finish()


def read_small(root: Cid, length_bytes: int, get_block: Callable[[Cid], bytes]) -> FileDag:
    return read_dag(root, length_bytes, get_block, leaf_bytes=10, links_per_node=3)


def test_known_files() -> None:
    assert str(file_dag(b"").root) == EMPTY_FILE
    assert str(file_dag(b"hello world").root) == "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e"


def test_kubo_s_published_roots() -> None:
    published = {
        ("chunk-v1-seed", MIB): "bafkreiacndfy443ter6qr2tmbbdhadvxxheowwf75s6zehscklu6ezxmta",
        ("chunk-v1-seed", MIB + 1): "bafybeigmix7t42i6jacydtquhet7srwvgpizfg7gjbq7627d35mjomtu64",
        ("v1-2025-seed", 1024 * MIB): "bafybeihmf37wcuvtx4hpu7he5zl5qaf2ineo2lqlfrapokkm5zzw7zyhvm",
        ("v1-2025-seed", 1024 * MIB + 1): "bafybeibdsi225ugbkmpbdohnxioyab6jsqrmkts3twhpvfnzp77xtzpyhe",
        ("v1-2025-seed", 1025 * MIB): "bafybeihmzokxxjqwxjcryerhp5ezpcog2wcawfryb2xm64xiakgm4a5jue",
    }
    digests = {
        seed: [hashlib.sha256(leaf).digest() for leaf in keystream(seed, length)]
        for seed, length in (("chunk-v1-seed", MIB), ("v1-2025-seed", 1025 * MIB))
    }
    for (seed, length), root in published.items():
        builder = FileDagBuilder()
        for digest in digests[seed][: length // MIB]:
            builder.add(digest, MIB)
        if length % MIB:
            *_, last = keystream(seed, length)
            builder.add(hashlib.sha256(last).digest(), len(last))
        dag = builder.finish()
        assert str(dag.root) == root
        assert read_dag(dag.root, length, dag.interior.__getitem__) == dag


def test_golden_trees() -> None:
    zeros = hashlib.sha256(bytes(MIB)).digest()
    for length, answer in GOLDEN["zeros"].items():
        builder = FileDagBuilder()
        for _ in range(int(length) // MIB):
            builder.add(zeros, MIB)
        if tail := int(length) % MIB:
            builder.add(hashlib.sha256(bytes(tail)).digest(), tail)
        dag = builder.finish()
        assert (str(dag.root), len(dag.interior)) == (answer["root"], answer["nodes"])
        assert body_cid(dag.root.digest, int(length)) == dag.root
    assert bytes.fromhex(GOLDEN["archive of hello world"])[1:3] == b"\xa2\x65"


@pytest.mark.parametrize("count", range(1, 30))
def test_trees_are_read_as_they_were_built(count: int) -> None:
    for tail in (0, 4):
        dag = small(count, tail)
        assert read_small(dag.root, dag.length_bytes, dag.interior.__getitem__) == dag
        assert len(dag.leaves) == leaf_count(dag.length_bytes, 10)
        assert dag.leaf_size(len(dag.leaves) - 1) == (tail or 10)
        for bad in (-1, len(dag.leaves)):
            with pytest.raises(InputError):
                dag.leaf_size(bad)


def test_an_empty_file_has_one_leaf() -> None:
    assert [leaf_count(length, 10) for length in (0, 1, 10, 11)] == [1, 1, 1, 2]


def test_another_length_or_block_is_refused() -> None:
    dag = small(7, 4)
    for length in (0, 10, 30, 70, 73, 75, 90, 91, 271, 2**64):
        with pytest.raises(TamperedError) as caught:
            read_small(dag.root, length, dag.interior.__getitem__)
        assert caught.value.code in ("ipld.shape", "ipld.node")
    with pytest.raises(TamperedError) as caught:
        read_small(dag.root, 74, lambda cid: dag.interior[cid] + b"\0")
    assert caught.value.code == "ipld.block"


def test_a_tree_of_another_shape_is_refused() -> None:
    leaf = FileLink(Cid(RAW, bytes(32)), 10, 10)

    def root_of(*links: FileLink) -> tuple[Cid, dict[Cid, bytes]]:
        block = encode_file_node(links)
        cid = Cid(DAG_PB, hashlib.sha256(block).digest())
        return cid, {cid: block}

    wrong_tsize = root_of(leaf, FileLink(leaf.cid, 10, 11))
    uneven = root_of(FileLink(leaf.cid, 9, 10), FileLink(leaf.cid, 11, 10))
    node_for_leaf = root_of(FileLink(Cid(DAG_PB, bytes(32)), 10, 10), leaf)
    for root, blocks in (wrong_tsize, uneven, node_for_leaf):
        with pytest.raises(TamperedError) as caught:
            read_small(root, 20, blocks.__getitem__)
        assert caught.value.code == "ipld.shape"
    with pytest.raises(TamperedError):
        read_small(leaf.cid, 20, {}.__getitem__)
    with pytest.raises(TamperedError):
        read_small(wrong_tsize[0], 10, {}.__getitem__)


def test_a_builder_takes_leaves_of_the_right_sizes_only() -> None:
    with pytest.raises(InputError):
        FileDagBuilder().finish()
    for sizes in ((10, 0), (0, 0), (4, 10), (11,), (-1,)):
        builder = FileDagBuilder(leaf_bytes=10)
        with pytest.raises(InputError):
            _ = [builder.add(bytes(32), size) for size in sizes]
    with pytest.raises(InputError, match="leaf's digest"):
        FileDagBuilder().add(b"short", 1)


def test_every_one_byte_change_of_a_node_is_refused_or_another_node() -> None:
    block = encode_file_node(tuple(FileLink(raw_cid(bytes((n,))), 200, 300) for n in range(3)))
    assert encode_file_node(parse_file_node(block).links) == block
    changes = [block[:at] + bytes((value,)) + block[at + 1 :] for at in range(len(block)) for value in range(256)]
    changes += [block[:at] for at in range(len(block))] + [block + b"\0", block + block, bytes(MAX_NODE_BYTES + 1)]
    for changed in changes:
        with contextlib.suppress(TamperedError):
            assert encode_file_node(parse_file_node(changed).links) == changed


@pytest.mark.parametrize("number", [0, 1, 126, 127, 128, 129, 16_383, 16_384, 2**63, 2**64 - 1])
def test_numbers_of_a_node_at_the_edges_of_their_lengths(number: int) -> None:
    links = (FileLink(raw_cid(b""), number, number),)
    assert parse_file_node(encode_file_node(links)).links == links


def test_numbers_are_in_shortest_form() -> None:
    assert [encode_varint(number) for number in (0, 127, 128)] == [b"\0", b"\x7f", b"\x80\x01"]
    assert encode_varint(2**64 - 1) == b"\xff" * 9 + b"\x01"
    for number in (-1, 2**64):
        with pytest.raises(InputError):
            encode_varint(number)


def test_the_limits_that_readers_rely_on() -> None:
    assert MAX_BLOCK_BYTES == 2_097_152
    assert MAX_NODE_BYTES == 131_072
    assert (any_car.MAX_HEADER_BYTES, any_car.MAX_CID_BYTES) == (1_048_576, 256)
    assert (content_id.MOST_CHARACTERS, walk.MOST_SEGMENTS) == (512, 256)
    assert [content_id.DAG_CBOR, content_id.DAG_JSON, content_id.JSON, content_id.CBOR] == [0x71, 0x0129, 0x0200, 0x51]


def test_random_bytes_are_no_node() -> None:
    rand = random.Random(3)
    for _ in range(2_000):
        with pytest.raises(TamperedError):
            parse_file_node(b"\x12\x2c\x0a\x24" + rand.randbytes(rand.randrange(100)))


def test_node_limits() -> None:
    link = FileLink(raw_cid(b""), 2**64 - 1, 2**64 - 1)
    for count in (0, 1025):
        with pytest.raises(InputError):
            encode_file_node((link,) * count)
    with pytest.raises(InputError):
        encode_file_node((link, link))
    many = encode_file_node((FileLink(raw_cid(b""), 2**50, 2**50),) * 1024)
    assert len(many) < MAX_NODE_BYTES
    for long in (many[:44] + many, many + bytes(MAX_NODE_BYTES)):
        with pytest.raises(TamperedError, match="too long" if len(long) > MAX_NODE_BYTES else "too many"):
            parse_file_node(long)
    for size, said in ((MAX_NODE_BYTES, "missing or left over"), (MAX_NODE_BYTES + 1, "too long")):
        with pytest.raises(TamperedError, match=said):
            parse_file_node(bytes(size))


def test_content_ids_have_one_spelling() -> None:
    cid = raw_cid(b"hello world")
    text = str(cid)
    assert Cid.parse(text) == cid == Cid.from_bytes(cid.to_bytes())
    bad = [
        text.upper(),
        "f" + text[1:],
        text[:-1],
        text + "a",
        text + "=",
        "b" + "1" * 58,
        "",
        "bä" + text[2:],
        text[:-1] + "f",
    ]
    bad += [f" {text[:-1]}", "Qm" + text[2:]]
    for wrong in bad:
        other_form = len(wrong) != 59 or wrong[0] != "b" or not wrong.isascii()
        with pytest.raises(InputError, match="expected 59 characters" if other_form else "not a content id"):
            Cid.parse(wrong)
    raw = cid.to_bytes()
    for wrong_bytes in (raw[:-1], raw + b"\0", b"\0" + raw[1:], b"\x01\x71" + raw[2:], raw[:2] + b"\x13" + raw[3:]):
        with pytest.raises(InputError):
            Cid.from_bytes(wrong_bytes)
    for codec, digest in ((0x71, bytes(32)), (RAW, bytes(31)), (RAW, bytearray(32))):
        with pytest.raises(InputError):
            Cid(codec, digest)  # type: ignore[arg-type]


def test_a_block_is_what_its_id_names() -> None:
    verify_block(raw_cid(b"x"), b"x")
    with pytest.raises(TamperedError) as caught:
        verify_block(raw_cid(b"x"), b"y")
    assert (caught.value.code, caught.value.actor) == ("ipld.block", "storage node")


def archive() -> bytes:
    dag = small(3)
    leaves = [b"leaf", b"", bytes(91)]  # the last with the largest length of one byte
    blocks = [*dag.interior.items(), *((raw_cid(leaf), leaf) for leaf in leaves)]
    return car_header(dag.root) + b"".join(car_block(cid, block) for cid, block in blocks)


def test_an_archive_comes_back() -> None:
    root, blocks = read_car(io.BytesIO(archive()).read)
    found = list(blocks)
    assert root == small(3).root == found[0][0]
    assert [block for _, block in found[1:]] == [b"leaf", b"", bytes(91)]
    slow = io.BytesIO(archive())
    assert list(read_car(lambda size: slow.read(min(size, 7)))[1]) == found


def test_a_changed_archive_is_refused_or_another_archive() -> None:
    whole = archive()
    refused = 0
    for at in range(len(whole)):
        for changed in (whole[:at], whole[:at] + bytes((whole[at] ^ 0x81,)) + whole[at + 1 :]):
            try:
                root, blocks = read_car(io.BytesIO(changed).read)
                again = car_header(root) + b"".join(car_block(cid, block) for cid, block in blocks)
            except TamperedError:
                refused += 1
            else:
                assert again == changed
    assert refused > len(whole)


def test_a_block_of_an_archive_is_what_its_id_names() -> None:
    wrong = car_header(raw_cid(b"x")) + car_block(raw_cid(b"x"), b"y")
    with pytest.raises(TamperedError) as caught:
        list(read_car(io.BytesIO(wrong).read)[1])
    assert caught.value.code == "ipld.block"


def test_a_long_section_is_refused_before_it_is_read() -> None:
    stream = io.BytesIO(car_header(raw_cid(b"")) + encode_varint(MAX_BLOCK_BYTES + 37) + bytes(MAX_BLOCK_BYTES + 37))
    asked: list[int] = []

    def read(size: int) -> bytes:
        asked.append(size)
        return stream.read(size)

    with pytest.raises(TamperedError, match="out of bounds"):
        list(read_car(read)[1])
    assert max(asked) < 100


def test_a_header_of_another_length_is_not_read() -> None:
    honest = len(car_header(raw_cid(b""))) - 1
    for length in (1 << 27, honest - 1, honest + 1):
        stream, asked = io.BytesIO(encode_varint(length)), []

        def read(size: int, stream: io.BytesIO = stream, asked: list[int] = asked) -> bytes:
            asked.append(size)
            return stream.read(size)

        with pytest.raises(TamperedError, match="one root"):
            read_car(read)
        assert set(asked) == {1}


def test_archive_bounds() -> None:
    header = car_header(raw_cid(b""))
    for tail in (
        b"\x80",
        b"\xff\xff\xff\xff\x01",
        b"\xa4\x00" + raw_cid(b"").to_bytes(),
        b"\x01",
        encode_varint(MAX_BLOCK_BYTES + 37),
    ):
        with pytest.raises(TamperedError):
            list(read_car(io.BytesIO(header + tail).read)[1])
    largest = bytes(MAX_BLOCK_BYTES)
    found = list(read_car(io.BytesIO(header + car_block(raw_cid(largest), largest)).read)[1])
    assert found == [(raw_cid(largest), largest)]
    with pytest.raises(TamperedError, match="has no end"):
        read_car(io.BytesIO(b"\xff" * 4 + b"\x01").read)
    for start in (b"", b"\x10" + bytes(16), header[:-1] + b"\x02", header.replace(b"\x01\x55", b"\x01\x56")):
        with pytest.raises(TamperedError):
            read_car(io.BytesIO(start).read)
    with pytest.raises(InputError):
        car_block(raw_cid(b""), bytes(MAX_BLOCK_BYTES + 1))


def test_a_number_without_an_end_is_refused() -> None:
    for block in (b"\x12" + b"\xff" * 11, b"\x12" + b"\xff" * 5, b"\x12"):
        with pytest.raises(TamperedError, match="has no end"):
            parse_file_node(block)


def test_a_node_knows_the_length_of_its_file() -> None:
    dag = small(3, 1)
    assert parse_file_node(dag.interior[dag.root]).length_bytes == dag.length_bytes
