"""The configuration of a TEE node's view of the chain, whose digest its evidence binds.

Implements spec/attestation.md §4 (protocol §6). Promises: one encoding and one digest per configuration; `attested` only with two
or more endpoints of different origins, each with a pinned TLS key. Does not promise: that the endpoints are honest or run by
someone else than the node's operator: a provider's policy names the ones it trusts.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from asset_bridge.attestation import cbor
from asset_bridge.attestation.refusal import EvidenceRefused, Refusal

CONFIGURATION_VERSION = 1
MAX_ENDPOINTS = 16
MAX_EXCHANGES = 16
NO_TLS_KEY = bytes(32)
"""An endpoint without TLS (a development chain on the same machine): it never counts as attested."""
OPERATOR_VIEW = "operator"
ATTESTED_VIEW = "attested"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One chain endpoint: origin (scheme, host, port) and SHA-256 of its TLS public key (SubjectPublicKeyInfo)."""

    origin: str
    tls_key: bytes


@dataclass(frozen=True, slots=True)
class ChainConfiguration:
    """What the node's code was told about the chain. Contract addresses have 20 bytes."""

    chain_id: int
    registry: bytes
    ledger: bytes
    exchanges: tuple[bytes, ...]
    finality: str
    endpoints: tuple[Endpoint, ...]
    checkpoint_number: int
    checkpoint_hash: bytes

    def encode(self) -> bytes:
        """Deterministic CBOR, keys 1 to 9; endpoints and Exchanges keep their order."""
        return cbor.encode(
            {
                1: CONFIGURATION_VERSION,
                2: self.chain_id,
                3: self.registry,
                4: self.ledger,
                5: list(self.exchanges),
                6: self.finality,
                7: [[endpoint.origin, endpoint.tls_key] for endpoint in self.endpoints],
                8: self.checkpoint_number,
                9: self.checkpoint_hash,
            }
        )

    def digest(self) -> bytes:
        """SHA-256 of the encoding: field 10 of the binding."""
        return hashlib.sha256(self.encode()).digest()

    def chain_view(self) -> str:
        """`attested` with at least two pinned endpoints of different origins and keys, else `operator`."""
        pinned = [endpoint for endpoint in self.endpoints if endpoint.tls_key != NO_TLS_KEY]
        if len(pinned) != len(self.endpoints) or len({endpoint.origin for endpoint in pinned}) < 2:
            return OPERATOR_VIEW
        return ATTESTED_VIEW if len({endpoint.tls_key for endpoint in pinned}) > 1 else OPERATOR_VIEW

    @classmethod
    def parse(cls, data: bytes) -> ChainConfiguration:
        """The configuration of exactly these bytes, or EvidenceRefused(format)."""
        fields = cbor.decode_map(data, set(range(1, 10)))
        if cbor.field_int(fields, 1) != CONFIGURATION_VERSION:
            raise EvidenceRefused(Refusal.FORMAT, "a configuration of another version")
        return cls(
            chain_id=cbor.field_int(fields, 2),
            registry=cbor.field_bytes(fields, 3, 20),
            ledger=cbor.field_bytes(fields, 4, 20),
            exchanges=_exchanges(fields[5]),
            finality=cbor.field_text(fields, 6),
            endpoints=_endpoints(fields[7]),
            checkpoint_number=cbor.field_int(fields, 8),
            checkpoint_hash=cbor.field_bytes(fields, 9, 32),
        )


def _exchanges(value: cbor.Value) -> tuple[bytes, ...]:
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_EXCHANGES:
        raise EvidenceRefused(Refusal.FORMAT, "not a list of Exchanges")
    return tuple(cbor.field_bytes({0: item}, 0, 20) for item in value)


def _endpoints(value: cbor.Value) -> tuple[Endpoint, ...]:
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_ENDPOINTS:
        raise EvidenceRefused(Refusal.FORMAT, "not a list of endpoints")
    found = []
    for item in value:
        if not isinstance(item, list) or len(item) != 2:
            raise EvidenceRefused(Refusal.FORMAT, "not an endpoint")
        pair: dict[int | str, cbor.Value] = dict(enumerate(item))
        found.append(Endpoint(cbor.field_text(pair, 0), cbor.field_bytes(pair, 1, 32)))
    return tuple(found)
