"""Attesters against stand-ins that enforce the devices' contracts; each violation is refused (spec/attestation.md §11)."""

from __future__ import annotations

import base64
import errno
import json
import struct
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cbor2
import pytest

from asset_bridge.attestation import cbor, evidence
from asset_bridge.attesters.nsm import NsmAttester
from asset_bridge.attesters.tpm import AzureAttester, Tools, td_quote_of, td_quote_request
from asset_bridge.attesters.tsm import KernelFiles, TsmAttester
from asset_bridge.errors import BridgeError
from tests.unit.attestation import samples
from tests.unit.attesters.kernel import Kernel

BOUND = samples.binding()


def code_of(call: Callable[[], object]) -> str:
    with pytest.raises(BridgeError) as caught:
        call()
    return caught.value.code


# ── configfs-tsm ──
@pytest.mark.parametrize(
    ("provider", "kind", "tee"), [("tdx_guest", "intel-tdx", "tdx"), ("sev_guest", "amd-sev-snp", "sev-snp")]
)
@pytest.mark.parametrize("piece", [1, 700, 1 << 20])
def test_a_report_of_either_guest_in_pieces_of_any_size(provider: str, kind: str, tee: str, piece: int) -> None:
    kernel = Kernel(provider)
    kernel.piece = piece
    attester = TsmAttester(files=kernel, carried=lambda: {"collateral": b"{}"})
    assert (attester.kind, attester.tee) == (kind, tee)
    found = evidence.parse(attester.collect(BOUND, {"configuration": b"c"}))
    assert (found.kind, found.binding) == (kind, BOUND)
    assert BOUND.report_data() in found.blob
    assert dict(found.aux) == {"collateral": b"{}", "configuration": b"c"}
    assert kernel.entries == {}  # nothing is left behind


def test_the_certificates_that_the_host_gives() -> None:
    kernel = Kernel("sev_guest")
    guids = {
        "63da758d-e664-4564-adc5-f4b93be8accd": b"vcek",
        "4ab7b379-bbac-4fe4-a02f-05aef327c782": b"ask!",
        "c0b406a4-a803-4952-9743-3fb6014cd0ae": b"ark!",
    }
    head, body = b"", b""
    for guid, data in guids.items():
        head += uuid.UUID(guid).bytes + struct.pack("<II", 96 + len(body), len(data))
        body += data
    kernel.table = head + bytes(24) + body
    found = evidence.parse(TsmAttester(files=kernel).collect(BOUND))
    assert dict(found.aux) == {"signer": b"vcek", "ask": b"ask!", "ark": b"ark!"}
    kernel.table = head[:16] + struct.pack("<II", 90, 9999) + bytes(48)
    assert code_of(lambda: TsmAttester(files=kernel).collect(BOUND)) == "attesters.contract"


VIOLATIONS: list[tuple[str, Callable[[Kernel], object], str]] = [
    ("a second writer in between", lambda k: setattr(k, "intruder", True), "attesters.contract"),
    ("EFBIG", lambda k: k.error.__setitem__("outblob", errno.EFBIG), "attesters.contract"),
    ("EBUSY for ever", lambda k: setattr(k, "busy", 99), "attesters.busy"),
    ("an unknown error", lambda k: k.error.__setitem__("outblob", errno.EIO), "attesters.contract"),
    ("a part of the write only", lambda k: setattr(k, "takes", 32), "attesters.contract"),
    ("the privilege floor", lambda k: setattr(k, "floor", 1), "attesters.contract"),
    ("a report that is cut", lambda k: setattr(k, "cut", 8), "attesters.contract"),
    ("an empty report", lambda k: setattr(k, "cut", 1184), "attesters.contract"),
    ("a report for another question", lambda k: setattr(k, "answers_other", True), "attesters.contract"),
    ("not root any more", lambda k: setattr(k, "root", False), "attesters.permission"),
    ("no device any more", lambda k: k.error.__setitem__("make", errno.ENOENT), "attesters.device"),
]


@pytest.mark.parametrize(
    ("breaks", "code"), [(b, c) for _, b, c in VIOLATIONS], ids=[name for name, _, _ in VIOLATIONS]
)
def test_each_broken_clause_is_refused(breaks: Callable[[Kernel], object], code: str) -> None:
    kernel = Kernel("sev_guest")
    attester = TsmAttester(files=kernel)
    breaks(kernel)
    assert code_of(lambda: attester.collect(BOUND)) == code
    assert kernel.entries == {}


def test_busy_means_a_fresh_directory() -> None:
    kernel = Kernel()
    attester = TsmAttester(files=kernel)
    kernel.busy, kernel.made = 2, 0
    evidence.parse(attester.collect(BOUND))
    assert kernel.made == 3


def test_a_report_that_is_too_large_and_numbers_that_are_none() -> None:
    kernel = Kernel()
    attester = TsmAttester(files=kernel)
    kernel.report = lambda asked: bytes(40_000)  # type: ignore[method-assign]
    assert code_of(lambda: attester.collect(BOUND)) == "attesters.contract"
    kernel = Kernel("arm_cca_guest")
    assert code_of(lambda: TsmAttester(files=kernel)) == "attesters.device"


def test_this_machine_has_no_such_device(tmp_path: Path) -> None:
    assert code_of(lambda: TsmAttester(files=KernelFiles(), folder=tmp_path / "none" / "report")) == "attesters.device"


# ── Nitro ──
class Nsm:
    """The device: one CBOR request of at most 0x1000 bytes, an answer of at most 0x3000."""

    def __init__(self, answer: object = None, error: int = 0) -> None:
        self.answer, self.error, self.asked = answer, error, dict[str, Any]()

    def __call__(self, request: bytes) -> bytes:
        if self.error:
            raise OSError(self.error, "nsm")
        assert len(request) <= 0x1000
        self.asked = cbor2.loads(request)["Attestation"]
        assert (len(self.asked["user_data"]), len(self.asked["nonce"]), self.asked["public_key"]) == (64, 32, None)
        answer = {"Attestation": {"document": b"document"}} if self.answer is None else self.answer
        return answer if isinstance(answer, bytes) else cbor2.dumps(answer)


def test_a_nitro_document() -> None:
    device = Nsm()
    found = evidence.parse(NsmAttester(device).collect(BOUND))
    assert (found.kind, found.blob) == ("aws-nitro", b"document")
    assert (device.asked["user_data"], device.asked["nonce"]) == (BOUND.report_data(), BOUND.nonce)


@pytest.mark.parametrize(
    ("device", "code"),
    [
        (Nsm(error=errno.ENOENT), "attesters.device"),
        (Nsm(error=errno.EACCES), "attesters.permission"),
        (Nsm(error=errno.EBUSY), "attesters.busy"),
        (Nsm(error=errno.EMSGSIZE), "attesters.contract"),
        (Nsm({"Error": "InvalidOperation"}), "attesters.contract"),
        (Nsm({"Attestation": {"document": b""}}), "attesters.contract"),
        (Nsm({"Attestation": {}}), "attesters.contract"),
        (Nsm([1]), "attesters.contract"),
        (Nsm(b"\xff"), "attesters.contract"),
        (Nsm(b"\x00\x00"), "attesters.contract"),
        (Nsm(bytes(0x3001)), "attesters.contract"),
    ],
)
def test_each_failure_of_the_nsm(device: Nsm, code: str) -> None:
    assert code_of(lambda: NsmAttester(device).collect(BOUND)) == code


def test_no_nsm_here() -> None:
    assert code_of(lambda: NsmAttester().collect(BOUND)) == "attesters.device"


# ── Azure's vTPM and the tools ──
class VirtualTpm(Tools):
    """The paravisor's report in its index, the key at its handle, 24 registers; `grows`: how often a register changes meanwhile."""

    def __init__(self, folder: Path, grows: int = 0, registers: int = 24) -> None:
        super().__init__("none", folder)
        self.grows, self.registers, self.calls = grows, registers, list[str]()

    def run(self, tool: str, arguments: str) -> bytes:
        self.calls.append(f"{tool} {arguments}")
        if tool == "nvread":
            self.write("hcl", b"HCLA")
        if tool == "quote":
            self.write("q.msg", b"message")
            self.write("q.sig", b"signature")
        if tool == "pcrread":
            self.grows -= 1
            self.write("pcrs", bytes([max(self.grows, 0)]) * (32 * self.registers))
        return b""


def test_azure(tmp_path: Path) -> None:
    tools = VirtualTpm(tmp_path, grows=2)
    made = AzureAttester("azure-snp-vtpm", tools, lambda report: {"signer": report}).collect(BOUND)
    found = evidence.parse(made)
    assert found.kind == "azure-snp-vtpm"
    assert dict(found.aux) == {"signer": b"HCLA"}
    parts = cbor.decode_map(found.blob, {1, 2, 3, 4})
    assert (parts[1], parts[2], parts[3], parts[4]) == (b"HCLA", b"message", b"signature", [bytes(32)] * 24)
    assert any(BOUND.qualifying_data().hex() in call and "0x81000003" in call for call in tools.calls)
    for broken in (VirtualTpm(tmp_path, grows=99), VirtualTpm(tmp_path, registers=23)):
        assert (
            code_of(lambda broken=broken: AzureAttester("azure-snp-vtpm", broken, lambda _: {}).collect(BOUND))
            == "attesters.contract"
        )  # type: ignore[misc]


def test_azures_quote_service() -> None:
    asked = json.loads(td_quote_request(b"H" * 32 + bytes(1184)))
    assert len(base64.urlsafe_b64decode(asked["report"] + "==")) == 1024
    assert td_quote_of(json.dumps({"quote": "AAEC"}).encode()) == b"\0\1\2"
    for junk in (b"", b"{}", b"[]", b'{"quote": 1}', b'{"quote": "A"}'):
        assert code_of(lambda junk=junk: td_quote_of(junk)) == "attesters.contract"  # type: ignore[misc]


def test_tools_that_are_missing_or_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tools = Tools("device:/none", tmp_path)
    assert code_of(lambda: tools.run("no_such_tool", "")) == "attesters.device"
    script = tmp_path / "tpm2_fails"
    script.write_text("#!/bin/sh\necho 'ERROR: no TPM' >&2\nexit 1\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(BridgeError, match="no TPM"):
        tools.run("fails", "")
