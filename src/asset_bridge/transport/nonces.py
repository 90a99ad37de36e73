"""Which nonces were used: a signed request counts once, also after a restart.

Source: spec/node-http.md §2.4. SQLite in WAL mode. The commit survives kill -9 of the process; it is not fsynced,
because a signature lives at most 60 seconds, and a machine that lost power does not come back within them.
Does not promise: to remember a nonce after the signature's expiry; the time check refuses it then.
"""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

from asset_bridge.errors import RefusedError, UnavailableError
from asset_bridge.transport.signing import CLOCK_SKEW_SECONDS

_SWEEP_SECONDS = 60


class NonceStore:
    """Used nonces per account, in the file `path`, or in memory when it is None (tests)."""

    def __init__(self, path: Path | None) -> None:
        self._lock = threading.Lock()
        self._swept_at = 0.0
        self._db = sqlite3.connect(path or ":memory:", check_same_thread=False, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.execute(
            "CREATE TABLE IF NOT EXISTS used (address TEXT, nonce BLOB, expires_at INTEGER, PRIMARY KEY (address, nonce)) WITHOUT ROWID"
        )

    def use(self, address: str, nonce: bytes, expires_at: int, now: float) -> None:
        """Consume a nonce. Raises RefusedError(transport.replay) when it was used before."""
        with self._lock:
            try:
                if now - self._swept_at > _SWEEP_SECONDS:
                    self._db.execute("DELETE FROM used WHERE expires_at < ?", (int(now) - 2 * CLOCK_SKEW_SECONDS,))
                    self._swept_at = now
                self._db.execute("INSERT INTO used VALUES (?, ?, ?)", (address, nonce, expires_at))
            except sqlite3.IntegrityError as error:
                raise RefusedError(
                    "transport.replay", "This signed request was already used.", hint="Sign the request again."
                ) from error
            except sqlite3.Error as error:
                # Fail closed: without a working store a replay could pass.
                raise UnavailableError(
                    "transport.nonce-store", "The node cannot record used signatures now.", actor="operator"
                ) from error

    def close(self) -> None:
        """Close the file."""
        self._db.close()
