"""The recorded evidence of real hardware beside the checkout, as envelopes of this project with the collateral that belongs to each."""

from __future__ import annotations

import base64
import json
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from asset_bridge.attestation import cbor
from asset_bridge.attestation.claims import VendorReport
from asset_bridge.attestation.evidence import ClaimedEvidence
from asset_bridge.attestation.refusal import EvidenceRefused, Refusal
from asset_bridge.attestation.verifiers import hardware
from asset_bridge.attestation.verifiers.intel import fmspc_of
from asset_bridge.attestation.verify import NO_COLLATERAL, Collateral
from tests.unit.attestation import samples

Case = dict[str, Any]
Judged = VendorReport | Refusal


def cases(folder: Path, kind: str) -> dict[str, Case]:
    """All cases of one folder."""
    found: dict[str, Case] = json.loads((folder / kind / "cases.json").read_text())
    return found


def envelope(kind: str, blob: bytes, aux: dict[str, bytes] | None = None) -> ClaimedEvidence:
    """Evidence around recorded bytes; it binds what the samples bind, so only a verifier may look at it."""
    return ClaimedEvidence(kind, blob, aux or {}, samples.binding(), ())


def nitro(folder: Path, case: Case) -> ClaimedEvidence:
    data = (folder / case["document"]).read_bytes()
    return envelope("aws-nitro", data[case.get("offset", 0) :][: case.get("length", len(data))])


def amd_chain(path: Path) -> tuple[bytes, bytes]:
    """ASK and ARK, DER."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        chain = x509.load_pem_x509_certificates(path.read_bytes())
    ask, ark = (certificate.public_bytes(Encoding.DER) for certificate in chain)
    return ask, ark


def snp(folder: Path, case: Case) -> ClaimedEvidence:
    ask, ark = amd_chain(folder / case["chain"])
    aux = {"signer": (folder / case["ek"]).read_bytes(), "ask": ask, "ark": ark}
    return envelope("amd-sev-snp", (folder / case["report"]).read_bytes(), aux)


def intel(folder: Path, case: Case) -> tuple[ClaimedEvidence, Collateral]:
    """A quote, and the case's collateral under the name that the verifier looks for."""
    kind = "intel-sgx" if case["quote_version"] == 3 else "intel-tdx"
    raw = (folder / case["quote"]).read_bytes()
    name = f"{kind}-{fmspc_of(raw).lower()}"
    return envelope(kind, raw), Collateral({name: (folder / case["collateral"]).read_bytes()})


def azure(folder: Path, name: str) -> tuple[ClaimedEvidence, Collateral]:
    """Azure's recorded JSON in our form; the TDX one with the collateral of its platform."""
    found = json.loads((folder / f"azure-vtpm/{name}.json").read_text())
    quote = found["tpm_quote"]
    parts: dict[int | str, cbor.Value] = {
        1: unpadded(found["hcl_report"]),
        2: bytes.fromhex(quote["message"]),
        3: bytes.fromhex(quote["signature"]),
        4: [bytes.fromhex(value) for value in quote["pcrs"]],
    }
    if name.startswith("snp"):
        ask, ark = amd_chain(folder / "sev-snp/amd-milan-vcek-chain.pem")
        aux = {"signer": unpadded(found["vcek"]), "ask": ask, "ark": ark}
        return envelope("azure-snp-vtpm", cbor.encode(parts), aux), NO_COLLATERAL
    aux = {"td-quote": unpadded(found["td_quote"])}
    collateral = (folder / "tdx/fmspc-00806f05-2025-10.collateral.json").read_bytes()
    return envelope("azure-tdx-vtpm", cbor.encode(parts), aux), Collateral({"intel-tdx-00806f050000": collateral})


def unpadded(text: str) -> bytes:
    """base64url without padding."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def judged(evidence: ClaimedEvidence, now: int, collateral: Collateral = NO_COLLATERAL) -> Judged:
    """A report, or the code of the closed list; any other exception fails the test."""
    try:
        return hardware().of(evidence.kind).verify(evidence, now=now, collateral=collateral)
    except EvidenceRefused as refused:
        return refused.refusal


def with_blob(evidence: ClaimedEvidence, blob: bytes) -> ClaimedEvidence:
    return replace(evidence, blob=blob)


def flip(data: bytes, at: int, bit: int = 0) -> bytes:
    return data[:at] + bytes([data[at] ^ (1 << bit)]) + data[at + 1 :]
