"""Recorded Azure evidence: vTPM quotes bound to SNP and TDX, every tampered variant of the README (spec/attestation.md §8.5)."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils

from asset_bridge.attestation import cbor
from asset_bridge.attestation.claims import VendorReport
from asset_bridge.attestation.evidence import ClaimedEvidence
from asset_bridge.attestation.refusal import EvidenceRefused, Refusal
from asset_bridge.attestation.verifiers import tpm_quote
from asset_bridge.attestation.verify import Collateral
from tests.support.depth import depth
from tests.unit.attestation import recorded

pytestmark = [
    pytest.mark.needs_vectors,
    pytest.mark.filterwarnings("ignore:Parsed a serial number"),  # AMD's certificates have serial 0
]
SNP_AT, TDX_AT = 1748736000, 1760982530
HCL, MESSAGE, SIGNATURE, PCRS = 1, 2, 3, 4


@pytest.fixture(scope="module")
def folder(vectors_dir: Path) -> Path:
    return vectors_dir.parent / "attestation"


@pytest.fixture(scope="module")
def on_snp(folder: Path) -> ClaimedEvidence:
    return recorded.azure(folder, "snp-v1")[0]


@pytest.fixture(scope="module")
def on_tdx(folder: Path) -> tuple[ClaimedEvidence, Collateral]:
    return recorded.azure(folder, "tdx-v1")


def parts_of(evidence: ClaimedEvidence) -> dict[int, Any]:
    found: Any = cbor.decode(evidence.blob)
    return dict(found)


def with_parts(evidence: ClaimedEvidence, **changes: Any) -> ClaimedEvidence:
    found = parts_of(evidence) | {{"hcl": 1, "message": 2, "signature": 3, "pcrs": 4}[k]: v for k, v in changes.items()}
    return dataclasses.replace(evidence, blob=cbor.encode(dict(found.items())))


def test_the_recorded_quote_on_snp(folder: Path, on_snp: ClaimedEvidence) -> None:
    case = recorded.cases(folder, "azure-vtpm")["azure-vtpm/snp-v1"]
    found = recorded.judged(on_snp, case["verify_at"])
    assert isinstance(found, VendorReport)
    assert found.report_data.hex() == case["tpm_nonce"]
    assert found.measurements["pcr0"].hex() == case["pcr0"]
    assert found.measurements["cpu_measurement"].hex() == case["measurement"]
    assert (found.debug, found.vmpl, found.product) == (case["debug"], case["vmpl"], "Milan")
    assert set(found.measurements) == {"cpu_measurement", "cpu_host_data"} | {
        f"pcr{index}" for index in (*range(10), 11, 12, 13, 14)
    }
    assert found.tcb.components["snp"] <= case["reported_tcb"]["snp"]


def test_the_recorded_quote_on_tdx(folder: Path, on_tdx: tuple[ClaimedEvidence, Collateral]) -> None:
    """Every link up to the CPU's report holds; the report itself is refused, as tdx/azure-sept-ve-off is."""
    evidence, collateral = on_tdx
    assert recorded.judged(evidence, TDX_AT, collateral) is Refusal.TCB_STATUS
    case = recorded.cases(folder, "azure-vtpm")["azure-vtpm/tdx-v1"]
    parts = parts_of(evidence)
    hcl = parts[HCL]
    runtime = hcl[32 + 1184 + 20 :].rstrip(b"\0")
    assert evidence.aux["td-quote"][48 + 520 : 48 + 552] == hashlib.sha256(runtime).digest()
    key = json.loads(runtime)["keys"][0]
    ak = tpm_quote.rsa_key(recorded.unpadded(key["n"]), int.from_bytes(recorded.unpadded(key["e"]), "big"))
    quote = tpm_quote.check_quote(parts[MESSAGE], parts[SIGNATURE], ak, parts[PCRS])
    assert (quote.extra.hex(), quote.pcrs[0].hex()) == (case["tpm_nonce"], case["pcr0"])


def test_every_flipped_bit_of_the_signed_parts_is_refused(on_snp: ClaimedEvidence) -> None:
    parts = parts_of(on_snp)
    runtime_ends = len(parts[HCL].rstrip(b"\0"))
    signed = {
        "message": range(len(parts[MESSAGE])),
        "signature": range(len(parts[SIGNATURE])),
        "hcl": [*range(32, 32 + 0x330), *range(32 + 1184 + 20, runtime_ends)],
    }
    for name, positions in signed.items():
        data = parts[{"hcl": HCL, "message": MESSAGE, "signature": SIGNATURE}[name]]
        for at in positions:
            for bit in range(depth("attestation_flips")):
                found = recorded.judged(with_parts(on_snp, **{name: recorded.flip(data, at, bit)}), SNP_AT)
                assert isinstance(found, Refusal), (name, at, bit)


def test_changed_pcr_values(on_snp: ClaimedEvidence) -> None:
    pcrs = parts_of(on_snp)[PCRS]
    for index in range(24):
        other = [*pcrs[:index], recorded.flip(pcrs[index], 5), *pcrs[index + 1 :]]
        assert recorded.judged(with_parts(on_snp, pcrs=other), SNP_AT) is Refusal.EVENT_LOG
    assert recorded.judged(with_parts(on_snp, pcrs=pcrs[:23]), SNP_AT) is Refusal.FORMAT
    assert recorded.judged(with_parts(on_snp, pcrs=[*pcrs[:23], b"short"]), SNP_AT) is Refusal.FORMAT


def test_the_attestation_key_of_another_machine(
    on_snp: ClaimedEvidence, on_tdx: tuple[ClaimedEvidence, Collateral]
) -> None:
    """The other's runtime JSON in this report's place, and the other's quote beside this report."""
    at = 32 + 1184
    mine, other = parts_of(on_snp), parts_of(on_tdx[0])
    size_and_json = other[HCL][at:][:8] + mine[HCL][at + 8 : at + 16] + other[HCL][at + 16 :]
    assert recorded.judged(with_parts(on_snp, hcl=mine[HCL][:at] + size_and_json), SNP_AT) is Refusal.SIGNATURE
    swapped = with_parts(
        on_snp,
        hcl=mine[HCL][:at] + size_and_json,
        message=other[MESSAGE],
        signature=other[SIGNATURE],
        pcrs=other[PCRS],
    )
    assert recorded.judged(swapped, SNP_AT) is Refusal.BINDING
    foreign = with_parts(on_snp, message=other[MESSAGE], signature=other[SIGNATURE], pcrs=other[PCRS])
    assert recorded.judged(foreign, SNP_AT) is Refusal.SIGNATURE


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        (lambda hcl: b"HCLB" + hcl[4:], Refusal.FORMAT),
        (lambda hcl: hcl[:1000], Refusal.FORMAT),
        (lambda hcl: hcl[:1224] + b"\4" + hcl[1225:], Refusal.FORMAT),  # the report's kind
        (lambda hcl: hcl[:1228] + b"\2" + hcl[1229:], Refusal.FORMAT),  # the digest's kind
        (lambda hcl: hcl[:1232] + b"\xff\xff\0\0" + hcl[1236:], Refusal.FORMAT),  # the length
        (lambda hcl: hcl[:1236] + b"[" * 1110 + hcl[2346:], Refusal.FORMAT),
        (lambda hcl: hcl[:1236] + b"\xff" * 1110 + hcl[2346:], Refusal.FORMAT),
        (lambda hcl: hcl.replace(b"HCLAkPub", b"HCLEkPub"), Refusal.FORMAT),
        (lambda hcl: hcl.replace(b"HCLEkPub", b"HCLAkPub"), Refusal.FORMAT),
        (lambda hcl: hcl.replace(b'"kty":"RSA"', b'"kty":"ABC"'), Refusal.FORMAT),
        (lambda hcl: hcl.replace(b'"e":"AQAB"', b'"e":"AAAA"'), Refusal.FORMAT),
        (lambda hcl: hcl.replace(b'"e":"AQAB"', b'"e":"!!!!"'), Refusal.FORMAT),
        (lambda hcl: hcl.replace(b'"n":"', b'"m":"'), Refusal.FORMAT),
    ],
)
def test_hcl_reports_of_another_shape(
    on_snp: ClaimedEvidence, change: Callable[[bytes], bytes], refusal: Refusal
) -> None:
    assert recorded.judged(with_parts(on_snp, hcl=change(parts_of(on_snp)[HCL])), SNP_AT) is refusal


@pytest.mark.parametrize(
    "blob", [b"", b"\xa0", cbor.encode({1: b"", 2: b"", 3: b"", 4: 1}), cbor.encode({1: 1, 2: b"", 3: b"", 4: []})]
)
def test_blobs_of_another_shape(on_snp: ClaimedEvidence, blob: bytes) -> None:
    assert recorded.judged(dataclasses.replace(on_snp, blob=blob), SNP_AT) is Refusal.FORMAT


def test_without_the_cpu_quote_and_in_the_other_kind(
    on_snp: ClaimedEvidence, on_tdx: tuple[ClaimedEvidence, Collateral]
) -> None:
    evidence, collateral = on_tdx
    assert recorded.judged(dataclasses.replace(evidence, aux={}), TDX_AT, collateral) is Refusal.FORMAT
    assert recorded.judged(dataclasses.replace(on_snp, kind="azure-tdx-vtpm"), SNP_AT) is Refusal.FORMAT


# ── quotes signed here, so that only their content is wrong ──
def attest(
    *,
    magic: int = 0xFF544347,
    kind: int = 0x8018,
    selection: bytes = b"\0\x0b\3\xff\xff\xff",
    pcrs: list[bytes],
    banks: int = 1,
) -> bytes:
    digest = hashlib.sha256(b"".join(pcrs)).digest()
    head = magic.to_bytes(4, "big") + kind.to_bytes(2, "big") + b"\0\2ab" + b"\0\3xyz" + bytes(17) + bytes(8)
    return head + banks.to_bytes(4, "big") + selection + len(digest).to_bytes(2, "big") + digest


VALUES = [bytes([index]) * 32 for index in range(24)]


def quoted(message: bytes, pcrs: list[bytes]) -> tpm_quote.Quote | Refusal:
    key = quoted.key  # type: ignore[attr-defined]
    try:
        return tpm_quote.check_quote(
            message, key.sign(message, padding.PKCS1v15(), hashes.SHA256()), key.public_key(), pcrs
        )
    except EvidenceRefused as refused:
        return refused.refusal


quoted.key = rsa.generate_private_key(65537, 2048)  # type: ignore[attr-defined]


def test_a_quote_over_other_registers_or_not_a_quote() -> None:
    good = quoted(attest(pcrs=VALUES), VALUES)
    assert isinstance(good, tpm_quote.Quote)
    assert (good.extra, good.signer) == (b"xyz", b"ab")
    resettable = [*VALUES[:8], VALUES[16]]  # 0..7 and 16: the register that anyone can reset stands where 8 is expected
    for message, pcrs in (
        (attest(pcrs=resettable, selection=b"\0\x0b\3\xff\0\1"), resettable),
        (attest(pcrs=resettable, selection=b"\0\x0b\3\xff\0\1"), VALUES),
        (attest(pcrs=VALUES, selection=b"\0\4\3\xff\xff\xff"), VALUES),
        (attest(pcrs=VALUES, selection=b"\0\x0b\3\xff\xff\xff\0\4\3\xff\xff\xff", banks=2), VALUES),
        (attest(pcrs=VALUES, magic=0xFF544346), VALUES),
        (attest(pcrs=VALUES, kind=0x8017), VALUES),
        (attest(pcrs=VALUES) + b"\0", VALUES),
        (attest(pcrs=VALUES)[:-1], VALUES),
        (b"", VALUES),
    ):
        assert quoted(message, pcrs) is Refusal.FORMAT
    assert quoted(attest(pcrs=VALUES), VALUES[::-1]) is Refusal.EVENT_LOG


def test_ecdsa_quotes() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    message = attest(pcrs=VALUES)
    r, s = utils.decode_dss_signature(key.sign(message, ec.ECDSA(hashes.SHA256())))
    signature = r.to_bytes(32, "big") + s.to_bytes(32, "big")
    assert tpm_quote.check_quote(message, signature, key.public_key(), VALUES).extra == b"xyz"
    for bad in (recorded.flip(signature, 3), signature[:63], bytes(64), b"\xff" * 64):
        with pytest.raises(EvidenceRefused) as caught:
            tpm_quote.check_quote(message, bad, key.public_key(), VALUES)
        assert caught.value.refusal is Refusal.SIGNATURE
    for modulus in (b"\x80" + bytes(100), b"\x7f" + bytes(255), b""):
        with pytest.raises(EvidenceRefused):
            tpm_quote.rsa_key(modulus, 65537)
