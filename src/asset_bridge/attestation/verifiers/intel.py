"""Intel TDX (quotes v4 and v5) and SGX (v3): `dcap-qvl` does the cryptography, this file gives it a closed list of answers.

Implements spec/attestation.md §8.3. Promises: offline, at `now`, with the caller's collateral; the status word is reported and never taken
for acceptance; only zero bytes may follow the quote; an event log that travels with the evidence must lead to the four registers.
Does not promise: that a status is good enough, or that the collateral is the newest: a policy names statuses and a floor (`evaluation`).
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from typing import Any

import dcap_qvl

from asset_bridge.attestation import event_log, json_text
from asset_bridge.attestation.claims import Tcb, VendorReport
from asset_bridge.attestation.evidence import ClaimedEvidence
from asset_bridge.attestation.refusal import EvidenceRefused, Refusal
from asset_bridge.attestation.verifiers import certificates
from asset_bridge.attestation.verify import Collateral

MAX_QUOTE_BYTES = 16 * 1024
MAX_COLLATERAL_BYTES = 256 * 1024
INTEL_ROOT_SHA256 = (
    "44a0196b2b99f889b8e149e95b807a350e7424964399e885a7cbb8ccfab674d3"  # Intel SGX Root CA, to 2049-12-31
)
COLLATERAL_AUX = "collateral"
EVENT_LOG_AUX = "event-log"
_HEADER_BYTES = 48
_TEE_TYPES = {"intel-sgx": 0x00, "intel-tdx": 0x81}
_VERSIONS = {"intel-sgx": (3,), "intel-tdx": (4, 5)}
_PARTS = (
    "pck_crl_issuer_chain", "root_ca_crl", "pck_crl", "tcb_info_issuer_chain", "tcb_info", "tcb_info_signature",
    "qe_identity_issuer_chain", "qe_identity", "qe_identity_signature",
)  # fmt: skip
# What dcap-qvl 0.7.0 says, in the order in which its words are looked for. Whatever is not named here is a refused signature chain.
_WORDS: tuple[tuple[str, Refusal], ...] = (
    ("Debug mode is enabled", Refusal.DEBUG),
    ("TD profiling is enabled", Refusal.DEBUG),
    ("TD migration is enabled", Refusal.MIGRATABLE),
    ("MR service TD", Refusal.MIGRATABLE),
    ("SERVTD_EXT", Refusal.MIGRATABLE),
    ("SEPT_VE_DISABLE", Refusal.TCB_STATUS),
    ("No matching TCB level", Refusal.TCB_STATUS),
    ("TCB status is invalid", Refusal.TCB_STATUS),
    ("below minimum required", Refusal.TCB_STATUS),
    ("No TCB levels found", Refusal.TCB_STATUS),
    ("in the future", Refusal.COLLATERAL_EXPIRED),
    ("TCBInfo expired", Refusal.COLLATERAL_EXPIRED),
    ("QE Identity expired", Refusal.COLLATERAL_EXPIRED),
    ("CrlExpired", Refusal.COLLATERAL_EXPIRED),
    ("Collateral expired", Refusal.COLLATERAL_EXPIRED),
    ("CertRevoked", Refusal.REVOKED),
    ("CertExpired", Refusal.EXPIRED),
    ("CertNotValidYet", Refusal.EXPIRED),
    ("UnknownRevocationStatus", Refusal.CRL_MISSING),
    ("CRLs required", Refusal.CRL_MISSING),
    ("CrlSignature", Refusal.SIGNATURE),
    ("IssuerNotCrlSigner", Refusal.CHAIN),
    ("CRL", Refusal.FORMAT),
    ("Failed to verify certificate chain", Refusal.CHAIN),
    ("chain is too short", Refusal.CHAIN),
    ("Signature is invalid for", Refusal.SIGNATURE),
    ("signature is invalid", Refusal.SIGNATURE),
    ("QE report hash mismatch", Refusal.SIGNATURE),
    ("Unknown QE vendor ID", Refusal.SIGNATURE),
    ("Unsupported QE Identity", Refusal.COLLATERAL_MISMATCH),
    ("TCB info in the collateral", Refusal.COLLATERAL_MISMATCH),
    ("Fmspc mismatch", Refusal.COLLATERAL_MISMATCH),
    ("TDX module", Refusal.COLLATERAL_MISMATCH),
    ("mismatch", Refusal.COLLATERAL_MISMATCH),
    ("Failed to", Refusal.FORMAT),
    ("Unsupported", Refusal.FORMAT),
    ("must have version", Refusal.FORMAT),
    ("Invalid QE auth data", Refusal.FORMAT),
)


@dataclass(frozen=True, slots=True)
class _Quote:
    """A quote cut into what is signed and what follows. `body_at`: where the report begins; `ends_at`: where padding does."""

    raw: bytes
    body_at: int
    signed: bytes
    ends_at: int
    fmspc: str


class DcapVerifier:
    """Verifies one of Intel's two kinds. `root` (DER) replaces Intel's root in tests with generated chains."""

    def __init__(self, kind: str, root: bytes | None = None) -> None:
        self.kind = kind
        self._root = root

    def verify(self, evidence: ClaimedEvidence, *, now: int, collateral: Collateral) -> VendorReport:
        """The report; EvidenceRefused with any code of §8.3."""
        quote = _cut(self.kind, evidence.blob)
        found = _collateral(self.kind, quote, evidence, collateral)
        claims = self._checked(quote, found, now)
        if any(quote.raw[quote.ends_at :]):  # after the signatures, so that a reason of substance comes first
            raise EvidenceRefused(Refusal.FORMAT, "bytes after the quote")
        report = _report(self.kind, quote, claims, self._root_digest())
        if EVENT_LOG_AUX in evidence.aux:
            event_log.check(evidence.aux[EVENT_LOG_AUX], [report.measurements[f"rtmr{index}"] for index in range(4)])
        return report

    def _checked(self, quote: _Quote, text: str, now: int) -> dict[str, Any]:
        try:
            parts = dcap_qvl.QuoteCollateralV3.from_json(text)
            if self._root is None:  # this one says why, down to the cause; the other gives the claims
                dcap_qvl.verify(quote.raw, parts, now)
            else:
                dcap_qvl.verify_with_root_ca(quote.raw, parts, self._root, now)
            policy = dcap_qvl.QuotePolicy.claims_only(now)
            verifier = dcap_qvl.QuoteVerifier(self._root)
            told = verifier.verify_with_policy(quote.raw, parts, now, policy).to_json()
        except (ValueError, OverflowError) as error:
            raise _refused(str(error)) from None
        claims: dict[str, Any] = json.loads(told)
        if not claims["latest_issue_date"] <= now <= claims["earliest_expiration_date"]:
            raise EvidenceRefused(Refusal.EXPIRED, "the root")  # dcap-qvl looks at the dates of all but the root
        asked = json.loads(parts.tcb_info).get(
            "pceId", ""
        )  # signed and parsed by now; dcap-qvl compares the family only
        if str(asked).lower() != bytes(claims["platform"]["pck"]["pce_id"]).hex():
            raise EvidenceRefused(Refusal.COLLATERAL_MISMATCH, "another PCE")
        return claims

    def _root_digest(self) -> bytes:
        if self._root is None:
            return bytes.fromhex(INTEL_ROOT_SHA256)
        return bytes.fromhex(certificates.fingerprint(certificates.load(self._root)))


def _refused(text: str) -> EvidenceRefused:
    """dcap-qvl's words as one of the closed list."""
    code = next((code for words, code in _WORDS if words in text), Refusal.SIGNATURE)
    return EvidenceRefused(code, " ".join(text.split())[:200])


def _cut(kind: str, raw: bytes) -> _Quote:
    """Header, body and signature data; only zero padding after them."""
    if len(raw) > MAX_QUOTE_BYTES:
        raise EvidenceRefused(Refusal.SIZE)
    if len(raw) < _HEADER_BYTES + 6:
        raise EvidenceRefused(Refusal.FORMAT, "cut short")
    version, key_type, tee_type = struct.unpack_from("<HHI", raw)
    if version not in _VERSIONS[kind] or tee_type != _TEE_TYPES[kind] or key_type != 2:
        raise EvidenceRefused(Refusal.FORMAT, f"not a quote of {kind}")
    body_at, size = _HEADER_BYTES, 384 if kind == "intel-sgx" else 584
    if version == 5:
        body_type, size = struct.unpack_from("<HI", raw, _HEADER_BYTES)
        body_at = _HEADER_BYTES + 6
        if (body_type, size) not in ((2, 584), (3, 648)):
            raise EvidenceRefused(Refusal.FORMAT, "a body of another kind")
    signature_at = body_at + size
    if len(raw) < signature_at + 4:
        raise EvidenceRefused(Refusal.FORMAT, "cut short")
    (length,) = struct.unpack_from("<I", raw, signature_at)
    try:
        fmspc = dcap_qvl.parse_quote(raw).fmspc()
    except (ValueError, OverflowError) as error:
        raise _refused(str(error)) from None
    return _Quote(raw, body_at, raw[:signature_at], signature_at + 4 + length, fmspc.upper())


def _collateral(kind: str, quote: _Quote, evidence: ClaimedEvidence, collateral: Collateral) -> str:
    """The asker's own collateral for this platform, else what travels with the evidence (Intel signed it, with its dates)."""
    name = f"{kind}-{quote.fmspc.lower()}"
    data = collateral.items.get(name, evidence.aux.get(COLLATERAL_AUX))
    if data is None:
        raise EvidenceRefused(Refusal.CRL_MISSING, f"no collateral {name}")
    if len(data) > MAX_COLLATERAL_BYTES:
        raise EvidenceRefused(Refusal.SIZE, "the collateral")
    parts = json_text.load(data, "the collateral")
    if not isinstance(parts, dict) or not all(isinstance(parts.get(name, ""), str) for name in _PARTS):
        raise EvidenceRefused(Refusal.FORMAT, "the collateral lacks a part")
    if not parts.get("root_ca_crl") or not parts.get("pck_crl"):
        raise EvidenceRefused(Refusal.CRL_MISSING)
    if any(name not in parts for name in _PARTS):
        raise EvidenceRefused(Refusal.FORMAT, "the collateral lacks a part")
    return json.dumps({name: parts[name] for name in _PARTS})


def _report(kind: str, quote: _Quote, claims: dict[str, Any], root: bytes) -> VendorReport:
    body, tcb, pck = quote.raw[quote.body_at :], claims["tcb"], claims["platform"]["pck"]
    components = {"evaluation": int(tcb["eval_data_number"]), "pce": int(pck["pce_svn"])}
    if kind == "intel-sgx":
        measured = {"mr_enclave": body[64:96], "mr_signer": body[128:160], "isv_prod_id": body[256:258]}
        components["isv_svn"] = int.from_bytes(body[258:260], "little")
        report_data = body[320:384]
    else:
        measured = {
            "mr_td": body[136:184], "mr_config_id": body[184:232], "mr_owner": body[232:280],
            "mr_owner_config": body[280:328], **{f"rtmr{i}": body[328 + 48 * i : 376 + 48 * i] for i in range(4)},
        }  # fmt: skip
        components |= {"tdx_module": body[0], "tdx_module_major": body[1], "seam": body[2]}
        report_data = body[520:584]
    return VendorReport(
        product=quote.fmspc,
        signed_body=quote.signed,
        report_data=report_data,
        measurements=measured,
        platform=bytes(pck["ppid"]),
        tcb=Tcb(tcb["status"], components, int(tcb["eval_data_number"]), tuple(tcb["advisory_ids"])),
        not_after=int(claims["earliest_expiration_date"]),
        signer="pck",
        root=root,
    )


def fmspc_of(raw: bytes) -> str:
    """The platform family of a quote, upper-case hexadecimal: the name of its collateral. EvidenceRefused(format)."""
    try:
        fmspc: str = dcap_qvl.parse_quote(raw).fmspc()
    except (ValueError, OverflowError) as error:
        raise _refused(str(error)) from None
    return fmspc.upper()
