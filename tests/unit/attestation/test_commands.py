"""`evidence verify` and `policy check` on real evidence and real policies: what a person reads, what a script gets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from asset_bridge.attestation import evidence
from asset_bridge.attestation.policy import Policy, Spread, VendorRule, development
from asset_bridge.attestation.policy_file import render
from asset_bridge.attestation.verifiers import hardware
from asset_bridge.cli import main
from asset_bridge.client.evidence_file import collateral_of, examine
from asset_bridge.errors import BridgeError, InputError
from asset_bridge_simulator import SimAttester, issue_platform, make_root, measurement_id, measurement_of
from tests.unit.attestation import recorded, samples

pytestmark = pytest.mark.filterwarnings("ignore:Parsed a serial number")


@pytest.fixture(scope="module")
def folder(vectors_dir: Path) -> Path:
    return vectors_dir.parent / "attestation"


def run(capsys: pytest.CaptureFixture[str], home: Path, *arguments: str) -> tuple[int, str, str]:
    code: object = 0
    try:
        main.run([*arguments, "--home", str(home)])
    except SystemExit as stop:
        code = stop.code
    out = capsys.readouterr()
    return int(str(code or 0)), out.out, out.err


CASES = [
    ("tdx/bound-keys", 0, "UpToDate"),
    ("tdx/debug", 3, "attestation.debug"),
    ("tdx/collateral-expired", 3, "attestation.collateral-expired"),
    ("tdx/azure-sept-ve-off", 3, "attestation.tcb-status"),
    ("sgx/config-swhardening", 0, "INTEL-SA-00289"),
    ("sgx/tdx-collateral-for-sgx", 3, "attestation.collateral-mismatch"),
    ("sev-snp/milan", 0, "product Milan"),
    ("sev-snp/debug-policy", 0, "debug mode"),
    ("sev-snp/aws-vlek-vmpl1", 0, "VMPL 1"),
    ("sev-snp/bad-vcek-1", 3, "attestation.chain"),
    ("sev-snp/wrong-product-chain", 3, "attestation.chain"),
    ("nitro/2022", 0, "aws-nitro"),
    ("nitro/2022-debug", 0, "debug mode"),
]


@pytest.mark.needs_vectors
@pytest.mark.parametrize(("name", "status", "words"), CASES)
def test_vendors_own_files(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, status: int, words: str
) -> None:
    case = recorded.cases(folder, name.split("/")[0])[name]
    arguments = ["evidence", "verify", str(folder / (case.get("quote") or case.get("report") or case["document"]))]
    arguments += ["--at", str(case["verify_at"])]
    arguments += ["--collateral", str(folder / case["collateral"])] if "collateral" in case else []
    for key in ("chain", "ek"):
        arguments += ["--certificate", str(folder / case[key])] if key in case else []
    code, out, err = run(capsys, tmp_path, *arguments)
    assert code == status, err
    assert words in (out + err)
    assert "binds      no node" in out or status == 3
    code, out, err = run(capsys, tmp_path, *arguments, "--json")
    found: dict[str, Any] = json.loads(out if status == 0 else err)
    assert (found["error"]["code"] if status else found["bound"]) == (words if status else False)


@pytest.mark.needs_vectors
def test_azure_files(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chain = str(folder / "sev-snp/amd-milan-vcek-chain.pem")
    path = str(folder / "azure-vtpm/snp-v1.json")
    code, out, _ = run(capsys, tmp_path, "evidence", "verify", path, "--certificate", chain, "--at", "1748736000")
    assert code == 0
    assert "data       6368616c6c656e6765" in out
    path = str(folder / "azure-vtpm/tdx-v1.json")
    collateral = str(folder / "tdx/fmspc-00806f05-2025-10.collateral.json")
    code, _, err = run(capsys, tmp_path, "evidence", "verify", path, "--collateral", collateral, "--at", "1760982530")
    assert (code, "attestation.tcb-status" in err) == (3, True)


@pytest.mark.needs_vectors
def test_a_homes_collateral_is_found_by_name(folder: Path, tmp_path: Path) -> None:
    case = recorded.cases(folder, "tdx")["tdx/uptodate-v4"]
    quote = (folder / case["quote"]).read_bytes()
    with pytest.raises(BridgeError) as caught:
        examine(quote, hardware(), now=case["verify_at"])
    assert caught.value.code == "attestation.crl-missing"
    (tmp_path / "intel-tdx-b0c06f000000.json").write_bytes((folder / case["collateral"]).read_bytes())
    (tmp_path / "notes.txt").write_text("not collateral")
    found = examine(quote, hardware(), now=case["verify_at"], named=collateral_of(tmp_path))
    assert (found.kind, found.report.tcb.status, found.policy_codes) == ("intel-tdx", "UpToDate", None)


def test_files_that_are_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "file"
    for data, code in ((b"", "client.evidence-kind"), (b"hello", "client.evidence-kind"), (bytes(2**20 + 1), "client.evidence-file"),
                       (b"{}", "attestation.format"), (b"{", "attestation.format"), (b"\xa6\1\1\2", "attestation.format")):  # fmt: skip
        path.write_bytes(data)
        assert code in run(capsys, tmp_path, "evidence", "verify", str(path))[2]
    with pytest.raises(InputError) as caught:
        examine(bytes(1184), hardware(), now=0, certificates=[b"junk"])
    assert caught.value.code == "client.evidence-file"


def test_a_nodes_own_evidence_under_a_policy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = make_root(tmp_path / "root", now=samples.NOW)
    issue_platform(tmp_path / "root", tmp_path / "platform", name="p", now=samples.NOW)
    code = measurement_of("asset-bridge-dev")
    bound = samples.binding(chain_id=31337, configuration_digest=samples.UNBOUND)
    file = tmp_path / "node.evidence"
    file.write_bytes(SimAttester.load(tmp_path / "platform", code, lambda: samples.NOW).collect(bound))
    assert evidence.parse(file.read_bytes()).kind == "asset-bridge-sim"
    assert (
        "attestation.vendor" in run(capsys, tmp_path, "evidence", "verify", str(file))[2]
    )  # no policy names a simulator
    rules = tmp_path / "policy.toml"
    told = []
    for allowed in (measurement_id(code), bytes(32)):
        rules.write_text(
            render(development(31337, {samples.OPERATOR: "hospital"}, {allowed: "dev"}, root.read_bytes()))
        )
        arguments = ("evidence", "verify", str(file), "--policy", str(rules), "--at", str(samples.NOW + 5))
        status, out, err = run(capsys, tmp_path, *arguments)
        assert (status, "NOTHING: it is simulated" in out) == (0, True), err
        assert f"node 0x{samples.NODE.hex()}" in out
        told.append([line for line in out.splitlines() if line.startswith("policy")])
    assert told[0] == [
        "policy     accepts what the file shows; a trade also asks the registry and sends its own challenge"
    ]
    assert told[1] == ["policy     refuses: it runs code whose measurement the policy does not list [measurement]"]


def test_policy_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "policy.toml"
    root = make_root(tmp_path / "root", now=samples.NOW).read_bytes()
    file.write_text(render(development(31337, {samples.OPERATOR: "hospital"}, {bytes(32): "dev"}, root)))
    status, out, _ = run(capsys, tmp_path, "policy", "check", str(file))
    assert status == 0
    for words in (
        "simulated evidence is accepted",
        "any machine is accepted",
        "chain of their own",
        "names 1 operators for 3 shares",
    ):
        assert words in out
    strict = samples.policy(operators={bytes([n]) * 20: f"o{n}" for n in range(3)})
    file.write_text(render(strict))
    found = json.loads(run(capsys, tmp_path, "policy", "check", str(file), "--json")[1])
    assert found["warnings"] == []
    weak = Policy(
        chain_id=1,
        vendors=(VendorRule("sev-snp", tcb_statuses=frozenset({"OutOfDate"})),),
        spread=Spread(False, False, False),
    )
    file.write_text(render(weak))
    told = " ".join(json.loads(run(capsys, tmp_path, "policy", "check", str(file), "--json")[1])["warnings"])
    for words in (
        "accepts no node",
        "Milan",
        "OutOfDate",
        "tcb_floor",
        "one operator may",
        "one machine may",
        "[[rpc]]",
    ):
        assert words in told
    file.write_text("format = 1")
    assert "attestation.policy" in run(capsys, tmp_path, "policy", "check", str(file))[2]
