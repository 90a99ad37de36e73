"""The simulator through the same path as hardware: accepted only where policy, chain id and root say so (spec/attestation.md §9)."""

from __future__ import annotations

import dataclasses
import os
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from asset_bridge.attestation import cbor, evidence
from asset_bridge.attestation.appraise import Accepted, Appraisal, Expected, appraise
from asset_bridge.attestation.binding import NO_CONFIGURATION, REGISTRATION_NONCE, Binding
from asset_bridge.attestation.claims import Claims, Tier
from asset_bridge.attestation.evidence import ClaimedEvidence
from asset_bridge.attestation.policy import NOBODY, Policy, development
from asset_bridge.attestation.refusal import EvidenceRefused, Refusal
from asset_bridge.attestation.verifiers import hardware
from asset_bridge.attestation.verify import NO_COLLATERAL, verify
from asset_bridge.errors import InputError
from asset_bridge_simulator import (
    KIND,
    ReplayingAttester,
    SimAttester,
    SimVerifier,
    issue_platform,
    make_root,
    measurement_id,
    measurement_of,
    pki,
)

NOW = 1_800_000_000
DEV = measurement_of("asset-bridge-dev")
OPERATOR = b"o" * 20


class Deployment:
    """A root, one platform, and the policy that `devnet up` writes for them."""

    def __init__(self, folder: Path, chain_id: int = 31337) -> None:
        self.chain_id = chain_id
        self.root = make_root(folder / "root", now=NOW).read_bytes()
        issue_platform(folder / "root", folder / "platform", name="platform 1", now=NOW)
        self.platform = folder / "platform"
        self.policy = development(31337, {OPERATOR: "operator"}, {measurement_id(DEV): "dev"}, self.root)

    def attester(self, measurement: bytes = DEV) -> SimAttester:
        return SimAttester.load(self.platform, measurement, lambda: NOW)

    def binding(self, nonce: bytes = b"x" * 32, **changes: object) -> Binding:
        made = Binding(b"s" * 20, b"n" * 32, nonce, self.chain_id, b"r" * 20, b"b" * 32, 1, OPERATOR, NO_CONFIGURATION)
        return dataclasses.replace(made, **changes)  # type: ignore[arg-type]

    def claims(self, raw: bytes, root: bytes | None = None) -> Claims:
        verifiers = hardware().plus(SimVerifier(root or self.root))
        return verify(evidence.parse(raw), verifiers, now=NOW, collateral=NO_COLLATERAL)

    def judge(
        self, raw: bytes, policy: Policy | None = None, nonce: bytes = b"x" * 32, registered: bytes = DEV
    ) -> Appraisal:
        claims = self.claims(raw)
        expected = Expected(
            b"n" * 32, OPERATOR, b"s" * 20, 1, self.chain_id, b"r" * 20, nonce, "simulated",
            measurement_id(registered), claims.platform_id, True, NOW + 60, NOW,
        )  # fmt: skip
        return appraise(policy or self.policy, claims, expected, now=NOW)


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    return Deployment(tmp_path_factory.mktemp("sim"))


def test_the_development_policy_accepts_it_and_it_says_what_it_is(deployment: Deployment) -> None:
    raw = deployment.attester().collect(deployment.binding())
    verdict = deployment.judge(raw)
    assert isinstance(verdict, Accepted)
    assert (verdict.claims.vendor, verdict.claims.tier, verdict.claims.report.signer) == (
        "simulated",
        Tier.SIMULATED,
        "SIMULATED - NOT A TEE",
    )


def test_the_default_policy_refuses_it(deployment: Deployment) -> None:
    raw = deployment.attester().collect(deployment.binding())
    assert deployment.judge(raw, NOBODY).codes == (Refusal.OPERATOR,)


def test_a_policy_that_does_not_allow_simulated_refuses_it(deployment: Deployment) -> None:
    policy = dataclasses.replace(deployment.policy, allow_simulated=False, simulated_root=None)
    raw = deployment.attester().collect(deployment.binding())
    assert Refusal.SIMULATED in deployment.judge(raw, policy).codes


def test_it_is_refused_on_another_chain_even_when_the_policy_object_was_forced(tmp_path: Path) -> None:
    real = Deployment(tmp_path, chain_id=1)
    forced = dataclasses.replace(real.policy)
    object.__setattr__(forced, "chain_id", 1)  # no constructor gives this
    raw = real.attester().collect(real.binding())
    assert Refusal.SIMULATED in real.judge(raw, forced).codes


def test_without_the_simulators_verifier_the_type_is_unknown(deployment: Deployment) -> None:
    raw = deployment.attester().collect(deployment.binding())
    with pytest.raises(EvidenceRefused) as caught:
        verify(evidence.parse(raw), hardware(), now=NOW, collateral=NO_COLLATERAL)
    assert caught.value.refusal is Refusal.VENDOR


def test_hardware_verifiers_hold_no_simulator() -> None:
    assert KIND not in hardware().kinds


def test_an_unlisted_measurement_is_refused_by_code(deployment: Deployment) -> None:
    other = measurement_of("unlisted")
    raw = deployment.attester(other).collect(deployment.binding())
    assert deployment.judge(raw, registered=other).codes == (Refusal.MEASUREMENT,)
    assert deployment.judge(raw).codes == (Refusal.NOT_REGISTERED, Refusal.MEASUREMENT)


def test_a_replayed_report_is_refused_by_code(deployment: Deployment) -> None:
    replaying = ReplayingAttester(deployment.attester())
    recorded = replaying.collect(deployment.binding(REGISTRATION_NONCE))
    raw = replaying.collect(deployment.binding())
    assert raw == recorded
    assert deployment.judge(raw).codes == (Refusal.NONCE,)


def test_evidence_of_another_node_is_refused_by_code(deployment: Deployment) -> None:
    raw = deployment.attester().collect(deployment.binding(node_id=b"N" * 32, signing_address=b"S" * 20))
    assert deployment.judge(raw).codes == (Refusal.BINDING,)


def test_a_report_under_another_binding_is_refused(deployment: Deployment) -> None:
    claimed = evidence.parse(deployment.attester().collect(deployment.binding()))
    moved = evidence.build(KIND, claimed.blob, claimed.aux, deployment.binding(node_id=b"N" * 32))
    with pytest.raises(EvidenceRefused) as caught:
        deployment.claims(moved)
    assert caught.value.refusal is Refusal.BINDING


def test_another_deployments_root_is_refused(deployment: Deployment, tmp_path: Path) -> None:
    other = Deployment(tmp_path)
    raw = other.attester().collect(other.binding())
    with pytest.raises(EvidenceRefused) as caught:
        deployment.claims(raw)
    assert caught.value.refusal is Refusal.CHAIN
    assert other.judge(raw, deployment.policy).codes == (Refusal.ROOT,)


def test_debug_is_refused(deployment: Deployment) -> None:
    key = pki.load_key(deployment.platform / pki.PLATFORM_KEY)
    certificate = pki.load_certificate(deployment.platform / pki.PLATFORM_CERTIFICATE)
    raw = SimAttester(key, certificate, DEV, lambda: NOW, debug=True).collect(deployment.binding())
    assert deployment.judge(raw).codes == (Refusal.DEBUG,)


def test_every_flipped_byte_is_refused(deployment: Deployment) -> None:
    good = evidence.parse(deployment.attester().collect(deployment.binding()))
    verifier = SimVerifier(deployment.root)
    for at in range(len(good.blob)):
        bad = good.blob[:at] + bytes([good.blob[at] ^ 1]) + good.blob[at + 1 :]
        with pytest.raises(EvidenceRefused):
            verifier.verify(ClaimedEvidence(KIND, bad, good.aux, good.binding, ()), now=NOW, collateral=NO_COLLATERAL)


def test_a_foreign_signer_an_authority_and_old_certificates(deployment: Deployment) -> None:
    good = evidence.parse(deployment.attester().collect(deployment.binding()))
    verifier = SimVerifier(deployment.root)

    def refusal(aux: dict[str, bytes], blob: bytes = good.blob, now: int = NOW) -> Refusal:
        item = ClaimedEvidence(KIND, blob, aux, good.binding, ())
        with pytest.raises(EvidenceRefused) as caught:
            verifier.verify(item, now=now, collateral=NO_COLLATERAL)
        return caught.value.refusal

    root_der = pki.parse_certificate(deployment.root).public_bytes(pki.serialization.Encoding.DER)
    assert refusal({}) is Refusal.FORMAT
    assert refusal({"signer": b"junk"}) is Refusal.FORMAT
    assert refusal({"signer": root_der}) is Refusal.CHAIN
    assert refusal(dict(good.aux), now=NOW + 11 * 365 * 86_400) is Refusal.EXPIRED
    assert refusal(dict(good.aux), now=NOW - 7200) is Refusal.EXPIRED
    for blob in (b"", cbor.encode({1: b"", 2: b""}), cbor.encode({1: 1, 2: 2}), cbor.encode({1: b"x"})):
        assert refusal(dict(good.aux), blob) is Refusal.FORMAT


def test_root_and_platform_are_kept_and_key_files_are_private(deployment: Deployment) -> None:
    folder = deployment.platform.parent
    before = (folder / "platform" / pki.PLATFORM_KEY).read_bytes()
    assert make_root(folder / "root", now=NOW + 5).read_bytes() == deployment.root
    issue_platform(folder / "root", folder / "platform", name="again", now=NOW)
    assert (folder / "platform" / pki.PLATFORM_KEY).read_bytes() == before
    for path in (folder / "root" / pki.ROOT_KEY, folder / "platform" / pki.PLATFORM_KEY):
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600


def test_files_that_are_no_keys_or_roots(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        pki.load_key(tmp_path / "absent")
    assert caught.value.code == "simulator.key"
    rsa_like = ec.generate_private_key(ec.SECP256R1())
    pem = rsa_like.private_bytes(
        pki.serialization.Encoding.PEM, pki.serialization.PrivateFormat.PKCS8, pki.serialization.NoEncryption()
    )
    (tmp_path / "wrong").write_bytes(pem)
    with pytest.raises(InputError):
        pki.load_key(tmp_path / "wrong")
    with pytest.raises(InputError) as caught:
        pki.load_certificate(tmp_path / "absent")
    assert caught.value.code == "simulator.root"
    with pytest.raises(InputError):
        SimVerifier(b"junk")


@pytest.mark.needs_vectors
def test_a_root_that_does_not_say_simulated_is_no_root(vectors_dir: Path) -> None:
    real = vectors_dir.parent / "attestation" / "nitro" / "aws-nitro-root-g1.pem"
    with pytest.raises(InputError) as caught:
        SimVerifier(real.read_bytes())
    assert caught.value.code == "simulator.root"
