"""The launch digest of an SEV-SNP guest, computed offline from its firmware, kernel, initrd and command line.

Implements spec/attestation.md §12. Sources: AMD, SEV-SNP firmware ABI (56860) §8.17 SNP_LAUNCH_UPDATE (PAGE_INFO and its SHA-384 chain)
and table of page types; AMD64 manual volume 2, appendix B (save area); the GUIDed tables of the open virtual machine firmware; the order
in which QEMU hands pages to the launch.
Promises: the MEASUREMENT that a report of this guest shows, for QEMU with `kernel-hashes=on`. Does not promise: that what it measures is
good; nor other virtual machine monitors, which lay out the processor's first state otherwise.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from uuid import UUID

from asset_bridge.attestation.measured.save_area import first_state
from asset_bridge.errors import InputError

PAGE_BYTES = 4096
_NORMAL, _VMSA, _ZERO, _SECRETS, _CPUID = 1, 2, 3, 5, 6  # PAGE_TYPE
_VMSA_ADDRESS = 0xFFFFFFFFF000
_END_OF_FIRMWARE = 1 << 32
_TABLE_ENDS_BEFORE = 32  # the reset vector's bytes stand last
_FOOTER, _METADATA, _RESET, _HASHES = (
    UUID(text).bytes_le
    for text in (
        "96b582de-1fb2-45f7-baea-a366c55a082d",
        "dc886566-984a-4798-a75e-5585a7bf67cc",
        "00f771de-1a7e-4fcb-890e-68c77e2fb44e",
        "7255371f-3a3b-4b04-927b-1da6efa8d454",
    )
)
_HASH_TABLE, _COMMAND_LINE, _INITRD, _KERNEL = (
    UUID(text).bytes_le
    for text in (
        "9438d606-4f22-4cc9-b479-a793d411fd21",
        "97d02dd8-bd20-4c94-aa78-e7714d36ab2a",
        "44baf731-3a2f-4bd7-9af1-41e29169781d",
        "4de79437-abd2-427f-b835-d5b172d2045b",
    )
)
# Kinds of sections in the firmware's metadata; what stands in them when the guest starts.
_SECTIONS = {1: _ZERO, 2: _SECRETS, 3: _CPUID, 4: _ZERO}
_KERNEL_HASHES = 0x10
_BOOT_ADDRESS = 0xFFFFFFF0


@dataclass(frozen=True, slots=True)
class DirectBoot:
    """Kernel, initrd and command line that the monitor hands over, with their hashes in the measurement."""

    kernel: bytes
    initrd: bytes
    command_line: str

    def table(self) -> bytes:
        """The hash table that the firmware checks what it boots against; 176 bytes."""
        hashed = (
            (_COMMAND_LINE, self.command_line.encode() + b"\0"),
            (_INITRD, self.initrd),
            (_KERNEL, self.kernel),
        )
        entries = b"".join(guid + struct.pack("<H", 50) + hashlib.sha256(data).digest() for guid, data in hashed)
        table = _HASH_TABLE + struct.pack("<H", 18 + len(entries)) + entries
        return table.ljust(-(-len(table) // 16) * 16, b"\0")


class Firmware:
    """A firmware image and the tables in it that a launch reads."""

    def __init__(self, image: bytes) -> None:
        """InputError(attestation.firmware): no such tables, or not whole pages."""
        if not image or len(image) % PAGE_BYTES or len(image) > 64 << 20:
            raise _unfit("its size is not a number of whole pages up to 64 MiB")
        self.image = image
        self._tables = dict(_tables(image))

    @property
    def address(self) -> int:
        """Where it begins in the guest: it ends at 4 GiB."""
        return _END_OF_FIRMWARE - len(self.image)

    def reset_address(self) -> int:
        """Where processors other than the first begin."""
        return self._number(_RESET, "reset block")

    def hash_table_address(self) -> int:
        """Where the table of kernel hashes belongs; InputError(attestation.firmware) for a firmware that has no place for it."""
        address = self._number(_HASHES, "place for kernel hashes")
        if not address:
            raise _unfit("it has no place for kernel hashes; take the build that is made for measured direct boot")
        return address

    def sections(self) -> list[tuple[int, int, int]]:
        """(address, bytes, kind) of each section that the monitor prepares, in order."""
        found = self._tables.get(_METADATA, b"")
        if len(found) != 4:
            raise _unfit("it has no SEV metadata")
        at = len(self.image) - int.from_bytes(found, "little")
        if not 0 <= at <= len(self.image) - 16:
            raise _unfit("its SEV metadata lies outside")
        signature, size, version, count = struct.unpack_from("<4s3I", self.image, at)
        if signature != b"ASEV" or version != 1 or size != 16 + 12 * count or at + size > len(self.image):
            raise _unfit("its SEV metadata is of another form")
        return [struct.unpack_from("<3I", self.image, at + 16 + 12 * index) for index in range(count)]

    def _number(self, guid: bytes, what: str) -> int:
        data = self._tables.get(guid, b"")
        if len(data) < 4:
            raise _unfit(f"it has no {what}")
        return int.from_bytes(data[:4], "little")


def launch_digest(
    firmware: Firmware, processors: int, signature: int, boot: DirectBoot | None = None, features: int = 1
) -> bytes:
    """The 48 bytes of MEASUREMENT.

    Args:
        processors: how many virtual processors the guest starts with, 1 to 512.
        signature: their CPUID signature (function 1, EAX), which is part of the state they start in.
        boot: None when the firmware boots from a disk.
        features: SEV_FEATURES; 1 is SNP alone.
    Raises: InputError(attestation.firmware): the firmware does not fit; (attestation.processors): their number.
    """
    if not 1 <= processors <= 512:
        raise InputError("attestation.processors", "a guest has 1 to 512 virtual processors")
    digest = bytes(48)
    for kind, address, content in _pages(firmware, processors, signature, boot, features):
        digest = _extend(digest, kind, address, content)
    return digest


def _pages(
    firmware: Firmware, processors: int, signature: int, boot: DirectBoot | None, features: int
) -> Iterator[tuple[int, int, bytes | None]]:
    image = firmware.image
    for at in range(0, len(image), PAGE_BYTES):
        yield _NORMAL, firmware.address + at, image[at : at + PAGE_BYTES]
    hashed = False
    for address, size, kind in firmware.sections():
        if address % PAGE_BYTES or size % PAGE_BYTES:
            raise _unfit("a section is not whole pages")
        if kind == _KERNEL_HASHES and boot is not None:
            place = firmware.hash_table_address()
            table = boot.table()
            offset = place % PAGE_BYTES
            if place - offset != address or size != PAGE_BYTES or offset + len(table) > PAGE_BYTES:
                raise _unfit("its place for kernel hashes is not in the section for it")
            yield _NORMAL, address, (bytes(offset) + table).ljust(PAGE_BYTES, b"\0")
            hashed = True
            continue
        page_type = _ZERO if kind == _KERNEL_HASHES else _SECTIONS.get(kind)
        if page_type is None:
            raise _unfit(f"a section of kind {kind} is not known here")
        for at in range(0, size, PAGE_BYTES):
            yield page_type, address + at, None
    if boot is not None and not hashed:
        raise _unfit("it has no section for kernel hashes, so a kernel would start unmeasured")
    for index in range(processors):
        begins_at = firmware.reset_address() if index else _BOOT_ADDRESS
        yield _VMSA, _VMSA_ADDRESS, first_state(begins_at, signature, features)


def _extend(digest: bytes, kind: int, address: int, content: bytes | None) -> bytes:
    """SHA-384 over PAGE_INFO, 112 bytes; a page without content of its own has 48 zero bytes for its hash."""
    page = bytes(48) if content is None else hashlib.sha384(content).digest()
    info = digest + page + struct.pack("<HBBBBBBQ", 0x70, kind, 0, 0, 0, 0, 0, address)
    return hashlib.sha384(info).digest()


def _tables(image: bytes) -> Iterator[tuple[bytes, bytes]]:
    """GUID and data of each entry of the table that ends before the reset vector; it is read from its end."""
    end = len(image) - _TABLE_ENDS_BEFORE
    size = int.from_bytes(image[end - 18 : end - 16], "little")
    if image[end - 16 : end] != _FOOTER or not 18 <= size <= end:
        raise _unfit("it has no table of GUIDs at its end")
    begins, at = end - size, end - 18
    while at >= begins + 18:
        length = int.from_bytes(image[at - 18 : at - 16], "little")
        if not 18 <= length <= at - begins:
            raise _unfit("an entry of its table has a wrong length")
        yield image[at - 16 : at], image[at - length : at - 18]
        at -= length


def _unfit(why: str) -> InputError:
    return InputError("attestation.firmware", f"the firmware image does not fit: {why}", actor="operator")
