"""Peers and guards for tests that speak HTTP inside the process."""

from __future__ import annotations

import os
import time
from typing import Any

from asset_bridge.transport.client import Peer
from asset_bridge.transport.nonces import NonceStore
from asset_bridge.transport.server import Guard
from tests.support.asgi import AsgiTransport

CHAIN_ID = 31337


def guard(host: str = "node.test") -> Guard:
    """A guard that answers to `host` and keeps its nonces in memory."""
    return Guard(CHAIN_ID, NonceStore(None), time.time, {host})


def peer(app: Any, *, signer: Any = None, name: str = "storage node", host: str = "node.test", **changes: Any) -> Peer:
    """A client of `app`."""
    given: dict[str, Any] = {
        "name": name,
        "chain_id": CHAIN_ID,
        "signer": signer,
        "clock": time.time,
        "randbytes": os.urandom,
        "sleep": lambda _seconds: None,
        "transport": AsgiTransport(app),
    }
    return Peer(f"http://{host}", **{**given, **changes})
