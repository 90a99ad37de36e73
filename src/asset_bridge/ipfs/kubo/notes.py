"""How far open imports into kubo are, and which deletions were begun: one SQLite file, which may be lost.

Source: ipfs/kubo/store.py, spec/node-http.md §7 (H21a). Promises: a damaged file is replaced by an empty one; open imports are
then begun anew. Not thread-safe; whoever owns it locks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from asset_bridge.ipfs.database import open_derived
from asset_bridge.ipfs.files import disk_errors
from asset_bridge.ipld.cid import Cid

_SCHEMA = """
CREATE TABLE IF NOT EXISTS imports (root BLOB PRIMARY KEY, length INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS blocks (root BLOB, cid BLOB, size INTEGER, block BLOB, PRIMARY KEY (root, cid)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS by_cid ON blocks (cid);
CREATE TABLE IF NOT EXISTS deletions (root BLOB, cid BLOB, PRIMARY KEY (root, cid)) WITHOUT ROWID;
"""
Block = tuple[Cid, int, bytes | None]
"""A block of an import: its name, its size, and its bytes where it is an interior one."""


class Notes:
    """The file `path`."""

    def __init__(self, path: Path) -> None:
        self._db = open_derived(path, _SCHEMA)

    def begin(self, root: Cid, length_bytes: int) -> None:
        """A new import."""
        with disk_errors():
            self._db.execute("INSERT OR REPLACE INTO imports VALUES (?, ?)", (root.to_bytes(), length_bytes))

    def imports(self) -> list[Cid]:
        """Every open import."""
        return [Cid.from_bytes(root) for (root,) in self._db.execute("SELECT root FROM imports").fetchall()]

    def length_of(self, root: Cid) -> int | None:
        """The length of an open import, or None."""
        row = self._db.execute("SELECT length FROM imports WHERE root = ?", (root.to_bytes(),)).fetchone()
        return None if row is None else int(row[0])

    def is_import(self, root: Cid) -> bool:
        """Whether it was begun and not ended."""
        return self.length_of(root) is not None

    def add(self, blocks: Iterable[tuple[Cid, Block]]) -> None:
        """Blocks that are here now, each with its import's root, in one transaction."""
        rows = [(root.to_bytes(), cid.to_bytes(), size, block) for root, (cid, size, block) in blocks]
        with disk_errors(), self._db:
            self._db.execute("BEGIN")
            self._db.executemany("INSERT OR REPLACE INTO blocks VALUES (?, ?, ?, ?)", rows)

    def lose(self, root: Cid, cids: Iterable[Cid]) -> None:
        """Blocks that are not here after all."""
        rows = [(root.to_bytes(), cid.to_bytes()) for cid in cids]
        self._db.executemany("DELETE FROM blocks WHERE root = ? AND cid = ?", rows)

    def has(self, root: Cid, cid: Cid) -> bool:
        """Whether a block of this import is here."""
        names = (root.to_bytes(), cid.to_bytes())
        return self._db.execute("SELECT 1 FROM blocks WHERE root = ? AND cid = ?", names).fetchone() is not None

    def is_wanted(self, cid: Cid) -> bool:
        """Whether any import has this block."""
        return self._db.execute("SELECT 1 FROM blocks WHERE cid = ? LIMIT 1", (cid.to_bytes(),)).fetchone() is not None

    def blocks_of(self, root: Cid) -> Iterator[Block]:
        """The blocks of an import, interior ones first."""
        rows = self._db.execute("SELECT cid, size, block FROM blocks WHERE root = ?", (root.to_bytes(),)).fetchall()
        for raw, size, block in sorted(rows, key=lambda row: row[2] is None):
            yield Cid.from_bytes(raw), size, block

    def forget(self, root: Cid) -> None:
        """The import ended."""
        with self._db:
            self._db.execute("BEGIN")
            self._end(root)

    def begin_deletion(self, root: Cid, cids: Iterable[Cid]) -> None:
        """From now on these blocks are to be deleted, also by the next process."""
        rows = [(root.to_bytes(), cid.to_bytes()) for cid in cids]
        with self._db:
            self._db.execute("BEGIN")
            self._db.executemany("INSERT OR REPLACE INTO deletions VALUES (?, ?)", rows)
            self._end(root)

    def deletions(self) -> list[tuple[Cid, set[Cid]]]:
        """Every deletion that was begun, by root."""
        found: dict[bytes, set[Cid]] = {}
        for root, cid in self._db.execute("SELECT root, cid FROM deletions").fetchall():
            found.setdefault(root, set()).add(Cid.from_bytes(cid))
        return [(Cid.from_bytes(root), cids) for root, cids in found.items()]

    def end_deletion(self, root: Cid) -> None:
        """It is done."""
        self._db.execute("DELETE FROM deletions WHERE root = ?", (root.to_bytes(),))

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def _end(self, root: Cid) -> None:
        self._db.execute("DELETE FROM imports WHERE root = ?", (root.to_bytes(),))
        self._db.execute("DELETE FROM blocks WHERE root = ?", (root.to_bytes(),))
