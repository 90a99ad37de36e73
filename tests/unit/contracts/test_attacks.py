"""One test for each attack on money and access that needs no key of the victim; the first line of a test tells the attack."""

from __future__ import annotations

from typing import Any

import boa
import pytest
from eth_hash.auto import keccak

from tests.unit.contracts.world import DAY, ZERO, Order, Role, World, account_of, mock, refuses
from tools.vectors import contracts as spec

WRONG_ACCEPT, WRONG_RECEIPT = "exchange: accept is not the node's", "exchange: receipt is not the node's"


def wallet_account(wallet: Any) -> bytes:
    return bytes(12) + bytes.fromhex(str(wallet.address)[2:])


def pay_with(world: World, order: Order, accepts: bytes) -> None:
    world.exchange.pay(
        order.order_id,
        order.terms,
        order.card,
        order.table,
        accepts,
        b"",
        b"",
        sender=world.consumer.address,
        value=order.terms[5],
    )


# ── reentrancy ──
@pytest.mark.parametrize("door", ["claim", "settle", "refund", "pay", "open_balance", "expire"])
def test_a_payee_cannot_come_back_in_by_another_door(world: World, door: str) -> None:
    """Attack: while the Exchange pays it, a payee calls another function of the Exchange to be paid twice."""
    wallet = mock("Wallet", world.stranger.address)
    account = wallet_account(wallet)
    order, waiting = world.pay(), world.deliver()
    late, unpaid = world.request(), world.approve()
    world.record(order, recorder=account)
    world.settle(order)
    settling = (waiting.order_id, waiting.terms, waiting.asset.commitment, waiting.asset.credits)
    paying = (unpaid.order_id, unpaid.terms, unpaid.card, unpaid.table, world.accepts(unpaid), b"", b"")
    refunding = (waiting.order_id, waiting.terms, waiting.card, waiting.table_hash, waiting.progress_hash, True)
    calls = {
        "claim": (ZERO, account, b""),
        "settle": (*settling, waiting.table_hash, waiting.progress, bytes(32), b""),
        "refund": refunding,
        "pay": paying,
        "open_balance": (ZERO, keccak(b"new")),
        "expire": (late.order_id,),
    }
    if door in ("settle", "expire"):
        world.move_to(world.now + 40 * DAY)
    due, held = world.balance(account), boa.env.get_balance(world.exchange.address)
    data = getattr(world.exchange, door).prepare_calldata(*calls[door])
    wallet.behave(False, world.exchange.address, data)
    world.exchange.claim(ZERO, account, b"", sender=wallet.address)
    assert not wallet.answered()
    assert boa.env.get_balance(world.exchange.address) == held - due
    assert (world.state(waiting), world.state(late), world.balance(account)) == ("delivered", "requested", 0)


@pytest.mark.parametrize("door", ["withdraw", "collect", "add_stake"])
def test_an_operator_cannot_take_its_stake_twice(world: World, door: str) -> None:
    """Attack: a contract that operates a node withdraws, and withdraws again while the stake is on its way to it."""
    wallet = mock("Wallet", world.stranger.address)
    signer, salt = Role("signer of a contract"), b"\5" * 32
    boa.env.set_balance(wallet.address, 2 * 10**18)
    world.registry.register(salt, 2, world.epoch(signer, 2), b"", sender=str(wallet.address), value=10**18)
    node = spec.node_id(str(wallet.address), salt)
    arguments = {"withdraw": (node,), "collect": (str(wallet.address),), "add_stake": (node,)}[door]
    wallet.behave(False, world.registry.address, getattr(world.registry, door).prepare_calldata(*arguments))
    held, own = boa.env.get_balance(world.registry.address), boa.env.get_balance(wallet.address)
    world.registry.withdraw(node, sender=str(wallet.address))
    assert not wallet.answered()
    assert boa.env.get_balance(world.registry.address) == held - 10**18
    assert boa.env.get_balance(wallet.address) == own + 10**18


# ── front-running ──
def test_a_price_raised_in_front_of_a_request_is_not_agreed_to(world: World) -> None:
    """Attack: the provider sees a request in the mempool and raises the price, or changes the terms, in front of it."""
    asset = world.publish()
    arguments, order = world.request_arguments(asset, world.consumer.address)
    price, token, terms, periods, card = asset.offer
    new = (price + 1, token, terms, periods, card)
    world.ledger.set_offer(asset.asset_id, world.provider.address, asset.offer, new, b"", sender=world.provider.address)
    with refuses("ledger: not the present offer"):
        world.exchange.request(*arguments, b"", sender=world.consumer.address)
    assert world.state(order) == "none"


def test_whoever_copies_a_record_of_delivery_gains_the_recorders_fee_alone(world: World) -> None:
    """Attack: a thief copies a record_delivery from the mempool, names himself and pays more for gas."""
    order, thief = world.pay(), Role("thief")
    fetch, receipts = world.fetch(order), b"".join(world.receipt(order, slot) for slot in (0, 1))
    progress = order.progress
    world.record(order, fetch=fetch, receipts=receipts, recorder=account_of(thief))
    after, order.progress = order.progress, progress
    with refuses("exchange: not this order"):
        world.record(order, fetch=fetch, receipts=receipts, recorder=account_of(world.stranger))
    order.progress = after
    world.settle(order)
    assert world.balance(account_of(thief)) == order.terms[5] * 50 // 10_000
    assert world.balance(account_of(world.stranger)) == 0
    assert world.balance(world.tees[0].node_id) == world.balance(world.tees[1].node_id) > 0


def test_a_revocation_in_front_of_a_payment_keeps_the_money_with_the_consumer(world: World) -> None:
    """Attack: the provider revokes in front of a payment, so as to have the price for shares that are worth nothing."""
    order = world.approve()
    order_id, terms, card, table_hash = order.order_id, order.terms, order.card, order.table_hash
    world.grants.revoke(order_id, terms, card, table_hash, bytes(32), b"", sender=world.provider.address)
    before = boa.env.get_balance(world.consumer.address)
    with refuses("exchange: wrong state"):
        pay_with(world, order, world.accepts(order))
    assert boa.env.get_balance(world.consumer.address) == before
    assert boa.env.get_balance(world.exchange.address) == 0


def test_a_cancellation_in_front_of_an_approval_costs_nobody_but_gas(world: World) -> None:
    """Attack: the consumer cancels in front of the approval, so as to have shares for an order that ended."""
    order = world.request()
    arguments = world.approve_arguments(order)
    zero = bytes(32)
    world.exchange.cancel(order.order_id, order.terms, order.card, zero, b"", sender=world.consumer.address)
    with refuses("exchange: wrong state"):
        world.grants.approve(*arguments, b"", sender=world.provider.address)
    assert world.state(order) == "cancelled"


# ── griefing ──
@pytest.mark.parametrize("burns", [False, True])
def test_a_payee_with_a_bomb_holds_up_nobody(world: World, burns: bool) -> None:
    """Attack: a payee answers its payment with half a megabyte of data, or uses up all gas that it is given."""
    hostile = mock("Hostile", burns)
    account, order = wallet_account(hostile), world.pay()
    world.record(order, recorder=account)
    world.settle(order)
    due = world.balance(account)
    claim = world.exchange.claim.prepare_calldata(ZERO, account, b"")
    with pytest.raises(boa.BoaError):
        hostile.call(world.exchange.address, claim, gas=3_000_000)
    assert world.balance(account) == due
    for node in order.nodes[:2]:
        world.exchange.claim(ZERO, node.node_id, b"", sender=node.operator.address)
    world.exchange.claim(ZERO, account_of(world.provider), b"", sender=world.provider.address)
    hostile.sleep()
    hostile.call(world.exchange.address, claim)
    assert boa.env.get_balance(hostile.address) == due


@pytest.mark.parametrize("price", [0, 1, 9])
def test_dust_is_divided_exactly_or_not_at_all(world: World, price: int) -> None:
    """Attack: prices so small that every fee rounds to zero, to leave money behind or take more than was paid."""
    asset = world.publish(offer_terms=(price, ZERO, bytes(32), world.listing()["offer_terms"][3]))
    order = world.deliver(world.pay(world.approve(world.request(asset))))
    world.settle(order)
    assert world.balance(account_of(world.provider)) == price == boa.env.get_balance(world.exchange.address)
    assert world.balance(world.tees[0].node_id) == 0


def test_money_sent_past_the_doors_changes_no_account(world: World) -> None:
    """Attack: coins and tokens are sent to the Exchange directly, to spoil its sums or to block payments in the token."""
    sent = boa.env.execute_code(to_address=world.exchange.address, sender=world.stranger.address, value=1)
    assert sent.is_error
    assert boa.env.get_balance(world.exchange.address) == 0
    asset = world.publish(offer_terms=(1_000, world.token.address, bytes(32), world.listing()["offer_terms"][3]))
    order = world.approve(world.request(asset))
    world.token.mint(world.consumer.address, 1_000)
    world.token.mint(world.exchange.address, 7)
    world.token.approve(world.exchange.address, 1_000, sender=world.consumer.address)
    world.exchange.pay(
        order.order_id, order.terms, order.card, order.table, world.accepts(order), b"", b"",
        sender=world.consumer.address,
    )  # fmt: skip
    world.note_payment(order)
    world.settle(world.record(order))
    accounts = [account_of(r) for r in (world.provider, world.stranger)]
    accounts += [n.node_id for n in (world.light, *world.tees, *world.storage)]
    assert sum(world.balance(account, world.token.address) for account in accounts) == 1_000


def test_a_flood_of_requests_binds_neither_asset_nor_node(world: World) -> None:
    """Attack: spam of requests, so that the asset can never be retired and nodes can never leave."""
    asset = world.publish()
    orders = [world.request(asset) for _ in range(20)]
    approved = [world.approve(order) for order in orders[:3]]
    offer_hash = spec.offer_hash(asset.offer)
    world.ledger.retire(asset.asset_id, world.provider.address, offer_hash, b"", sender=world.provider.address)
    world.registry.withdraw(world.tees[0].node_id, sender=world.tees[0].operator.address)
    with refuses("ledger: not listed"):
        world.request(asset)
    world.move_to(world.now + 40 * DAY)
    for order in orders:
        world.exchange.expire(order.order_id, sender=world.stranger.address)
    assert {world.state(order) for order in [*orders, *approved]} == {"expired"}


def test_an_approval_that_never_delivers_costs_the_consumer_nothing(world: World) -> None:
    """Attack: provider and nodes take the money and never re-encrypt; nobody of them signs anything more."""
    order, stranger = world.pay(), world.stranger
    before = boa.env.get_balance(world.consumer.address)
    world.move_to(world.deadline(order) + world.grace - 1)
    with refuses("exchange: deadline is not reached"):
        world.refund(order, sender=stranger)
    world.move_to(world.now + 1)
    world.refund(order, sender=stranger)
    world.exchange.claim(ZERO, account_of(world.consumer), b"", sender=world.consumer.address)
    assert boa.env.get_balance(world.consumer.address) == before + order.terms[5]
    assert boa.env.get_balance(world.exchange.address) == 0


# ── replay ──
def test_messages_of_one_order_do_not_count_for_another(world: World) -> None:
    """Attack: Accept, Fetch and receipts of one order are shown for another between the same people and nodes."""
    asset = world.publish()
    first, second = (world.approve(world.request(asset)) for _ in range(2))
    with refuses(WRONG_ACCEPT):
        pay_with(world, second, world.accepts(first))
    world.pay(first)
    world.pay(second)
    with refuses("exchange: fetch is not the consumer's"):
        world.record(second, fetch=world.fetch(first))
    with refuses(WRONG_RECEIPT):
        world.record(second, receipts=b"".join(world.receipt(first, slot) for slot in (0, 1)))


def test_messages_of_another_chain_do_not_count(world: World) -> None:
    """Attack: the same contracts stand at the same addresses of another chain, and what was signed there is shown here."""
    order = world.approve()
    world.chain_id = 1337
    foreign, fetch = world.accepts(order), world.fetch(order)
    cancel = world.authority(world.consumer, "Cancel", world.exchange, order=order.order_id)
    world.chain_id = 31337
    with refuses(WRONG_ACCEPT):
        pay_with(world, order, foreign)
    with refuses("authority: signature is not the account's"):
        world.exchange.cancel(
            order.order_id, order.terms, order.card, order.table_hash, cancel, sender=world.stranger.address
        )
    world.pay(order)
    with refuses("exchange: fetch is not the consumer's"):
        world.record(order, fetch=fetch)


def test_after_a_fork_old_signatures_do_not_count_on_the_new_chain(world: World) -> None:
    """Attack: a fork with another chain id keeps all state; signatures of before are replayed on it."""
    order = world.approve()
    accepts = world.accepts(order)
    cancel = world.authority(world.consumer, "Cancel", world.exchange, order=order.order_id)
    boa.env.evm.patch.chain_id = 1337
    try:
        with refuses(WRONG_ACCEPT):
            pay_with(world, order, accepts)
        with refuses("authority: signature is not the account's"):
            world.exchange.cancel(
                order.order_id, order.terms, order.card, order.table_hash, cancel, sender=world.stranger.address
            )
    finally:
        boa.env.evm.patch.chain_id = 31337
    pay_with(world, order, accepts)


def test_messages_for_the_old_exchange_do_not_count_at_the_new_one(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attack: a new Exchange stands beside the old; Accept and signed verbs for one are shown to the other."""
    old_exchange, old_order = world.exchange, world.approve()
    accepts = world.accepts(old_order)
    cancel = world.authority(world.consumer, "Cancel", old_exchange, order=old_order.order_id)
    exchange, grants = world.deploy_exchange((1, 2, 3, 4))
    monkeypatch.setattr(world, "exchange", exchange)
    monkeypatch.setattr(world, "grants", grants)
    for registry in (world.ledger, world.registry):
        registry.list_exchange(world.exchange.address, sender=world.governor.address)
    order = world.approve(world.request(old_order.asset))
    assert order.order_id != old_order.order_id
    with refuses(WRONG_ACCEPT):
        pay_with(world, order, accepts)
    with refuses("exchange: not this order"):
        pay_with(world, old_order, accepts)
    with refuses("authority: signature is not the account's"):
        world.exchange.cancel(
            order.order_id, order.terms, order.card, order.table_hash, cancel, sender=world.stranger.address
        )
    monkeypatch.setattr(world, "exchange", old_exchange)
    world.pay(old_order)
    assert world.state(old_order) == "paid"


def test_messages_of_an_earlier_generation_do_not_count_for_the_present_one(world: World) -> None:
    """Attack: Accept, Fetch and receipts of replaced shares are shown for the shares of today."""
    order = world.approve()
    old_accepts, old_table, old_nodes = world.accepts(order), order.table, order.nodes
    nodes = [world.tees[i] for i in (0, 1, 2)]
    x_a, shares, sealed, table = world.shares(order, nodes, generation=2)
    world.grants.regenerate(
        order.order_id, order.terms, order.asset.parts, order.table_hash, b"", 2, x_a, shares, sealed, b"", b"", b"",
        sender=world.provider.address,
    )  # fmt: skip
    order.table, order.nodes = table, nodes
    with refuses(WRONG_ACCEPT):
        pay_with(world, order, old_accepts)
    world.pay(order)
    fetch_of_now = world.fetch(order)
    order.table, order.nodes = old_table, old_nodes
    fetch, receipts = world.fetch(order), b"".join(world.receipt(order, slot) for slot in (0, 1))
    with refuses("exchange: not this order"):
        world.record(order)
    order.table, order.nodes = table, nodes
    with refuses("exchange: fetch is not the consumer's"):
        world.record(order, fetch=fetch, receipts=receipts)
    with refuses(WRONG_RECEIPT):
        world.record(order, fetch=fetch_of_now, receipts=receipts)
    world.record(order)
