"""TDX and SEV-SNP guests on Linux 6.7 and later: reports by configfs (`/sys/kernel/config/tsm/report`).

Source: kernel Documentation/ABI/testing/configfs-tsm-report; spec/attestation.md §11. Root only. The kernel's contract, each clause checked
here and each violation refused:
  one write of at most 64 bytes to `inblob`, carried out when the file is closed; `outblob` in pieces until its end, again from a fresh
  directory after any error; EFBIG: the report is too large; EBUSY: too many writes; `generation` grows by exactly the number of our writes,
  else somebody else wrote between and the report is not ours; `privlevel` not below `privlevel_floor`.
Not met by hardware yet: it was run against a stand-in that enforces this contract.
"""

from __future__ import annotations

import errno
import os
import struct
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol, TypeVar

from asset_bridge.attestation import evidence
from asset_bridge.attestation.binding import Binding
from asset_bridge.attesters.errors import broken, unavailable
from asset_bridge.errors import BridgeError

REPORTS = Path("/sys/kernel/config/tsm/report")
INBLOB_BYTES = 64
MAX_REPORT_BYTES = 32 * 1024
MAX_ATTRIBUTE_BYTES = 4096
ATTEMPTS = 3
_PIECE_BYTES = 4096
# provider → (type tag, word of the node's answers, where the report data lies in the answer)
PROVIDERS: Mapping[str, tuple[str, str]] = {"tdx_guest": ("intel-tdx", "tdx"), "sev_guest": ("amd-sev-snp", "sev-snp")}
_REPORT_DATA_AT = {"intel-tdx": 48 + 520, "amd-sev-snp": 0x50}
_SNP_REPORT_BYTES = 1184
_TABLE = {
    "63da758d-e664-4564-adc5-f4b93be8accd": "signer",  # VCEK
    "a8074bc2-a25a-483e-aae6-39c045a0b8a1": "signer",  # VLEK
    "4ab7b379-bbac-4fe4-a02f-05aef327c782": "ask",
    "c0b406a4-a803-4952-9743-3fb6014cd0ae": "ark",
}
NO_AUX: Mapping[str, bytes] = {}
T = TypeVar("T")


class Handle(Protocol):
    """One open attribute."""

    def read(self, length_bytes: int) -> bytes: ...
    def write(self, data: bytes) -> int: ...
    def close(self) -> None: ...


class Files(Protocol):
    """What of a file system this needs; the kernel's, or a stand-in in tests. Errors are OSError."""

    def make(self, folder: Path) -> None: ...
    def remove(self, folder: Path) -> None: ...
    def open(self, path: Path, *, write: bool) -> Handle: ...


class _KernelHandle:
    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def read(self, length_bytes: int) -> bytes:
        return os.read(self._descriptor, length_bytes)

    def write(self, data: bytes) -> int:
        return os.write(self._descriptor, data)

    def close(self) -> None:
        os.close(self._descriptor)


class KernelFiles:
    """The real file system, without Python's buffers: each write is one system call."""

    def make(self, folder: Path) -> None:
        folder.mkdir()

    def remove(self, folder: Path) -> None:
        folder.rmdir()

    def open(self, path: Path, *, write: bool) -> Handle:
        return _KernelHandle(os.open(path, os.O_WRONLY if write else os.O_RDONLY))


class TsmAttester:
    """Evidence of this guest. `carried` gives aux items that travel along (TDX: collateral; SNP: certificates that the host lacks)."""

    def __init__(
        self,
        *,
        files: Files | None = None,
        folder: Path = REPORTS,
        carried: Callable[[], Mapping[str, bytes]] = lambda: NO_AUX,
        vmpl: int = 0,
    ) -> None:
        """Look which kind of guest this is; UnavailableError(attesters.device | attesters.permission)."""
        self._files: Files = files or KernelFiles()
        self._folder, self._carried, self._vmpl = folder, carried, vmpl
        self.kind, self.tee = self._kind()

    def collect(self, binding: Binding, aux: Mapping[str, bytes] = NO_AUX) -> bytes:
        """Evidence that binds `binding`.

        Raises:
            UnavailableError(attesters.device | attesters.permission): no such device, or not root; a later try may succeed.
            TamperedError(attesters.contract): the kernel's contract is broken; nothing of that answer was used.
        """
        asked = binding.report_data()
        for attempt in range(ATTEMPTS):
            try:
                blob, table = self._in_fresh_folder(lambda entry: self._ask(entry, asked))
                break
            except BridgeError as error:
                if error.code != "attesters.busy" or attempt == ATTEMPTS - 1:
                    raise
        at = _REPORT_DATA_AT[self.kind]
        if blob[at : at + INBLOB_BYTES] != asked:
            raise broken("the report answers another question")
        return evidence.build(self.kind, blob, {**_certificates(table), **self._carried(), **aux}, binding)

    def _kind(self) -> tuple[str, str]:
        provider = self._in_fresh_folder(lambda entry: self._text(entry / "provider"))
        if provider not in PROVIDERS:
            raise unavailable(
                "device", f"this guest's report provider is {provider[:40]!r}, and none that is known here"
            )
        return PROVIDERS[provider]

    def _in_fresh_folder(self, use: Callable[[Path], T]) -> T:
        """Run `use` in a report directory of its own, removed afterwards whatever happened."""
        entry = self._folder / f"asset-bridge-{uuid.uuid4().hex}"
        try:
            self._files.make(entry)
        except OSError as error:
            raise _told(error) from None
        try:
            return use(entry)
        except OSError as error:
            raise _told(error) from None
        finally:
            self._files.remove(entry)

    def _ask(self, entry: Path, asked: bytes) -> tuple[bytes, bytes]:
        before, writes = self._number(entry / "generation"), 1
        if self.kind == "amd-sev-snp":
            if self._number(entry / "privlevel_floor") > self._vmpl:
                raise broken("this guest may not ask at the privilege level that is wanted (privlevel_floor)")
            self._write(entry / "privlevel", str(self._vmpl).encode())
            writes += 1
        self._write(entry / "inblob", asked)
        blob = self._read(entry / "outblob", MAX_REPORT_BYTES)
        table = b""
        if self.kind == "amd-sev-snp":
            if len(blob) != _SNP_REPORT_BYTES:
                raise broken("the report is cut short")
            table = self._optional(entry / "auxblob")
        if self._number(entry / "generation") != before + writes:
            raise broken("somebody else wrote to this report: its generation grew by another number than our writes")
        return blob, table

    def _write(self, path: Path, data: bytes) -> None:
        """One write; the kernel carries it out on close, so errors of both are the write's."""
        handle = self._files.open(path, write=True)
        try:
            written = handle.write(data)
        finally:
            handle.close()
        if written != len(data):
            raise broken("the kernel took a part of the write only")

    def _read(self, path: Path, limit_bytes: int) -> bytes:
        handle = self._files.open(path, write=False)
        try:
            found = b""
            while piece := handle.read(_PIECE_BYTES):
                found += piece
                if len(found) > limit_bytes:
                    raise broken(f"{path.name} is larger than {limit_bytes} bytes")
        finally:
            handle.close()
        if not found:
            raise broken(f"{path.name} is empty")
        return found

    def _optional(self, path: Path) -> bytes:
        try:
            return self._read(path, MAX_REPORT_BYTES)
        except (FileNotFoundError, BridgeError):
            return b""

    def _text(self, path: Path) -> str:
        return self._read(path, MAX_ATTRIBUTE_BYTES).decode("ascii", "replace").strip()

    def _number(self, path: Path) -> int:
        text = self._text(path)
        if not text.isdecimal():
            raise broken(f"{path.name} is not a number")
        return int(text)


def _certificates(table: bytes) -> dict[str, bytes]:
    """The certificates of SNP's auxiliary table: entries of GUID, offset, length up to one of zeros."""
    found: dict[str, bytes] = {}
    for at in range(0, len(table) - 23, 24):
        raw, offset, length = table[at : at + 16], *struct.unpack_from("<II", table, at + 16)
        if not any(raw):
            break
        data = table[offset : offset + length]
        if len(data) != length:
            raise broken("the certificate table points outside itself")
        for guid in (uuid.UUID(bytes=raw), uuid.UUID(bytes_le=raw)):
            if str(guid) in _TABLE:
                found[_TABLE[str(guid)]] = data
    return found


def _told(error: OSError) -> BridgeError:
    if error.errno in (errno.EACCES, errno.EPERM):
        return unavailable("permission", "reports are for root only")
    if error.errno == errno.EBUSY:
        return unavailable("busy", "the report device is busy")
    if error.errno == errno.EFBIG:
        return broken("the report is too large for this interface (EFBIG)")
    if error.errno in (errno.ENOENT, errno.ENODEV, errno.ENXIO):
        return unavailable("device", "this machine has no configfs-tsm reports (Linux 6.7 in a TDX or SEV-SNP guest)")
    return broken(f"the kernel refused: {os.strerror(error.errno or 0)}")
