"""Any dag-pb node (unixfs_node.py): what older writers do is read, what is no protobuf is refused."""

from __future__ import annotations

import pytest

from asset_bridge.errors import TamperedError
from asset_bridge.ipld.content_id import ContentId
from asset_bridge.ipld.unixfs_node import DIRECTORY, FILE, SHARD, NamedLink, PbNode, UnixFs, read_pb_node
from tests.conformance.gateway.dags import chunk, pb, unixfs, varint

NAME = b"\x01\x55\x12\x20" + bytes(range(32))
CID = ContentId.read(NAME)[0]
ONE = NamedLink(CID, "one")


def refused(block: bytes) -> None:
    with pytest.raises(TamperedError) as caught:
        read_pb_node(block)
    assert (caught.value.code, caught.value.actor) == ("ipld.node", "provider")


def message(data: bytes) -> UnixFs | None:
    return read_pb_node(chunk(1, data)).unixfs


def test_links_and_data_in_either_order() -> None:
    data = unixfs(DIRECTORY)
    for first in (False, True):
        node = read_pb_node(pb([(NAME, "one", 5), (NAME, "", 300)], data, data_first=first))
        assert node == PbNode((ONE, NamedLink(CID, "")), UnixFs(DIRECTORY, 0, 0, (), 0))
    assert read_pb_node(b"") == PbNode((), None)
    assert read_pb_node(chunk(2, chunk(2, b"one") + chunk(1, NAME))).links == (ONE,)


def test_fields_that_are_not_known_or_of_another_kind_are_passed_over() -> None:
    strange = b"\x19" + b"\xff" * 8 + b"\x1d" + b"\xff" * 4 + b"\x18\x05" + chunk(9, b"x")
    node = chunk(2, strange + chunk(1, NAME) + chunk(2, b"one") + strange)
    data = chunk(1, unixfs(FILE, size=3, data=b"abc"))
    found = read_pb_node(strange + node + b"\x08\x01\x10\x01" + strange + data + strange)
    assert found == PbNode((ONE,), UnixFs(FILE, 3, 3, (), 0))
    assert read_pb_node(chunk(2, b"\x08\x01\x10\x01" + chunk(1, NAME) + chunk(2, b"one"))).links == (ONE,)
    assert message(b"\x08\x02\x10\x01" + chunk(1, b"x") + chunk(3, b"x")) == UnixFs(FILE, 0, 0, (), 0)


def test_names_are_kept_byte_by_byte() -> None:
    found = read_pb_node(chunk(2, chunk(1, NAME) + chunk(2, b"\xff\xc3\xa9"))).links[0].name
    assert found.encode("utf-8", "surrogateescape") == b"\xff\xc3\xa9"


@pytest.mark.parametrize(
    "link", [b"", chunk(2, b"one"), chunk(1, NAME + b"\0"), chunk(1, NAME[:-1]), chunk(1, b""), b"\x08\x01"]
)
def test_a_link_needs_an_id_and_nothing_behind_it(link: bytes) -> None:
    refused(chunk(2, link))


@pytest.mark.parametrize(
    "block", [b"\x0b", b"\x0c", b"\x0e", b"\x0f", b"\x0a", b"\x0a\x02x", b"\x08", b"\x80", b"\x80" * 11]
)
def test_what_is_no_protobuf(block: bytes) -> None:
    refused(block)
    refused(chunk(2, chunk(1, NAME)) + block)
    assert read_pb_node(chunk(1, block)) == PbNode((), None)


def test_a_number_has_at_most_ten_bytes() -> None:
    ten = b"\x18" + b"\x80" * 9 + b"\x01"
    assert read_pb_node(ten) == PbNode((), None)
    refused(b"\x18" + b"\x80" * 10 + b"\x01")
    assert message(b"\x08\x02\x18" + b"\x80" * 9 + b"\x01") == UnixFs(FILE, 0, 1 << 63, (), 0)


@pytest.mark.parametrize(("kind", "known"), [(0, True), (5, True), (6, False), (1 << 40, False)])
def test_kinds(kind: int, known: bool) -> None:
    found = message(b"\x08" + varint(kind))
    assert found == (UnixFs(kind, 0, 0, (), 0) if known else None)
    assert message(b"\x18\x05") is None


def test_sizes_of_children_packed_or_not() -> None:
    assert message(unixfs(FILE, size=303, spans=(3, 300))) == UnixFs(FILE, 0, 303, (3, 300), 0)
    packed = b"\x08\x02" + chunk(4, varint(3) + varint(300))
    assert message(packed) == UnixFs(FILE, 0, 303, (3, 300), 0)
    assert message(packed + chunk(2, b"inline") + b"\x20\x01") == UnixFs(FILE, 6, 310, (3, 300, 1), 0)
    assert message(packed + b"\x18\x07") == UnixFs(FILE, 0, 7, (3, 300), 0)
    assert message(b"\x08\x02" + chunk(4, b"\x80")) is None
    assert message(unixfs(SHARD, data=b"bitmap", fanout=256)) == UnixFs(SHARD, 6, 6, (), 256)


def test_the_largest_number_of_one_byte() -> None:
    assert message(b"\x08\x02\x18\x7f") == UnixFs(FILE, 0, 127, (), 0)
