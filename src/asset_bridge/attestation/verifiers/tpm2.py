"""TPM 2.0: how a machine booted, shown by a quote of a key that an enrolment authority found in that very TPM.

Implements spec/attestation.md §8.6. A TPM's endorsement key cannot sign, so its bond with the quoting key is credential activation,
which is interactive; the authority that did it (`tpm_credential`) signs the result, and that certificate is checked here.
Promises: EK and AK certificates lead to one of the given roots, the AK lives in a TPM, signs only what a TPM made, and is the one enrolled
with this EK. Does not promise: that the machine's memory is secret: the tier is `boot-only`, or `simulated` under a test root.
"""

from __future__ import annotations

from collections.abc import Mapping

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from asset_bridge.attestation import cbor
from asset_bridge.attestation.claims import Tier, VendorReport
from asset_bridge.attestation.evidence import ClaimedEvidence
from asset_bridge.attestation.refusal import EvidenceRefused, Refusal
from asset_bridge.attestation.tpm_credential import ENROLMENT_OID, enrolment, object_name
from asset_bridge.attestation.verifiers import certificates, tpm_quote
from asset_bridge.attestation.verify import Collateral

# TPMA_OBJECT (Part 2 §8.3): what an attestation key must be, and must not.
_FIXED_TPM, _FIXED_PARENT, _MADE_INSIDE, _RESTRICTED, _DECRYPT, _SIGN = (
    1 << 1,
    1 << 4,
    1 << 5,
    1 << 16,
    1 << 17,
    1 << 18,
)
_REQUIRED = _FIXED_TPM | _FIXED_PARENT | _MADE_INSIDE | _RESTRICTED | _SIGN
_RSA, _ECC, _NULL, _RSASSA, _ECDSA, _P256 = 0x0001, 0x0023, 0x0010, 0x0014, 0x0018, 0x0003
_DEFAULT_EXPONENT = 65537


class TpmVerifier:
    """Verifies TPM evidence under `roots`: SHA-256 of the root's DER (hexadecimal) → the tier that it can prove."""

    kind = "tpm2"

    def __init__(self, roots: Mapping[str, Tier]) -> None:
        self._roots = {root: min(tier, Tier.BOOT_ONLY) for root, tier in roots.items()}

    def verify(self, evidence: ClaimedEvidence, *, now: int, collateral: Collateral) -> VendorReport:  # noqa: ARG002
        """The quote as a report; EvidenceRefused(format root chain expired signature collateral-mismatch event-log)."""
        aux = evidence.aux
        root = certificates.load(aux.get("root"))
        tier = self._roots.get(certificates.fingerprint(root))
        if tier is None:
            raise EvidenceRefused(Refusal.ROOT)
        ek, ak = certificates.load(aux.get("ek")), certificates.load(aux.get("ak"))
        issuers = [certificates.load(aux["ek-issuer"])] if "ek-issuer" in aux else []
        for chain in ([ek, *issuers, root], [ak, root]):
            certificates.check_issued(chain, now)
            certificates.check_authorities(chain[1:])
            if certificates.is_authority(chain[0]):
                raise EvidenceRefused(Refusal.CHAIN, "a leaf that is an authority")
        public = aux.get("ak-public", b"")
        key = attestation_key(public)
        _check_enrolment(ak, ek, public, key)
        message, signature, pcrs = _parts(evidence.blob)
        quote = tpm_quote.check_quote(message, signature, key, pcrs)
        return VendorReport(
            product="tpm2",
            signed_body=message,
            report_data=quote.extra,
            measurements=quote.measured(),
            platform=ek.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
            not_after=certificates.last_day([ek, *issuers, ak, root]),
            signer="ak",
            root=bytes.fromhex(certificates.fingerprint(root)),
            tier=tier,
        )


def _parts(blob: bytes) -> tuple[bytes, bytes, list[bytes]]:
    fields = cbor.decode_map(blob, {1, 2, 3})
    message, signature, pcrs = fields[1], fields[2], fields[3]
    if not isinstance(message, bytes) or not isinstance(signature, bytes) or not isinstance(pcrs, list):
        raise EvidenceRefused(Refusal.FORMAT, "no quote, signature or PCR values")
    return message, signature, [cbor.field_bytes({0: value}, 0, tpm_quote.PCR_BYTES) for value in pcrs]


def attestation_key(public: bytes) -> tpm_quote.AkKey:
    """The key of a TPMT_PUBLIC that may only sign what its TPM made."""
    cursor = tpm_quote.Cursor(public)
    kind, name_algorithm, attributes = cursor.number(2), cursor.number(2), cursor.number(4)
    if name_algorithm != tpm_quote.SHA256_BANK or attributes & _REQUIRED != _REQUIRED or attributes & _DECRYPT:
        raise EvidenceRefused(Refusal.FORMAT, "not a restricted signing key that was made in its TPM")
    cursor.sized()  # the policy under which the key is used
    if kind not in (_RSA, _ECC) or cursor.number(2) != _NULL:
        raise EvidenceRefused(Refusal.FORMAT, "an attestation key of another kind")
    scheme, digest = cursor.number(2), cursor.number(2)
    if (scheme, digest) != (_RSASSA if kind == _RSA else _ECDSA, tpm_quote.SHA256_BANK):
        raise EvidenceRefused(Refusal.FORMAT, "an attestation key of another scheme")
    key = _rsa(cursor) if kind == _RSA else _ecc(cursor)
    cursor.end()
    return key


def _rsa(cursor: tpm_quote.Cursor) -> rsa.RSAPublicKey:
    cursor.number(2)
    exponent = cursor.number(4) or _DEFAULT_EXPONENT
    return tpm_quote.rsa_key(cursor.sized(), exponent)


def _ecc(cursor: tpm_quote.Cursor) -> ec.EllipticCurvePublicKey:
    curve, kdf = cursor.number(2), cursor.number(2)
    if (curve, kdf) != (_P256, _NULL):
        raise EvidenceRefused(Refusal.FORMAT, "an attestation key on another curve")
    x, y = (int.from_bytes(cursor.sized(), "big") for _ in range(2))
    try:
        return ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
    except ValueError:
        raise EvidenceRefused(Refusal.FORMAT, "no point of the curve") from None


def _check_enrolment(ak: x509.Certificate, ek: x509.Certificate, public: bytes, key: tpm_quote.AkKey) -> None:
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if ak.public_key().public_bytes(*form) != key.public_bytes(*form):
        raise EvidenceRefused(Refusal.COLLATERAL_MISMATCH, "the enrolment is for another key")
    try:
        named = ak.extensions.get_extension_for_oid(ENROLMENT_OID).value
    except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError):
        raise EvidenceRefused(Refusal.COLLATERAL_MISMATCH, "the certificate is no enrolment") from None
    if not isinstance(named, x509.UnrecognizedExtension) or named.value != enrolment(ek, object_name(public)):
        raise EvidenceRefused(Refusal.COLLATERAL_MISMATCH, "the enrolment names another TPM")
