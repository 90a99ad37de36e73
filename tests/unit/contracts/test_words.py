"""Packed words field by field: what a call does not name stays, what it replaces is gone, and what an event says is so."""

from __future__ import annotations

from collections.abc import Iterator

import boa
import pytest
from eth_hash.auto import keccak

from tests.unit.contracts.challenge_world import DEPOSIT, ChallengeWorld
from tests.unit.contracts.test_grants import consent_fields, destroyed, regenerate_arguments, reseal
from tests.unit.contracts.world import DAY, LIGHT, STORAGE, TEE, ZERO, Order, Role, World, account_of, refuses

START_ODD = 2_000_000_001


@pytest.fixture
def challenges(true_world: ChallengeWorld) -> Iterator[ChallengeWorld]:
    with true_world.untouched():
        yield true_world


def deadline_and_flags(world: World, order: Order) -> tuple[str, int, int]:
    """State, deadline, and the flags with the paid bit."""
    status = world.status(order)
    return world.state(order), status >> 32, status & 496


def logged(contract: object) -> dict[str, object]:
    """The last call's events by name."""
    return {type(event).__name__: event for event in contract.get_logs()}  # type: ignore[attr-defined]


def test_a_final_state_has_no_deadline_and_keeps_its_flags(world: World) -> None:
    asset, me = world.publish(), world.consumer.address
    denied, cancelled, expired, revoked = (world.request(asset) for _ in range(4))
    reply = (bytes(32), 0, b"")
    world.grants.deny(denied.order_id, denied.terms, denied.card, *reply, sender=world.provider.address)
    world.exchange.cancel(cancelled.order_id, cancelled.terms, cancelled.card, bytes(32), b"", sender=me)
    world.revoke(world.approve(revoked))
    settled, refunded = world.deliver(), world.pay()
    world.settle(settled)
    assert logged(world.exchange)["Settled"].accepted  # type: ignore[attr-defined]
    world.move_to(world.deadline(refunded) + world.grace)
    world.refund(refunded)
    assert not logged(world.exchange)["Refunded"].agreed  # type: ignore[attr-defined]
    world.exchange.expire(expired.order_id, sender=world.stranger.address)
    for order, state in ((denied, "denied"), (cancelled, "cancelled"), (expired, "expired"), (revoked, "revoked")):
        assert deadline_and_flags(world, order) == (state, 0, 0)
    for order, state in ((settled, "settled"), (refunded, "refunded")):
        assert deadline_and_flags(world, order) == (state, 0, 256)


def test_events_say_who_ended_an_order(world: World) -> None:
    order, late, at_once = world.pay(), world.deliver(), world.pay()
    signed = [
        world.authority(who, "AgreeRefund", world.exchange, order=order.order_id)
        for who in (world.provider, world.consumer)
    ]
    preimages = (order.order_id, order.terms, order.card, order.table_hash, order.progress_hash)
    world.exchange.agree_refund(*preimages, *signed, sender=world.stranger.address)
    event = logged(world.exchange)["Refunded"]
    assert (event.amount, event.agreed) == (order.terms[5], True)  # type: ignore[attr-defined]
    world.accept_receipts(at_once)
    assert logged(world.exchange)["Settled"].accepted  # type: ignore[attr-defined]
    world.move_to(world.deadline(late))
    world.settle(late, sender=world.stranger)
    assert not logged(world.exchange)["Settled"].accepted  # type: ignore[attr-defined]


def test_new_shares_end_what_was_said_of_the_old_ones_alone(world: World) -> None:
    """Destroyed slots: a reseal clears its own bit, a new generation all of them; the rest of the word stays."""
    order = world.pay(slots=(0, 1))
    for slot in (0, 1, 2):
        world.grants.record_destroyed(*destroyed(world, order, slot), sender=world.stranger.address)
    assert world.status(order) >> 16 & 65535 == 0b111
    until = world.deadline(order)
    reseal(world, order, 2, world.tees[3])
    assert world.status(order) >> 16 & 65535 == 0b011
    assert order.progress[:2] == b"\0\7"  # the new node owes as well, and the preimage says so
    arguments = regenerate_arguments(world, order, world.tees[1:], 2)
    accepts = world.accepts(order, (1, 2))
    consent = world.authority(world.consumer, "Regenerate", world.grants, **consent_fields(arguments, 2))
    world.grants.regenerate(*arguments, accepts, b"", consent, sender=world.provider.address)
    assert (world.status(order) >> 16 & 65535, world.status(order) >> 9 & 127) == (0, 2)
    assert deadline_and_flags(world, order) == ("paid", until, 256)
    order.progress = (6).to_bytes(2, "big") + order.progress[2:]
    world.settle(world.record(order, (1, 2)))


@pytest.mark.parametrize("how", ["reseal", "regenerate"])
def test_new_nodes_guarantee_the_windows_that_are_left(world: World, how: str) -> None:
    """A node that comes in after the delivery owes an answer in the window, and no delivery any more."""
    order, new = world.deliver(), world.tees[3]
    end = world.deadline(order) + DAY  # the answer's period
    if how == "reseal":
        reseal(world, order, 2, new)
    else:
        arguments = regenerate_arguments(world, order, [new, *world.tees[:2]], 2)
        consent = world.authority(world.consumer, "Regenerate", world.grants, **consent_fields(arguments, 2))
        world.grants.regenerate(*arguments, world.accepts(order), b"", consent, sender=world.provider.address)
    assert world.registry.node(new.node_id)[7] == end


def test_a_renewal_replaces_the_vendor_and_keeps_the_kind(world: World) -> None:
    node, operator = world.tees[0], world.tees[0].operator.address
    for vendor in (2, 5, 255):
        world.renew(node, vendor=vendor, measurement=keccak(b"m"))
        view = world.registry.node(node.node_id)
        assert (view[0], view[1], view[4], view[5], view[9]) == (operator, TEE, vendor, keccak(b"m"), False)
    world.renew(world.light, LIGHT)
    assert world.registry.light_key(world.light.node_id, 2) == world.light.signer.address
    storage = world.storage[0]
    world.renew(storage, STORAGE)
    assert world.registry.node(storage.node_id)[1] == STORAGE
    assert world.registry.is_live(storage.node_id)


def test_a_renewal_keeps_a_nodes_last_window(world: World) -> None:
    order = world.pay()
    busy = world.registry.node(order.nodes[0].node_id)[7]
    world.renew(order.nodes[0])
    assert world.registry.node(order.nodes[0].node_id)[7] == busy > world.now
    assert world.registry.node(order.nodes[0].node_id)[8] == 10**18


def test_a_withdrawn_node_leaves_nothing(world: World) -> None:
    node = world.tees[0]
    world.registry.withdraw(node.node_id, sender=node.operator.address)
    view = world.registry.node(node.node_id)
    assert (view[6], view[8], view[9], view[10]) == (0, 0, True, False)
    assert view[0] == node.operator.address


def test_an_asset_is_held_longer_and_never_shorter(world: World) -> None:
    """Odd and even times one after the other; the rest of the asset's word stays."""
    asset = world.publish()
    binding = world.ledger.asset(asset.asset_id)[0]
    world.ledger.list_exchange(world.stranger.address, sender=world.governor.address)
    for until, expected in ((START_ODD, START_ODD), (START_ODD + 1, START_ODD + 1), (START_ODD, START_ODD + 1)):
        world.ledger.hold(asset.asset_id, until, sender=world.stranger.address)
        assert world.ledger.asset(asset.asset_id) == (binding, 1, expected)


def test_nonces_of_every_word_are_used_once(world: World) -> None:
    orders = [world.request() for _ in range(4)]
    for nonce, order in zip((300, 555, 2**256 - 1), orders, strict=False):
        authority = world.authority(world.consumer, "Cancel", world.exchange, order=order.order_id, nonce=nonce)
        head = (order.order_id, order.terms, order.card, order.table_hash)
        world.exchange.cancel(*head, authority, sender=world.stranger.address)
        assert world.exchange.nonce_used(world.consumer.address, nonce)
        last = orders[3]
        again = world.authority(world.consumer, "Cancel", world.exchange, order=last.order_id, nonce=nonce)
        with refuses("authority: nonce is used"):
            world.exchange.cancel(
                last.order_id, last.terms, last.card, last.table_hash, again, sender=world.stranger.address
            )
    assert not any(world.exchange.nonce_used(world.consumer.address, nonce) for nonce in (44, 299, 301, 554, 811))


@pytest.mark.parametrize("verb", ["request", "register"])
def test_nobody_acts_for_an_account_that_did_not_sign(world: World, verb: str) -> None:
    """Attack: an order is opened, or a node registered, in somebody's name with a signature of somebody else."""
    fields = {"order": bytes(32), "fetchSigner": ZERO, "periods": 0, "card": bytes(32), "formLength": 0}
    forged = world.authority(world.stranger, "Request", world.exchange, **fields)
    forged = bytes.fromhex(world.consumer.address[2:]) + forged[20:]
    with refuses("authority: signature is not the account's"):
        if verb == "request":
            arguments, _ = world.request_arguments(world.publish(), world.consumer.address)
            world.exchange.request(*arguments, forged, sender=world.stranger.address)
        else:
            epoch = world.epoch(Role("x"), LIGHT)
            world.registry.register(bytes(32), LIGHT, epoch, forged, sender=world.stranger.address, value=10**18)


def test_of_an_unmet_bond_each_answer_has_had_its_part(challenges: ChallengeWorld) -> None:
    """Three of four: one answer, then a second, then silence; a bond that three do not divide."""
    world, bond = challenges, 10**15 + 1
    order = world.delivered(3, 4)
    world.open(order, bond=bond)
    for slot in (1, 3):
        world.answer(order, world.entry(slot), account=world.provider.address)
        assert not world.challenge.challenge_of(order.order_id)[4]
    challenger, kept, by, answered, met = world.challenge.challenge_of(order.order_id)
    assert (challenger, kept, by, answered, met) == (world.consumer.address, bond, world.now + DAY, 0b1010, False)
    world.move_to(by)
    world.close(order)
    assert not logged(world.challenge)["Refunded"].agreed  # type: ignore[attr-defined]
    part = bond // 3
    assert world.challenge.withdrawable(world.provider.address) == 2 * part
    assert world.challenge.withdrawable(world.consumer.address) == bond - 2 * part
    assert [world.stake(node) for node in order.nodes] == [10**18 - DEPOSIT, 10**18, 10**18 - DEPOSIT, 10**18]
    assert world.balance(account_of(world.consumer)) == order.terms[5]
    assert world.challenge.challenge_of(order.order_id)[2:] == (by, 0b1010, False)


def test_a_challenge_works_after_2038(challenges: ChallengeWorld) -> None:
    """Times need all 32 bits then."""
    world = challenges
    world.move_to(2**31 + 7)
    for node in (*world.tees, world.light):
        kind = LIGHT if node is world.light else TEE
        world.renew(node, kind)
    order = world.delivered(3, 4)
    world.open(order)
    world.answer(order, world.entry(0))
    world.answer(order, world.entry(2))
    assert world.challenge.challenge_of(order.order_id)[2:] == (world.now + DAY, 0b101, False)
    world.answer(order, world.entry(3))
    assert world.challenge.challenge_of(order.order_id)[3:] == (0b1101, True)
    assert boa.env.get_balance(world.challenge.address) == world.challenge.withdrawable(world.light.operator.address)
