"""A development PKI of its own for each deployment: one root, one platform key per simulated node.

Implements spec/attestation.md §9. Promises: keys in files of mode 0600, written whole or not at all; every certificate's subject says
that this is no TEE. Does not promise: any security; whoever reads the folder can forge every simulated report under that root.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from asset_bridge.errors import InputError

SUBJECT = "SIMULATED - NOT A TEE"
ROOT_KEY, ROOT_CERTIFICATE = "root.key.pem", "root.cert.pem"
PLATFORM_KEY, PLATFORM_CERTIFICATE = "platform.key.pem", "platform.cert.pem"
LIFETIME_DAYS = 3650
_BACKDATED = timedelta(hours=1)  # clocks of a development chain and of the machine may differ a little


def make_root(folder: Path, *, now: int) -> Path:
    """Make `folder`'s root key and certificate, or keep the ones that are there; returns the certificate's path."""
    certificate = folder / ROOT_CERTIFICATE
    if certificate.exists():
        return certificate
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    key = ec.generate_private_key(ec.SECP384R1())
    built = _certificate("root", key.public_key(), "root", now, authority=True).sign(key, hashes.SHA384())
    _write_key(folder / ROOT_KEY, key)
    _write(certificate, built.public_bytes(serialization.Encoding.PEM), 0o644)
    return certificate


def issue_platform(root_folder: Path, folder: Path, *, name: str, now: int) -> None:
    """Make a platform key in `folder` with a certificate of the root; keeps the ones that are there."""
    if (folder / PLATFORM_CERTIFICATE).exists():
        return
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    root = load_key(root_folder / ROOT_KEY)
    key = ec.generate_private_key(ec.SECP384R1())
    built = _certificate(name, key.public_key(), "root", now, authority=False).sign(root, hashes.SHA384())
    _write_key(folder / PLATFORM_KEY, key)
    _write(folder / PLATFORM_CERTIFICATE, built.public_bytes(serialization.Encoding.PEM), 0o644)


def load_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """A key file; InputError(simulator.key)."""
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise InputError("simulator.key", f"the simulator's key {path.name} cannot be read: {error}") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP384R1):
        raise InputError("simulator.key", f"the simulator's key {path.name} is not a P-384 key")
    return key


def load_certificate(path: Path) -> x509.Certificate:
    """A certificate file; InputError(simulator.root)."""
    try:
        return parse_certificate(path.read_bytes())
    except OSError as error:
        raise InputError("simulator.root", f"the certificate {path.name} cannot be read: {error}") from None


def parse_certificate(pem: bytes) -> x509.Certificate:
    """A certificate from PEM; InputError(simulator.root)."""
    try:
        return x509.load_pem_x509_certificate(pem)
    except ValueError:
        raise InputError("simulator.root", "the simulator's certificate is not PEM") from None


def _name(role: str) -> x509.Name:
    parts = ((NameOID.COMMON_NAME, SUBJECT), (NameOID.ORGANIZATIONAL_UNIT_NAME, role))
    return x509.Name([x509.NameAttribute(kind, value) for kind, value in parts])


def _certificate(
    role: str, key: ec.EllipticCurvePublicKey, issuer: str, now: int, *, authority: bool
) -> x509.CertificateBuilder:
    at = datetime.fromtimestamp(now, UTC)
    return (  # the key identifier is for makers of EK certificates (swtpm), who look for it
        x509.CertificateBuilder()
        .subject_name(_name(role))
        .issuer_name(_name(issuer))
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(at - _BACKDATED)
        .not_valid_after(at + timedelta(days=LIFETIME_DAYS))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=0 if authority else None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    plain = serialization.NoEncryption()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    _write(path, pem, 0o600)


def _write(path: Path, data: bytes, mode: int) -> None:
    part = path.with_suffix(".part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
