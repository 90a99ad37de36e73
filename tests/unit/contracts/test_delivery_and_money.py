"""Delivery, settlement, refunds and claims: who gets what, exact to the wei, and when (protocol §5, §7)."""

from __future__ import annotations

import boa
import pytest
from eth_abi import decode

from tests.unit.contracts.world import DAY, START, ZERO, Order, Role, World, account_of, mock, refuses


def agree(world: World, order: Order, sender: Role, provider: bytes = b"", consumer: bytes = b"") -> None:
    world.exchange.agree_refund(
        order.order_id,
        order.terms,
        order.card,
        order.table_hash,
        order.progress_hash,
        provider,
        consumer,
        sender=sender.address,
    )


def test_recorded_delivery_opens_the_window(world: World) -> None:
    order = world.deliver()
    assert (world.state(order), world.deadline(order)) == ("delivered", START + DAY)
    with refuses("exchange: not this order"):
        world.record(order)


WRONG = "exchange: receipt is not the node's"


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        ("few", "exchange: too few receipts"),
        ("ragged", "exchange: wrong length"),
        ("order", "exchange: slots are not ascending"),
        ("twice", "exchange: slots are not ascending"),
        ("slot", "exchange: no such slot"),
        ("signer", WRONG),
        ("contract", WRONG),
        ("generation", WRONG),
        ("other fetch", WRONG),
        ("other order", WRONG),
        ("chain", WRONG),
        ("cfrag", WRONG),
        ("no old row", "exchange: not a row of this order"),
        ("spare old row", "exchange: wrong length"),
    ],
)
def test_receipts_are_the_nodes_own(world: World, case: str, reason: str) -> None:
    """I6, I7: a receipt counts for one order, generation, slot, Fetch, chain and contract."""
    asset = world.publish()
    order, other = (world.pay(world.approve(world.request(asset))) for _ in range(2))
    one, two = world.receipt(order, 0), world.receipt(order, 1)
    old_rows = b""
    if case == "chain":
        world.chain_id = 1
        foreign = world.receipt(order, 1)
        world.chain_id = 31337
    else:
        foreign = b""
    cases = {
        "few": one,
        "ragged": one + two + b"\1",
        "order": two + one,
        "twice": one + one,
        "slot": one + b"\5" + two[1:],
        "signer": one + world.receipt(order, 1, signer=world.stranger),
        "contract": one + world.receipt(order, 1, contract=world.ledger),
        "generation": one + world.receipt(order, 1, generation=2),
        "other fetch": one + world.receipt(order, 1, fetch=bytes(32)),
        "other order": one + world.receipt(other, 1),
        "chain": one + foreign,
        "cfrag": one + two[:1] + bytes(32) + two[33:],
        "no old row": one + b"\x81" + two[1:],
        "spare old row": one + two,
    }
    if case in ("no old row", "spare old row"):
        old_rows = order.row(1)
    with refuses(reason):
        world.record(order, receipts=cases[case], old_rows=old_rows)


@pytest.mark.parametrize("case", ["stranger", "generation", "order", "empty"])
def test_no_delivery_without_the_consumers_fetch(world: World, case: str) -> None:
    """Attack: nodes record receipts for a consumer who never fetched; without his Fetch he is refunded."""
    order = world.pay()
    fetches = {
        "stranger": world.fetch(order, role=world.stranger),
        "generation": world.fetch(order, generation=2),
        "order": world.fetch(order, order=bytes(32)),
        "empty": b"",
    }
    with refuses("exchange: wrong length" if case == "empty" else "exchange: fetch is not the consumer's"):
        world.record(order, fetch=fetches[case])


def test_receipts_count_until_grace_after_the_deadline_is_over(world: World) -> None:
    asset = world.publish()
    first, second = (world.pay(world.approve(world.request(asset))) for _ in range(2))
    end = world.deadline(first) + world.grace
    world.move_to(end - 1)
    with refuses("exchange: deadline is not reached"):
        world.refund(first)
    world.record(first)
    world.move_to(end)
    with refuses("exchange: deadline has passed"):
        world.record(second)
    world.refund(second)
    assert (world.state(first), world.state(second)) == ("delivered", "refunded")


def test_the_consumer_cannot_have_data_and_refund(world: World) -> None:
    """Attack: the consumer fetches just before the deadline and asks for a refund; the receipts end the refund."""
    order = world.pay()
    world.move_to(world.deadline(order) + 1)
    world.record(order)
    with refuses("exchange: not this order"):
        order.progress, kept = order.progress[:7], order.progress
        world.refund(order)
    order.progress = kept
    with refuses("exchange: wrong state"):
        world.refund(order)


@pytest.mark.parametrize("price", [0, 1, 99, 10_000, 10**18 + 7])
def test_settlement_pays_out_the_price_to_the_wei(world: World, price: int) -> None:
    asset = world.publish(offer_terms=(price, ZERO, bytes(32), world.listing()["offer_terms"][3]))
    order = world.deliver(world.pay(world.approve(world.request(asset))))
    world.settle(order)
    accounts = [account_of(world.provider), account_of(world.stranger), world.light.node_id]
    accounts += [node.node_id for node in (*world.tees, *world.storage)]
    amounts = {account: world.balance(account) for account in accounts}
    assert sum(amounts.values()) == price == boa.env.get_balance(world.exchange.address)
    each = price * 300 // 10_000 // 2
    assert [amounts[node.node_id] for node in world.tees] == [each, each, 0, 0]
    assert amounts[account_of(world.stranger)] == price * 50 // 10_000
    assert amounts[world.light.node_id] == price * 100 // 10_000
    assert {amounts[node.node_id] for node in world.storage} == {price * 100 // 10_000 // 3}


def test_equal_accounts_are_credited_together(world: World) -> None:
    order = world.record(world.pay(), recorder=world.light.node_id)
    world.settle(order)
    price = order.terms[5]
    assert world.balance(world.light.node_id) == price * 50 // 10_000 + price * 100 // 10_000


def test_settlement_at_once_by_the_consumer_else_when_the_window_is_over(world: World) -> None:
    asset = world.publish()
    first, second = (world.deliver(world.pay(world.approve(world.request(asset)))) for _ in range(2))
    with refuses("exchange: not the consumer"):
        world.settle(first, world.provider)
    world.settle(first)
    world.move_to(START + DAY - 1)
    with refuses("exchange: not the consumer"):
        world.settle(second, world.stranger)
    world.move_to(START + DAY)
    world.settle(second, world.stranger)
    for order in (first, second):
        with refuses("exchange: wrong state"):
            world.settle(order)


def test_preimages_of_a_settlement_cannot_be_forged(world: World) -> None:
    """Attack: other payees, another recorder, another price in the preimages."""
    order = world.deliver()
    terms, progress, credits_packed = order.terms, order.progress, order.asset.credits
    for change in ("progress", "terms", "credits"):
        order.progress = progress[:-32] + world.tees[3].node_id if change == "progress" else progress
        order.terms = (*terms[:5], terms[5] * 2, *terms[6:]) if change == "terms" else terms
        order.asset.credits = credits_packed[:-32] + bytes(32) if change == "credits" else credits_packed
        with refuses("exchange: not this order"):
            world.settle(order)
    order.progress, order.terms, order.asset.credits = progress, terms, credits_packed


def test_claims_go_to_the_payee_by_the_owner_alone(world: World) -> None:
    order = world.deliver()
    world.settle(order)
    provider, node = account_of(world.provider), order.nodes[0]
    for account, reason in (
        (provider, "exchange: not the account's owner"),
        (node.node_id, "exchange: not the node's operator"),
        (b"\1" * 32, "exchange: not the node's operator"),
    ):
        with refuses(reason):
            world.exchange.claim(ZERO, account, b"", sender=world.payee.address)
    for account, sender, payee in (
        (provider, world.provider, world.payee),
        (node.node_id, node.operator, node.operator),
        (account_of(world.stranger), world.stranger, world.stranger),
    ):
        due, before = world.balance(account), boa.env.get_balance(payee.address)
        world.exchange.claim(ZERO, account, b"", sender=sender.address)
        (logged,) = world.exchange._computation.get_raw_log_entries()
        assert list(logged[2][1:]) == [0, int.from_bytes(account, "big")]
        assert decode(["address", "uint256"], logged[3]) == (payee.address.lower(), due)
        assert boa.env.get_balance(payee.address) == before + due
        assert world.balance(account) == 0
        with refuses("exchange: balance is open"):  # no claim sets the slot back to zero
            world.exchange.open_balance(ZERO, account)
        with refuses("exchange: nothing to claim"):
            world.exchange.claim(ZERO, account, b"", sender=sender.address)


def test_settle_and_refund_can_pay_out_in_the_same_transaction(world: World) -> None:
    """I3, I4: past the deadline the one who is owed leaves with one transaction."""
    order, late = world.deliver(), world.pay()
    world.move_to(world.deadline(order))
    before = boa.env.get_balance(world.payee.address)
    with refuses("exchange: not the account's owner"):
        world.settle(order, world.stranger, account_of(world.provider))
    world.settle(order, world.provider, account_of(world.provider))
    price = order.terms[5]
    paid_out = boa.env.get_balance(world.payee.address) - before
    assert paid_out == price - sum(
        price * bps // 10_000 // parts * parts for bps, parts in ((300, 2), (50, 1), (100, 1), (100, 3))
    )
    world.move_to(world.deadline(late) + world.grace)
    with refuses("exchange: not the account's owner"):
        world.refund(late, claim_now=True)
    before = boa.env.get_balance(world.consumer.address)
    world.refund(late, claim_now=True, sender=world.consumer)
    assert boa.env.get_balance(world.consumer.address) == before + late.terms[5]


def test_balances_open_once_and_stay_open(world: World) -> None:
    account = account_of(world.consumer)
    world.exchange.open_balance(ZERO, account)
    assert world.balance(account) == 0
    with refuses("exchange: balance is open"):
        world.exchange.open_balance(ZERO, account)
    with refuses("exchange: nothing to claim"):
        world.exchange.claim(ZERO, account, b"", sender=world.consumer.address)
    order = world.pay()
    agree(
        world,
        order,
        world.consumer,
        world.authority(world.provider, "AgreeRefund", world.exchange, order=order.order_id),
    )
    assert world.balance(account) == order.terms[5]


@pytest.mark.parametrize("state", ["paid", "delivered", "revoked"])
def test_both_can_agree_on_a_refund(world: World, state: str) -> None:
    order = world.pay()
    if state == "delivered":
        world.record(order)
    if state == "revoked":
        world.revoke(order)
    signed = world.authority(world.provider, "AgreeRefund", world.exchange, order=order.order_id)
    own = world.authority(world.consumer, "AgreeRefund", world.exchange, order=order.order_id)
    with refuses("exchange: not the provider"):
        agree(world, order, world.consumer)
    with refuses("exchange: not the consumer"):
        agree(world, order, world.provider)
    agree(world, order, world.stranger, signed, own)
    assert world.state(order) == "refunded"
    assert world.balance(account_of(world.consumer)) == order.terms[5]
    with refuses("exchange: wrong state"):
        agree(world, order, world.stranger, signed, own)


def test_an_unpaid_order_is_never_refunded(world: World) -> None:
    """Attack: revoke before payment, then take a refund that nobody paid for."""
    order = world.approve()
    world.revoke(order)
    world.move_to(START + 400 * DAY)
    with refuses("exchange: order is not paid"):
        world.refund(order)
    order.nodes = world.tees[:3]
    with refuses("exchange: order is not paid"):
        world.exchange.agree_refund(
            order.order_id,
            order.terms,
            order.card,
            order.table_hash,
            bytes(32),
            world.authority(world.provider, "AgreeRefund", world.exchange, order=order.order_id),
            b"",
            sender=world.consumer.address,
        )


def test_a_payee_that_refuses_money_holds_up_nobody(world: World) -> None:
    """Attack: the provider's payee reverts at every payment, so that an order never ends and nobody else is paid."""
    wallet = mock("Wallet", world.provider.address)
    change = (world.provider.address, world.provider.address, wallet.address, world.recovery.address)
    world.ledger.propose_change(*change, b"", sender=world.provider.address)
    order = world.pay()
    world.move_to(world.now + DAY - 1)
    world.record(order)
    world.move_to(world.now + 1)
    world.ledger.apply_change(*change)
    wallet.behave(True, ZERO, b"")
    world.settle(order)
    with refuses("exchange: transfer failed"):
        world.exchange.claim(ZERO, account_of(world.provider), b"", sender=world.provider.address)
    node = order.nodes[0]
    world.exchange.claim(ZERO, node.node_id, b"", sender=node.operator.address)
    wallet.behave(False, ZERO, b"")
    world.exchange.claim(ZERO, account_of(world.provider), b"", sender=world.provider.address)
    assert boa.env.get_balance(wallet.address) > 0


def test_a_payee_that_calls_back_gains_nothing(world: World) -> None:
    """Attack: a payee claims again while it is being paid."""
    wallet = mock("Wallet", world.stranger.address)
    account = bytes(12) + bytes.fromhex(str(wallet.address)[2:])
    order = world.pay()
    other = world.pay()
    world.record(order, recorder=account)
    world.settle(order)
    due, held = world.balance(account), boa.env.get_balance(world.exchange.address)
    call = world.exchange.claim.prepare_calldata(ZERO, account, b"")
    wallet.behave(False, world.exchange.address, call)
    world.exchange.claim(ZERO, account, b"", sender=wallet.address)
    assert boa.env.get_balance(wallet.address) == due
    assert boa.env.get_balance(world.exchange.address) == held - due
    assert not wallet.answered()
    assert world.state(other) == "paid"


def challenge(world: World, order: Order, sender: Role) -> int:
    return int(
        world.exchange.open_challenge(
            order.order_id, order.terms, order.card, order.table_hash, order.progress_hash, sender=sender.address
        )
    )


def close(world: World, order: Order, met: bool, sender: Role) -> None:
    world.exchange.close_challenge(
        order.order_id, order.terms, order.card, order.table_hash, order.progress_hash, met, sender=sender.address
    )


def test_an_open_challenge_holds_the_money(world: World) -> None:
    asset = world.publish()
    met, unmet = (world.deliver(world.pay(world.approve(world.request(asset)))) for _ in range(2))
    for order in (met, unmet):
        with refuses("exchange: not the challenges contract"):
            challenge(world, order, world.consumer)
        with refuses("exchange: no open challenge"):
            close(world, order, True, world.challenges)
        world.move_to(START + DAY - 1)
        assert challenge(world, order, world.challenges) == START + 2 * DAY - 1
        assert world.deadline(order) == START + 2 * DAY - 1
        with refuses("exchange: order was challenged"):
            challenge(world, order, world.challenges)
        with refuses("exchange: challenge is open"):
            world.settle(order)
        world.move_to(START)
    with refuses("exchange: challenge is open"):
        agree(world, met, world.consumer)
    with refuses("exchange: not the challenges contract"):
        close(world, met, True, world.stranger)
    close(world, met, True, world.challenges)
    close(world, unmet, False, world.challenges)
    assert (world.state(met), world.state(unmet)) == ("delivered", "refunded")
    with refuses("exchange: no open challenge"):
        close(world, met, False, world.challenges)
    world.settle(met)


def test_a_challenge_comes_inside_the_window(world: World) -> None:
    order = world.deliver()
    world.move_to(START + DAY)
    with refuses("exchange: deadline has passed"):
        challenge(world, order, world.challenges)


def test_receipts_and_acceptance_in_one_call_pay_as_two_calls_do(world: World) -> None:
    paid = [world.pay(), world.pay()]
    before = {a: world.balance(a) for a in all_accounts(world)}
    world.record(paid[0], recorder=account_of(world.consumer))
    world.settle(paid[0])
    two = {a: world.balance(a) - before[a] for a in all_accounts(world)}
    world.accept_receipts(paid[1])
    names = [type(e).__name__ for e in world.exchange.get_logs()]
    assert [n for n in names if n in ("Delivered", "Settled")] == ["Delivered", "Settled"]
    one = {a: world.balance(a) - before[a] - two[a] for a in all_accounts(world)}
    assert one == two
    assert sum(one.values()) == paid[1].terms[5]
    assert world.state(paid[1]) == "settled"
    assert world.deadline(paid[1]) == 0


def test_nobody_accepts_for_the_consumer(world: World) -> None:
    """Attack: whoever holds the receipts ends the consumer's windows by accepting in his place."""
    order = world.pay()
    with refuses("exchange: not the consumer"):
        world.accept_receipts(order, sender=world.provider)
    with refuses("exchange: not the consumer"):
        foreign = world.authority(world.provider, "AcceptDelivery", world.exchange, order=order.order_id)
        world.accept_receipts(order, sender=world.stranger, authority=foreign)
    own = world.authority(world.consumer, "AcceptDelivery", world.exchange, order=order.order_id)
    world.accept_receipts(order, sender=world.stranger, authority=own)
    assert world.state(order) == "settled"
    assert world.balance(account_of(world.stranger)) == order.terms[5] * 50 // 10_000


def test_acceptance_without_enough_receipts_moves_nothing(world: World) -> None:
    """Attack: a consumer in league with a node takes the provider's data, and settles on one receipt."""
    order = world.pay()
    with refuses("exchange: too few receipts"):
        world.accept_receipts(order, (0,))
    assert world.state(order) == "paid"


def all_accounts(world: World) -> list[bytes]:
    people = [account_of(r) for r in (world.provider, world.consumer, world.stranger)]
    return [*people, world.light.node_id, *(node.node_id for node in (*world.tees, *world.storage))]
