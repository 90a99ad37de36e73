"""Opened members on disk: a new folder that appears whole, under its name, after the last byte verified.

Implements spec/sealed-file.md §8 (rules D4, D8, D9).
Promises: nothing is overwritten; on any failure, Ctrl-C included, nothing is left; files and folders are readable by
their owner only; SHA256SUMS covers every member.
Does not promise: owner, permissions or extended attributes of the originals; a sealed file does not hold them.
"""

from __future__ import annotations

import bisect
import contextlib
import hashlib
import itertools
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from asset_bridge.errors import InputError
from asset_bridge.sealing.index import Index
from asset_bridge.sealing.open import Opener
from asset_bridge.vault.files import (
    Progress,
    disk_errors,
    existing_folder,
    exists,
    refuse_name_clash,
    require_free_space,
    sync_folder,
    written_only_if_whole,
)
from asset_bridge.vault.files_sealed import told_by_threads, write_all, write_all_at
from asset_bridge.vault.passing import Passing, crowds_memory, passing_each

SUMS_NAME = "SHA256SUMS"
OWN_PREFIX = "asset-bridge-"
_BLOCK_BYTES = 4096
_WRITE = os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Written:
    """What `write_members` made. `sums_path` and `extra_paths` differ from the plain names where a member has them."""

    out_dir: Path
    files: int
    content_bytes: int
    sums_path: Path
    extra_paths: tuple[Path, ...]
    digests: Mapping[str, bytes]


def write_members(
    opener: Opener,
    out_dir: Path,
    *,
    extra_files: Mapping[str, bytes] | None = None,
    progress: Progress | None = None,
) -> Written:
    """Write every member below the new folder `out_dir`, with times and SHA256SUMS.

    Args:
        extra_files: further files of ours beside the members, by plain name.
        progress: called with content bytes done and in all.
    Raises:
        InputError(files.exists): `out_dir` is there and not an empty folder.
        InputError(files.disk-space, files.unwritable, files.name-clash): it cannot be written here.
        TamperedError(sealing.*): a byte does not verify; nothing is left.
    """
    extra_files = extra_files or {}
    index = opener.index
    refuse_name_clash([member.path for member in index.members] + list(index.empty_folders))
    _require_new(out_dir)
    with _new_parents(out_dir.parent), disk_errors(out_dir.parent):
        require_free_space(out_dir.parent, _need_bytes(index, extra_files))
        part = out_dir.parent / f".{out_dir.name[:200]}.partial-{secrets.token_hex(6)}"
        os.mkdir(part, 0o700)
        try:
            digests = _write_content(opener, part, progress)
            names = _own_names(index, [SUMS_NAME, *extra_files])
            sums = "".join(f"{digest.hex()}  {path}\n" for path, digest in digests.items()).encode("utf-8")
            for name, data in zip(names, [sums, *extra_files.values()], strict=True):
                _write_file(part / name, data)
            os.sync()  # one call for any number of files; each by itself would cost a journal write a file
            _require_new(out_dir)
            os.rename(part, out_dir)
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise
        sync_folder(out_dir.parent)
    paths = tuple(out_dir / name for name in names)
    return Written(out_dir, len(index.members), index.content_length_bytes, paths[0], paths[1:], digests)


def write_member(
    opener: Opener,
    path: str,
    out: Path,
    *,
    start: int = 0,
    end: int | None = None,
    progress: Progress | None = None,
) -> int:
    """Write one member, or its bytes [start, end), as the new file `out`; only the segments that hold them are read.

    Returns the bytes written.

    Raises:
        InputError(sealing.no-member, sealing.range): no such member or range.
        InputError(files.exists, files.missing, files.disk-space, files.unwritable): it cannot be written here.
        TamperedError(sealing.*): a byte does not verify; nothing is left.
    """
    number = opener.member_number(path)
    members = opener.members
    end = members[number].size_bytes if end is None else end
    if not 0 <= start <= end <= members[number].size_bytes:
        raise InputError("sealing.range", f"a range must lie within the member's {members[number].size_bytes} bytes")
    base = sum(member.size_bytes for member in members[:number])
    told = told_by_threads(progress, end - start)
    require_free_space(existing_folder(out.parent), end - start)
    passing = Passing(crowds_memory(2 * (end - start)))
    with written_only_if_whole(out) as file:
        descriptor = file.fileno()

        def take(offset: int, content: memoryview) -> None:
            write_all_at(descriptor, content, offset - base - start)
            passing.passed(descriptor, offset - base - start, len(content))
            told(len(content))

        opener.scatter(take, start=base + start, end=base + end)
    return end - start


def _write_content(opener: Opener, part: Path, progress: Progress | None) -> dict[str, bytes]:
    """Make every file, then let all cores write at their own offsets; hashing follows in the order of the bytes."""
    members = opener.members
    starts = list(itertools.accumulate((member.size_bytes for member in members), initial=0))
    made = {""}
    for folder in (*opener.index.empty_folders, *(os.path.dirname(member.path) for member in members)):
        if folder not in made:
            _make_folders(part, folder)
            made.add(folder)
    for member in members:
        os.close(os.open(part / member.path, _CREATE, 0o600))
    told = told_by_threads(progress, opener.content_length_bytes)
    hashers = [hashlib.sha256() for _ in members]
    passing = passing_each([member.size_bytes for member in members])

    def pieces(offset: int, content: memoryview) -> Iterator[tuple[int, int, memoryview]]:
        """Member, place in it, bytes."""
        number = bisect.bisect_right(starts, offset) - 1
        while content:
            piece = content[: starts[number + 1] - offset]
            if piece:
                yield number, offset - starts[number], piece
            offset, content, number = offset + len(piece), content[len(piece) :], number + 1

    def take(offset: int, content: memoryview) -> None:
        for number, at, piece in pieces(offset, content):
            descriptor = os.open(part / members[number].path, _WRITE)
            try:
                write_all_at(descriptor, piece, at)
                if number in passing:
                    passing[number].passed(descriptor, at, len(piece))
            finally:
                os.close(descriptor)
            if len(piece) == members[number].size_bytes:
                hashers[number].update(piece)
        told(len(content))

    def in_order(offset: int, content: memoryview) -> None:
        for number, _, piece in pieces(offset, content):
            if len(piece) < members[number].size_bytes:
                hashers[number].update(piece)

    opener.scatter(take, in_order)
    for member in members:
        os.utime(part / member.path, (member.modified_at, member.modified_at), follow_symlinks=False)
    return {member.path: hasher.digest() for member, hasher in zip(members, hashers, strict=True)}


def _make_folders(part: Path, inside: str) -> None:
    """Folders below `part`, one by one: `makedirs` gives its mode to the last one only."""
    folder = part
    for name in inside.split("/") if inside else ():
        folder = folder / name
        with contextlib.suppress(FileExistsError):
            os.mkdir(folder, 0o700)


def _write_file(path: Path, data: bytes) -> None:
    with open(os.open(path, _CREATE, 0o600), "wb", buffering=0) as file:
        write_all(file, data)


def _own_names(index: Index, names: list[str]) -> list[str]:
    """Our files' names; where a member or folder at the top has one, ours gets a prefix until it is free."""
    paths = [member.path for member in index.members] + list(index.empty_folders)
    taken = {path.split("/", 1)[0].casefold() for path in paths}
    own = []
    for name in names:
        while name.casefold() in taken:
            name = OWN_PREFIX + name
        taken.add(name.casefold())
        own.append(name)
    return own


def _need_bytes(index: Index, extra_files: Mapping[str, bytes]) -> int:
    """Disk space, each file rounded up to a block, sums and names included."""
    sizes = [member.size_bytes + 2 * _BLOCK_BYTES + len(member.path) for member in index.members]
    sizes += [len(data) + 2 * _BLOCK_BYTES for data in extra_files.values()]
    return sum(sizes)


def _require_new(out_dir: Path) -> None:
    if os.path.lexists(out_dir) and (out_dir.is_symlink() or not out_dir.is_dir() or any(out_dir.iterdir())):
        raise exists(out_dir)


@contextlib.contextmanager
def _new_parents(folder: Path) -> Iterator[None]:
    """Make missing folders above the output, and take them away again on failure."""
    made: list[Path] = []
    try:
        with disk_errors(folder):
            for parent in [*reversed(folder.parents), folder]:
                if not parent.exists():
                    parent.mkdir()
                    made.append(parent)
        yield
    except BaseException:
        for parent in reversed(made):
            with contextlib.suppress(OSError):
                parent.rmdir()
        raise
