"""NodeRegistry: epochs, stakes, lists under the governor (protocol §2)."""

from __future__ import annotations

import boa
import pytest
from eth_abi import encode
from eth_hash.auto import keccak

from tests.unit.contracts.world import (
    DAY,
    LIGHT,
    SIMULATED,
    START,
    STORAGE,
    TDX,
    TEE,
    ZERO,
    Role,
    World,
    deploy_refused,
    refuses,
)

EPOCH = "(bytes32,uint64,address,uint8,bytes32,bytes32,bytes32,uint64)"


def test_a_registered_node_is_live_and_readable(world: World) -> None:
    node = world.tees[0]
    view = world.registry.node(node.node_id)
    assert view[:6] == (node.operator.address, TEE, 1, node.signer.address, SIMULATED, world.measurement)
    assert view[6:] == (START + 400 * DAY, 0, 10**18, False, True)
    assert world.registry.operator_of(node.node_id) == node.operator.address
    assert world.registry.light_key(world.light.node_id, 1) == world.light.signer.address


@pytest.mark.parametrize(
    ("kind", "changes", "value", "reason"),
    [
        (0, {}, 10**18, "registry: unknown kind"),
        (4, {}, 10**18, "registry: unknown kind"),
        (TEE, {}, 10**18 - 1, "registry: stake is too small"),
        (TEE, {"signing_key": ZERO}, 10**18, "registry: signing key is zero"),
        (TEE, {"expires_at": START}, 10**18, "registry: expiry is out of range"),
        (TEE, {"expires_at": 2**32}, 10**18, "registry: expiry is out of range"),
        (TEE, {"vendor": 0}, 10**18, "registry: unknown vendor"),
        (TEE, {"vendor": 6}, 10**18, "registry: unknown vendor"),
        (LIGHT, {"vendor": 1}, 10**18, "registry: only tee nodes have evidence"),
        (STORAGE, {"measurement": b"\1" * 32}, 10**18, "registry: only tee nodes have evidence"),
    ],
)
def test_registration_refuses(world: World, kind: int, changes: dict[str, object], value: int, reason: str) -> None:
    epoch = world.epoch(Role("x"), kind, **changes)
    with refuses(reason):
        world.registry.register(bytes(32), kind, epoch, b"", sender=world.stranger.address, value=value)


def test_a_node_id_registers_once(world: World) -> None:
    operator = world.tees[0].operator
    with refuses("registry: node exists"):
        world.registry.register(
            keccak(b"tee 0"), TEE, world.epoch(Role("x"), TEE), b"", sender=operator.address, value=10**18
        )


def test_registration_by_signature_makes_the_signer_operator(world: World) -> None:
    operator = Role("quiet operator")
    epoch, salt = world.epoch(Role("x"), LIGHT), keccak(b"salt")
    node_id = keccak(encode(["address", "bytes32"], [operator.address, salt]))
    fields = {"node": node_id, "kind": LIGHT, "epoch": keccak(encode([EPOCH], [epoch]))}
    authority = world.authority(operator, "Register", world.registry, **fields)
    world.registry.register(salt, LIGHT, epoch, authority, sender=world.stranger.address, value=10**18)
    assert world.registry.operator_of(node_id) == operator.address
    renewed = world.epoch(Role("y"), LIGHT)
    fields = {"node": node_id, "number": 2, "epoch": keccak(encode([EPOCH], [renewed]))}
    world.registry.renew(
        node_id, renewed, world.authority(operator, "Renew", world.registry, **fields), sender=world.stranger.address
    )
    assert world.registry.node(node_id)[2] == 2


def test_a_new_epoch_keeps_past_keys_readable(world: World) -> None:
    node = world.tees[0]
    first = node.signer.address
    operator = node.operator.address
    world.registry.renew(node.node_id, world.epoch(Role("second key"), TEE), b"", sender=operator)
    world.registry.renew(node.node_id, world.epoch(Role("third key"), TEE), b"", sender=operator)
    keys = [world.registry.signing_key(node.node_id, epoch) for epoch in (0, 1, 2, 3, 4)]
    assert keys == [ZERO, first, Role("second key").address, Role("third key").address, ZERO]
    with refuses("registry: not the current epoch"):
        world.registry.tee_slots([node.node_id], 1)
    with refuses("registry: not the operator"):
        world.registry.renew(node.node_id, world.epoch(Role("x"), TEE), b"", sender=world.stranger.address)


def test_a_renewal_with_the_same_key_keeps_the_epoch(world: World) -> None:
    """A daily renewal of evidence must not end the slots that were given to the key: the number stays, all else is new."""
    node, operator = world.tees[0], world.tees[0].operator
    first = node.signer
    same = world.epoch(first, TEE, expires_at=world.now + 500 * DAY)
    fields = {"node": node.node_id, "number": 1, "epoch": keccak(encode([EPOCH], [same]))}
    authority = world.authority(operator, "Renew", world.registry, **fields)
    world.registry.renew(node.node_id, same, authority, sender=world.stranger.address)
    (event,) = [e for e in world.registry.get_logs() if type(e).__name__ == "EpochStarted"]
    assert (event.epoch, event.evidence) == (1, same[6])
    view = world.registry.node(node.node_id)
    assert (view[2], view[3], view[6]) == (1, first.address, world.now + 500 * DAY)
    assert world.registry.tee_slots([node.node_id], 1) == [int(first.address, 16)]
    assert world.registry.signing_key(node.node_id, 0) == ZERO
    world.registry.renew(node.node_id, world.epoch(Role("another key"), TEE), b"", sender=operator.address)
    world.registry.renew(node.node_id, world.epoch(first, TEE), b"", sender=operator.address)
    keys = [world.registry.signing_key(node.node_id, epoch) for epoch in (1, 2, 3, 4)]
    assert keys == [first.address, Role("another key").address, first.address, ZERO]
    with refuses("authority: signature is not the account's"):
        number_of_next = {"node": node.node_id, "number": 4, "epoch": keccak(encode([EPOCH], [same]))}
        world.registry.renew(
            node.node_id,
            same,
            world.authority(operator, "Renew", world.registry, **number_of_next),
            sender=operator.address,
        )


def test_a_node_is_live_up_to_and_not_at_its_expiry(world: World) -> None:
    node = world.tees[0]
    world.move_to(START + 400 * DAY - 1)
    assert world.registry.is_live(node.node_id)
    assert world.registry.is_live(world.light.node_id)
    world.move_to(START + 400 * DAY)
    assert not world.registry.is_live(node.node_id)
    with refuses("registry: epoch has expired"):
        world.registry.tee_slots([node.node_id], 1)
    with refuses("registry: epoch has expired"):
        world.registry.light_key(world.light.node_id, 1)


def test_lists_do_not_gate_registration_but_liveness(world: World) -> None:
    node = world.register("unlisted", TEE, measurement=keccak(b"other code"))
    assert not world.registry.is_live(node.node_id)
    with refuses("registry: measurement is not listed"):
        world.registry.tee_slots([node.node_id], 1)
    world.registry.list_measurement(SIMULATED, keccak(b"other code"), sender=world.governor.address)
    assert not world.registry.is_live(node.node_id)
    world.registry.refresh(node.node_id)
    assert world.registry.is_live(node.node_id)
    with refuses("registry: not a tee node"):
        world.registry.refresh(world.light.node_id)


@pytest.mark.parametrize("what", ["measurement", "vendor"])
def test_removal_acts_at_once_and_can_be_undone(world: World, what: str) -> None:
    arguments = (SIMULATED, world.measurement) if what == "measurement" else (SIMULATED,)
    with boa.env.prank(world.governor.address):
        getattr(world.registry, f"remove_{what}")(*arguments)
        assert not world.registry.is_live(world.tees[0].node_id)
        getattr(world.registry, f"list_{what}")(*arguments)
        assert world.registry.is_live(world.tees[0].node_id)
        with refuses("registry: already listed"):
            getattr(world.registry, f"list_{what}")(*arguments)


@pytest.mark.parametrize(
    ("call", "arguments"),
    [
        ("list_vendor", (1,)),
        ("remove_vendor", (1,)),
        ("list_measurement", (1, bytes(32))),
        ("remove_measurement", (1, bytes(32))),
        ("list_exchange", ("0x" + "11" * 20,)),
        ("remove_exchange", ("0x" + "11" * 20,)),
        ("propose_governor", ("0x" + "11" * 20,)),
    ],
)
def test_only_the_governor_touches_the_lists(world: World, call: str, arguments: tuple[object, ...]) -> None:
    with refuses("governor: not the governor"):
        getattr(world.registry, call)(*arguments, sender=world.stranger.address)


def test_the_governor_hands_over_in_two_steps(world: World) -> None:
    world.registry.propose_governor(world.stranger.address, sender=world.governor.address)
    with refuses("governor: not proposed"):
        world.registry.accept_governor(sender=world.provider.address)
    world.registry.accept_governor(sender=world.stranger.address)
    assert world.registry.governor() == world.stranger.address
    with refuses("governor: not proposed"):
        world.registry.accept_governor(sender=world.stranger.address)


def test_stake_leaves_after_the_last_window_only(world: World) -> None:
    order = world.pay(slots=(0, 1))
    node, idle = order.nodes[0], order.nodes[2]
    busy = START + DAY + world.grace + DAY + DAY
    assert world.registry.node(node.node_id)[7] == busy
    assert world.registry.node(idle.node_id)[7] == 0
    world.move_to(busy - 1)
    with refuses("registry: node is busy"):
        world.registry.withdraw(node.node_id, sender=node.operator.address)
    world.move_to(busy)
    with refuses("registry: not the operator"):
        world.registry.withdraw(node.node_id, sender=world.stranger.address)
    before = boa.env.get_balance(node.operator.address)
    world.registry.withdraw(node.node_id, sender=node.operator.address)
    assert boa.env.get_balance(node.operator.address) == before + 10**18
    assert world.registry.node(node.node_id)[9:] == (True, False)
    for call in (
        lambda: world.registry.withdraw(node.node_id, sender=node.operator.address),
        lambda: world.renew(node),
    ):
        with refuses("registry: node is withdrawn"):
            call()
    with refuses("registry: no such node"):
        world.registry.add_stake(node.node_id, value=1, sender=node.operator.address)


def test_stake_is_for_a_node_that_is_there(world: World) -> None:
    before = world.registry.node(world.tees[0].node_id)[8]
    with refuses("registry: no such node"):
        world.registry.add_stake(b"\7" * 32, value=1, sender=world.stranger.address)
    world.registry.add_stake(world.tees[0].node_id, value=7, sender=world.stranger.address)
    assert world.registry.node(world.tees[0].node_id)[8] == before + 7


def test_a_node_is_held_up_to_the_last_second_of_its_field(world: World) -> None:
    world.registry.list_exchange(world.stranger.address, sender=world.governor.address)
    node, end = world.tees[0].node_id, 2**32 - 1
    with refuses("registry: time is too large"):
        world.registry.hold([node], 1, end + 1, sender=world.stranger.address)
    world.registry.hold([node], 1, end, sender=world.stranger.address)
    assert world.registry.node(node)[7] == end
    assert world.registry.is_live(node)


def test_holds_and_slashes_are_for_a_listed_exchange(world: World) -> None:
    node, anyone = world.tees[0], world.stranger.address
    with refuses("governor: not a listed exchange"):
        world.registry.hold([node.node_id], 1, START + DAY, sender=anyone)
    with refuses("registry: not the exchange's grants contract"):
        world.registry.hold_for(world.exchange.address, [node.node_id], 1, START, sender=anyone)
    with refuses("registry: not the exchange's challenges contract"):
        world.registry.slash(world.exchange.address, [node.node_id], 1, anyone, sender=anyone)
    with refuses("governor: not a listed exchange"):
        world.registry.slash(anyone, [node.node_id], 1, anyone, sender=anyone)
    with refuses("registry: not the current epoch"):
        world.registry.hold([node.node_id], 2, START + DAY, sender=world.exchange.address)
    with refuses("registry: time is too large"):
        world.registry.hold([node.node_id], 1, 2**32, sender=world.exchange.address)
    world.registry.remove_exchange(world.exchange.address, sender=world.governor.address)
    with refuses("governor: not a listed exchange"):
        world.registry.hold([node.node_id], 1, START + DAY, sender=world.exchange.address)


def test_a_slash_takes_at_most_the_stake_and_is_collected(world: World) -> None:
    node, who = world.tees[0], world.consumer.address
    with boa.env.prank(world.challenges.address):
        world.registry.slash(world.exchange.address, [node.node_id], 10**17, who)
        assert world.registry.claimable(who) == 10**17
        assert not world.registry.is_live(node.node_id)
        world.registry.slash(world.exchange.address, [node.node_id], 10**19, who)
    assert world.registry.claimable(who) == 10**18
    before = boa.env.get_balance(who)
    world.registry.collect(who, sender=world.stranger.address)
    assert boa.env.get_balance(who) == before + 10**18
    with refuses("registry: nothing to collect"):
        world.registry.collect(who)
    with refuses("registry: stake is too small"):
        world.renew(node)
    node.epoch -= 1
    world.registry.add_stake(node.node_id, sender=who, value=10**18)
    world.renew(node)
    assert world.registry.is_live(node.node_id)
    node.epoch, node.signer = 1, Role("signer of tee 0")


def test_additions_wait_outside_a_development_deployment() -> None:
    with boa.env.anchor():
        world = World(development=False)
        other = keccak(b"other")
        with boa.env.prank(world.governor.address):
            world.registry.list_measurement(TDX, other)
            world.registry.list_exchange(world.stranger.address)
        node = world.register("other", TEE, measurement=other)
        world.move_to(START + 7 * DAY - 1)
        assert not world.registry.is_live(node.node_id)
        with refuses("governor: not a listed exchange"):
            world.registry.hold([], 0, 0, sender=world.stranger.address)
        world.move_to(START + 7 * DAY)
        assert world.registry.is_live(node.node_id)
        world.registry.hold([], 0, 0, sender=world.stranger.address)
    boa.env.evm.patch.timestamp = START


def test_simulated_evidence_reverts_without_the_development_flag() -> None:
    with boa.env.anchor():
        world = World(development=False)
        with refuses("registry: simulated evidence needs a development deployment"):
            world.register("sim", TEE, vendor=SIMULATED)
        with refuses("registry: simulated evidence needs a development deployment"):
            world.registry.list_vendor(SIMULATED, sender=world.governor.address)
    boa.env.evm.patch.timestamp = START


@pytest.mark.parametrize(
    ("chain_id", "development", "delay", "reason"),
    [
        (1, True, 0, "governor: not a development chain"),
        (1, False, 7 * DAY - 1, "governor: delay is too short"),
        (31337, False, 0, "governor: delay is too short"),
    ],
)
def test_the_development_flag_needs_a_development_chain(
    world: World, chain_id: int, development: bool, delay: int, reason: str
) -> None:
    boa.env.evm.patch.chain_id = chain_id
    try:
        deploy_refused(reason, "NodeRegistry", world.governor.address, development, 1, delay, [], [])
    finally:
        boa.env.evm.patch.chain_id = 31337
    deploy_refused("governor: zero address", "NodeRegistry", ZERO, True, 1, 0, [], [])
