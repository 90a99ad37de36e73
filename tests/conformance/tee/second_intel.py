"""A second, independent reading of Intel quotes: plain offsets, plain certificates, no function of the product and none of dcap-qvl.

It exists to disagree: whoever changes the product's verifier or takes another dcap-qvl sees here whether the verdicts still hold.
"""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils

ROOT = "44a0196b2b99f889b8e149e95b807a350e7424964399e885a7cbb8ccfab674d3"
SGX_EXTENSION = "1.2.840.113741.1.13.1"
ORDER = ["UpToDate", "SWHardeningNeeded", "ConfigurationNeeded", "ConfigurationAndSWHardeningNeeded",
         "OutOfDate", "OutOfDateConfigurationNeeded", "Revoked"]  # fmt: skip


class No(Exception):
    """Refused, and why."""


def need(true: object, why: str) -> None:
    if not true:
        raise No(why)


def signed(key: Any, raw: bytes, data: bytes, why: str) -> None:
    try:
        r, s = int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:64], "big")
        key.verify(utils.encode_dss_signature(r, s), data, ec.ECDSA(hashes.SHA256()))
    except (InvalidSignature, ValueError, AttributeError, TypeError):
        raise No(why) from None


def chain(certificates: list[x509.Certificate], now: datetime, root: str) -> None:
    need(len(certificates) > 1, "chain: too short")
    need(hashlib.sha256(der(certificates[-1])).hexdigest() == root, "root")
    for child, parent in zip(certificates, [*certificates[1:], certificates[-1]], strict=True):
        try:
            child.verify_directly_issued_by(parent)
        except (InvalidSignature, ValueError, TypeError):
            raise No("chain") from None
        need(child.not_valid_before_utc <= now <= child.not_valid_after_utc, "chain: date")


def der(certificate: x509.Certificate) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding

    return certificate.public_bytes(Encoding.DER)


def pems(text: str | bytes) -> list[x509.Certificate]:
    data = text.encode() if isinstance(text, str) else text
    try:
        return x509.load_pem_x509_certificates(data.rstrip(b"\0"))
    except ValueError:
        raise No("certificate") from None


def revocations(data: str, issuer: x509.Certificate, now: datetime) -> set[int]:
    need(data, "crl missing")
    try:
        found = x509.load_der_x509_crl(bytes.fromhex(data))
        need(found.is_signature_valid(issuer.public_key()), "crl signature")  # type: ignore[arg-type]
    except ValueError:
        raise No("crl") from None
    need(found.last_update_utc <= now <= found.next_update_utc, "crl date")  # type: ignore[operator]
    return {item.serial_number for item in found}


def items(data: bytes) -> list[tuple[int, bytes]]:
    """The elements of a DER sequence's content."""
    found, at = [], 0
    while at < len(data):
        tag, size, at = data[at], data[at + 1], at + 2
        if size & 0x80:
            count = size & 0x7F
            size, at = int.from_bytes(data[at : at + count], "big"), at + count
        found.append((tag, data[at : at + size]))
        at += size
    return found


def sgx_fields(pck: x509.Certificate) -> dict[int, Any]:
    """Last number of the OID → content: 1 PPID, 2 the TCB (again a map), 3 PCEID, 4 FMSPC."""
    value = pck.extensions.get_extension_for_oid(x509.ObjectIdentifier(SGX_EXTENSION)).value.value  # type: ignore[attr-defined]
    found: dict[int, Any] = {}
    for _, pair in items(items(value)[0][1]):
        (_, oid), (tag, content) = items(pair)
        if oid[-1] == 2 and tag == 0x30:
            found[2] = {items(inner)[0][1][-1]: items(inner)[1][1] for _, inner in items(content)}
        else:
            found[oid[-1]] = content
    return found


def in_dates(part: dict[str, Any], now: datetime) -> None:
    begins, ends = (datetime.fromisoformat(part[key].replace("Z", "+00:00")) for key in ("issueDate", "nextUpdate"))
    need(begins <= now, "collateral: future")
    need(now <= ends, "collateral: expired")


def verify(quote: bytes, collateral: dict[str, str], now_at: int, root: str = ROOT) -> str:
    """The status word, or No."""
    now = datetime.fromtimestamp(now_at, UTC)
    version, tee = int.from_bytes(quote[0:2], "little"), int.from_bytes(quote[4:8], "little")
    need((version, tee) in ((3, 0), (4, 0x81), (5, 0x81)), "version")
    need(quote[12:28].hex() == "939a7233f79c4ca9940a0db3957f0607", "vendor")
    start, size = (48, 384) if tee == 0 else (48, 584)
    if version == 5:
        start, size = 54, int.from_bytes(quote[50:54], "little")
    body, at = quote[start : start + size], start + size
    length, at = int.from_bytes(quote[at : at + 4], "little"), at + 4
    need(len(quote) >= at + length, "short")
    signature, key, at = quote[at : at + 64], quote[at + 64 : at + 128], at + 128
    if tee == 0x81:
        at += 6  # outer certification data: type 6, length
    qe, qe_signature, at = quote[at : at + 384], quote[at + 384 : at + 448], at + 448
    auth_size, at = int.from_bytes(quote[at : at + 2], "little"), at + 2
    auth, at = quote[at : at + auth_size], at + auth_size
    need(int.from_bytes(quote[at : at + 2], "little") == 5, "certificates")
    certificates = pems(quote[at + 6 : at + 6 + int.from_bytes(quote[at + 2 : at + 6], "little")])
    chain(certificates, now, root)
    pck = certificates[0]
    need(pck.serial_number not in revocations(collateral["pck_crl"], certificates[1], now), "revoked")
    need(certificates[1].serial_number not in revocations(collateral["root_ca_crl"], certificates[-1], now), "revoked")
    tcb = part(collateral, "tcb_info", now, root)
    identity = part(collateral, "qe_identity", now, root)
    signed(pck.public_key(), qe_signature, qe, "qe signature")
    need(qe[320:384] == hashlib.sha256(key + auth).digest() + bytes(32), "qe binding")
    point = b"\4" + key
    try:
        attestation_key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
    except ValueError:
        raise No("key") from None
    signed(attestation_key, signature, quote[:start] + body, "signature")
    if tee == 0:
        need(not body[48] & 2, "debug")
    else:
        need(not body[120] & 1, "debug")
        need(body[123] & 0x10, "sept-ve")  # bit 28 of the TD attributes
        need(body[120:128].hex()[2:] in ("00001000000000", "00005000000000", "00004000000000"), "attributes")
    need(identity["id"] == ("QE" if tee == 0 else "TD_QE"), "identity kind")
    need(tcb["id"] == ("SGX" if tee == 0 else "TDX"), "tcb kind")
    qe_status = qe_verdict(qe, identity)
    fields = sgx_fields(pck)
    need(tcb["fmspc"].lower() == fields[4].hex() and tcb["pceId"].lower() == fields[3].hex(), "fmspc")
    verdict = platform_verdict(tcb, fields[2], body if tee else None)
    if size == 648:  # a TD 1.5 also says under which versions it runs now
        verdict = worst(verdict, platform_verdict(tcb, fields[2], body[584:600]))
    return worst(verdict, qe_status)


def part(collateral: dict[str, str], name: str, now: datetime, root: str) -> dict[str, Any]:
    issuers = pems(collateral[f"{name}_issuer_chain"])
    chain(issuers, now, root)
    signature = bytes.fromhex(collateral[f"{name}_signature"])
    signed(issuers[0].public_key(), signature, collateral[name].encode(), f"{name} signature")
    found: dict[str, Any] = json.loads(collateral[name])
    in_dates(found, now)
    return found


def masked(value: bytes, mask: str, expected: str) -> bool:
    return bytes(a & b for a, b in zip(value, bytes.fromhex(mask), strict=True)) == bytes.fromhex(expected)


def qe_verdict(qe: bytes, identity: dict[str, Any]) -> str:
    need(qe[128:160].hex() == identity["mrsigner"].lower(), "qe signer")
    need(int.from_bytes(qe[256:258], "little") == identity["isvprodid"], "qe product")
    need(masked(qe[16:20], identity["miscselectMask"], identity["miscselect"]), "qe miscselect")
    need(masked(qe[48:64], identity["attributesMask"], identity["attributes"]), "qe attributes")
    svn = int.from_bytes(qe[258:260], "little")
    for level in identity["tcbLevels"]:
        if level["tcb"]["isvsvn"] <= svn:
            return str(level["tcbStatus"])
    raise No("no qe level")


def platform_verdict(tcb: dict[str, Any], fields: dict[int, bytes], body: bytes | None) -> str:
    components = [int.from_bytes(fields[index], "big") for index in range(1, 17)]
    pce = int.from_bytes(fields[17], "big")
    module = "UpToDate"
    if body is not None and body[1]:
        wanted = f"TDX_{body[1]:02x}"
        for item in tcb["tdxModuleIdentities"]:
            if item["id"].lower() == wanted.lower():
                fitting = [level for level in item["tcbLevels"] if level["tcb"]["isvsvn"] <= body[0]]
                need(fitting, "no module level")
                module = fitting[0]["tcbStatus"]
    for level in tcb["tcbLevels"]:
        asked = level["tcb"]
        good = pce >= asked["pcesvn"]
        good = good and all(a >= b["svn"] for a, b in zip(components, asked["sgxtcbcomponents"], strict=True))
        if good and body is not None:
            first = 2 if body[1] else 0  # with a module of its own identity, its version is judged there
            good = all(a >= b["svn"] for a, b in list(zip(body[:16], asked["tdxtcbcomponents"], strict=True))[first:])
        if good:
            return worst(str(level["tcbStatus"]), module)
    raise No("no matching tcb level")


def worst(first: str, second: str) -> str:
    need("Revoked" not in (first, second), "revoked tcb")
    if "OutOfDate" in (first, second) and "ConfigurationNeeded" in first + second:
        return "OutOfDateConfigurationNeeded"
    return max(first, second, key=ORDER.index)
