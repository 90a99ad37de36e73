"""What a light node does by itself: follow the chain, send webhooks, record deliveries, audit replicas.

Source: spec/node-http.md §9. Promises: a failure of the chain or of a storage node ends a round, never the worker; every round's failure is
logged with its code.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from asset_bridge.errors import BridgeError
from asset_bridge.nodes.light.core import LightNodeCore

FOLLOW_SECONDS = 1.0
RECORD_SECONDS = 2.0
_LOG = logging.getLogger("asset_bridge.light")


class Workers:
    """Threads of one light node; `audit_seconds` 0 audits never."""

    def __init__(
        self, core: LightNodeCore, *, audit_seconds: float = 600.0, follow_seconds: float = FOLLOW_SECONDS
    ) -> None:
        self._stop = threading.Event()
        self._threads = [
            self._every("follow", follow_seconds, lambda: self._follow(core)),
            self._every("record", RECORD_SECONDS, lambda: core.delivery.sweep()),
        ]
        if audit_seconds > 0:
            self._threads.append(self._every("audit", audit_seconds, lambda: core.audit()))

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End, after the rounds in hand."""
        self._stop.set()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(10)

    @staticmethod
    def _follow(core: LightNodeCore) -> None:
        core.parts.index.update()
        core.webhooks.deliver()

    def _every(self, name: str, seconds: float, step: Callable[[], object]) -> threading.Thread:
        def run() -> None:
            failed = ""
            while not self._stop.wait(seconds):
                try:
                    step()
                    failed = ""
                except BridgeError as error:
                    if error.code != failed:  # a chain that is down for an hour is one line, not 3,600
                        _LOG.warning(name, extra={"fields": {"code": error.code}})
                    failed = error.code
                except Exception:  # noqa: BLE001 - a defect must not stop the worker silently
                    if failed != "defect":
                        _LOG.exception(name)
                    failed = "defect"

        return threading.Thread(target=run, name=f"light-{name}", daemon=True)
