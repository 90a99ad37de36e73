"""Running the machine: in parts of fifty sequences, so that several files and workers share them."""

from __future__ import annotations

import boa
from eth_hash.auto import keccak
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.stateful.agreement import TOTAL
from tests.stateful.edges import BOTH_SIDES, EDGES
from tests.stateful.machine import MUST_SUCCEED, ChainMachine
from tests.support.depth import depth, depths_read

SEQUENCES_A_PART = 50
FEW = 4
"""Kinds of calls that fifty random sequences may leave out; `run_rules` leaves out none."""
MOST_PICKS = 200
FEWEST_RULES = 25
COLLECTED: set[int] = set()


def run_part(part: int) -> None:
    """SEQUENCES_A_PART sequences, other ones in each part."""
    TOTAL.clear()
    seeded = seed(part)(type(f"ChainMachine{part}", (ChainMachine,), {}))
    run_state_machine_as_test(
        seeded,
        settings=settings(
            max_examples=SEQUENCES_A_PART,
            stateful_step_count=depth("chain_machine_steps"),
            deadline=None,
            derandomize=False,
            database=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate],
        ),
    )
    never = sorted(MUST_SUCCEED - set(TOTAL))
    assert len(never) <= FEW, f"never succeeded: {never}"
    assert sum(1 for name in TOTAL if name.startswith("refused")) >= 25
    met = sum(1 for name in BOTH_SIDES if TOTAL[name])
    assert met >= len(BOTH_SIDES) // 3, (
        f"{met} of {len(BOTH_SIDES)} sides of a deadline were met; `run_edges` meets all"
    )
    print(f"part {part}: {met} of {len(BOTH_SIDES)} sides of a deadline, {TOTAL.total()} calls and edges")


def run_rules(engine: type[boa.Env]) -> None:
    """Every rule with picks of its own, each undone, until every kind of call has succeeded."""
    TOTAL.clear()
    machine = ChainMachine(engine)
    rules = [name for name in dir(ChainMachine) if hasattr(getattr(ChainMachine, name), "hypothesis_stateful_rule")]
    assert len(rules) >= FEWEST_RULES
    try:
        for number in range(MOST_PICKS):
            pick = int.from_bytes(keccak(b"%d" % number)[:3], "big")
            for name in rules:
                with machine.excursion():
                    getattr(machine, name)(pick=pick)
            if set(machine.pair.seen) >= MUST_SUCCEED - {"rebuilt from events"}:
                break
    finally:
        machine.teardown()
    never = sorted(MUST_SUCCEED - set(TOTAL))
    assert not never, f"never succeeded: {never}"


def run_edges(engine: type[boa.Env]) -> None:
    """Every deadline, from both sides, on the stocked market."""
    TOTAL.clear()
    machine = ChainMachine(engine)
    try:
        for name in EDGES:
            for at_deadline in (False, True):
                machine.meet(name, at_deadline, 0, strict=True)
    finally:
        machine.teardown()
    assert sorted(BOTH_SIDES - set(TOTAL)) == [], "a deadline was not met"


def parts(group: int, groups: int) -> list[int]:
    """The parts of one of `groups` files, so that several workers share the sequences; the page of deep runs counts those alone."""
    whole = depth("chain_machine_runs")
    chosen = list(range(group, -(-whole // SEQUENCES_A_PART), groups))
    COLLECTED.update(chosen)
    depths_read["chain_machine_runs"] = min(whole, len(COLLECTED) * SEQUENCES_A_PART)
    return chosen
