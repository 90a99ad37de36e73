"""Write the golden files and the cases of the sealed file: python tools/vectors/sealed_file.py

Fixed inputs, so that the same release writes the same bytes. Each case has one fault; what the opener must answer
stands in the case, not in the opener.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT / "src"), str(ROOT)]

import cbor2  # noqa: E402

from asset_bridge.ipld.car import car_block, car_header  # noqa: E402
from asset_bridge.ipld.unixfs import FileDagBuilder, file_dag  # noqa: E402
from asset_bridge.sealing.header import file_aad  # noqa: E402
from asset_bridge.sealing.padding import Padding, padme  # noqa: E402
from tools.vectors import sealed_file_more  # noqa: E402
from tools.vectors.sealed_file_parts import (  # noqa: E402
    CONTAINER,
    KEY,
    LISTER,
    MEMBERS,
    OTHER_CONTAINER,
    OTHER_KEY,
    OTHER_LISTER,
    SMALL,
    Case,
    crafted,
    flip,
    folder_index,
    golden_package,
    golden_parts,
    plaintext,
    raw_index,
    sealed,
    with_index,
)

FOLDER = ROOT / "spec" / "vectors"
EMPTY = hashlib.sha256(b"").hexdigest()


def header_cases() -> Iterator[Case]:
    """One fault in the header, or one wrong key."""
    header, segments = sealed(folder_index(), list(MEMBERS.values()), Padding.PADME, SMALL)
    body = b"".join(segments)
    whole = hashlib.sha256(b"".join(MEMBERS.values())).hexdigest()
    yield "ok-folder-padme", "success", "a folder, Padmé", header, body, {"released": whole}
    faults = {
        "magic": (flip(header, 0), "sealing.header"),
        "magic-text-mode": (header.replace(b"\r\n", b"\n\n"), "sealing.header"),
        "version-0": (flip(header, 8), "sealing.version"),
        "version-2": (flip(header, 8, 3), "sealing.version"),
        "suite-2": (flip(header, 9, 3), "sealing.version"),
        "padding-mode-3": (flip(header, 10, 2), "sealing.header"),
        "padding-mode-changed": (flip(header, 10, 1), "sealing.key"),
        "reserved-first": (flip(header, 11), "sealing.header"),
        "reserved-last-before-id": (flip(header, 15, 128), "sealing.header"),
        "container-id": (flip(header, 16), "sealing.key"),
        "floe-aead": (flip(header, 32), "sealing.header"),
        "floe-kdf": (flip(header, 33), "sealing.header"),
        "floe-segment-length": (flip(header, 37), "sealing.header"),
        "floe-iv-length": (flip(header, 41), "sealing.header"),
        "floe-iv": (flip(header, 42), "sealing.key"),
        "floe-tag": (flip(header, 105), "sealing.key"),
        "reserved-behind": (flip(header, 106), "sealing.header"),
        "reserved-last": (flip(header, 127, 128), "sealing.header"),
    }
    for name, (bad, code) in faults.items():
        yield f"header-{name}", code, "one field of the header", bad, body, {}
    yield "key-wrong", "sealing.key", "another file key", header, body, {"key": OTHER_KEY.hex()}
    yield "lister-wrong", "sealing.key", "another listing account", header, body, {"lister": OTHER_LISTER.hex()}
    yield "segment-length-not-a-product's", "sealing.header", "short segments", header, body, {"segment": "1048576"}


def body_cases() -> Iterator[Case]:
    """Segments cut, moved, changed or taken from elsewhere."""
    header, segments = sealed(folder_index(), list(MEMBERS.values()), Padding.PADME, SMALL)
    other, others = sealed(folder_index(), list(MEMBERS.values()), Padding.PADME, SMALL, OTHER_CONTAINER)
    body, last = b"".join(segments), len(segments) - 1
    count = b"".join(MEMBERS.values())
    content_segment = (12 + len(folder_index().encode())) // SMALL.payload_bytes
    before = hashlib.sha256(count[: (content_segment + 1) * SMALL.payload_bytes - 12 - len(folder_index().encode())])

    def swapped(i: int, j: int) -> bytes:
        order = list(segments)
        order[i], order[j] = order[j], order[i]
        return b"".join(order)

    yield "body-empty", "sealing.length", "no body", header, b"", {}
    yield "body-overhead-only", "sealing.length", "a last segment without payload", header, body[:32], {}
    yield "body-cut-byte", "sealing.final", "the last byte is missing", header, body[:-1], {}
    yield "body-cut-segment", "sealing.final", "the last segment is missing", header, b"".join(segments[:-1]), {}
    yield "body-cut-to-one", "sealing.final", "only the first segment", header, segments[0], {}
    yield "body-cut-to-stub", "sealing.length", "a stub of a last segment", header, body[: 96 * last + 20], {}
    yield "body-longer-byte", "sealing.final", "a byte behind the end", header, body + b"\0", {}
    yield "body-longer-segment", "sealing.final", "a segment behind the end", header, body + segments[0], {}
    yield "body-first-missing", "sealing.final", "the first segment is missing", header, b"".join(segments[1:]), {}
    yield "body-middle-missing", "sealing.final", "one is missing", header, b"".join(segments[:2] + segments[3:]), {}
    yield "body-first-doubled", "sealing.final", "the first comes twice", header, segments[0] + body, {}
    yield "body-swap-index", "sealing.segment", "segments 0 and 1 swapped", header, swapped(0, 1), {}
    late = b"".join([*segments[:-2], segments[-3], segments[-1]])
    yield (
        "body-late-doubled",
        "sealing.segment",
        "one in place of its neighbour",
        header,
        late,
        {"released": hashlib.sha256(count[: (last - 1) * 64 - 12 - len(folder_index().encode())]).hexdigest()},
    )
    changed = flip(body, 96 * (content_segment + 1) + 40)
    yield "body-content-bit", "sealing.segment", "a bit of content", header, changed, {"released": before.hexdigest()}
    yield "body-length-field", "sealing.segment", "an inner length field", header, flip(body, 0), {}
    yield "body-iv-bit", "sealing.segment", "an IV", header, flip(body, 4), {}
    yield "body-tag-bit", "sealing.segment", "a tag", header, flip(body, 95), {}
    yield "body-last-length-field", "sealing.final", "the last length field", header, flip(body, 96 * last + 3), {}
    yield "body-last-tag", "sealing.final", "the last tag", header, flip(body, len(body) - 1), {}
    yield (
        "body-last-says-inner",
        "sealing.final",
        "the last one says it is not",
        header,
        (body[: 96 * last] + b"\xff" * 4 + body[96 * last + 4 :]),
        {},
    )
    yield "splice-body", "sealing.final", "another container's body", header, b"".join(others), {}
    yield "splice-header", "sealing.final", "another container's header", other, body, {}
    mixed = b"".join([others[0], *segments[1:]])
    yield "splice-segment", "sealing.segment", "another container's first segment", header, mixed, {}


def plaintext_cases() -> Iterator[Case]:
    """Faults that only a holder of the key can make."""
    row = ["a", 3, "text/plain", 0]
    index = cbor2.dumps([1, 1, [row]], canonical=True)
    good = crafted(plaintext(index, b"abc"))
    yield (
        "ok-no-padding",
        "success",
        "no padding",
        good[0],
        b"".join(good[1]),
        {"released": hashlib.sha256(b"abc").hexdigest()},
    )
    empty = with_index([])
    yield "ok-empty-folder", "success", "an empty folder", empty[0], b"".join(empty[1]), {}
    used = len(plaintext(index, b"abc"))
    exact = crafted(plaintext(index, b"abc", zeros=padme(used + 300) - used), 1)
    dirty = plaintext(index, bytes(600), content_length=3)
    dirty_index = cbor2.dumps([1, 1, [["a", 600, "text/plain", 0]]], canonical=True)
    need = len(plaintext(dirty_index, bytes(600)))
    unclean = plaintext(dirty_index, bytes(600), zeros=padme(need) - need - 1) + b"\x01"
    assert padme(need) > need
    zero600 = hashlib.sha256(bytes(600)).hexdigest()
    cases: dict[str, tuple[str, tuple[bytes, list[bytes]], str]] = {
        "length-too-short": ("sealing.length", crafted(b"\0" * 11), EMPTY),
        "length-content-beyond": ("sealing.length", crafted(plaintext(index, b"abc", content_length=4)), EMPTY),
        "length-content-huge": ("sealing.length", crafted(plaintext(index, b"abc", content_length=2**64 - 1)), EMPTY),
        "length-index-huge": ("sealing.length", crafted(bytes(8) + b"\xff" * 4), EMPTY),
        "length-hidden-room": ("sealing.length", crafted(dirty), EMPTY),
        "length-padme-too-long": ("sealing.length", exact, EMPTY),
        "length-empty-last": ("sealing.length", crafted(plaintext(index, b"abc") + bytes(128 - used), 0, True), EMPTY),
        "padding-not-zero": ("sealing.padding", crafted(unclean, 1), zero600),
        "index-sum": ("sealing.index", with_index([["a", 4, "text/plain", 0]], b"abc"), EMPTY),
        "index-empty": ("sealing.index", raw_index(b""), EMPTY),
        "index-version-2": ("sealing.index", raw_index(cbor2.dumps([2, 1, []])), EMPTY),
        "index-kind-2": ("sealing.index", raw_index(cbor2.dumps([1, 2, []])), EMPTY),
        "index-not-array": ("sealing.index", raw_index(cbor2.dumps("x")), EMPTY),
        "index-map": ("sealing.index", raw_index(cbor2.dumps({})), EMPTY),
        "index-trailing": ("sealing.index", raw_index(cbor2.dumps([1, 1, []]) + b"\0"), EMPTY),
        "index-cut": ("sealing.index", raw_index(index[:-1], b"abc"), EMPTY),
        "index-long-head": ("sealing.index", raw_index(b"\x83\x18\x01\x01\x80"), EMPTY),
        "index-indefinite": ("sealing.index", raw_index(b"\x9f\x01\x01\x80\xff"), EMPTY),
        "index-tag": ("sealing.index", raw_index(b"\x83\x01\x01\xc1\x80"), EMPTY),
        "index-huge-array": ("sealing.index", raw_index(b"\x83\x01\x01\x9a\xff\xff\xff\xff"), EMPTY),
        "index-nested": ("sealing.index", raw_index(b"\x81" * 40), EMPTY),
        "index-bad-utf8": ("sealing.index", raw_index(b"\x83\x01\x01\x81\x81\x62\xc3\x28"), EMPTY),
        "index-negative": ("sealing.index", with_index([["a", -1, "text/plain", 0]]), EMPTY),
        "index-float": ("sealing.index", with_index([["a", 1.5, "text/plain", 0]]), EMPTY),
        "index-bytes-path": ("sealing.index", with_index([[b"a", 0, "text/plain", 0]]), EMPTY),
        "index-fields": ("sealing.index", with_index([["a", 0]]), EMPTY),
        "index-size": ("sealing.index", with_index([["a", 2**44 + 1, "text/plain", 0]]), EMPTY),
        "index-time": ("sealing.index", with_index([["a", 0, "text/plain", 2**40]]), EMPTY),
        "index-media-type": ("sealing.index", with_index([["a", 0, "Text/Plain", 0]]), EMPTY),
        "index-order": ("sealing.index", with_index([["b", 0, "a/b", 0], ["a", 0, "a/b", 0]]), EMPTY),
        "index-order-slash": ("sealing.index", with_index([["a-b", 0, "a/b", 0], ["a/c", 0, "a/b", 0]]), EMPTY),
        "index-file-with-folder": ("sealing.index", with_index([["a/b", 0, "a/b", 0]], kind=0), EMPTY),
        "index-file-twice": ("sealing.index", with_index([["a", 0, "a/b", 0], ["b", 0, "a/b", 0]], kind=0), EMPTY),
        "index-file-none": ("sealing.index", with_index([], kind=0), EMPTY),
    }
    paths = {
        "absolute": "/etc/passwd",
        "parent": "../a",
        "parent-inside": "a/../../b",
        "dot": "./a",
        "double-slash": "a//b",
        "trailing-slash": "a/",
        "empty": "",
        "backslash": "a\\b",
        "nul": "a\0b",
        "newline": "a\nb",
        "escape": "a\x1b[2Jb",
        "c1-control": "a\x9bb",
        "long-name": "n" * 256,
        "long-path": "/".join(["n" * 200] * 11),
    }
    for name, path in paths.items():
        cases[f"path-{name}"] = ("sealing.path", with_index([[path, 0, "a/b", 0]]), EMPTY)
    clashes = {
        "twice": [["a", 0, "a/b", 0], ["a", 0, "a/b", 0]],
        "file-and-folder": [["a", 0, "a/b", 0], ["a/b", 0, "a/b", 0]],
        "folder-not-empty": [["a"], ["a/b", 0, "a/b", 0]],
        "folder-parent": [["../a"]],
    }
    for name, rows in clashes.items():
        cases[f"path-{name}"] = ("sealing.path", with_index(rows), EMPTY)
    for name, (code, (header, segments), released) in cases.items():
        yield name, code, "made by a holder of the key", header, b"".join(segments), {"released": released}


def package_cases() -> Iterator[Case]:
    """The key package."""
    good = golden_package().encode()
    yield "package-ok", "success", "a key package", b"", good, {"object": "package"}
    for name, bad in {"short": good[:-1], "long": good + b"\0", "version": flip(good, 0), "empty": b""}.items():
        yield f"package-{name}", "sealing.package", "malformed", b"", bad, {"object": "package"}
    for name, at in {"container": 1, "digest": 49, "length": 88}.items():
        code = "sealing.package-mismatch"
        yield f"package-other-{name}", code, "of another listing", b"", flip(good, at), {"object": "package"}


def golden() -> dict[str, object]:
    """Fixed inputs and all that follows from them."""
    header, segments = golden_parts()
    body = b"".join(segments)
    lengths = [12, 100, 1_000, 4_065, 65_535, 1_048_545, 10**9, 2**40 + 1]
    return {
        "file key": KEY.hex(),
        "container id": CONTAINER.hex(),
        "lister": LISTER.hex(),
        "members": {path: data.hex() for path, data in MEMBERS.items()},
        "index": folder_index().encode().hex(),
        "aad": file_aad(Padding.ON_CHAIN, CONTAINER, LISTER).hex(),
        "header": header.hex(),
        "body": body.hex(),
        "body cid": str(file_dag(body).root),
        "key package": golden_package().encode().hex(),
        "padme": {str(length): padme(length) for length in lengths},
    }


def golden_ipld() -> dict[str, object]:
    """Trees of leaves that are all zero, and a small archive."""
    trees: dict[str, object] = {}
    zeros = hashlib.sha256(bytes(1_048_576)).digest()
    for leaves, tail in [(1, 0), (1, 1), (2, 0), (1024, 0), (1024, 1), (1025, 0), (2048, 7)]:
        builder = FileDagBuilder()
        for _ in range(leaves):
            builder.add(zeros, 1_048_576)
        if tail:
            builder.add(hashlib.sha256(bytes(tail)).digest(), tail)
        dag = builder.finish()
        trees[str(dag.length_bytes)] = {"root": str(dag.root), "nodes": len(dag.interior)}
    hello = file_dag(b"hello world")
    archive = car_header(hello.root) + car_block(hello.root, b"hello world")
    return {"zeros": trees, "hello world": str(hello.root), "archive of hello world": archive.hex()}


def case_text(case: Case) -> tuple[str, bytes]:
    """File name and bytes of one case."""
    name, expect, comment, header, body, fields = case
    lines = {"expect": expect, "comment": comment, "object": "container", "key": KEY.hex(), "lister": LISTER.hex()}
    # A header that names the product's segments is opened as the product does; the others say what they need.
    lines |= {"segment": "96", "released": EMPTY} | fields
    text = "".join(f"{field}: {value}\n" for field, value in lines.items())
    return f"{name}.case", text.encode() + b"\n" + header + body


def files() -> dict[Path, bytes]:
    """Every file this script writes."""
    written: dict[Path, bytes] = {}
    for room, content in {"sealed-file": golden(), "ipld": golden_ipld()}.items():
        written[FOLDER / room / "golden.json"] = (json.dumps(content, indent=1) + "\n").encode()
    further = [make() for make in sealed_file_more.ALL]
    for cases in (header_cases(), body_cases(), plaintext_cases(), package_cases(), *further):
        for case in cases:
            name, data = case_text(case)
            path = FOLDER / "sealed-file" / "cases" / name.replace("'", "")
            assert path not in written, name
            written[path] = data
    return written


if __name__ == "__main__":
    for path, data in files().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    print(f"{len(files())} files written")
