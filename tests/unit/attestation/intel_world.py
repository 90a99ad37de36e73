"""A whole Intel of our own: root, platform CA, PCK with its SGX extension, TCB signing, revocation lists, collateral, quotes (v3, v4, v5).

For what no recorded evidence shows: revoked certificates, future dates, rare layouts, one quote judged with two sets of collateral.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from tests.unit.attestation import samples

NOW = samples.NOW
AT = datetime.fromtimestamp(NOW, UTC)
DAY = timedelta(days=1)
FMSPC, PCEID, PPID = bytes.fromhex("00906ed50000"), b"\0\0", bytes(range(16))
QE_SIGNER = {"sgx": "8c4f5775d796503e96137f77c68a829a0056ac8ded70140b081b094490c57bff",
             "tdx": "dc9e2a7c6f948f17474e34a7fc43ed030f7c1563f1babddf6340c82e0e54a8c5"}  # fmt: skip
SUBJECTS = {"root": "Intel SGX Root CA", "platform": "Intel SGX PCK Platform CA", "tcb": "Intel SGX TCB Signing"}
COMPONENTS = [5] * 16


def tlv(tag: int, *parts: bytes) -> bytes:
    body = b"".join(parts)
    size = len(body)
    head = bytes([size]) if size < 128 else bytes([0x82]) + size.to_bytes(2, "big")
    return bytes([tag]) + head + body


BASE = bytes.fromhex("2a864886f84d010d01")  # 1.2.840.113741.1.13.1


def oid(*numbers: int) -> bytes:
    return tlv(6, BASE + bytes(numbers))


def number(value: int) -> bytes:
    raw = value.to_bytes(max(1, (value.bit_length() + 8) // 8), "big")
    return tlv(2, raw)


def sgx_extension(components: list[int], pce: int) -> bytes:
    levels = [tlv(0x30, oid(2, index), number(svn)) for index, svn in enumerate(components, 1)]
    levels += [tlv(0x30, oid(2, 17), number(pce)), tlv(0x30, oid(2, 18), tlv(4, bytes(components)))]
    return tlv(
        0x30, tlv(0x30, oid(1), tlv(4, PPID)), tlv(0x30, oid(2), tlv(0x30, *levels)), tlv(0x30, oid(3), tlv(4, PCEID)),
        tlv(0x30, oid(4), tlv(4, FMSPC)), tlv(0x30, oid(5), tlv(10, b"\0")),
    )  # fmt: skip


def name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def raw_signature(key: ec.EllipticCurvePrivateKey, data: bytes) -> bytes:
    r, s = utils.decode_dss_signature(key.sign(data, ec.ECDSA(hashes.SHA256())))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def point(key: ec.EllipticCurvePrivateKey) -> bytes:
    numbers = key.public_key().public_numbers()
    return numbers.x.to_bytes(32, "big") + numbers.y.to_bytes(32, "big")


@dataclass
class Intel:
    """`begins`/`ends` of every certificate can be moved by role before it is used."""

    kind: str = "tdx"
    periods: dict[str, tuple[timedelta, timedelta]] = field(default_factory=dict)
    levels: list[dict[str, Any]] = field(default_factory=list)
    revoked: set[str] = field(default_factory=set)
    keys: dict[str, ec.EllipticCurvePrivateKey] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for role in ("root", "platform", "tcb", "pck", "quote"):
            self.keys[role] = ec.generate_private_key(ec.SECP256R1())
        self.root = self.certificate("root", "root", ca=True)
        self.platform = self.certificate("platform", "root", ca=True)
        self.tcb = self.certificate("tcb", "root")
        extension = x509.UnrecognizedExtension(
            x509.ObjectIdentifier("1.2.840.113741.1.13.1"), sgx_extension(COMPONENTS, 11)
        )
        self.pck = self.certificate("pck", "platform", extension)

    def certificate(
        self, role: str, issuer: str, extension: x509.UnrecognizedExtension | None = None, *, ca: bool = False
    ) -> x509.Certificate:
        begins, ends = self.periods.get(role, (-DAY, DAY * 300))
        usage = dict.fromkeys(
            (
                "content_commitment",
                "key_encipherment",
                "data_encipherment",
                "key_agreement",
                "encipher_only",
                "decipher_only",
            ),
            False,
        )
        builder = (
            x509.CertificateBuilder()
            .subject_name(name(SUBJECTS.get(role, "Intel SGX PCK Certificate")))
            .issuer_name(name(SUBJECTS[issuer]))
            .public_key(self.keys[role].public_key())
            .serial_number(int.from_bytes(hashlib.sha256(role.encode()).digest()[:8], "big") >> 1)
            .not_valid_before(AT + begins)
            .not_valid_after(AT + ends)
            .add_extension(x509.BasicConstraints(ca, None), critical=True)
            .add_extension(
                x509.KeyUsage(digital_signature=not ca, key_cert_sign=ca, crl_sign=ca, **usage), critical=True
            )
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self.keys[role].public_key()), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.keys[issuer].public_key()), critical=False
            )
        )
        if extension is not None:
            builder = builder.add_extension(extension, critical=False)
        return builder.sign(self.keys[issuer], hashes.SHA256())

    def crl(self, issuer: str, *, begins: timedelta = -DAY, ends: timedelta = DAY * 30, signer: str = "") -> str:
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(name(SUBJECTS[issuer]))
            .last_update(AT + begins)
            .next_update(AT + ends)
            .add_extension(x509.CRLNumber(1), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.keys[issuer].public_key()), critical=False
            )
        )
        for role in sorted(self.revoked):
            certificate = getattr(self, role)
            if certificate.issuer == name(SUBJECTS[issuer]):
                entry = (
                    x509.RevokedCertificateBuilder()
                    .serial_number(certificate.serial_number)
                    .revocation_date(AT - DAY)
                    .build()
                )
                builder = builder.add_revoked_certificate(entry)
        return builder.sign(self.keys[signer or issuer], hashes.SHA256()).public_bytes(Encoding.DER).hex()

    def level(self, status: str, svn: int = 5, pce: int = 11, tdx: int = 3) -> dict[str, Any]:
        asked: dict[str, Any] = {"sgxtcbcomponents": [{"svn": svn}] * 16, "pcesvn": pce}
        if self.kind == "tdx":
            asked["tdxtcbcomponents"] = [{"svn": tdx}, {"svn": 0}, {"svn": tdx}] + [{"svn": 0}] * 13
        return {"tcb": asked, "tcbDate": stamp(AT - DAY * 9), "tcbStatus": status, "advisoryIDs": []}

    def collateral(
        self, *, begins: timedelta = -DAY, ends: timedelta = DAY * 30, tcb_info: dict[str, Any] | None = None,
        crls: dict[str, Any] | None = None, evaluation: int = 17, **changes: str,
    ) -> bytes:  # fmt: skip
        dates = {"issueDate": stamp(AT + begins), "nextUpdate": stamp(AT + ends), "tcbEvaluationDataNumber": evaluation}
        tdx = self.kind == "tdx"
        info: dict[str, Any] = {
            "id": "TDX" if tdx else "SGX", "version": 3, **dates, "fmspc": FMSPC.hex().upper(), "pceId": PCEID.hex(), "tcbType": 0,
        }  # fmt: skip
        if tdx:
            module = {"mrsigner": "00" * 48, "attributes": "00" * 8, "attributesMask": "FF" * 8}
            inner = [{"tcb": {"isvsvn": 2}, "tcbDate": stamp(AT - DAY * 9), "tcbStatus": "UpToDate"}]
            info |= {"tdxModule": module, "tdxModuleIdentities": [{"id": "TDX_01", **module, "tcbLevels": inner}]}
        info |= {"tcbLevels": self.levels or [self.level("UpToDate")], **(tcb_info or {})}
        identity = {
            "id": "TD_QE" if tdx else "QE", "version": 2, **dates, "miscselect": "00000000", "miscselectMask": "FFFFFFFF",
            "attributes": "11" + "00" * 15, "attributesMask": "FBFFFFFFFFFFFFFF" + "00" * 8,
            "mrsigner": QE_SIGNER[self.kind].upper(), "isvprodid": 2 if tdx else 1,
            "tcbLevels": [{"tcb": {"isvsvn": 4}, "tcbDate": stamp(AT - DAY * 9), "tcbStatus": "UpToDate"}],
        }  # fmt: skip
        texts = {"tcb_info": json.dumps(info), "qe_identity": json.dumps(identity)}
        issuers = pem(self.tcb) + pem(self.root)
        made = {
            "pck_crl_issuer_chain": pem(self.platform) + pem(self.root), "root_ca_crl": self.crl("root", **(crls or {})),
            "pck_crl": self.crl("platform", **(crls or {})), "tcb_info_issuer_chain": issuers, "qe_identity_issuer_chain": issuers,
            **texts, **{f"{key}_signature": raw_signature(self.keys["tcb"], text.encode()).hex() for key, text in texts.items()},
        }  # fmt: skip
        return json.dumps(made | changes).encode()

    def body(
        self, *, attributes: str = "0000001000000000", module: bytes = b"\3\0\3", report_data: bytes = b"r" * 64
    ) -> bytes:
        if self.kind == "sgx":
            return (
                (
                    bytes(48) + bytes.fromhex("0500000000000000e700000000000000") + b"e" * 32 + bytes(32) + b"s" * 32
                ).ljust(256, b"\0")
                + b"\7\0\2\0"
                + bytes(60)
                + report_data
            )
        return (
            module.ljust(16, b"\0") + b"m" * 48 + bytes(48) + bytes(8) + bytes.fromhex(attributes) + bytes(8) + b"t" * 48
            + bytes(48 * 3) + b"".join(bytes([index]) * 48 for index in range(4)) + report_data
        )  # fmt: skip

    def quote(self, version: int = 4, *, body: bytes | None = None, body_type: int = 2) -> bytes:
        made = body if body is not None else self.body()
        head = version.to_bytes(2, "little") + b"\2\0" + (b"\x81\0\0\0" if self.kind == "tdx" else bytes(4))
        head += bytes(4) + bytes.fromhex("939a7233f79c4ca9940a0db3957f0607") + bytes(20)
        signed = (
            head + (body_type.to_bytes(2, "little") + len(made).to_bytes(4, "little") if version == 5 else b"") + made
        )
        auth = b"a" * 32
        key = point(self.keys["quote"])
        report = bytearray(384)
        report[48:64] = bytes.fromhex("1500000000000000e700000000000000")
        report[128:160] = bytes.fromhex(QE_SIGNER[self.kind])
        report[256:260] = (b"\2\0" if self.kind == "tdx" else b"\1\0") + b"\6\0"
        report[320:352] = hashlib.sha256(key + auth).digest()
        chain = (pem(self.pck) + pem(self.platform) + pem(self.root)).encode()
        inner = bytes(report) + raw_signature(self.keys["pck"], bytes(report)) + len(auth).to_bytes(2, "little") + auth
        inner += b"\5\0" + len(chain).to_bytes(4, "little") + chain
        data = raw_signature(self.keys["quote"], signed) + key
        data += inner if self.kind == "sgx" else b"\6\0" + len(inner).to_bytes(4, "little") + inner
        return signed + len(data).to_bytes(4, "little") + data


def pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(Encoding.PEM).decode()


def stamp(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")
