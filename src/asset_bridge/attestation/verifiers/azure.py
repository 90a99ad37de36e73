"""Azure confidential VMs: a vTPM quote whose key the CPU's own report names.

Implements spec/attestation.md §8.5. The guest cannot write report data: the paravisor puts SHA-256(runtime JSON) there, the JSON
carries the vTPM's attestation key, and that key's quote carries our binding.
Promises: every link of quote → key → JSON → report → vendor root. Does not promise: what the
paravisor does; its measurement is in the measurement id, and it can read the guest's memory.
"""

from __future__ import annotations

import base64
import hashlib
import struct
from collections.abc import Mapping
from dataclasses import replace

from asset_bridge.attestation import cbor, json_text
from asset_bridge.attestation.claims import VendorReport
from asset_bridge.attestation.evidence import ClaimedEvidence
from asset_bridge.attestation.refusal import EvidenceRefused, Refusal
from asset_bridge.attestation.verifiers import tpm_quote
from asset_bridge.attestation.verifiers.intel import DcapVerifier
from asset_bridge.attestation.verifiers.snp import ARK_SHA256, SnpVerifier
from asset_bridge.attestation.verify import Collateral

TD_QUOTE_AUX = "td-quote"
MAX_JSON_BYTES = 16 * 1024
_SIGNATURE, _HEADER_BYTES, _REPORT_BYTES, _SHA256 = b"HCLA", 32, 1184, 1
_REPORT_TYPES = {"azure-snp-vtpm": 2, "azure-tdx-vtpm": 4}
_INNER = {"azure-snp-vtpm": "amd-sev-snp", "azure-tdx-vtpm": "intel-tdx"}
_AK = "HCLAkPub"


class AzureVerifier:
    """Verifies one of Azure's two kinds. Blob: CBOR {1: HCL report, 2: TPMS_ATTEST, 3: signature, 4: [24 PCR values]}."""

    def __init__(self, kind: str, roots: Mapping[str, str] = ARK_SHA256, intel_root: bytes | None = None) -> None:
        self.kind = kind
        self._snp, self._tdx = SnpVerifier(roots), DcapVerifier("intel-tdx", intel_root)

    def verify(self, evidence: ClaimedEvidence, *, now: int, collateral: Collateral) -> VendorReport:
        """The CPU's report with the quote's registers; EvidenceRefused with any code of §8.2 to §8.5."""
        hcl, message, signature, pcrs = _parts(evidence.blob)
        cpu_report, runtime = _hcl(hcl, _REPORT_TYPES[self.kind])
        quote = tpm_quote.check_quote(message, signature, _attestation_key(runtime), pcrs)
        cpu = self._cpu(evidence, cpu_report, now, collateral)
        if cpu.report_data != hashlib.sha256(runtime).digest().ljust(64, b"\0"):
            raise EvidenceRefused(Refusal.BINDING, "the CPU's report does not name this vTPM's key")
        return replace(
            cpu,
            signed_body=cpu.signed_body + message,
            report_data=quote.extra,
            measurements={**{f"cpu_{name}": value for name, value in cpu.measurements.items()}, **quote.measured()},
            signer=f"{cpu.signer}+vtpm",
        )

    def _cpu(self, evidence: ClaimedEvidence, report: bytes, now: int, collateral: Collateral) -> VendorReport:
        inner = _INNER[self.kind]
        blob = report if inner == "amd-sev-snp" else evidence.aux.get(TD_QUOTE_AUX, b"")
        verifier = self._snp if inner == "amd-sev-snp" else self._tdx
        return verifier.verify(replace(evidence, kind=inner, blob=blob), now=now, collateral=collateral)


def _parts(blob: bytes) -> tuple[bytes, bytes, bytes, list[bytes]]:
    fields = cbor.decode_map(blob, {1, 2, 3, 4})
    hcl, message, signature, pcrs = fields[1], fields[2], fields[3], fields[4]
    if not isinstance(hcl, bytes) or not isinstance(message, bytes) or not isinstance(signature, bytes):
        raise EvidenceRefused(Refusal.FORMAT, "no HCL report, quote or signature")
    if not isinstance(pcrs, list):
        raise EvidenceRefused(Refusal.FORMAT, "no PCR values")
    return hcl, message, signature, [cbor.field_bytes({0: value}, 0, tpm_quote.PCR_BYTES) for value in pcrs]


def _hcl(data: bytes, report_type: int) -> tuple[bytes, bytes]:
    """The hardware report area and the runtime JSON of an HCL report; zeros may follow."""
    at = _HEADER_BYTES + _REPORT_BYTES
    if len(data) < at + 20 or data[:4] != _SIGNATURE:
        raise EvidenceRefused(Refusal.FORMAT, "not an HCL report")
    _size, _version, kind, hash_kind, length = struct.unpack_from("<5I", data, at)
    runtime = data[at + 20 : at + 20 + length]
    if (kind, hash_kind) != (report_type, _SHA256) or not 0 < length <= MAX_JSON_BYTES or len(runtime) != length:
        raise EvidenceRefused(Refusal.FORMAT, "an HCL report of another kind")
    return data[_HEADER_BYTES:at], runtime


def _attestation_key(runtime: bytes) -> tpm_quote.AkKey:
    found = json_text.load(runtime, "the runtime data")
    keys = found.get("keys") if isinstance(found, dict) else None
    named = [key for key in keys if isinstance(key, dict) and key.get("kid") == _AK] if isinstance(keys, list) else []
    if len(named) != 1 or named[0].get("kty") != "RSA":
        raise EvidenceRefused(Refusal.FORMAT, "the runtime data names no attestation key, or two")
    return tpm_quote.rsa_key(_base64(named[0].get("n")), int.from_bytes(_base64(named[0].get("e")), "big"))


def _base64(text: object) -> bytes:
    try:
        return base64.b64decode(str(text) + "=" * (-len(str(text)) % 4), altchars=b"-_", validate=True)
    except ValueError:
        raise EvidenceRefused(Refusal.FORMAT, "a number of the attestation key is not base64url") from None
