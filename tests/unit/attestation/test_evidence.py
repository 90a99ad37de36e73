"""Envelope, binding, configuration and verify: each refusal by its code (spec/attestation.md §2 to §5)."""

from __future__ import annotations

import dataclasses

import pytest

from asset_bridge.attestation import cbor, evidence
from asset_bridge.attestation.binding import NO_CONFIGURATION, Binding
from asset_bridge.attestation.claims import Tier, VendorReport
from asset_bridge.attestation.configuration import ChainConfiguration, Endpoint
from asset_bridge.attestation.evidence import ClaimedEvidence
from asset_bridge.attestation.refusal import EXPLAINED, EvidenceRefused, Refusal
from asset_bridge.attestation.verify import NO_COLLATERAL, Collateral, VerifierSet, verify
from asset_bridge.errors import DefectError
from tests.unit.attestation import samples


class Fixed:
    """A verifier that reads the same report in everything."""

    def __init__(self, report: VendorReport, kind: str = "amd-sev-snp") -> None:
        self.kind, self.report = kind, report

    def verify(self, evidence: ClaimedEvidence, *, now: int, collateral: Collateral) -> VendorReport:
        return self.report


def claimed(binding: Binding, aux: dict[str, bytes] | None = None) -> ClaimedEvidence:
    items = {"configuration": samples.CONFIGURATION.encode()} if aux is None else aux
    return evidence.parse(evidence.build("amd-sev-snp", b"blob", items, binding))


def refusal_of(item: ClaimedEvidence, verifiers: VerifierSet) -> Refusal:
    with pytest.raises(EvidenceRefused) as caught:
        verify(item, verifiers, now=samples.NOW, collateral=NO_COLLATERAL)
    assert caught.value.code == f"attestation.{caught.value.refusal.value}"
    return caught.value.refusal


def test_what_is_built_is_read() -> None:
    item = claimed(samples.binding())
    assert (item.kind, item.blob, item.binding) == ("amd-sev-snp", b"blob", samples.binding())


def test_good_evidence_becomes_claims_with_the_tier_of_its_kind_at_most() -> None:
    found = verify(claimed(samples.binding()), VerifierSet(Fixed(samples.report())), now=1, collateral=NO_COLLATERAL)
    assert (found.vendor, found.tier, found.chain_view) == ("sev-snp", Tier.HARDWARE, "attested")
    lower = VerifierSet(Fixed(samples.report(tier=Tier.SIMULATED)))
    assert verify(claimed(samples.binding()), lower, now=1, collateral=NO_COLLATERAL).tier == Tier.SIMULATED
    simulated = evidence.parse(
        evidence.build("asset-bridge-sim", b"", {}, samples.binding(configuration_digest=NO_CONFIGURATION))
    )
    data = simulated.binding.report_data()
    liar = VerifierSet(Fixed(samples.report(tier=Tier.HARDWARE, report_data=data), "asset-bridge-sim"))
    assert verify(simulated, liar, now=1, collateral=NO_COLLATERAL).tier == Tier.SIMULATED


def test_a_kind_without_a_verifier_is_refused() -> None:
    assert refusal_of(claimed(samples.binding()), VerifierSet()) is Refusal.VENDOR


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(Binding)])
def test_every_bound_field_is_bound(field: str) -> None:
    value = getattr(samples.binding(), field)
    other = value + 1 if isinstance(value, int) else bytes([value[0] ^ 1]) + value[1:]
    changed = samples.binding(**{field: other})
    assert refusal_of(claimed(changed), VerifierSet(Fixed(samples.report()))) is Refusal.BINDING


def test_all_64_bytes_of_report_data_count() -> None:
    good = samples.binding().report_data()
    for at in range(64):
        bad = good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :]
        assert (
            refusal_of(claimed(samples.binding()), VerifierSet(Fixed(samples.report(report_data=bad))))
            is Refusal.BINDING
        )


def test_a_vendor_document_with_another_nonce_is_refused() -> None:
    assert refusal_of(claimed(samples.binding()), VerifierSet(Fixed(samples.report(nonce=b"y" * 32)))) is Refusal.NONCE


def test_the_configuration_must_be_there_and_be_the_bound_one() -> None:
    verifiers = VerifierSet(Fixed(samples.report()))
    assert refusal_of(claimed(samples.binding(), {}), verifiers) is Refusal.FORMAT
    other = dataclasses.replace(samples.CONFIGURATION, checkpoint_number=8)
    assert refusal_of(claimed(samples.binding(), {"configuration": other.encode()}), verifiers) is Refusal.BINDING


def test_a_configuration_for_another_chain_is_refused() -> None:
    other = dataclasses.replace(samples.CONFIGURATION, chain_id=5)
    bound = samples.binding(configuration_digest=other.digest())
    verifiers = VerifierSet(Fixed(samples.report(report_data=bound.report_data())))
    assert refusal_of(claimed(bound, {"configuration": other.encode()}), verifiers) is Refusal.BINDING


@pytest.mark.parametrize(
    ("endpoints", "view"),
    [
        (samples.ENDPOINTS, "attested"),
        (samples.ENDPOINTS[:1], "operator"),
        ((samples.ENDPOINTS[0], Endpoint("https://a.example", b"2" * 32)), "operator"),
        ((samples.ENDPOINTS[0], Endpoint("https://b.example", b"1" * 32)), "operator"),
        ((*samples.ENDPOINTS, Endpoint("http://127.0.0.1:8545", bytes(32))), "operator"),
    ],
)
def test_attested_needs_two_pinned_endpoints_of_different_origins(endpoints: tuple[Endpoint, ...], view: str) -> None:
    made = dataclasses.replace(samples.CONFIGURATION, endpoints=endpoints)
    assert ChainConfiguration.parse(made.encode()).chain_view() == view


def test_more_than_64_kib_is_refused_both_ways() -> None:
    with pytest.raises(EvidenceRefused) as caught:
        evidence.build("amd-sev-snp", bytes(65_536), {}, samples.binding())
    assert caught.value.refusal is Refusal.SIZE
    with pytest.raises(EvidenceRefused) as caught:
        evidence.parse(bytes(65_537))
    assert caught.value.refusal is Refusal.SIZE


GOOD = {1: 1, 2: "amd-sev-snp", 3: b"", 4: {}, 5: samples.binding().encode(), 6: []}


@pytest.mark.parametrize(
    "change",
    [
        {1: 2},
        {2: b"x"},
        {2: "x" * 33},
        {3: "x"},
        {4: []},
        {4: {1: b""}},
        {4: {"x": 1}},
        {5: b""},
        {5: 1},
        {6: [b"x"]},
        {6: {}},
        {7: 1},
    ],
)
def test_malformed_envelopes_are_refused(change: dict[int | str, cbor.Value]) -> None:
    with pytest.raises(EvidenceRefused) as caught:
        evidence.parse(cbor.encode({**GOOD, **change}))
    assert caught.value.refusal is Refusal.FORMAT


def test_every_cut_and_every_changed_byte_is_refused_or_is_other_evidence() -> None:
    data = evidence.build("amd-sev-snp", b"blob", {"signer": b"abc"}, samples.binding())
    verifiers = VerifierSet(Fixed(samples.report()))
    for at in range(len(data)):
        with pytest.raises(EvidenceRefused):
            evidence.parse(data[:at])
        changed = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        try:
            item = evidence.parse(changed)
        except EvidenceRefused:
            continue
        if item.binding != samples.binding():
            assert refusal_of(item, verifiers) in (Refusal.BINDING, Refusal.FORMAT, Refusal.VENDOR)


@pytest.mark.parametrize("number", range(1, 11))
def test_a_binding_needs_each_field_at_its_length(number: int) -> None:
    fields = cbor.decode(samples.binding().encode())
    assert isinstance(fields, dict)
    for other in (b"", "x", 2**63) if number not in (5, 8) else (b"", "x"):
        with pytest.raises(EvidenceRefused):
            Binding.parse(cbor.encode({**fields, number: other}))
    with pytest.raises(EvidenceRefused):
        Binding.parse(cbor.encode({key: value for key, value in fields.items() if key != number}))


@pytest.mark.parametrize("number", range(1, 10))
def test_a_configuration_needs_each_field_at_its_length(number: int) -> None:
    fields = cbor.decode(samples.CONFIGURATION.encode())
    assert isinstance(fields, dict)
    values: tuple[cbor.Value, ...] = (b"", [], [[]], [["x"]], ["x" * 300], [[b"", b""]])
    for other in values:
        with pytest.raises(EvidenceRefused):
            ChainConfiguration.parse(cbor.encode({**fields, number: other}))


def test_verifier_sets_are_explicit_and_have_one_verifier_a_kind() -> None:
    one = VerifierSet(Fixed(samples.report()))
    with pytest.raises(DefectError):
        one.plus(Fixed(samples.report()))
    with pytest.raises(DefectError):
        VerifierSet(Fixed(samples.report(), "no-such-kind"))
    assert one.plus(Fixed(samples.report(), "tpm2")).kinds == {"amd-sev-snp", "tpm2"}
    assert one.kinds == {"amd-sev-snp"}


def test_every_refusal_has_words_and_a_row_in_the_spec() -> None:
    from tools.vectors.attestation import ROOT

    text = (ROOT / "spec" / "attestation.md").read_text()
    assert set(EXPLAINED) == set(Refusal)
    assert [code for code in Refusal if f"| `attestation.{code.value}` |" not in text] == []
