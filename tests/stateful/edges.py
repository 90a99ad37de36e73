"""Every deadline of the machine: what begins or ends at it, and the call that shows it.

An edge finds an order (or node, or change) in the right state and gives the call, the second `at` and whether the call `begins` to be
allowed there (else it ends there). The machine puts the call into the block of `at` and into the one before.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from eth_hash.auto import keccak

from asset_bridge.chain.actor import AGREEMENT_SECONDS
from asset_bridge.chain.ids import cfrag_digest
from asset_bridge.chain.keys import address_bytes
from asset_bridge.chain.messages import receipt_digest, to_compact
from asset_bridge.chain.packing import key_parts, uint
from asset_bridge.chain.records import ZERO32, ZERO_ADDRESS, NodeKind, Order, OrderState
from asset_bridge.errors import InputError
from tests.stateful.pair import Pair

if TYPE_CHECKING:
    from tests.stateful.machine import ChainMachine
    from tests.stateful.market import MarketScene


@dataclass
class Edge:
    """A deadline."""

    at: int
    begins: bool
    act: Callable[[], object]
    refused_by: str = "deadline"
    """What the refusal on the wrong side says."""


def _approve(m: ChainMachine, pick: int) -> Edge:
    order = _fresh(m, pick, OrderState.REQUESTED)
    approval = m.scene.approval(order)
    return Edge(order.approve_by, False, lambda: m.scene.provider.approve(order.order_id, approval))


def _deny(m: ChainMachine, pick: int) -> Edge:
    order = _fresh(m, pick, OrderState.REQUESTED)
    return Edge(order.approve_by, False, lambda: m.scene.provider.deny(order.order_id, keccak(b"no"), 5))


def _fresh(m: ChainMachine, pick: int, state: OrderState) -> Order:
    """An order in this state, whose time has not run out. InputError where the rules no longer let one come so far."""
    found = [o for o in m.orders if m.status(o).state == state and m.in_time(o)]
    order = m.pair.twin.order(found[pick % len(found)] if found else m.bring(pick, state))
    if order.state != state:
        raise InputError("test.no-such-order", f"no order can be brought to {state.name}")
    return order


def _expire(state: OrderState) -> Callable[[ChainMachine, int], Edge]:
    def edge(m: ChainMachine, pick: int) -> Edge:
        order = _fresh(m, pick, state)
        at = order.approve_by if state is OrderState.REQUESTED else order.pay_by
        return Edge(at, True, lambda: m.scene.recorder.expire(order.order_id))

    return edge


def _pay(m: ChainMachine, pick: int) -> Edge:
    order = _fresh(m, pick, OrderState.APPROVED)
    assert order.approval is not None
    accepts = [m.scene.accept(order, slot) for slot in range(len(order.approval.slots))]
    m.scene.consumer.allow_payment(order.order_id)
    return Edge(order.pay_by, False, lambda: m.scene.consumer.pay(order.order_id, accepts))


def _permit(m: ChainMachine, pick: int) -> Edge | None:
    """A permit counts up to and including its deadline."""
    order = m.order_in(m.tokens[0], pick, OrderState.APPROVED)
    at = m.pair.twin.now_at + 20
    if order.state is not OrderState.APPROVED or order.terms.offer.token != m.tokens[0] or order.pay_by <= at:
        return None
    m.take_back(m.tokens[0])
    permit = m.permit(order, deadline=at - 1)
    return Edge(at, False, lambda: m.pay_with(order, permit), "token did not arrive")


def _deliver(m: ChainMachine, pick: int) -> Edge:
    order = _fresh(m, pick, OrderState.PAID)
    assert order.approval is not None
    receipts = [m.scene.receipt(order, slot) for slot in range(len(order.approval.slots))]
    fetch = m.scene.fetch(order, order.approval.generation)
    at = order.deliver_by + m.pair.twin.grace_seconds()
    return Edge(at, False, lambda: m.scene.recorder.record_delivery(order.order_id, fetch, receipts))


def _refund(m: ChainMachine, pick: int) -> Edge:
    order = _fresh(m, pick, OrderState.PAID)
    who = m.scene.consumer if pick % 2 else m.scene.recorder
    return Edge(order.deliver_by + m.pair.twin.grace_seconds(), True, lambda: who.refund(order.order_id))


def _undisputed(m: ChainMachine, pick: int) -> Order:
    """A delivered order in its window, without a challenge."""
    now = m.pair.twin.now_at
    found = [
        o for o in m.orders if (s := m.status(o)).state == OrderState.DELIVERED and not s.flags & 1 and s.deadline > now
    ]
    order = m.pair.twin.order(found[pick % len(found)] if found else m.bring(pick, OrderState.DELIVERED))
    if order.state != OrderState.DELIVERED:
        raise InputError("test.no-such-order", "no order can be brought to DELIVERED")
    return order


def _settle(m: ChainMachine, pick: int) -> Edge:
    order = _undisputed(m, pick)
    return Edge(order.windows_end, True, lambda: m.scene.recorder.settle(order.order_id), "not the consumer")


def _challenge(m: ChainMachine, pick: int) -> Edge:
    order = _undisputed(m, pick)
    return Edge(order.windows_end, False, lambda: m.scene.consumer.challenge(order.order_id))


def _challenged(m: ChainMachine, pick: int) -> tuple[Order, int]:
    order = _undisputed(m, pick)
    m.scene.consumer.challenge(order.order_id)
    found = m.pair.twin.challenge_of(order.order_id)
    assert found is not None
    return order, found.answer_by


def _answer(m: ChainMachine, pick: int) -> Edge:
    order, answer_by = _challenged(m, pick)
    assert order.approval is not None
    proofs, generation = [(1, m.scene.proof(order, 1))], order.approval.generation
    return Edge(answer_by, False, lambda: m.scene.recorder.answer_challenge(order.order_id, proofs, generation))


def _close(m: ChainMachine, pick: int) -> Edge:
    order, answer_by = _challenged(m, pick)
    return Edge(answer_by, True, lambda: m.scene.recorder.close_challenge(order.order_id))


def _reseal(m: ChainMachine, pick: int) -> Edge | None:
    """Sealing again ends with access."""
    order = _fresh(m, pick, OrderState.DELIVERED)
    if order.approval is None or order.serving_stopped or order.state is not OrderState.DELIVERED:
        return None
    old = order.approval.slots[0]
    new = m.scene.slot(order, m.scene.holder(old), order.approval.precursor, like=old)
    replacement, accept = replace(order.approval, slots=(new,)), m.scene.accept(order, 0, new)
    act = lambda: m.scene.provider.reseal(order.order_id, 0, replacement, accept)  # noqa: E731
    return Edge(order.ends_at, False, act, "access has ended")


def _order_key(m: ChainMachine, pick: int) -> Edge:
    """An approval needs order keys that have not expired."""
    order = _fresh(m, pick, OrderState.REQUESTED)
    approval, at = m.scene.approval(order), m.pair.twin.now_at + 20
    keys = replace(approval, slots=tuple(replace(slot, order_key_expires_at=at) for slot in approval.slots))
    return Edge(at, False, lambda: m.scene.provider.approve(order.order_id, keys), "order key has expired")


def _node_expiry(m: ChainMachine, pick: int) -> Edge | None:
    """A node whose epoch ended takes no order."""
    order, tee, at = _fresh(m, pick, OrderState.REQUESTED), m.scene.tees[3], m.pair.twin.now_at + 20
    others = [m.pair.twin.node(other.node_id) for other in m.scene.tees[1:3]]  # whose epochs must not end before
    if not m.pair.twin.node(tee.node_id).live or any(other.current.expires_at <= at for other in others):
        return None
    tee.operator.renew_node(tee.node_id, **m.scene.epoch(NodeKind.TEE, tee.key, at))  # type: ignore[arg-type]
    approval = m.scene.approval(order, nodes=m.scene.tees[1:])
    return Edge(at, False, lambda: m.scene.provider.approve(order.order_id, approval), "registry: epoch has expired")


def _withdraw(m: ChainMachine, pick: int) -> Edge | None:
    """A stake leaves when the last window that it guarantees is over."""
    node = m.scene.tees[pick % 3]
    at = m.pair.twin.node(node.node_id).busy_until
    return Edge(at, True, lambda: node.operator.withdraw_node(node.node_id), "node is busy")


def _retire(m: ChainMachine, pick: int) -> Edge:
    asset = m.pair.twin.asset(m.assets[pick % 2])
    return Edge(asset.busy_until, True, lambda: m.scene.provider.retire(asset.asset_id), "asset is busy")


def _apply_change(m: ChainMachine, pick: int) -> Edge | None:
    provider, own = m.scene.provider, m.scene.provider.address
    provider.propose_change(own, own, m.accounts["payee"].address, ZERO_ADDRESS)
    change = m.pair.twin.provider_account(own).change
    assert change is not None
    return Edge(change.applies_at, True, lambda: m.scene.recorder.apply_change(own, change), "change is too early")


def _authority(m: ChainMachine, pick: int) -> Edge:
    """A signature counts up to and including its deadline."""
    order = _fresh(m, pick, OrderState.PAID)
    half = m.scene.provider.agree_refund_signature(order.order_id)
    at = m.pair.twin.block().timestamp + AGREEMENT_SECONDS + 1
    return Edge(at, False, lambda: m.scene.consumer.agree_refund(order.order_id, half, b""))


EDGES: dict[str, Callable[[ChainMachine, int], Edge | None]] = {
    "approve": _approve,
    "deny": _deny,
    "expire a request": _expire(OrderState.REQUESTED),
    "expire an approval": _expire(OrderState.APPROVED),
    "pay": _pay,
    "permit": _permit,
    "record_delivery": _deliver,
    "refund": _refund,
    "settle by anyone": _settle,
    "challenge": _challenge,
    "answer": _answer,
    "close": _close,
    "reseal": _reseal,
    "order key": _order_key,
    "epoch of a node": _node_expiry,
    "withdraw a stake": _withdraw,
    "retire": _retire,
    "apply_change": _apply_change,
    "authority": _authority,
}
STAYING = frozenset({"approve", "pay", "deny", "record_delivery", "challenge", "answer", "expire a request"})
"""Edges that may stay; the others move time far, or take a node away."""
BOTH_SIDES = {f"edge {name} {side}" for name in EDGES for side in ("before", "at")}


def contradict(pair: Pair, scene: MarketScene, order: Order, slot: int, *, lie: bool) -> None:
    """A receipt of the node in `slot`, false if `lie`, shown beside the proof of the true fragment."""
    assert order.approval is not None
    made = scene.receipt(order, slot)
    if lie:
        made = replace(made, cfrag_digest=cfrag_digest(made.kfrag_id, scene.numbers.point(), scene.numbers.point()))
        digest = receipt_digest(scene.domain, order.order_id, made)
        made = replace(made, signature=scene.holder(order.approval.slots[slot]).key.sign_digest(digest))
    facts = pair.twin.facts(order.order_id)
    listing = pair.twin.asset(order.terms.asset_id).listing
    assert facts.table is not None
    packed = uint(slot, 1) + made.cfrag_digest + uint(made.block_number, 8) + made.block_hash
    fetch = scene.fetch(order, order.approval.generation)
    args = (
        order.order_id, facts.terms, key_parts(listing), listing.capsule, facts.table.pack(), ZERO32, facts.progress_hash,
        b"", to_compact(fetch.signature), packed + to_compact(made.signature), scene.proof(order, slot),
        scene.recorder.address,
    )  # fmt: skip
    pair.touched += address_bytes(scene.consumer.address)
    pair.both(scene.recorder.address, "Challenges", "contradict", args, 0, "contradict")
