"""Intel chains made here under an own root: what no recorded quote shows (spec/attestation.md §8.3). Both verifiers judge each."""

from __future__ import annotations

import dataclasses
import json
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from asset_bridge.attestation.claims import VendorReport
from asset_bridge.attestation.refusal import EvidenceRefused, Refusal
from asset_bridge.attestation.verifiers.intel import DcapVerifier
from asset_bridge.attestation.verify import Collateral
from tests.conformance.tee import second_intel
from tests.support.depth import depth
from tests.unit.attestation import recorded
from tests.unit.attestation.intel_world import DAY, FMSPC, NOW, PPID, Intel

HOUR = timedelta(hours=1)


def judged(world: Intel, quote: bytes, collateral: bytes, now: int = NOW) -> VendorReport | Refusal:
    """The product's verdict; the second verifier must accept and refuse alike, with the same status word."""
    kind = f"intel-{world.kind}"
    root = world.root.public_bytes(Encoding.DER)
    item = Collateral({f"{kind}-{FMSPC.hex()}": collateral})
    found: VendorReport | Refusal
    try:
        found = DcapVerifier(kind, root).verify(recorded.envelope(kind, quote), now=now, collateral=item)
    except EvidenceRefused as refused:
        found = refused.refusal
    try:
        pin = world.root.fingerprint(hashes.SHA256()).hex()
        second = second_intel.verify(quote, json.loads(collateral), now, pin)
    except second_intel.No:
        second = ""
    assert (found.tcb.status if isinstance(found, VendorReport) else "") == second, (found, second)
    return found


@pytest.mark.parametrize(("kind", "version"), [("sgx", 3), ("tdx", 4), ("tdx", 5)])
def test_good_quotes_of_every_version(kind: str, version: int) -> None:
    world = Intel(kind)
    found = judged(world, world.quote(version), world.collateral())
    assert isinstance(found, VendorReport), found
    assert (found.report_data, found.platform, found.product) == (b"r" * 64, PPID, FMSPC.hex().upper())
    assert found.tcb.components["evaluation"] == 17
    if kind == "sgx":
        assert found.measurements == {"mr_enclave": b"e" * 32, "mr_signer": b"s" * 32, "isv_prod_id": b"\7\0"}
        assert found.tcb.components["isv_svn"] == 2
    else:
        assert (found.measurements["mr_td"], found.measurements["rtmr3"]) == (b"t" * 48, b"\3" * 48)
    assert found.root == world.root.fingerprint(hashes.SHA256())
    assert NOW < found.not_after <= NOW + 30 * 86400


def test_a_quote_of_td_1_5() -> None:
    world = Intel()
    now_runs = b"\2\1\3".ljust(16, b"\0")  # tee_tcb_svn2, before mr_service_td
    body = world.body(module=b"\2\1\3") + now_runs + bytes(48)
    found = judged(world, world.quote(5, body=body, body_type=3), world.collateral())
    assert isinstance(found, VendorReport), found
    assert (found.tcb.components["tdx_module_major"], len(found.signed_body)) == (1, 54 + 648)
    older = world.body(module=b"\2\1\3") + bytes(64)
    assert judged(world, world.quote(5, body=older, body_type=3), world.collateral()) is Refusal.TCB_STATUS
    served = world.body(module=b"\2\1\3") + now_runs + b"\1" * 48
    root = world.root.public_bytes(Encoding.DER)
    item = Collateral({f"intel-tdx-{FMSPC.hex()}": world.collateral()})
    evidence = recorded.envelope("intel-tdx", world.quote(5, body=served, body_type=3))
    with pytest.raises(EvidenceRefused) as caught:
        DcapVerifier("intel-tdx", root).verify(evidence, now=NOW, collateral=item)
    assert caught.value.refusal is Refusal.MIGRATABLE  # another TD may move this one's memory


def test_every_flipped_bit_of_a_quote_of_version_5_is_refused() -> None:
    """No recorded quote of this version is accepted, so one made here is changed: header, its body's head, all 648 bytes of body."""
    world = Intel()
    body = world.body(module=b"\2\1\3") + b"\2\1\3".ljust(16, b"\0") + bytes(48)
    good, root = world.quote(5, body=body, body_type=3), world.root.public_bytes(Encoding.DER)
    item = Collateral({f"intel-tdx-{FMSPC.hex()}": world.collateral()})
    verifier = DcapVerifier("intel-tdx", root)
    assert verifier.verify(recorded.envelope("intel-tdx", good), now=NOW, collateral=item).tcb.status == "UpToDate"
    for at in (*range(54 + 648), *range(54 + 648 + 4, 54 + 648 + 4 + 128)):
        for bit in range(depth("attestation_flips")):
            with pytest.raises(EvidenceRefused) as caught:
                verifier.verify(recorded.envelope("intel-tdx", recorded.flip(good, at, bit)), now=NOW, collateral=item)
            assert caught.value.refusal in (Refusal.FORMAT, Refusal.SIGNATURE), (at, bit)


@pytest.mark.parametrize("role", ["pck", "platform"])
def test_a_revoked_certificate(role: str) -> None:
    world = Intel()
    quote = world.quote()
    assert isinstance(judged(world, quote, world.collateral()), VendorReport)
    world.revoked.add(role)
    assert judged(world, quote, world.collateral()) is Refusal.REVOKED


@pytest.mark.parametrize("role", ["root", "platform", "pck", "tcb"])
@pytest.mark.parametrize("period", [(HOUR, DAY), (-DAY, -HOUR)])
def test_a_certificate_that_is_not_yet_or_no_longer_valid(role: str, period: tuple[timedelta, timedelta]) -> None:
    world = Intel(periods={role: period})
    found = judged(world, world.quote(), world.collateral())
    assert found is Refusal.EXPIRED or (role == "root" and isinstance(found, Refusal)), found


def test_collateral_of_the_future_and_of_the_past() -> None:
    world = Intel()
    for dates in ({"begins": HOUR}, {"ends": -HOUR}):
        assert judged(world, world.quote(), world.collateral(**dates)) is Refusal.COLLATERAL_EXPIRED  # type: ignore[arg-type]
    assert judged(world, world.quote(), world.collateral(crls={"ends": -HOUR})) is Refusal.COLLATERAL_EXPIRED


def test_revocation_lists_that_are_missing_or_of_another() -> None:
    world = Intel()
    for part in ("pck_crl", "root_ca_crl"):
        assert judged(world, world.quote(), world.collateral(**{part: ""})) is Refusal.CRL_MISSING
    foreign = world.crl("platform", signer="root")
    assert judged(world, world.quote(), world.collateral(pck_crl=foreign)) is Refusal.SIGNATURE
    assert isinstance(judged(world, world.quote(), world.collateral(pck_crl=world.crl("root"))), Refusal)


def test_one_quote_ages_from_up_to_date_to_out_of_date_and_revoked() -> None:
    """The same bytes, three sets of Intel's answers: verdicts age, evidence does not."""
    world = Intel()
    quote, told = world.quote(), []
    for levels in (
        [world.level("UpToDate")],
        [world.level("UpToDate", svn=6), world.level("OutOfDate")],
        [world.level("UpToDate", svn=6), world.level("SWHardeningNeeded")],
        [world.level("UpToDate", svn=7), world.level("Revoked")],
        [world.level("UpToDate", svn=7)],
    ):
        world.levels = levels
        found = judged(world, quote, world.collateral(evaluation=18))
        told.append(found.tcb.status if isinstance(found, VendorReport) else found)
    assert told == ["UpToDate", "OutOfDate", "SWHardeningNeeded", Refusal.TCB_STATUS, Refusal.TCB_STATUS]


@pytest.mark.parametrize(
    ("attributes", "refusal"),
    [
        ("0100001000000000", Refusal.DEBUG),
        ("0000000000000000", Refusal.TCB_STATUS),  # SEPT_VE_DISABLE clear
        ("0000003000000000", Refusal.MIGRATABLE),
    ],
)
def test_attributes_of_a_trust_domain(attributes: str, refusal: Refusal) -> None:
    world = Intel()
    assert judged(world, world.quote(body=world.body(attributes=attributes)), world.collateral()) is refusal


def test_a_debug_enclave() -> None:
    world = Intel("sgx")
    body = bytearray(world.body())
    body[48] |= 2
    assert judged(world, world.quote(3, body=bytes(body)), world.collateral()) is Refusal.DEBUG


@pytest.mark.parametrize("change", [{"fmspc": "00906ED50001"}, {"pceId": "0001"}, {"id": "SGX"}])
def test_collateral_of_another_platform(change: dict[str, Any]) -> None:
    world = Intel()
    assert judged(world, world.quote(), world.collateral(tcb_info=change)) is Refusal.COLLATERAL_MISMATCH


def test_another_intel_entirely() -> None:
    """A whole world that is right in itself, under a root that is not the pinned one."""
    world = Intel()
    item = Collateral({f"intel-tdx-{FMSPC.hex()}": world.collateral()})
    for root in (None, Intel().root.public_bytes(Encoding.DER)):
        with pytest.raises(EvidenceRefused) as caught:
            DcapVerifier("intel-tdx", root).verify(
                recorded.envelope("intel-tdx", world.quote()), now=NOW, collateral=item
            )
        assert caught.value.refusal in (Refusal.CHAIN, Refusal.SIGNATURE)


def test_the_signature_twin_has_the_same_identity() -> None:
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    world = Intel()
    quote = world.quote()
    s = order - int.from_bytes(quote[636 + 32 : 636 + 64], "big")
    twin = quote[: 636 + 32] + s.to_bytes(32, "big") + quote[636 + 64 :]
    first, second = judged(world, quote, world.collateral()), judged(world, twin, world.collateral())
    assert isinstance(first, VendorReport)
    assert isinstance(second, VendorReport)
    assert twin != quote
    assert dataclasses.astuple(first)[1:3] == dataclasses.astuple(second)[1:3]
