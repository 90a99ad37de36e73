"""The edges of sizes and counts: the last value that is accepted, and the first that is not."""

from __future__ import annotations

import pytest

from asset_bridge.errors import BridgeError, InputError, TamperedError
from asset_bridge.sealing import index as index_module
from asset_bridge.sealing.floe import GCM256_IV256_1M, FloeOpener, FloeParameters, FloeSealer
from asset_bridge.sealing.index import Index, Kind, MemberSpec
from asset_bridge.sealing.open import _count
from asset_bridge.sealing.package import KeyPackage
from asset_bridge.sealing.padding import MAX_SEGMENTS, Padding

KEY, AAD = bytes(32), b"aad"


def code_of(act: object) -> str:
    with pytest.raises(BridgeError) as caught:
        act()  # type: ignore[operator]
    return caught.value.code


def test_a_floe_header_of_another_length_or_segment_is_refused_as_a_header() -> None:
    small = FloeParameters(96)
    header = FloeSealer(small, KEY, AAD, bytes(32)).header
    FloeOpener(small, KEY, AAD, header)
    for wrong in (header[:-1], header + b"\0", b""):
        assert code_of(lambda wrong=wrong: FloeOpener(small, KEY, AAD, wrong)) == "sealing.header"
    assert code_of(lambda: FloeOpener(FloeParameters(97), KEY, AAD, header)) == "sealing.header"


def test_entries_are_files_and_empty_folders_together(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (index_module.MAX_ENTRIES, index_module.MAX_INDEX_BYTES) == (65_536, 8_388_608)
    monkeypatch.setattr(index_module, "MAX_ENTRIES", 3)
    files = [MemberSpec("a", 1), MemberSpec("b", 1)]
    assert len(Index.of(Kind.FOLDER, files, ["c"]).members) == 2
    with pytest.raises(InputError) as caught:
        Index.of(Kind.FOLDER, files, ["c", "d"])
    assert caught.value.code == "sealing.index"


def test_the_index_is_as_long_as_its_limit_and_not_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Index.of(Kind.FILE, [MemberSpec("a", 1)])
    encoded = made.encode()
    monkeypatch.setattr(index_module, "MAX_INDEX_BYTES", len(encoded))
    assert Index.decode(made.encode()) == made
    monkeypatch.setattr(index_module, "MAX_INDEX_BYTES", len(encoded) - 1)
    assert code_of(made.encode) == "sealing.index"
    assert code_of(lambda: Index.decode(encoded)) == "sealing.index"


@pytest.mark.parametrize(
    ("size_bytes", "modified_at", "accepted"),
    [(0, 0, True), (2**44, 2**40 - 1, True), (2**44 + 1, 0, False), (-1, 0, False), (0, 2**40, False), (0, -1, False)],
)
def test_sizes_and_times(size_bytes: int, modified_at: int, accepted: bool) -> None:
    member = MemberSpec("a", size_bytes, modified_at=modified_at)
    if accepted:
        assert Index.decode(Index.of(Kind.FILE, [member]).encode()).members == (member,)
    else:
        assert code_of(lambda: Index.of(Kind.FILE, [member])) == "sealing.index"


def test_a_body_has_at_most_two_to_the_24_segments() -> None:
    segment = GCM256_IV256_1M.segment_bytes
    assert _count(MAX_SEGMENTS * segment, Padding.NONE, GCM256_IV256_1M) == MAX_SEGMENTS == 2**24
    with pytest.raises(TamperedError) as caught:
        _count(MAX_SEGMENTS * segment + 33, Padding.NONE, GCM256_IV256_1M)
    assert caught.value.code == "sealing.length"
    assert _count(33, Padding.NONE, GCM256_IV256_1M) == 1
    for nothing in (0, -1, 32, segment + 32):
        assert code_of(lambda nothing=nothing: _count(nothing, Padding.NONE, GCM256_IV256_1M)) == "sealing.length"


@pytest.mark.parametrize(("length", "accepted"), [(0, True), (2**64 - 1, True), (-1, False), (2**64, False)])
def test_lengths_of_a_key_package_are_64_bits(length: int, accepted: bool) -> None:
    for lengths in ((length, 5), (5, length)):
        arguments = (bytes(16), bytes(32), bytes(32), *lengths)
        if accepted:
            assert KeyPackage.decode(KeyPackage(*arguments).encode()) == KeyPackage(*arguments)
        else:
            assert code_of(lambda arguments=arguments: KeyPackage(*arguments)) == "sealing.package"
