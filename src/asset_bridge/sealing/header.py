"""The 128 bytes in front of a sealed body, and what binds them to the account that lists them.

Implements spec/sealed-file.md §2 (rules S1 to S7).
Promises: `parse` accepts exactly what `encode` writes.
Does not promise: that anything is authentic; that is settled by the FLOE tag inside, with the file key.
"""

from __future__ import annotations

from dataclasses import dataclass

from asset_bridge.errors import InputError, RefusedError, TamperedError
from asset_bridge.sealing.floe import FLOE_HEADER_BYTES, GCM256_IV256_1M, PARAMETER_BYTES, FloeParameters
from asset_bridge.sealing.padding import Padding

HEADER_BYTES = 128
MAGIC = b"\x89ABSF\r\n\x1a"  # a high bit and line ends, so that text-mode damage shows at once
VERSION = 1
SUITE = 1  # FLOE GCM256_IV256_1M
CONTAINER_ID_BYTES = 16
LISTER_BYTES = 20
BOUND_BYTES = 32  # up to and including the container id
AAD_LABEL = b"asset-bridge/file/1"
_FLOE_END = BOUND_BYTES + FLOE_HEADER_BYTES


@dataclass(frozen=True, slots=True)
class SealedHeader:
    """A well-formed header; unauthenticated until a key opened it."""

    padding: Padding
    container_id: bytes
    floe: bytes

    def encode(self) -> bytes:
        """The 128 bytes."""
        return bound_bytes(self.padding, self.container_id) + self.floe + bytes(HEADER_BYTES - _FLOE_END)

    def aad(self, lister: bytes) -> bytes:
        """FLOE's associated data for the account that lists the file."""
        return file_aad(self.padding, self.container_id, lister)

    @classmethod
    def parse(cls, header: bytes, parameters: FloeParameters = GCM256_IV256_1M) -> SealedHeader:
        """Read a header.

        Raises:
            TamperedError(sealing.header): wrong length, magic, padding mode, FLOE parameters or reserved bytes.
            RefusedError(sealing.version): a version or suite of another release.
        """
        header = bytes(header)
        if len(header) != HEADER_BYTES:
            raise _malformed(f"it has {len(header)} bytes, not {HEADER_BYTES}")
        if header[:8] != MAGIC:
            raise _malformed("it does not begin with the mark of a sealed file")
        if (header[8], header[9]) != (VERSION, SUITE):
            raise RefusedError(
                "sealing.version",
                f"this file has format version {header[8]}, suite {header[9]}; this release opens version 1, suite 1",
                hint="update asset-bridge",
            )
        if header[10] not in (mode.value for mode in Padding):
            raise _malformed("its flags name an unknown padding")
        if any(header[11:16]) or any(header[_FLOE_END:]):
            raise _malformed("a reserved byte is not zero")
        if header[BOUND_BYTES : BOUND_BYTES + PARAMETER_BYTES] != parameters.encode():
            raise _malformed("it names another construction or segment length")
        return cls(Padding(header[10]), header[16:BOUND_BYTES], header[BOUND_BYTES:_FLOE_END])


def bound_bytes(padding: Padding, container_id: bytes) -> bytes:
    """The header up to and including the container id."""
    if len(container_id) != CONTAINER_ID_BYTES:
        raise InputError("sealing.container-id", "a container id has exactly 16 bytes")
    return MAGIC + bytes((VERSION, SUITE, padding.value)) + bytes(5) + container_id


def file_aad(padding: Padding, container_id: bytes, lister: bytes) -> bytes:
    """Label, bound part of the header, and the 20 bytes of the listing account's address."""
    if len(lister) != LISTER_BYTES:
        raise InputError("sealing.lister", "the listing account is an address of exactly 20 bytes")
    return AAD_LABEL + bound_bytes(padding, container_id) + lister


def _malformed(why: str) -> TamperedError:
    return TamperedError("sealing.header", f"the header of the sealed file is malformed: {why}", actor="provider")
