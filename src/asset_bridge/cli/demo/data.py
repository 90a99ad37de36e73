"""The data of the demonstration: looked at before anything is made, and compared with what came out at the end.

Promises: a socket, a pipe, an unreadable or missing file and a disk that is too small are refused before the first byte is written.
The comparison reads every byte of both sides, in pieces.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from asset_bridge.client.demo_data import generate
from asset_bridge.errors import InputError
from asset_bridge.vault.files import Source, require_free_space, walk

GENERATED_BYTES = 40_000_000
COPIES = 6
"""Of the data on this disk at the most, padding included: three replicas, the ciphertext of provider or consumer, the opened files."""
SPARE_BYTES = 700_000_000
"""Chain, nodes, logs, and what each storage node keeps free (64 MiB, twice for its health)."""
_PIECE_BYTES = 1 << 20
_OURS = ("SHA256SUMS", "TERMS.txt", "provenance.json")
_OUR_PREFIX = "asset-bridge-"


@dataclass(frozen=True, slots=True)
class Compared:
    """What the comparison found: files and bytes that are the same, and sentences about what is not."""

    files: int
    compared_bytes: int
    differences: tuple[str, ...]


def check(data: Path | None, folder: Path) -> None:
    """Refuse what cannot be demonstrated, before anything is made.

    Raises:
        InputError(files.*): what `walk` says of the data; not enough room.
        InputError(demo.folder): the folder is there already, or lies inside the data.
    """
    if os.path.lexists(folder):
        raise InputError(
            "demo.folder",
            f"'{folder}' is there already; nothing is overwritten",
            hint="name a new folder with --folder",
        )
    parent = next(place for place in folder.absolute().parents if place.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        raise InputError("demo.folder", f"nothing can be made in '{parent}'", hint="name another folder with --folder")
    size_bytes = GENERATED_BYTES
    if data is not None:
        size_bytes = walk(data).content_length_bytes
        if data.resolve() in (folder.resolve(), *folder.resolve().parents):
            raise InputError(
                "demo.folder",
                f"the demonstration's folder '{folder}' would lie inside the data",
                hint="name a folder elsewhere with --folder",
            )
    require_free_space(parent, COPIES * size_bytes + SPARE_BYTES)


def make_default(folder: Path) -> str:
    """Write the synthetic patients; returns a sentence about them."""
    made = generate(folder)
    kinds = ", ".join(f"{count} {name}" for name, count in made.resources.items())
    return f"{made.files} files, {made.total_bytes / 1e6:.1f} MB: {kinds}; laboratory table; DICOM images"


def describe(source: Source) -> str:
    """A sentence about data of one's own, without a name in it."""
    count = len(source.index.members)
    return f"{count} file{'' if count == 1 else 's'}, {source.content_length_bytes:,} bytes"


def compare(original: Path, opened: Path) -> Compared:
    """Every file of `original` against the opened folder: bytes, names, times, empty folders; and nothing else is there."""
    differences: list[str] = []
    files = compared = 0
    expected: set[str] = set()
    source = walk(original)
    single = not stat.S_ISDIR(os.stat(original).st_mode)
    for member in source.index.members:
        expected.add(member.path)
        there = original if single else original / member.path
        problem, size_bytes = _compare_file(there, opened / member.path)
        if problem:
            differences.append(f"{member.path}: {problem}")
        else:
            files, compared = files + 1, compared + size_bytes
    empty = set(source.index.empty_folders)
    differences += [f"{name}: the empty folder is missing" for name in empty if not (opened / name).is_dir()]
    for path in opened.rglob("*"):
        inside = path.relative_to(opened).as_posix()
        if path.is_file() and inside not in expected and not _ours(inside):
            differences.append(f"{inside}: was not in the original")
        elif path.is_dir() and not any(path.iterdir()) and inside not in empty:
            differences.append(f"{inside}: an empty folder that was not in the original")
    return Compared(files, compared, tuple(differences))


def _ours(inside: str) -> bool:
    while inside.startswith(_OUR_PREFIX):
        inside = inside.removeprefix(_OUR_PREFIX)
    return inside in _OURS


def _compare_file(original: Path, opened: Path) -> tuple[str, int]:
    try:
        with original.open("rb") as left, opened.open("rb") as right:
            compared = 0
            while True:
                one, other = left.read(_PIECE_BYTES), right.read(_PIECE_BYTES)
                if one != other:
                    return f"differs behind byte {compared}", compared
                if not one:
                    break
                compared += len(one)
            before, after = os.fstat(left.fileno()).st_mtime, os.fstat(right.fileno()).st_mtime
    except OSError as error:
        return f"cannot be read: {error.strerror}", 0
    if int(before) != int(after) and before >= 0:
        return "has another time", compared
    return "", compared
