"""From claims to a verdict: a policy and the chain's record judge what was verified.

Implements spec/attestation.md §5, steps 5 to 8. Promises: every rule is looked at, so a refusal lists all its codes; `Accepted` is made
here only and from `Claims` only. Does not promise: that the verdict holds later; it ages, and a seal asks for a fresh one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from asset_bridge.attestation.binding import REGISTRATION_NONCE
from asset_bridge.attestation.claims import Claims, Tier
from asset_bridge.attestation.configuration import ATTESTED_VIEW
from asset_bridge.attestation.policy import DEVELOPMENT_CHAIN_IDS, Policy, VendorRule
from asset_bridge.attestation.refusal import EXPLAINED, Refusal
from asset_bridge.errors import InputError

CHALLENGE_SECONDS = 60  # tee.md §6.2: a challenge is answered within a minute
MAX_SKEW_SECONDS = 300


@dataclass(frozen=True, slots=True)
class Expected:
    """What the asker knows from its own challenge and from the registry at a finalized block. `asked_at` is when it asked."""

    node_id: bytes
    operator: bytes
    signing_address: bytes
    epoch: int
    chain_id: int
    registry: bytes
    nonce: bytes
    vendor: str
    measurement_id: bytes
    platform_id: bytes
    live: bool
    expires_at: int
    asked_at: int


@dataclass(frozen=True, slots=True)
class Accepted:
    """A node that the policy accepts, at `appraised_at`. Made only by `appraise`."""

    node_id: bytes
    operator: bytes
    claims: Claims
    appraised_at: int

    @property
    def codes(self) -> tuple[Refusal, ...]:
        """No refusal."""
        return ()


@dataclass(frozen=True, slots=True)
class Rejected:
    """A node that is refused, with every reason."""

    node_id: bytes
    operator: bytes
    codes: tuple[Refusal, ...]
    detail: str = ""

    def sentence(self) -> str:
        """One line for people: which node, and why."""
        return f"node 0x{self.node_id.hex()[:8]}… is refused: " + "; ".join(EXPLAINED[code] for code in self.codes)


Appraisal = Accepted | Rejected


def appraise(policy: Policy, claims: Claims, expected: Expected, *, now: int) -> Appraisal:
    """Judge claims by a policy.

    Raises:
        InputError(attestation.policy-chain): the policy is for another chain than the one asked about.
    """
    if policy.names_nobody:
        return Rejected(expected.node_id, expected.operator, (Refusal.OPERATOR,), "the policy names nobody")
    if policy.chain_id != expected.chain_id:
        raise InputError(
            "attestation.policy-chain",
            f"the policy is valid for chain {policy.chain_id}, and this is chain {expected.chain_id}",
            hint="use the policy file of this chain",
        )
    codes = dict.fromkeys(
        (
            *_binding(claims, expected),
            *_age(policy, claims, expected, now),
            *_registration(claims, expected, now),
            *_machine(policy, claims),
            *_code_and_place(policy, claims, expected),
            *_chain_view(policy, claims),
        )
    )
    if codes:
        return Rejected(expected.node_id, expected.operator, tuple(codes))
    return Accepted(expected.node_id, expected.operator, claims, now)


def _binding(claims: Claims, expected: Expected) -> Iterator[Refusal]:
    bound = claims.binding
    if (bound.signing_address, bound.node_id, bound.operator, bound.epoch, bound.chain_id, bound.registry) != (
        expected.signing_address,
        expected.node_id,
        expected.operator,
        expected.epoch,
        expected.chain_id,
        expected.registry,
    ):
        yield Refusal.BINDING
    if bound.nonce != expected.nonce or expected.nonce == REGISTRATION_NONCE:
        yield Refusal.NONCE


def _age(policy: Policy, claims: Claims, expected: Expected, now: int) -> Iterator[Refusal]:
    limit = min(CHALLENGE_SECONDS, policy.max_age_seconds)
    made_at = claims.report.made_at
    too_old = made_at and not -MAX_SKEW_SECONDS <= now - made_at <= policy.max_age_seconds + MAX_SKEW_SECONDS
    if not 0 <= now - expected.asked_at <= limit or too_old:
        yield Refusal.STALE


def _registration(claims: Claims, expected: Expected, now: int) -> Iterator[Refusal]:
    if (claims.vendor, claims.measurement_id, claims.platform_id) != (
        expected.vendor,
        expected.measurement_id,
        expected.platform_id,
    ) or not expected.live:
        yield Refusal.NOT_REGISTERED
    if expected.expires_at <= now:
        yield Refusal.EXPIRED


def _machine(policy: Policy, claims: Claims) -> Iterator[Refusal]:
    simulated_ok = policy.allow_simulated and claims.binding.chain_id in DEVELOPMENT_CHAIN_IDS
    if claims.tier == Tier.SIMULATED and not simulated_ok:
        yield Refusal.SIMULATED
    elif claims.tier == Tier.SIMULATED and claims.report.root != policy.simulated_root_digest:
        yield Refusal.ROOT
    if claims.tier == Tier.BOOT_ONLY and not policy.allow_boot_only:
        yield Refusal.BOOT_ONLY
    report = claims.report
    if report.debug:
        yield Refusal.DEBUG
    if report.migratable:
        yield Refusal.MIGRATABLE
    if report.vmpl:
        yield Refusal.VMPL
    rule = policy.vendor(claims.vendor)
    if rule is None:
        yield Refusal.VENDOR
    else:
        yield from _product(rule, claims)


def _product(rule: VendorRule, claims: Claims) -> Iterator[Refusal]:
    tcb = claims.report.tcb
    if rule.products and claims.report.product not in rule.products:
        yield Refusal.PRODUCT
    if tcb.status and tcb.status not in rule.tcb_statuses:
        yield Refusal.TCB_STATUS
    if any(tcb.components.get(name, -1) < floor for name, floor in rule.tcb_floor.items()):
        yield Refusal.TCB_FLOOR


def _code_and_place(policy: Policy, claims: Claims, expected: Expected) -> Iterator[Refusal]:
    if claims.measurement_id not in policy.measurements:
        yield Refusal.MEASUREMENT
    if not policy.any_platform and claims.platform_id not in policy.platforms:
        yield Refusal.PLATFORM
    if expected.operator not in policy.operators:
        yield Refusal.OPERATOR


def _chain_view(policy: Policy, claims: Claims) -> Iterator[Refusal]:
    if policy.chain_view != ATTESTED_VIEW:
        return
    trusted = claims.configuration is not None and set(claims.configuration.endpoints) <= set(policy.endpoints)
    if claims.chain_view != ATTESTED_VIEW or not trusted:
        yield Refusal.CHAIN_VIEW
