"""Any other DAG beside the bodies: each imported archive one CAR file, and a SQLite index that finds blocks by multihash.

Source: design §6, spec/node-http.md §7.1. Layout: `dags/<sha2-256 of the file>.car`, `dags/*.part` while one is written, and
`dags.sqlite` beside it (derived; may be deleted).
Promises: an archive is here whole or not at all (temporary file, fsync, rename, fsync of the folder); its blocks are hashed when
they come and again each time they are read; another process may import into the folder of a running node, which finds the
blocks when they are asked for.
Does not promise: that a DAG is complete; an archive may hold a part of one on purpose.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import secrets
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from asset_bridge.errors import TamperedError
from asset_bridge.ipfs.database import open_derived
from asset_bridge.ipfs.files import disk_errors, fsync_path
from asset_bridge.ipfs.memory import disk_full
from asset_bridge.ipld.any_car import MAX_CID_BYTES, archive_header, read_archive, roots_of, section, section_name
from asset_bridge.ipld.content_id import ContentId

_LOOK_AGAIN_BYTES = 16 * 1024 * 1024
_SCHEMA = """
CREATE TABLE IF NOT EXISTS archives (id INTEGER PRIMARY KEY, name TEXT UNIQUE NOT NULL, roots TEXT, bytes INTEGER, blocks INTEGER);
CREATE TABLE IF NOT EXISTS blocks
  (multihash BLOB, archive INTEGER, at INTEGER, size INTEGER, PRIMARY KEY (multihash, archive)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS blocks_of ON blocks (archive);
"""


@dataclass(frozen=True, slots=True)
class Archive:
    """One imported archive."""

    name: str
    roots: tuple[ContentId, ...]
    length_bytes: int
    blocks: int


def import_archive(
    folder: Path, read: Callable[[int], bytes], *, free_bytes: Callable[[], int] | None = None
) -> tuple[str, tuple[ContentId, ...]]:
    """Check an archive block by block and keep it under `folder`/dags; returns its name and roots. A node need not run for it.

    Args:
        free_bytes: room for it, asked while it comes; None asks the disk.
    Raises:
        TamperedError(ipld.car | ipld.block): nothing is kept. UnavailableError(ipfs.disk-full | ipfs.disk): nothing is kept.
    """
    place = folder / "dags"
    free = free_bytes or (lambda: shutil.disk_usage(place).free)
    with disk_errors():
        place.mkdir(parents=True, exist_ok=True)
        part = place / f"{secrets.token_hex(8)}.part"
        try:
            with open(part, "xb") as out:
                fcntl.flock(out, fcntl.LOCK_EX | fcntl.LOCK_NB)  # a start removes parts that nobody writes
                roots, blocks = read_archive(read)
                digest = hashlib.sha256()
                looked_at = -_LOOK_AGAIN_BYTES
                for piece in _pieces(roots, blocks):
                    if out.tell() - looked_at >= _LOOK_AGAIN_BYTES:
                        looked_at = out.tell()
                        if free() < len(piece):
                            raise disk_full(len(piece), free())
                    digest.update(piece)
                    out.write(piece)
                out.flush()
                os.fsync(out.fileno())
                name = digest.hexdigest()
                os.rename(part, place / f"{name}.car")
            fsync_path(place)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
    return name, roots


def _pieces(roots: tuple[ContentId, ...], blocks: Iterator[tuple[ContentId, bytes]]) -> Iterator[bytes]:
    yield archive_header(roots)
    for cid, block in blocks:
        if cid.inline is None:
            yield section(cid, block)


class DagStore:
    """The archives under `folder`, indexed. One process has it open; see `import_archive` for others."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._place = folder, folder / "dags"
        self._lock = threading.RLock()
        self._seen_ns = -1
        self._place.mkdir(parents=True, exist_ok=True)
        for part in self._place.glob("*.part"):
            with contextlib.suppress(OSError), open(part, "rb") as left:
                fcntl.flock(left, fcntl.LOCK_EX | fcntl.LOCK_NB)
                part.unlink()
        self._db = open_derived(folder / "dags.sqlite", _SCHEMA)
        self._sync()

    def get(self, cid: ContentId) -> bytes | None:
        """A block by its multihash, or None. Raises TamperedError(ipld.block): every copy here is damaged."""
        rows = self._rows(cid.multihash)
        damaged: TamperedError | None = None
        for name, at, size in rows:
            try:
                descriptor = os.open(self._place / name, os.O_RDONLY)
            except FileNotFoundError:
                continue
            try:
                block = os.pread(descriptor, size, at)
            finally:
                os.close(descriptor)
            try:
                cid.verify(block)
            except TamperedError as error:
                damaged = error
                continue
            return block
        if damaged is not None:
            raise damaged
        return None

    def size(self, cid: ContentId) -> int | None:
        """Bytes of a block, without reading it, or None."""
        rows = self._rows(cid.multihash)
        return int(rows[0][2]) if rows else None

    def archives(self) -> tuple[Archive, ...]:
        """All archives, by name."""
        with self._lock:
            self._sync()
            rows = self._db.execute("SELECT name, roots, bytes, blocks FROM archives ORDER BY name").fetchall()
        return tuple(
            Archive(name, tuple(ContentId.parse(text) for text in roots.split()), length, blocks)
            for name, roots, length, blocks in rows
        )

    def add(self, read: Callable[[int], bytes], free_bytes: Callable[[], int]) -> Archive:
        """Import an archive from a stream. Raises as `import_archive`."""
        name, _roots = import_archive(self._folder, read, free_bytes=free_bytes)
        return next(one for one in self.archives() if one.name == name)

    def remove(self, name: str) -> bool:
        """Delete an archive; False when it is not here."""
        if name not in {one.name for one in self.archives()}:
            return False
        with self._lock:
            (self._place / f"{name}.car").unlink(missing_ok=True)
            fsync_path(self._place)
            self._sync()
        return True

    def close(self) -> None:
        """Close the index."""
        with self._lock:
            self._db.close()

    # --- inside -------------------------------------------------------------------------------------------------------------

    def _rows(self, multihash: bytes) -> list[tuple[str, int, int]]:
        with self._lock:
            for again in (False, True):
                rows = self._db.execute(
                    "SELECT a.name, b.at, b.size FROM blocks b JOIN archives a ON a.id = b.archive WHERE b.multihash = ?",
                    (multihash,),
                ).fetchall()
                if rows or again or not self._sync():
                    break
        return [(f"{name}.car", at, size) for name, at, size in rows]

    def _sync(self) -> bool:
        """Bring the index up to the folder; True when it had changed."""
        with self._lock:
            now_ns = self._place.stat().st_mtime_ns
            if now_ns == self._seen_ns:
                return False
            here = {path.stem: path for path in self._place.glob("*.car")}
            known = {name: number for number, name in self._db.execute("SELECT id, name FROM archives")}
            for name in known.keys() - here.keys():
                self._forget(known[name])
            for name in sorted(here.keys() - known.keys()):
                with contextlib.suppress(TamperedError, FileNotFoundError):
                    self._index(name, here[name])
            self._seen_ns = now_ns
            return True

    def _forget(self, number: int) -> None:
        with self._db:
            self._db.execute("BEGIN")
            self._db.execute("DELETE FROM blocks WHERE archive = ?", (number,))
            self._db.execute("DELETE FROM archives WHERE id = ?", (number,))

    def _index(self, name: str, path: Path) -> None:
        """Read the sections' heads; the blocks are hashed when they are read."""
        with open(path, "rb") as car, self._db:
            self._db.execute("BEGIN")
            header_at, header_bytes = _head(car.read(10))
            car.seek(header_at)
            roots = roots_of(car.read(header_bytes))
            length = path.stat().st_size
            text = " ".join(str(root) for root in roots)
            archive = self._db.execute(
                "INSERT INTO archives (name, roots, bytes) VALUES (?, ?, ?)", (name, text, length)
            ).lastrowid
            at, blocks = header_at + header_bytes, 0
            while at < length:
                car.seek(at)
                start = car.read(10 + MAX_CID_BYTES)
                skip, size = _head(start)
                cid, name_bytes = section_name(start[skip : skip + size])
                row = (cid.multihash, archive, at + skip + name_bytes, size - name_bytes)
                self._db.execute("INSERT OR IGNORE INTO blocks VALUES (?, ?, ?, ?)", row)
                at, blocks = at + skip + size, blocks + 1
            self._db.execute("UPDATE archives SET blocks = ? WHERE id = ?", (blocks, archive))


def _head(start: bytes) -> tuple[int, int]:
    """Bytes of a section's length prefix, and the length."""
    value = 0
    for place, byte in enumerate(start[:9]):
        value |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            return place + 1, value
    raise TamperedError("ipld.car", "the block archive is malformed: a length has no end", actor="operator")
