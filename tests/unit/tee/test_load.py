"""Many requests to one node: its memory stays flat, and each asks the chain everything again."""

from __future__ import annotations

import gc
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from asset_bridge.chain.records import At, Order, OrderState
from asset_bridge.errors import RefusedError
from tests.support.depth import depth
from tests.unit.tee.ready import ready_node

WARM = 500
BLOCKS = 200
"""Python objects by which the count may differ at the end; one object kept for each request would be a hundred times that."""


def test_memory_is_flat_and_every_request_reads_the_chain(tmp_path: Path) -> None:
    ready = ready_node(tmp_path, forgetful=False)
    asked = list(zip(ready.orders, ready.fetches, strict=True))

    def serve(times: int) -> None:
        for number in range(times):
            order, fetch = asked[number % len(asked)]
            ready.core.reencrypt(order, fetch)

    serve(WARM)
    gc.collect()
    blocks, reads = sys.getallocatedblocks(), sum(reader.reads for reader in ready.readers)
    serve(WARM)
    each = (sum(reader.reads for reader in ready.readers) - reads) // WARM
    serve(depth("tee_requests") - WARM)
    gc.collect()
    assert abs(sys.getallocatedblocks() - blocks) < BLOCKS
    # Per endpoint: heads and finalized blocks before and after, the order at both each time, and who holds the receipt.
    assert each == len(ready.readers) * (2 * 4 + 2)
    assert sum(reader.reads for reader in ready.readers) - reads == each * depth("tee_requests")


@pytest.mark.parametrize("state", [OrderState.APPROVED, OrderState.REFUNDED, OrderState.REVOKED])
def test_a_paid_order_that_was_served_is_refused_as_soon_as_the_chain_says_otherwise(
    tmp_path: Path, state: OrderState
) -> None:
    ready = ready_node(tmp_path, forgetful=False)
    order, fetch = ready.orders[0], ready.fetches[0]
    ready.core.reencrypt(order, fetch)

    def otherwise(record: Order) -> Order:
        return replace(record, state=state)

    for lens, reader in zip(ready.market.lenses, ready.readers, strict=True):
        lens.order_changes[At.FINAL] = lens.order_changes[At.HEAD] = otherwise
        reader.forget()
    with pytest.raises(RefusedError) as caught:
        ready.core.reencrypt(order, fetch)
    assert caught.value.code == {
        OrderState.APPROVED: "tee.not-paid", OrderState.REFUNDED: "tee.closed", OrderState.REVOKED: "tee.revoked"
    }[state]  # fmt: skip
