"""Copies of a body from a storage node that holds it whole to others, in the background of an upload.

Source: spec/node-http.md §9.1 (H23a). Promises: one copying a body at a time; a holder that does not give what it says it holds is not
asked again for this body by this process. Does not promise: to outlive the process; the next look at the upload begins the rest anew.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from asset_bridge.errors import BridgeError, DefectError
from asset_bridge.ipfs.multi import MultiSource
from asset_bridge.ipld.cid import Cid
from asset_bridge.nodes.light.replicas import Replica, try_each


@dataclass(slots=True)
class _Copying:
    thread: threading.Thread | None = None
    failed: dict[bytes, BridgeError] = field(default_factory=dict)


class Copies:
    """What is being copied.

    Args:
        copy: gives one node the body from a source of blocks (uploads.copy_body).
    """

    def __init__(self, copy: Callable[[MultiSource, Replica, Cid, int], None]) -> None:
        self._copy = copy
        self._lock = threading.Lock()
        self._known: dict[Cid, _Copying] = {}
        self._useless: dict[Cid, set[bytes]] = {}

    def useful(self, root: Cid, holders: Sequence[Replica]) -> list[Replica]:
        """Those of the holders that were not found lying about this body."""
        with self._lock:
            return [replica for replica in holders if replica.node_id not in self._useless.get(root, ())]

    def start(self, root: Cid, length_bytes: int, holders: Sequence[Replica], targets: Sequence[Replica]) -> None:
        """Copy to all targets at once, unless it is being done."""
        with self._lock:
            known = self._known.get(root)
            if known is not None and known.thread is not None and known.thread.is_alive():
                return
            copying = self._known[root] = _Copying()
            args = (copying, root, length_bytes, tuple(holders), tuple(targets))
            copying.thread = threading.Thread(target=self._run, args=args, name="copies", daemon=True)
            copying.thread.start()

    def wait(self, root: Cid, seconds: float | None = None) -> None:
        """Wait for the copying of this body, if there is one."""
        with self._lock:
            known = self._known.get(root)
        if known is not None and known.thread is not None:
            known.thread.join(seconds)

    def failures(self, root: Cid) -> dict[bytes, BridgeError]:
        """Why the last copying of this body did not reach some nodes, by node id; told once."""
        with self._lock:
            known = self._known.get(root)
            if known is None or (known.thread is not None and known.thread.is_alive()):
                return {}
            del self._known[root]
            return known.failed

    def _run(
        self,
        copying: _Copying,
        root: Cid,
        length_bytes: int,
        holders: tuple[Replica, ...],
        targets: tuple[Replica, ...],
    ) -> None:
        sources = {target.node_id: MultiSource(holders) for target in targets}

        def call(target: Replica) -> Callable[[], None]:
            return lambda: self._copy(sources[target.node_id], target, root, length_bytes)

        try:
            _done, copying.failed = try_each({target.node_id: call(target) for target in targets})
        except Exception as error:  # noqa: BLE001 - told to whoever asks next, or the copying would begin again for ever
            defect = DefectError("node.defect", f"Copying ended by {type(error).__name__}.", actor="nobody")
            copying.failed = {target.node_id: defect for target in targets}
        if copying.failed:
            bad = {failure.source for source in sources.values() for failure in source.bad}
            with self._lock:
                self._useless.setdefault(root, set()).update(r.node_id for r in holders if r.name in bad)
