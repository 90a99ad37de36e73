"""Imported archives over HTTP: any DAG as CAR into a storage node, beside the bodies.

Source: spec/node-http.md §7.1. Promises: an archive answers as imported once it is durable and every block of it was hashed.
Does not promise: archives over MAX_ARCHIVE_BYTES in one request; `asset-bridge node import` takes them from a file.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

from asset_bridge.errors import InputError
from asset_bridge.ipfs.dags import Archive
from asset_bridge.transport.calls import Answer, Call

MAX_ARCHIVE_BYTES = 16 * 1024 * 1024


@runtime_checkable
class Archives(Protocol):
    """A store that takes archives."""

    def add_archive(self, read: Callable[[int], bytes]) -> Archive: ...
    def archives(self) -> tuple[Archive, ...]: ...
    def remove_archive(self, name: str) -> bool: ...


class ArchiveRoutes:
    """The handlers."""

    def __init__(self, store: Archives) -> None:
        self._store = store

    def add(self, call: Call) -> Answer:
        """PUT: the archive."""
        return Answer(json=archive_json(self._store.add_archive(io.BytesIO(call.body).read)))

    def list(self, _call: Call) -> Answer:
        """GET: every archive."""
        return Answer(json={"archives": [archive_json(one) for one in self._store.archives()]})

    def remove(self, call: Call) -> Answer:
        """DELETE: one archive."""
        if not self._store.remove_archive(call.params["name"]):
            raise InputError("ipfs.no-archive", "This archive is not here.", hint="GET /v1/archives lists them.")
        return Answer(json={"removed": True})


def archive_json(archive: Archive) -> dict[str, Any]:
    """An archive on the wire."""
    return {
        "name": archive.name,
        "roots": [str(root) for root in archive.roots],
        "length": archive.length_bytes,
        "blocks": archive.blocks,
    }
