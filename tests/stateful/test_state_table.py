"""The table of spec/contracts.md §7 is what the compiled contracts (and the twin) do: every function in every state, by everyone, in and
after each period."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from eth_hash.auto import keccak

from asset_bridge.chain.packing import SERVING_STOPPED
from asset_bridge.chain.records import Approval, Order, OrderState
from asset_bridge.errors import BridgeError, InputError
from tests.stateful.edges import contradict
from tests.stateful.machine import ChainMachine
from tests.stateful.pair import PairAccount

SPEC = Path(__file__).parents[2] / "spec" / "contracts.md"
ROLES = ("provider", "consumer", "anyone")
BASES = {"challenged": "delivered", "answered": "delivered", "stopped": "delivered", "revoked (unpaid)": "revoked"}
"""Conditions of an order that the table tells apart by its last column."""
WITH_TABLE = {
    "approved",
    "cancelled",
    "paid",
    "revoked (paid)",
    "revoked (unpaid)",
    "delivered",
    "settled",
    "refunded",
    *BASES,
}
ONCE_PAID = {"paid", "revoked (paid)", "delivered", "challenged", "answered", "stopped", "settled", "refunded"}
NEEDS_A_TABLE = {
    *("record_delivery", "accept_receipts", "reseal", "record_destroyed", "Challenges.challenge", "Challenges.answer"),
    *("Challenges.close", "Challenges.contradict", "regenerate"),
}
"""Functions whose call cannot even be written without the table that an approval makes."""


@dataclass(frozen=True)
class Row:
    """A line of the table."""

    function: str
    who: str
    states: str
    to: str
    when: str

    @property
    def late(self) -> bool:
        """Only after a period."""
        return self.when.startswith("now ≥")

    def roles(self) -> set[str]:
        if self.who.startswith("anyone"):
            return set(ROLES)
        return {role for role in ROLES if role in self.who.partition(", after pay")[0]}

    def covers(self, state: str) -> bool:
        """Whether the line is about orders in this state."""
        if self.states == "delivered, challenged":
            return state == "challenged"
        if self.states in ("any with a table", "any once paid"):
            return state in (WITH_TABLE if self.states == "any with a table" else ONCE_PAID)
        if BASES.get(state, state) not in self.states.split(", "):
            return False
        if state == "challenged" and "no open challenge" in self.when:
            return False
        if state in ("challenged", "answered") and self.function == "Challenges.challenge":
            return False  # "once"
        stops = self.function in ("reseal", "regenerate") or self.to.endswith("serving_stopped")
        return not (state == "stopped" and stops)


def table() -> list[Row]:
    """The lines of §7 that are about orders and that a person or node calls."""
    text = SPEC.read_text().split("## 7. Who may do what, when")[1].split("## 8.")[0]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("| ")
    ]
    made = [Row(*row) for row in rows[1:]]
    return [row for row in made if row.who != "Challenges" and row.function not in ("Challenges.withdraw", "claim")]


# ── the calls ──
def shares(order: Order) -> Approval:
    """The approval without which the call cannot be written."""
    if order.approval is None:
        raise InputError("test.no-table", "the order was never approved")
    return order.approval


def accepts(m: ChainMachine, order: Order) -> list[object]:
    return [m.scene.accept(order, slot) for slot in range(len(order.approval.slots))] if order.approval else []


def receipts(m: ChainMachine, order: Order) -> list[object]:
    return [m.scene.receipt(order, slot) for slot in (1, 2) if shares(order)]


def agree(m: ChainMachine, who: PairAccount, order: Order) -> object:
    """Each side with the other's half; a stranger with the consumer's alone."""
    consumer = who is m.scene.consumer
    half = (m.scene.provider if consumer else m.scene.consumer).agree_refund_signature(order.order_id)
    return who.agree_refund(order.order_id, half if consumer else b"", b"" if consumer else half)


def reseal(m: ChainMachine, who: PairAccount, order: Order) -> object:
    old = shares(order).slots[0]
    new = m.scene.slot(order, m.scene.holder(old), shares(order).precursor, like=old)
    one = replace(shares(order), slots=(new,))
    return who.reseal(order.order_id, 0, one, m.scene.accept(order, 0, new))


def regenerate(m: ChainMachine, who: PairAccount, order: Order) -> object:
    approval = m.scene.approval(order, generation=order.approval.generation + 1 if order.approval else 1)
    consent, given = b"", []
    if order.ends_at:
        consent = m.scene.consumer.new_generation_signature(order.order_id, approval)
        given = accepts(m, replace(order, approval=approval))
    return who.new_generation(order.order_id, approval, consent, given)


def answer(m: ChainMachine, who: PairAccount, order: Order) -> object:
    return who.answer_challenge(
        order.order_id, [(slot, m.scene.proof(order, slot)) for slot in (1, 2) if shares(order)], 1
    )


def contradicted(m: ChainMachine, who: PairAccount, order: Order) -> object:
    shares(order)
    return contradict(m.pair, m.scene, order, order.accepted[0][0] if order.accepted else 1, lie=True)


Verb = Callable[[ChainMachine, PairAccount, Order], object]
VERBS: dict[str, Verb] = {
    "approve": lambda m, who, o: who.approve(o.order_id, m.scene.approval(o)),
    "deny": lambda m, who, o: who.deny(o.order_id, keccak(b"no"), 5),
    "cancel": lambda m, who, o: who.cancel(o.order_id),
    "expire": lambda m, who, o: who.expire(o.order_id),
    "pay": lambda m, who, o: who.pay(o.order_id, accepts(m, o)),  # type: ignore[arg-type]
    "record_delivery": lambda m, who, o: who.record_delivery(o.order_id, m.scene.fetch(o), receipts(m, o)),  # type: ignore[arg-type]
    "accept_receipts": lambda m, who, o: who.accept_receipts(o.order_id, m.scene.fetch(o), receipts(m, o)),  # type: ignore[arg-type]
    "settle": lambda m, who, o: who.settle(o.order_id),
    "agree_refund": agree,
    "refund": lambda m, who, o: who.refund(o.order_id),
    "revoke": lambda m, who, o: who.revoke(o.order_id),
    "reseal": reseal,
    "regenerate": regenerate,
    "record_destroyed": lambda m, who, o: who.record_destroyed(
        o.order_id, m.scene.destroyed(o, len(shares(o).slots) - 2)
    ),
    "Challenges.challenge": lambda m, who, o: who.challenge(o.order_id),
    "Challenges.answer": answer,
    "Challenges.close": lambda m, who, o: who.close_challenge(o.order_id),
    "Challenges.contradict": contradicted,
}


# ── the orders ──
def orders(m: ChainMachine) -> dict[str, bytes]:
    """One order in each condition, priced in coins; the one that moves time comes first."""
    s, coin, made = m.scene, "0x" + "0" * 40, {}
    made["expired"] = m.make(1, coin)
    m.exactly(m.pair.twin.order(made["expired"]).approve_by)
    s.recorder.expire(made["expired"])
    made["requested"] = m.make(1, coin)
    made["denied"] = m.make(1, coin)
    s.provider.deny(made["denied"], keccak(b"no"), 5)
    for name in ("approved", "cancelled", "revoked (unpaid)"):
        made[name] = m.bring(1, OrderState.APPROVED, coin)
    s.consumer.cancel(made["cancelled"])
    s.provider.revoke(made["revoked (unpaid)"])
    for name in ("paid", "refunded"):
        made[name] = m.bring(1, OrderState.PAID, coin)
    agree(m, s.consumer, m.pair.twin.order(made["refunded"]))  # type: ignore[arg-type]
    made["revoked (paid)"] = m.bring(1, OrderState.REVOKED, coin)
    for name in ("delivered", "challenged", "answered", "stopped"):
        made[name] = m.bring(1, OrderState.DELIVERED, coin)
    for name in ("challenged", "answered"):
        s.consumer.challenge(made[name])
    answer(m, s.recorder, m.pair.twin.order(made["answered"]))  # type: ignore[arg-type]
    s.provider.revoke(made["stopped"])
    made["settled"] = m.bring(1, OrderState.SETTLED, coin)
    for name, order_id in made.items():
        base = BASES.get(name, name).partition(" ")[0].upper()
        assert m.pair.twin.order(order_id).state is OrderState[base], name
    return made


@pytest.fixture(scope="module")
def machine() -> Iterator[ChainMachine]:
    made = ChainMachine()
    yield made
    made.environment.close()


@pytest.fixture(scope="module")
def made(machine: ChainMachine) -> dict[str, bytes]:
    return orders(machine)


@pytest.mark.parametrize("function", VERBS)
def test_each_function_goes_in_the_states_of_the_table_by_those_it_names(
    function: str, machine: ChainMachine, made: dict[str, bytes]
) -> None:
    m, lines = machine, [row for row in table() if row.function == function]
    assert lines
    people = {"provider": m.scene.provider, "consumer": m.scene.consumer, "anyone": m.scene.recorder}
    seen: dict[tuple[str, bool], set[str]] = {}
    for state, order_id in made.items():
        order, before = m.pair.twin.order(order_id), m.status(order_id)
        ends = before.deadline + (m.pair.twin.grace_seconds() if function == "refund" else 0)
        for late in (False, True) if before.deadline else (False,):
            for role, who in people.items():
                with m.excursion():
                    if late:
                        m.exactly(ends)
                    calls = m.pair.seen.total()
                    try:
                        VERBS[function](m, who, order)  # type: ignore[arg-type]
                    except BridgeError:
                        went = False
                    else:
                        went = True
                    if m.pair.seen.total() == calls:  # the client refused: only where no call can be written
                        assert function in NEEDS_A_TABLE, (function, state)
                        assert not went
                        assert order.approval is None or order.delivered_receipts or not order.ends_at
                    if not went:
                        continue
                    seen.setdefault((state, late), set()).add(role)
                    check_end(m, order_id, state, before, [row for row in lines if row.covers(state)], late=late)
    for state in made:
        for late in (False, True):
            fitting = [row for row in lines if row.covers(state) and (late or not row.late)]
            wanted = {role for row in fitting for role in row.roles()}
            got = seen.get((state, False), set()) | (seen.get((state, True), set()) if late else set())
            if function == "Challenges.contradict":  # one account sends it: anyone's call is the same
                assert bool(got) == bool(wanted), (function, state)
                continue
            assert got == wanted, (function, state, "after its period" if late else "in its period")
    assert {state for state, _ in seen} or function == "request"


def check_end(m: ChainMachine, order_id: bytes, state: str, before: object, rows: list[Row], *, late: bool) -> None:
    """The order stands where one of the lines says."""
    after = m.status(order_id)
    fits = []
    for row in rows:
        to = row.to.partition(" (")[0].partition(",")[0]
        same = to == "same" and after.state == before.state  # type: ignore[attr-defined]
        fits.append(same or to.upper() == OrderState(after.state).name)
        if row.to.endswith("serving_stopped") and same:
            assert after.flags & SERVING_STOPPED
        if "generation + 1" in row.to:
            assert after.generation == before.generation + 1  # type: ignore[attr-defined]
    assert any(fits), (state, OrderState(after.state).name, late, [row.to for row in rows])


def test_every_line_of_the_table_is_tried() -> None:
    assert {row.function for row in table()} == {*VERBS, "request"}
