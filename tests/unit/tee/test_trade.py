"""The whole life of a share in its TEE nodes: key, accept, cfrag, opening (protocol §4.2 to §5)."""

from __future__ import annotations

from dataclasses import replace

from asset_bridge.attestation.choose import choose_nodes
from asset_bridge.chain import messages
from asset_bridge.chain.ids import cfrag_digest
from asset_bridge.keys.secp256k1 import Point
from asset_bridge.reencryption import Capsule, CapsuleFrag, half_open, open_package
from asset_bridge.trade.evidence import OrderKey, challenge_all, take_order_key
from tests.unit.tee.market import Market


def test_from_request_to_opened_package(market: Market) -> None:
    order_id = market.request()
    pairs = [(tee.core, market.twin.node(tee.registered.node_id)) for tee in market.tees]
    choice = choose_nodes(market.policy(), challenge_all(pairs, market.examiner()), 2, 3)
    for (core, node), accepted in zip(pairs, choice.chosen, strict=True):
        take_order_key(core, accepted, node, order_id, reader=market.twin, now=market.now)
    market.pay(market.approve(order_id))
    order, asset = market.twin.order(order_id), market.twin.asset(market.asset_id)
    capsule = Capsule.from_bytes(asset.listing.capsule)
    signer, pk_a = Point.from_bytes(asset.listing.kfrag_signer), Point.from_bytes(asset.listing.pk_a)
    pk_b = Point.from_bytes(order.terms.pk_b)
    found = []
    for index, tee in enumerate(market.tees):
        cfrag, receipt, acks = tee.core.reencrypt(order_id, market.fetch(order_id))
        frag = CapsuleFrag.from_bytes(cfrag)
        found.append(frag.verify(capsule=capsule, signer=signer, pk_a=pk_a, pk_b=pk_b))
        assert (receipt.slot, receipt.generation, len(acks)) == (index, 1, 2)
        assert receipt.cfrag_digest == cfrag_digest(frag.kfrag_id, frag.e1.to_bytes(), frag.v1.to_bytes())
        digest = messages.receipt_digest(market.domain, order_id, receipt)
        node = market.twin.node(tee.registered.node_id)
        assert messages.recover(digest, receipt.signature) == node.current.signing_address
    assert order.approval is not None
    half = half_open(market.receiving, Point.from_bytes(order.approval.precursor))
    for pair in (found[:2], found[1:], found[::2]):
        opened = open_package(half, pk_a=pk_a, capsule=capsule, cfrags=pair, threshold=2, sealed=asset.listing.package)
        assert opened == b"k" * 97


def test_delivery_is_recorded_and_the_same_cfrag_is_served_again_until_the_end(market: Market) -> None:
    order_id = market.paid()
    first = [tee.core.reencrypt(order_id, market.fetch(order_id)) for tee in market.tees]
    market.deliver(order_id)
    market.acks.asked.clear()
    again = market.tees[0].core.reencrypt(order_id, market.fetch(order_id))
    assert again[:2] == first[0][:2]
    assert again[2] == ()  # its receipt is in a finalized block: no ack is needed
    assert market.acks.asked == []
    order = market.twin.order(order_id)
    market.twin.advance_to(order.deliver_by + 1000)
    market.twin.mine(2)
    assert market.tees[0].core.reencrypt(order_id, market.fetch(order_id))[0] == first[0][0]


def test_accept_is_what_the_contract_takes_and_says_the_same_twice(market: Market) -> None:
    order_id = market.approve(market.request())
    assert market.accepts(order_id) == market.accepts(order_id)
    market.pay(order_id)
    assert len(market.twin.order(order_id).accepted) == 3


def test_an_order_key_is_given_again_while_it_is_unused(market: Market) -> None:
    order_id = market.request()
    core = market.tees[0].core
    first = core.order_key(order_id)
    assert core.order_key(order_id) == first
    market.twin.advance(500)
    assert core.order_key(order_id) == first
    market.approve(order_id)
    core.accept(order_id, 1, 0)
    assert core.order_key(order_id) != first  # that one now has a slot: a reseal gets a fresh one
    assert core.info()["order_keys"] == 2


def test_reseal_to_a_node_that_started_anew(market: Market) -> None:
    order_id = market.paid()
    before = market.tees[2]
    market.twin.mine(1)
    anew = market.tee("tee 2")
    market.tees[2] = anew
    assert (anew.registered.node_id, anew.registered.epoch) == (before.registered.node_id, 2)
    market.twin.mine(2)
    approval = market.twin.order(order_id).approval
    assert approval is not None
    key = OrderKey.parse(anew.core.order_key(order_id))
    replacement = market.slot(order_id, 1, 2, market.shares(order_id)[2], key)
    accept = anew.core.accept_reseal(order_id, 1, 2, replacement)
    market.provider.reseal(order_id, 2, replace(approval, slots=(replacement,)), accept)
    market.twin.mine(2)
    cfrag, receipt, _acks = anew.core.reencrypt(order_id, market.fetch(order_id))
    assert (receipt.epoch, len(cfrag)) == (2, 359)


def test_info_and_names_say_what_it_is(market: Market) -> None:
    info = market.tees[0].core.info()
    assert (info["kind"], info["tee"], info["chain_view"], info["epoch"]) == ("tee", "simulated", "operator", 1)
    node = market.twin.node(market.tees[0].registered.node_id)
    assert info["measurement"] == "0x" + node.current.measurement_id.hex()
    assert market.tees[0].core.registered()
