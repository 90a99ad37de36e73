"""The product's verifiers and the second, independent ones agree on every recorded Intel, AMD and AWS case, and on tampered ones."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from asset_bridge.attestation.claims import VendorReport
from tests.conformance.tee import second_amd_aws, second_intel
from tests.support.depth import depth
from tests.unit.attestation import recorded

pytestmark = [
    pytest.mark.needs_vectors,
    pytest.mark.filterwarnings("ignore:Parsed a serial number"),
]


@pytest.fixture(scope="module")
def folder(vectors_dir: Path) -> Path:
    return vectors_dir.parent / "attestation"


def second_on_intel(quote: bytes, collateral: dict[str, str], now: int) -> str | None:
    try:
        return second_intel.verify(quote, collateral, now)
    except second_intel.No:
        return None


def first_status(found: recorded.Judged) -> str | None:
    return found.tcb.status if isinstance(found, VendorReport) else None


def test_intel_cases(folder: Path) -> None:
    for kind in ("tdx", "sgx"):
        for name, case in recorded.cases(folder, kind).items():
            evidence, collateral = recorded.intel(folder, case)
            ((_, data),) = collateral.items.items()
            first = first_status(recorded.judged(evidence, case["verify_at"], collateral))
            assert second_on_intel(evidence.blob, json.loads(data), case["verify_at"]) == first, name


def test_intel_variants(folder: Path) -> None:
    """Random bytes of quote and collateral changed, and other moments: never does one accept what the other refuses."""
    numbers = random.Random(7)
    for kind in ("tdx", "sgx"):
        for name, case in recorded.cases(folder, kind).items():
            if not case["expect"].startswith("accept"):
                continue
            evidence, collateral = recorded.intel(folder, case)
            ((_, data),) = collateral.items.items()
            parts: dict[str, str] = json.loads(data)
            signed_ends = len(evidence.blob.rstrip(b"\0")) - 1
            for _ in range(depth("attestation_agreement")):
                at = numbers.randrange(signed_ends)
                quote = recorded.flip(evidence.blob, at, numbers.randrange(8))
                first = first_status(
                    recorded.judged(recorded.with_blob(evidence, quote), case["verify_at"], collateral)
                )
                second = second_on_intel(quote, parts, case["verify_at"])
                in_text = at > 1250  # PEM text: what both decode alike may differ in white space
                assert first == second or in_text, (name, at)
            for shift in (-40 * 86400, -86400, 86400, 40 * 86400):
                now = case["verify_at"] + shift
                assert first_status(recorded.judged(evidence, now, collateral)) == second_on_intel(
                    evidence.blob, parts, now
                ), (name, shift)


def test_amd_cases_and_variants(folder: Path) -> None:
    numbers = random.Random(8)
    for name, case in recorded.cases(folder, "sev-snp").items():
        evidence = recorded.snp(folder, case)
        for turn in range(1 + depth("attestation_agreement") // 4):
            blob = (
                evidence.blob
                if not turn
                else recorded.flip(evidence.blob, numbers.randrange(1184), numbers.randrange(8))
            )
            first = recorded.judged(recorded.with_blob(evidence, blob), case["verify_at"])
            try:
                second: dict[str, Any] | None = second_amd_aws.snp(
                    blob, *(evidence.aux[part] for part in ("signer", "ask", "ark")), case["verify_at"]
                )
            except second_amd_aws.No:
                second = None
            assert (second is None) is not isinstance(first, VendorReport), (name, turn)
            if second is not None and not turn:
                assert isinstance(first, VendorReport)
                assert second == {key: case[key] for key in second}, name
                assert (second["debug"], second["vmpl"]) == (first.debug, first.vmpl), name


def test_nitro_cases_and_variants(folder: Path) -> None:
    numbers = random.Random(9)
    for name, case in recorded.cases(folder, "nitro").items():
        evidence = recorded.nitro(folder, case)
        for turn in range(1 + depth("attestation_agreement") // 4):
            size = len(evidence.blob)
            blob = (
                evidence.blob
                if not turn
                else recorded.flip(evidence.blob, numbers.randrange(size), numbers.randrange(8))
            )
            first = recorded.judged(recorded.with_blob(evidence, blob), case["verify_at"])
            try:
                second: dict[str, Any] | None = second_amd_aws.nitro(blob, case["verify_at"])
            except second_amd_aws.No:
                second = None
            assert (second is None) is not isinstance(first, VendorReport), (name, turn)
            if second is not None and not turn:
                assert isinstance(first, VendorReport)
                assert second["debug"] is first.debug, name
                for index, value in case.get("pcrs", {}).items():
                    assert second["pcrs"][int(index)].hex() == value, name
