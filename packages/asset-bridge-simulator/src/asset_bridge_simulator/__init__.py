"""Simulated attestation with its own roots. Never a TEE; absent from a production image.

Source: spec/attestation.md §9. Everything made here says "SIMULATED - NOT A TEE" in its certificates.
"""

from asset_bridge_simulator.attester import ReplayingAttester, SimAttester
from asset_bridge_simulator.enrolment import Enrolment
from asset_bridge_simulator.pki import SUBJECT, issue_platform, make_root
from asset_bridge_simulator.report import KIND, measurement_id, measurement_of
from asset_bridge_simulator.verifier import SimVerifier

__all__ = [
    "KIND",
    "SUBJECT",
    "Enrolment",
    "ReplayingAttester",
    "SimAttester",
    "SimVerifier",
    "issue_platform",
    "make_root",
    "measurement_id",
    "measurement_of",
]
