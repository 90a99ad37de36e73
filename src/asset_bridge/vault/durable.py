"""Small private files, written so that a crash leaves the old content or the new one, never a mixture.

Source: spec/home.md §2. Promises: a file is durable (its bytes and its folder entry are fsynced) when a write returns; it is readable
by its owner only, from its first byte on; a file that others can read is refused. Does not promise: secrecy of the content.
"""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

from asset_bridge.errors import InputError, RefusedError, UnavailableError

MAX_PRIVATE_BYTES = 64 * 1024 * 1024  # larger than any file this room writes; a bigger one was not written by it


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_private_folder(folder: Path) -> None:
    """Create `folder` with mode 0700, durable; one that exists must be ours alone."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=False)
        sync_folder(folder.parent)
    except FileExistsError:
        pass
    except OSError as error:
        raise InputError("vault.cannot-write", f"the folder {folder} cannot be made: {error.strerror}") from None
    require_private(folder)


def require_private(path: Path) -> None:
    """Refuse a file or folder that somebody else can read or change.

    Raises:
        InputError(vault.missing): nothing is there.
        RefusedError(vault.readable-by-others): mode, owner or kind is not what this room writes.
    """
    try:
        found = path.lstat()
    except FileNotFoundError:
        raise InputError("vault.missing", f"{path} does not exist", hint="asset-bridge init") from None
    except OSError as error:
        raise UnavailableError("vault.cannot-read", f"{path} cannot be read: {error.strerror}") from None
    if stat.S_ISLNK(found.st_mode) or not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
        raise RefusedError("vault.readable-by-others", f"{path} is neither a plain file nor a folder")
    if found.st_uid != os.geteuid() or found.st_mode & 0o077:
        mode = "0700" if stat.S_ISDIR(found.st_mode) else "0600"
        raise RefusedError(
            "vault.readable-by-others",
            f"{path} belongs to or can be reached by others (mode {stat.S_IMODE(found.st_mode):04o})",
            hint=f"chmod {mode} {path}, and ask who may have read it",
        )


def read_private(path: Path) -> bytes:
    """The whole of a private file."""
    require_private(path)
    try:
        with path.open("rb") as file:
            content = file.read(MAX_PRIVATE_BYTES + 1)
    except OSError as error:
        raise UnavailableError("vault.cannot-read", f"{path} cannot be read: {error.strerror}") from None
    if len(content) > MAX_PRIVATE_BYTES:
        raise RefusedError("vault.too-large", f"{path} is larger than any file this program writes")
    return content


def write_private(path: Path, content: bytes, *, replace: bool = True) -> None:
    """Write `content` under `path`, mode 0600, whole or not at all, and durable.

    Raises:
        InputError(vault.exists): the name is taken and `replace` is false.
        UnavailableError(vault.cannot-write): the disk said no; the old content is still there.
    """
    temporary = path.with_name(f".{path.name}.new")
    try:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()  # left by a crash; the lock of the home makes us the only writer
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if replace:
            os.replace(temporary, path)
        else:
            os.link(temporary, path)  # fails where the name is taken, unlike a rename
            temporary.unlink()
        sync_folder(path.parent)
    except FileExistsError:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise InputError("vault.exists", f"{path} exists already and is not overwritten") from None
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise UnavailableError(
            "vault.cannot-write", f"{path} cannot be written: {error.strerror}", hint="free some space and run it again"
        ) from None


def erase(path: Path) -> None:
    """Overwrite and remove a private file, durably. A file that is not there is already erased.

    Does not promise: that a journalling or copy-on-write disk keeps no old copy; the period key exists for that (spec/home.md §5).
    """
    try:
        size = path.lstat().st_size
        with path.open("r+b") as file:
            file.write(bytes(size))
            file.flush()
            os.fsync(file.fileno())
        path.unlink()
        sync_folder(path.parent)
    except FileNotFoundError:
        return
    except OSError as error:
        raise UnavailableError("vault.cannot-write", f"{path} cannot be erased: {error.strerror}") from None
