"""AWS Nitro Enclaves: an attestation document is an untagged COSE_Sign1 (ES384) of a CBOR map.

Implements spec/attestation.md §8.1. Promises: the pinned root, every issuer a CA and the leaf none, dates, exactly one CBOR item in each
place, the binding is expected in `user_data` and its nonce in `nonce`. Debug mode (all-zero PCR0) is reported, not refused: that is policy.
Does not promise: revocation; AWS publishes none for leaves that live three hours.
"""

from __future__ import annotations

import io
from typing import Any

import cbor2
from cryptography import x509

from asset_bridge.attestation.claims import VendorReport
from asset_bridge.attestation.evidence import ClaimedEvidence
from asset_bridge.attestation.refusal import EvidenceRefused, Refusal
from asset_bridge.attestation.verifiers import certificates
from asset_bridge.attestation.verify import Collateral

AWS_ROOT_SHA256 = (
    "641a0321a3e244efe456463195d606317ed7cdcc3c1756e09893f3c68f79bb5b"  # AWS_NitroEnclaves_Root-G1, to 2049-10-28
)
MAX_DOCUMENT_BYTES = 0x3000  # the NSM device's own answer limit
MAX_CERTIFICATES = 8
PCR_BYTES = 48
_ES384 = -35  # COSE algorithm, RFC 9053 §2.1
_CODE_PCRS = (0, 1, 2, 8)  # image, kernel, application, signer of the image; 3 and 4 name role and instance, not code


class NitroVerifier:
    """Verifies Nitro documents against the pinned AWS root; `roots` (SHA-256 of DER, hexadecimal) is for generated chains in tests."""

    kind = "aws-nitro"

    def __init__(self, roots: frozenset[str] = frozenset({AWS_ROOT_SHA256})) -> None:
        self._roots = roots

    def verify(self, evidence: ClaimedEvidence, *, now: int, collateral: Collateral) -> VendorReport:  # noqa: ARG002
        """The document's report; EvidenceRefused(size format chain root expired signature)."""
        if len(evidence.blob) > MAX_DOCUMENT_BYTES:
            raise EvidenceRefused(Refusal.SIZE)
        protected, payload, signature = _cose(evidence.blob)
        document = _map(_one(payload))
        chain = _chain(document)
        if certificates.fingerprint(chain[-1]) not in self._roots:
            raise EvidenceRefused(Refusal.ROOT)
        certificates.check_issued(chain, now)
        certificates.check_authorities(chain[1:])
        if certificates.is_authority(chain[0]):
            raise EvidenceRefused(Refusal.CHAIN, "a leaf that is an authority")
        signed = cbor2.dumps(["Signature1", protected, b"", payload])
        certificates.check_p384(
            chain[0], int.from_bytes(signature[:48], "big"), int.from_bytes(signature[48:], "big"), signed
        )
        return _report(document, payload, chain)


def _cose(blob: bytes) -> tuple[bytes, bytes, bytes]:
    parts = _one(blob)
    if not isinstance(parts, list) or len(parts) != 4:
        raise EvidenceRefused(Refusal.FORMAT, "not a COSE_Sign1")
    protected, unprotected, payload, signature = parts
    if not all(isinstance(part, bytes) for part in (protected, payload, signature)) or len(signature) != 96:
        raise EvidenceRefused(Refusal.FORMAT, "not a COSE_Sign1")
    if _one(protected) != {1: _ES384} or unprotected != {}:
        raise EvidenceRefused(Refusal.FORMAT, "not signed with ES384")
    return protected, payload, signature


def _chain(document: dict[Any, Any]) -> list[x509.Certificate]:
    bundle = document.get("cabundle")
    if not isinstance(bundle, list) or not 1 <= len(bundle) <= MAX_CERTIFICATES:
        raise EvidenceRefused(Refusal.FORMAT, "no certificate bundle")
    return [certificates.load(document.get("certificate")), *(certificates.load(der) for der in reversed(bundle))]


def _report(document: dict[Any, Any], payload: bytes, chain: list[x509.Certificate]) -> VendorReport:
    pcrs, timestamp, module = document.get("pcrs"), document.get("timestamp"), document.get("module_id")
    if document.get("digest") != "SHA384" or not isinstance(pcrs, dict) or not isinstance(module, str):
        raise EvidenceRefused(Refusal.FORMAT, "not an attestation document")
    if type(timestamp) is not int or not 0 <= timestamp < 1 << 53:
        raise EvidenceRefused(Refusal.FORMAT, "no timestamp")
    code = {f"pcr{index}": pcrs.get(index, bytes(PCR_BYTES)) for index in _CODE_PCRS}
    if not all(isinstance(value, bytes) and len(value) == PCR_BYTES for value in code.values()):
        raise EvidenceRefused(Refusal.FORMAT, "a PCR is not 48 bytes")
    nonce, user_data = document.get("nonce"), document.get("user_data")
    return VendorReport(
        product="nitro",
        signed_body=payload,
        report_data=user_data if isinstance(user_data, bytes) else b"",
        nonce=nonce if isinstance(nonce, bytes) else b"",  # no nonce answers no challenge
        measurements=code,
        platform=module.split("-enc")[0].encode(),
        debug=not any(code["pcr0"]),
        made_at=timestamp // 1000,
        not_after=certificates.last_day(chain),
        signer="nsm",
        root=bytes.fromhex(certificates.fingerprint(chain[-1])),
    )


def _map(value: Any) -> dict[Any, Any]:
    if not isinstance(value, dict):
        raise EvidenceRefused(Refusal.FORMAT, "not an attestation document")
    return value


def _one(data: bytes) -> Any:
    """The one CBOR item that these bytes are."""
    stream = io.BytesIO(data)
    try:
        value = cbor2.CBORDecoder(stream).decode()
    except (cbor2.CBORError, ValueError, TypeError, OverflowError, RecursionError, MemoryError):
        raise EvidenceRefused(Refusal.FORMAT, "not CBOR") from None
    if stream.tell() != len(data):
        raise EvidenceRefused(Refusal.FORMAT, "bytes after the document")
    return value
