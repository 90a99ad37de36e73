"""Further cases of the sealed file, written by tools/vectors/sealed_file.py: every field's edges, one fault each."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import cbor2

from asset_bridge.sealing.floe import FloeParameters, FloeSealer
from asset_bridge.sealing.header import SealedHeader, file_aad
from asset_bridge.sealing.padding import Padding, padme
from tools.vectors import sealed_file_parts as base

Row = list[Any]
ROW: Row = ["a", 3, "text/plain", 0]
BIG = bytes(range(256)) * 8


def sha(content: bytes) -> str:
    """What `released` says of this content."""
    return hashlib.sha256(content).hexdigest()


def plain(*rows: Row, content: bytes = b"", kind: int = 1) -> bytes:
    """Prologue, index and content."""
    return base.plaintext(cbor2.dumps([1, kind, list(rows)], canonical=True), content)


def crafted(
    text: bytes,
    mode: int = 0,
    parameters: FloeParameters = base.SMALL,
    *,
    position: dict[int, int] | None = None,
    last: dict[int, bool] | None = None,
) -> tuple[bytes, list[bytes]]:
    """Header and segments around any plaintext; `position` and `last` make single segments lie about themselves."""
    randbytes = base.fixed_bytes("crafted more")
    floe = FloeSealer(parameters, base.KEY, file_aad(Padding(mode), base.CONTAINER, base.LISTER), randbytes(32))
    size = parameters.payload_bytes
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    segments = []
    for number, piece in enumerate(pieces):
        out = bytearray(len(piece) + 32)
        is_last = (last or {}).get(number, number == len(pieces) - 1)
        floe.seal_into(out, memoryview(piece), (position or {}).get(number, number), is_last, randbytes(12))
        segments.append(bytes(out))
    return SealedHeader(Padding(mode), base.CONTAINER, floe.header).encode(), segments


def case(name: str, code: str, comment: str, parts: tuple[bytes, list[bytes]], **fields: str) -> base.Case:
    """One case."""
    return name, code, comment, parts[0], b"".join(parts[1]), fields


def padded(text: bytes) -> bytes:
    """With Padmé's zeros."""
    return text + bytes(padme(len(text)) - len(text))


def ok_cases() -> Iterator[base.Case]:
    """What must open, at the edges of what is allowed."""
    longest = "/".join(["n" * 255] * 8)
    room = 64 * 6 - len(plain(["a", 200, "text/plain", 0]))
    allowed: dict[str, tuple[bytes, bytes]] = {
        "one-member": (plain(ROW, content=b"abc"), b"abc"),
        "single-file": (plain(ROW, content=b"abc", kind=0), b"abc"),
        "single-empty-file": (plain(["a", 0, "text/plain", 0], kind=0), b""),
        "name-of-255": (plain(["n" * 255, 3, "a/b", 0], content=b"abc"), b"abc"),
        "path-of-2047": (plain([longest, 3, "a/b", 0], content=b"abc"), b"abc"),
        "path-of-2048": (plain([longest[:-8] + "/" + "m" * 8, 3, "a/b", 0], content=b"abc"), b"abc"),
        "path-two-unicode-forms": (plain(["e\u0301", 1, "a/b", 0], ["\u00e9", 1, "a/b", 0], content=b"xy"), b"xy"),
        "path-odd-but-allowed": (plain([' .a~:*?"<>|$', 3, "a/b", 0], content=b"abc"), b"abc"),
        "path-three-dots": (plain(["...", 3, "a/b", 0], content=b"abc"), b"abc"),
        "path-beyond-16-bits": (plain(["\U0001f9ec", 3, "a/b", 0], content=b"abc"), b"abc"),
        "path-no-break-space": (plain(["\u00a0", 3, "a/b", 0], content=b"abc"), b"abc"),
        "order-slash-first": (plain(["a/c", 1, "a/b", 0], ["a-b", 1, "a/b", 0], content=b"xy"), b"xy"),
        "empty-members": (plain(["a", 0, "a/b", 0], ["b", 3, "a/b", 0], ["c", 0, "a/b", 0], content=b"abc"), b"abc"),
        "empty-folders-only": (plain(["a"], ["b/c"]), b""),
        "time-largest": (plain(["a", 3, "a/b", 2**40 - 1], content=b"abc"), b"abc"),
        "media-type-longest": (plain(["a", 3, "x" * 64 + "/" + "9" * 64, 0], content=b"abc"), b"abc"),
        "media-type-signs": (plain(["a", 3, "0!#$&^_.+-/1!#$&^_.+-", 0], content=b"abc"), b"abc"),
        "segments-all-full": (plain(["a", 200 + room, "text/plain", 0], content=BIG[: 200 + room]), BIG[: 200 + room]),
        "last-of-one-byte": (plain(["a", 201 + room, "text/plain", 0], content=BIG[: 201 + room]), BIG[: 201 + room]),
        "many-segments": (plain(["a", 2048, "text/plain", 0], content=BIG), BIG),
    }
    for name, (text, content) in allowed.items():
        yield case(f"ok-{name}", "success", "allowed", crafted(text), released=sha(content))
    zeros = plain(["a", 1000, "text/plain", 0], content=bytes(1000))
    yield case("ok-content-of-zeros", "success", "like padding", crafted(padded(zeros), 1), released=sha(bytes(1000)))
    text = plain(["a", 2048, "text/plain", 0], content=BIG)
    assert -(-len(padded(text)) // 64) > -(-len(text) // 64), "the last segment holds padding alone"
    yield case("ok-padding-alone", "success", "in the last segment", crafted(padded(text), 1), released=sha(BIG))
    single = crafted(plain(ROW, content=b"abc"))
    yield case("ok-announced", "success", "the key package's length", single, released=sha(b"abc"), announced="3")
    yield case("length-announced", "sealing.length", "the key package says otherwise", single, announced="4")
    for size in (4096, 8192, 16384, 24576):
        content = bytes(size - 32 - len(plain(["a", size, "text/plain", 0])))
        text = plain(["a", len(content), "text/plain", 0], content=content)
        text += bytes(size - 32 - len(text))
        parts = crafted(text, 2, base.FULL)
        yield case(f"ok-on-chain-{size}", "success", "full", parts, released=sha(content), segment="1048576")


def length_cases() -> Iterator[base.Case]:
    """Lengths that do not fit together."""
    text = plain(ROW, content=b"abc")
    whole = base.FULL

    def on_chain(size: int) -> tuple[bytes, list[bytes]]:
        return crafted(text + bytes(size - 32 - len(text)), 2, whole)

    code, big = "sealing.length", {"segment": "1048576"}
    yield case("length-on-chain-other", code, "4,097 bytes", on_chain(4097), **big)
    yield case("length-on-chain-none", code, "no padding at all", crafted(text, 2, whole), **big)
    yield case("length-on-chain-too-long", code, "8,192 where 4,096 do", on_chain(8192), **big)
    yield case("length-on-chain-beyond", code, "32,768 bytes", on_chain(32768), **big)
    yield case("length-no-mode-zeros", code, "a zero in mode 0", crafted(text + b"\0"))
    yield case("length-padme-cut", code, "a zero too few", crafted(padded(text + bytes(990))[:-1], 1))
    yield case(
        "length-padme-none", code, "mode 1, no zeros", crafted(plain(["a", 999, "a/b", 0], content=bytes(999)), 1)
    )
    yield case("length-prologue-only", "sealing.index", "an index of no bytes", crafted(bytes(12)))
    yield case("length-eleven", code, "less than a prologue", crafted(bytes(11)))
    yield case("length-one", code, "one byte", crafted(b"\0"))
    huge = bytes(8) + (8 * 2**20 + 1).to_bytes(4, "big")
    yield case("length-index-over-limit", code, "an index of 8 MiB and a byte", crafted(huge + bytes(100)))
    overflow = (2**64 - 12 - 5).to_bytes(8, "big") + (5).to_bytes(4, "big")
    yield case("length-sum-wraps", code, "the sum is 2^64", crafted(overflow + bytes(100)))


def lying_cases() -> Iterator[base.Case]:
    """Segments that a holder of the key sealed for another place or as something else."""
    text = plain(["a", 500, "text/plain", 0], content=BIG[:500])
    start, count = len(text) - 500, -(-len(text) // 64)
    fits = 64 * 9 - (len(text) - 500)
    even = plain(["a", fits, "text/plain", 0], content=BIG[:fits])
    assert len(even) == 64 * 9

    def before(segments: int) -> str:
        return sha(text[start : segments * 64])

    inner, final = "sealing.segment", "sealing.final"
    yield case("lie-inner-says-last", inner, "segment 4", crafted(text, last={4: True}), released=before(4))
    yield case("lie-last-says-inner", final, "a full last one", crafted(even, last={8: False}))
    yield case("lie-first-elsewhere", inner, "sealed as segment 1", crafted(text, position={0: 1}))
    yield case("lie-inner-elsewhere", inner, "5 sealed as 6", crafted(text, position={5: 6}), released=before(5))
    yield case("lie-last-elsewhere", final, "sealed one on", crafted(text, position={count - 1: count}))
    yield case("lie-last-2-to-32", final, "2^32 on", crafted(text, position={count - 1: count - 1 + 2**32}))
    yield case("lie-inner-2-to-32", inner, "2^32 on", crafted(text, position={4: 4 + 2**32}), released=before(4))
    header, segments = crafted(text)
    for name, number, at in (("iv", 4, 15), ("first-byte", 5, 16), ("last-byte", 6, 79), ("tag", 7, 95)):
        bad = [*segments[:number], base.flip(segments[number], at, 128), *segments[number + 1 :]]
        yield case(f"flip-{name}", inner, f"segment {number}", (header, bad), released=before(number))
    for at in range(4):
        bad = [*segments[:4], base.flip(segments[4], at, 128), *segments[5:]]
        yield case(f"flip-length-field-{at}", inner, "segment 4", (header, bad), released=before(4))
        bad = [*segments[:-1], base.flip(segments[-1], at, 64)]
        yield case(f"flip-last-length-field-{at}", final, "the last one", (header, bad))
    for number in range(1, count - 1):
        cut = (header, segments[:number])
        yield case(f"cut-after-{number}", final, "what stands there is no last one", cut)
    swapped = list(segments)
    swapped[5], swapped[6] = swapped[6], swapped[5]
    yield case("swap-content", inner, "5 and 6", (header, swapped), released=before(5))
    doubled = [*segments[:6], segments[5], *segments[7:]]
    yield case("double-content", inner, "5 again as 6", (header, doubled), released=before(6))
    gone = [*segments[:5], *segments[6:]]
    yield case("lose-content", final, "5 is missing", (header, gone))
    other = crafted(plain(["a", 500, "text/plain", 0], content=BIG[:500]), 1)[1]
    spliced = [*segments[:5], other[5], *segments[6:]]
    yield case("splice-content", inner, "of a container with another mode", (header, spliced), released=before(5))
    yield case("splice-last", final, "of a container with another mode", (header, [*segments[:-1], other[-1]]))


def padding_cases() -> Iterator[base.Case]:
    """A padding byte that is not zero, in each place."""
    text = plain(["a", 2048, "text/plain", 0], content=BIG)
    whole = padded(text)
    for name, at in {"first": len(text), "middle": len(text) + 20, "last": len(whole) - 1}.items():
        bad = base.flip(whole, at, 128)
        yield case(f"padding-{name}", "sealing.padding", "one byte", crafted(bad, 1), released=sha(BIG))


def header_cases() -> Iterator[base.Case]:
    """Every further field of the header, one bit each."""
    parts = crafted(plain(ROW, content=b"abc"))
    header, segments = parts
    for at in range(1, 8):
        yield case(f"header-magic-{at}", "sealing.header", "a bit", (base.flip(header, at, 32), segments))
    for name, at, bits in (("version-255", 8, 254), ("suite-0", 9, 1), ("suite-255", 9, 254)):
        yield case(f"header-{name}", "sealing.version", "another release", (base.flip(header, at, bits), segments))
    yield case("header-padding-mode-255", "sealing.header", "no mode", (base.flip(header, 10, 255), segments))
    for at in (12, 13, 14, 107, 116, 126):
        yield case(f"header-reserved-{at}", "sealing.header", "not zero", (base.flip(header, at, 16), segments))
    for at in (34, 35, 36, 38, 39, 40):
        yield case(f"header-floe-parameter-{at}", "sealing.header", "a bit", (base.flip(header, at), segments))
    for at in (31, 73, 74):
        yield case(f"header-authentic-{at}", "sealing.key", "a bit", (base.flip(header, at, 128), segments))
    yield case("header-short", "sealing.header", "127 bytes", (header[:127], []))
    yield case("header-empty", "sealing.header", "nothing at all", (b"", []))
    yield case("key-bit", "sealing.key", "the last bit", parts, key=base.flip(base.KEY, 31).hex())
    yield case("lister-bit", "sealing.key", "the last bit", parts, lister=base.flip(base.LISTER, 19).hex())
    yield case("lister-zero", "sealing.key", "nobody", parts, lister=bytes(20).hex())


def index_cases() -> Iterator[base.Case]:
    """Indexes that only a holder of the key can write."""
    raw = {
        "true": b"\x83\x01\x01\xf5",
        "null": b"\x83\x01\x01\xf6",
        "undefined": b"\x83\x01\x01\xf7",
        "half-float": b"\x83\x01\x01\xf9\x00\x00",
        "break": b"\x83\x01\x01\xff",
        "reserved-head": b"\x83\x01\x01\x9c",
        "text-without-end": b"\x83\x01\x01\x81\x81\x7f\x61a\xff",
        "array-of-8-bytes": b"\x83\x01\x01\x9b" + bytes(8),
        "array-of-2-bytes": b"\x83\x01\x01\x99\x00\x17" + b"\x81\x61a" * 23,
        "text-long-head": b"\x83\x01\x01\x81\x81\x78\x01a",
        "text-beyond": b"\x83\x01\x01\x81\x81\x63ab",
        "head-cut": b"\x83\x01\x01\x99\x00",
        "surrogate": b"\x83\x01\x01\x81\x81\x63\xed\xa0\x80",
        "overlong-utf8": b"\x83\x01\x01\x81\x81\x62\xc0\xaf",
        "bytes": b"\x83\x01\x01\x40",
        "two-items": cbor2.dumps([1, 1]),
        "four-items": cbor2.dumps([1, 1, [], 0]),
        "text-for-version": cbor2.dumps(["1", 1, []]),
        "number": cbor2.dumps(7),
        "self-described": b"\xd9\xd9\xf7" + cbor2.dumps([1, 1, []]),
    }
    for name, encoded in raw.items():
        yield case(f"cbor-{name}", "sealing.index", "no index", crafted(base.plaintext(encoded, b"")))
    rows: dict[str, Row] = {
        "entry-text": ["abc"],
        "entry-empty": [[]],
        "entry-of-3": [["a", 0, "a/b"]],
        "entry-of-5": [["a", 0, "a/b", 0, 0]],
        "path-number": [[1, 0, "a/b", 0]],
        "size-text": [["a", "0", "a/b", 0]],
        "time-text": [["a", 0, "a/b", "0"]],
        "media-type-number": [["a", 0, 1, 0]],
        "entry-nested": [["a", 0, "a/b", [0]]],
        "folders-out-of-order": [["b"], ["a"]],
        "folder-before-file": [["b"], ["a", 0, "a/b", 0]],
    }
    media = [
        "",
        "text",
        "/plain",
        "text/",
        "a/b/c",
        "text/plain; charset=utf-8",
        "text/plain\n",
        ".a/b",
        "a/.b",
        "a/b ",
        "é/b",
    ]
    media += ["x" * 65 + "/b", "a/" + "x" * 65, "*/*"]
    rows |= {f"media-type-{number}": [["a", 0, media_type, 0]] for number, media_type in enumerate(media)}
    for name, row in rows.items():
        yield case(f"index-{name}", "sealing.index", "a field", crafted(plain(*row)))
    yield case("index-sum-short", "sealing.index", "sizes below", crafted(plain(["a", 2, "a/b", 0], content=b"abc")))
    paths = {
        "dots-alone": "..",
        "dot-alone": ".",
        "slash-alone": "/",
        "dot-last": "a/.",
        "parent-last": "a/..",
        "delete": "a\x7f",
        "first-c1": "\x80",
        "last-c1": "\x9f",
        "unit-separator": "\x1f",
        "name-of-256-in-utf8": "é" * 128,
        "of-2049": "/".join(["n" * 255] * 8) + "/n",
        "windows": "C:\\a",
    }
    for name, path in paths.items():
        yield case(f"path-{name}", "sealing.path", "a path", crafted(plain([path, 0, "a/b", 0])))
    clashes: dict[str, list[Row]] = {
        "file-and-empty-folder": [["a", 0, "a/b", 0], ["a"]],
        "folder-twice": [["a"], ["a"]],
        "folder-in-folder": [["a"], ["a/b"]],
        "deep-under-file": [["a/b", 0, "a/b", 0], ["a/b/c/d", 0, "a/b", 0]],
        "clash-behind-others": [["a", 0, "a/b", 0], ["a/b", 0, "a/b", 0], ["a-", 0, "a/b", 0]],
    }
    for name, found in clashes.items():
        yield case(f"path-{name}", "sealing.path", "two need one place", crafted(plain(*found)))


def package_cases() -> Iterator[base.Case]:
    """Every field of the key package that the listing names, at both ends."""
    good = base.golden_package().encode()
    for name, at in {"container-end": 16, "digest-end": 80, "length-start": 81}.items():
        bad = base.flip(good, at, 128)
        yield f"package-{name}", "sealing.package-mismatch", "of another listing", b"", bad, {"object": "package"}
    for name, at in {"k-pre": 17, "content-length": 96}.items():
        comment = "what the listing cannot show; key or prologue will"
        yield f"package-other-{name}", "success", comment, b"", base.flip(good, at), {"object": "package"}
    yield "package-version-0", "sealing.package", "malformed", b"", b"\0" + good[1:], {"object": "package"}


ALL = (ok_cases, length_cases, lying_cases, padding_cases, header_cases, index_cases, package_cases)
