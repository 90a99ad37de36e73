"""Exchange and Grants from request to payment (protocol §4, spec §7)."""

from __future__ import annotations

import boa
import pytest

from tests.unit.contracts.world import DAY, HOUR, START, ZERO, Order, Role, World, deploy_refused, refuses


def denied(world: World, order: Order, sender: Role) -> None:
    world.grants.deny(order.order_id, order.terms, order.card, world.random(), 100, b"", sender=sender.address)


def cancelled(world: World, order: Order, sender: Role) -> None:
    world.exchange.cancel(order.order_id, order.terms, order.card, order.table_hash, b"", sender=sender.address)


def test_a_request_repeats_the_offer_exactly(world: World) -> None:
    asset = world.publish()
    price, token, terms, periods, card = asset.offer
    for offer in (
        (price - 1, token, terms, periods, card),
        (price, world.token.address, terms, periods, card),
        (price, token, bytes(32), periods, card),
        (price, token, terms, periods + 1, card),
        (price, token, terms, periods, bytes(32)),
    ):
        arguments, _ = world.request_arguments(asset, world.consumer.address)
        arguments[2] = offer
        with refuses("ledger: not the present offer"):
            world.exchange.request(*arguments, b"", sender=world.consumer.address)
    arguments, _ = world.request_arguments(asset, world.consumer.address)
    arguments[1] = world.stranger.address
    with refuses("ledger: not the present offer"):
        world.exchange.request(*arguments, b"", sender=world.consumer.address)


def test_a_request_refuses_malformed_keys_and_repetition(world: World) -> None:
    asset = world.publish()
    arguments, order = world.request_arguments(asset, world.consumer.address)
    world.exchange.request(*arguments, b"", sender=world.consumer.address)
    with refuses("exchange: order exists"):
        world.exchange.request(*arguments, b"", sender=world.consumer.address)
    for at, value, reason in (
        (3, ZERO, "exchange: fetch signer is zero"),
        (4, 4, "exchange: malformed receiving key"),
        (4, 1, "exchange: malformed receiving key"),
    ):
        changed = list(arguments)
        changed[at] = value
        with refuses(reason):
            world.exchange.request(*changed, b"", sender=world.consumer.address)
    assert world.state(order) == "requested"


def test_the_same_request_of_another_account_is_another_order(world: World) -> None:
    """Attack: a copied request must not take the consumer's order id."""
    asset = world.publish()
    arguments, order = world.request_arguments(asset, world.consumer.address)
    world.exchange.request(*arguments, b"", sender=world.stranger.address)
    assert world.state(order) == "none"
    world.exchange.request(*arguments, b"", sender=world.consumer.address)
    assert world.state(order) == "requested"


def test_approval_up_to_and_not_at_the_deadline(world: World) -> None:
    asset = world.publish()
    early, late = world.request(asset), world.request(asset)
    world.move_to(START + DAY - 1)
    world.approve(early)
    world.move_to(START + DAY)
    with refuses("exchange: deadline has passed"):
        world.approve(late)
    with refuses("exchange: deadline has passed"):
        denied(world, late, world.provider)
    assert world.deadline(early) == START + 2 * DAY - 1


@pytest.mark.parametrize("state", ["requested", "approved"])
def test_an_unanswered_order_expires_at_its_deadline(world: World, state: str) -> None:
    order = world.request()
    if state == "approved":
        world.approve(order)
    world.move_to(START + DAY - 1)
    with refuses("exchange: deadline is not reached"):
        world.exchange.expire(order.order_id, sender=world.stranger.address)
    world.move_to(START + DAY)
    world.exchange.expire(order.order_id, sender=world.stranger.address)
    assert world.state(order) == "expired"


def test_denial_and_cancellation_are_of_the_right_role(world: World) -> None:
    asset = world.publish()
    first, second, third = (world.request(asset) for _ in range(3))
    with refuses("grants: not the provider"):
        denied(world, first, world.consumer)
    denied(world, first, world.provider)
    with refuses("exchange: not the consumer"):
        cancelled(world, second, world.provider)
    cancelled(world, second, world.consumer)
    cancelled(world, world.approve(third), world.consumer)
    assert [world.state(order) for order in (first, second, third)] == ["denied", "cancelled", "cancelled"]
    for order in (first, second, third):
        for call in (denied, cancelled):
            with refuses("exchange: wrong state"):
                call(world, order, world.provider if call is denied else world.consumer)


def test_only_the_provider_approves_and_only_once(world: World) -> None:
    order = world.request()
    with refuses("grants: not the provider"):
        world.grants.approve(*world.approve_arguments(order), b"", sender=world.consumer.address)
    world.approve(order)
    with refuses("exchange: wrong state"):
        world.approve(order)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"threshold": 1}, "grants: threshold is out of range"),
        ({"threshold": 4}, "grants: threshold is out of range"),
        ({"signer": Role("another signer")}, "grants: share is not signed by the listed signer"),
        ({"pk_b": b"\x02" + b"\1" * 32}, "grants: share is not signed by the listed signer"),
        ({"expires": START}, "grants: order key has expired"),
    ],
)
def test_junk_approvals_are_refused(world: World, changes: dict[str, object], reason: str) -> None:
    with refuses(reason):
        world.approve(**changes)


@pytest.mark.parametrize("field", ["node", "operator", "kfrag", "commitment"])
def test_slots_are_distinct(world: World, field: str) -> None:
    """Attack: a threshold-1 set in the dress of a larger one, or one operator in two slots."""
    order = world.request()
    nodes = world.tees[:3]
    if field == "node":
        nodes = [world.tees[0], world.tees[0]]
    if field == "operator":
        twin = Role("twin signer")
        world.registry.register(
            b"\7" * 32, 2, world.epoch(twin, 2), b"", sender=world.tees[0].operator.address, value=10**18
        )
        from tests.unit.contracts.world import Node
        from tools.vectors.contracts import node_id

        nodes = [world.tees[0], Node(node_id(world.tees[0].operator.address, b"\7" * 32), world.tees[0].operator, twin)]
    arguments = world.approve_arguments(order, nodes)
    shares = arguments[5]
    if field == "kfrag":
        arguments[5] = shares[: 137 + 40] + shares[40:72] + shares[137 + 72 :]
    if field == "commitment":
        arguments[5] = shares[: 137 + 73] + shares[73:105] + shares[137 + 105 :]
    reason = (
        "registry: operators are not distinct" if field in ("node", "operator") else "grants: slots are not distinct"
    )
    with refuses(reason):
        world.grants.approve(*arguments, b"", sender=world.provider.address)


def test_operators_with_one_tag_are_told_apart(world: World) -> None:
    """The registry compares a byte of the operator first; where it is equal, the operators themselves decide."""
    tag = int(world.tees[0].operator.address, 16) & 255
    names = (f"tag {i}" for i in range(100_000))
    name = next(n for n in names if int(Role(f"operator of {n}").address, 16) & 255 == tag)
    nodes = [world.tees[0], world.tees[1], world.register(name, 2)]
    order = world.request()
    world.grants.approve(*world.approve_arguments(order, nodes), b"", sender=world.provider.address)
    assert world.state(order) == "approved"


def test_approval_needs_live_nodes_and_whole_fields(world: World) -> None:
    order = world.request()
    for at, change in ((4, b"\2"), (5, b"\1"), (6, b"\1")):
        arguments = world.approve_arguments(order)
        arguments[at] = arguments[at][:-1] if at == 4 else arguments[at] + change
        with refuses("grants: wrong length"):
            world.grants.approve(*arguments, b"", sender=world.provider.address)
    stale = world.approve_arguments(order)
    node = world.tees[0]
    world.registry.renew(node.node_id, world.epoch(Role("next"), 2), b"", sender=node.operator.address)
    with refuses("registry: not the current epoch"):
        world.grants.approve(*stale, b"", sender=world.provider.address)


def test_an_approval_copied_under_another_listing_is_refused(world: World) -> None:
    """Attack: shares made for one asset are shown as an approval of another, of the same provider."""
    first, second = world.request(), world.request()
    arguments = world.approve_arguments(first)
    arguments[0], arguments[1], arguments[2] = second.order_id, second.terms, second.asset.parts
    with refuses("grants: share is not signed by the listed signer"):
        world.grants.approve(*arguments, b"", sender=world.provider.address)
    arguments[2] = first.asset.parts
    arguments[1] = first.terms
    with refuses("exchange: not this order"):
        world.grants.approve(*arguments, b"", sender=world.provider.address)


def test_sixteen_slots_fit(world: World) -> None:
    from tests.unit.contracts.world import TEE

    nodes = world.tees + [world.register(f"more {i}", TEE) for i in range(12)]
    order = world.approve(world.request(), nodes, threshold=16)
    world.pay(order, tuple(range(16)))
    world.record(order, tuple(range(16)))
    world.settle(order)
    assert world.state(order) == "settled"


def test_payment_is_exact_and_by_the_consumer(world: World) -> None:
    order = world.approve()
    price = order.terms[5]
    arguments = (order.order_id, order.terms, order.card, order.table, world.accepts(order), b"", b"")
    me = world.consumer.address
    for value in (0, price - 1, price + 1):
        with refuses("exchange: value is not the price"):
            world.exchange.pay(*arguments, sender=me, value=value)
    with refuses("exchange: not the consumer"):
        world.exchange.pay(*arguments, sender=world.stranger.address, value=price)
    world.exchange.pay(*arguments, sender=me, value=price)
    world.note_payment(order)
    assert boa.env.get_balance(world.exchange.address) == price
    assert world.deadline(order) == START + DAY
    with refuses("exchange: not this order"):
        world.exchange.pay(*arguments, sender=me, value=price)


def test_payment_up_to_and_not_at_the_deadline(world: World) -> None:
    asset = world.publish()
    first, second = world.approve(world.request(asset)), world.approve(world.request(asset))
    world.move_to(START + DAY - 1)
    world.pay(first)
    world.move_to(START + DAY)
    with refuses("exchange: deadline has passed"):
        world.pay(second)


@pytest.mark.parametrize(
    "case", ["few", "order", "ragged", "twice", "slot", "signer", "chain", "contract", "generation", "other order"]
)
def test_accepts_are_the_nodes_own(world: World, case: str) -> None:
    """I7: an Accept counts for one order, generation, slot, chain and contract."""
    order, other = world.approve(), world.approve()
    one, two = (bytes([slot]) + world.accept(order, slot) for slot in (0, 1))
    wrong = "exchange: accept is not the node's"
    cases = {
        "few": (one, "exchange: too few accepts"),
        "order": (two + one, "exchange: slots are not ascending"),
        "twice": (one + one, "exchange: slots are not ascending"),
        "ragged": (one + two + b"\1", "exchange: wrong length"),
        "slot": (one + b"\3" + two[1:], "exchange: no such slot"),
        "signer": (one + b"\1" + world.accept(order, 1, signer=world.stranger), wrong),
        "contract": (one + b"\1" + world.accept(order, 1, contract=world.grants), wrong),
        "generation": (one + b"\1" + world.accept(order, 1, generation=2), wrong),
        "other order": (one + b"\1" + world.accept(other, 1), wrong),
    }
    if case == "chain":
        world.chain_id = 1
        cases["chain"] = (one + b"\1" + world.accept(order, 1), wrong)
        world.chain_id = 31337
    accepts, reason = cases[case]
    with refuses(reason):
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


def test_a_node_that_restarted_cannot_be_paid_for(world: World) -> None:
    order = world.approve()
    accepts = world.accepts(order)
    node = order.nodes[0]
    world.registry.renew(node.node_id, world.epoch(Role("next"), 2), b"", sender=node.operator.address)
    with refuses("registry: not the current epoch"):
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
    world.pay(order, (1, 2))


def test_code_that_is_not_listed_is_not_paid(world: World) -> None:
    """Attack: between approval and payment a node goes over to code of its own, with the key that the shares are for."""
    order = world.approve()
    node, price = order.nodes[0], order.terms[5]
    epoch = world.epoch(node.signer, 2, measurement=b"\5" * 32)
    world.registry.renew(node.node_id, epoch, b"", sender=node.operator.address)
    head = (order.order_id, order.terms, order.card, order.table)
    for slots in ((0, 1), (1, 2)):
        paying = (*head, world.accepts(order, slots), b"", b"")
        if 0 in slots:
            with refuses("registry: measurement is not listed"):
                world.exchange.pay(*paying, sender=world.consumer.address, value=price)
        else:
            world.exchange.pay(*paying, sender=world.consumer.address, value=price)
    assert world.state(order) == "paid"


def test_order_keys_expire_at_their_time(world: World) -> None:
    world.approve(expires=START + 1)
    with refuses("grants: order key has expired"):
        world.approve(expires=START)
    assert HOUR == 3600


def test_the_constructor_checks_its_companions(world: World) -> None:
    from tests.unit.contracts.world import deploy

    rest = (world.stranger.address, world.stranger.address)
    ledger, registry = world.ledger.address, world.registry.address
    deploy_refused("exchange: not a contract", "Exchange", ZERO, registry, *rest, True, (0, 0, 0, 0), 0, 0)
    for fees in ((9999, 1, 1, 0), (9000, 500, 400, 101)):
        deploy_refused("exchange: fees are too high", "Exchange", ledger, registry, *rest, True, fees, 0, 0)
    assert tuple(deploy("Exchange", ledger, registry, *rest, True, (9000, 500, 400, 100), 0, 0).fees())[3] == 100
    deploy_refused(
        "exchange: margin or grace is too short",
        "Exchange",
        ledger,
        registry,
        *rest,
        False,
        (0, 0, 0, 0),
        HOUR,
        DAY - 1,
    )
    deploy_refused(
        "exchange: margin or grace is too short",
        "Exchange",
        ledger,
        registry,
        *rest,
        False,
        (0, 0, 0, 0),
        HOUR - 1,
        DAY,
    )
    exchange = deploy("Exchange", ledger, registry, *rest, True, (0, 0, 0, 0), 0, 0)
    deploy_refused("grants: exchange names another contract", "Grants", exchange.address)
    boa.env.evm.patch.chain_id = 1337
    try:
        assert deploy("Exchange", ledger, registry, *rest, True, (0, 0, 0, 0), 0, 0).development()
        boa.env.evm.patch.chain_id = 5
        deploy_refused(
            "exchange: not a development chain", "Exchange", ledger, registry, *rest, True, (0, 0, 0, 0), 0, 0
        )
    finally:
        boa.env.evm.patch.chain_id = 31337
    with refuses("exchange: not the grants contract"):
        world.exchange.set_order(*[bytes(32)] * 6, 0, bytes(32), sender=world.stranger.address)
