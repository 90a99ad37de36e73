"""A node's registration and renewal, and a provider's challenge (protocol §2 and §4.2)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from asset_bridge.attestation.appraise import Accepted, Rejected
from asset_bridge.attestation.binding import Binding
from asset_bridge.attestation.configuration import ChainConfiguration, Endpoint
from asset_bridge.attestation.policy import NOBODY
from asset_bridge.attestation.refusal import EvidenceRefused, Refusal
from asset_bridge.attestation.verifiers import hardware
from asset_bridge.chain.keys import address_bytes
from asset_bridge.chain.messages import order_key_digest
from asset_bridge.chain.records import ZERO32, Node, Vendor
from asset_bridge.errors import InputError, TamperedError, UnavailableError
from asset_bridge.trade import evidence as story
from asset_bridge.trade.evidence import OrderKey, challenge, challenge_all, take_order_key
from asset_bridge.trade.register import next_epoch, vendor_of
from asset_bridge_simulator import ReplayingAttester, SimAttester, measurement_of
from tests.unit.tee.market import DEV, Market


def judged(market: Market, index: int = 0) -> Accepted | Rejected:
    tee = market.tees[index]
    return challenge(tee.core, market.twin.node(tee.registered.node_id), market.examiner())


def test_registered_nodes_are_live_and_accepted_by_the_development_policy(market: Market) -> None:
    node = market.twin.node(market.tees[0].registered.node_id)
    assert (node.live, node.current.vendor, node.current.epoch) == (True, Vendor.SIMULATED, 1)
    assert isinstance(judged(market), Accepted)


def test_the_default_policy_refuses_every_node(market: Market) -> None:
    node = market.twin.node(market.tees[0].registered.node_id)
    verdict = challenge(market.tees[0].core, node, market.examiner(NOBODY))
    assert verdict.codes == (Refusal.OPERATOR,)


def test_the_fourth_and_fifth_node_register_and_are_refused_by_code(market: Market) -> None:
    """The demo's dishonest nodes: an unlisted measurement, and a replayed report."""
    good = market.setup("tee 3").attester
    assert isinstance(good, SimAttester)
    unlisted = market.tee(
        "tee 3", attester=SimAttester.load(market.folder / "tee 3", measurement_of("other"), market.clock)
    )
    replay = market.setup("tee 4").attester
    assert isinstance(replay, SimAttester)
    replaying = market.tee("tee 4", attester=ReplayingAttester(replay))
    market.tees += [unlisted, replaying]
    assert not market.twin.node(unlisted.registered.node_id).live
    assert judged(market, 3).codes == (Refusal.NOT_REGISTERED, Refusal.MEASUREMENT)
    assert judged(market, 4).codes == (Refusal.NONCE,)


def test_evidence_of_another_node_is_refused(market: Market) -> None:
    node = market.twin.node(market.tees[0].registered.node_id)
    verdict = challenge(market.tees[1].core, node, market.examiner())
    assert Refusal.BINDING in verdict.codes


def test_a_start_is_a_new_epoch_and_old_keys_are_refused(market: Market) -> None:
    before = market.tees[0]
    anew = market.tee("tee 0")
    assert (anew.registered.node_id, anew.registered.epoch) == (before.registered.node_id, 2)
    node = market.twin.node(anew.registered.node_id)
    assert [epoch.epoch for epoch in node.epochs] == [1, 2]
    assert challenge(before.core, node, market.examiner()).codes == (Refusal.BINDING,)
    assert isinstance(challenge(anew.core, node, market.examiner()), Accepted)


def test_a_renewal_keeps_key_and_epoch_and_serves_on(market: Market) -> None:
    order_id = market.paid()
    tee = market.tees[0]
    assert tee.renew_if_due() is None
    market.twin.advance(300)
    old = market.twin.node(tee.registered.node_id).current
    tee._setup = replace(tee._setup, clock=lambda: old.expires_at - 100.0)
    renewed = tee.renew_if_due()
    assert renewed is not None
    assert renewed.epoch == 1
    market.twin.mine(2)
    assert market.twin.node(renewed.node_id).current.expires_at > old.expires_at
    tee.core.reencrypt(order_id, market.fetch(order_id))


def test_a_renewal_that_fails_is_tried_again_later(market: Market) -> None:
    tee = market.tees[0]
    tee._setup = replace(tee._setup, clock=lambda: 10.0**10, verifiers=hardware())
    tee._registration = replace(tee._registration, verifiers=hardware())
    assert tee.renew_if_due() is None


def test_a_node_whose_own_evidence_does_not_verify_pays_nothing(market: Market) -> None:
    spent = market.twin.coins_wei(market.key("tee 3").address)
    with pytest.raises(EvidenceRefused) as caught:
        market.tee("tee 3", verifiers=hardware())
    assert caught.value.refusal is Refusal.VENDOR
    assert market.twin.coins_wei(market.key("tee 3").address) == spent + 10**20  # only the fund of the fixture


def test_registration_ends_after_a_day_at_the_latest(market: Market) -> None:
    tee = market.tee("tee 3", lifetime_seconds=10**6)
    current = market.twin.node(tee.registered.node_id).current
    assert current.expires_at <= market.now + 86_400
    short = market.tee("tee 4", lifetime_seconds=100)
    assert market.twin.node(short.registered.node_id).current.expires_at <= market.now + 100


def test_an_expired_registration_is_refused(market: Market) -> None:
    market.twin.advance(86_500)
    assert set(judged(market).codes) == {Refusal.NOT_REGISTERED, Refusal.EXPIRED}


def test_another_process_took_the_epoch(market: Market) -> None:
    class Racing:
        """Reads the registry before, registers after, another start of the same node."""

        kind, tee = "asset-bridge-sim", "simulated"

        def __init__(self, inner: SimAttester) -> None:
            self.inner, self.raced = inner, False

        def collect(self, binding: Binding, aux: object = None) -> bytes:
            if not self.raced:
                self.raced = True
                market.tee("tee 0")
            return self.inner.collect(binding)

    inner = market.setup("tee 0").attester
    assert isinstance(inner, SimAttester)
    with pytest.raises(UnavailableError) as caught:
        market.tee("tee 0", attester=Racing(inner))
    assert caught.value.code == "trade.epoch-taken"


def test_the_vendors_of_the_registry() -> None:
    assert vendor_of("sev-snp") is Vendor.SEV_SNP
    for name in ("sgx", "", "acme"):
        with pytest.raises(InputError) as caught:
            vendor_of(name)
        assert caught.value.code == "trade.vendor"


def test_the_next_epoch(market: Market) -> None:
    node = market.twin.node(market.tees[0].registered.node_id)
    assert next_epoch(market.twin, ZERO32, "0x") == 1
    assert next_epoch(market.twin, node.node_id, node.current.signing_address) == 1
    assert next_epoch(market.twin, node.node_id, market.provider.address) == 2


def test_an_attested_configuration_is_seen_by_the_provider(market: Market) -> None:
    endpoints = (Endpoint("https://a.example", b"1" * 32), Endpoint("https://b.example", b"2" * 32))
    twin = market.twin
    configuration = ChainConfiguration(
        twin.chain_id, address_bytes(twin.registry), address_bytes(twin.ledger), (address_bytes(twin.exchange),),
        "depth 2", endpoints, 0, twin.block().hash,
    )  # fmt: skip
    tee = market.tee("tee 3", configuration=configuration)
    assert tee.core.chain_view == "attested"
    node = twin.node(tee.registered.node_id)
    strict = replace(market.policy(), chain_view="attested", endpoints=endpoints)
    assert isinstance(challenge(tee.core, node, market.examiner(strict)), Accepted)
    assert judged(market).codes == ()
    plain = twin.node(market.tees[0].registered.node_id)
    assert challenge(market.tees[0].core, plain, market.examiner(strict)).codes == (Refusal.CHAIN_VIEW,)
    with pytest.raises(InputError) as caught:
        market.tee("tee 4", configuration=replace(configuration, exchanges=(bytes(20),)))
    assert caught.value.code == "tee.exchange"


# ── a provider's challenge and the key it takes ──
class Answers:
    """A TEE node that answers what it is told to."""

    name = "fixed"

    def __init__(self, evidence: Callable[[bytes], bytes], key: bytes = b"") -> None:
        self._evidence, self._key = evidence, key

    def evidence(self, nonce: bytes) -> bytes:
        return self._evidence(nonce)

    def order_key(self, order_id: bytes) -> bytes:
        return self._key


def silent(_nonce: bytes) -> bytes:
    raise UnavailableError("transport.down", "it is down")


def test_silence_and_junk_are_verdicts_and_do_not_stop_the_others(market: Market) -> None:
    node: Node = market.twin.node(market.tees[0].registered.node_id)
    nodes = [(Answers(silent), node), (Answers(lambda nonce: b"junk"), node), (market.tees[0].core, node)]
    verdicts = challenge_all(nodes, market.examiner())  # type: ignore[arg-type]
    assert [verdict.codes for verdict in verdicts] == [(Refusal.NO_ANSWER,), (Refusal.FORMAT,), ()]


def test_a_slow_answer_is_stale(market: Market) -> None:
    tee = market.tees[0]

    def slow(nonce: bytes) -> bytes:
        market.twin.advance(61)
        return tee.core.evidence(nonce)

    node = market.twin.node(tee.registered.node_id)
    assert challenge(Answers(slow), node, market.examiner()).codes == (Refusal.STALE,)  # type: ignore[arg-type]


def test_order_keys_are_checked(market: Market) -> None:
    order_id = market.request()
    tee, verdict = market.tees[0], judged(market)
    node = market.twin.node(tee.registered.node_id)
    assert isinstance(verdict, Accepted)
    good = OrderKey.parse(tee.core.order_key(order_id))
    market.tees[1].core.order_key(order_id)

    def taken(raw: bytes) -> OrderKey:
        return take_order_key(Answers(silent, raw), verdict, node, order_id, reader=market.twin, now=market.now)  # type: ignore[arg-type]

    assert taken(good.encode()) == good
    other_order = tee.core.order_key(market.request())
    for raw in (
        b"",
        good.encode() + b"\0",
        replace(good, node_id=ZERO32).encode(),
        replace(good, epoch=2).encode(),
        replace(good, expires_at=market.now + 60).encode(),
        replace(good, expires_at=market.now + 90_000).encode(),
        replace(good, expires_at=good.expires_at - 1).encode(),
        replace(good, kem_key=bytes(31) + b"\x01").encode(),
        replace(good, signature=bytes(65)).encode(),
        replace(good, signature=bytes([good.signature[0] ^ 1]) + good.signature[1:]).encode(),
        other_order,
        market.tees[1].core.order_key(order_id),
    ):
        with pytest.raises(TamperedError) as caught:
            taken(raw)
        assert caught.value.code == "trade.order-key"
    for expires_at in (market.now + 100, market.now + 90_000):  # signed by the node, and still too soon or too late
        digest = order_key_digest(market.domain, order_id, good.node_id, good.epoch, good.kem_key_digest, expires_at)
        signature = tee.core._identity.key.sign_digest(digest)
        with pytest.raises(TamperedError):
            taken(replace(good, expires_at=expires_at, signature=signature).encode())
    stranger = replace(verdict, node_id=ZERO32)
    with pytest.raises(TamperedError):
        take_order_key(Answers(silent, good.encode()), stranger, node, order_id, reader=market.twin, now=market.now)  # type: ignore[arg-type]


def test_every_vendor_has_a_name() -> None:
    assert set(story.VENDOR_NAMES) == set(Vendor)
    assert measurement_of("asset-bridge-dev") == DEV
