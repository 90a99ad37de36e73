"""Fan-out, acks, recording: what a light node answers for, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from asset_bridge.chain.messages import ack_digest, receipt_digest, recover
from asset_bridge.chain.records import NodeKind, OrderState
from asset_bridge.errors import BridgeError, RefusedError, UnavailableError
from asset_bridge.nodes.light.receipts import ReceiptStore
from tests.ports.test_blocks import code_of
from tests.support.light import (
    CONSUMER,
    DOMAIN,
    NOW,
    ORDER_ID,
    TEE_IDS,
    TEE_KEYS,
    World,
    fetch_signature,
    node,
    paid_order,
    receipt,
)
from tests.support.storage import WRITER

FETCH = fetch_signature()


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, storage=0)


def test_fan_out_names_each_failure(world: World) -> None:
    core = world.light()
    world.tees[TEE_IDS[1]].error = RefusedError("tee.revoked", "The order is revoked.", actor="provider")
    world.tees[TEE_IDS[2]].receipt = receipt(2, key=TEE_KEYS[0])
    report = core.fan_out(ORDER_ID, FETCH)
    assert [(node_id, cfrag[:1]) for node_id, cfrag, _receipt, _acks in report.answers] == [(TEE_IDS[0], b"\0")]
    assert [(f.slot, f.node_id, f.error.code) for f in report.failed] == [
        (1, TEE_IDS[1], "tee.revoked"),
        (2, TEE_IDS[2], "light.receipt"),
    ]
    assert core.delivery.held(ORDER_ID) == (FETCH, [receipt(0)])
    assert len(core.reencrypt(ORDER_ID, FETCH)) == 1


def test_a_node_cannot_answer_for_another_slot(world: World) -> None:
    world.tees[TEE_IDS[0]].receipt = receipt(1)
    report = world.light().fan_out(ORDER_ID, FETCH)
    assert [(f.slot, f.error.code) for f in report.failed] == [(0, "light.receipt")]


def test_only_the_fetch_signer_makes_nodes_work(world: World) -> None:
    core = world.light()
    for bad in (fetch_signature(key=WRITER), replace(FETCH, generation=2), replace(FETCH, signature=b"\0" * 65)):
        assert code_of(lambda bad=bad: core.fan_out(ORDER_ID, bad)) == "light.fetch-signature"
        assert code_of(lambda bad=bad: core.acknowledge(ORDER_ID, bad, receipt(0))) == "light.fetch-signature"
    world.chain.orders_by_id[ORDER_ID] = paid_order(approval=None)
    assert code_of(lambda: core.fan_out(ORDER_ID, FETCH)) == "light.not-approved"


def test_an_ack_is_signed_over_the_digest_and_the_receipt_is_on_disk(world: World) -> None:
    core = world.light()
    ack = core.acknowledge(ORDER_ID, FETCH, receipt(0))
    digest = receipt_digest(DOMAIN, ORDER_ID, receipt(0))
    assert (ack.receipt_digest, ack.node_id, ack.epoch) == (digest, b"\x11" * 32, 1)
    assert recover(ack_digest(DOMAIN, digest, ack.node_id, ack.epoch), ack.signature) == WRITER.address
    again = ReceiptStore(world.folder / "light" / "receipts.sqlite")  # as after kill -9
    assert again.receipts(ORDER_ID) == [receipt(0)]
    assert again.fetch(ORDER_ID, 1) == FETCH
    assert core.acknowledge(ORDER_ID, FETCH, receipt(0)) == ack


def test_an_ack_without_the_fetch_only_from_the_node_that_passed_it_on(world: World) -> None:
    core = world.light()
    assert code_of(lambda: core.acknowledge(ORDER_ID, None, receipt(0))) == "light.no-fetch"
    asked = []

    def while_asked(order_id: bytes, fetch: Any) -> Any:
        asked.append(core.acknowledge(order_id, None, receipt(0)))  # the TEE node asks before it answers
        return b"\0" * 359, receipt(0), tuple(asked)

    world.tees[TEE_IDS[0]].reencrypt = while_asked  # type: ignore[method-assign]
    core.fan_out(ORDER_ID, FETCH)
    assert asked[0].node_id == b"\x11" * 32


@pytest.mark.parametrize(
    "bad",
    [
        receipt(0, key=TEE_KEYS[1]),
        receipt(1, key=TEE_KEYS[0]),
        replace(receipt(0), slot=7),
        receipt(0, generation=2),
        receipt(0, kfrag_id=b"x" * 32),
        receipt(0, epoch=2),
        receipt(0, node_id=TEE_IDS[1]),
        receipt(0, fetch_digest=b"x" * 32),
        replace(receipt(0), block_number=6),
        replace(receipt(0), signature=b"\0" * 65),
        replace(receipt(0), slot=300),
    ],
)
def test_a_receipt_that_would_not_count_is_not_acknowledged(world: World, bad: Any) -> None:
    core = world.light()
    assert code_of(lambda: core.acknowledge(ORDER_ID, FETCH, bad)) == "light.receipt"
    assert core.delivery.held(ORDER_ID) == (None, [])


def test_a_storage_node_signs_no_receipts(world: World) -> None:
    world.chain.node_list[0] = node(TEE_IDS[0], NodeKind.STORAGE, TEE_KEYS[0])
    assert code_of(lambda: world.light().acknowledge(ORDER_ID, FETCH, receipt(0))) == "light.receipt"


def test_a_slot_replaced_by_reseal_still_counts_for_who_was_accepted(world: World) -> None:
    order = paid_order()
    assert order.approval is not None
    moved = replace(order.approval.slots[0], node_id=TEE_IDS[2], epoch=1)
    world.chain.orders_by_id[ORDER_ID] = paid_order(
        approval=replace(order.approval, slots=(moved, *order.approval.slots[1:]))
    )
    core = world.light()
    core.acknowledge(ORDER_ID, FETCH, receipt(0))
    world.chain.orders_by_id[ORDER_ID] = replace(world.chain.orders_by_id[ORDER_ID], accepted=())
    assert code_of(lambda: core.acknowledge(ORDER_ID, FETCH, receipt(0))) == "light.receipt"


@pytest.mark.parametrize(
    "state", [OrderState.REQUESTED, OrderState.APPROVED, OrderState.REFUNDED, OrderState.CANCELLED]
)
def test_no_ack_for_an_order_without_delivery(world: World, state: OrderState) -> None:
    world.chain.orders_by_id[ORDER_ID] = paid_order(state=state)
    assert code_of(lambda: world.light().acknowledge(ORDER_ID, FETCH, receipt(0))) == "light.order-state"


def test_no_ack_without_a_disk(world: World) -> None:
    core = world.light()
    core.receipts.close()
    with pytest.raises(UnavailableError) as caught:
        core.acknowledge(ORDER_ID, FETCH, receipt(0))
    assert caught.value.code == "light.receipt-store"


def test_the_forwarding_node_records_at_once_and_lets_go_when_final(world: World) -> None:
    core = world.light()
    core.fan_out(ORDER_ID, FETCH)
    [sent] = core.delivery.sweep()
    assert sent.verb == "record_delivery"
    [(order_id, fetch, receipts)] = world.chain.recorded
    assert (order_id, fetch, receipts) == (ORDER_ID, FETCH, (receipt(0), receipt(1)))
    assert core.delivery.sweep() == []
    assert core.delivery.unrecorded() == 1  # recorded, but a reorg can still undo it
    world.chain.finalize()
    core.delivery.sweep()
    assert core.delivery.unrecorded() == 0


def test_a_reorg_that_drops_the_record_is_answered_by_another(world: World) -> None:
    core = world.light()
    core.fan_out(ORDER_ID, FETCH)
    core.delivery.sweep()
    world.chain.orders_by_id[ORDER_ID] = paid_order()
    core.delivery.sweep()
    assert len(world.chain.recorded) == 2


def test_an_acknowledging_node_waits_then_collects_from_others_and_records(world: World, tmp_path: Path) -> None:
    core = world.light()
    core.acknowledge(ORDER_ID, FETCH, receipt(0))
    other = world.light(folder=tmp_path / "other", node_id=b"\x22" * 32, account=None)
    other.acknowledge(ORDER_ID, FETCH, receipt(1))
    world.chain.node_list += [node(b"\x11" * 32, NodeKind.LIGHT, WRITER), node(b"\x22" * 32, NodeKind.LIGHT, CONSUMER)]
    world.chain.node_list.append(node(b"\x33" * 32, NodeKind.LIGHT, CONSUMER))
    liar = SimpleNamespace(receipts=lambda _order: (FETCH, [receipt(2, key=TEE_KEYS[0])]))
    world.lights = {b"\x22" * 32: SimpleNamespace(receipts=other.delivery.held), b"\x33" * 32: liar}
    assert core.delivery.sweep() == []
    world.now += 31
    assert len(core.delivery.sweep()) == 1
    assert world.chain.recorded[0][2] == (receipt(0), receipt(1))
    assert other.delivery.sweep() == []  # it has no account to pay with
    assert core.delivery.held(ORDER_ID)[1] == [receipt(0), receipt(1)]


def test_too_few_receipts_wait_and_are_kept_until_grace_is_over(world: World) -> None:
    core = world.light()
    core.acknowledge(ORDER_ID, FETCH, receipt(0))
    world.now += 500
    assert core.delivery.sweep() == []
    world.chain.orders_by_id[ORDER_ID] = paid_order(state=OrderState.REFUNDED)
    world.now = NOW + 1000 + 99.0
    core.delivery.sweep()
    assert core.delivery.unrecorded() == 1
    world.now = NOW + 1000 + 102.0
    core.delivery.sweep()
    assert core.delivery.unrecorded() == 0


def test_a_revoked_order_is_recorded_within_grace(world: World) -> None:
    core = world.light()
    core.fan_out(ORDER_ID, FETCH)
    world.chain.orders_by_id[ORDER_ID] = paid_order(state=OrderState.REVOKED)
    assert len(core.delivery.sweep()) == 1


def test_a_chain_outage_ends_a_round_not_the_node(world: World) -> None:
    core = world.light()
    core.fan_out(ORDER_ID, FETCH)
    world.chain.down = UnavailableError("chain.endpoint-down", "The chain does not answer.")
    assert core.delivery.sweep() == []
    assert {reason.code for reason in core.health()} >= {"light.chain-down", "light.storage-below-r"}
    world.chain.down = None
    assert len(core.delivery.sweep()) == 1
    world.now += 121
    world.chain.head_at = NOW
    assert "light.head-stale" in {reason.code for reason in core.health()}


def test_an_unknown_order_is_the_callers_fault(world: World) -> None:
    with pytest.raises(BridgeError) as caught:
        world.light().acknowledge(b"\0" * 32, FETCH, receipt(0))
    assert caught.value.code == "chain.not-found"
