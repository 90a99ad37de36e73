"""What verified evidence says: the vendor's statement, and our reading of it.

Source: spec/attestation.md §2 and §5. `VendorReport` is what one verifier made of one vendor's bytes; `Claims` is that plus the bound
values, built only by `verify.verify`. Does not promise: that anything claimed is acceptable; that is `appraise`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from asset_bridge.attestation import cbor
from asset_bridge.attestation.binding import Binding
from asset_bridge.attestation.configuration import OPERATOR_VIEW, ChainConfiguration


class Tier(IntEnum):
    """What a kind of evidence can prove at best; a higher number proves more."""

    SIMULATED = 0
    BOOT_ONLY = 1
    HARDWARE = 2


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of evidence: the registry's and the policy's name for it, who makes the silicon, its tier, and whether a TPM quote binds."""

    vendor: str
    maker: str
    tier: Tier
    by_quote: bool = False


KINDS: Mapping[str, Kind] = {
    "intel-tdx": Kind("tdx", "intel", Tier.HARDWARE),
    "intel-sgx": Kind("sgx", "intel", Tier.HARDWARE),
    "amd-sev-snp": Kind("sev-snp", "amd", Tier.HARDWARE),
    "aws-nitro": Kind("nitro", "aws", Tier.HARDWARE),
    "azure-snp-vtpm": Kind("azure", "amd", Tier.HARDWARE, by_quote=True),
    "azure-tdx-vtpm": Kind("azure", "intel", Tier.HARDWARE, by_quote=True),
    "tpm2": Kind("tpm", "tpm", Tier.BOOT_ONLY, by_quote=True),
    "asset-bridge-sim": Kind("simulated", "simulated", Tier.SIMULATED),
}
"""Frozen type tags (spec/attestation.md §2). `maker` is what the spread rule counts: one broken maker must not reach `t`."""


@dataclass(frozen=True, slots=True)
class Tcb:
    """The platform's patch level: the vendor's status word where it signs one, and the lowest of reported, committed and launch."""

    status: str = ""
    components: Mapping[str, int] = field(default_factory=dict)
    evaluation_number: int = 0
    advisories: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class VendorReport:
    """What a verifier read in evidence whose signatures it has checked. Times are Unix seconds, 0 where the vendor gives none.

    `root` is SHA-256 of the root certificate (DER) that the evidence leads to.
    """

    product: str
    signed_body: bytes
    report_data: bytes
    measurements: Mapping[str, bytes]
    platform: bytes
    nonce: bytes | None = None
    debug: bool = False
    migratable: bool = False
    vmpl: int = 0
    tcb: Tcb = field(default_factory=Tcb)
    made_at: int = 0
    not_after: int = 0
    signer: str = ""
    root: bytes = b""
    tier: Tier = Tier.HARDWARE


@dataclass(frozen=True, slots=True)
class Claims:
    """Authenticated: chains to a vendor's root and binds `binding`. Built only by `verify.verify`."""

    kind: str
    vendor: str
    maker: str
    tier: Tier
    report: VendorReport
    binding: Binding
    configuration: ChainConfiguration | None
    evidence_digest: bytes
    measurement_id: bytes
    platform_id: bytes

    @property
    def chain_view(self) -> str:
        """`attested` or `operator` (protocol §6)."""
        return self.configuration.chain_view() if self.configuration else OPERATOR_VIEW


def evidence_digest(kind: str, signed_body: bytes) -> bytes:
    """The identity of evidence: SHA-256(type ‖ 0 ‖ signed body). Unsigned and malleable bytes do not enter."""
    return hashlib.sha256(kind.encode() + b"\0" + signed_body).digest()


def measurement_id(kind: str, measurements: Mapping[str, bytes]) -> bytes:
    """The id under which registry and policy list code: a digest over the kind and its measured registers."""
    named: dict[int | str, cbor.Value] = dict(measurements.items())
    return hashlib.sha256(b"asset-bridge/measurement/1\0" + cbor.encode([kind, named])).digest()


def platform_id(kind: str, platform: bytes) -> bytes:
    """The id of the machine: a digest over the kind and the vendor's own name for it (CHIP_ID, PPID, instance)."""
    return hashlib.sha256(b"asset-bridge/platform/1\0" + cbor.encode([kind, platform])).digest()
