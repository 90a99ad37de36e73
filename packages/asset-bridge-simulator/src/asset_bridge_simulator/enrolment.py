"""An enrolment authority for software TPMs under a simulator's root: credential activation, then a certificate.

Implements spec/attestation.md §8.6. Promises: a key is certified only after the TPM of that EK certificate opened the credential for
exactly that key; the EK certificate is this root's own. Does not promise: anything about a real TPM; the root says SIMULATED.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from asset_bridge.attestation import tpm_credential
from asset_bridge.attestation.tpm_credential import Credential
from asset_bridge.attestation.verifiers import certificates
from asset_bridge.attestation.verifiers.tpm2 import attestation_key
from asset_bridge.errors import RefusedError
from asset_bridge_simulator import pki

SECRET_BYTES = 32
ENROLMENT_DAYS = 30


class Enrolment:
    """The authority over the root in `root_folder`. `clock` gives Unix seconds."""

    def __init__(self, root_folder: Path, randbytes: Callable[[int], bytes], clock: Callable[[], float]) -> None:
        self._key = pki.load_key(root_folder / pki.ROOT_KEY)
        self._root = pki.load_certificate(root_folder / pki.ROOT_CERTIFICATE)
        self._randbytes, self._clock = randbytes, clock
        self._asked: dict[bytes, bytes] = {}

    def challenge(self, ek: bytes, ak_public: bytes) -> Credential:
        """A credential for this key beside this EK; EvidenceRefused(chain | expired | format) for a foreign EK or another kind of key."""
        certificate = self._checked(ek)
        attestation_key(ak_public)
        name = tpm_credential.object_name(ak_public)
        self._asked[name] = self._randbytes(SECRET_BYTES)
        return tpm_credential.make_credential(certificate, name, self._asked[name], self._randbytes)

    def certify(self, ek: bytes, ak_public: bytes, secret: bytes) -> Mapping[str, bytes]:
        """The certificate, once; RefusedError(simulator.enrolment) when the secret is not the one that was sent for this key."""
        expected = self._asked.pop(tpm_credential.object_name(ak_public), b"")
        if not expected or not hmac.compare_digest(expected, secret):
            raise RefusedError(
                "simulator.enrolment", "the TPM did not open the credential for this key", actor="operator"
            )
        key: rsa.RSAPublicKey | ec.EllipticCurvePublicKey = attestation_key(ak_public)
        made = tpm_credential.certify(
            self._checked(ek), ak_public, key, self._root, self._key, now=int(self._clock()), days=ENROLMENT_DAYS,
            serial=int.from_bytes(self._randbytes(16), "big") >> 1,
        )  # fmt: skip
        return {"ak": made, "root": self._root.public_bytes(Encoding.DER)}

    def _checked(self, ek: bytes) -> x509.Certificate:
        certificate = certificates.load(ek)
        certificates.check_issued([certificate, self._root], int(self._clock()))
        return certificate
