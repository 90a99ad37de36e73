"""One turn of the agent: look at every order of this account, and do what its owner allowed.

Source: protocol §8 (last sentence), spec/attestation.md §6 (`[agent]`). Promises: a turn never raises for one order's failure, it tells it
and goes on; what it does is what the command of the same name does, so the next turn finishes one that was stopped; it approves and
accepts only where the owner's policy says so. Does not promise: to notice what happens between turns; the caller chooses how often.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from asset_bridge.attestation.policy import AgentRules
from asset_bridge.chain.records import At, Node, Order, OrderState
from asset_bridge.errors import BridgeError
from asset_bridge.trade.accept import accept, record_delivery
from asset_bridge.trade.approve import approve
from asset_bridge.trade.challenge import answer
from asset_bridge.trade.desk import Desk
from asset_bridge.trade.evidence import Examiner
from asset_bridge.trade.inbox import inbox
from asset_bridge.trade.reseal import RESEALABLE, lost_slots, reseal


@dataclass(frozen=True, slots=True)
class Done:
    """One thing that the agent did or could not do. `code` is empty for what succeeded."""

    order_id: bytes
    verb: str
    told: str
    code: str = ""


class Agent:
    """The duties of one account. Keeps nothing but which requests it has told about."""

    def __init__(self, rules: AgentRules) -> None:
        self._rules = rules
        self._told: set[bytes] = set()

    def turn(self, desk: Desk, examiner: Callable[[], Examiner]) -> Iterator[Done]:
        """Do what is due now, one thing after the other."""
        for order in desk.reader.orders(provider=desk.address):
            yield from self._answer(desk, order)
            yield from self._reseal(desk, order, examiner)
        yield from self._inbox(desk, examiner)
        for order in desk.reader.orders(consumer=desk.address):
            yield from self._receipts(desk, order)

    def _answer(self, desk: Desk, order: Order) -> Iterator[Done]:
        """A challenge of a delivery: the fragments from the nodes onto the chain; its bond pays for it, the price rests on it."""
        if not self._rules.answer or not order.challenged or order.state is not OrderState.DELIVERED:
            return
        found = desk.reader.challenge_of(order.order_id)
        if found is None or desk.reader.block().timestamp >= found.answer_by:
            return
        try:
            done = answer(desk, order.order_id)
        except BridgeError as error:
            yield Done(order.order_id, "answer", error.message, error.code)
            return
        told = "challenge met" if done.met else "challenge answered in part"
        yield Done(order.order_id, "answer", f"{told}, {len(done.slots)} fragments posted")

    def _reseal(self, desk: Desk, order: Order, examiner: Callable[[], Examiner]) -> Iterator[Done]:
        if not self._rules.reseal or order.state not in RESEALABLE or order.approval is None:
            return
        lost = lost_slots(order, _nodes(desk, order))
        back = tuple(slot.slot for slot in lost if _is_back(desk, slot.node_id))
        if not back:
            return
        try:
            found = reseal(desk, order.order_id, examiner(), back)
        except BridgeError as error:
            yield Done(order.order_id, "reseal", error.message, error.code)
            return
        if found.slots:
            yield Done(order.order_id, "reseal", f"sealed {len(found.slots)} lost shares again")
        for node in found.failed:
            yield Done(order.order_id, "reseal", node.detail, node.codes[0] if node.codes else "")

    def _inbox(self, desk: Desk, examiner: Callable[[], Examiner]) -> Iterator[Done]:
        for item in inbox(desk):
            order_id = item.order.order_id
            if self._rules.approve and not item.problem:
                try:
                    done = approve(desk, order_id, examiner())
                    yield Done(order_id, "approve", f"approved, {done.threshold} of {len(done.chosen)} shares")
                except BridgeError as error:
                    yield Done(order_id, "approve", error.message, error.code)
            elif order_id not in self._told:
                self._told.add(order_id)
                yield Done(order_id, "inbox", f"a request for {item.title!r} waits for your answer")

    def _receipts(self, desk: Desk, order: Order) -> Iterator[Done]:
        """Record the receipts of what was fetched; accept what was opened, where the owner allows it."""
        if desk.vault.halves.get(order.order_id.hex()) is None:
            return
        wanted: list[tuple[str, Callable[[Desk, bytes], object]]] = []
        if self._rules.accept and order.state in (OrderState.PAID, OrderState.DELIVERED):
            wanted.append(("accept", accept))
        elif order.state is OrderState.PAID:
            wanted.append(("record delivery", record_delivery))
        for verb, act in wanted:
            try:
                act(desk, order.order_id)
                yield Done(order.order_id, verb, "done")
            except BridgeError as error:
                yield Done(order.order_id, verb, error.message, error.code)


def _nodes(desk: Desk, order: Order) -> dict[bytes, Node]:
    found = {}
    for slot in order.approval.slots if order.approval is not None else ():
        try:
            found[slot.node_id] = desk.reader.node(slot.node_id, At.FINAL)
        except BridgeError:
            continue
    return found


def _is_back(desk: Desk, node_id: bytes) -> bool:
    """Whether a node that lost its keys can take a share again: it is live, at a finalized block and at the head."""
    try:
        return desk.reader.node(node_id, At.FINAL).live and desk.reader.node(node_id).live
    except BridgeError:
        return False
