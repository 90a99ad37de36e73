"""Content ids of any spelling (content_id.py): what is read, what is refused, and that a block is what its id names."""

from __future__ import annotations

import base64
import hashlib

import pytest

from asset_bridge.errors import InputError, TamperedError
from asset_bridge.ipld.cid import DAG_PB, RAW, Cid
from asset_bridge.ipld.content_id import DAG_CBOR, HASHES, ContentId

BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
BASE36 = "0123456789abcdefghijklmnopqrstuvwxyz"
# The empty folder, as kubo names it.
EMPTY = bytes.fromhex("0a020801")
OLD, NEW = (
    "QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn",
    "bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354",
)
ONE = b"\x01\x71\x12\x20" + hashlib.sha256(b"block").digest()


def digits(data: bytes, alphabet: str) -> str:
    value, out = int.from_bytes(data, "big"), ""
    while value:
        value, place = divmod(value, len(alphabet))
        out = alphabet[place] + out
    return out


def refused(text: str | bytes) -> None:
    with pytest.raises(InputError) as caught:
        ContentId.parse(text) if isinstance(text, str) else ContentId.read(text)
    assert caught.value.code == "ipld.cid"


def test_version_0_and_1_name_one_block() -> None:
    old, new = ContentId.parse(OLD), ContentId.parse(NEW)
    assert (old.version, new.version) == (0, 1)
    assert (str(old), str(new)) == (OLD, NEW)
    assert old.codec == new.codec == DAG_PB
    assert old.multihash == new.multihash == b"\x12\x20" + hashlib.sha256(EMPTY).digest()
    assert (old.to_bytes(), new.to_bytes()) == (old.multihash, b"\x01\x70" + old.multihash)
    assert ContentId.read(old.to_bytes() + b"more") == (old, b"more")
    assert ContentId.read(new.to_bytes() + b"more") == (new, b"more")
    for cid in (old, new):
        cid.verify(EMPTY)
        assert cid.inline is None
        with pytest.raises(TamperedError) as caught:
            cid.verify(EMPTY + b"\0")
        assert (caught.value.code, caught.value.actor) == ("ipld.block", "storage node")


def test_the_strict_form_and_back() -> None:
    new = ContentId.parse(NEW)
    strict = new.strict()
    assert strict == Cid(DAG_PB, new.digest)
    assert ContentId.of(strict) == new
    assert ContentId.parse(OLD).strict() == strict
    other = ContentId(1, DAG_CBOR, 0x12, bytes(32))
    assert other.strict() == Cid(RAW, bytes(32))  # a block store keeps any block as raw
    assert ContentId(1, RAW, 0x1B, bytes(32)).strict() is None


def test_every_base_reads_the_same_id() -> None:
    wanted = ContentId(1, DAG_CBOR, 0x12, hashlib.sha256(b"block").digest())
    b32, b64 = base64.b32encode(ONE).decode().rstrip("="), base64.b64encode(ONE).decode().rstrip("=")
    for text in (
        "b" + b32.lower(),
        "B" + b32,
        "f" + ONE.hex(),
        "F" + ONE.hex().upper(),
        "z" + digits(ONE, BASE58),
        "k" + digits(ONE, BASE36),
        "K" + digits(ONE, BASE36).upper(),
        "m" + b64,
        "u" + b64.replace("+", "-").replace("/", "_"),
    ):
        assert ContentId.parse(text) == wanted, text
    assert str(wanted) == "b" + b32.lower()


def test_lengths_of_texts() -> None:
    for text, said in (("b", True), ("", True), ("b" * 513, True), ("bf", False), ("b" * 512, False)):
        with pytest.raises(InputError) as caught:
            ContentId.parse(text)
        assert ("its length" in str(caught.value)) is said, text
    inline = ContentId(1, RAW, 0, bytes(24))
    assert len(str(inline)) == 46  # as long as an id of version 0
    assert ContentId.parse(str(inline)) == inline


def test_base_64_takes_nothing_but_its_digits() -> None:
    text = "m" + base64.b64encode(ONE).decode().rstrip("=")
    assert ContentId.parse(text).to_bytes() == ONE
    for strange in ("*", " ", "\n", "-"):
        refused(text[:9] + strange + text[9:])


def test_padding_of_base_64_is_as_long_as_it_must_be() -> None:
    for size in range(1, 12):
        encoded = b"\x01\x55\x00" + bytes([size]) + b"\xff" * size
        text = base64.b64encode(encoded).decode().rstrip("=")
        assert ContentId.parse("m" + text).inline == b"\xff" * size
        assert ContentId.parse("u" + text.replace("+", "-").replace("/", "_")).inline == b"\xff" * size


@pytest.mark.parametrize(
    "text",
    [
        *("", "b", "f", "é", "é" + NEW, "x" + ONE.hex()),
        *("f" + ONE.hex() + "00", "f" + ONE.hex()[:-2], "f" + ONE.hex()[:-1] + "g", "f01 " + ONE.hex()[2:]),
        *(NEW + "=", NEW[:-1] + "1", "f1220" + bytes(32).hex(), OLD[:-1] + "0", "z" + OLD),
        *("z1" + digits(ONE, BASE58), "k0" + digits(ONE, BASE36), "zO0Il", "k" + "!" * 9, "u+/+/", "b" + "a" * 600),
        *("m" + "*" * 12, "m" + base64.b64encode(ONE[:-1]).decode(), "mAVUAAf8="),
    ],
)
def test_no_content_id(text: str) -> None:
    refused(text)


def test_the_binary_form_is_read_strictly() -> None:
    refused(b"\x12\x20" + bytes(31))
    assert ContentId.read(b"\x12\x20" + bytes(32))[1] == b""
    refused(b"")
    for at in range(len(ONE)):
        refused(ONE[:at])
    refused(b"\x02" + ONE[1:])
    refused(b"\x00" + ONE[1:])
    refused(b"\x01\x71\x12\x1f" + bytes(31))
    refused(b"\x01\x71\x12\x21" + bytes(33))
    refused(b"\x01\x71\x1b\x20" + bytes(32))  # keccak-256, which nothing here verifies
    refused(b"\x81\x00\x71\x12\x20" + bytes(32))  # not in shortest form
    long = b"\x80" * 8 + b"\x01"
    assert ContentId.read(b"\x01" + long + b"\x12\x20" + bytes(32))[0].codec == 1 << 56
    refused(b"\x01" + b"\x80" * 9 + b"\x01\x12\x20" + bytes(32))
    assert ContentId.read(b"\x01\xa9\x02\x12\x20" + bytes(32))[0].codec == 0x129


def test_an_identity_id_carries_its_block() -> None:
    empty, _ = ContentId.read(b"\x01\x55\x00\x00")
    assert (empty.inline, empty.to_bytes()) == (b"", b"\x01\x55\x00\x00")
    most = b"\x01\x55\x00\x80\x01" + b"i" * 128
    cid, rest = ContentId.read(most)
    assert (cid.inline, rest, cid.to_bytes()) == (b"i" * 128, b"", most)
    cid.verify(b"i" * 128)
    with pytest.raises(TamperedError):
        cid.verify(b"i" * 127)
    refused(b"\x01\x55\x00\x81\x01" + b"i" * 129)


def test_each_hash_is_the_one_of_its_number() -> None:
    """The first bytes of the published digests of "abc"."""
    known = {
        0x12: (32, "ba7816bf8f01cfea"),
        0x13: (64, "ddaf35a193617aba"),
        0x14: (64, "b751850b1a57168a"),
        0x16: (32, "3a985da74fe225b2"),
        0xB220: (32, "bddd813c63423972"),
        0xB240: (64, "ba80a53f981c4d0d"),
        0xB260: (32, "508c5e8c327c14e2"),
    }
    assert set(known) == set(HASHES)
    for number, (length, start) in known.items():
        found = HASHES[number](b"abc")
        assert (len(found), found[:8].hex()) == (length, start), hex(number)
        ContentId(1, RAW, number, found).verify(b"abc")


def test_the_largest_codec_of_one_byte() -> None:
    assert ContentId.read(b"\x01\x7f\x12\x20" + bytes(32)) == (ContentId(1, 127, 0x12, bytes(32)), b"")
