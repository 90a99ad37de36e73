"""SQLite files beside a store that can be made again from what they describe.

Source: ipfs/catalogue.py, ipfs/dags.py, ipfs/kubo/notes.py. Promises: a damaged or unreadable file is replaced by an empty one, which its
owner fills again. Not thread-safe; whoever owns it locks. Does not promise: that the last writes outlive a loss of power.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path


def open_derived(path: Path, schema: str, *, whole: bool = False) -> sqlite3.Connection:
    """The database at `path` with the tables of `schema`; `whole` looks through all of it for damage first."""
    try:
        return _open(path, schema, whole)
    except sqlite3.DatabaseError:
        for suffix in ("", "-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        return _open(path, schema, whole)


def _open(path: Path, schema: str, whole: bool) -> sqlite3.Connection:
    db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
    try:
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=NORMAL")
        db.executescript(schema)
        if whole and db.execute("PRAGMA quick_check").fetchone() != ("ok",):
            raise sqlite3.DatabaseError("damaged")
    except sqlite3.DatabaseError:
        db.close()
        raise
    return db
