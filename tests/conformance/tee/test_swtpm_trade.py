"""The live path: a TEE node whose evidence comes from a software TPM takes part in a whole trade, and each abuse has its own code.

swtpm, an EK certificate under the test root, credential activation, a quote over nonce and keys, sealing to a register. A TPM proves how a
machine booted; under a simulator's root it proves nothing, and every answer says `simulated`.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from asset_bridge.agent.duties import Agent
from asset_bridge.attestation import cbor, evidence
from asset_bridge.attestation.appraise import Accepted
from asset_bridge.attestation.binding import Binding
from asset_bridge.attestation.claims import Tier, measurement_id
from asset_bridge.attestation.policy import AgentRules, Policy, VendorRule
from asset_bridge.attestation.refusal import EvidenceRefused, Refusal
from asset_bridge.attestation.verifiers import hardware, tpm
from asset_bridge.attestation.verifiers.tpm_quote import MEASURED_PCRS
from asset_bridge.attestation.verify import NO_COLLATERAL, Claims, verify
from asset_bridge.attesters.tpm import Tools, TpmAttester
from asset_bridge.chain.records import At, OrderState, Vendor
from asset_bridge.cli.agent_cmd import DEFAULT_EVERY_SECONDS
from asset_bridge.errors import BridgeError, RefusedError
from asset_bridge.trade.desk import Desk
from asset_bridge.trade.evidence import OrderKey, challenge
from asset_bridge.trade.publish import publish
from asset_bridge_simulator import Enrolment, ReplayingAttester, make_root
from tests.support.swtpm import SoftwareTpm, obtain
from tests.support.trade import Tee, make_scene, plan_of
from tests.support.trade_steps import Trade, make_data
from tests.unit.attestation import samples
from tests.unit.tee.market import GOVERNOR, Market

FRESH = measurement_id("tpm2", {f"pcr{index}": bytes(32) for index in MEASURED_PCRS})
"""swtpm measures no firmware: all its registers are zero."""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("root")
    make_root(folder, now=samples.NOW)
    return folder


@pytest.fixture(scope="module")
def software(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SoftwareTpm]:
    reason = obtain()
    if reason:
        pytest.skip(reason)
    made = SoftwareTpm(tmp_path_factory.mktemp("tpm"), root)
    yield made
    made.stop()


@pytest.fixture
def market(root: Path, tmp_path: Path) -> Market:
    shutil.copytree(root, tmp_path / "root")
    made = Market(tmp_path, tees=2, measured=(FRESH,))
    made.verifiers = made.verifiers.plus(tpm(simulated_roots=[der(root)]))
    return made


def der(root: Path) -> bytes:
    return x509.load_pem_x509_certificate((root / "root.cert.pem").read_bytes()).public_bytes(Encoding.DER)


def attester(software: SoftwareTpm, root: Path, clock: Callable[[], float] = lambda: samples.NOW) -> TpmAttester:
    return TpmAttester(software.tcti, Enrolment(root, os.urandom, clock), simulated=True)


def joined(market: Market, software: SoftwareTpm, root: Path, **changes: int) -> Market:
    """The third node is one with a TPM."""
    market.tees.append(market.tee("tee 2", attester=attester(software, root, market.clock), **changes))
    market.twin.mine(2)
    return market


def verdict(market: Market, policy: Policy | None = None) -> Accepted | tuple[Refusal, ...]:
    tee = market.tees[2]
    found = challenge(tee.core, market.twin.node(tee.registered.node_id), market.examiner(policy))
    return found if isinstance(found, Accepted) else found.codes


def test_a_trade_with_a_tpm_node(market: Market, software: SoftwareTpm, root: Path) -> None:
    joined(market, software, root)
    node = market.twin.node(market.tees[2].registered.node_id)
    assert (node.live, node.current.vendor, node.current.measurement_id) == (True, Vendor.SIMULATED, FRESH)
    found = verdict(market)
    assert isinstance(found, Accepted)
    assert (found.claims.kind, found.claims.tier, found.claims.vendor) == ("tpm2", Tier.SIMULATED, "simulated")
    assert market.tees[2].core.tee == "simulated"
    order_id = market.paid()
    cfrag, receipt, acks = market.tees[2].core.reencrypt(order_id, market.fetch(order_id))
    assert (len(cfrag), receipt.slot, len(acks)) == (359, 2, 2)
    market.deliver(order_id)


def test_policies_that_do_not_want_it(market: Market, software: SoftwareTpm, root: Path) -> None:
    joined(market, software, root)
    good = market.policy()
    assert verdict(market, replace(good, measurements={b"x" * 32: "other"})) == (Refusal.MEASUREMENT,)
    strict = replace(good, allow_simulated=False, simulated_root=None)
    assert verdict(market, strict) == (Refusal.SIMULATED,)
    assert verdict(market, replace(strict, allow_boot_only=True)) == (Refusal.SIMULATED,)
    other = make_root(market.folder / "other", now=market.now).read_bytes()
    assert verdict(market, replace(good, simulated_root=other)) == (Refusal.ROOT,)
    market.verifiers = hardware()
    assert verdict(market) == (Refusal.VENDOR,)
    market.verifiers = hardware().plus(
        tpm(boot_only_roots=[der(root)])
    )  # the same quote, if that root were a TPM maker's
    boot = replace(strict, vendors=(VendorRule("tpm", tcb_statuses=frozenset()),))
    assert Refusal.BOOT_ONLY in (codes := verdict(market, boot))  # type: ignore[operator]
    assert set(codes) == {Refusal.BOOT_ONLY, Refusal.NOT_REGISTERED}  # type: ignore[arg-type]


def test_renewal_expiry_and_a_measurement_that_is_removed(market: Market, software: SoftwareTpm, root: Path) -> None:
    joined(market, software, root, lifetime_seconds=300)
    order_id = market.paid()
    tee, before = market.tees[2], market.twin.node(market.tees[2].registered.node_id).current
    market.twin.advance_to(before.expires_at - 90)
    assert tee.renew_if_due() is not None
    market.twin.mine(2)
    after = market.twin.node(tee.registered.node_id).current
    assert (after.epoch, after.signing_address) == (before.epoch, before.signing_address)
    assert after.evidence_digest != before.evidence_digest
    assert isinstance(verdict(market), Accepted)
    assert tee.core.reencrypt(order_id, market.fetch(order_id))[1].slot == 2
    twin, arguments = market.twin, (int(Vendor.SIMULATED), FRESH)
    twin.execute(GOVERNOR.address, "NodeRegistry", "remove_measurement", arguments, 0, "remove a measurement")
    market.twin.mine(2)
    assert verdict(market) == (Refusal.NOT_REGISTERED,)
    market.twin.advance_to(after.expires_at + 1)
    market.twin.mine(2)
    assert verdict(market) == (Refusal.NOT_REGISTERED, Refusal.EXPIRED)


def test_replayed_evidence_and_its_twin(market: Market, software: SoftwareTpm, root: Path) -> None:
    market.tees.append(market.tee("tee 2", attester=ReplayingAttester(attester(software, root, market.clock))))  # type: ignore[arg-type]
    market.twin.mine(2)
    assert verdict(market) == (Refusal.NONCE,)
    good = attester(software, root).collect(samples.binding(configuration_digest=samples.UNBOUND))
    first, second = checked(good, root), checked(with_twin_signature(good), root)
    assert (first.evidence_digest, first.platform_id) == (second.evidence_digest, second.platform_id)


def checked(raw: bytes, root: Path) -> Claims:
    verifiers = hardware().plus(tpm(simulated_roots=[der(root)]))
    return verify(evidence.parse(raw), verifiers, now=samples.NOW + 5, collateral=NO_COLLATERAL)


def with_twin_signature(raw: bytes) -> bytes:
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    claimed = evidence.parse(raw)
    parts = dict(cbor.decode_map(claimed.blob, {1, 2, 3}))
    signature = parts[2]
    assert isinstance(signature, bytes)
    parts[2] = signature[:32] + (order - int.from_bytes(signature[32:], "big")).to_bytes(32, "big")
    return evidence.build(claimed.kind, cbor.encode(parts), claimed.aux, claimed.binding)


def test_frozen_and_lying_chain_endpoints(market: Market, software: SoftwareTpm, root: Path) -> None:
    joined(market, software, root)
    order_id = market.paid()
    tee, lens = market.tees[2].core, market.lenses[1]
    frozen = market.twin.block()
    lens.block_changes[At.HEAD] = lambda block: frozen
    market.twin.advance(200)
    assert refusal(tee, market, order_id) == "tee.head-stale"
    lens.block_changes.clear()
    market.twin.mine(2)
    lens.order_changes[At.FINAL] = lambda order: replace(order, deliver_by=order.deliver_by + 1)
    assert refusal(tee, market, order_id) == "tee.endpoints-disagree"
    lens.order_changes.clear()
    assert tee.reencrypt(order_id, market.fetch(order_id))[1].slot == 2


def refusal(core: object, market: Market, order_id: bytes) -> str:
    with pytest.raises(BridgeError) as caught:
        core.reencrypt(order_id, market.fetch(order_id))  # type: ignore[attr-defined]
    return caught.value.code


def test_a_killed_node_comes_back_with_new_keys_and_its_share_is_sealed_again(
    market: Market, software: SoftwareTpm, root: Path
) -> None:
    joined(market, software, root)
    order_id = market.paid()
    market.tees.pop()
    joined(
        market, software, root
    )  # another process on the same machine: another attestation key, signing key and epoch
    assert market.tees[2].registered.epoch == 2
    assert refusal(market.tees[2].core, market, order_id) in ("tee.no-slot", "tee.key-destroyed")
    approval = market.twin.order(order_id).approval
    assert approval is not None
    assert isinstance(verdict(market), Accepted)
    key = OrderKey.parse(market.tees[2].core.order_key(order_id))
    replacement = market.slot(order_id, 1, 2, market.shares(order_id)[2], key)
    accept = market.tees[2].core.accept_reseal(order_id, 1, 2, replacement)
    market.provider.reseal(order_id, 2, replace(approval, slots=(replacement,)), accept)
    market.twin.mine(2)
    assert market.tees[2].core.reencrypt(order_id, market.fetch(order_id))[1].epoch == 2
    market.deliver(order_id)


def test_the_agent_seals_the_share_of_a_killed_node_again_within_a_minute(
    software: SoftwareTpm, root: Path, tmp_path: Path
) -> None:
    """A whole trade of data: published, bought, a TPM node killed and started anew, resealed by the provider's agent, opened."""
    scene = make_scene(tmp_path / "scene", root)
    scene.more_verifiers.append(tpm(simulated_roots=[der(root)]))
    scene.measured[FRESH] = "software TPM"
    scene.chain.governor.govern("NodeRegistry", "list_measurement", int(Vendor.SIMULATED), FRESH)
    node = Tee(
        scene.account("operator with a TPM"),
        b"salt of the TPM node".ljust(32, b"."),
        attester(software, root, scene.clock),
    )
    scene.tees[2] = node
    scene.start_tee(node)
    provider, consumer, data = scene.desk("provider"), scene.desk("consumer"), make_data(tmp_path)
    published = publish(provider, plan_of(data), scene.folder_of("provider", "work"))
    scene.chain.mine(3)
    trade = Trade(scene, tmp_path, data, provider, consumer, published)
    trade.request().approve()
    trade.pay()
    approval = scene.chain.order(trade.order_id).approval
    assert approval is not None
    assert node.node_id in [slot.node_id for slot in approval.slots]
    agent, first = Agent(AgentRules()), scene.chain.node(node.node_id).current.epoch

    def turn(who: Desk) -> list[tuple[str, str]]:
        done = [(item.verb, item.code) for item in agent.turn(who, scene.examiner)]
        scene.chain.mine(3)
        return done

    node.core = None  # killed: keys and shares are gone
    assert turn(provider) == []
    began = scene.clock()
    node.attester = attester(software, root, scene.clock)
    scene.start_tee(node)
    assert scene.chain.node(node.node_id).current.epoch == first + 1
    assert turn(provider) == [("reseal", "")]
    assert scene.clock() - began + DEFAULT_EVERY_SECONDS <= 60  # it looks every quarter of a minute
    trade.fetch()
    trade.assert_same()
    assert turn(consumer) == [("record delivery", "")]
    assert scene.chain.order(trade.order_id).state is OrderState.DELIVERED


def test_the_enrolment_authority(software: SoftwareTpm, root: Path, tmp_path: Path) -> None:
    """A credential opens in this TPM for this key only; another root's authority refuses the EK."""

    class Other(Enrolment):
        def challenge(self, ek: bytes, ak_public: bytes):  # type: ignore[no-untyped-def]
            made = super().challenge(ek, ak_public)
            self._asked = dict.fromkeys(self._asked, b"another secret")
            return made

    with pytest.raises(RefusedError) as caught:
        TpmAttester(software.tcti, Other(root, os.urandom, lambda: samples.NOW), simulated=True)
    assert caught.value.code == "simulator.enrolment"
    make_root(tmp_path, now=samples.NOW)
    with pytest.raises(EvidenceRefused) as refused:
        TpmAttester(software.tcti, Enrolment(tmp_path, os.urandom, lambda: samples.NOW), simulated=True)
    assert refused.value.refusal is Refusal.CHAIN


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        (lambda aux: aux.pop("ek"), Refusal.FORMAT),
        (lambda aux: aux.pop("ak"), Refusal.FORMAT),
        (lambda aux: aux.pop("root"), Refusal.FORMAT),
        (lambda aux: aux.pop("ak-public"), Refusal.FORMAT),
        (lambda aux: aux.__setitem__("root", aux["ek"]), Refusal.ROOT),
        (lambda aux: aux.__setitem__("ek", aux["ak"]), Refusal.COLLATERAL_MISMATCH),
        (lambda aux: aux.__setitem__("ak", aux["ek"]), Refusal.COLLATERAL_MISMATCH),
        (lambda aux: aux.__setitem__("ek", aux["root"]), Refusal.CHAIN),
        (lambda aux: aux.__setitem__("ak-public", aux["ak-public"][:-1]), Refusal.FORMAT),
        (
            lambda aux: aux.__setitem__("ak-public", aux["ak-public"][:4] + b"\0\6\0\x72" + aux["ak-public"][8:]),
            Refusal.FORMAT,
        ),
        (lambda aux: aux.__setitem__("ak-public", aux["ak-public"][:-1] + b"\0"), Refusal.FORMAT),
    ],
)
def test_tampered_evidence(
    software: SoftwareTpm, root: Path, change: Callable[[dict[str, bytes]], object], refusal: Refusal
) -> None:
    good = evidence.parse(recorded_once(software, root))
    aux = dict(good.aux)
    change(aux)
    with pytest.raises(EvidenceRefused) as caught:
        checked(evidence.build(good.kind, good.blob, aux, good.binding), root)
    assert caught.value.refusal is refusal


_ONCE: dict[str, bytes] = {}


def recorded_once(software: SoftwareTpm, root: Path) -> bytes:
    if software.tcti not in _ONCE:
        _ONCE[software.tcti] = attester(software, root).collect(samples.binding(configuration_digest=samples.UNBOUND))
    return _ONCE[software.tcti]


def test_every_flipped_bit_of_quote_signature_and_key_is_refused(software: SoftwareTpm, root: Path) -> None:
    good = evidence.parse(recorded_once(software, root))
    fields = dict(cbor.decode_map(good.blob, {1, 2, 3}))
    for number in (1, 2):
        data = fields[number]
        assert isinstance(data, bytes)
        for at in range(len(data)):
            flipped = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
            blob = cbor.encode({**fields, number: flipped})
            with pytest.raises(EvidenceRefused) as caught:
                checked(evidence.build(good.kind, blob, good.aux, good.binding), root)
            assert caught.value.refusal is Refusal.SIGNATURE
    public = good.aux["ak-public"]
    for at in range(len(public)):
        aux = {**good.aux, "ak-public": public[:at] + bytes([public[at] ^ 1]) + public[at + 1 :]}
        with pytest.raises(EvidenceRefused):
            checked(evidence.build(good.kind, good.blob, aux, good.binding), root)


def test_another_binding_is_refused(software: SoftwareTpm, root: Path) -> None:
    good = evidence.parse(recorded_once(software, root))
    other: Binding = replace(good.binding, nonce=b"y" * 32)
    with pytest.raises(EvidenceRefused) as caught:
        checked(evidence.build(good.kind, good.blob, good.aux, other), root)
    assert caught.value.refusal is Refusal.BINDING


def test_a_secret_sealed_to_a_register_opens_only_before_it_grows(
    software: SoftwareTpm, root: Path, tmp_path: Path
) -> None:
    """What booted otherwise cannot open it; and the node's own measurement changes with the register."""
    tools = Tools(software.tcti, tmp_path)
    before = checked(attester(software, root).collect(samples.binding(configuration_digest=samples.UNBOUND)), root)
    assert before.measurement_id == FRESH
    tools.flush()
    tools.run("createprimary", "-C o -c primary.ctx -Q")
    tools.run("createpolicy", "--policy-pcr -l sha256:11 -L policy -Q")
    tools.write("secret", b"32 bytes that only this boot sees")
    tools.run("create", "-C primary.ctx -L policy -i secret -u seal.pub -r seal.priv -Q")
    tools.flush()
    tools.run("load", "-C primary.ctx -u seal.pub -r seal.priv -c seal.ctx -Q")
    tools.flush()
    assert tools.run("unseal", "-c seal.ctx -p pcr:sha256:11") == b"32 bytes that only this boot sees"
    tools.flush()
    tools.run("pcrextend", "11:sha256=" + "ab" * 32)
    with pytest.raises(BridgeError) as caught:
        tools.run("unseal", "-c seal.ctx -p pcr:sha256:11")
    assert caught.value.code == "attesters.device"
    tools.flush()
    after = checked(attester(software, root).collect(samples.binding(configuration_digest=samples.UNBOUND)), root)
    assert after.measurement_id != FRESH
    assert after.platform_id == before.platform_id
