"""Claims and expectations that fit together, for tests that then change one thing."""

from __future__ import annotations

import dataclasses
from typing import Any

from asset_bridge.attestation.appraise import Expected
from asset_bridge.attestation.binding import NO_CONFIGURATION, Binding
from asset_bridge.attestation.claims import Claims, Tcb, Tier, VendorReport
from asset_bridge.attestation.configuration import ChainConfiguration, Endpoint
from asset_bridge.attestation.policy import Policy, VendorRule

NOW = 1_800_000_000
CHAIN_ID = 1
OPERATOR, SIGNING, REGISTRY = b"o" * 20, b"s" * 20, b"r" * 20
NODE, NONCE, MEASUREMENT, PLATFORM = b"n" * 32, b"x" * 32, b"m" * 32, b"p" * 32
ENDPOINTS = (Endpoint("https://a.example", b"1" * 32), Endpoint("https://b.example", b"2" * 32))
CONFIGURATION = ChainConfiguration(CHAIN_ID, REGISTRY, b"l" * 20, (b"e" * 20,), "finalized", ENDPOINTS, 7, b"c" * 32)


def binding(**changes: Any) -> Binding:
    made = Binding(SIGNING, NODE, NONCE, CHAIN_ID, REGISTRY, b"b" * 32, 1, OPERATOR, CONFIGURATION.digest())
    return dataclasses.replace(made, **changes)


def report(**changes: Any) -> VendorReport:
    made = VendorReport(
        product="Genoa",
        signed_body=b"body",
        report_data=binding().report_data(),
        measurements={"measurement": b"m" * 48},
        platform=b"chip",
        tcb=Tcb("UpToDate", {"snp": 23}),
        made_at=NOW,
    )
    return dataclasses.replace(made, **changes)


def claims(*, binding_: Binding | None = None, report_: VendorReport | None = None, **changes: Any) -> Claims:
    made = Claims(
        kind="amd-sev-snp",
        vendor="sev-snp",
        maker="amd",
        tier=Tier.HARDWARE,
        report=report_ or report(),
        binding=binding_ or binding(),
        configuration=CONFIGURATION,
        evidence_digest=b"d" * 32,
        measurement_id=MEASUREMENT,
        platform_id=PLATFORM,
    )
    return dataclasses.replace(made, **changes)


def expected(**changes: Any) -> Expected:
    made = Expected(
        node_id=NODE,
        operator=OPERATOR,
        signing_address=SIGNING,
        epoch=1,
        chain_id=CHAIN_ID,
        registry=REGISTRY,
        nonce=NONCE,
        vendor="sev-snp",
        measurement_id=MEASUREMENT,
        platform_id=PLATFORM,
        live=True,
        expires_at=NOW + 3600,
        asked_at=NOW - 1,
    )
    return dataclasses.replace(made, **changes)


def policy(**changes: Any) -> Policy:
    made = Policy(
        chain_id=CHAIN_ID,
        vendors=(VendorRule("sev-snp", frozenset({"Genoa"}), frozenset({"UpToDate"}), {"snp": 23}),),
        measurements={MEASUREMENT: "build"},
        operators={OPERATOR: "operator"},
        platforms={PLATFORM: "rack"},
        endpoints=ENDPOINTS,
    )
    return dataclasses.replace(made, **changes)


UNBOUND = NO_CONFIGURATION
