"""What the cases of the sealed file are made of: fixed inputs, containers as the product makes them, and crafted ones."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import cbor2

from asset_bridge.ipld.unixfs import file_dag
from asset_bridge.sealing.floe import FloeParameters, FloeSealer
from asset_bridge.sealing.header import SealedHeader, file_aad
from asset_bridge.sealing.index import Index, Kind, MemberSpec
from asset_bridge.sealing.package import KeyPackage
from asset_bridge.sealing.padding import Padding
from asset_bridge.sealing.seal import Sealer, reader_of

KEY, OTHER_KEY = bytes(range(32)), bytes(range(1, 33))
CONTAINER, OTHER_CONTAINER = b"container id 16B", b"container id 17B"
LISTER, OTHER_LISTER = b"\x11" * 20, b"\x22" * 20
SMALL, FULL = FloeParameters(96), FloeParameters(1_048_576)
MEMBERS = {"a.txt": b"first member", "b/c.ndjson": b'{"n":1}\n' * 20, "b/empty": b""}


def fixed_bytes(seed: str) -> Callable[[int], bytes]:
    """A stream of bytes that is the same every time."""
    stream = hashlib.shake_256(seed.encode()).digest(1 << 16)
    at = 0

    def randbytes(size: int) -> bytes:
        nonlocal at
        at += size
        return stream[at - size : at]

    return randbytes


def folder_index() -> Index:
    """The index of MEMBERS."""
    specs = [MemberSpec(path, len(data), "text/plain", 1_700_000_000) for path, data in MEMBERS.items()]
    return Index.of(Kind.FOLDER, specs, ["nothing here"])


def sealed(
    index: Index, contents: list[bytes], padding: Padding, parameters: FloeParameters, container: bytes = CONTAINER
) -> tuple[bytes, list[bytes]]:
    """Header and segments as the product makes them."""
    sealer = Sealer(
        file_key=KEY,
        container_id=container,
        lister=LISTER,
        index=index,
        randbytes=fixed_bytes(f"{padding} {container!r}"),
        padding=padding,
        parameters=parameters,
        workers=1,
    )
    segments = [bytes(segment) for segment in sealer.segments(reader_of([data]) for data in contents)]
    return sealer.header, segments


def crafted(plaintext: bytes, mode: int = 0, empty_last: bool = False) -> tuple[bytes, list[bytes]]:
    """Header and segments around any plaintext, as a provider with the key could make them."""
    randbytes = fixed_bytes("crafted")
    padding = Padding(mode)
    floe = FloeSealer(SMALL, KEY, file_aad(padding, CONTAINER, LISTER), randbytes(32))
    size = SMALL.payload_bytes
    pieces = [plaintext[at : at + size] for at in range(0, len(plaintext), size)] + ([b""] if empty_last else [])
    segments = []
    for position, piece in enumerate(pieces):
        out = bytearray(len(piece) + 32)
        floe.seal_into(out, memoryview(piece), position, position == len(pieces) - 1, randbytes(12))
        segments.append(bytes(out))
    return SealedHeader(padding, CONTAINER, floe.header).encode(), segments


def plaintext(index: bytes, content: bytes, *, content_length: int | None = None, zeros: int = 0) -> bytes:
    """Prologue, index, content and padding."""
    length = len(content) if content_length is None else content_length
    return length.to_bytes(8, "big") + len(index).to_bytes(4, "big") + index + content + bytes(zeros)


def with_index(rows: object, content: bytes = b"", kind: int = 1) -> tuple[bytes, list[bytes]]:
    """A container with any index."""
    return crafted(plaintext(cbor2.dumps([1, kind, rows], canonical=True), content))


def raw_index(encoded: bytes, content: bytes = b"") -> tuple[bytes, list[bytes]]:
    """A container with any bytes for an index."""
    return crafted(plaintext(encoded, content))


def flip(data: bytes, at: int, bits: int = 1) -> bytes:
    """`data` with bits of one byte changed."""
    return data[:at] + bytes((data[at] ^ bits,)) + data[at + 1 :]


Case = tuple[str, str, str, bytes, bytes, dict[str, str]]


def golden_parts() -> tuple[bytes, list[bytes]]:
    """The golden container: the product's own parameters."""
    return sealed(folder_index(), list(MEMBERS.values()), Padding.ON_CHAIN, FULL)


def golden_package() -> KeyPackage:
    """The key package of the golden container."""
    body = b"".join(golden_parts()[1])
    return KeyPackage(CONTAINER, bytes(range(32, 64)), file_dag(body).root.digest, len(body), 172)
