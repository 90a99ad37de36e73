"""Leaves on their way into kubo: whoever comes while others are being sent goes with the next group, one CAR a group.

Source: design §6; why groups: docs/explain/performance.md (Transfers), docs/decisions/0053.
Promises: `put` returns after kubo acknowledged the leaf and then `note` ran for its group; at most LANES groups are under way, of at most
GROUP_BLOCKS leaves each, and a leaf that comes alone is sent at once.
Does not promise: an order; what of a group that failed kubo has kept (all of it is sent again by whoever wants it).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from asset_bridge.errors import BridgeError, UnavailableError
from asset_bridge.ipfs.kubo.rpc import ACTOR, KuboRpc
from asset_bridge.ipld.car import car_header, car_section_head
from asset_bridge.ipld.cid import Cid

GROUP_BLOCKS = 4
LANES = 2


@dataclass(slots=True, eq=False)
class Leaf:
    """One leaf of one import, whose hash was checked."""

    root: Cid
    cid: Cid
    block: bytes
    done: bool = False
    error: BridgeError | None = None


class Groups:
    """Any number of threads put leaves; the one that finds a lane free sends for all that wait.

    Args:
        note: writes down a group that kubo acknowledged, before any of its `put` returns; sets `error` of a leaf that is none of ours.
    """

    def __init__(self, rpc: KuboRpc, note: Callable[[Sequence[Leaf]], None]) -> None:
        self._rpc, self._note = rpc, note
        self._changed = threading.Condition()
        self._waiting: list[Leaf] = []
        self._lanes_used = 0

    def put(self, root: Cid, cid: Cid, block: bytes) -> None:
        """Store a leaf. Raises what KuboRpc and `note` raise, to everyone of the group."""
        mine = Leaf(root, cid, block)
        with self._changed:
            self._waiting.append(mine)
        while True:
            with self._changed:
                self._changed.wait_for(lambda: mine.done or (mine in self._waiting and self._lanes_used < LANES))
                if mine.done:
                    break
                group = self._waiting[:GROUP_BLOCKS]
                del self._waiting[:GROUP_BLOCKS]
                self._lanes_used += 1
            self._send(group)
        if mine.error is not None:
            raise mine.error

    def _send(self, group: list[Leaf]) -> None:
        error: BridgeError | None = UnavailableError("ipfs.kubo-down", "Storing was given up.", actor=ACTOR)
        try:
            self._import({leaf.cid: leaf.block for leaf in group})
            self._note(group)
            error = None
        except BridgeError as caught:
            error = caught
        finally:  # also where this thread is interrupted: the others of its group must not wait for ever
            with self._changed:
                self._lanes_used -= 1
                for leaf in group:
                    leaf.done, leaf.error = True, error or leaf.error
                self._changed.notify_all()

    def _import(self, blocks: dict[Cid, bytes]) -> None:
        if len(blocks) == 1:
            [(cid, block)] = blocks.items()
            self._rpc.block_put(cid, block)
            return
        car = [car_header(next(iter(blocks)))]
        for cid, block in blocks.items():
            car += [car_section_head(cid, len(block)), block]
        if self._rpc.dag_import(car) != len(blocks):
            raise UnavailableError(
                "ipfs.kubo-reply",
                "kubo's answer cannot be used: it stored another number of blocks.",
                hint="See kubo's log.",
                actor=ACTOR,
            )
