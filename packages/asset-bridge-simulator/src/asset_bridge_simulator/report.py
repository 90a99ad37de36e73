"""The simulated report: what hardware would sign, signed by a key that lies in a file.

Implements spec/attestation.md §9. Promises: one encoding per report, in the same small CBOR as everything of the attestation room.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from asset_bridge.attestation import cbor
from asset_bridge.attestation.claims import measurement_id as _measurement_id
from asset_bridge.attestation.refusal import EvidenceRefused, Refusal

KIND = "asset-bridge-sim"
REPORT_VERSION = 1
DOMAIN = b"ASSET-BRIDGE-SIMULATED-REPORT-v1\0"
SIGNER_AUX = "signer"
_DEBUG_FLAG = 1


@dataclass(frozen=True, slots=True)
class SimReport:
    """The signed body. `measurement` has 32 bytes, `report_data` 64; `made_at` is Unix seconds."""

    measurement: bytes
    report_data: bytes
    made_at: int
    debug: bool = False

    def encode(self) -> bytes:
        """Deterministic CBOR, keys 1 to 5."""
        return cbor.encode(
            {
                1: REPORT_VERSION,
                2: self.measurement,
                3: self.report_data,
                4: self.made_at,
                5: _DEBUG_FLAG if self.debug else 0,
            }
        )

    @classmethod
    def parse(cls, data: bytes) -> SimReport:
        """The report of exactly these bytes, or EvidenceRefused(format)."""
        fields = cbor.decode_map(data, set(range(1, 6)))
        if cbor.field_int(fields, 1) != REPORT_VERSION or cbor.field_int(fields, 5) not in (0, _DEBUG_FLAG):
            raise EvidenceRefused(Refusal.FORMAT, "a simulated report of another version")
        return cls(
            cbor.field_bytes(fields, 2, 32),
            cbor.field_bytes(fields, 3, 64),
            cbor.field_int(fields, 4),
            cbor.field_int(fields, 5) == _DEBUG_FLAG,
        )


def measurement_of(name: str) -> bytes:
    """The measurement of a named development build: SHA-256 of the name."""
    return hashlib.sha256(name.encode()).digest()


def measurement_id(measurement: bytes) -> bytes:
    """The id under which registry and policy list a simulated measurement."""
    return _measurement_id(KIND, {"measurement": measurement})
