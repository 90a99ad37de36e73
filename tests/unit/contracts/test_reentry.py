"""Every external call of the contracts that reaches a stranger, re-entered at every function, on the compiled code.

Attack: a payee or a token calls back while it is called. The lock is what refuses: it reverts without a reason, where the same call from
outside goes or is refused with one; and nobody has gained when it is over.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import boa
import pytest
from eth_abi import encode
from eth_hash.auto import keccak

from tests.unit.contracts.challenge_world import ChallengeWorld
from tests.unit.contracts.records import _canonical
from tests.unit.contracts.world import ZERO, Role, World, abi_of, mock
from tools.vectors.contracts import node_id

BOND = 10**15
LOCKED = {
    name: [
        entry
        for entry in abi_of(name)
        if entry["type"] == "function" and entry["stateMutability"] in ("nonpayable", "payable")
    ]
    for name in ("Exchange", "NodeRegistry", "Challenges")
}
ZEROES: dict[str, Any] = {"address": ZERO, "bool": False, "bytes": b""}


def nothing(entry: dict[str, Any]) -> Any:
    """A value of zeroes."""
    if entry["type"] == "tuple":
        return tuple(nothing(part) for part in entry["components"])
    if entry["type"].endswith("[]"):
        return []
    if entry["type"].startswith("bytes") and entry["type"] != "bytes":
        return bytes(int(entry["type"][5:]))
    return ZEROES.get(entry["type"], 0)


def call_of(entry: dict[str, Any]) -> bytes:
    """Call data of a function, with zeroes."""
    types = [_canonical(part) for part in entry["inputs"]]
    selector = keccak(f"{entry['name']}({','.join(types)})".encode())[:4]
    return bytes(selector) + encode(types, [nothing(part) for part in entry["inputs"]])


def payee_of_the_exchange(world: World, wallet: Any) -> Callable[[], object]:
    order = world.pay()
    account = bytes(12) + bytes.fromhex(str(wallet.address)[2:])
    world.record(order, recorder=account)
    world.settle(order)
    return lambda: world.exchange.claim(ZERO, account, b"", sender=str(wallet.address))


def operator_of_a_node(world: World, wallet: Any) -> Callable[[], object]:
    boa.env.set_balance(wallet.address, 2 * 10**18)
    world.registry.register(
        b"\5" * 32, 2, world.epoch(Role("its signer"), 2), b"", sender=str(wallet.address), value=10**18
    )
    node = node_id(str(wallet.address), b"\5" * 32)
    return lambda: world.registry.withdraw(node, sender=str(wallet.address))


@pytest.mark.parametrize(
    ("name", "paying"), [("Exchange", payee_of_the_exchange), ("NodeRegistry", operator_of_a_node)]
)
def test_a_payee_that_calls_back_is_refused_by_the_lock_at_every_function(
    world: World, name: str, paying: Callable[[World, Any], Callable[[], object]]
) -> None:
    """Attack: while it is paid, a payee calls each function of the contract that pays it."""
    contract = world.exchange if name == "Exchange" else world.registry
    wallet = mock("Wallet", world.stranger.address)
    act = paying(world, wallet)
    held, own = boa.env.get_balance(contract.address), boa.env.get_balance(wallet.address)
    gains = set()
    assert len(LOCKED[name]) >= 10
    for entry in LOCKED[name]:
        with boa.env.anchor():
            wallet.behave(False, contract.address, call_of(entry))
            act()
            assert not wallet.answered(), entry["name"]
            assert wallet.answer() == b"", f"{entry['name']} was not refused by the lock"
            gains.add((held - boa.env.get_balance(contract.address), boa.env.get_balance(wallet.address) - own))
        outside = boa.env.execute_code(contract.address, sender=str(wallet.address), data=call_of(entry))
        assert not outside.is_error or len(outside.output) != 0, (
            f"{entry['name']}: the same call from outside has no reason"
        )
    assert len(gains) == 1
    ((paid, got),) = gains
    assert paid == got > 0


def test_a_token_that_calls_back_is_refused_by_the_lock_at_every_function(world: World) -> None:
    """Attack: an allow-listed token that has become hostile calls each function of the Exchange while it takes the price."""
    token = world.token
    asset = world.publish(offer_terms=(5_000, token.address, world.random(), world.listing()["offer_terms"][3]))
    token.mint(world.consumer.address, 10**6)
    token.approve(world.exchange.address, 10**6, sender=world.consumer.address)
    order = world.approve(world.request(asset))
    for entry in LOCKED["Exchange"]:
        with boa.env.anchor():
            token.call_back(world.exchange.address, call_of(entry))
            paying = (order.order_id, order.terms, order.card, order.table, world.accepts(order), b"", b"")
            world.exchange.pay(*paying, sender=world.consumer.address)
            assert not token.answered(), entry["name"]
            assert token.reason() == b"", f"{entry['name']} was not refused by the lock"
            assert token.balanceOf(world.exchange.address) == 5_000
            assert world.state(order) == "paid"


def test_a_receiver_of_rewards_that_calls_back_is_refused_by_the_lock_at_every_function() -> None:
    """Attack: while Challenges pays out a reward, its receiver calls each function of Challenges to be paid twice."""
    with boa.env.anchor():
        world = ChallengeWorld()
        wallet = mock("Wallet", world.stranger.address)
        order = world.delivered(2, 3)
        world.open(order, bond=BOND)
        world.answer(order, world.entry(0) + world.entry(1), account=str(wallet.address))
        held = boa.env.get_balance(world.challenge.address)
        assert held == BOND
        for entry in LOCKED["Challenges"]:
            with boa.env.anchor():
                wallet.behave(False, world.challenge.address, call_of(entry))
                world.challenge.withdraw(wallet.address)
                assert not wallet.answered(), entry["name"]
                assert wallet.answer() == b"", f"{entry['name']} was not refused by the lock"
                assert boa.env.get_balance(wallet.address) == BOND
                assert boa.env.get_balance(world.challenge.address) == 0
