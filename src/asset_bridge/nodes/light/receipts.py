"""Receipts that this light node answers for: on disk before its `Ack` leaves, kept until recorded or past GRACE.

Source: protocol §5.2, spec/node-http.md §10. SQLite, WAL, synchronous=FULL: each commit is fsynced.
This is not index: it cannot be rebuilt.
Promises: when `add` returned, the receipt survives power loss.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from pathlib import Path

from asset_bridge.chain.records import DeliveryReceipt, FetchSignature
from asset_bridge.errors import UnavailableError
from asset_bridge.trade.remote import RECEIPT_LENGTHS
from asset_bridge.transport.wire import from_json, to_json


class ReceiptStore:
    """The receipts in the file `path`."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.executescript(
            "CREATE TABLE IF NOT EXISTS receipts (digest BLOB PRIMARY KEY, order_id BLOB, receipt TEXT, added_at INTEGER) WITHOUT ROWID;"
            "CREATE TABLE IF NOT EXISTS fetches (order_id BLOB, generation INTEGER, signature BLOB,"
            " PRIMARY KEY (order_id, generation)) WITHOUT ROWID;"
            "CREATE INDEX IF NOT EXISTS by_order ON receipts (order_id);"
        )

    def add(self, order_id: bytes, fetch: FetchSignature, digest: bytes, receipt: DeliveryReceipt, now_at: int) -> None:
        """Keep a receipt and the `Fetch` it answers. Raises UnavailableError(light.receipt-store)."""
        try:
            with self._lock, self._db:
                self._db.execute("BEGIN IMMEDIATE")
                self._db.execute(
                    "INSERT OR IGNORE INTO fetches VALUES (?, ?, ?)", (order_id, fetch.generation, fetch.signature)
                )
                self._db.execute(
                    "INSERT OR IGNORE INTO receipts VALUES (?, ?, ?, ?)",
                    (digest, order_id, json.dumps(to_json(receipt)), now_at),
                )
        except sqlite3.Error as error:
            raise _no_store() from error

    def add_fetch(self, order_id: bytes, fetch: FetchSignature) -> None:
        """Keep a `Fetch` that is being passed on. Raises UnavailableError(light.receipt-store)."""
        try:
            with self._lock:
                self._db.execute(
                    "INSERT OR IGNORE INTO fetches VALUES (?, ?, ?)", (order_id, fetch.generation, fetch.signature)
                )
        except sqlite3.Error as error:
            raise _no_store() from error

    def receipts(self, order_id: bytes) -> list[DeliveryReceipt]:
        """The receipts of an order, oldest first."""
        with self._lock:
            rows = self._db.execute(
                "SELECT receipt FROM receipts WHERE order_id = ? ORDER BY added_at, digest", (order_id,)
            ).fetchall()
        return [from_json(DeliveryReceipt, json.loads(text), RECEIPT_LENGTHS) for (text,) in rows]

    def fetch(self, order_id: bytes, generation: int) -> FetchSignature | None:
        """The `Fetch` of this generation, if one came."""
        with self._lock:
            row = self._db.execute(
                "SELECT signature FROM fetches WHERE order_id = ? AND generation = ?", (order_id, generation)
            ).fetchone()
        return None if row is None else FetchSignature(generation, bytes(row[0]))

    def orders(self) -> list[tuple[bytes, int]]:
        """(order id, time of its first receipt) of every order with receipts."""
        with self._lock:
            rows = self._db.execute("SELECT order_id, min(added_at) FROM receipts GROUP BY order_id").fetchall()
        return [(bytes(order_id), int(at)) for order_id, at in rows]

    def drop(self, order_id: bytes) -> None:
        """After the delivery is recorded at a final block, or too late."""
        with self._lock, self._db:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.execute("DELETE FROM receipts WHERE order_id = ?", (order_id,))
            self._db.execute("DELETE FROM fetches WHERE order_id = ?", (order_id,))

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()


def _no_store() -> UnavailableError:
    return UnavailableError(
        "light.receipt-store",
        "The light node cannot store the receipt.",
        hint="Use another light node.",
        actor="operator",
    )
