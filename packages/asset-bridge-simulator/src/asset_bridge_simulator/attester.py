"""Evidence without hardware: the same binding, the same envelope, another root.

Implements spec/attestation.md §9. `ReplayingAttester` is the dishonest one: it hands out an old report whatever it is asked, as a node
without a TEE would after recording a real one. Providers refuse it with code `nonce`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from asset_bridge.attestation import cbor, evidence
from asset_bridge.attestation.binding import Binding
from asset_bridge_simulator import pki
from asset_bridge_simulator.report import DOMAIN, KIND, SIGNER_AUX, SimReport

NO_AUX: Mapping[str, bytes] = {}


class SimAttester:
    """Signs reports of one simulated platform. `measurement` (32 bytes) is whatever the caller says: nothing is measured."""

    kind = KIND
    tee = "simulated"

    def __init__(
        self,
        key: ec.EllipticCurvePrivateKey,
        certificate: x509.Certificate,
        measurement: bytes,
        clock: Callable[[], float],
        *,
        debug: bool = False,
    ) -> None:
        self._key, self._certificate, self._clock, self._debug = key, certificate, clock, debug
        self._measurement = measurement

    @classmethod
    def load(cls, folder: Path, measurement: bytes, clock: Callable[[], float]) -> SimAttester:
        """From the files of `pki.issue_platform`; InputError(simulator.key | simulator.root)."""
        certificate = pki.load_certificate(folder / pki.PLATFORM_CERTIFICATE)
        return cls(pki.load_key(folder / pki.PLATFORM_KEY), certificate, measurement, clock)

    def collect(self, binding: Binding, aux: Mapping[str, bytes] = NO_AUX) -> bytes:
        """Evidence that binds `binding`; `aux` items travel with it (the chain configuration)."""
        body = SimReport(self._measurement, binding.report_data(), int(self._clock()), self._debug).encode()
        signature = self._key.sign(DOMAIN + body, ec.ECDSA(hashes.SHA384()))
        signer = self._certificate.public_bytes(serialization.Encoding.DER)
        blob = cbor.encode({1: body, 2: signature})
        return evidence.build(KIND, blob, {**aux, SIGNER_AUX: signer}, binding)


class ReplayingAttester:
    """Answers every challenge with the first evidence that it ever made."""

    kind = KIND
    tee = "simulated"

    def __init__(self, inner: SimAttester) -> None:
        self._inner = inner
        self._recorded: bytes | None = None

    def collect(self, binding: Binding, aux: Mapping[str, bytes] = NO_AUX) -> bytes:
        """The recorded evidence; the first call records it."""
        if self._recorded is None:
            self._recorded = self._inner.collect(binding, aux)
        return self._recorded
