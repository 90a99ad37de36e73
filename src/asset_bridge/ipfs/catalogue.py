"""Where each block of the embedded store is: a SQLite file that can be rebuilt from the bodies' index files.

Source: ipfs/embedded.py. Promises: a damaged or unreadable file is replaced by an empty one, which its owner fills again.
"""

from __future__ import annotations

import threading
from pathlib import Path

from asset_bridge.ipfs.database import open_derived
from asset_bridge.ipld.cid import DAG_PB, RAW, Cid
from asset_bridge.ipld.unixfs import FileDag

_SCHEMA = """
CREATE TABLE IF NOT EXISTS bodies (id INTEGER PRIMARY KEY, root BLOB UNIQUE NOT NULL, length INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS leaves
  (digest BLOB, body INTEGER, number INTEGER, size INTEGER, PRIMARY KEY (digest, body, number)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS interior
  (digest BLOB, body INTEGER, block BLOB, PRIMARY KEY (digest, body)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS leaves_of ON leaves (body);
CREATE INDEX IF NOT EXISTS interior_of ON interior (body);
"""


class Catalogue:
    """Blocks by digest, in the file `path`."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._db = open_derived(path, _SCHEMA, whole=True)

    def bodies(self) -> list[tuple[Cid, int]]:
        """Root and length of each body."""
        with self._lock:
            rows = self._db.execute("SELECT root, length FROM bodies").fetchall()
        return [(Cid.from_bytes(root), length) for root, length in rows]

    def length_of(self, root: Cid) -> int | None:
        """The body's length, or None when it is not here."""
        with self._lock:
            row = self._db.execute("SELECT length FROM bodies WHERE root = ?", (root.to_bytes(),)).fetchone()
        return None if row is None else int(row[0])

    def leaves(self, cid: Cid) -> list[tuple[Cid, int, int]]:
        """(root, leaf number, size) of every place of a leaf."""
        with self._lock:
            rows = self._db.execute(
                "SELECT b.root, l.number, l.size FROM leaves l JOIN bodies b ON b.id = l.body WHERE l.digest = ?",
                (cid.digest,),
            ).fetchall()
        return [(Cid.from_bytes(root), number, size) for root, number, size in rows]

    def interior(self, cid: Cid) -> bytes | None:
        """An interior block, unverified."""
        with self._lock:
            row = self._db.execute("SELECT block FROM interior WHERE digest = ?", (cid.digest,)).fetchone()
        return None if row is None else bytes(row[0])

    def cids_of(self, root: Cid) -> list[Cid]:
        """Every block of a body, once; nothing when it is not here."""
        with self._lock:
            rows = self._db.execute("SELECT id FROM bodies WHERE root = ?", (root.to_bytes(),)).fetchall()
            leaves, interior = (
                self._db.execute(f"SELECT DISTINCT digest FROM {table} WHERE body = ?", rows[0]).fetchall()  # noqa: S608
                if rows
                else []
                for table in ("leaves", "interior")
            )
        return [Cid(RAW, digest) for (digest,) in leaves] + [Cid(DAG_PB, digest) for (digest,) in interior]

    def add(self, dag: FileDag) -> None:
        """Add a finished body."""
        with self._lock, self._db:
            self._db.execute("BEGIN")
            cursor = self._db.execute(
                "INSERT INTO bodies (root, length) VALUES (?, ?)", (dag.root.to_bytes(), dag.length_bytes)
            )
            body = cursor.lastrowid
            self._db.executemany(
                "INSERT INTO leaves VALUES (?, ?, ?, ?)",
                (
                    (leaf.digest, body, number, dag.leaf_size(number))
                    for number, leaf in enumerate(dag.leaves)
                    if leaf.codec == RAW
                ),
            )
            self._db.executemany(
                "INSERT INTO interior VALUES (?, ?, ?)",
                ((cid.digest, body, block) for cid, block in dag.interior.items()),
            )

    def remove(self, root: Cid) -> None:
        """Forget a body."""
        with self._lock, self._db:
            self._db.execute("BEGIN")
            row = self._db.execute("SELECT id FROM bodies WHERE root = ?", (root.to_bytes(),)).fetchone()
            if row is not None:
                for statement in ("DELETE FROM leaves WHERE body = ?", "DELETE FROM interior WHERE body = ?"):
                    self._db.execute(statement, row)
                self._db.execute("DELETE FROM bodies WHERE id = ?", row)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()
