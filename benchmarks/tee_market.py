"""A TEE node with paid orders in a process of its own: `python -m benchmarks.tee_market FOLDER` serves until a signal.

What is left out of the measurement (chain reads, light nodes' work) stands in tests/unit/tee/ready.py.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from asset_bridge.nodes.serve import bind, serve
from asset_bridge.nodes.tee import app
from asset_bridge.transport.nonces import NonceStore
from asset_bridge.transport.server import Guard
from asset_bridge.transport.wire import hex_of
from tests.unit.tee.ready import ready_node


def main(folder: Path) -> None:
    """Write port and requests as one JSON line, then serve."""
    made = ready_node(folder)
    guard = Guard(31337, NonceStore(None), made.market.clock)
    listener = bind("127.0.0.1", 0)
    requests = [
        {"order_id": hex_of(order), "generation": fetch.generation, "signature": hex_of(fetch.signature)}
        for order, fetch in zip(made.orders, made.fetches, strict=True)
    ]
    print(json.dumps({"port": listener.getsockname()[1], "pid": os.getpid(), "requests": requests}), flush=True)
    serve(app.build(made.core, guard), guard, listener=listener)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
