"""From claimed evidence to claims: the vendor's cryptography, then the binding. Nothing is judged here.

Implements spec/attestation.md §5, steps 1 to 4:
  1. the type tag picks a verifier from the set that the caller passed (no table of its own, no default that could grow);
  2. that verifier checks signatures, certificates and dates at `now` with `collateral`, and reads the report;
  3. all 64 bytes of report data equal SHA-512(domain ‖ binding), or a TPM's qualifying data SHA-256 of the same;
  4. the configuration, where the binding names one, is there and has that digest.
Promises: no network, no clock; EvidenceRefused for whatever is wrong with the evidence. Does not promise: that a policy accepts it.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from asset_bridge.attestation.binding import NO_CONFIGURATION
from asset_bridge.attestation.claims import (
    KINDS,
    Claims,
    Tier,
    VendorReport,
    evidence_digest,
    measurement_id,
    platform_id,
)
from asset_bridge.attestation.configuration import ChainConfiguration
from asset_bridge.attestation.evidence import CONFIGURATION_AUX, ClaimedEvidence
from asset_bridge.attestation.refusal import EvidenceRefused, Refusal
from asset_bridge.errors import DefectError


@dataclass(frozen=True, slots=True)
class Collateral:
    """What a vendor publishes beside the evidence (TCB infos, revocation lists), by name. Fetched elsewhere, judged here."""

    items: Mapping[str, bytes] = field(default_factory=dict)


NO_COLLATERAL = Collateral()
SIMULATED = "simulated"


class Verifier(Protocol):
    """One vendor's cryptography. `kind` is the type tag that it answers to."""

    @property
    def kind(self) -> str: ...

    def verify(self, evidence: ClaimedEvidence, *, now: int, collateral: Collateral) -> VendorReport:
        """The report whose signatures and dates hold at `now`; EvidenceRefused otherwise."""
        ...


class VerifierSet:
    """The verifiers that the caller trusts, by type tag. Immutable; always an explicit argument."""

    def __init__(self, *verifiers: Verifier) -> None:
        self._by_kind: dict[str, Verifier] = {}
        for verifier in verifiers:
            if verifier.kind not in KINDS or verifier.kind in self._by_kind:
                raise DefectError("attestation.verifiers", "a verifier with an unknown type tag, or two with the same")
            self._by_kind[verifier.kind] = verifier

    def plus(self, verifier: Verifier) -> VerifierSet:
        """A new set with one more."""
        return VerifierSet(*self._by_kind.values(), verifier)

    @property
    def kinds(self) -> frozenset[str]:
        """The type tags that this set can verify."""
        return frozenset(self._by_kind)

    def of(self, kind: str) -> Verifier:
        """The verifier of a type tag; EvidenceRefused(vendor) when the set has none."""
        try:
            return self._by_kind[kind]
        except KeyError:
            raise EvidenceRefused(Refusal.VENDOR, "no verifier for this type of evidence") from None


def verify(evidence: ClaimedEvidence, verifiers: VerifierSet, *, now: int, collateral: Collateral) -> Claims:
    """Authenticate evidence.

    Args:
        now: Unix seconds at which certificates and collateral must be valid.
    Raises:
        EvidenceRefused: any code of spec/attestation.md §5 that is marked "verify".
    """
    report = verifiers.of(evidence.kind).verify(evidence, now=now, collateral=collateral)
    kind = KINDS[evidence.kind]
    bound = evidence.binding.qualifying_data() if kind.by_quote else evidence.binding.report_data()
    if not hmac.compare_digest(report.report_data, bound):
        raise EvidenceRefused(Refusal.BINDING, "the report data is not that of the binding")
    if report.nonce is not None and report.nonce != evidence.binding.nonce:
        raise EvidenceRefused(Refusal.NONCE, "the vendor's document carries another nonce")
    tier = min(kind.tier, report.tier)  # a verifier may lower the tier of its kind (test roots), never raise it
    simulated = (
        tier is Tier.SIMULATED
    )  # whatever the kind: a TPM under a test root is registered and judged as simulated
    return Claims(
        kind=evidence.kind,
        vendor=SIMULATED if simulated else kind.vendor,
        maker=SIMULATED if simulated else kind.maker,
        tier=tier,
        report=report,
        binding=evidence.binding,
        configuration=_configuration(evidence),
        evidence_digest=evidence_digest(evidence.kind, report.signed_body),
        measurement_id=measurement_id(evidence.kind, report.measurements),
        platform_id=platform_id(evidence.kind, report.platform),
    )


def _configuration(evidence: ClaimedEvidence) -> ChainConfiguration | None:
    binding = evidence.binding
    if binding.configuration_digest == NO_CONFIGURATION:
        return None
    configuration = ChainConfiguration.parse(evidence.aux.get(CONFIGURATION_AUX, b""))
    if configuration.digest() != binding.configuration_digest:
        raise EvidenceRefused(Refusal.BINDING, "the configuration is not the one that is bound")
    if (configuration.chain_id, configuration.registry) != (binding.chain_id, binding.registry):
        raise EvidenceRefused(Refusal.BINDING, "the configuration is for another chain or registry")
    return configuration
