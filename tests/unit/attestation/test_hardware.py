"""Real evidence: every case of the published sets, tampered variants, flipped bits (spec/attestation.md §8)."""

from __future__ import annotations

import json
import struct
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cbor2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from asset_bridge.attestation.claims import VendorReport
from asset_bridge.attestation.evidence import ClaimedEvidence
from asset_bridge.attestation.refusal import EvidenceRefused, Refusal
from asset_bridge.attestation.verifiers import hardware
from asset_bridge.attestation.verifiers.nitro import NitroVerifier
from asset_bridge.attestation.verifiers.snp import SnpVerifier
from asset_bridge.attestation.verify import NO_COLLATERAL, Collateral, verify
from tests.support.depth import depth
from tests.unit.attestation import recorded, samples

pytestmark = [
    pytest.mark.needs_vectors,
    pytest.mark.filterwarnings("ignore:Parsed a serial number"),  # AMD's certificates have serial 0
]
Case = dict[str, Any]


@pytest.fixture(scope="module")
def folder(vectors_dir: Path) -> Path:
    return vectors_dir.parent / "attestation"


def nitro(folder: Path, case: Case) -> ClaimedEvidence:
    data = (folder / case["document"]).read_bytes()
    data = data[case.get("offset", 0) :][: case.get("length", len(data))]
    return ClaimedEvidence("aws-nitro", data, {}, samples.binding(), ())


def snp(folder: Path, case: Case) -> ClaimedEvidence:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        chain = x509.load_pem_x509_certificates((folder / case["chain"]).read_bytes())
    ask, ark = (certificate.public_bytes(Encoding.DER) for certificate in chain)
    aux = {"signer": (folder / case["ek"]).read_bytes(), "ask": ask, "ark": ark}
    return ClaimedEvidence("amd-sev-snp", (folder / case["report"]).read_bytes(), aux, samples.binding(), ())


def cases(folder: Path, kind: str) -> dict[str, Case]:
    found: dict[str, Case] = json.loads((folder / kind / "cases.json").read_text())
    return found


def judged(evidence: ClaimedEvidence, now: int, collateral: Collateral = NO_COLLATERAL) -> VendorReport | Refusal:
    try:
        return hardware().of(evidence.kind).verify(evidence, now=now, collateral=collateral)
    except EvidenceRefused as refused:
        return refused.refusal


NITRO_REFUSED = {"nitro/2025-leaf-expired": Refusal.EXPIRED, "nitro/trailing-bytes": Refusal.FORMAT}
SNP_REFUSED = {
    "sev-snp/bad-vcek-1": Refusal.CHAIN,
    "sev-snp/bad-vcek-2": Refusal.CHAIN,
    "sev-snp/vlek-expired": Refusal.EXPIRED,
    "sev-snp/wrong-product-chain": Refusal.CHAIN,
}


def test_nitro_cases(folder: Path) -> None:
    for name, case in cases(folder, "nitro").items():
        found = judged(nitro(folder, case), case["verify_at"])
        if name in NITRO_REFUSED:
            assert found is NITRO_REFUSED[name], name
            continue
        assert isinstance(found, VendorReport), name
        assert found.debug is ("debug" in name), name
        pcrs = {key: bytes.fromhex(value) for key, value in case.get("pcrs", {}).items()}
        for index in ("0", "1", "2", "8") if "pcrs" in case else ():
            assert found.measurements[f"pcr{index}"] == pcrs.get(index, bytes(48)), name
        if name == "nitro/2025-stale":
            assert case["verify_at"] - found.made_at >= 3600


def test_snp_cases(folder: Path) -> None:
    for name, case in cases(folder, "sev-snp").items():
        found = judged(snp(folder, case), case["verify_at"])
        if name in SNP_REFUSED:
            assert found is SNP_REFUSED[name], name
            continue
        assert isinstance(found, VendorReport), name
        assert (found.debug, found.vmpl) == (case["debug"], case["vmpl"]), name
        assert found.measurements["measurement"].hex() == case["measurement"], name
        assert found.report_data.hex() == case["report_data"], name
        assert found.signer == case["signer"].lower(), name


def flipped(data: bytes, positions: range) -> Callable[[], Any]:
    def variants() -> Any:
        for at in positions:
            for bit in range(depth("attestation_flips")):
                yield at, data[:at] + bytes([data[at] ^ (1 << bit)]) + data[at + 1 :]

    return variants


def test_every_flipped_bit_of_an_snp_report_is_refused(folder: Path) -> None:
    case = cases(folder, "sev-snp")["sev-snp/milan"]
    good = snp(folder, case)
    for at, data in flipped(good.blob, range(0x330))():
        found = judged(ClaimedEvidence(good.kind, data, good.aux, good.binding, ()), case["verify_at"])
        assert isinstance(found, Refusal), hex(at)


def test_every_flipped_bit_of_a_nitro_document_is_refused(folder: Path) -> None:
    case = cases(folder, "nitro")["nitro/2025"]
    good = nitro(folder, case)
    for at, data in flipped(good.blob, range(len(good.blob)))():
        found = judged(ClaimedEvidence(good.kind, data, {}, good.binding, ()), case["verify_at"])
        assert isinstance(found, Refusal), at


def test_the_signature_twin_has_the_same_identity(folder: Path) -> None:
    """(r, n - s) verifies too: the bytes of evidence identify nothing, the signed body does."""
    order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFC7634D81F4372DDF581A0DB248B0A77AECEC196ACCC52973
    case = cases(folder, "sev-snp")["sev-snp/milan"]
    good = snp(folder, case)
    s = order - int.from_bytes(good.blob[0x2E8:0x330], "little")
    twin = good.blob[:0x2E8] + s.to_bytes(72, "little") + good.blob[0x330:]
    first = judged(good, case["verify_at"])
    second = judged(ClaimedEvidence(good.kind, twin, good.aux, good.binding, ()), case["verify_at"])
    assert isinstance(first, VendorReport)
    assert isinstance(second, VendorReport)
    assert first.signed_body == second.signed_body
    assert twin != good.blob


def test_another_root_and_missing_certificates(folder: Path) -> None:
    case = cases(folder, "sev-snp")["sev-snp/milan"]
    good = snp(folder, case)
    with pytest.raises(EvidenceRefused) as caught:
        SnpVerifier({"00" * 32: "Milan"}).verify(good, now=case["verify_at"], collateral=NO_COLLATERAL)
    assert caught.value.refusal is Refusal.ROOT
    for name in ("signer", "ask", "ark"):
        for aux in ({k: v for k, v in good.aux.items() if k != name}, {**good.aux, name: b"junk"}):
            found = judged(ClaimedEvidence(good.kind, good.blob, aux, good.binding, ()), case["verify_at"])
            assert found is Refusal.FORMAT, name
    document = nitro(folder, cases(folder, "nitro")["nitro/2025"])
    with pytest.raises(EvidenceRefused) as caught:
        NitroVerifier(frozenset({"00" * 32})).verify(document, now=1766668542, collateral=NO_COLLATERAL)
    assert caught.value.refusal is Refusal.ROOT


def test_snp_certificate_of_another_chip_or_level(folder: Path) -> None:
    """The debug report's certificate is a Milan VCEK too: chain good, chip and patch level another's."""
    found = cases(folder, "sev-snp")
    case = {**found["sev-snp/milan"], "ek": found["sev-snp/debug-policy"]["ek"]}
    assert judged(snp(folder, case), case["verify_at"]) is Refusal.SIGNATURE


@pytest.mark.parametrize("size", [0, 1183, 1185])
def test_snp_length(folder: Path, size: int) -> None:
    case = cases(folder, "sev-snp")["sev-snp/milan"]
    good = snp(folder, case)
    blob = (good.blob + bytes(2))[:size]
    assert judged(ClaimedEvidence(good.kind, blob, good.aux, good.binding, ()), case["verify_at"]) is Refusal.FORMAT


def test_snp_says_unsigned(folder: Path) -> None:
    case = cases(folder, "sev-snp")["sev-snp/milan"]
    good = snp(folder, case)
    flags = struct.pack("<I", 7 << 2)
    blob = good.blob[:0x48] + flags + good.blob[0x4C:]
    assert judged(ClaimedEvidence(good.kind, blob, good.aux, good.binding, ()), case["verify_at"]) is Refusal.SIGNATURE


def test_snp_revocation_list_that_is_junk(folder: Path) -> None:
    case = cases(folder, "sev-snp")["sev-snp/milan"]
    junk = Collateral({"amd-crl-milan": b"junk"})
    assert judged(snp(folder, case), case["verify_at"], junk) is Refusal.FORMAT


def changed_document(folder: Path, change: Callable[[list[Any], dict[Any, Any]], None]) -> ClaimedEvidence:
    good = nitro(folder, cases(folder, "nitro")["nitro/2025"])
    parts = list(cbor2.loads(good.blob))
    document = dict(cbor2.loads(parts[2]))
    change(parts, document)
    parts[2] = cbor2.dumps(document) if isinstance(parts[2], bytes) else parts[2]
    return ClaimedEvidence(good.kind, cbor2.dumps(parts), {}, good.binding, ())


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        (lambda parts, doc: parts.__setitem__(0, cbor2.dumps({1: -7})), Refusal.FORMAT),
        (lambda parts, doc: parts.__setitem__(1, {1: 2}), Refusal.FORMAT),
        (lambda parts, doc: parts.__setitem__(2, 1), Refusal.FORMAT),
        (lambda parts, doc: parts.__setitem__(3, b"x"), Refusal.FORMAT),
        (lambda parts, doc: parts.append(b""), Refusal.FORMAT),
        (lambda parts, doc: doc.pop("certificate"), Refusal.FORMAT),
        (lambda parts, doc: doc.__setitem__("cabundle", []), Refusal.FORMAT),
        (lambda parts, doc: doc.__setitem__("cabundle", doc["cabundle"][1:]), Refusal.ROOT),
        (lambda parts, doc: doc.__setitem__("cabundle", doc["cabundle"][:1]), Refusal.CHAIN),
        (lambda parts, doc: doc.__setitem__("cabundle", [doc["cabundle"][0], *doc["cabundle"][:0:-1]]), Refusal.CHAIN),
        (lambda parts, doc: doc.__setitem__("certificate", doc["cabundle"][-1]), Refusal.CHAIN),
        (lambda parts, doc: doc.__setitem__("user_data", b"other"), Refusal.SIGNATURE),
    ],
)
def test_tampered_nitro_documents(
    folder: Path, change: Callable[[list[Any], dict[Any, Any]], None], refusal: Refusal
) -> None:
    assert judged(changed_document(folder, change), 1766668542) is refusal


def test_good_evidence_of_a_stranger_binds_no_node(folder: Path) -> None:
    """Every recorded document that its vendor's signatures vouch for is refused as evidence of a node: it binds other data, or none."""
    good = [(nitro(folder, case), case["verify_at"], NO_COLLATERAL) for case in cases(folder, "nitro").values()]
    good += [(snp(folder, case), case["verify_at"], NO_COLLATERAL) for case in cases(folder, "sev-snp").values()]
    good += [
        (*recorded.intel(folder, case)[:1], case["verify_at"], recorded.intel(folder, case)[1])
        for kind in ("tdx", "sgx")
        for case in cases(folder, kind).values()
    ]
    good.append((recorded.azure(folder, "snp-v1")[0], 1748736000, NO_COLLATERAL))
    bound = 0
    for evidence, now, collateral in good:
        if not isinstance(judged(evidence, now, collateral), VendorReport):
            continue
        with pytest.raises(EvidenceRefused) as caught:
            verify(evidence, hardware(), now=now, collateral=collateral)
        assert caught.value.refusal is Refusal.BINDING, evidence.kind
        bound += 1
    assert bound >= 13
