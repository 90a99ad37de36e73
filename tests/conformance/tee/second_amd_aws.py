"""A second, independent reading of SEV-SNP reports and Nitro documents: plain offsets, none of the product's functions."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Any

import cbor2
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, utils

ARKS = {
    "69d063b45344d26a2e94e1f4210de49ef555308287d4c174445c95639a540bcd": "Milan",
    "4c6598d19c18719c5dfd4a7d335f674e5bfe1d8f800cea2cf270c10d103db2f1": "Genoa",
    "1f084161a44bb6d93778a904877d4819cafa5d05ef4193b2ded9dd9c73dd3f6a": "Turin",
}
VERSIONS = [bytes([number, 0, 0, 0]) for number in (2, 3, 4, 5)]
AWS = "641a0321a3e244efe456463195d606317ed7cdcc3c1756e09893f3c68f79bb5b"


class No(Exception):
    """Refused, and why."""


def need(true: object, why: str) -> None:
    if not true:
        raise No(why)


def parsed(der: Any) -> x509.Certificate:
    try:
        return x509.load_der_x509_certificate(der)
    except (ValueError, TypeError):
        raise No("certificate") from None


def signed_by(child: x509.Certificate, parent: x509.Certificate, now: datetime) -> None:
    """Signature over the to-be-signed bytes, names and dates, by hand."""
    try:
        need(child.issuer == parent.subject, "chain: names")
        key, scheme = parent.public_key(), child.signature_hash_algorithm
        if isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(child.signature, child.tbs_certificate_bytes, ec.ECDSA(scheme))  # type: ignore[arg-type]
        else:
            pss = padding.PSS(padding.MGF1(hashes.SHA384()), 48)
            key.verify(child.signature, child.tbs_certificate_bytes, pss, hashes.SHA384())  # type: ignore[union-attr,call-arg,arg-type]
    except (InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError):
        raise No("chain: signature") from None
    need(child.not_valid_before_utc <= now <= child.not_valid_after_utc, "date")


def p384(key: Any, r: bytes, s: bytes, order: str, data: bytes) -> None:
    pair = utils.encode_dss_signature(int.from_bytes(r, order), int.from_bytes(s, order))  # type: ignore[arg-type]
    try:
        key.verify(pair, data, ec.ECDSA(hashes.SHA384()))
    except (InvalidSignature, ValueError):
        raise No("signature") from None


def snp(
    report: bytes, signer_der: bytes, ask_der: bytes, ark_der: bytes, now_at: int, arks: dict[str, str] = ARKS
) -> dict[str, Any]:
    """What a good report says, or No. Debug and VMPL are told, not judged."""
    now = datetime.fromtimestamp(now_at, UTC)
    need(len(report) == 1184 and report[0x34:0x38] == b"\1\0\0\0" and report[:4] in VERSIONS, "format")
    signer, ask, ark = parsed(signer_der), parsed(ask_der), parsed(ark_der)
    product = arks.get(hashlib.sha256(ark_der).hexdigest())
    need(product, "root")
    need(all(c.extensions.get_extension_for_class(x509.BasicConstraints).value.ca for c in (ask, ark)), "authority")
    for child, parent in ((ark, ark), (ask, ark), (signer, ask)):
        signed_by(child, parent, now)
    kind = report[0x48] >> 2 & 7
    need(kind in (0, 1), "unsigned")
    p384(signer.public_key(), report[0x2A0:0x2E8], report[0x2E8:0x330], "little", report[:0x2A0])
    own = {e.oid.dotted_string.removeprefix("1.3.6.1.4.1.3704.1."): e.value for e in signer.extensions}
    level = {oid: own[oid].value[-1] for oid in ("3.1", "3.2", "3.3", "3.8") if oid in own}  # type: ignore[attr-defined]
    places = {"3.1": 0x180, "3.2": 0x181, "3.3": 0x186, "3.8": 0x187}
    if product == "Turin":
        places = {"3.1": 0x181, "3.2": 0x182, "3.3": 0x183, "3.8": 0x187}
    need(all(level.get(oid) == report[at] for oid, at in places.items()), "tcb")
    if kind == 0:
        hwid = own["4"].value if "4" in own else b""  # type: ignore[attr-defined]
        if hwid[:2] in (b"\x04\x40", b"\x04\x08") and len(hwid) in (66, 10):  # newer certificates wrap it
            hwid = hwid[2:]
        need(len(hwid) in (64, 8) and hwid.ljust(64, b"\0") == report[0x1A0:0x1E0], "chip")
    return {
        "debug": bool(report[10] & 8), "vmpl": report[0x30], "measurement": report[0x90:0xC0].hex(),
        "report_data": report[0x50:0x90].hex(), "signer": ("VCEK", "VLEK")[kind],
    }  # fmt: skip


def nitro(document: bytes, now_at: int, root: str = AWS) -> dict[str, Any]:
    """What a good document says, or No."""
    now = datetime.fromtimestamp(now_at, UTC)
    need(document[:1] == b"\x84", "format")
    try:
        protected, unprotected, payload, signature = cbor2.loads(document)
        inner = cbor2.loads(payload)
        need(cbor2.loads(protected) == {1: -35} and unprotected == {}, "header")
    except (ValueError, TypeError, cbor2.CBORError):
        raise No("format") from None
    need(len(signature) == 96 and inner["digest"] == "SHA384", "format")
    # The array head, three byte strings and a map: their sizes must be the whole document.
    need(
        document == bytes.fromhex("84") + b"".join(cbor2.dumps(x) for x in (protected, {}, payload, signature)), "tail"
    )
    certificates = [parsed(inner["certificate"]), *(parsed(der) for der in reversed(inner["cabundle"]))]
    need(hashlib.sha256(inner["cabundle"][0]).hexdigest() == root, "root")
    for child, parent in zip(certificates, [*certificates[1:], certificates[-1]], strict=True):
        signed_by(child, parent, now)
    authorities = [c.extensions.get_extension_for_class(x509.BasicConstraints).value.ca for c in certificates]
    need(not authorities[0] and all(authorities[1:]), "authority")
    structure = cbor2.dumps(["Signature1", protected, b"", payload])
    p384(certificates[0].public_key(), signature[:48], signature[48:], "big", structure)
    return {"debug": not any(inner["pcrs"][0]), "pcrs": inner["pcrs"], "timestamp": inner["timestamp"]}
