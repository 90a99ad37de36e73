"""Sealing and opening: what the cases of spec/vectors do not reach."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator

import pytest

from asset_bridge.errors import BridgeError, DefectError, InputError, TamperedError
from asset_bridge.ipld.unixfs import file_dag
from asset_bridge.sealing import cbor
from asset_bridge.sealing import open as open_module
from asset_bridge.sealing.floe import GCM256_IV256_1M, FloeOpener, FloeParameters, FloeSealer
from asset_bridge.sealing.header import SealedHeader, file_aad
from asset_bridge.sealing.index import MAX_ENTRIES, Index, Kind, MemberSpec
from asset_bridge.sealing.open import Opener
from asset_bridge.sealing.package import KeyPackage
from asset_bridge.sealing.padding import MAX_SEGMENTS, Padding, body_length, padded_length, padme, segment_count
from asset_bridge.sealing.seal import ReadInto, SealedSummary, Sealer, reader_of

KEY, CONTAINER, LISTER = b"k" * 32, b"c" * 16, b"l" * 20
SMALL = FloeParameters(64)


def sealer(
    index: Index, padding: Padding = Padding.PADME, parameters: FloeParameters = SMALL, **other: object
) -> Sealer:
    arguments: dict[str, object] = {"file_key": KEY, "container_id": CONTAINER, "lister": LISTER, **other}
    rand = random.Random(7)
    return Sealer(index=index, randbytes=rand.randbytes, padding=padding, parameters=parameters, **arguments)  # type: ignore[arg-type]


def folder(contents: dict[str, bytes]) -> tuple[Index, list[bytes]]:
    index = Index.of(Kind.FOLDER, [MemberSpec(path, len(data)) for path, data in contents.items()])
    return index, [contents[member.path] for member in index.members]


def seal(
    contents: dict[str, bytes], padding: Padding = Padding.PADME, parameters: FloeParameters = SMALL
) -> tuple[SealedSummary, list[bytes]]:
    index, ordered = folder(contents)
    made = sealer(index, padding, parameters)
    segments = [bytes(segment) for segment in made.segments(reader_of([data]) for data in ordered)]
    return made.summary(), segments


def opened(
    summary: SealedSummary, segments: list[bytes], parameters: FloeParameters = SMALL, **other: object
) -> Opener:
    arguments: dict[str, object] = {
        "file_key": KEY,
        "lister": LISTER,
        "body_length_bytes": summary.body_length_bytes,
        "fetch_segment": segments.__getitem__,
        "parameters": parameters,
        **other,
    }
    return Opener(summary.header, **arguments)  # type: ignore[arg-type]


def content(opener: Opener) -> list[bytes]:
    found = [b""] * len(opener.members)
    seen = set()
    for number, chunk in opener.stream():
        found[number] += bytes(chunk)
        seen.add(number)
    assert seen == set(range(len(found)))
    return found


@pytest.mark.parametrize("padding", list(Padding))
def test_the_product_s_own_parameters(padding: Padding) -> None:
    rand = random.Random(1)
    contents = {"a": rand.randbytes(5_000), "b/c": b"", "d": rand.randbytes(2_000)}
    if padding is not Padding.ON_CHAIN:
        contents["big"] = rand.randbytes(3 * 1_048_544)
    summary, segments = seal(contents, padding, GCM256_IV256_1M)
    body = b"".join(segments)
    assert len(body) == summary.body_length_bytes
    assert file_dag(body) == summary.body
    opener = opened(summary, segments, GCM256_IV256_1M, content_length_bytes=summary.content_length_bytes)
    assert dict(zip([m.path for m in opener.members], content(opener), strict=True)) == contents
    if padding is Padding.ON_CHAIN:
        assert len(body) == 8_192


def test_a_range_touches_only_its_segments() -> None:
    data = random.Random(2).randbytes(1_000)
    summary, segments = seal({"a": data})
    asked: list[int] = []

    def fetch(number: int) -> bytes:
        asked.append(number)
        return segments[number]

    opener = opened(summary, segments, fetch_segment=fetch)
    asked.clear()
    assert opener.read("a", 500, 520) == data[500:520]
    assert len(asked) <= 2
    assert opener.read("a", 0, 0) == b""
    assert opener.read("a") == data
    assert b"".join(map(bytes, opener.iter("a"))) == data
    assert opener.members[0].modified_at == 0  # nothing is said of its time
    for bad in ((-1, 5), (5, 4), (0, 1_001)):
        with pytest.raises(InputError, match="range"):
            opener.read("a", *bad)
    with pytest.raises(InputError, match="no member"):
        opener.read("b")


@pytest.mark.parametrize("padding", [Padding.NONE, Padding.PADME])
@pytest.mark.parametrize(("announced", "comes"), [(10, 9), (10, 11), (0, 1), (100, 0)])
def test_content_that_changed_is_refused_before_the_last_segment(announced: int, comes: int, padding: Padding) -> None:
    made = sealer(Index.of(Kind.FILE, [MemberSpec("a", announced)]), padding)
    taken: list[bytearray] = []
    with pytest.raises(InputError) as caught:
        taken.extend(made.segments([reader_of([bytes(comes)])]))
    assert caught.value.code == "sealing.source-changed"
    assert sum(map(len, taken)) < made.body_length_bytes
    with pytest.raises(DefectError):
        made.summary()


@pytest.mark.parametrize("padding", [Padding.NONE, Padding.PADME])
@pytest.mark.parametrize("count", [0, 1, 3])
def test_another_number_of_files_is_refused(count: int, padding: Padding) -> None:
    made = sealer(Index.of(Kind.FOLDER, [MemberSpec("a", 0), MemberSpec("b", 0)]), padding)
    with pytest.raises(InputError, match="number of files"):
        list(made.segments([reader_of([])] * count))


def test_readers_are_exhausted_before_the_last_segment() -> None:
    steps: list[str] = []

    def readers() -> Iterator[ReadInto]:
        yield reader_of([b"x" * 100])
        steps.append("checked")

    made = sealer(Index.of(Kind.FILE, [MemberSpec("a", 100)]))
    segments = iter(made.segments(readers()))
    sizes = 0
    while sizes + len(segment := next(segments)) < made.body_length_bytes:
        sizes += len(segment)
    assert steps == ["checked"]


def test_a_reader_that_returns_too_much_or_chunks_of_any_size() -> None:
    made = sealer(Index.of(Kind.FILE, [MemberSpec("a", 10)]))
    with pytest.raises(InputError):
        list(made.segments([lambda view: len(view) + 1]))
    view = memoryview(bytearray(10))
    read = reader_of([b"", b"abc", bytearray(b"d"), memoryview(b"ef")])
    assert [read(view[:2]), read(view[2:4]), read(view[4:]), read(view[5:]), read(view)] == [2, 1, 1, 2, 0]


def test_a_sealing_runs_once_and_needs_its_sizes() -> None:
    index = Index.of(Kind.FILE, [MemberSpec("a", 0)])
    made = sealer(index)
    list(made.segments([reader_of([])]))
    with pytest.raises(DefectError):
        made.segments([])
    for name, code in {"file_key": "key-size", "container_id": "container-id", "lister": "lister"}.items():
        with pytest.raises(InputError) as caught:
            sealer(index, **{name: b"short"})
        assert caught.value.code == f"sealing.{code}"
    with pytest.raises(DefectError) as defect:
        Sealer(file_key=KEY, container_id=CONTAINER, lister=LISTER, index=index, randbytes=lambda _: b"")
    assert defect.value.code == "sealing.randomness"


def test_a_sealer_of_segments_checks_sizes() -> None:
    floe = FloeSealer(SMALL, KEY, b"", bytes(32))
    for out, plain, is_last, iv in (
        (64, 31, False, bytes(12)),
        (65, 33, True, bytes(12)),
        (63, 32, False, bytes(12)),
        (64, 32, False, bytes(11)),
    ):
        with pytest.raises(DefectError):
            floe.seal_into(bytearray(out), memoryview(bytes(plain)), 0, is_last, iv)
    with pytest.raises(TamperedError):
        FloeOpener(SMALL, KEY, b"", floe.header[:-1])


def test_keys_turn_over_by_position() -> None:
    floe = FloeSealer(FloeParameters(64, rotation_bits=1), KEY, b"", bytes(32))
    assert floe.cipher(0) is floe.cipher(1)
    assert floe.cipher(1) is not floe.cipher(2)


def test_whose_fault_a_failure_is() -> None:
    summary, segments = seal({"a": bytes(300)})
    damaged = [segments[0][:-1] + b"\0", *segments[1:]]

    def leaf(number: int) -> bytes:
        return summary.body.leaves[number].digest

    with pytest.raises(TamperedError) as caught:
        opened(summary, damaged, leaf_digest=leaf)
    assert (caught.value.actor, "damaged" in caught.value.hint) == ("you", True)
    with pytest.raises(TamperedError) as caught:
        opened(summary, damaged, leaf_digest=lambda number: hashlib.sha256(damaged[number]).digest())
    assert caught.value.actor == "provider"
    with pytest.raises(TamperedError) as caught:
        opened(summary, damaged)
    assert caught.value.actor == "you"


def test_the_key_package_s_content_length_counts() -> None:
    summary, segments = seal({"a": bytes(300)})
    with pytest.raises(TamperedError) as caught:
        opened(summary, segments, content_length_bytes=299)
    assert caught.value.code == "sealing.length"


def test_a_segment_that_changes_between_two_fetches_is_refused() -> None:
    summary, segments = seal({"a": bytes(300)})
    opener = opened(summary, segments)
    segments[-1] = segments[-1][:-1] + bytes((segments[-1][-1] ^ 1,))
    with pytest.raises(TamperedError) as caught:
        content(opener)
    assert caught.value.code == "sealing.final"


def test_a_segment_of_another_length_is_refused_though_its_tag_is_right() -> None:
    summary, segments = seal({"a": bytes(300)}, Padding.NONE)
    shorter = FloeSealer(SMALL, KEY, SealedHeader.parse(summary.header, SMALL).aad(LISTER), summary.header[42:74])
    assert shorter.header == summary.header[32:106]
    last = len(segments) - 1
    out = bytearray(40)
    shorter.seal_into(out, memoryview(bytes(8)), last, True, bytes(12))
    opener = opened(summary, segments)
    segments[last] = bytes(out)
    with pytest.raises(TamperedError) as caught:
        content(opener)
    assert caught.value.code == "sealing.final"


def crafted(plain: bytes) -> tuple[bytes, list[bytes], Opener]:
    """What a provider with the key makes of any plaintext, padmé announced; opened as far as the index."""
    floe = FloeSealer(SMALL, KEY, file_aad(Padding.PADME, CONTAINER, LISTER), bytes(32))
    header = SealedHeader(Padding.PADME, CONTAINER, floe.header).encode()
    pieces, segments = [plain[at : at + 32] for at in range(0, len(plain), 32)], list[bytes]()
    for position, piece in enumerate(pieces):
        out = bytearray(len(piece) + 32)
        floe.seal_into(out, memoryview(piece), position, position == len(pieces) - 1, bytes(12))
        segments.append(bytes(out))
    arguments = {"file_key": KEY, "lister": LISTER, "body_length_bytes": sum(map(len, segments)), "parameters": SMALL}
    return header, segments, Opener(header, fetch_segment=segments.__getitem__, **arguments)  # type: ignore[arg-type]


def test_every_byte_of_padding_is_zero_also_in_segments_of_nothing_else() -> None:
    index = Index.of(Kind.FILE, [MemberSpec("a", 3_030)]).encode()
    true = (3_030).to_bytes(8, "big") + len(index).to_bytes(4, "big") + index + bytes(3_030)
    total = padme(len(true))
    assert total - len(true) > 32
    crafted(true.ljust(total, b"\0"))[2].scatter(lambda *_: None)
    edges = {len(true), total - 1, *(at for at in range(len(true), total) if at % 32 in (0, 31))}
    for place in edges:
        plain = bytearray(true.ljust(total, b"\0"))
        plain[place] = 1
        opener = crafted(bytes(plain))[2]
        for act in (lambda opener=opener: content(opener), lambda opener=opener: opener.scatter(lambda *_: None)):
            with pytest.raises(TamperedError) as caught:
                act()
            assert caught.value.code == "sealing.padding", place


def test_all_four_bytes_of_the_index_s_length_count() -> None:
    index = Index.of(Kind.FILE, [MemberSpec("a", 3_030)]).encode()
    for announced, opens in ((len(index), True), (len(index) | 1 << 24, False)):
        true = (3_030).to_bytes(8, "big") + announced.to_bytes(4, "big") + index + bytes(3_030)
        plain = true.ljust(padme(len(true)), b"\0")
        if opens:
            assert crafted(plain)[2].content_length_bytes == 3_030
        else:
            with pytest.raises(TamperedError) as caught:
                crafted(plain)
            assert caught.value.code == "sealing.length"


def test_an_empty_member_at_the_very_end_is_named() -> None:
    for size in (10, 32, 40, 64):
        assert content(opened(*seal({"a": bytes(size), "b": b""}, Padding.NONE))) == [bytes(size), b""]


def test_an_index_as_long_as_its_limit_opens(monkeypatch: pytest.MonkeyPatch) -> None:
    summary, segments = seal({"a": b"abc"})
    length = len(folder({"a": b"abc"})[0].encode())
    monkeypatch.setattr(open_module, "MAX_INDEX_BYTES", length)
    assert opened(summary, segments).read("a") == b"abc"
    monkeypatch.setattr(open_module, "MAX_INDEX_BYTES", length - 1)
    with pytest.raises(TamperedError) as caught:
        opened(summary, segments)
    assert caught.value.code == "sealing.length"


def test_a_stopped_stream_ends_its_threads() -> None:
    summary, segments = seal({"a": bytes(3_000)})
    stream = opened(summary, segments).stream()
    next(stream)
    stream.close()  # type: ignore[attr-defined]


def test_lengths() -> None:
    assert [padme(n) for n in (0, 1, 2, 9, 100, 1_000, 10_000)] == [0, 1, 2, 10, 104, 1_024, 10_240]
    assert padded_length(Padding.NONE, 77) == 77
    assert [padded_length(Padding.ON_CHAIN, n) for n in (12, 4_064, 4_065, 24_544)] == [4_064, 4_064, 8_160, 24_544]
    with pytest.raises(InputError, match="at most 24544 bytes") as caught:
        padded_length(Padding.ON_CHAIN, 24_545)
    assert caught.value.code == "sealing.on-chain-size"
    assert body_length(1_048_544, GCM256_IV256_1M) == 1_048_576
    assert body_length(1_048_545, GCM256_IV256_1M) == 1_048_576 + 33
    assert segment_count(MAX_SEGMENTS * 32, SMALL) == MAX_SEGMENTS
    with pytest.raises(InputError) as caught:
        segment_count(MAX_SEGMENTS * 32 + 1, SMALL)
    assert caught.value.code == "sealing.too-large"


def test_an_opener_refuses_lengths_no_body_has() -> None:
    summary, segments = seal({"a": bytes(300)})
    for length in (0, -1, 32, 64 + 32, 64 * MAX_SEGMENTS + 64, 2**80):
        with pytest.raises(TamperedError) as caught:
            opened(summary, segments, body_length_bytes=length)
        assert caught.value.code == "sealing.length", length
    on_chain, parts = seal({"a": bytes(300)}, Padding.ON_CHAIN, GCM256_IV256_1M)
    with pytest.raises(TamperedError) as caught:
        opened(on_chain, parts, GCM256_IV256_1M, body_length_bytes=4_097)
    assert caught.value.code == "sealing.length"


def test_on_chain_content_that_does_not_fit_its_body_is_refused() -> None:
    index = Index.of(Kind.FILE, [MemberSpec("a", 30_000)]).encode()
    plain = (30_000).to_bytes(8, "big") + len(index).to_bytes(4, "big") + index + bytes(30_000)
    floe = FloeSealer(GCM256_IV256_1M, KEY, file_aad(Padding.ON_CHAIN, CONTAINER, LISTER), bytes(32))
    out = bytearray(24_576)
    floe.seal_into(out, memoryview(plain)[: 24_576 - 32], 0, True, bytes(12))
    header = SealedHeader(Padding.ON_CHAIN, CONTAINER, floe.header).encode()
    with pytest.raises(TamperedError) as caught:
        Opener(header, file_key=KEY, lister=LISTER, body_length_bytes=24_576, fetch_segment=lambda _: out)
    assert caught.value.code == "sealing.length"


def test_a_header_of_short_segments_is_refused_by_itself() -> None:
    summary, _ = seal({"a": b""})
    with pytest.raises(TamperedError) as caught:
        SealedHeader.parse(summary.header)
    assert caught.value.code == "sealing.header"
    assert SealedHeader.parse(summary.header, SMALL).encode() == summary.header


def test_index_limits() -> None:
    for size in (-1, 2**44 + 1):
        with pytest.raises(InputError, match="size"):
            Index.of(Kind.FILE, [MemberSpec("a", size)])
    many = [MemberSpec(f"{n}", 0) for n in range(MAX_ENTRIES + 1)]
    with pytest.raises(InputError, match="at most"):
        Index.of(Kind.FOLDER, many)
    assert Index.decode(Index.of(Kind.FOLDER, many[1:]).encode()).members[-1].path == "9999"
    long = [MemberSpec("/".join([f"{n:0200}"] * 10), 0) for n in range(5_000)]
    with pytest.raises(InputError, match="too long"):
        Index.of(Kind.FOLDER, long).encode()
    with pytest.raises(TamperedError, match="too long"):
        Index.decode(bytes(8 * 1024 * 1024 + 1))
    with pytest.raises(InputError) as caught:
        Index.of(Kind.FOLDER, [MemberSpec("bad\udcff", 0)])
    assert caught.value.code == "sealing.path"


def test_folder_order_shows_every_clash() -> None:
    index = Index.of(Kind.FOLDER, [MemberSpec(p, 0) for p in ("a-b", "a/b", "a.b", "b")], ["a!", "A"])
    assert [m.path for m in index.members] == ["a/b", "a-b", "a.b", "b"]
    assert Index.decode(index.encode()) == index
    with pytest.raises(InputError) as caught:
        Index.of(Kind.FOLDER, [MemberSpec(p, 0) for p in ("a", "a-b", "a.b", "a/b")])
    assert caught.value.code == "sealing.path"


@pytest.mark.parametrize(
    "encoded", [b"\x18", b"\x1f", b"\x1c", b"\x19\x01", b"\x18\x17", b"\x19\x00\xff", b"\x1b" + bytes(8)]
)
def test_cbor_heads(encoded: bytes) -> None:
    with pytest.raises(InputError):
        cbor.decode(encoded)


def test_cbor_bounds() -> None:
    assert cbor.decode(b"\x81\x81\x80") == [[[]]]
    for encoded, why in ((b"\x81\x81\x81\x80", "too deep"), (b"\x00\x00", "left over"), (b"\x62a", "missing")):
        with pytest.raises(InputError, match=why):
            cbor.decode(encoded)


def test_cbor_values() -> None:
    assert cbor.decode(b"\x83\x18\x18\x19\x01\x00\x1b\x00\x00\x00\x01\x00\x00\x00\x00") == [24, 256, 2**32]


def test_package_fields_and_secrecy() -> None:
    package = KeyPackage(CONTAINER, b"S" * 32, b"d" * 32, 5, 6)
    assert "S" * 8 not in repr(package)
    assert KeyPackage.decode(package.encode()) == package
    for fields in (
        (b"", b"S" * 32, b"d" * 32, 5, 6),
        (CONTAINER, b"S", b"d" * 32, 5, 6),
        (CONTAINER, b"S" * 32, b"", 5, 6),
        (CONTAINER, b"S" * 32, b"d" * 32, -1, 6),
        (CONTAINER, b"S" * 32, b"d" * 32, 5, 2**64),
    ):
        with pytest.raises(InputError):
            KeyPackage(*fields)


def test_errors_hold_no_content() -> None:
    summary, segments = seal({"private-name": b"private content" * 30})
    with pytest.raises(BridgeError) as caught:
        opened(summary, [segments[0], *reversed(segments[1:])])
    assert "private" not in str(caught.value.as_json())


def test_the_segment_key_changes_at_each_2_to_the_20() -> None:
    aad, edge = file_aad(Padding.NONE, CONTAINER, LISTER), 2**20
    floe = FloeSealer(SMALL, KEY, aad, bytes(32))
    keys = [floe.cipher(position).encrypt(bytes(12), b"", b"") for position in (0, 1, edge - 1, edge, 2 * edge - 1)]
    assert keys[0] == keys[1] == keys[2] != keys[3] == keys[4]


@pytest.mark.parametrize(
    "encoded", [b"\x1c" + bytes(15) + b"\x20", b"\x1c" + b"\xff" * 16, b"\x1d" + b"\xff" * 32, b"\x1f"]
)
def test_a_reserved_head_is_refused_whatever_follows(encoded: bytes) -> None:
    with pytest.raises(InputError, match="a head is malformed"):
        cbor.decode(encoded)
