"""The spread rule (spec/attestation.md §7)."""

from __future__ import annotations

from collections import Counter
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asset_bridge.attestation.appraise import Accepted, Rejected
from asset_bridge.attestation.choose import choose_nodes
from asset_bridge.attestation.policy import NOBODY, Spread
from asset_bridge.attestation.refusal import Refusal
from asset_bridge.errors import InputError, RefusedError
from tests.support.depth import depth
from tests.unit.attestation import samples


def node(name: int, operator: int = -1, platform: int = -1, maker: str = "") -> Accepted:
    claims = samples.claims(
        platform_id=bytes([platform if platform >= 0 else name]) * 32, maker=maker or f"maker {name}"
    )
    return Accepted(bytes([name]) * 32, bytes([operator if operator >= 0 else name]) * 20, claims, samples.NOW)


def test_two_of_three_over_three_makers() -> None:
    nodes = [node(1), node(2), node(3), node(4)]
    choice = choose_nodes(samples.policy(), nodes, 2, 3)
    assert choice.chosen == tuple(nodes[:3])
    assert choice.spare == (nodes[3],)


@pytest.mark.parametrize("same", [{"operator": 9}, {"platform": 9}, {"maker": "amd"}])
def test_two_shares_on_one_of_anything_are_refused_for_two_of_three(same: dict[str, object]) -> None:
    nodes = [node(1, **same), node(2, **same), node(3)]  # type: ignore[arg-type]
    with pytest.raises(RefusedError) as caught:
        choose_nodes(samples.policy(), nodes, 2, 3)
    assert caught.value.code == "attestation.too-few"
    assert choose_nodes(samples.policy(), [*nodes, node(4)], 2, 3).chosen == (nodes[0], nodes[2], node(4))


def test_a_policy_may_turn_platform_and_vendor_off_but_never_two_of_one_operator() -> None:
    off = samples.policy(spread=Spread(operator=False, platform=False, vendor=False))
    one_vendor = [node(1, maker="amd", platform=9), node(2, maker="amd", platform=9), node(3, maker="amd", platform=9)]
    assert len(choose_nodes(off, one_vendor, 2, 3).chosen) == 3
    with pytest.raises(RefusedError):
        choose_nodes(off, [node(1, operator=9), node(2, operator=9), node(3)], 2, 3)


def test_refused_nodes_are_named_with_their_codes() -> None:
    bad = Rejected(b"\xab" * 32, b"o" * 20, (Refusal.MEASUREMENT, Refusal.NOT_REGISTERED))
    replay = Rejected(b"\xcd" * 32, b"o" * 20, (Refusal.NONCE,))
    choice = choose_nodes(samples.policy(), [bad, node(1), replay, node(2), node(3)], 2, 3)
    assert choice.refused == (bad, replay)
    with pytest.raises(RefusedError) as caught:
        choose_nodes(samples.policy(), [bad, node(1), replay, node(2)], 2, 3)
    assert "0xabababab…" in caught.value.message
    assert "measurement the policy does not list" in caught.value.message
    assert "replay" in caught.value.message


def test_without_a_policy_the_way_out_is_named() -> None:
    with pytest.raises(RefusedError) as caught:
        choose_nodes(NOBODY, [node(1), node(2), node(3)], 2, 3)
    assert caught.value.code == "attestation.policy-nobody"
    assert "approve ORDER --policy FILE" in caught.value.hint


@pytest.mark.parametrize(("t", "n"), [(1, 3), (0, 0), (4, 3), (2, 17)])
def test_impossible_numbers(t: int, n: int) -> None:
    with pytest.raises(InputError) as caught:
        choose_nodes(samples.policy(), [node(1)], t, n)
    assert caught.value.code == "attestation.threshold"


def test_the_policys_threshold_is_a_floor() -> None:
    with pytest.raises(InputError):
        choose_nodes(samples.policy(threshold=3, shares=5), [node(1)], 2, 3)


SETS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.sampled_from("abc")), max_size=7)


def obeys(nodes: tuple[Accepted, ...], t: int) -> bool:
    operators = Counter(item.operator for item in nodes)
    platforms = Counter(item.claims.platform_id for item in nodes)
    makers = Counter(item.claims.maker for item in nodes)
    return all(count == 1 for count in operators.values()) and all(
        count < t for counter in (platforms, makers) for count in counter.values()
    )


@settings(max_examples=depth("attestation_spread"))
@given(SETS, st.integers(2, 3), st.integers(0, 2))
def test_a_choice_obeys_and_is_found_exactly_when_there_is_one(
    drawn: list[tuple[int, int, str]], t: int, more: int
) -> None:
    nodes = [node(index, *item) for index, item in enumerate(drawn)]
    n = t + more
    possible = any(obeys(subset, t) for subset in combinations(nodes, n))
    if possible:
        assert obeys(choose_nodes(samples.policy(), nodes, t, n).chosen, t)
    else:
        with pytest.raises(RefusedError):
            choose_nodes(samples.policy(), nodes, t, n)
