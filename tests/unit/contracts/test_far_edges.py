"""Bounds that no trade reaches: counters and times at the end of their fields."""

from __future__ import annotations

import boa
from eth_hash.auto import keccak

from tests.unit.contracts.world import LIGHT, TEE, ZERO, Role, World, account_of, mock, refuses
from tools.vectors.contracts import node_id

SLOTS = 64


def slot_of(contract: object, key: bytes, word: int) -> int:
    """The storage slot of a mapping's entry, found by the word that stands there."""
    for base in range(SLOTS):
        slot = int.from_bytes(keccak(base.to_bytes(32, "big") + key), "big")
        if int.from_bytes(boa.env.get_storage(contract.address, slot).to_bytes(32, "big"), "big") == word:  # type: ignore[attr-defined]
            return slot
    raise AssertionError("no such entry")


def test_generations_end_at_127(world: World) -> None:
    order = world.approve()
    core, status = world.exchange.order(order.order_id)
    slot = slot_of(world.exchange, order.order_id, int.from_bytes(core, "big") | status)
    word = int.from_bytes(core, "big") | status & ~(127 << 9) | 127 << 9
    boa.env.set_storage(world.exchange.address, slot, word)
    x_a, shares, sealed, _ = world.shares(order, generation=128)
    with refuses("grants: too many generations"):
        world.grants.regenerate(
            order.order_id,
            order.terms,
            order.asset.parts,
            order.table_hash,
            b"",
            2,
            x_a,
            shares,
            sealed,
            b"",
            b"",
            b"",
            sender=world.provider.address,
        )


def test_epochs_end_at_16383(world: World) -> None:
    node = world.tees[0]
    view = world.registry.node(node.node_id)
    tag = int(node.operator.address, 16) & 255
    word = int(node.signer.address, 16) | 1 << 160 | 1 << 174 | tag << 184 | view[6] << 192
    slot = slot_of(world.registry, node.node_id, word)
    boa.env.set_storage(world.registry.address, slot, word | 16_383 << 160)
    with refuses("registry: too many epochs"):
        world.registry.renew(node.node_id, world.epoch(Role("x"), TEE), b"", sender=node.operator.address)


def test_measurements_end_at_1022(world: World) -> None:
    at, refused = world.registry.address, 0
    for slot in [slot for slot in range(SLOTS) if boa.env.get_storage(at, slot) == 1]:
        with boa.env.anchor():
            boa.env.set_storage(at, slot, 1_022)
            try:
                with refuses("registry: too many measurements"):
                    world.registry.list_measurement(1, keccak(b"one more"), sender=world.governor.address)
                refused += 1
            except AssertionError:
                continue
    assert refused == 1


def test_times_end_with_their_field(world: World) -> None:
    asset = world.publish()
    world.move_to(2**32 - 86_400)
    with refuses("exchange: time is too large"):
        world.request(asset)


def test_an_operator_that_refuses_money_keeps_its_node(world: World) -> None:
    wallet = mock("Wallet", world.stranger.address)
    boa.env.set_balance(wallet.address, 10**19)
    world.registry.register(bytes(32), LIGHT, world.epoch(Role("x"), LIGHT), b"", sender=wallet.address, value=10**18)
    wallet.behave(True, ZERO, b"")
    node = node_id(str(wallet.address), bytes(32))
    with refuses("registry: transfer failed"):
        world.registry.withdraw(node, sender=wallet.address)
    assert world.registry.node(node)[8] == 10**18
    assert world.balance(account_of(world.stranger)) == 0
