"""The verifiers of attestation evidence that a policy calls for.

Source: spec/attestation.md. Hardware verifiers always; the simulator's only when the policy itself names its root, and only where its
own distribution is installed. Promises: no default accepts simulated evidence.
"""

from __future__ import annotations

import importlib
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from asset_bridge.attestation.policy import NOBODY, Policy
from asset_bridge.attestation.policy_file import parse
from asset_bridge.attestation.verifiers import hardware, tpm
from asset_bridge.attestation.verify import VerifierSet
from asset_bridge.errors import InputError, UnavailableError
from asset_bridge.vault.home import Home


def load_policy(home: Home, policy: object) -> Policy:
    """A policy from an object, a file, or the home's own file; else the one that names nobody.

    Raises:
        InputError(client.policy): the file cannot be read. What attestation.policy_file raises.
    """
    if isinstance(policy, Policy):
        return policy
    path = Path(str(policy)) if policy is not None else home.policy_path
    if policy is None and not path.exists():
        return NOBODY
    try:
        return parse(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        raise InputError("client.policy", f"the policy file {path} cannot be read") from None


def verifiers_for(policy: Policy) -> VerifierSet:
    """Hardware, and the simulator where the policy names its root.

    Raises:
        UnavailableError(client.no-simulator): the policy allows simulated evidence and the simulator is not installed.
    """
    if policy.simulated_root is None:
        return hardware()
    try:
        simulator = importlib.import_module("asset_bridge_simulator.verifier")
    except ImportError:
        raise UnavailableError(
            "client.no-simulator",
            "the policy allows simulated evidence, and the simulator is not installed",
            hint="pip install asset-bridge-simulator, or use a policy for hardware",
            actor="you",
        ) from None
    simulated = x509.load_pem_x509_certificate(policy.simulated_root).public_bytes(Encoding.DER)
    test_tpm = tpm(simulated_roots=[simulated])  # a software TPM under the same root is simulated too
    return hardware().plus(simulator.SimVerifier(policy.simulated_root)).plus(test_tpm)
