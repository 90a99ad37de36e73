"""Where a node may listen, and how its TLS key is recognised.

Source: spec/node-http.md §5. Promises: no plain HTTP outside the machine, unless the operator says that a proxy ends TLS in front of it.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import socket
import ssl

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from asset_bridge.errors import InputError, RefusedError, TamperedError, UnavailableError


def is_loopback(host: str) -> bool:
    """Whether `host` is `localhost` or a loopback address. Other names are not resolved: they count as public."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_bind(host: str, *, has_tls: bool, behind_proxy: bool) -> None:
    """Raises RefusedError(transport.no-tls) for plain HTTP on an address that other machines reach."""
    if not (is_loopback(host) or has_tls or behind_proxy):
        raise RefusedError(
            "transport.no-tls",
            f"{host} can be reached from other machines, and no TLS certificate is configured.",
            hint="Give --tls-cert and --tls-key, or --behind-proxy if a proxy ends TLS in front of this node.",
            actor="operator",
        )


def key_pin(certificate: bytes) -> bytes:
    """SHA-256 of the public key (SubjectPublicKeyInfo, DER) of a certificate in DER."""
    key = x509.load_der_x509_certificate(certificate).public_key()
    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()


def certificate_pin(pem: bytes) -> bytes:
    """The pin of the first certificate in a PEM file. Raises InputError(transport.certificate): there is none."""
    try:
        first = x509.load_pem_x509_certificates(pem)[0]
    except ValueError:
        raise InputError(
            "transport.certificate", "The TLS certificate file holds no certificate in PEM.", actor="operator"
        ) from None
    return key_pin(first.public_bytes(Encoding.DER))


def pinned_context(host: str, port: int, pin: bytes, *, timeout_seconds: float = 5.0) -> ssl.SSLContext:
    """A client's TLS context that accepts the one certificate with this key which the server shows now; names and authorities do not count.

    A first handshake, in which nothing is sent, learns the certificate; connections made with the context verify that it comes again.

    Raises:
        TamperedError(transport.pin): the server has another key. UnavailableError(transport.down): no TLS server answers there.
    """
    learning = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    learning.check_hostname, learning.verify_mode = False, ssl.CERT_NONE
    try:
        with (
            socket.create_connection((host, port), timeout_seconds) as raw,
            learning.wrap_socket(raw, server_hostname=host) as secure,
        ):
            certificate = secure.getpeercert(binary_form=True) or b""
    except OSError as error:
        raise UnavailableError(
            "transport.down", f"No TLS server answers at {host}.", hint="Try again later.", actor="operator"
        ) from error
    try:
        found = key_pin(certificate)
    except ValueError:
        found = b""
    if not hmac.compare_digest(found, pin):
        raise TamperedError(
            "transport.pin",
            f"The server at {host} does not have the pinned TLS key.",
            hint="Its operator must renew the endpoint document, or somebody stands in between.",
            actor="operator",
        )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.load_verify_locations(cadata=certificate)
    return context
