"""Write spec/vectors/attestation: bindings, configurations, evidence envelopes, ids and the policy file, from fixed inputs.

Run: python tools/vectors/attestation.py [FOLDER]
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

from asset_bridge.attestation import claims, evidence, policy_file
from asset_bridge.attestation.binding import NO_CONFIGURATION, REGISTRATION_NONCE, Binding
from asset_bridge.attestation.configuration import ChainConfiguration, Endpoint
from asset_bridge.attestation.policy import Policy, Spread, VendorRule
from asset_bridge.trade.evidence import OrderKey

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "spec" / "vectors" / "attestation"


def fixed(label: str, length_bytes: int = 32) -> bytes:
    """Fixed bytes that look random."""
    return hashlib.shake_256(b"asset-bridge attestation vectors: " + label.encode()).digest(length_bytes)


CONFIGURATION = ChainConfiguration(
    chain_id=1,
    registry=fixed("registry", 20),
    ledger=fixed("ledger", 20),
    exchanges=(fixed("exchange 1", 20), fixed("exchange 2", 20)),
    finality="finalized",
    endpoints=(
        Endpoint("https://rpc.first.example", fixed("tls 1")),
        Endpoint("https://rpc.second.example:8545", fixed("tls 2")),
    ),
    checkpoint_number=21_000_000,
    checkpoint_hash=fixed("checkpoint"),
)


def binding(nonce: bytes, configuration_digest: bytes) -> Binding:
    """The binding of the vectors."""
    return Binding(
        signing_address=fixed("signing", 20),
        node_id=fixed("node"),
        nonce=nonce,
        chain_id=1,
        registry=fixed("registry", 20),
        block_hash=fixed("block"),
        epoch=3,
        operator=fixed("operator", 20),
        configuration_digest=configuration_digest,
    )


POLICY = Policy(
    chain_id=1,
    threshold=2,
    shares=3,
    max_age_seconds=3600,
    chain_view="attested",
    spread=Spread(operator=True, platform=True, vendor=True),
    vendors=(
        VendorRule("sev-snp", frozenset({"Genoa", "Turin"}), frozenset(), {"snp": 23, "ucode": 72}),
        VendorRule("tdx", frozenset(), frozenset({"UpToDate"}), {}),
        VendorRule("nitro", frozenset(), frozenset(), {}),
    ),
    measurements={fixed("measurement"): "build 1.0.0, manifest sha256:6f1c…"},
    operators={fixed("operator", 20): "Clinic A", fixed("operator 2", 20): "University B"},
    platforms={fixed("platform"): "rack 4, audited 2026-10"},
    endpoints=CONFIGURATION.endpoints,
)


def golden() -> dict[str, Any]:
    """Everything but the policy file."""
    challenge = binding(fixed("nonce"), CONFIGURATION.digest())
    registration = binding(REGISTRATION_NONCE, NO_CONFIGURATION)
    aux = {"configuration": CONFIGURATION.encode(), "signer": fixed("certificate", 64)}
    envelope = evidence.build("amd-sev-snp", fixed("blob", 300), aux, challenge, [fixed("collateral")])
    order_key = OrderKey(fixed("node"), 3, fixed("kem")[:31] + b"\x01", 1_800_000_000, fixed("signature", 65))
    return {
        "bindings": [
            {"name": name, "encoded": item.encode().hex(), "report_data": item.report_data().hex()}
            for name, item in (("challenge", challenge), ("registration", registration))
        ],
        "configuration": {
            "encoded": CONFIGURATION.encode().hex(),
            "digest": CONFIGURATION.digest().hex(),
            "chain_view": CONFIGURATION.chain_view(),
        },
        "evidence": {"encoded": envelope.hex(), "digest": claims.evidence_digest("amd-sev-snp", fixed("body")).hex()},
        "measurement_id": claims.measurement_id(
            "amd-sev-snp", {"measurement": fixed("m", 48), "host_data": fixed("h")}
        ).hex(),
        "platform_id": claims.platform_id("amd-sev-snp", fixed("chip", 64)).hex(),
        "order_key": order_key.encode().hex(),
    }


def write(folder: Path) -> None:
    """Write both files."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "golden.json").write_text(json.dumps(golden(), indent=1) + "\n")
    (folder / "policy.toml").write_text(policy_file.render(POLICY))


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
