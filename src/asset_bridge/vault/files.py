"""The edge to the disk: what is published is read here, and what is written appears whole or not at all.

Implements spec/sealed-file.md §8 (rules D1 to D9).
Promises: `walk` looks at everything before anything is written and refuses by name what cannot be sealed; a reader
notices a file that changed since; `written_only_if_whole` never overwrites and leaves nothing behind on failure.
Does not promise: to notice a change that keeps size, time and inode; the disk must not be hostile.
"""

from __future__ import annotations

import bisect
import contextlib
import errno
import itertools
import mimetypes
import os
import secrets
import shutil
import stat
import unicodedata
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Protocol, runtime_checkable

from asset_bridge.errors import InputError
from asset_bridge.sealing.index import DEFAULT_MEDIA_TYPE, MAX_TIME, Index, Kind, MemberSpec, check_path
from asset_bridge.sealing.seal import ReadInto

Progress = Callable[[int, int], None]
"""Called with bytes done and bytes in all."""
PARTIAL = ".partial-"
"""In the name of a file that is not whole yet: .NAME.partial-RANDOM, left behind only by a kill -9 or a power cut."""
SPARE_BYTES = 1024 * 1024  # folders, the file system's own records
_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_TYPES = mimetypes.MimeTypes(filenames=())  # the built-in table only, the same on every machine
_OWN_TYPES = {
    ".dcm": "application/dicom",
    ".ndjson": "application/x-ndjson",
    ".parquet": "application/vnd.apache.parquet",
    ".jsonl": "application/jsonl",
    ".md": "text/markdown",
}
_SPECIAL = {
    stat.S_IFSOCK: "a socket",
    stat.S_IFIFO: "a pipe",
    stat.S_IFBLK: "a device",
    stat.S_IFCHR: "a device",
    stat.S_IFLNK: "a link",
}


@dataclass(frozen=True, slots=True)
class _Stamp:
    """What tells a file that was looked at from one that changed."""

    size_bytes: int
    modified_ns: int
    inode: int
    device: int

    @classmethod
    def of(cls, status: os.stat_result) -> _Stamp:
        return cls(status.st_size, status.st_mtime_ns, status.st_ino, status.st_dev)


@dataclass(frozen=True, slots=True)
class Source:
    """A file or folder that was looked at; `read_at` gives its bytes to a sealer."""

    root: Path
    index: Index
    stamps: tuple[_Stamp, ...]
    _starts: tuple[int, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        sizes = (member.size_bytes for member in self.index.members)
        object.__setattr__(self, "_starts", tuple(itertools.accumulate(sizes, initial=0)))

    @property
    def content_length_bytes(self) -> int:
        """Bytes of all files together."""
        return self.index.content_length_bytes

    def read_at(self, offset: int, view: memoryview) -> None:
        """Fill `view` with the content from `offset` on; threads may read at the same time.

        Every part is read between two looks at its file (D5).

        Raises:
            InputError(files.changed): a file is not what `walk` saw.
            InputError(files.unreadable): the disk fails.
        """
        number = bisect.bisect_right(self._starts, offset) - 1
        while view:
            start, end = self._starts[number : number + 2]
            part = view[: max(0, end - offset)]
            if part:
                self._read(number, offset - start, part)
            offset, view, number = offset + len(part), view[len(part) :], number + 1

    def check_empty(self) -> None:
        """Look again at the files that have nothing to read.

        Raises:
            InputError(files.changed): one is not what `walk` saw.
        """
        for number, member in enumerate(self.index.members):
            if member.size_bytes == 0:
                self._read(number, 0, memoryview(b""))

    def _read(self, number: int, offset: int, view: memoryview) -> None:
        inside, stamp = self.index.members[number].path, self.stamps[number]
        folder = self.index.kind is Kind.FOLDER
        try:
            descriptor = os.open(
                self.root / inside if folder else self.root, _READ if folder else _READ & ~os.O_NOFOLLOW
            )
        except OSError as error:
            raise _changed(inside) from error
        try:
            same = _Stamp.of(os.fstat(descriptor)) == stamp
            while same and view:
                size = os.preadv(descriptor, [view], offset)
                same, offset, view = size > 0, offset + size, view[size:]
            if not same or _Stamp.of(os.fstat(descriptor)) != stamp:
                raise _changed(inside)
        except OSError as error:
            reason = os.strerror(error.errno or 0)
            raise InputError("files.unreadable", f"cannot read '{inside}': {reason}", hint="check the disk") from error
        finally:
            os.close(descriptor)


@runtime_checkable
class Stream(Protocol):
    """What can be sealed but not read at offsets, such as a file that is decrypted on the way."""

    @property
    def index(self) -> Index:
        """What it will bring."""

    def readers(self) -> Generator[ReadInto, None, None]:
        """One reader for each member, in the index's order; closed by the caller."""


def walk(path: Path) -> Source:
    """Look at a file or a folder: names, sizes, times, and whether each file opens.

    Raises:
        InputError(files.missing, files.unreadable): it, or something in it, is not there or does not open.
        InputError(files.special): a socket, pipe, device, or a link inside the folder.
        InputError(files.name): a name that no sealed file can hold.
        InputError(files.name-clash): two names that some computers cannot tell apart.
        InputError(sealing.index): too many entries.
    """
    try:
        status = os.stat(path)  # a link given by name is followed; links inside a folder are not
    except OSError as error:
        raise _unreadable(path, error) from error
    if stat.S_ISDIR(status.st_mode):
        found, empty = _walk_folder(path)
        index = Index.of(Kind.FOLDER, found, empty)
        refuse_name_clash([member.path for member in index.members] + list(index.empty_folders))
    else:
        name = Path(os.path.abspath(path)).name
        found = {_member(name, path, status, follow=True): _Stamp.of(status)}
        index = Index.of(Kind.FILE, found)
    return Source(path, index, tuple(found[member] for member in index.members))


def _walk_folder(root: Path) -> tuple[dict[MemberSpec, _Stamp], list[str]]:
    found: dict[MemberSpec, _Stamp] = {}
    empty: list[str] = []
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        try:
            with os.scandir(root / folder) as entries:
                names = sorted(entry.name for entry in entries)
        except OSError as error:
            raise _unreadable(root / folder, error) from error
        if not names and folder:
            empty.append(folder)
        for name in names:
            inside = f"{folder}/{name}" if folder else name
            _check_name(inside)
            try:
                status = os.lstat(root / inside)
            except OSError as error:
                raise _unreadable(root / inside, error) from error
            if stat.S_ISDIR(status.st_mode):
                waiting.append(inside)
            else:
                found[_member(inside, root / inside, status)] = _Stamp.of(status)
    return found, empty


def _member(inside: str, path: Path, status: os.stat_result, *, follow: bool = False) -> MemberSpec:
    _check_name(inside)
    if not stat.S_ISREG(status.st_mode):
        what = _SPECIAL.get(stat.S_IFMT(status.st_mode), "no ordinary file")
        raise InputError(
            "files.special", f"'{inside}' is {what} and cannot be sealed", hint="remove it, or copy what it stands for"
        )
    try:
        os.close(os.open(path, _READ & ~os.O_NOFOLLOW if follow else _READ))
    except OSError as error:
        raise _unreadable(path, error) from error
    modified_at = min(max(0, status.st_mtime_ns // 1_000_000_000), MAX_TIME - 1)
    return MemberSpec(inside, status.st_size, media_type(inside), modified_at)


def media_type(path: str) -> str:
    """The media type by the name's ending, from tables that are the same on every machine."""
    ending = os.path.splitext(path)[1].lower()
    guessed, encoding = _TYPES.guess_type("x" + ending)
    return _OWN_TYPES.get(ending) or (guessed if guessed and not encoding else None) or DEFAULT_MEDIA_TYPE


def _check_name(inside: str) -> None:
    try:
        check_path(inside)
    except InputError as error:
        shown = inside.encode("utf-8", "backslashreplace").decode("utf-8")
        raise InputError("files.name", f"{shown!r} cannot be sealed: {error.message}", hint="rename it") from None


def refuse_name_clash(paths: Iterable[str]) -> None:
    """Refuse names that are one name where case or Unicode form does not count (D4).

    Raises:
        InputError(files.name-clash): two such names.
    """
    seen: dict[tuple[int, str], tuple[int, str]] = {}
    for path in paths:
        folder = 0
        for name in path.split("/"):
            folded = unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
            folder, first = seen.setdefault((folder, folded), (len(seen) + 1, name))
            if first != name:
                raise InputError(
                    "files.name-clash",
                    f"'{path}' and another name differ only in capitals or Unicode form of '{first}'",
                    hint="not every computer can hold both; rename one",
                )


def require_free_space(folder: Path, need_bytes: int) -> None:
    """Check that `folder` has room before anything is written.

    Raises:
        InputError(files.disk-space): it has not; need and free are in the message.
    """
    free_bytes = shutil.disk_usage(folder).free
    if free_bytes < need_bytes + SPARE_BYTES:
        raise InputError(
            "files.disk-space",
            f"not enough space in '{folder}': {need_bytes + SPARE_BYTES:,} bytes are needed, {free_bytes:,} are free",
            hint="free some space or choose another disk",
        )


@contextlib.contextmanager
def disk_errors(folder: Path) -> Iterator[None]:
    """Turn the system's refusals to write into ours."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise InputError(
                "files.disk-space", f"the disk of '{folder}' is full", hint="free some space and try again"
            ) from error
        raise InputError(
            "files.unwritable", f"cannot write in '{folder}': {os.strerror(error.errno or 0)}", hint="choose another"
        ) from error


def existing_folder(folder: Path) -> Path:
    """`folder`, if it is one.

    Raises:
        InputError(files.missing): it is not there or no folder.
    """
    if not folder.is_dir():
        raise InputError("files.missing", f"there is no folder '{folder}'", hint="create it first")
    return folder


@contextlib.contextmanager
def written_only_if_whole(path: Path) -> Iterator[BinaryIO]:
    """A file to write to, which appears as `path` on success only, synced, and never replaces anything (D6). `name` is its name until then.

    Raises:
        InputError(files.exists): something of that name is there, now or at the end.
        InputError(files.missing, files.disk-space, files.unwritable): the folder or disk says no.
    """
    folder = existing_folder(path.parent)
    if os.path.lexists(path):
        raise exists(path)
    part = folder / f".{path.name[:200]}{PARTIAL}{secrets.token_hex(6)}"
    with disk_errors(folder):
        descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with open(part, "wb", buffering=0, opener=lambda _path, _flags: descriptor) as file:
                yield file
                os.fsync(descriptor)
            _rename_new(part, path)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(part)
        sync_folder(folder)


def _rename_new(part: Path, path: Path) -> None:
    """Rename without replacing. A link is the atomic way; where the disk has none, look and rename."""
    try:
        os.link(part, path)
    except FileExistsError:
        raise exists(path) from None
    except OSError:
        if os.path.lexists(path):
            raise exists(path) from None
        os.rename(part, path)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def exists(path: Path) -> InputError:
    """The refusal to overwrite."""
    return InputError("files.exists", f"'{path}' is already there; nothing is overwritten", hint="choose another name")


def _unreadable(path: Path, error: OSError) -> InputError:
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return InputError("files.missing", f"there is no file or folder '{_shown(path)}'")
    reason = "a link" if error.errno == errno.ELOOP else os.strerror(error.errno or 0)
    return InputError("files.unreadable", f"cannot read '{_shown(path)}': {reason}", hint="check its permissions")


def _shown(path: Path) -> str:
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _changed(inside: str) -> InputError:
    return InputError(
        "files.changed",
        f"'{inside}' changed while it was being sealed",
        hint="wait until nothing writes to it, or copy it first, and publish again",
    )
