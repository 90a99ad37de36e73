"""Recorded Intel quotes: every case, every tampered variant that the folders' README files name (spec/attestation.md §8.3)."""

from __future__ import annotations

import dataclasses
import json
import struct
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from asset_bridge.attestation.claims import VendorReport
from asset_bridge.attestation.refusal import EvidenceRefused, Refusal
from asset_bridge.attestation.verifiers.intel import DcapVerifier
from asset_bridge.attestation.verify import NO_COLLATERAL, Collateral
from tests.support.depth import depth
from tests.unit.attestation import recorded

pytestmark = pytest.mark.needs_vectors

REFUSED = {
    "tdx/azure-sept-ve-off": Refusal.TCB_STATUS,
    "tdx/collateral-expired": Refusal.COLLATERAL_EXPIRED,
    "tdx/collateral-future": Refusal.COLLATERAL_EXPIRED,
    "tdx/debug": Refusal.DEBUG,
    "tdx/no-tcb-level-v4": Refusal.TCB_STATUS,
    "tdx/no-tcb-level-v5": Refusal.TCB_STATUS,
    "sgx/debug": Refusal.DEBUG,
    "sgx/tdx-collateral-for-sgx": Refusal.COLLATERAL_MISMATCH,
}


@pytest.fixture(scope="module")
def folder(vectors_dir: Path) -> Path:
    return vectors_dir.parent / "attestation"


def all_cases(folder: Path) -> dict[str, recorded.Case]:
    return recorded.cases(folder, "tdx") | recorded.cases(folder, "sgx")


def test_every_case(folder: Path) -> None:
    for name, case in all_cases(folder).items():
        evidence, collateral = recorded.intel(folder, case)
        found = recorded.judged(evidence, case["verify_at"], collateral)
        if name in REFUSED:
            assert found is REFUSED[name], name
            continue
        assert isinstance(found, VendorReport), (name, found)
        assert case["expect"] == f"accept:{found.tcb.status}", name
        assert list(found.tcb.advisories) == case["advisories"], name
        assert found.report_data.hex() == case["report_data"], name
        assert (found.platform.hex(), found.product) == (case["ppid"], case["fmspc"]), name
        registers = {key: case[key] for key in ("mr_td", "mr_config_id", "mr_enclave", "mr_signer") if key in case}
        registers |= {f"rtmr{index}": value for index, value in enumerate(case.get("rtmr", []))}
        assert {key: found.measurements[key].hex() for key in registers} == registers, name
        assert len(found.signed_body) == (432 if name.startswith("sgx") else 632), name


def test_the_verdict_of_one_quote_ages_with_its_collateral(folder: Path) -> None:
    """The same bytes: accepted with the collateral of their time, refused once it is out of its window, and with other dates."""
    case = all_cases(folder)["tdx/uptodate-v4"]
    evidence, collateral = recorded.intel(folder, case)
    parts = json.loads((folder / case["collateral"]).read_text())
    dates = [json.loads(parts[key]) for key in ("tcb_info", "qe_identity")]
    begins = max(seconds(part["issueDate"]) for part in dates)
    at_begin = recorded.judged(evidence, begins, collateral)
    assert isinstance(at_begin, VendorReport)
    ends = at_begin.not_after
    assert begins < ends <= min(seconds(part["nextUpdate"]) for part in dates)  # a revocation list ends first
    for now, good in ((begins, True), (ends - 1, True), (begins - 1, False), (ends + 1, False)):
        found = recorded.judged(evidence, now, collateral)
        assert isinstance(found, VendorReport) if good else found is Refusal.COLLATERAL_EXPIRED, now


def seconds(text: str) -> int:
    return int(datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp())


SIGNED = {  # header and body; signature and attestation key; QE report, its signature and auth data
    "tdx/uptodate-v4": [*range(632), *range(636, 764), *range(770, 1218), *range(1220, 1252)],
    "sgx/config-swhardening": [*range(432), *range(436, 564), *range(564, 1012), *range(1014, 1046)],
}


@pytest.mark.parametrize("name", sorted(SIGNED))
def test_every_flipped_bit_of_what_is_signed_is_refused(folder: Path, name: str) -> None:
    case = all_cases(folder)[name]
    good, collateral = recorded.intel(folder, case)
    refused = {Refusal.FORMAT, Refusal.SIGNATURE}
    for at in SIGNED[name]:
        for bit in range(depth("attestation_flips")):
            found = recorded.judged(
                recorded.with_blob(good, recorded.flip(good.blob, at, bit)), case["verify_at"], collateral
            )
            assert found in refused, (at, bit, found)


def test_every_flipped_bit_of_the_platform_certificate_is_refused(folder: Path) -> None:
    case = all_cases(folder)["tdx/uptodate-v4"]
    good, collateral = recorded.intel(folder, case)
    begins = good.blob.index(b"-----BEGIN CERTIFICATE-----") + 28
    ends = good.blob.index(b"-----END CERTIFICATE-----")
    for at in range(begins, ends):
        if good.blob[at : at + 1] == b"\n":
            continue  # line ends are not signed
        found = recorded.judged(recorded.with_blob(good, recorded.flip(good.blob, at)), case["verify_at"], collateral)
        assert isinstance(found, Refusal), (at, found)


def test_every_cut_quote_is_refused(folder: Path) -> None:
    for name in sorted(SIGNED):
        case = all_cases(folder)[name]
        good, collateral = recorded.intel(folder, case)
        for size in range(0, len(good.blob) - 100, 7):
            found = recorded.judged(recorded.with_blob(good, good.blob[:size]), case["verify_at"], collateral)
            assert isinstance(found, Refusal), size


def test_padding_is_zero_and_a_quote_has_a_size(folder: Path) -> None:
    case = all_cases(folder)["tdx/gcp"]
    good, collateral = recorded.intel(folder, case)
    for blob, expected in (
        (good.blob + bytes(100), None),
        (good.blob + b"\0\1", Refusal.FORMAT),
        (recorded.flip(good.blob, len(good.blob) - 1), Refusal.FORMAT),
        (good.blob.ljust(16 * 1024 + 1, b"\0"), Refusal.SIZE),
    ):
        found = recorded.judged(recorded.with_blob(good, blob), case["verify_at"], collateral)
        assert found is expected if expected else isinstance(found, VendorReport)


def test_debug_set_by_hand_is_refused_for_the_signature(folder: Path) -> None:
    case = all_cases(folder)["tdx/uptodate-v4"]
    good, collateral = recorded.intel(folder, case)
    blob = recorded.flip(good.blob, 48 + 120)
    assert recorded.judged(recorded.with_blob(good, blob), case["verify_at"], collateral) is Refusal.SIGNATURE


def changed(text: str, at: int, hexadecimal: bool) -> str:
    new = format(int(text[at], 16) ^ 1, "x") if hexadecimal else chr(ord(text[at]) ^ 1)
    return text[:at] + new + text[at + 1 :]


PARTS = {
    "tcb_info": {Refusal.SIGNATURE, Refusal.FORMAT, Refusal.COLLATERAL_EXPIRED, Refusal.COLLATERAL_MISMATCH},
    "tcb_info_signature": {Refusal.SIGNATURE},
    "qe_identity": {Refusal.SIGNATURE, Refusal.FORMAT, Refusal.COLLATERAL_EXPIRED, Refusal.COLLATERAL_MISMATCH},
    "qe_identity_signature": {Refusal.SIGNATURE},
    "root_ca_crl": set(Refusal),
    "pck_crl": set(Refusal),
}


@pytest.mark.parametrize("part", sorted(PARTS))
def test_any_changed_character_of_the_collateral_is_refused(folder: Path, part: str) -> None:
    case = all_cases(folder)["tdx/uptodate-v4"]
    good, collateral = recorded.intel(folder, case)
    ((name, data),) = collateral.items.items()
    parts = json.loads(data)
    step = max(1, 8 // depth("attestation_flips"))
    for at in range(0, len(parts[part]), step):
        hexadecimal = part not in ("tcb_info", "qe_identity")
        other = {**parts, part: changed(parts[part], at, hexadecimal)}
        found = recorded.judged(good, case["verify_at"], Collateral({name: json.dumps(other).encode()}))
        assert found in PARTS[part], (at, found)


def other_part(folder: Path, path: str, *names: str) -> dict[str, str]:
    parts = json.loads((folder / path).read_text())
    return {name: parts[name] for name in names}


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        (lambda parts, folder: parts.pop("pck_crl"), Refusal.CRL_MISSING),
        (lambda parts, folder: parts.__setitem__("root_ca_crl", ""), Refusal.CRL_MISSING),
        (lambda parts, folder: parts.pop("tcb_info"), Refusal.FORMAT),
        (lambda parts, folder: parts.__setitem__("tcb_info", 1), Refusal.FORMAT),
        (lambda parts, folder: parts.__setitem__("tcb_info", "{}"), Refusal.FORMAT),
        (lambda parts, folder: parts.__setitem__("pck_crl", "00"), Refusal.FORMAT),
        (
            lambda parts, folder: parts.update(
                other_part(folder, "sgx/dcapqvl-v3.collateral.json", "qe_identity", "qe_identity_signature")
            ),
            Refusal.COLLATERAL_MISMATCH,
        ),
    ],
)
def test_collateral_with_a_part_exchanged_or_left_out(
    folder: Path, change: Callable[[dict[str, Any], Path], Any], refusal: Refusal
) -> None:
    case = all_cases(folder)["tdx/uptodate-v4"]
    good, collateral = recorded.intel(folder, case)
    ((name, data),) = collateral.items.items()
    parts = json.loads(data)
    change(parts, folder)
    assert recorded.judged(good, case["verify_at"], Collateral({name: json.dumps(parts).encode()})) is refusal


def test_tcb_info_of_another_platform_family(folder: Path) -> None:
    """Both sets are valid at the moment of the second one, so the family is the only reason."""
    case = all_cases(folder)["tdx/gcp"]
    good, collateral = recorded.intel(folder, case)
    ((name, data),) = collateral.items.items()
    bound = json.loads((folder / "tdx/fmspc-90c06f-2026-02.collateral.json").read_text())
    other = {**json.loads(data), "tcb_info": bound["tcb_info"], "tcb_info_signature": bound["tcb_info_signature"]}
    for now, expected in (
        (case["verify_at"], Refusal.COLLATERAL_EXPIRED),
        (seconds(json.loads(bound["tcb_info"])["issueDate"]), None),
    ):
        found = recorded.judged(good, now, Collateral({name: json.dumps(other).encode()}))
        assert found is expected if expected else found in (Refusal.COLLATERAL_MISMATCH, Refusal.COLLATERAL_EXPIRED)


def test_no_collateral_junk_and_too_much(folder: Path) -> None:
    case = all_cases(folder)["tdx/uptodate-v4"]
    good, collateral = recorded.intel(folder, case)
    ((name, data),) = collateral.items.items()
    assert recorded.judged(good, case["verify_at"], NO_COLLATERAL) is Refusal.CRL_MISSING
    for junk, code in (
        (b"junk", Refusal.FORMAT), (b"[]", Refusal.FORMAT), (b"[" * 100_000, Refusal.FORMAT),
        (data + b" " * 300_000, Refusal.SIZE), (b"\xff", Refusal.FORMAT),
    ):  # fmt: skip
        assert recorded.judged(good, case["verify_at"], Collateral({name: junk})) is code, junk[:10]
    carried = dataclasses.replace(good, aux={"collateral": data})
    assert isinstance(recorded.judged(carried, case["verify_at"]), VendorReport)
    assert (
        recorded.judged(carried, case["verify_at"], Collateral({name: b"junk"})) is Refusal.FORMAT
    )  # the asker's own wins


def test_another_root(folder: Path) -> None:
    case = all_cases(folder)["tdx/uptodate-v4"]
    good, collateral = recorded.intel(folder, case)
    other = (folder / "sev-snp/aws-vlek.vlek.der").read_bytes()
    with pytest.raises(EvidenceRefused):
        DcapVerifier("intel-tdx", other).verify(good, now=case["verify_at"], collateral=collateral)


def test_a_quote_of_the_other_kind(folder: Path) -> None:
    found = all_cases(folder)
    tdx, _ = recorded.intel(folder, found["tdx/uptodate-v4"])
    sgx, _ = recorded.intel(folder, found["sgx/config-swhardening"])
    assert recorded.judged(dataclasses.replace(tdx, kind="intel-sgx"), 1751328000) is Refusal.FORMAT
    assert recorded.judged(dataclasses.replace(sgx, kind="intel-tdx"), 1751328000) is Refusal.FORMAT
    v5, collateral = recorded.intel(folder, found["tdx/no-tcb-level-v5"])
    for body in (struct.pack("<HI", 1, 384), struct.pack("<HI", 2, 648), struct.pack("<HI", 3, 2**31)):
        blob = v5.blob[:48] + body + v5.blob[54:]
        assert recorded.judged(recorded.with_blob(v5, blob), 1772323200, collateral) is Refusal.FORMAT


def test_an_event_log_leads_to_the_registers(folder: Path) -> None:
    case = all_cases(folder)["tdx/bound-keys"]
    good, collateral = recorded.intel(folder, case)
    events = json.loads((folder / "tdx/nearmpc-bound.tcb_info.json").read_text())["event_log"]

    def judged(log: object) -> recorded.Judged:
        aux = {"event-log": log if isinstance(log, bytes) else json.dumps(log).encode()}
        return recorded.judged(dataclasses.replace(good, aux=aux), case["verify_at"], collateral)

    assert isinstance(judged(events), VendorReport)
    assert judged(events[:-1]) is Refusal.EVENT_LOG
    assert judged([*events[:-2], events[-1], events[-2]]) is Refusal.EVENT_LOG
    assert judged([*events[:-1], {**events[-1], "event_payload": "00"}]) is Refusal.EVENT_LOG
    for junk in (b"{", {}, [1], [{}], [{**events[0], "imr": 4}], [{**events[0], "digest": "zz"}], [{**events[0], "digest": 7}],
                 [{**events[0], "digest": "00"}], [{**events[0], "event": None}], [{**events[0], "event_type": 2**32}]):  # fmt: skip
        assert judged(junk) is Refusal.FORMAT, junk
