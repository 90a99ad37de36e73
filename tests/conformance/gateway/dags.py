"""Small DAGs of every kind, written here from the DAG-PB, UnixFS, DAG-CBOR and CAR specifications, without the product's encoders."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, field

RAW, PB, CBOR, JSON = 0x55, 0x70, 0x71, 0x0129


def varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out, value = out + bytes((value & 127 | 128,)), value >> 7
    return out + bytes((value,))


def cid(codec: int, block: bytes) -> bytes:
    return b"\x01" + varint(codec) + b"\x12\x20" + hashlib.sha256(block).digest()


def cid0(block: bytes) -> bytes:
    return b"\x12\x20" + hashlib.sha256(block).digest()


def text(name: bytes) -> str:
    if name[0] == 0x12:
        value, out = int.from_bytes(name, "big"), ""
        while value:
            value, place = divmod(value, 58)
            out = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"[place] + out
        return out
    return "b" + base64.b32encode(name).decode().rstrip("=").lower()


def chunk(number: int, data: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(data)) + data


def pb(links: list[tuple[bytes, str, int]], data: bytes, *, data_first: bool = False) -> bytes:
    """A dag-pb node; writers before 2015 put the data in front."""
    parts = [
        chunk(2, chunk(1, name) + chunk(2, label.encode()) + b"\x18" + varint(size)) for name, label, size in links
    ]
    return chunk(1, data) + b"".join(parts) if data_first else b"".join(parts) + chunk(1, data)


def unixfs(
    kind: int, *, data: bytes | None = None, size: int = 0, spans: tuple[int, ...] = (), fanout: int = 0
) -> bytes:
    out = b"\x08" + bytes((kind,))
    if data is not None:
        out += chunk(2, data)
    if kind == 2:
        out += b"\x18" + varint(size)
    out += b"".join(b"\x20" + varint(span) for span in spans)
    return out + (b"\x28\x22\x30" + varint(fanout) if fanout else b"")


@dataclass
class Dag:
    """Blocks in the order they were made; `car` writes them as an archive."""

    blocks: dict[bytes, bytes] = field(default_factory=dict)

    def add(self, codec: int, block: bytes) -> bytes:
        name = cid(codec, block)
        self.blocks[name] = block
        return name

    def file(self, content: bytes, leaf: int = 256, width: int = 3) -> bytes:
        """A file of raw leaves, balanced."""
        level = [
            (self.add(RAW, content[at : at + leaf]), len(content[at : at + leaf]))
            for at in range(0, len(content), leaf)
        ]
        while len(level) > 1:
            level = [self._parent(level[at : at + width]) for at in range(0, len(level), width)]
        return level[0][0]

    def _parent(self, below: list[tuple[bytes, int]]) -> tuple[bytes, int]:
        size = sum(span for _name, span in below)
        data = unixfs(2, size=size, spans=tuple(span for _name, span in below))
        return self.add(PB, pb([(name, "", span) for name, span in below], data)), size

    def folder(self, members: dict[str, bytes]) -> bytes:
        return self.add(PB, pb([(name, label, 1) for label, name in sorted(members.items())], unixfs(1)))

    def car(self, roots: list[bytes], without: tuple[bytes, ...] = ()) -> bytes:
        header = b"\xa2\x65roots" + bytes((0x80 | len(roots),))
        header += b"".join(b"\xd8\x2a\x58" + bytes((len(root) + 1,)) + b"\0" + root for root in roots)
        header += b"\x67version\x01"
        return (
            varint(len(header))
            + header
            + b"".join(
                varint(len(name) + len(block)) + name + block
                for name, block in self.blocks.items()
                if name not in without
            )
        )


def cbor_link(name: bytes) -> bytes:
    return b"\xd8\x2a\x58" + bytes((len(name) + 1,)) + b"\0" + name


def names_in(archive: bytes) -> list[bytes]:
    """The ids of a CAR's sections; each block is hashed."""
    found, at, first = [], 0, True
    while at < len(archive):
        length, shift = 0, 0
        while True:
            byte = archive[at]
            length |= (byte & 127) << shift
            at, shift = at + 1, shift + 7
            if byte < 128:
                break
        part = archive[at : at + length]
        assert len(part) == length, "the archive is cut off"
        at += length
        if not first:
            size = 34 if part[0] == 0x12 else 2 + (part[1] > 127) + 34
            assert hashlib.sha256(part[size:]).digest() == part[size - 32 : size]
            found.append(part[:size])
        first = False
    return found
