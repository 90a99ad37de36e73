"""All events of the contracts in one SQLite file: derived, incremental, reorg-safe, and equal however it was built.

Source: design §5 ("a light node's index is a cache"), spec/chain.md §5. WAL; a damaged or foreign file is deleted and rebuilt.
Promises: after `update` the events are those of the source's chain up to the returned block; blocks that left the chain take their
events with them; `dump` depends on the chain only, not on when or how often the index was updated.
Does not promise: finality, or that events are true: the reader checks each record that it makes of them against the contracts.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from asset_bridge.chain.abi import Event, args_from_json, args_to_json
from asset_bridge.chain.network import Deployment
from asset_bridge.chain.records import At, BlockRef
from asset_bridge.errors import UnavailableError

SCHEMA_VERSION = "1"
CHUNK_BLOCKS = 50_000
RECENT_BLOCKS = 256  # every checkpoint above this depth is kept, below it one in SPARSE_BLOCKS
SPARSE_BLOCKS = 1_024
_KEYS = ("order_id", "asset_id", "node_id", "provider", "consumer")
_TABLES = f"""
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE checkpoints (number INTEGER PRIMARY KEY, hash BLOB NOT NULL) STRICT;
CREATE TABLE events (
    number INTEGER NOT NULL, log_index INTEGER NOT NULL, block_hash BLOB NOT NULL, timestamp INTEGER NOT NULL,
    transaction_hash BLOB NOT NULL, contract TEXT NOT NULL, name TEXT NOT NULL, args TEXT NOT NULL,
    {", ".join(f"{key} TEXT" for key in _KEYS)},
    PRIMARY KEY (number, log_index)
) STRICT;
CREATE INDEX events_by_name ON events (name, number);
{" ".join(f"CREATE INDEX events_by_{key} ON events ({key}, number) WHERE {key} IS NOT NULL;" for key in _KEYS)}
"""
_COLUMNS = "number, log_index, block_hash, timestamp, transaction_hash, contract, name, args"


class EventSource(Protocol):
    """A chain that can be indexed (RPC adapter, twin)."""

    deployment: Deployment

    def block(self, at: At = At.HEAD) -> BlockRef: ...
    def canonical(self, number: int) -> BlockRef | None:
        """The block at this height of the present chain; None above the head."""
        ...

    def events(self, first: int, last: int) -> list[Event]:
        """Every event of our contracts in blocks first..last of the present chain, in order."""
        ...


class Index:
    """The index file. Safe to share between threads; several processes may use one file."""

    def __init__(self, path: Path | None, source: EventSource) -> None:
        """Open `path`, or keep the index in memory when None."""
        self._path, self._source = path, source
        self._lock = threading.RLock()
        self._db = self._open()

    def _open(self) -> sqlite3.Connection:
        try:
            return self._connect()
        except sqlite3.DatabaseError:
            if self._path is None:
                raise
            for suffix in ("", "-wal", "-shm"):
                Path(str(self._path) + suffix).unlink(missing_ok=True)
            return self._connect()

    def _connect(self) -> sqlite3.Connection:
        if self._path is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
        db = sqlite3.connect(self._path or ":memory:", timeout=30, isolation_level=None, check_same_thread=False)
        d = self._source.deployment
        facts = {"version": SCHEMA_VERSION, "network": f"{d.chain_id} {d.registry} {d.ledger} {d.exchange}"}
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=NORMAL")  # derived: what a power loss takes is fetched again
        db.execute("BEGIN IMMEDIATE")
        if db.execute("SELECT 1 FROM sqlite_master WHERE name = 'facts'").fetchone() is None:
            for statement in _TABLES.split(";"):
                db.execute(statement)
            db.executemany("INSERT INTO facts VALUES (?, ?)", facts.items())
        db.execute("COMMIT")
        if dict(db.execute("SELECT name, value FROM facts").fetchall()) != facts:
            db.close()
            raise sqlite3.DatabaseError("another network's index")
        return db

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    # ── following the chain ──
    def update(self) -> int:
        """Follow the chain to its head; returns the head's number.

        Raises:
            UnavailableError(chain.reorg): the chain changed under three attempts; try again. Whatever the source raises.
        """
        with self._lock:
            for _ in range(3):
                try:
                    return self._follow(self._source.block())
                except _Moved:
                    continue
        raise UnavailableError("chain.reorg", "The chain is being reorganised.", hint="try again", actor="nobody")

    def _follow(self, head: BlockRef) -> int:
        last = self._roll_back()
        while last < head.number:
            end = min(head.number, last + CHUNK_BLOCKS)
            target = head if end == head.number else self._source.canonical(end)
            events = self._source.events(last + 1, end)
            after = self._source.canonical(end)
            if target is None or after is None or after.hash != target.hash:
                raise _Moved
            with self._writing():
                self._db.executemany(
                    f"INSERT INTO events VALUES ({', '.join('?' * (8 + len(_KEYS)))})",  # noqa: S608 - marks only
                    [_row(event) for event in events],
                )
                self._db.execute("INSERT OR REPLACE INTO checkpoints VALUES (?, ?)", (end, target.hash))
                self._db.execute(
                    "DELETE FROM checkpoints WHERE number < ? AND number % ? != 0 AND number NOT IN"
                    " (SELECT number FROM checkpoints WHERE number < ? ORDER BY number DESC LIMIT 1)",
                    (end - RECENT_BLOCKS, SPARSE_BLOCKS, end - RECENT_BLOCKS),
                )
            last = end
        return head.number

    def _roll_back(self) -> int:
        """Drop what left the chain; returns the newest block that still stands."""
        floor = self._source.deployment.deployed_block - 1
        rows = self._db.execute("SELECT number, hash FROM checkpoints ORDER BY number DESC").fetchall()
        for number, digest in rows:
            block = self._source.canonical(number)
            if block is not None and block.hash == digest:
                floor = number
                break
        if rows and rows[0][0] != floor:
            with self._writing():
                self._db.execute("DELETE FROM checkpoints WHERE number > ?", (floor,))
                self._db.execute("DELETE FROM events WHERE number > ?", (floor,))
        return floor

    def covers(self, block: BlockRef) -> bool:
        """Whether the index reaches this block."""
        with self._lock:
            newest = self._db.execute("SELECT max(number) FROM checkpoints").fetchone()[0]
        return newest is not None and newest >= block.number

    def clear(self) -> None:
        """Forget everything; the next update fetches it again."""
        with self._lock, self._writing():
            self._db.execute("DELETE FROM events")
            self._db.execute("DELETE FROM checkpoints")

    # ── asking ──
    def find(self, names: Iterable[str], until: int, **fields: object) -> list[Event]:
        """Events of these names in blocks up to `until`, in chain order, whose arguments equal `fields`."""
        wanted = sorted(names)
        query = f"SELECT {_COLUMNS} FROM events WHERE name IN ({', '.join('?' * len(wanted))}) AND number <= ?"  # noqa: S608
        values: list[Any] = [*wanted, until]
        for key in _KEYS:
            if key in fields:
                query += f" AND {key} = ?"
                values.append(_text(fields[key]))
        with self._lock:
            rows = self._db.execute(query + " ORDER BY number, log_index", values).fetchall()
        found = [_event(row) for row in rows]
        return [e for e in found if all(e.args.get(name) == value for name, value in fields.items())]

    def events(self, after_block: int = -1) -> Iterator[dict[str, object]]:
        """Every event in blocks after `after_block`, JSON-ready: numbers over 64 bits are strings, bytes 0x-hex."""
        with self._lock:
            query = f"SELECT {_COLUMNS} FROM events WHERE number > ? ORDER BY number, log_index"  # noqa: S608
            rows = self._db.execute(query, (after_block,)).fetchall()
        for number, log_index, block_hash, timestamp, transaction, contract, name, args in rows:
            yield {
                "block": number,
                "block_hash": "0x" + block_hash.hex(),
                "timestamp": timestamp,
                "transaction": "0x" + transaction.hex(),
                "log_index": log_index,
                "contract": contract,
                "event": name,
                "args": json.loads(args),
            }

    def assets(self, *, provider: str | None = None) -> list[bytes]:
        """Ids of listed assets, oldest first."""
        return self._ids("Listed", "asset_id", provider=provider)

    def orders(
        self, *, provider: str | None = None, consumer: str | None = None, asset_id: bytes | None = None
    ) -> list[bytes]:
        """Ids of requested orders, oldest first."""
        return self._ids("Requested", "order_id", provider=provider, consumer=consumer, asset_id=asset_id)

    def nodes(self) -> list[bytes]:
        """Ids of registered nodes, oldest first."""
        return self._ids("NodeRegistered", "node_id")

    def _ids(self, name: str, key: str, **fields: object) -> list[bytes]:
        given = {k: v for k, v in fields.items() if v is not None}
        return [event.args[key] for event in self.find({name}, 2**62, **given)]

    def dump(self) -> bytes:
        """Every event, one canonical JSON line each: equal for equal chains."""
        return b"".join(json.dumps(e, separators=(",", ":"), sort_keys=True).encode() + b"\n" for e in self.events())


class _Moved(Exception):
    """The chain changed while it was read."""


def _text(value: object) -> object:
    return "0x" + value.hex() if isinstance(value, bytes) else value


def _row(event: Event) -> tuple[object, ...]:
    head = (event.block.number, event.log_index, event.block.hash, event.block.timestamp, event.transaction_hash)
    args = args_to_json(event.contract, event.name, event.args)
    return (*head, event.contract, event.name, args, *(_text(event.args.get(key)) for key in _KEYS))


def _event(row: tuple[Any, ...]) -> Event:
    number, log_index, block_hash, timestamp, transaction, contract, name, args = row
    block = BlockRef(number, block_hash, timestamp)
    return Event(contract, name, args_from_json(contract, name, args), block, transaction, log_index)
