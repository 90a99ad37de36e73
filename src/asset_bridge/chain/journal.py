"""What this account has promised to send: written and fsynced before the first byte leaves.

Source: reliability N3 and §4 (SQLite, WAL, synchronous=FULL, one writer), spec/chain.md §4. One file per account and chain.
Promises: a nonce is given to one intent only, also with several threads or processes on one file; every signed transaction is
on disk before it is sent, so a crash, a lost answer or a restart finds it by hash and nonce.
Does not promise: to know transactions that another wallet sent from the same account; the sender finds those by nonce.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asset_bridge.errors import InputError, UnavailableError

SCHEMA_VERSION = 1
_SCHEMA = """
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE intents (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    key BLOB NOT NULL,              -- idempotency key: digest of contract, call data and value
    verb TEXT NOT NULL,
    to_address TEXT NOT NULL,
    data BLOB NOT NULL,
    value_wei TEXT NOT NULL,
    gas_limit INTEGER NOT NULL,
    nonce INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('pending', 'mined', 'reverted', 'displaced')),
    answered INTEGER NOT NULL DEFAULT 0,   -- 1 once the caller was told the result
    written_at INTEGER NOT NULL
) STRICT;
CREATE INDEX intents_by_key ON intents (key, id);
CREATE UNIQUE INDEX one_intent_per_nonce ON intents (nonce) WHERE state != 'displaced';
CREATE TABLE attempts (
    hash BLOB PRIMARY KEY,
    intent INTEGER NOT NULL REFERENCES intents (id),
    raw BLOB NOT NULL,
    max_fee_wei TEXT NOT NULL,
    tip_wei TEXT NOT NULL,
    signed_at INTEGER NOT NULL
) STRICT;
CREATE INDEX attempts_by_intent ON attempts (intent);
"""


@dataclass(frozen=True, slots=True)
class Intent:
    """One promised transaction: whatever attempt gets into a block, the nonce lets only one."""

    id: int
    key: bytes
    verb: str
    to: str
    data: bytes
    value_wei: int
    gas_limit: int
    nonce: int
    state: str
    answered: bool
    written_at: int


@dataclass(frozen=True, slots=True)
class Attempt:
    """One signed form of an intent (a fee bump makes another)."""

    hash: bytes
    raw: bytes
    max_fee_wei: int
    tip_wei: int
    signed_at: int


class Journal:
    """The journal file of one account on one chain."""

    def __init__(self, path: Path, *, chain_id: int, address: str) -> None:
        """Open or make the file.

        Raises:
            InputError(chain.journal-owner): the file belongs to another account or chain.
            UnavailableError(chain.journal): it cannot be opened, read or written.
        """
        self.path = path
        self._lock = threading.RLock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.execute("PRAGMA foreign_keys=ON")
            self._open(chain_id, address)
            path.chmod(0o600)
        except (sqlite3.Error, OSError) as error:
            raise self._failed() from error

    def _open(self, chain_id: int, address: str) -> None:
        facts = {"version": str(SCHEMA_VERSION), "chain_id": str(chain_id), "address": address}
        with self._writing():
            made = self._db.execute("SELECT 1 FROM sqlite_master WHERE name = 'facts'").fetchone()
            if made is None:
                for statement in _SCHEMA.split(";\n"):
                    if statement.strip():
                        self._db.execute(statement)
                self._db.executemany("INSERT INTO facts VALUES (?, ?)", facts.items())
            elif dict(self._db.execute("SELECT name, value FROM facts").fetchall()) != facts:
                raise InputError(
                    "chain.journal-owner",
                    "The transaction journal belongs to another account, chain or version.",
                    hint="use the journal of this account, or a new file",
                )

    def _failed(self) -> UnavailableError:
        return UnavailableError(
            "chain.journal",
            f"The transaction journal {self.path.name} cannot be read or written, so nothing is sent.",
            hint="check the disk; the file must not be deleted while a transaction is pending",
        )

    @contextmanager
    def _writing(self) -> Iterator[None]:
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    # ── writing ──
    def begin(
        self,
        *,
        key: bytes,
        verb: str,
        to: str,
        data: bytes,
        value_wei: int,
        gas_limit: int,
        chain_nonce: int,
        now_at: int,
        once: bool,
        sign: Callable[[int], Attempt],
    ) -> Intent:
        """The open intent for `key`, or a new one with the next nonce, signed and on disk when this returns.

        `chain_nonce` is the count of this account's transactions in blocks. A finished intent is returned again when `once`
        (it can happen only once) or when nobody was told its result yet; after a revert or a displacement it starts anew.
        """
        try:
            with self._writing():
                row = self._db.execute(f"{_SELECT} WHERE key = ? ORDER BY id DESC LIMIT 1", (key,)).fetchone()
                if row is not None:
                    intent = _intent(row)
                    if intent.state == "pending" or (intent.state == "mined" and (once or not intent.answered)):
                        return intent
                taken = self._db.execute("SELECT max(nonce) FROM intents WHERE state = 'pending'").fetchone()[0]
                nonce = max(chain_nonce, -1 if taken is None else taken + 1)
                attempt = sign(nonce)
                # an older intent at this nonce is no longer in a block (a reorg removed it); the nonce is free again
                self._db.execute(
                    "UPDATE intents SET state = 'displaced' WHERE nonce = ? AND state != 'displaced'", (nonce,)
                )
                cursor = self._db.execute(
                    "INSERT INTO intents (key, verb, to_address, data, value_wei, gas_limit, nonce, state, written_at)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?, 'pending', ?)",
                    (key, verb, to, data, str(value_wei), gas_limit, nonce, now_at),
                )
                assert cursor.lastrowid is not None
                self._add(cursor.lastrowid, attempt)
                return _intent(self._db.execute(f"{_SELECT} WHERE id = ?", (cursor.lastrowid,)).fetchone())
        except sqlite3.Error as error:
            raise self._failed() from error

    def _add(self, intent: int, attempt: Attempt) -> None:
        self._db.execute(
            "INSERT OR IGNORE INTO attempts VALUES (?, ?, ?, ?, ?, ?)",
            (attempt.hash, intent, attempt.raw, str(attempt.max_fee_wei), str(attempt.tip_wei), attempt.signed_at),
        )

    def add_attempt(self, intent: Intent, attempt: Attempt) -> None:
        """Write a further attempt (a fee bump) of an intent."""
        try:
            with self._writing():
                self._add(intent.id, attempt)
        except sqlite3.Error as error:
            raise self._failed() from error

    def set_state(self, intent: Intent, state: str, *, answered: bool = False) -> None:
        """Record what became of an intent."""
        try:
            with self._writing():
                self._db.execute(
                    "UPDATE intents SET state = ?, answered = max(answered, ?) WHERE id = ?",
                    (state, int(answered), intent.id),
                )
        except sqlite3.Error as error:
            raise self._failed() from error

    # ── reading ──
    def attempts(self, intent: Intent) -> list[Attempt]:
        """An intent's attempts, oldest first."""
        rows = self._read(
            "SELECT hash, raw, max_fee_wei, tip_wei, signed_at FROM attempts WHERE intent = ? ORDER BY rowid", intent.id
        )
        return [Attempt(h, raw, int(fee), int(tip), at) for h, raw, fee, tip, at in rows]

    def pending(self) -> list[Intent]:
        """Intents not known to be in a block, lowest nonce first."""
        return [_intent(row) for row in self._read(f"{_SELECT} WHERE state = 'pending' ORDER BY nonce")]

    def newest(self, key: bytes) -> Intent | None:
        """The last intent with this key."""
        rows = self._read(f"{_SELECT} WHERE key = ? ORDER BY id DESC LIMIT 1", key)
        return _intent(rows[0]) if rows else None

    def done_from(self, nonce: int) -> list[Intent]:
        """Intents once seen in a block whose nonce is at least `nonce`, lowest first."""
        query = f"{_SELECT} WHERE state IN ('mined', 'reverted') AND nonce >= ? ORDER BY nonce"
        return [_intent(row) for row in self._read(query, nonce)]

    def _read(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        try:
            with self._lock:
                return self._db.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise self._failed() from error


_SELECT = (
    "SELECT id, key, verb, to_address, data, value_wei, gas_limit, nonce, state, answered, written_at FROM intents"
)


def _intent(row: tuple[Any, ...]) -> Intent:
    number, key, verb, to, data, value_wei, gas_limit, nonce, state, answered, at = row
    return Intent(number, key, verb, to, data, int(value_wei), gas_limit, nonce, state, bool(answered), at)
