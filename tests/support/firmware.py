"""A small firmware image with the tables that an SEV-SNP launch reads, made by the test: no real firmware has every case."""

from __future__ import annotations

import struct
from uuid import UUID

FOOTER = UUID("96b582de-1fb2-45f7-baea-a366c55a082d").bytes_le
METADATA = UUID("dc886566-984a-4798-a75e-5585a7bf67cc").bytes_le
RESET = UUID("00f771de-1a7e-4fcb-890e-68c77e2fb44e").bytes_le
HASHES = UUID("7255371f-3a3b-4b04-927b-1da6efa8d454").bytes_le
SECTIONS = (
    (0x800000, 0x9000, 1), (0x80A000, 0x3000, 1), (0x80D000, 0x1000, 2), (0x80E000, 0x1000, 3), (0x80F000, 0x1000, 4),
    (0x810000, 0x1000, 0x10),
)  # fmt: skip


def image(
    pages: int = 16,
    sections: tuple[tuple[int, int, int], ...] = SECTIONS,
    *,
    reset: int = 0x0080B004,
    hashes: tuple[int, int] | None = (0x810C00, 0x400),
    fill: int = 7,
) -> bytes:
    """An image of this many pages, its metadata in its middle."""
    size = pages * 4096
    made = bytearray((index * fill + (index >> 8)) & 0xFF for index in range(size))
    at = size // 2
    header = struct.pack("<4s3I", b"ASEV", 16 + 12 * len(sections), 1, len(sections))
    metadata = header + b"".join(struct.pack("<3I", *section) for section in sections)
    made[at : at + len(metadata)] = metadata
    entries = _entry(METADATA, struct.pack("<I", size - at)) + _entry(RESET, struct.pack("<I", reset))
    if hashes is not None:
        entries += _entry(HASHES, struct.pack("<II", *hashes))
    table = entries + struct.pack("<H", len(entries) + 18) + FOOTER
    made[size - 32 - len(table) : size - 32] = table
    return bytes(made)


def _entry(guid: bytes, data: bytes) -> bytes:
    return data + struct.pack("<H", len(data) + 18) + guid
