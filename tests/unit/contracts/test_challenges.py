"""Challenges: who can open, meet and close one, what each costs, and that nobody is framed or robbed by it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boa
import pytest
import rlp
from eth_hash.auto import keccak
from eth_utils import to_checksum_address

from asset_bridge.reencryption.chain_proof import CHAIN_PROOF_BYTES
from tests.unit.contracts.challenge_world import DEPOSIT, ChallengeWorld
from tests.unit.contracts.world import DAY, ZERO, Order, Role, account_of, deploy, deploy_refused, refuses

BOND = 10**15


@pytest.fixture(scope="module")
def deployed() -> ChallengeWorld:
    return ChallengeWorld()


@pytest.fixture
def world(deployed: ChallengeWorld) -> Iterator[ChallengeWorld]:
    with deployed.untouched():
        yield deployed


def challenged(world: ChallengeWorld, threshold: int = 2, shares: int = 3) -> Order:
    order = world.delivered(threshold, shares)
    world.open(order, bond=BOND)
    return order


def withdrawable(world: ChallengeWorld, role: Role) -> int:
    return int(world.challenge.withdrawable(role.address))


def test_the_consumer_challenges_inside_the_window_once(world: ChallengeWorld) -> None:
    order = world.delivered()
    world.move_to(world.deadline(order) - 1)
    with refuses("challenges: not the consumer"):
        world.open(order, sender=world.stranger, bond=BOND)
    world.open(order, bond=BOND)
    challenger, bond, answer_by, answered, met = world.challenge.challenge_of(order.order_id)
    assert (challenger, bond, answer_by, answered, met) == (
        world.consumer.address,
        BOND,
        world.now + DAY,
        0,
        False,
    )
    assert world.deadline(order) == world.now + DAY  # never shorter than the window
    with refuses("exchange: order was challenged"):
        world.open(order, bond=BOND)
    with refuses("exchange: challenge is open"):
        world.settle(order)


def test_at_the_windows_end_it_is_too_late(world: ChallengeWorld) -> None:
    order = world.delivered()
    world.move_to(world.deadline(order))
    with refuses("exchange: deadline has passed"):
        world.open(order, bond=BOND)


def test_a_challenge_early_in_the_window_does_not_shorten_it(world: ChallengeWorld) -> None:
    """A proof ends the non-delivery challenge only: the time for anything else about the content stays."""
    order = world.delivered()
    before = world.deadline(order)
    world.open(order, bond=BOND)
    assert world.deadline(order) >= before
    world.answer(order, world.entry(0) + world.entry(1))
    assert world.deadline(order) >= before
    with refuses("exchange: not the consumer"):
        world.settle(order, sender=world.stranger)


def test_an_undelivered_order_is_not_challenged(world: ChallengeWorld) -> None:
    order = world.pay(world.true_order())
    with refuses("exchange: wrong state"):
        world.open(order, bond=BOND)


def test_the_bond_pays_for_t_answers_at_twice_the_base_fee(world: ChallengeWorld) -> None:
    order = world.delivered()
    assert world.challenge.bond_of(2) == 2 * world.challenge.bond_of(1)
    least = world.challenge.bond_of(2)
    assert least == 2 * 120_000 * 2 * 10**9
    with refuses("challenges: bond is too small"):
        world.open(order, bond=least - 1)
    world.open(order, bond=least)


def test_a_signed_challenge_is_sent_by_anyone(world: ChallengeWorld) -> None:
    order = world.delivered()
    authority = world.authority(world.consumer, "Challenge", world.challenge, order=order.order_id)
    world.open(order, bond=BOND, sender=world.stranger, authority=authority)
    assert world.challenge.challenge_of(order.order_id)[0] == world.consumer.address


def test_t_fragments_meet_it_and_take_the_bond(world: ChallengeWorld) -> None:
    order = challenged(world)
    world.answer(order, world.entry(2))
    assert withdrawable(world, world.light.operator) == BOND // 2
    assert not world.challenge.challenge_of(order.order_id)[4]
    world.answer(order, world.entry(0), account=world.provider.address)
    assert withdrawable(world, world.provider) == BOND - BOND // 2
    _, _, _, answered, met = world.challenge.challenge_of(order.order_id)
    assert (answered, met) == (0b101, True)
    assert world.status(order) & (16 | 32) == 16 | 32
    with refuses("challenges: no open challenge"):
        world.answer(order, world.entry(1))
    with refuses("exchange: order was challenged"):
        world.open(order, bond=BOND)
    world.settle(order)  # acceptance
    before = boa.env.get_balance(world.provider.address)
    world.challenge.withdraw(world.provider.address, sender=world.stranger.address)
    assert boa.env.get_balance(world.provider.address) == before + BOND - BOND // 2
    with refuses("challenges: nothing to withdraw"):
        world.challenge.withdraw(world.provider.address, sender=world.stranger.address)


def test_all_at_once_and_more_than_needed(world: ChallengeWorld) -> None:
    order = challenged(world)
    world.answer(order, world.entry(1) + world.entry(0) + world.entry(2), account=ZERO)
    assert withdrawable(world, world.stranger) == BOND
    assert world.challenge.challenge_of(order.order_id)[3] == 0b011


def test_one_fragment_twice_counts_once(world: ChallengeWorld) -> None:
    order = challenged(world)
    world.answer(order, world.entry(0) + world.entry(0))
    assert not world.challenge.challenge_of(order.order_id)[4]
    with refuses("challenges: nothing new"):
        world.answer(order, world.entry(0))
    with refuses("challenges: nothing new"):
        world.answer(order, b"")
    with refuses("challenges: proof does not hold"):  # the same fragment under another slot
        world.answer(order, b"\1" + world.entry(0)[1:])


def test_what_is_no_answer(world: ChallengeWorld) -> None:
    order = challenged(world)
    entry = world.entry(0)
    changed = bytearray(entry)
    changed[100] ^= 1
    with refuses("challenges: proof does not hold"):
        world.answer(order, bytes(changed))
    with refuses("challenges: wrong length"):
        world.answer(order, entry[:-1])
    with refuses("exchange: no such slot"):
        world.answer(order, b"\3" + entry[1:])
    with refuses("challenges: not the asset's capsule"):
        world.answer(order, entry, capsule=bytes(98))
    with refuses("challenges: wrong length"):
        world.answer(order, entry, capsule=world.capsule.to_bytes()[:97])
    with refuses("exchange: not this order"):
        world.answer(order, entry, progress_hash=keccak(b"other"))
    with refuses("exchange: not this order"):
        world.answer(order, entry, terms=(*order.terms[:5], order.terms[5] + 1, *order.terms[6:]))
    with refuses("challenges: not a table of this order"):
        world.answer(order, entry, current=order.table_hash)


def test_whoever_copies_an_answer_takes_its_reward_and_nothing_else(world: ChallengeWorld) -> None:
    """Attack: a thief copies a node's answer from the mempool, names himself and pays more for gas."""
    order, thief = challenged(world), Role("thief")
    entries, honest = world.entry(0), world.light.operator
    world.answer(order, entries, account=thief.address)
    with refuses("challenges: nothing new"):
        world.answer(order, entries)
    world.answer(order, world.entry(1))
    assert withdrawable(world, thief) + withdrawable(world, honest) == BOND
    world.move_to(world.deadline(order))
    world.settle(order)  # met all the same: the provider is paid, and nobody loses a deposit
    assert [world.stake(node) for node in order.nodes] == [10**18] * 3


def test_fragments_of_another_order_are_no_answer(world: ChallengeWorld) -> None:
    """Attack: a proof for the same asset and the same nodes, but of another order's shares, is replayed as an answer."""
    order = challenged(world)
    with refuses("challenges: proof does not hold"):
        world.answer(order, world.entry(0, world.kfrags(order)[0]))


def test_answers_end_where_closing_begins(world: ChallengeWorld) -> None:
    order = challenged(world)
    by = world.challenge.challenge_of(order.order_id)[2]
    world.move_to(by - 1)
    with refuses("challenges: deadline is not reached"):
        world.close(order)
    world.answer(order, world.entry(0))
    world.move_to(by)
    with refuses("challenges: deadline has passed"):
        world.answer(order, world.entry(1))
    world.close(order)


def test_unmet_the_price_goes_back_and_silent_nodes_lose_their_deposit(world: ChallengeWorld) -> None:
    order = challenged(world)
    world.answer(order, world.entry(1))
    stakes = [world.stake(node) for node in order.nodes]
    world.move_to(world.challenge.challenge_of(order.order_id)[2])
    world.close(order)
    assert world.state(order) == "refunded"
    assert world.balance(account_of(world.consumer)) == order.terms[5]
    assert withdrawable(world, world.consumer) == BOND - BOND // 2  # one answer was paid for
    lost = [before - world.stake(node) for before, node in zip(stakes, order.nodes, strict=True)]
    assert lost == [DEPOSIT, 0, DEPOSIT]
    assert world.registry.claimable(world.consumer.address) == 2 * DEPOSIT
    with refuses("challenges: no open challenge"):
        world.close(order)


def test_only_nodes_that_accepted_lose_anything(world: ChallengeWorld) -> None:
    order = world.pay(world.true_order(), (0, 2))
    world.record_true(order, (0, 2))
    world.open(order, bond=BOND)
    world.move_to(world.challenge.challenge_of(order.order_id)[2])
    world.close(order)
    assert [world.stake(node) for node in order.nodes] == [10**18 - DEPOSIT, 10**18, 10**18 - DEPOSIT]


def test_after_a_revocation_only_recorded_nodes_owe(world: ChallengeWorld) -> None:
    """A revoked order makes no new fragments: a node that never released one must not lose money for obeying."""
    order = world.delivered()
    world.revoke(order)
    world.open(order, bond=BOND)
    world.move_to(world.challenge.challenge_of(order.order_id)[2])
    world.close(order)
    assert [world.stake(node) for node in order.nodes] == [10**18 - DEPOSIT, 10**18 - DEPOSIT, 10**18]


@pytest.mark.parametrize("first", ["delivered", "revoked"])
def test_a_challenge_after_a_revocation_is_met_by_the_recorded_nodes(world: ChallengeWorld, first: str) -> None:
    """Attack: a consumer who has the data waits for a revocation, so that nobody can answer any more."""
    if first == "delivered":
        order = world.delivered()
        world.revoke(order)
    else:  # recorded within GRACE
        order = world.pay(world.true_order())
        world.revoke(order)
        world.record_true(order, (0, 1))
    world.open(order, bond=BOND)
    world.answer(order, world.entry(0) + world.entry(1))
    assert world.state(order) == "delivered"
    assert world.challenge.challenge_of(order.order_id)[4]
    assert [world.stake(node) for node in order.nodes] == [10**18] * 3


def test_a_removed_exchange_cannot_hold_the_consumers_money(world: ChallengeWorld) -> None:
    """Exits work also when the registry no longer knows the Exchange; only the deposits are spared."""
    order = challenged(world)
    world.registry.remove_exchange(world.exchange.address, sender=world.governor.address)
    world.move_to(world.challenge.challenge_of(order.order_id)[2])
    world.close(order)
    assert world.state(order) == "refunded"
    assert withdrawable(world, world.consumer) == BOND
    assert [world.stake(node) for node in order.nodes] == [10**18] * 3


def test_a_wrong_table_does_not_close_it(world: ChallengeWorld) -> None:
    """Attack: a challenge is closed with another table, so as to choose whose deposit is lost."""
    order = challenged(world)
    world.move_to(world.challenge.challenge_of(order.order_id)[2])
    with refuses("exchange: not this order"):
        world.close(order, table=order.table[:-1] + b"\0")
    with refuses("exchange: not this order"):
        world.close(order, progress=order.progress + bytes(32))


def test_new_shares_do_not_change_what_was_challenged(world: ChallengeWorld) -> None:
    """After a new generation the challenged one is answered by its last table; nobody of the new one loses a deposit."""
    order = challenged(world)
    first, first_hash, kfrags = order.table, order.table_hash, world.true_kfrags
    made = world.kfrags(order)
    x_a, shares, sealed, table = world.packed(order, made, world.tees[1:4], generation=2)
    arguments = (order.order_id, order.terms, order.asset.parts, first_hash, order.progress, 2, x_a, shares, sealed)
    order.table, order.nodes = table, world.tees[1:4]
    accepts = world.accepts(order)
    fields = {
        "order": order.order_id,
        "generation": 2,
        "threshold": 2,
        "precursor": x_a,
        "shares": shares,
        "sealedShares": sealed,
    }
    consent = world.authority(world.consumer, "Regenerate", world.grants, **fields)
    world.grants.regenerate(*arguments, accepts, b"", consent, sender=world.provider.address)
    order.progress = (7).to_bytes(2, "big") + order.progress[2:]
    with refuses("challenges: another generation was challenged"):
        world.answer(order, world.entry(0, made[0]))
    with boa.env.anchor():
        world.answer(
            order, world.entry(0, kfrags[0]) + world.entry(1, kfrags[1]), table=first, current=order.table_hash
        )
        assert world.challenge.challenge_of(order.order_id)[4]
    world.move_to(world.challenge.challenge_of(order.order_id)[2])
    world.close(order)
    assert world.state(order) == "refunded"
    assert [world.stake(node) for node in world.tees] == [10**18] * 4


def test_a_resealed_slot_is_answered_by_the_same_fragment(world: ChallengeWorld) -> None:
    order = challenged(world)
    entry = world.entry(0)
    kem, new = world.random(), world.tees[3]
    row = (
        new.node_id + new.epoch.to_bytes(8, "big") + bytes.fromhex(new.signer.address[2:]) + order.row(0)[60:125] + kem
    )
    replacement = new.node_id + new.epoch.to_bytes(8, "big") + kem
    share = (world.now + DAY).to_bytes(5, "big") + world.random(144)
    accept = world.accept(order, 0, row=row, signer=new.signer)
    arguments = (order.order_id, order.terms, order.card, order.table, order.progress, 0, replacement, share, accept)
    world.grants.reseal(*arguments, b"", sender=world.provider.address)
    order.table = order.table[:38] + row + order.table[38 + 157 :]
    world.answer(order, entry + world.entry(1))
    assert world.challenge.challenge_of(order.order_id)[4]


# Contradictions


def false_receipt(world: ChallengeWorld, slot: int = 0) -> tuple[Order, bytes]:
    order = world.pay(world.true_order())
    lie = world.true_receipt(order, slot, cfrag=keccak(b"garbage"))
    world.record_true(order, (0, 1), receipts=lie + world.true_receipt(order, 1))
    return order, lie


def test_a_false_receipt_costs_the_whole_stake(world: ChallengeWorld) -> None:
    order, lie = false_receipt(world)
    world.contradict(order, 0, lie)
    assert world.stake(order.nodes[0]) == 0
    assert not world.registry.is_live(order.nodes[0].node_id)
    assert world.registry.claimable(world.stranger.address) == 10**18 // 2
    assert world.registry.claimable(world.consumer.address) == 10**18 // 2
    with refuses("challenges: node was contradicted"):
        world.contradict(order, 0, lie)


def test_an_honest_node_is_not_framed(world: ChallengeWorld) -> None:
    """Attack: a provider, who knows every share and can make any proof that holds, shows one beside an honest receipt."""
    order = world.delivered()
    with refuses("challenges: receipt is true"):
        world.contradict(order, 0, world.true_receipt(order, 0))
    forged = world.true_receipt(order, 0, cfrag=keccak(b"garbage"), signer=world.provider)
    with refuses("exchange: receipt is not the node's"):
        world.contradict(order, 0, forged)
    with refuses("challenges: proof does not hold"):
        world.contradict(order, 0, world.true_receipt(order, 0), proof=world.entry(1)[1:])
    with refuses("challenges: fetch is not the consumer's"):
        world.contradict(order, 0, world.true_receipt(order, 0), fetch=world.fetch(order, role=world.stranger))
    for name, value in {"fetch": b"", "receipt": bytes(136), "proof": bytes(CHAIN_PROOF_BYTES + 1)}.items():
        changes: dict[str, Any] = {"receipt": world.true_receipt(order, 0), name: value}
        receipt = changes.pop("receipt")
        with refuses("challenges: wrong length"):
            world.contradict(order, 0, receipt, **changes)
    with refuses("challenges: not a row of this order"):
        world.contradict(order, 0, world.true_receipt(order, 0), old_row=order.row(1))
    assert world.stake(order.nodes[0]) == 10**18


def test_an_unpaid_order_has_no_contradiction(world: ChallengeWorld) -> None:
    order = world.true_order()
    with refuses("challenges: order is not paid"):
        world.contradict(order, 0, world.true_receipt(order, 0))


def test_a_payee_that_refuses_hurts_only_itself(world: ChallengeWorld) -> None:
    """Attack: a reward goes to a contract that takes no coins, to keep the others from theirs."""
    order = challenged(world)
    world.answer(order, world.entry(0), account=world.exchange.address)  # a contract that takes no coins
    world.answer(order, world.entry(1), account=world.provider.address)
    with refuses("challenges: transfer failed"):
        world.challenge.withdraw(world.exchange.address, sender=world.stranger.address)
    world.challenge.withdraw(world.provider.address, sender=world.stranger.address)


def test_the_contract_holds_exactly_what_it_owes(world: ChallengeWorld) -> None:
    """Conservation: bonds of open challenges and withdrawable balances, to the wei."""
    bond, at = BOND + 1, str(world.challenge.address)
    order = world.delivered(threshold=3)
    world.open(order, bond=bond)
    world.answer(order, world.entry(0))
    world.answer(order, world.entry(1), account=world.provider.address)
    assert boa.env.get_balance(at) == bond
    world.answer(order, world.entry(2), account=world.provider.address)
    owed = withdrawable(world, world.light.operator) + withdrawable(world, world.provider)
    assert owed == bond == boa.env.get_balance(at)


def test_deployment_refusals(world: ChallengeWorld) -> None:
    exchange = world.exchange.address
    deploy_refused(
        "challenges: exchange names another contract", "Challenges", exchange, world.verifier.address, DEPOSIT
    )
    deployer = Role("deployer of challenges")
    place = to_checksum_address(keccak(rlp.encode([bytes.fromhex(deployer.address[2:]), 1]))[12:])
    with boa.env.prank(deployer.address):
        settings = (ZERO, place, True, (0, 0, 0, 0), 60, 60)
        named = deploy("Exchange", world.ledger.address, world.registry.address, *settings)
        deploy_refused("challenges: not a contract", "Challenges", named.address, world.stranger.address, DEPOSIT)
    assert (str(world.challenge.exchange()), str(world.challenge.verifier())) == (
        str(exchange),
        str(world.verifier.address),
    )
    assert (str(world.challenge.registry()), world.challenge.liveness_deposit()) == (
        str(world.registry.address),
        DEPOSIT,
    )
