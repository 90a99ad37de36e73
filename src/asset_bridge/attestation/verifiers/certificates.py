"""What the vendors' certificate chains have in common: parsing, issuing, dates, ECDSA over P-384.

Source: spec/attestation.md §8. Promises: only EvidenceRefused leaves these functions, whatever bytes come in.
Does not promise: revocation; that is each vendor's.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils

from asset_bridge.attestation.refusal import EvidenceRefused, Refusal


def load(der: object) -> x509.Certificate:
    """A certificate from DER; EvidenceRefused(format)."""
    if not isinstance(der, bytes):
        raise EvidenceRefused(Refusal.FORMAT, "a certificate is missing")
    try:
        return x509.load_der_x509_certificate(der)
    except (ValueError, TypeError, x509.InvalidVersion, UnsupportedAlgorithm):
        raise EvidenceRefused(Refusal.FORMAT, "a certificate does not parse") from None


def check_issued(chain: Sequence[x509.Certificate], now: int) -> None:
    """Each certificate (leaf first, self-signed root last) is signed by the next and valid at `now`.

    Raises: EvidenceRefused(chain | expired).
    """
    at = datetime.fromtimestamp(now, UTC)
    for index, certificate in enumerate(chain):
        try:
            certificate.verify_directly_issued_by(chain[min(index + 1, len(chain) - 1)])
        except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
            raise EvidenceRefused(Refusal.CHAIN, f"certificate {index}") from None
        if not certificate.not_valid_before_utc <= at <= certificate.not_valid_after_utc:
            raise EvidenceRefused(Refusal.EXPIRED, f"certificate {index}")


def is_authority(certificate: x509.Certificate) -> bool:
    """Whether it may issue others; EvidenceRefused(chain) when it does not say."""
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError):
        raise EvidenceRefused(Refusal.CHAIN, "a certificate does not say whether it may issue others") from None


def check_authorities(issuers: Sequence[x509.Certificate]) -> None:
    """Each issuer (nearest to the leaf first) may issue certificates, and as many below it as there are (RFC 5280 §4.2.1.3, §4.2.1.9).

    Raises: EvidenceRefused(chain).
    """
    for below, certificate in enumerate(issuers):
        if not is_authority(certificate):
            raise EvidenceRefused(Refusal.CHAIN, "an issuer that is no authority")
        try:
            longest = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length
            usage = [item.value for item in certificate.extensions if isinstance(item.value, x509.KeyUsage)]
        except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError):
            raise EvidenceRefused(Refusal.CHAIN, "an issuer's extensions do not parse") from None
        if longest is not None and longest < below:
            raise EvidenceRefused(Refusal.CHAIN, "more certificates below an issuer than it allows")
        if not all(item.key_cert_sign for item in usage):
            raise EvidenceRefused(Refusal.CHAIN, "an issuer whose key may not sign certificates")


def last_day(chain: Sequence[x509.Certificate]) -> int:
    """The second at which the first certificate of the chain ends."""
    return int(min(certificate.not_valid_after_utc for certificate in chain).timestamp())


def check_p384(certificate: x509.Certificate, r: int, s: int, signed: bytes) -> None:
    """ECDSA with SHA-384 by the certificate's P-384 key; EvidenceRefused(signature)."""
    try:
        key = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm):
        raise EvidenceRefused(Refusal.FORMAT, "a certificate's key does not parse") from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP384R1):
        raise EvidenceRefused(Refusal.SIGNATURE, "not a P-384 key")
    try:
        key.verify(utils.encode_dss_signature(r, s), signed, ec.ECDSA(hashes.SHA384()))
    except InvalidSignature:
        raise EvidenceRefused(Refusal.SIGNATURE) from None


def fingerprint(certificate: x509.Certificate) -> str:
    """SHA-256 of the DER, hexadecimal."""
    return certificate.fingerprint(hashes.SHA256()).hex()
