"""The cfrags that this process made, with their one receipt each: in memory until nobody can ask for them.

Source: protocol §6 ("it keeps, in memory, the cfrag it released until that order's windows close").
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

from asset_bridge.chain.records import DeliveryReceipt

Name = tuple[bytes, int, int, bytes]
"""(order_id, generation, slot, SHA-256 of the KEM key)"""


@dataclass(frozen=True, slots=True)
class Made:
    """A cfrag (359 bytes), the receipt that was signed with it, and the digest that was signed."""

    cfrag: bytes
    receipt: DeliveryReceipt
    receipt_digest: bytes


class MadeCfrags:
    """By name; safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._made: dict[bytes, dict[Name, Made]] = {}

    def get(self, name: Name) -> Made | None:
        """The cfrag of this name."""
        with self._lock:
            return self._made.get(name[0], {}).get(name)

    def of(self, order_id: bytes) -> list[Made]:
        """Everything that is kept of an order."""
        with self._lock:
            return list(self._made.get(order_id, {}).values())

    def keep(self, name: Name, made: Made) -> Made:
        """Remember the first of this name, and return that one: a slot has one receipt, however many requests come at once."""
        with self._lock:
            return self._made.setdefault(name[0], {}).setdefault(name, made)

    def orders(self) -> list[bytes]:
        """Every order that something is kept of."""
        with self._lock:
            return list(self._made)

    def drop(self, order_id: bytes) -> None:
        """Forget all of an order."""
        with self._lock:
            self._made.pop(order_id, None)
