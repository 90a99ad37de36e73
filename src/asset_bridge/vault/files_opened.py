"""Opened members on disk: a new folder that appears whole, under its name, after the last byte verified.

Implements spec/sealed-file.md §8 (rules D4, D8, D9).
Promises: nothing is overwritten; on any failure, Ctrl-C included, nothing is left; files and folders are readable by
their owner only; SHA256SUMS covers every member.
Does not promise: owner, permissions or extended attributes of the originals; a sealed file does not hold them.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from asset_bridge.errors import DefectError
from asset_bridge.sealing.index import Index
from asset_bridge.sealing.open import Opener
from asset_bridge.vault.files import (
    Progress,
    disk_errors,
    exists,
    refuse_name_clash,
    require_free_space,
    sync_folder,
)
from asset_bridge.vault.files_sealed import write_all

SUMS_NAME = "SHA256SUMS"
OWN_PREFIX = "asset-bridge-"
_BLOCK_BYTES = 4096
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


def _write_content(opener: Opener, part: Path, progress: Progress | None) -> dict[str, bytes]:
    """Stream the members into `part`; hashing runs beside writing."""
    for folder in opener.index.empty_folders:
        _make_folders(part, folder)
    digests: dict[str, bytes] = {}
    done_bytes = 0
    with ThreadPoolExecutor(1, thread_name_prefix="hashing") as pool, contextlib.ExitStack() as current:
        number, descriptor, hasher = -1, -1, hashlib.sha256()
        for now, chunk in opener.stream():
            if now != number:
                current.close()
                member = opener.members[now]
                _make_folders(part, os.path.dirname(member.path))
                number, descriptor, hasher = now, os.open(part / member.path, _CREATE, 0o600), hashlib.sha256()
                current.callback(os.close, descriptor)
                current.callback(os.utime, descriptor, (member.modified_at, member.modified_at))
            hashing = pool.submit(hasher.update, chunk)
            _write_to(descriptor, chunk)
            hashing.result()
            digests[opener.members[now].path] = hasher.digest()
            done_bytes += len(chunk)
            if progress is not None:
                progress(done_bytes, opener.content_length_bytes)
    if len(digests) != len(opener.members):
        raise DefectError("files.incomplete", "a member was not written")
    return digests


def _make_folders(part: Path, inside: str) -> None:
    """Folders below `part`, one by one: `makedirs` gives its mode to the last one only."""
    folder = part
    for name in inside.split("/") if inside else ():
        folder = folder / name
        with contextlib.suppress(FileExistsError):
            os.mkdir(folder, 0o700)


def _write_to(descriptor: int, data: memoryview) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


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
