"""Evidence on the wire: a typed envelope around the vendor's own bytes.

Implements spec/attestation.md §2 (in the manner of RFC 9999: a type and a blob). Promises: at most 64 KiB, one encoding per
evidence, and a type of its own for what is well-formed but not verified: log its fields as claimed. Does not promise: that the
bytes identify the evidence (the vendor's signatures are malleable); its identity is SHA-256(type ‖ 0 ‖ signed body), in `Claims`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from asset_bridge.attestation import cbor
from asset_bridge.attestation.binding import Binding
from asset_bridge.attestation.refusal import EvidenceRefused, Refusal

MAX_EVIDENCE_BYTES = 64 * 1024
MAX_KIND_BYTES = 32
MAX_AUX_ITEMS = 16
EVIDENCE_VERSION = 1
CONFIGURATION_AUX = "configuration"
"""The aux item that holds the chain configuration whose digest the binding names."""


@dataclass(frozen=True, slots=True)
class ClaimedEvidence:
    """Well-formed, unauthenticated. Only `verify.verify` turns it into `Claims`."""

    kind: str
    blob: bytes
    aux: Mapping[str, bytes]
    binding: Binding
    collateral_digests: tuple[bytes, ...]


def build(
    kind: str, blob: bytes, aux: Mapping[str, bytes], binding: Binding, collateral_digests: Sequence[bytes] = ()
) -> bytes:
    """The envelope; EvidenceRefused(size) when it would pass 64 KiB."""
    data = cbor.encode(
        {
            1: EVIDENCE_VERSION,
            2: kind,
            3: blob,
            4: dict(aux.items()),
            5: binding.encode(),
            6: list(collateral_digests),
        }
    )
    if len(data) > MAX_EVIDENCE_BYTES:
        raise EvidenceRefused(Refusal.SIZE)
    return data


def parse(data: bytes) -> ClaimedEvidence:
    """The evidence of exactly these bytes; EvidenceRefused(size | format) otherwise."""
    if len(data) > MAX_EVIDENCE_BYTES:
        raise EvidenceRefused(Refusal.SIZE)
    fields = cbor.decode_map(data, set(range(1, 7)))
    if cbor.field_int(fields, 1) != EVIDENCE_VERSION:
        raise EvidenceRefused(Refusal.FORMAT, "evidence of another version")
    blob, binding = fields[3], fields[5]
    if not isinstance(blob, bytes) or not isinstance(binding, bytes):
        raise EvidenceRefused(Refusal.FORMAT, "no vendor blob or no binding")
    return ClaimedEvidence(
        kind=cbor.field_text(fields, 2, MAX_KIND_BYTES),
        blob=blob,
        aux=_aux(fields[4]),
        binding=Binding.parse(binding),
        collateral_digests=_digests(fields[6]),
    )


def _aux(value: cbor.Value) -> Mapping[str, bytes]:
    if not isinstance(value, dict) or len(value) > MAX_AUX_ITEMS:
        raise EvidenceRefused(Refusal.FORMAT, "not a map of auxiliary items")
    found: dict[str, bytes] = {}
    for name, item in value.items():
        if not isinstance(name, str) or not isinstance(item, bytes):
            raise EvidenceRefused(Refusal.FORMAT, "an auxiliary item of a wrong kind")
        found[name] = item
    return found


def _digests(value: cbor.Value) -> tuple[bytes, ...]:
    if not isinstance(value, list):
        raise EvidenceRefused(Refusal.FORMAT, "not a list of collateral digests")
    return tuple(cbor.field_bytes({0: item}, 0, 32) for item in value)
