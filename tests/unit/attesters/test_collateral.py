"""Fetching collateral from stand-ins of the vendors' services, storing it, and verifying with it offline (spec/attestation.md §13)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from asset_bridge.attestation.claims import VendorReport
from asset_bridge.attestation.refusal import Refusal
from asset_bridge.attesters.collateral import AmdService, HttpFetch, IntelService, authority_of, is_older
from asset_bridge.cli import main
from asset_bridge.client.collateral import fetch_for
from asset_bridge.client.evidence_file import collateral_of
from asset_bridge.errors import BridgeError
from tests.unit.attestation import recorded
from tests.unit.attestation import test_generated_chains as chains
from tests.unit.attesters.vendor_services import Answer, VendorServer, parts_of

pytestmark = pytest.mark.filterwarnings("ignore:Parsed a serial number")
Amd = chains.Amd


@pytest.fixture
def server() -> Iterator[VendorServer]:
    made = VendorServer()
    yield made
    made.close()


@pytest.fixture
def pauses() -> list[float]:
    return []


@pytest.fixture
def fetch(pauses: list[float]) -> Iterator[HttpFetch]:
    made = HttpFetch(pauses.append, timeout_seconds=5)
    yield made
    made.close()


def code_of(act: Callable[[], object]) -> str:
    with pytest.raises(BridgeError) as caught:
        act()
    return caught.value.code


# ── Intel ──
@pytest.fixture
def case(vectors_dir: Path, server: VendorServer) -> dict[str, Any]:
    """A recorded quote with Intel's own collateral of its time, served in parts."""
    folder = vectors_dir.parent / "attestation"
    found = recorded.cases(folder, "tdx")["tdx/bound-keys"]
    evidence, collateral = recorded.intel(folder, found)
    ((name, data),) = collateral.items.items()
    fmspc = name.removeprefix("intel-tdx-")
    server.intel("tdx", fmspc, parts_of(data), authority="platform", hexadecimal=False)
    return {
        "evidence": evidence,
        "name": name,
        "fmspc": fmspc,
        "data": data,
        "at": found["verify_at"],
        "folder": folder,
    }


@pytest.mark.needs_vectors
@pytest.mark.parametrize("hexadecimal", [False, True])
def test_intel_collateral_in_parts_is_what_intel_signed(
    case: dict[str, Any], server: VendorServer, fetch: HttpFetch, tmp_path: Path, hexadecimal: bool
) -> None:
    """From a PCS and from a PCCS; the quote is accepted with it, offline, by the files alone."""
    server.intel("tdx", case["fmspc"], parts_of(case["data"]), authority="platform", hexadecimal=hexadecimal)
    quote = case["evidence"].blob
    stored = fetch_for(quote, IntelService(fetch, server.url), AmdService(fetch, server.url), tmp_path)
    assert [(one.name, one.new) for one in stored] == [(case["name"] + ".json", True)]
    assert parts_of((tmp_path / f"{case['name']}.json").read_bytes()) == parts_of(case["data"])
    found = recorded.judged(case["evidence"], case["at"], collateral_of(tmp_path))
    assert isinstance(found, VendorReport)
    assert len(server.asked) == 4
    again = fetch_for(quote, IntelService(fetch, server.url), AmdService(fetch, server.url), tmp_path)
    assert [one.new for one in again] == [False]


@pytest.mark.needs_vectors
def test_who_issued_the_platforms_certificate(case: dict[str, Any]) -> None:
    assert authority_of(case["evidence"].blob) == "platform"
    assert code_of(lambda: authority_of(b"no certificate")) == "attesters.collateral-form"


def broken_chain(path: str, answer: Answer) -> Answer:
    return answer[0], dict.fromkeys(answer[1], "not%20a%20chain"), answer[2]


@pytest.mark.needs_vectors
@pytest.mark.parametrize(
    ("part", "change", "code"),
    [
        ("tcb?", lambda path, answer: (404, {}, b""), "attesters.collateral"),
        ("tcb?", lambda path, answer: (302, {"Location": path}, b""), "attesters.collateral"),
        ("tcb?", lambda path, answer: (200, answer[1], b"x" * 600_000), "attesters.collateral"),
        ("tcb?", lambda path, answer: (200, answer[1], answer[2][:-20]), "attesters.collateral-form"),
        ("tcb?", lambda path, answer: (200, answer[1], b"{}"), "attesters.collateral-form"),
        (
            "tcb?",
            lambda path, answer: (200, answer[1], b'{"tcbInfo":{},"signature":"00"}'),
            "attesters.collateral-form",
        ),
        ("tcb?", lambda path, answer: (200, answer[1], b"\xff"), "attesters.collateral-form"),
        ("tcb?", lambda path, answer: (200, {}, answer[2]), "attesters.collateral-form"),
        ("tcb?", broken_chain, "attesters.collateral-form"),
        ("identity", broken_chain, "attesters.collateral-form"),
        ("identity", lambda path, answer: (200, answer[1], b"[]"), "attesters.collateral-form"),
        ("pckcrl", lambda path, answer: (200, answer[1], b"junk"), "attesters.collateral-form"),
        ("pckcrl", lambda path, answer: (200, answer[1], b"abcd"), "attesters.collateral-form"),
        ("rootcacrl", lambda path, answer: (200, answer[1], b""), "attesters.collateral-form"),
    ],
)
def test_answers_that_are_none(
    case: dict[str, Any],
    server: VendorServer,
    fetch: HttpFetch,
    tmp_path: Path,
    part: str,
    change: Callable[[str, Answer], Answer],
    code: str,
) -> None:
    server.change = lambda path, answer: change(path, answer) if part in path else answer
    intel, amd = IntelService(fetch, server.url), AmdService(fetch, server.url)
    assert code_of(lambda: fetch_for(case["evidence"].blob, intel, amd, tmp_path)) == code
    assert list(tmp_path.iterdir()) == []


@pytest.mark.needs_vectors
def test_another_familys_answer_and_a_lying_server(
    case: dict[str, Any], server: VendorServer, fetch: HttpFetch, tmp_path: Path
) -> None:
    """Another family's TCB info is noticed at once; a changed one is stored, and the verifier refuses it."""
    other = (case["folder"] / "tdx/fmspc-50806f-2023-06.collateral.json").read_bytes()
    server.intel("tdx", case["fmspc"], parts_of(other), authority="platform", hexadecimal=False)
    intel, amd = IntelService(fetch, server.url), AmdService(fetch, server.url)
    assert code_of(lambda: fetch_for(case["evidence"].blob, intel, amd, tmp_path)) == "attesters.collateral-form"
    parts = parts_of(case["data"])
    parts["tcb_info"] = parts["tcb_info"].replace('"OutOfDate"', '"UpToDate"')
    server.intel("tdx", case["fmspc"], parts, authority="platform", hexadecimal=False)
    fetch_for(case["evidence"].blob, intel, amd, tmp_path)
    assert recorded.judged(case["evidence"], case["at"], collateral_of(tmp_path)) is Refusal.SIGNATURE


@pytest.mark.needs_vectors
def test_an_older_answer_never_replaces_a_newer_file(
    case: dict[str, Any], server: VendorServer, fetch: HttpFetch, tmp_path: Path
) -> None:
    intel, amd = IntelService(fetch, server.url), AmdService(fetch, server.url)
    fetch_for(case["evidence"].blob, intel, amd, tmp_path)
    before = (tmp_path / f"{case['name']}.json").read_bytes()
    parts = parts_of(case["data"])
    tcb = json.loads(parts["tcb_info"])
    parts["tcb_info"] = json.dumps({**tcb, "tcbEvaluationDataNumber": tcb["tcbEvaluationDataNumber"] - 1})
    server.intel("tdx", case["fmspc"], parts, authority="platform", hexadecimal=False)
    assert [one.new for one in fetch_for(case["evidence"].blob, intel, amd, tmp_path)] == [False]
    assert (tmp_path / f"{case['name']}.json").read_bytes() == before
    parts["tcb_info"] = json.dumps({**tcb, "tcbEvaluationDataNumber": tcb["tcbEvaluationDataNumber"] + 1})
    server.intel("tdx", case["fmspc"], parts, authority="platform", hexadecimal=False)
    assert [one.new for one in fetch_for(case["evidence"].blob, intel, amd, tmp_path)] == [True]
    assert code_of(lambda: is_older(b"{}", b"{}")) == "attesters.collateral-form"


def test_a_busy_server_is_asked_again_and_a_dead_one_given_up(
    server: VendorServer, fetch: HttpFetch, pauses: list[float]
) -> None:
    answers = [(429, {"Retry-After": "3"}, b""), (503, {}, b""), (200, {"X": "y"}, b"good")]
    server.change = lambda path, answer: answers.pop(0)
    assert fetch(f"{server.url}/any").body == b"good"
    assert pauses == [3.0, 2.0]
    server.change = lambda path, answer: (500, {}, b"")
    assert code_of(lambda: fetch(f"{server.url}/any")) == "attesters.collateral"
    assert len(server.asked) == 3 + 4
    for url in ("http://127.0.0.1:9/none", "http://[", "ftp://127.0.0.1/x"):
        assert code_of(lambda url=url: fetch(url)) == "attesters.collateral"


# ── AMD ──
def amd_routes(server: VendorServer, world: Any, vcek: x509.Certificate, query: str, chip: bytes) -> None:
    chain = world.ask.public_bytes(Encoding.PEM) + world.ark.public_bytes(Encoding.PEM)
    ((_, crl),) = world.revocations().items.items()
    server.routes |= {
        f"/vcek/v1/{world.product}/cert_chain": (200, {}, chain),
        f"/vcek/v1/{world.product}/crl": (200, {}, crl),
        f"/vlek/v1/{world.product}/crl": (200, {}, crl),
        f"/vcek/v1/{world.product}/{chip.hex()}?{query}": (200, {}, vcek.public_bytes(Encoding.DER)),
    }


@pytest.mark.parametrize("product", ["Genoa", "Turin"])
def test_amds_certificates_and_list(server: VendorServer, fetch: HttpFetch, tmp_path: Path, product: str) -> None:
    world = Amd(product)
    if product == "Turin":
        chip, tcb, levels = chains.CHIP[:8], chains.TURIN_TCB, chains.TURIN
        query = "blSPL=09&fmcSPL=01&snpSPL=05&teeSPL=02&ucodeSPL=72"
    else:
        chip, tcb, levels = chains.CHIP, chains.GENOA_TCB, chains.GENOA
        query = "blSPL=09&snpSPL=23&teeSPL=01&ucodeSPL=72"
    vcek, report = world.vcek(levels, {"4": chip}), world.report(tcb, chip=chip.ljust(64, b"\0"))
    amd_routes(server, world, vcek, query, chip)
    amd = AmdService(fetch, server.url)
    stored = fetch_for(report, IntelService(fetch, server.url), amd, tmp_path, product)
    assert {one.name for one in stored} == {f"amd-crl-{product.lower()}.der", "signer.der", "ask.der", "ark.der"}
    files = {path.stem: path.read_bytes() for path in tmp_path.iterdir()}
    item = chains.ClaimedEvidence("amd-sev-snp", report, files, chains.samples.binding(), ())
    assert isinstance(chains.judged(world.verifier, item, collateral_of(tmp_path)), VendorReport)
    vlek = world.report(tcb, flags=1 << 2)
    assert [one.name for one in fetch_for(vlek, IntelService(fetch), amd, tmp_path, product)] == [
        f"amd-crl-{product.lower()}-vlek.der"
    ]


def test_a_list_of_vlek_issuers_is_judged_too() -> None:
    world = Amd("Genoa")
    report, vcek = world.report(chains.GENOA_TCB), world.vcek(chains.GENOA)
    ((name, data),) = world.revocations(world.ask).items.items()
    assert world.judge(report, vcek, chains.Collateral({f"{name}-vlek": data})) is Refusal.REVOKED


def test_amds_answers_that_are_none(server: VendorServer, fetch: HttpFetch) -> None:
    world, amd = Amd("Genoa"), AmdService(fetch, server.url)
    one = world.ask.public_bytes(Encoding.PEM)
    path = "/vcek/v1/Genoa/"
    for body in (b"junk", one, one * 3):
        server.routes[f"{path}cert_chain"] = (200, {}, body)
        assert code_of(lambda: amd.issuers("Genoa")) == "attesters.collateral-form"
    server.routes[f"{path}crl"] = (200, {}, b"junk")
    assert code_of(lambda: amd.revocations("Genoa")) == "attesters.collateral-form"
    server.change = lambda path, answer: (200, {}, b"junk")
    assert code_of(lambda: amd.vcek("Genoa", world.report(chains.GENOA_TCB))) == "attesters.collateral-form"
    masked = world.report(chains.GENOA_TCB, chip=bytes(64))
    for act in (lambda: amd.vcek("Genoa", masked), lambda: amd.vcek("Genoa", b""), lambda: amd.issuers("../x")):
        assert code_of(act) == "attesters.collateral-form"


def test_lists_have_an_age() -> None:
    world = Amd("Genoa")
    ((_, first),) = world.revocations().items.items()
    builder = x509.CertificateRevocationListBuilder().issuer_name(chains.name("ARK"))
    later = builder.last_update(chains.AT).next_update(chains.AT + timedelta(days=9))
    second = later.sign(world.ark_key, hashes.SHA384()).public_bytes(Encoding.DER)
    assert is_older(second, first)
    assert not is_older(first, second)


# ── the command ──
@pytest.mark.needs_vectors
def test_the_command(
    case: dict[str, Any], server: VendorServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "quote").write_bytes(case["evidence"].blob)

    def run(*arguments: str) -> tuple[str, str]:
        with pytest.raises(SystemExit) if arguments[-1] == "fails" else _nothing():
            main.run([*(word for word in arguments if word != "fails"), "--home", str(tmp_path / "home")])
        out = capsys.readouterr()
        return out.out, out.err

    quote = str(tmp_path / "quote")
    out, _ = run("evidence", "fetch", quote, "--intel", server.url)
    assert f"{case['name']}.json" in out
    assert "next: asset-bridge evidence verify" in out
    assert "UpToDate" in run("evidence", "verify", quote, "--at", str(case["at"]))[0]
    out, _ = run("evidence", "fetch", quote, "--intel", server.url, "--json")
    assert json.loads(out)["files"] == [{"name": f"{case['name']}.json", "new": False}]
    document = recorded.nitro(case["folder"], recorded.cases(case["folder"], "nitro")["nitro/2025"])
    (tmp_path / "document").write_bytes(document.blob)
    assert "[client.no-collateral]" in run("evidence", "fetch", str(tmp_path / "document"), "fails")[1]


class _nothing:
    def __enter__(self) -> None: ...

    def __exit__(self, *_arguments: object) -> None: ...
