"""What a TEE node's evidence binds: its signing key, the challenge, the chain, its epoch and its configuration.

Implements spec/attestation.md §3. Promises: one encoding per binding; all 64 bytes of report data are used, domain-separated.
Does not promise: that the bound values are true; `appraise` compares them with what the chain says.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from asset_bridge.attestation import cbor
from asset_bridge.attestation.refusal import EvidenceRefused, Refusal

BINDING_VERSION = 1
DOMAIN = b"ASSET-BRIDGE-TEE-NODE-v1\0"
REGISTRATION_NONCE = bytes(32)
"""The nonce of evidence made for registration; freshness is then the bound block. No challenge may use it."""
NO_CONFIGURATION = bytes(32)
"""Nothing attested about the node's view of the chain: it reports `chain_view: operator`."""


@dataclass(frozen=True, slots=True)
class Binding:
    """The bound values. Addresses have 20 bytes; ids, digests and the nonce 32."""

    signing_address: bytes
    node_id: bytes
    nonce: bytes
    chain_id: int
    registry: bytes
    block_hash: bytes
    epoch: int
    operator: bytes
    configuration_digest: bytes

    def encode(self) -> bytes:
        """Deterministic CBOR, keys 1 to 10."""
        return cbor.encode(
            {
                1: BINDING_VERSION,
                2: self.signing_address,
                3: self.node_id,
                4: self.nonce,
                5: self.chain_id,
                6: self.registry,
                7: self.block_hash,
                8: self.epoch,
                9: self.operator,
                10: self.configuration_digest,
            }
        )

    @classmethod
    def parse(cls, data: bytes) -> Binding:
        """The binding of exactly these bytes, or EvidenceRefused(format)."""
        fields = cbor.decode_map(data, set(range(1, 11)))
        if cbor.field_int(fields, 1) != BINDING_VERSION:
            raise EvidenceRefused(Refusal.FORMAT, "a binding of another version")
        return cls(
            signing_address=cbor.field_bytes(fields, 2, 20),
            node_id=cbor.field_bytes(fields, 3, 32),
            nonce=cbor.field_bytes(fields, 4, 32),
            chain_id=cbor.field_int(fields, 5),
            registry=cbor.field_bytes(fields, 6, 20),
            block_hash=cbor.field_bytes(fields, 7, 32),
            epoch=cbor.field_int(fields, 8),
            operator=cbor.field_bytes(fields, 9, 20),
            configuration_digest=cbor.field_bytes(fields, 10, 32),
        )

    def report_data(self) -> bytes:
        """The 64 bytes that the hardware signs: SHA-512(domain ‖ binding)."""
        return hashlib.sha512(DOMAIN + self.encode()).digest()

    def qualifying_data(self) -> bytes:
        """The 32 bytes that a TPM quote carries instead: SHA-256(domain ‖ binding)."""
        return hashlib.sha256(DOMAIN + self.encode()).digest()
