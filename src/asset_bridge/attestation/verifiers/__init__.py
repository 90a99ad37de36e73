"""One file per vendor: its cryptography, offline, with `now` and collateral as arguments. The simulator's is in its own distribution."""

from __future__ import annotations

from asset_bridge.attestation.verifiers.nitro import NitroVerifier
from asset_bridge.attestation.verifiers.snp import SnpVerifier
from asset_bridge.attestation.verify import VerifierSet


def hardware() -> VerifierSet:
    """The verifiers of real hardware with the vendors' own roots."""
    return VerifierSet(NitroVerifier(), SnpVerifier())
