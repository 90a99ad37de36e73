"""A stand-in for configfs-tsm that enforces the kernel's contract, and can break any clause of it on purpose."""

from __future__ import annotations

import errno
from pathlib import Path


class Entry:
    def __init__(self) -> None:
        self.generation = self.reads = 0
        self.values: dict[str, bytes] = {}


class Buffered:
    """One open attribute: a write is carried out at close, as configfs does for binary attributes; reads come in pieces."""

    def __init__(self, kernel: Kernel, path: Path, *, write: bool) -> None:
        self._kernel, self._path, self._write = kernel, path, write
        self._data = b"" if write else kernel.value(path)
        self._wrote = False

    def read(self, length_bytes: int) -> bytes:
        size = min(length_bytes, self._kernel.piece)
        piece, self._data = self._data[:size], self._data[size:]
        return piece

    def write(self, data: bytes) -> int:
        if self._wrote:
            raise OSError(errno.EINVAL, "one write")
        self._wrote = True
        taken = data[: self._kernel.takes]
        self._data = taken
        return len(taken)

    def close(self) -> None:
        if self._write and self._wrote:
            self._kernel.store(self._path, self._data)


class Kernel:
    """`provider`: sev_guest or tdx_guest. The other fields say what goes wrong."""

    def __init__(self, provider: str = "tdx_guest") -> None:
        self.provider, self.root = provider, True
        self.entries: dict[Path, Entry] = {}
        self.piece, self.takes, self.floor = 700, 1 << 20, 0
        self.table = b""
        self.busy = 0
        self.error: dict[str, int] = {}
        self.intruder = False
        self.cut = 0
        self.answers_other = False
        self.made = 0

    # what the attester uses
    def make(self, folder: Path) -> None:
        if not self.root:
            raise PermissionError(errno.EACCES, "root only")
        if "make" in self.error:
            raise OSError(self.error["make"], "make")
        if folder in self.entries:
            raise FileExistsError(errno.EEXIST, "there")
        self.made += 1
        self.entries[folder] = Entry()

    def remove(self, folder: Path) -> None:
        del self.entries[folder]

    def open(self, path: Path, *, write: bool) -> Buffered:
        entry = self.entries[path.parent]
        if (write and path.name not in ("inblob", "privlevel")) or (not write and path.name in ("inblob", "privlevel")):
            raise PermissionError(errno.EACCES, path.name)
        if path.name == "outblob" and self.busy:
            self.busy -= 1
            raise OSError(errno.EBUSY, "busy")
        if not write and path.name in self.error:
            raise OSError(self.error[path.name], path.name)
        if path.name == "outblob" and self.intruder:
            entry.generation += 1
        return Buffered(self, path, write=write)

    # what the kernel does
    def store(self, path: Path, data: bytes) -> None:
        entry = self.entries[path.parent]
        if path.name == "inblob" and not 1 <= len(data) <= 64:
            raise OSError(errno.EINVAL, "1 to 64 bytes")
        if path.name == "privlevel" and not self.floor <= int(data) <= 3:
            raise OSError(errno.EINVAL, "below the floor")
        entry.values[path.name] = data
        entry.generation += 1

    def value(self, path: Path) -> bytes:
        entry = self.entries[path.parent]
        name = path.name
        if name in ("provider", "generation", "privlevel_floor"):
            return f"{ {'provider': self.provider, 'generation': entry.generation, 'privlevel_floor': self.floor}[name] }\n".encode()
        if "inblob" not in entry.values:
            raise OSError(errno.EINVAL, "nothing was asked")
        if name == "auxblob":
            if not self.table:
                raise FileNotFoundError(errno.ENOENT, name)
            return self.table
        asked = entry.values["inblob"].ljust(64, b"\0")
        return self.report(b"x" * 64 if self.answers_other else asked)

    def report(self, asked: bytes) -> bytes:
        before, after = (0x50, 1184 - 0x90) if self.provider == "sev_guest" else (48 + 520, 4000)
        whole = bytes(before) + asked + bytes(after)
        return whole[: len(whole) - self.cut]
