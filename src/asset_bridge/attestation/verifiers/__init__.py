"""One file per vendor: its cryptography, offline, with `now` and collateral as arguments. The simulator's is in its own distribution."""

from __future__ import annotations

from collections.abc import Iterable

from asset_bridge.attestation.claims import Tier
from asset_bridge.attestation.verifiers import certificates
from asset_bridge.attestation.verifiers.azure import AzureVerifier
from asset_bridge.attestation.verifiers.intel import DcapVerifier
from asset_bridge.attestation.verifiers.nitro import NitroVerifier
from asset_bridge.attestation.verifiers.snp import SnpVerifier
from asset_bridge.attestation.verifiers.tpm2 import TpmVerifier
from asset_bridge.attestation.verify import VerifierSet


def hardware() -> VerifierSet:
    """The verifiers of real hardware with the vendors' own roots. A TPM is none: see `tpm`."""
    return VerifierSet(
        NitroVerifier(),
        SnpVerifier(),
        DcapVerifier("intel-tdx"),
        DcapVerifier("intel-sgx"),
        AzureVerifier("azure-snp-vtpm"),
        AzureVerifier("azure-tdx-vtpm"),
    )


def tpm(boot_only_roots: Iterable[bytes] = (), simulated_roots: Iterable[bytes] = ()) -> TpmVerifier:
    """The verifier of TPM evidence under the roots (DER) that a policy names; EvidenceRefused(format) for no certificate."""
    tiers = {Tier.BOOT_ONLY: boot_only_roots, Tier.SIMULATED: simulated_roots}
    return TpmVerifier(
        {certificates.fingerprint(certificates.load(der)): tier for tier, roots in tiers.items() for der in roots}
    )
