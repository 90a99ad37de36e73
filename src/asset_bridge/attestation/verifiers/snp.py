"""AMD SEV-SNP: an attestation report of 1184 bytes, signed by a VCEK or VLEK that leads over ASK to a pinned ARK.

Implements spec/attestation.md §8.2. Promises: the whole chain, the patch level and chip id of the certificate equal those of the report,
the lowest of reported, committed and launch level is what the policy's floor sees, and so are two bits of PLATFORM_INFO. Debug,
migration and VMPL are reported, not refused: that is policy. Where AMD's revocation list is given as collateral it is checked; without
it, revocation is not known here.
Does not promise: that a product is sound; a policy names products (Milan is forgeable by software since 2026).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa

from asset_bridge.attestation.claims import Tcb, VendorReport
from asset_bridge.attestation.evidence import ClaimedEvidence
from asset_bridge.attestation.refusal import EvidenceRefused, Refusal
from asset_bridge.attestation.verifiers import certificates
from asset_bridge.attestation.verify import Collateral

ARK_SHA256: Mapping[str, str] = {
    "69d063b45344d26a2e94e1f4210de49ef555308287d4c174445c95639a540bcd": "Milan",
    "4c6598d19c18719c5dfd4a7d335f674e5bfe1d8f800cea2cf270c10d103db2f1": "Genoa",
    "1f084161a44bb6d93778a904877d4819cafa5d05ef4193b2ded9dd9c73dd3f6a": "Turin",
}
REPORT_BYTES = 1184
_SIGNED_BYTES = 0x2A0
_OID = "1.3.6.1.4.1.3704.1."  # AMD's certificate extensions (VCEK specification, table 8)
_VCEK, _VLEK = 0, 1
_VERSIONS = range(2, 6)  # ABI 1.51 to 1.58: what is read here lies at the same places in all of them
_CIPHERTEXT_HIDING, _ALIAS_CHECK = 4, 5  # bits of PLATFORM_INFO
_COMMON = {"bl": ("3.1", 0), "tee": ("3.2", 1), "snp": ("3.3", 6), "ucode": ("3.8", 7)}
_TURIN = {"fmc": ("3.9", 0), "bl": ("3.1", 1), "tee": ("3.2", 2), "snp": ("3.3", 3), "ucode": ("3.8", 7)}


@dataclass(frozen=True, slots=True)
class _Chain:
    signer: x509.Certificate
    ask: x509.Certificate
    ark: x509.Certificate
    product: str

    def all(self) -> list[x509.Certificate]:
        return [self.signer, self.ask, self.ark]


class SnpVerifier:
    """Verifies SNP reports; aux holds `signer` (VCEK or VLEK), `ask`, `ark`, each DER. `roots` is for generated chains in tests."""

    kind = "amd-sev-snp"

    def __init__(self, roots: Mapping[str, str] = ARK_SHA256) -> None:
        self._roots = roots

    def verify(self, evidence: ClaimedEvidence, *, now: int, collateral: Collateral) -> VendorReport:
        """The report; EvidenceRefused(format root chain expired revoked signature collateral-…)."""
        report = evidence.blob
        if len(report) != REPORT_BYTES or struct.unpack_from("<I", report, 0x34)[0] != 1:
            raise EvidenceRefused(Refusal.FORMAT, "not an SNP report with an ECDSA P-384 signature")
        chain = self._chain(evidence)
        certificates.check_issued(chain.all(), now)
        certificates.check_authorities((chain.ask, chain.ark))
        _check_revoked(chain, collateral, now)
        r, s = (int.from_bytes(report[at : at + 72], "little") for at in (0x2A0, 0x2E8))
        certificates.check_p384(chain.signer, r, s, report[:_SIGNED_BYTES])
        return _report(report, chain)

    def _chain(self, evidence: ClaimedEvidence) -> _Chain:
        signer, ask, ark = (certificates.load(evidence.aux.get(name)) for name in ("signer", "ask", "ark"))
        product = self._roots.get(certificates.fingerprint(ark))
        if product is None:
            raise EvidenceRefused(Refusal.ROOT)
        return _Chain(signer, ask, ark, product)


def _report(report: bytes, chain: _Chain) -> VendorReport:
    (flags,) = struct.unpack_from("<I", report, 0x48)
    (policy,) = struct.unpack_from("<Q", report, 8)
    (vmpl,) = struct.unpack_from("<I", report, 0x30)
    (platform_info,) = struct.unpack_from("<Q", report, 0x40)
    if struct.unpack_from("<I", report)[0] not in _VERSIONS:
        raise EvidenceRefused(Refusal.FORMAT, "a report of another version")
    key_kind = flags >> 2 & 7
    if key_kind not in (_VCEK, _VLEK):
        raise EvidenceRefused(Refusal.SIGNATURE, "the report says that it is not signed")
    layout = _TURIN if chain.product == "Turin" else _COMMON
    reported = report[0x180:0x188]
    for oid, at in layout.values():
        if _number(chain.signer, oid) != reported[at]:
            raise EvidenceRefused(Refusal.COLLATERAL_MISMATCH, "the certificate is for another patch level")
    chip_id = report[0x1A0:0x1E0]
    if key_kind == _VCEK and _chip(chain) != chip_id:
        raise EvidenceRefused(Refusal.COLLATERAL_MISMATCH, "the certificate is for another chip")
    levels = (reported, report[0x1E0:0x1E8], report[0x1F0:0x1F8])
    return VendorReport(
        product=chain.product,
        signed_body=report[:_SIGNED_BYTES],
        report_data=report[0x50:0x90],
        measurements={"measurement": report[0x90:0xC0], "host_data": report[0xC0:0xE0]},
        platform=chip_id if key_kind == _VCEK else b"vlek\0" + _extension(chain.signer, "5"),
        debug=bool(policy >> 19 & 1),
        migratable=bool(policy >> 18 & 1),
        vmpl=vmpl,
        tcb=Tcb(
            components={
                **{name: min(level[at] for level in levels) for name, (_, at) in layout.items()},
                "alias_check": platform_info >> _ALIAS_CHECK & 1,
                "ciphertext_hiding": platform_info >> _CIPHERTEXT_HIDING & 1,
            }
        ),
        not_after=certificates.last_day(chain.all()),
        signer="vcek" if key_kind == _VCEK else "vlek",
        root=bytes.fromhex(certificates.fingerprint(chain.ark)),
    )


def _extension(certificate: x509.Certificate, oid: str) -> bytes:
    try:
        extension = certificate.extensions.get_extension_for_oid(x509.ObjectIdentifier(_OID + oid)).value
    except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError):
        raise EvidenceRefused(Refusal.COLLATERAL_MISMATCH, "the certificate lacks a field of AMD's profile") from None
    if not isinstance(extension, x509.UnrecognizedExtension):
        raise EvidenceRefused(Refusal.COLLATERAL_MISMATCH, "the certificate lacks a field of AMD's profile")
    return extension.value


def _chip(chain: _Chain) -> bytes:
    """The certificate's chip id as a report shows it: older certificates hold it bare, newer ones as a DER OCTET STRING."""
    value = _extension(chain.signer, "4")
    for size in (64, 8) if chain.product == "Turin" else (64,):  # Turin's ids have 8 bytes
        if len(value) == size + 2 and value[:2] == bytes([4, size]):
            value = value[2:]
        if len(value) == size:
            return value.ljust(64, b"\0")
    raise EvidenceRefused(Refusal.COLLATERAL_MISMATCH, "the certificate's chip id has another length")


def _number(certificate: x509.Certificate, oid: str) -> int:
    """A DER INTEGER of one or two bytes."""
    value = _extension(certificate, oid)
    if len(value) not in (3, 4) or value[0] != 2 or value[1] != len(value) - 2:
        raise EvidenceRefused(Refusal.COLLATERAL_MISMATCH, "a patch level in the certificate is no number")
    return int.from_bytes(value[2:], "big")


def _check_revoked(chain: _Chain, collateral: Collateral, now: int) -> None:
    """AMD's lists for this product (DER, signed by the ARK), where the caller has them; they name revoked ASKs and VLEK issuers."""
    for name in (f"amd-crl-{chain.product.lower()}", f"amd-crl-{chain.product.lower()}-vlek"):
        if name in collateral.items:
            _check_list(chain, collateral.items[name], now)


def _check_list(chain: _Chain, data: bytes, now: int) -> None:
    try:
        revoked = x509.load_der_x509_crl(data)
        key = chain.ark.public_key()
        if not isinstance(key, rsa.RSAPublicKey) or not revoked.is_signature_valid(key):
            raise EvidenceRefused(Refusal.COLLATERAL_MISMATCH, "the revocation list is not this root's")
        ends = revoked.next_update_utc
        listed = any(
            revoked.get_revoked_certificate_by_serial_number(item.serial_number) for item in (chain.ask, chain.signer)
        )
    except (ValueError, TypeError, x509.InvalidVersion, InvalidSignature, UnsupportedAlgorithm):
        raise EvidenceRefused(Refusal.FORMAT, "the revocation list does not parse") from None
    if ends is None or not revoked.last_update_utc <= datetime.fromtimestamp(now, UTC) <= ends:
        raise EvidenceRefused(Refusal.COLLATERAL_EXPIRED, "the revocation list")
    if listed:
        raise EvidenceRefused(Refusal.REVOKED)
