"""Every event of the contracts is logged by its call, with what the call was about: the events alone must rebuild all state (I12)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import pytest
from eth_hash.auto import keccak

from tests.unit.contracts.challenge_world import ChallengeWorld
from tests.unit.contracts.test_challenges import false_receipt
from tests.unit.contracts.test_grants import consent_fields, destroyed, regenerate_arguments, reseal
from tests.unit.contracts.world import DAY, TDX, ZERO, Role, abi_of, account_of
from tools.vectors import contracts as spec

FIRST = keccak(b"first")


@pytest.fixture
def world(true_world: ChallengeWorld) -> Iterator[ChallengeWorld]:
    with true_world.untouched():
        yield true_world


class Logs:
    """What the calls of a test logged."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def of(self, contract: Any) -> dict[str, Any]:
        """Events of the last call of a contract, its own and those below it, by name."""
        found = {type(event).__name__: event for event in contract.get_logs()}
        self.names |= set(found)
        return found

    def said(self, contract: Any, name: str) -> tuple[Any, ...]:
        """Fields of one event of the last call."""
        return tuple(self.of(contract)[name])[1:]  # the first is the contract's address


def test_governor_and_provider_log_each_act(world: ChallengeWorld) -> None:
    logs, token, other = Logs(), Role("a token").address, Role("another exchange").address
    registry, ledger, governor = world.registry, world.ledger, world.governor.address
    for contract, name, arguments, event in (
        (registry, "list_vendor", (TDX,), "VendorListed"),
        (registry, "list_measurement", (TDX, FIRST), "MeasurementListed"),
        (registry, "remove_measurement", (TDX, FIRST), "MeasurementRemoved"),
        (registry, "remove_vendor", (TDX,), "VendorRemoved"),
        (registry, "list_exchange", (other,), "ExchangeListed"),
        (registry, "remove_exchange", (other,), "ExchangeRemoved"),
        (ledger, "list_token", (token,), "TokenListed"),
        (ledger, "remove_token", (token,), "TokenRemoved"),
        (ledger, "list_exchange", (other,), "ExchangeListed"),
        (ledger, "close_exchange", (other,), "ExchangeClosed"),
        (ledger, "propose_governor", (other,), "GovernorProposed"),
    ):
        getattr(contract, name)(*arguments, sender=governor)
        assert logs.said(contract, event)[: len(arguments)] == arguments
    ledger.accept_governor(sender=other)
    assert logs.of(ledger)["GovernorChanged"].governor == other
    me, payee, recovery = world.provider.address, world.payee.address, world.recovery.address
    ledger.set_profile(me, FIRST, payee, recovery, b"", sender=me)
    assert logs.said(ledger, "ProfileSet") == (me, FIRST, payee, recovery)
    change = (me, me, other, recovery)
    for name, arguments, event in (
        ("propose_change", (*change, b""), "ChangeProposed"),
        ("cancel_change", (me, b""), "ChangeCancelled"),
        ("propose_change", (*change, b""), "ChangeProposed"),
    ):
        getattr(ledger, name)(*arguments, sender=me)
        assert logs.of(ledger)[event].provider == me
    world.move_to(world.now + DAY)
    ledger.apply_change(*change)
    assert logs.said(ledger, "ChangeApplied") == change
    body = b"a small body"
    asset = world.publish(body=body, body_length=len(body), body_digest=hashlib.sha256(body).digest())
    found = logs.of(ledger)
    assert (found["BodySaved"].body, found["Listed"].asset_id, found["Listed"].offer.card) == (
        body,
        asset.asset_id,
        asset.card,
    )
    new = (5, *asset.offer[1:])
    ledger.set_offer(asset.asset_id, me, asset.offer, new, b"", sender=me)
    assert logs.of(ledger)["OfferSet"].offer.price == 5
    ledger.retire(asset.asset_id, me, spec.offer_hash(new), b"", sender=me)
    assert logs.of(ledger)["Retired"].asset_id == asset.asset_id
    assert logs.names >= {e["name"] for e in abi_of("AssetLedger") if e["type"] == "event"} - {"NonceUsed"}


def test_operators_log_each_act(world: ChallengeWorld) -> None:
    logs, node, registry = Logs(), world.tees[0], world.registry
    world.renew(node)
    assert (logs.of(registry)["EpochStarted"].node_id, logs.of(registry)["EpochStarted"].epoch) == (node.node_id, 2)
    registry.refresh(node.node_id)
    assert logs.said(registry, "Refreshed") == (node.node_id, 2)
    registry.add_stake(node.node_id, value=9, sender=world.stranger.address)
    assert logs.said(registry, "StakeAdded") == (node.node_id, 9)
    order, lie = false_receipt(world)
    world.contradict(order, 0, lie)
    found, half = logs.of(world.challenge), (10**18 + 9) // 2
    assert tuple(found["Contradicted"])[1:] == (order.order_id, node.node_id)
    registry.collect(world.stranger.address)
    assert logs.said(registry, "Collected") == (world.stranger.address, half)
    world.register("a new one", 2)
    (started,) = [logs.of(registry)["NodeRegistered"]]
    assert (started.kind, started.stake) == (2, 10**18)
    idle = world.tees[3]
    registry.withdraw(idle.node_id, sender=idle.operator.address)
    assert logs.said(registry, "NodeWithdrawn") == (idle.node_id, 10**18)


def test_an_order_logs_each_step(world: ChallengeWorld) -> None:
    logs, exchange, grants = Logs(), world.exchange, world.grants
    order = world.true_order()
    assert logs.of(grants)["Approved"].table == order.table
    world.pay(order, (0, 1))
    assert logs.said(exchange, "Paid") == (order.order_id, world.consumer.address, 3)
    grants.record_destroyed(*destroyed(world, order, 2))
    gone = logs.of(grants)["DestroyedRecorded"]
    assert (gone.order_id, gone.generation, gone.slot, gone.node_id, gone.epoch, gone.reason) == (
        *(order.order_id, 1, 2, order.nodes[2].node_id, 1, 2),
    )
    world.record_true(order)
    assert (logs.of(exchange)["Delivered"].generation, logs.of(exchange)["Delivered"].recorder) == (
        1,
        account_of(world.stranger),
    )
    world.open(order, bond=10**15)
    opened, by = logs.of(world.challenge)["Challenged"], world.now + DAY
    assert tuple(opened)[1:] == (order.order_id, 10**15, by)
    world.answer(order, world.entry(1))
    answered = logs.of(world.challenge)["Answered"]
    assert (answered.slot, answered.reward, answered.proof) == (1, 10**15 // 2, world.entry(1)[1:])
    assert answered.account == world.light.operator.address
    world.challenge.withdraw(answered.account)
    assert logs.said(world.challenge, "Withdrawn") == (answered.account, 10**15 // 2)
    world.move_to(by)
    world.close(order)
    assert logs.of(world.challenge)["Failed"].order_id == order.order_id
    exchange.open_balance(ZERO, FIRST)
    assert logs.said(exchange, "BalanceOpened") == (ZERO, FIRST)


def test_replacing_shares_logs_what_replaced_them(world: ChallengeWorld) -> None:
    logs, grants = Logs(), world.grants
    order = world.pay()
    reseal(world, order, 1, world.tees[3])
    resealed = logs.of(grants)["Resealed"]
    assert (resealed.order_id, resealed.slot, resealed.row) == (order.order_id, 1, order.row(1))
    arguments = regenerate_arguments(world, order, world.tees[:3], 2)
    consent = world.authority(world.consumer, "Regenerate", grants, **consent_fields(arguments, 2))
    grants.regenerate(*arguments, world.accepts(order), b"", consent, sender=world.provider.address)
    found = logs.of(grants)
    assert (found["Regenerated"].table, found["NonceUsed"].account) == (order.table, world.consumer.address)
    order.progress = (7).to_bytes(2, "big") + order.progress[2:]
    world.revoke(order)
    assert logs.said(grants, "Revoked") == (order.order_id, 8)
    asset = world.publish()
    requested, approved = world.request(asset), world.approve(world.request(asset))
    grants.deny(requested.order_id, requested.terms, requested.card, FIRST, 7, b"", sender=world.provider.address)
    assert logs.said(grants, "Denied") == (requested.order_id, FIRST, 7)
    world.move_to(world.deadline(approved))
    world.exchange.expire(approved.order_id)
    assert logs.said(world.exchange, "Expired") == (approved.order_id,)
    late = world.request(asset)
    assert logs.of(world.exchange)["Requested"].order_id == late.order_id
    preimages = (late.order_id, late.terms, late.card, bytes(32), b"")
    world.exchange.cancel(*preimages, sender=world.consumer.address)
    assert logs.said(world.exchange, "Cancelled") == (late.order_id,)
