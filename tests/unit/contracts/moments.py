"""The time of a contract test's world, and the way back to where it began."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

import boa

from tests.unit.contracts.records import Node


class Moments:
    """The part of a World that knows time."""

    light: Node
    storage: list[Node]
    tees: list[Node]

    @property
    def now(self) -> int:
        return int(boa.env.evm.patch.timestamp)

    @contextmanager
    def untouched(self) -> Iterator[Self]:
        """The world, of which nothing that is done inside is left: on the chain, in time, in the nodes' epochs."""
        before, nodes = dict(vars(self)), [self.light, *self.storage, *self.tees]
        epochs, at = [(node.epoch, node.signer) for node in nodes], self.now
        try:
            with boa.env.anchor():
                yield self
        finally:
            vars(self).update(before)
            for node, epoch in zip(nodes, epochs, strict=True):
                node.epoch, node.signer = epoch
            self.move_to(at)

    def move_to(self, at: int) -> None:
        """Set the block time."""
        boa.env.evm.patch.timestamp = at
