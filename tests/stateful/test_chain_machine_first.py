"""A quarter of the sequences of contracts against the twin (machine.py)."""

from __future__ import annotations

import boa
import pytest

from tests.stateful.runs import parts, run_edges, run_part, run_rules
from tests.support.revm import ENGINES


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("part", parts(0, 4))
def test_the_contracts_and_the_twin_agree_on_every_sequence(part: int) -> None:
    run_part(part)


@pytest.mark.parametrize("engine", ENGINES)
def test_every_deadline_is_met_at_its_exact_edge(engine: type[boa.Env]) -> None:
    run_edges(engine)


@pytest.mark.parametrize("engine", ENGINES)
def test_every_rule_is_shown_to_succeed(engine: type[boa.Env]) -> None:
    run_rules(engine)
