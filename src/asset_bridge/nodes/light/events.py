"""Forwarding of chain events: pages, a stream, and webhooks with retries.

Source: spec/node-http.md §9.5. Promises: an event is delivered at least once to each follower and each webhook, in chain order, also
after a restart (a webhook's place is on disk) and after a reorg (what a reorg put in its place comes too); a webhook goes only to a
URL of the operator's list.
Does not promise: exactly once; `block_hash` and `log_index` name an event.
"""

from __future__ import annotations

import json
import logging
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from asset_bridge.errors import BridgeError, RefusedError

PAGE_EVENTS = 1000
OVERLAP_BLOCKS = 64
FILTERS = ("provider", "consumer", "asset_id", "order_id")
_LOG = logging.getLogger("asset_bridge.light")

Event = dict[str, object]


class EventIndex(Protocol):
    """The chain index (chain.index.Index)."""

    def update(self) -> int: ...
    def events(self, after_block: int = -1) -> Iterator[Event]: ...
    def assets(self) -> list[bytes]: ...


def page(index: EventIndex, after_block: int) -> tuple[list[Event], int | None]:
    """Up to about PAGE_EVENTS events, whole blocks only, and the block after which the next page begins (None: this was all)."""
    found: list[Event] = []
    for event in index.events(after_block):
        if len(found) >= PAGE_EVENTS and event["block"] != found[-1]["block"]:
            return found, int(str(found[-1]["block"]))
        found.append(event)
    return found, None


class Follower:
    """One reader of the stream: `news` gives what it has not had yet."""

    def __init__(self, index: EventIndex, after_block: int) -> None:
        self._index, self._first, self._cursor = index, after_block, after_block
        self._seen: dict[tuple[object, object], int] = {}

    def news(self) -> list[Event]:
        """New events; also those that a reorg put into blocks already passed."""
        fresh = []
        for event in self._index.events(max(self._first, self._cursor - OVERLAP_BLOCKS)):
            name, block = (event["block_hash"], event["log_index"]), int(str(event["block"]))
            if name not in self._seen:
                self._seen[name] = block
                fresh.append(event)
            self._cursor = max(self._cursor, block)
        self._seen = {name: block for name, block in self._seen.items() if block > self._cursor - 2 * OVERLAP_BLOCKS}
        return fresh


class Webhooks:
    """URLs that get events.

    Args:
        allowed: the operator's URLs. post: sends one JSON object and raises BridgeError when it did not arrive.
    """

    def __init__(
        self, path: Path, index: EventIndex, allowed: frozenset[str], post: Callable[[str, Mapping[str, Any]], None]
    ) -> None:
        self._index, self._allowed, self._post = index, allowed, post
        self._lock = threading.Lock()
        self._followers: dict[tuple[str, str], Follower] = {}
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute(
            "CREATE TABLE IF NOT EXISTS hooks (url TEXT, filter TEXT, after_block INTEGER, PRIMARY KEY (url, filter))"
        )

    def add(self, url: str, wanted: Mapping[str, str], after_block: int) -> None:
        """Send events that match `wanted` to `url`. Raises RefusedError(light.webhook-url) for a URL the operator did not list."""
        if url not in self._allowed:
            raise RefusedError(
                "light.webhook-url",
                "The operator of this light node did not allow this URL.",
                hint="Ask the operator to add it to `webhooks` in node.toml.",
                actor="operator",
            )
        if not set(wanted) <= set(FILTERS):
            raise RefusedError("light.webhook-filter", f"A filter names only {', '.join(FILTERS)}.")
        text = json.dumps(dict(sorted(wanted.items())))
        with self._lock:
            self._db.execute("INSERT OR IGNORE INTO hooks VALUES (?, ?, ?)", (url, text, after_block))

    def deliver(self) -> int:
        """Send what is new to each URL; how many messages arrived. One that fails is tried again at the next call."""
        with self._lock:
            hooks = self._db.execute("SELECT url, filter, after_block FROM hooks").fetchall()
        sent = 0
        for url, text, after_block in hooks:
            if url not in self._allowed:
                continue
            key = (url, text)
            follower = self._followers.get(key) or Follower(self._index, after_block)
            fresh = follower.news()
            matching = [event for event in fresh if _matches(event, json.loads(text))]
            try:
                for at in range(0, len(matching), 100):
                    self._post(url, {"events": matching[at : at + 100]})
                    sent += 1
            except BridgeError as error:
                self._followers.pop(key, None)  # its place on disk did not move: all of it comes again
                _LOG.warning("webhook", extra={"fields": {"code": error.code}})
                continue
            self._followers[key] = follower
            if fresh:
                newest = max(int(str(event["block"])) for event in fresh)
                with self._lock:
                    self._db.execute(
                        "UPDATE hooks SET after_block = max(after_block, ?) WHERE url = ? AND filter = ?",
                        (newest, url, text),
                    )
        return sent

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()


def _matches(event: Event, wanted: Mapping[str, str]) -> bool:
    arguments = event.get("args")
    return isinstance(arguments, dict) and all(arguments.get(name) == value for name, value in wanted.items())
