"""A policy's rules, one change at a time (spec/attestation.md §5)."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from asset_bridge.attestation.appraise import Accepted, Rejected, appraise
from asset_bridge.attestation.claims import Claims, Tcb, Tier
from asset_bridge.attestation.configuration import Endpoint
from asset_bridge.attestation.policy import NOBODY, Policy, VendorRule
from asset_bridge.attestation.refusal import Refusal
from asset_bridge.errors import InputError
from tests.unit.attestation import samples

NOW = samples.NOW


def codes(claims: Claims | None = None, policy: Policy | None = None, **expected: Any) -> set[Refusal]:
    verdict = appraise(policy or samples.policy(), claims or samples.claims(), samples.expected(**expected), now=NOW)
    return set(verdict.codes)


def of_report(**changes: Any) -> Claims:
    return samples.claims(report_=samples.report(**changes))


def test_what_fits_is_accepted() -> None:
    verdict = appraise(samples.policy(), samples.claims(), samples.expected(), now=NOW)
    assert isinstance(verdict, Accepted)
    assert (verdict.node_id, verdict.appraised_at) == (samples.NODE, NOW)


@pytest.mark.parametrize("field", ["signing_address", "node_id", "operator", "registry"])
def test_binding_of_another(field: str) -> None:
    value = getattr(samples.binding(), field)
    other = samples.claims(binding_=samples.binding(**{field: bytes(len(value))}))
    assert codes(other) == {Refusal.BINDING}


@pytest.mark.parametrize("change", [{"epoch": 2}, {"chain_id": 2}])
def test_binding_of_another_epoch_or_chain(change: dict[str, int]) -> None:
    assert codes(samples.claims(binding_=samples.binding(**change))) == {Refusal.BINDING}


def test_a_replayed_nonce_and_the_registration_nonce_are_refused() -> None:
    assert codes(nonce=b"y" * 32) == {Refusal.NONCE}
    registration = samples.claims(binding_=samples.binding(nonce=bytes(32)))
    assert codes(registration) == {Refusal.NONCE}
    assert codes(registration, nonce=bytes(32)) == {Refusal.NONCE}


def test_age() -> None:
    assert codes(asked_at=NOW - 60) == set()
    assert codes(asked_at=NOW - 61) == {Refusal.STALE}
    assert codes(asked_at=NOW + 1) == {Refusal.STALE}
    assert codes(policy=samples.policy(max_age_seconds=10), asked_at=NOW - 11) == {Refusal.STALE}
    assert codes(of_report(made_at=NOW - 3600 - 300)) == set()
    assert codes(of_report(made_at=NOW - 3600 - 301)) == {Refusal.STALE}
    assert codes(of_report(made_at=NOW + 301)) == {Refusal.STALE}


@pytest.mark.parametrize(
    "change", [{"live": False}, {"vendor": "tdx"}, {"measurement_id": b"z" * 32}, {"platform_id": b"z" * 32}]
)
def test_not_what_the_registry_holds(change: dict[str, Any]) -> None:
    assert codes(**change) == {Refusal.NOT_REGISTERED}


def test_an_expired_registration() -> None:
    assert codes(expires_at=NOW) == {Refusal.EXPIRED}


@pytest.mark.parametrize(
    ("change", "code"),
    [({"debug": True}, Refusal.DEBUG), ({"migratable": True}, Refusal.MIGRATABLE), ({"vmpl": 1}, Refusal.VMPL)],
)
def test_machine(change: dict[str, Any], code: Refusal) -> None:
    assert codes(of_report(**change)) == {code}


def test_product_status_and_floor() -> None:
    assert codes(of_report(product="Milan")) == {Refusal.PRODUCT}
    assert codes(of_report(tcb=Tcb("OutOfDate", {"snp": 23}))) == {Refusal.TCB_STATUS}
    assert codes(of_report(tcb=Tcb("UpToDate", {"snp": 22}))) == {Refusal.TCB_FLOOR}
    assert codes(of_report(tcb=Tcb("UpToDate", {}))) == {Refusal.TCB_FLOOR}


def test_what_the_policy_does_not_name() -> None:
    assert codes(policy=samples.policy(measurements={b"z" * 32: ""})) == {Refusal.MEASUREMENT}
    assert codes(policy=samples.policy(platforms={})) == {Refusal.PLATFORM}
    assert codes(policy=samples.policy(platforms={}, any_platform=True)) == set()
    assert codes(policy=samples.policy(operators={b"z" * 20: ""})) == {Refusal.OPERATOR}
    assert codes(policy=samples.policy(vendors=(VendorRule("tdx"),))) == {Refusal.VENDOR}


def test_chain_view() -> None:
    unbound = samples.claims(configuration=None)
    assert codes(unbound) == {Refusal.CHAIN_VIEW}
    assert codes(unbound, samples.policy(chain_view="operator")) == set()
    assert codes(policy=samples.policy(endpoints=samples.ENDPOINTS[:1])) == {Refusal.CHAIN_VIEW}
    one = dataclasses.replace(samples.CONFIGURATION, endpoints=samples.ENDPOINTS[:1])
    assert codes(samples.claims(configuration=one)) == {Refusal.CHAIN_VIEW}
    foreign = dataclasses.replace(
        samples.CONFIGURATION, endpoints=(*samples.ENDPOINTS, Endpoint("https://c", b"3" * 32))
    )
    assert codes(samples.claims(configuration=foreign)) == {Refusal.CHAIN_VIEW}


def test_boot_only_needs_permission() -> None:
    boot = samples.claims(tier=Tier.BOOT_ONLY)
    assert codes(boot) == {Refusal.BOOT_ONLY}
    assert codes(boot, samples.policy(allow_boot_only=True)) == set()


def test_simulated_is_refused_by_a_policy_that_does_not_allow_it_and_on_other_chains() -> None:
    assert codes(samples.claims(tier=Tier.SIMULATED)) == {Refusal.SIMULATED}


def test_the_default_policy_accepts_nobody() -> None:
    verdict = appraise(NOBODY, samples.claims(), samples.expected(), now=NOW)
    assert isinstance(verdict, Rejected)
    assert verdict.codes == (Refusal.OPERATOR,)


def test_a_policy_of_another_chain_is_the_askers_mistake() -> None:
    with pytest.raises(InputError) as caught:
        appraise(samples.policy(chain_id=5), samples.claims(), samples.expected(), now=NOW)
    assert caught.value.code == "attestation.policy-chain"


def test_all_reasons_are_listed_at_once() -> None:
    bad = samples.claims(report_=samples.report(debug=True, vmpl=2), measurement_id=b"z" * 32)
    found = codes(bad, expires_at=0)
    assert found == {Refusal.DEBUG, Refusal.VMPL, Refusal.MEASUREMENT, Refusal.NOT_REGISTERED, Refusal.EXPIRED}
