"""Fetch the collateral that a piece of evidence needs, into the folder where verification looks for it.

Source: spec/attestation.md §13. Promises: files are written whole, and never replaced by older ones. Verification stays offline: it reads
the folder. Does not promise: that the collateral is genuine; the verifiers find out.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from asset_bridge.attestation.verifiers.intel import fmspc_of
from asset_bridge.attestation.verifiers.snp import ARK_SHA256
from asset_bridge.attesters.collateral import AmdService, IntelService, authority_of, is_older
from asset_bridge.client.evidence_file import claimed_in
from asset_bridge.errors import InputError

_VLEK = 1  # the signing key that bits 2 to 4 of a report's flags name


@dataclass(frozen=True, slots=True)
class Stored:
    """One file, and whether it is new."""

    name: str
    new: bool


def fetch_for(data: bytes, intel: IntelService, amd: AmdService, folder: Path, product: str = "Genoa") -> list[Stored]:
    """Fetch what the evidence in `data` (ours, or a vendor's own bytes) is judged by, and keep it in `folder`.

    Args:
        product: AMD's, where the evidence carries no certificates that say it.
    Raises:
        InputError(client.no-collateral): evidence of a kind for which a vendor publishes nothing.
        UnavailableError(attesters.collateral), TamperedError(attesters.collateral-form): as the services say.
    """
    claimed = claimed_in(data)
    inner = {"azure-tdx-vtpm": "intel-tdx", "azure-snp-vtpm": "amd-sev-snp"}.get(claimed.kind, claimed.kind)
    if inner in ("intel-tdx", "intel-sgx"):
        quote = claimed.aux.get("td-quote", b"") if claimed.kind.startswith("azure") else claimed.blob
        family = fmspc_of(quote).lower()
        return [_store(folder, f"{inner}-{family}.json", intel.collateral(inner, family, authority_of(quote)))]
    if inner != "amd-sev-snp":
        raise InputError("client.no-collateral", f"evidence of kind {claimed.kind} needs nothing from its vendor")
    product = _product_of(claimed.aux) or product
    report = claimed.blob if claimed.kind == inner else b""
    if report and report[0x48] >> 2 & 7 == _VLEK:  # the cloud's own key: its certificate comes from the cloud
        return [_store(folder, f"amd-crl-{product.lower()}-vlek.der", amd.revocations(product, "vlek"))]
    stored = [_store(folder, f"amd-crl-{product.lower()}.der", amd.revocations(product))]
    if "signer" not in claimed.aux and report:
        ask, ark = amd.issuers(product)
        for name, der in (("signer.der", amd.vcek(product, report)), ("ask.der", ask), ("ark.der", ark)):
            stored.append(_store(folder, name, der, dated=False))
    return stored


def _product_of(aux: object) -> str:
    """The product that the pinned root in the evidence's certificates names, or empty."""
    ark = aux.get("ark") if isinstance(aux, dict) else None
    try:
        return ARK_SHA256.get(x509.load_der_x509_certificate(ark or b"").fingerprint(hashes.SHA256()).hex(), "")
    except ValueError:
        return ""


def _store(folder: Path, name: str, data: bytes, *, dated: bool = True) -> Stored:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = folder / name
    if path.exists():
        known = path.read_bytes()
        if known == data or (dated and is_older(known, data)):
            return Stored(name, False)
    part = path.with_name(name + ".part")
    with part.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    return Stored(name, True)
