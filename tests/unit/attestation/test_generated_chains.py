"""Chains made here under own roots: what no recorded evidence shows (levels, chips, authorities, revocation, the Turin layout)."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

import cbor2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from asset_bridge.attestation.claims import VendorReport
from asset_bridge.attestation.evidence import ClaimedEvidence
from asset_bridge.attestation.refusal import EvidenceRefused, Refusal
from asset_bridge.attestation.verifiers.nitro import NitroVerifier
from asset_bridge.attestation.verifiers.snp import SnpVerifier
from asset_bridge.attestation.verify import NO_COLLATERAL, Collateral, Verifier, VerifierSet, verify
from tests.unit.attestation import samples

NOW = samples.NOW
AT = datetime.fromtimestamp(NOW, UTC)
DAY = timedelta(days=1)
PSS = padding.PSS(padding.MGF1(hashes.SHA384()), 48)
CHIP = bytes(range(64))
BOUND_DATA = samples.binding(configuration_digest=samples.UNBOUND).report_data()


def name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def certificate(
    subject: str,
    key: Any,
    issuer: str,
    signer: Any,
    *,
    ca: bool,
    extensions: dict[str, bytes] | None = None,
    longest: int | None = None,
    may_issue: bool = True,
    dates: tuple[timedelta, timedelta] = (-DAY, DAY),
) -> x509.Certificate:
    builder = (
        x509.CertificateBuilder()
        .subject_name(name(subject))
        .issuer_name(name(issuer))
        .public_key(key.public_key())
        .serial_number(int.from_bytes(hashlib.sha256(subject.encode()).digest()[:8], "big"))
        .not_valid_before(AT + dates[0])
        .not_valid_after(AT + dates[1])
        .add_extension(x509.BasicConstraints(ca, longest), critical=True)
    )
    if ca:
        usage = x509.KeyUsage(not may_issue, False, False, False, False, may_issue, False, False, False)
        builder = builder.add_extension(usage, critical=True)
    for oid, value in (extensions or {}).items():
        unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.3704.1." + oid), value)
        builder = builder.add_extension(unknown, critical=False)
    pss = {"rsa_padding": PSS} if isinstance(signer, rsa.RSAPrivateKey) else {}
    return builder.sign(signer, hashes.SHA384(), **pss)


def der(item: x509.Certificate) -> bytes:
    return item.public_bytes(Encoding.DER)


def judged(
    verifier: Verifier, evidence: ClaimedEvidence, collateral: Collateral = NO_COLLATERAL
) -> VendorReport | Refusal:
    try:
        return verifier.verify(evidence, now=NOW, collateral=collateral)
    except EvidenceRefused as refused:
        return refused.refusal


# ── SEV-SNP ──
class Amd:
    """An ARK, an ASK and a VCEK key of one product."""

    def __init__(self, product: str) -> None:
        self.product = product
        self.ark_key, self.ask_key = (rsa.generate_private_key(65537, 2048) for _ in range(2))
        self.key = ec.generate_private_key(ec.SECP384R1())
        self.ark = certificate("ARK", self.ark_key, "ARK", self.ark_key, ca=True)
        self.ask = certificate("ASK", self.ask_key, "ARK", self.ark_key, ca=True)
        self.verifier = SnpVerifier({self.ark.fingerprint(hashes.SHA256()).hex(): product})

    def vcek(self, levels: dict[str, int], extra: dict[str, bytes] | None = None) -> x509.Certificate:
        found = {oid: bytes([2, 1, level]) for oid, level in levels.items()}
        return certificate(
            "VCEK", self.key, "ASK", self.ask_key, ca=False, extensions={**found, "4": CHIP, **(extra or {})}
        )

    def report(
        self, tcb: bytes, *, flags: int = 0, chip: bytes = CHIP, committed: bytes = b"", launch: bytes = b"",
        version: int = 3, platform_info: int = 0,
    ) -> bytes:  # fmt: skip
        body = bytearray(0x2A0)
        body[0:4], body[0x34:0x38], body[0x48:0x4C] = (
            bytes([version, 0, 0, 0]),
            b"\1\0\0\0",
            flags.to_bytes(4, "little"),
        )
        body[0x40] = platform_info
        body[0x180:0x188], body[0x1A0:0x1E0] = tcb, chip
        body[0x1E0:0x1E8], body[0x1F0:0x1F8] = committed or tcb, launch or tcb
        r, s = utils.decode_dss_signature(self.key.sign(bytes(body), ec.ECDSA(hashes.SHA384())))
        tail = r.to_bytes(72, "little") + s.to_bytes(72, "little")
        return (bytes(body) + tail).ljust(1184, b"\0")

    def judge(
        self, report: bytes, vcek: x509.Certificate, collateral: Collateral = NO_COLLATERAL
    ) -> VendorReport | Refusal:
        aux = {"signer": der(vcek), "ask": der(self.ask), "ark": der(self.ark)}
        item = ClaimedEvidence("amd-sev-snp", report, aux, samples.binding(), ())
        return judged(self.verifier, item, collateral)

    def revocations(self, *revoked: x509.Certificate, signer: Any = None, ends: timedelta = DAY) -> Collateral:
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(name("ARK"))
            .last_update(AT - DAY)
            .next_update(AT + ends)
        )
        for item in revoked:
            entry = x509.RevokedCertificateBuilder().serial_number(item.serial_number).revocation_date(AT - DAY).build()
            builder = builder.add_revoked_certificate(entry)
        made = builder.sign(signer or self.ark_key, hashes.SHA384(), rsa_padding=PSS)
        return Collateral({f"amd-crl-{self.product.lower()}": made.public_bytes(Encoding.DER)})


def levels(found: VendorReport) -> dict[str, int]:
    """The patch levels, without the two bits of PLATFORM_INFO."""
    return {
        key: value for key, value in found.tcb.components.items() if key not in ("alias_check", "ciphertext_hiding")
    }


GENOA_TCB = bytes([9, 1, 0, 0, 0, 0, 23, 72])
GENOA = {"3.1": 9, "3.2": 1, "3.3": 23, "3.8": 72}
TURIN_TCB = bytes([1, 9, 2, 5, 0, 0, 0, 72])
TURIN = {"3.9": 1, "3.1": 9, "3.2": 2, "3.3": 5, "3.8": 72}


@pytest.fixture(scope="module")
def genoa() -> Amd:
    return Amd("Genoa")


def test_a_good_genoa_report_and_the_lowest_of_its_levels(genoa: Amd) -> None:
    low = bytes([9, 1, 0, 0, 0, 0, 20, 72])
    for older in ({"committed": low}, {"launch": low}):
        found = genoa.judge(genoa.report(GENOA_TCB, **older), genoa.vcek(GENOA))
        assert isinstance(found, VendorReport)
        assert (found.product, levels(found)) == ("Genoa", {"bl": 9, "tee": 1, "snp": 20, "ucode": 72})


@pytest.mark.parametrize("oid", sorted(GENOA))
def test_a_certificate_for_another_patch_level(genoa: Amd, oid: str) -> None:
    other = genoa.vcek({**GENOA, oid: GENOA[oid] + 1})
    assert genoa.judge(genoa.report(GENOA_TCB), other) is Refusal.COLLATERAL_MISMATCH


def test_a_certificate_for_another_chip_or_without_its_fields(genoa: Amd) -> None:
    report = genoa.report(GENOA_TCB)
    assert genoa.judge(report, genoa.vcek(GENOA, {"4": bytes(64)})) is Refusal.COLLATERAL_MISMATCH
    assert genoa.judge(report, genoa.vcek({})) is Refusal.COLLATERAL_MISMATCH
    assert genoa.judge(report, genoa.vcek(GENOA, {"3.1": b"\4\1\x09"})) is Refusal.COLLATERAL_MISMATCH
    vlek = genoa.report(GENOA_TCB, flags=1 << 2, chip=bytes(64))
    assert genoa.judge(vlek, genoa.vcek(GENOA)) is Refusal.COLLATERAL_MISMATCH  # a VCEK is no VLEK
    assert isinstance(genoa.judge(vlek, genoa.vcek(GENOA, {"5": b"\x16\x01x"})), VendorReport)


def test_the_layout_of_turin() -> None:
    turin = Amd("Turin")
    found = turin.judge(turin.report(TURIN_TCB), turin.vcek(TURIN))
    assert isinstance(found, VendorReport)
    assert levels(found) == {"fmc": 1, "bl": 9, "tee": 2, "snp": 5, "ucode": 72}
    assert turin.judge(turin.report(GENOA_TCB), turin.vcek(GENOA)) is Refusal.COLLATERAL_MISMATCH


def test_chip_ids_bare_and_wrapped(genoa: Amd) -> None:
    """Older certificates hold the chip id bare, newer ones in a DER OCTET STRING; Turin's has 8 bytes, zeros after it in the report."""
    report = genoa.report(GENOA_TCB)
    assert isinstance(genoa.judge(report, genoa.vcek(GENOA, {"4": b"\x04\x40" + CHIP})), VendorReport)
    for other in (b"\x04\x3f" + CHIP[:63], CHIP[:63], b"\x04\x40" + CHIP[::-1], b"\x04\x40" + CHIP + b"\0", CHIP[:8]):
        assert genoa.judge(report, genoa.vcek(GENOA, {"4": other})) is Refusal.COLLATERAL_MISMATCH, other
    turin = Amd("Turin")
    report = turin.report(TURIN_TCB, chip=CHIP[:8].ljust(64, b"\0"), version=5)
    for good in (CHIP[:8], b"\x04\x08" + CHIP[:8], CHIP[:8].ljust(64, b"\0")):
        assert isinstance(turin.judge(report, turin.vcek(TURIN, {"4": good})), VendorReport), good
    assert turin.judge(report, turin.vcek(TURIN, {"4": CHIP[:7]})) is Refusal.COLLATERAL_MISMATCH
    assert turin.judge(report, turin.vcek(TURIN, {"4": CHIP[8:16]})) is Refusal.COLLATERAL_MISMATCH


def test_versions_and_platform_bits(genoa: Amd) -> None:
    for version in (2, 3, 4, 5):
        assert isinstance(genoa.judge(genoa.report(GENOA_TCB, version=version), genoa.vcek(GENOA)), VendorReport)
    for version in (0, 1, 6):
        assert genoa.judge(genoa.report(GENOA_TCB, version=version), genoa.vcek(GENOA)) is Refusal.FORMAT
    for bits, expected in ((0, (0, 0)), (1 << 5, (1, 0)), (1 << 4, (0, 1)), (0xCF, (0, 0))):
        found = genoa.judge(genoa.report(GENOA_TCB, platform_info=bits), genoa.vcek(GENOA))
        assert isinstance(found, VendorReport)
        assert (found.tcb.components["alias_check"], found.tcb.components["ciphertext_hiding"]) == expected


def test_an_intermediate_that_is_no_authority(genoa: Amd) -> None:
    good, genoa.ask = genoa.ask, certificate("ASK", genoa.ask_key, "ARK", genoa.ark_key, ca=False)
    try:
        assert genoa.judge(genoa.report(GENOA_TCB), genoa.vcek(GENOA)) is Refusal.CHAIN
    finally:
        genoa.ask = good


def test_revocation_lists(genoa: Amd) -> None:
    report, vcek = genoa.report(GENOA_TCB), genoa.vcek(GENOA)
    assert isinstance(genoa.judge(report, vcek, genoa.revocations()), VendorReport)
    assert genoa.judge(report, vcek, genoa.revocations(genoa.ask)) is Refusal.REVOKED
    assert genoa.judge(report, vcek, genoa.revocations(vcek)) is Refusal.REVOKED
    assert genoa.judge(report, vcek, genoa.revocations(signer=genoa.ask_key)) is Refusal.COLLATERAL_MISMATCH
    assert genoa.judge(report, vcek, genoa.revocations(ends=-DAY / 2)) is Refusal.COLLATERAL_EXPIRED


# ── Nitro ──
def nitro_document(
    *, leaf_ca: bool = False, issuer_ca: bool = True, root_longest: int | None = None, may_issue: bool = True,
    leaf_dates: tuple[timedelta, timedelta] = (-DAY, DAY), **changes: Any,
) -> tuple[NitroVerifier, ClaimedEvidence]:  # fmt: skip
    keys = [ec.generate_private_key(ec.SECP384R1()) for _ in range(3)]
    root = certificate("root", keys[0], "root", keys[0], ca=True, longest=root_longest)
    issuer = certificate("issuer", keys[1], "root", keys[0], ca=issuer_ca, may_issue=may_issue)
    leaf = certificate("leaf", keys[2], "issuer", keys[1], ca=leaf_ca, dates=leaf_dates)
    document = {
        "module_id": "i-1-enc2", "digest": "SHA384", "timestamp": NOW * 1000, "pcrs": {0: b"\1" * 48},
        "certificate": der(leaf), "cabundle": [der(root), der(issuer)], "public_key": None,
        "user_data": BOUND_DATA, "nonce": samples.NONCE, **changes,
    }  # fmt: skip
    protected, payload = cbor2.dumps({1: -35}), cbor2.dumps(document)
    signed = cbor2.dumps(["Signature1", protected, b"", payload])
    r, s = utils.decode_dss_signature(keys[2].sign(signed, ec.ECDSA(hashes.SHA384())))
    blob = cbor2.dumps([protected, {}, payload, r.to_bytes(48, "big") + s.to_bytes(48, "big")])
    verifier = NitroVerifier(frozenset({root.fingerprint(hashes.SHA256()).hex()}))
    bound = samples.binding(configuration_digest=samples.UNBOUND)
    return verifier, ClaimedEvidence("aws-nitro", blob, {}, bound, ())


def nitro(**changes: Any) -> VendorReport | Refusal:
    return judged(*nitro_document(**changes))


def test_a_good_document() -> None:
    found = nitro()
    assert isinstance(found, VendorReport)
    assert (found.platform, found.nonce, found.report_data) == (b"i-1", samples.NONCE, BOUND_DATA)


def test_the_nonce_and_the_bound_data_are_those_of_the_binding() -> None:
    """Steps 3 and 4 of verification over a document that AWS could have signed: another, or none, is refused."""

    def verified(**changes: Any) -> Refusal | None:
        verifier, item = nitro_document(**changes)
        try:
            verify(item, VerifierSet(verifier), now=NOW, collateral=NO_COLLATERAL)
        except EvidenceRefused as refused:
            return refused.refusal
        return None

    assert verified() is None
    for nonce in (None, b"", b"y" * 32, samples.NONCE[:-1], 7):
        assert verified(nonce=nonce) is Refusal.NONCE, nonce
    for data in (None, b"", BOUND_DATA[:32], bytes(64), "text"):
        assert verified(user_data=data) is Refusal.BINDING, data


def test_every_issuer_is_an_authority_and_the_leaf_none() -> None:
    assert nitro(leaf_ca=True) is Refusal.CHAIN
    assert nitro(issuer_ca=False) is Refusal.CHAIN
    assert nitro(may_issue=False) is Refusal.CHAIN
    assert nitro(root_longest=0) is Refusal.CHAIN
    assert isinstance(nitro(root_longest=1), VendorReport)


def test_leaves_of_the_past_and_the_future() -> None:
    assert nitro(leaf_dates=(-3 * DAY, -DAY)) is Refusal.EXPIRED
    assert nitro(leaf_dates=(DAY / 24, DAY)) is Refusal.EXPIRED


@pytest.mark.parametrize(
    "change",
    [
        {"digest": "SHA256"}, {"pcrs": []}, {"pcrs": {0: b"\1"}}, {"pcrs": {0: 1}}, {"module_id": 1}, {"timestamp": -1},
        {"timestamp": True}, {"timestamp": 2**60}, {"timestamp": "now"},
    ],
)  # fmt: skip
def test_signed_documents_of_another_shape(change: dict[str, Any]) -> None:
    assert nitro(**change) is Refusal.FORMAT
