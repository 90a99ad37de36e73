"""What a sealed file holds: paths, sizes, media types and times, in one canonical encoding.

Implements spec/sealed-file.md §4.2 (rules S17 to S23).
Promises: `decode` accepts exactly what `encode` writes; a path that came out of it is relative, has no `..`, no
control character and no place that another member needs as a folder, so it can be joined to a folder.
Does not promise: that two paths differ on a file system that folds case or normalises names; the disk edge looks.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any

import cbor2

from asset_bridge.errors import BridgeError, InputError, TamperedError
from asset_bridge.sealing import cbor

INDEX_VERSION = 1
MAX_INDEX_BYTES = 8 * 1024 * 1024
MAX_ENTRIES = 65_536
MAX_PATH_BYTES = 2_048
MAX_NAME_BYTES = 255
MAX_SIZE_BYTES = 2**44  # 16 TiB, the limit of a body
MAX_TIME = 2**40
DEFAULT_MEDIA_TYPE = "application/octet-stream"
_MEDIA_TYPE = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]{0,63}/[a-z0-9][a-z0-9!#$&^_.+-]{0,63}\Z")
_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f-\x9f\\]")


class Kind(Enum):
    """One file, or a folder of files."""

    FILE = 0
    FOLDER = 1


@dataclass(frozen=True, slots=True)
class MemberSpec:
    """One file: its path inside, size, media type, and modification time in Unix seconds."""

    path: str
    size_bytes: int
    media_type: str = DEFAULT_MEDIA_TYPE
    modified_at: int = 0


@dataclass(frozen=True, slots=True)
class Index:
    """The members in canonical order; make it with `of`, or read it with `decode`."""

    kind: Kind
    members: tuple[MemberSpec, ...]
    empty_folders: tuple[str, ...] = ()

    @classmethod
    def of(cls, kind: Kind, members: Iterable[MemberSpec], empty_folders: Iterable[str] = ()) -> Index:
        """Sort and check what is to be sealed.

        Raises:
            InputError(sealing.path, sealing.index): a path or another field breaks a rule of §4.2.
        """
        index = cls(kind, tuple(sorted(members, key=_order)), tuple(sorted(empty_folders, key=_path_order)))
        _check(index)
        return index

    @property
    def content_length_bytes(self) -> int:
        """Bytes of all members together."""
        return sum(member.size_bytes for member in self.members)

    def encode(self) -> bytes:
        """Canonical CBOR.

        Raises:
            InputError(sealing.index): longer than MAX_INDEX_BYTES.
        """
        rows = [(_order(m), [m.path, m.size_bytes, m.media_type, m.modified_at]) for m in self.members]
        rows += [(_path_order(path), [path]) for path in self.empty_folders]
        rows.sort(key=lambda row: row[0])
        encoded: bytes = cbor2.dumps([INDEX_VERSION, self.kind.value, [row for _, row in rows]], canonical=True)
        if len(encoded) > MAX_INDEX_BYTES:
            raise _bad("the index is too long", hint="publish the folder in parts")
        return encoded

    @classmethod
    def decode(cls, encoded: bytes) -> Index:
        """Read an index that a file key has opened; its author is still a stranger.

        Raises:
            TamperedError(sealing.path): a member's path could lead out of its folder or meets another member.
            TamperedError(sealing.index): anything else than a canonical index.
        """
        encoded = bytes(encoded)
        try:
            if len(encoded) > MAX_INDEX_BYTES:
                raise _bad("it is too long")
            index = cls._from_items(cbor.decode(encoded))
            _check(index)
            if index.encode() != encoded:
                raise _bad("it is not in its canonical form")
        except InputError as error:
            raise TamperedError(error.code, error.message, actor="provider") from None
        return index

    @classmethod
    def _from_items(cls, items: Any) -> Index:
        if (
            type(items) is not list
            or len(items) != 3
            or items[:2] not in ([1, 0], [1, 1])
            or type(items[2]) is not list
        ):
            raise _bad("it is no index of version 1")
        members, folders = [], []
        for row in items[2]:
            kinds = [type(field) for field in row] if type(row) is list else []
            if kinds == [str, int, str, int]:
                members.append(MemberSpec(*row))
            elif kinds == [str]:
                folders.append(row[0])
            else:
                raise _bad("an entry has the wrong fields")
        return cls(Kind(items[1]), tuple(members), tuple(folders))


def _check(index: Index) -> None:
    if len(index.members) + len(index.empty_folders) > MAX_ENTRIES:
        raise _bad(f"a sealed folder holds at most {MAX_ENTRIES} entries", hint="publish the folder in parts")
    if index.kind is Kind.FILE and (len(index.members) != 1 or index.empty_folders or "/" in index.members[0].path):
        raise _bad("a single file is one member without a folder")
    for member in index.members:
        if not 0 <= member.size_bytes <= MAX_SIZE_BYTES:
            raise _bad("a size is out of bounds")
        if not 0 <= member.modified_at < MAX_TIME:
            raise _bad("a modification time is out of bounds")
        if not _MEDIA_TYPE.match(member.media_type):
            raise _bad("a media type is malformed")
    paths = [member.path for member in index.members] + list(index.empty_folders)
    for path in paths:
        check_path(path)
    # In folder order whatever lies under a path comes right behind it, so neighbours show every clash (S22).
    ordered = sorted(paths, key=_path_order)
    for before, after in itertools.pairwise(ordered):
        if before == after or after.startswith(before + "/"):
            raise _unsafe("two members need the same place")


def check_path(path: str) -> None:
    """Rule S21 for one path.

    Raises:
        InputError(sealing.path): it breaks the rule.
    """
    try:
        encoded = path.encode("utf-8")
    except UnicodeEncodeError:
        raise _unsafe("a name is not valid UTF-8") from None
    if not 1 <= len(encoded) <= MAX_PATH_BYTES:
        raise _unsafe(f"a path is empty or longer than {MAX_PATH_BYTES} bytes")
    if _FORBIDDEN.search(path):
        raise _unsafe("a name holds a control character or a backslash")
    for name in path.split("/"):
        if name in ("", ".", ".."):
            raise _unsafe("a path is absolute, ends in a slash, or has an empty part, '.' or '..'")
        if len(name.encode("utf-8")) > MAX_NAME_BYTES:
            raise _unsafe(f"a name is longer than {MAX_NAME_BYTES} bytes")


def _path_order(path: str) -> bytes:
    """Folder order: compare byte by byte with the slash before every other byte. Odd names sort somewhere, too."""
    return path.encode("utf-8", "surrogatepass").replace(b"/", b"\x00")


def _order(member: MemberSpec) -> bytes:
    return _path_order(member.path)


def _bad(why: str, *, hint: str = "") -> BridgeError:
    return InputError("sealing.index", f"the index of the sealed file is malformed: {why}", hint=hint)


def _unsafe(why: str) -> BridgeError:
    return InputError("sealing.path", f"a member's path is refused: {why}", hint="rename it")
