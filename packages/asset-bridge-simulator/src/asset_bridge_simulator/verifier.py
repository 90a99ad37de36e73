"""Verifies simulated reports under one deployment's root. Passed in by whoever's policy names that root, never found by itself.

Implements spec/attestation.md §9. Promises: tier `simulated`, whatever the report says; EvidenceRefused for everything that is wrong.
"""

from __future__ import annotations

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import utils
from cryptography.x509.oid import NameOID

from asset_bridge.attestation import cbor
from asset_bridge.attestation.claims import Tier, VendorReport
from asset_bridge.attestation.evidence import ClaimedEvidence
from asset_bridge.attestation.refusal import EvidenceRefused, Refusal
from asset_bridge.attestation.verifiers import certificates
from asset_bridge.attestation.verify import Collateral
from asset_bridge.errors import InputError
from asset_bridge_simulator.pki import SUBJECT, parse_certificate
from asset_bridge_simulator.report import DOMAIN, KIND, SIGNER_AUX, SimReport


class SimVerifier:
    """Accepts reports whose platform certificate the given root issued."""

    kind = KIND

    def __init__(self, root_certificate_pem: bytes) -> None:
        """InputError(simulator.root): not a certificate, or one that does not say that it is simulated."""
        self._root = parse_certificate(root_certificate_pem)
        names = self._root.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        if [name.value for name in names] != [SUBJECT]:
            raise InputError("simulator.root", f'the subject of a simulator\'s root must be "{SUBJECT}"')

    def verify(self, evidence: ClaimedEvidence, *, now: int, collateral: Collateral) -> VendorReport:  # noqa: ARG002
        """The report; EvidenceRefused(format chain expired signature)."""
        signer = certificates.load(evidence.aux.get(SIGNER_AUX))
        certificates.check_issued([signer, self._root], now)
        if certificates.is_authority(signer):
            raise EvidenceRefused(Refusal.CHAIN, "a platform certificate that may issue others")
        fields = cbor.decode_map(evidence.blob, {1, 2})
        body, signature = fields[1], fields[2]
        if not isinstance(body, bytes) or not isinstance(signature, bytes):
            raise EvidenceRefused(Refusal.FORMAT, "no report or no signature")
        _check(signer, signature, DOMAIN + body)
        report = SimReport.parse(body)
        return VendorReport(
            product="simulator",
            signed_body=body,
            report_data=report.report_data,
            measurements={"measurement": report.measurement},
            platform=signer.public_key().public_bytes(
                serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
            ),
            debug=report.debug,
            made_at=report.made_at,
            not_after=certificates.last_day([signer, self._root]),
            signer=SUBJECT,
            root=bytes.fromhex(certificates.fingerprint(self._root)),
            tier=Tier.SIMULATED,
        )


def _check(signer: x509.Certificate, signature: bytes, signed: bytes) -> None:
    try:
        r, s = utils.decode_dss_signature(signature)
    except ValueError:
        raise EvidenceRefused(Refusal.FORMAT, "not a signature") from None
    certificates.check_p384(signer, r, s, signed)
