"""The threshold and spread rules over real, recorded evidence of three makers, and as properties over any set of nodes."""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from asset_bridge.attestation.appraise import Accepted, Rejected, appraise
from asset_bridge.attestation.choose import choose_nodes
from asset_bridge.attestation.claims import KINDS, Claims, VendorReport, measurement_id, platform_id
from asset_bridge.attestation.policy import Policy, Spread, VendorRule
from asset_bridge.attestation.refusal import Refusal
from asset_bridge.errors import RefusedError
from tests.support.depth import depth
from tests.unit.attestation import recorded, samples

RULES = (
    VendorRule("tdx"),
    VendorRule("sev-snp", frozenset({"Milan"}), frozenset(), {"snp": 8}),
    VendorRule("nitro"),
)


@pytest.fixture(scope="module")
def folder(vectors_dir: Path) -> Path:
    return vectors_dir.parent / "attestation"


@pytest.fixture(scope="module")
def genuine(folder: Path) -> dict[str, tuple[str, VendorReport, int]]:
    """Reports of real machines, verified at their time: kind, report, time."""
    found = {}
    for name in ("tdx/bound-keys", "tdx/gcp", "sev-snp/milan", "nitro/2025", "nitro/2022"):
        case = recorded.cases(folder, name.split("/")[0])[name]
        evidence, collateral = recorded.intel(folder, case) if name.startswith("tdx") else (
            (recorded.snp if name.startswith("sev") else recorded.nitro)(folder, case), recorded.NO_COLLATERAL
        )  # fmt: skip
        report = recorded.judged(evidence, case["verify_at"], collateral)
        assert isinstance(report, VendorReport), name
        found[name] = (evidence.kind, report, case["verify_at"])
    return found


def node(kind: str, report: VendorReport, operator: bytes) -> Claims:
    """What a node of ours on that machine would show: its report, our binding."""
    name = operator * 32
    bound = samples.binding(operator=operator * 20, node_id=name)
    return Claims(
        kind, KINDS[kind].vendor, KINDS[kind].maker, KINDS[kind].tier, report, bound, samples.CONFIGURATION, b"d" * 32,
        measurement_id(kind, report.measurements), platform_id(kind, report.platform),
    )  # fmt: skip


def judged(policy: Policy, claims: Claims, now: int) -> Accepted | Rejected:
    expected = samples.expected(
        node_id=claims.binding.node_id, operator=claims.binding.operator, vendor=claims.vendor,
        measurement_id=claims.measurement_id, platform_id=claims.platform_id, asked_at=now - 1, expires_at=now + 3600,
    )  # fmt: skip
    return appraise(policy, claims, expected, now=now)


def policy_for(claims: list[Claims]) -> Policy:
    return samples.policy(
        vendors=RULES,
        measurements={item.measurement_id: "recorded" for item in claims},
        operators={item.binding.operator: item.binding.operator.hex()[:2] for item in claims},
        platforms={item.platform_id: "recorded" for item in claims},
    )


@pytest.mark.needs_vectors
@pytest.mark.filterwarnings("ignore:Parsed a serial number")
def test_two_of_three_over_three_makers_and_never_two_on_one(genuine: dict[str, tuple[str, VendorReport, int]]) -> None:
    names = list(genuine)
    claims = {name: node(genuine[name][0], genuine[name][1], bytes([65 + at])) for at, name in enumerate(names)}
    policy = policy_for(list(claims.values()))
    verdicts = {name: judged(policy, claims[name], genuine[name][2]) for name in names}
    assert {name: verdict.codes for name, verdict in verdicts.items()} == dict.fromkeys(names, ())
    good = 0
    for chosen in itertools.permutations(names, 3):
        makers = Counter(claims[name].maker for name in chosen)
        if max(makers.values()) == 1:
            found = choose_nodes(policy, [verdicts[name] for name in chosen], 2, 3)
            assert [item.claims.kind for item in found.chosen] == [claims[name].kind for name in chosen]
            good += 1
        else:
            with pytest.raises(RefusedError) as caught:
                choose_nodes(policy, [verdicts[name] for name in chosen], 2, 3)
            assert caught.value.code == "attestation.too-few"
    assert good == 24  # one of 2 × 1 × 2 sets, in each order
    loose = dataclasses.replace(policy, spread=Spread(vendor=False))
    assert (
        len(choose_nodes(loose, [verdicts["tdx/bound-keys"], verdicts["tdx/gcp"], verdicts["nitro/2025"]], 2, 3).chosen)
        == 3
    )


@pytest.mark.needs_vectors
@pytest.mark.filterwarnings("ignore:Parsed a serial number")
def test_the_default_rules_refuse_what_is_weak(folder: Path, genuine: dict[str, tuple[str, VendorReport, int]]) -> None:
    kind, report, at = genuine["sev-snp/milan"]
    claims = node(kind, report, b"A")
    policy = policy_for([claims])
    for rule, code in (
        (VendorRule("sev-snp", frozenset({"Genoa", "Turin"})), Refusal.PRODUCT),
        (VendorRule("sev-snp", tcb_floor={"snp": 23}), Refusal.TCB_FLOOR),
        (VendorRule("tdx"), Refusal.VENDOR),
    ):
        assert judged(dataclasses.replace(policy, vendors=(rule,)), claims, at).codes == (code,)
    for name, code in (("sev-snp/debug-policy", Refusal.DEBUG), ("sev-snp/aws-vlek-vmpl1", Refusal.VMPL)):
        case = recorded.cases(folder, "sev-snp")[name]
        weak = recorded.judged(recorded.snp(folder, case), case["verify_at"])
        assert isinstance(weak, VendorReport)
        claims = node("amd-sev-snp", weak, b"A")
        assert code in judged(policy_for([claims]), claims, case["verify_at"]).codes
    for name in ("nitro/2025-debug", "nitro/2022-debug"):
        case = recorded.cases(folder, "nitro")[name]
        weak = recorded.judged(recorded.nitro(folder, case), case["verify_at"])
        assert isinstance(weak, VendorReport)
        claims = node("aws-nitro", weak, b"A")
        assert judged(policy_for([claims]), claims, case["verify_at"]).codes == (Refusal.DEBUG,)
    stale = recorded.cases(folder, "nitro")["nitro/2025-stale"]
    found = recorded.judged(recorded.nitro(folder, stale), stale["verify_at"])
    assert isinstance(found, VendorReport)  # its certificates still hold; its own time stamp is an hour old
    claims = node("aws-nitro", found, b"A")
    policy = dataclasses.replace(policy_for([claims]), max_age_seconds=600)
    assert judged(policy, claims, stale["verify_at"]).codes == (Refusal.STALE,)
    sgx = recorded.cases(folder, "sgx")["sgx/config-swhardening"]
    evidence, collateral = recorded.intel(folder, sgx)
    hardening = recorded.judged(evidence, sgx["verify_at"], collateral)
    assert isinstance(hardening, VendorReport)
    claims = node("intel-sgx", hardening, b"A")
    for statuses, codes in ((frozenset({"UpToDate"}), (Refusal.TCB_STATUS,)), (frozenset({hardening.tcb.status}), ())):
        rules = dataclasses.replace(policy_for([claims]), vendors=(VendorRule("sgx", tcb_statuses=statuses),))
        assert judged(rules, claims, sgx["verify_at"]).codes == codes


KINDS_OF_NODES = st.sampled_from([kind for kind in KINDS if KINDS[kind].tier.name == "HARDWARE"])
NODES = st.lists(st.tuples(KINDS_OF_NODES, st.integers(0, 4), st.integers(0, 4)), max_size=8)


@hypothesis_settings(max_examples=depth("attestation_spread"))
@given(NODES, st.integers(2, 4), st.integers(0, 3), st.tuples(st.booleans(), st.booleans()))
def test_no_choice_ever_breaks_a_rule_and_none_is_overlooked(
    nodes: list[tuple[str, int, int]], t: int, more: int, rules: tuple[bool, bool]
) -> None:
    n = t + more
    items = []
    for at, (kind, operator, place) in enumerate(nodes):
        bound = samples.binding(node_id=bytes([at]) * 32, operator=bytes([operator]) * 20)
        claims = samples.claims(binding_=bound, kind=kind, maker=KINDS[kind].maker, platform_id=bytes([place]) * 32)
        items.append(Accepted(bound.node_id, bound.operator, claims, samples.NOW))
    policy = samples.policy(spread=Spread(platform=rules[0], vendor=rules[1]))

    def obeys(chosen: tuple[Accepted, ...]) -> bool:
        if len({item.operator for item in chosen}) != n:
            return False
        places = Counter(item.claims.platform_id for item in chosen)
        makers = Counter(item.claims.maker for item in chosen)
        return not (rules[0] and max(places.values()) >= t) and not (rules[1] and max(makers.values()) >= t)

    possible = any(obeys(chosen) for chosen in itertools.combinations(items, n))
    try:
        found = choose_nodes(policy, items, t, n)
    except RefusedError:
        assert not possible
        return
    assert obeys(found.chosen)
    assert {item.node_id for item in (*found.chosen, *found.spare)} == {item.node_id for item in items}
