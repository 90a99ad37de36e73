"""Grants after approval: revoke, reseal, new generation, destroyed keys (protocol §7)."""

from __future__ import annotations

import pytest

from tests.unit.contracts.world import DAY, HOUR, START, TEE, Node, Order, Role, World, account_of, refuses


def reseal_arguments(
    world: World, order: Order, slot: int, node: Node, **changes: object
) -> tuple[list[object], bytes]:
    """Arguments of `reseal`, and the row that the slot gets."""
    kem, expires = world.random(), changes.get("expires", world.now + HOUR)
    epoch = node.epoch.to_bytes(8, "big")
    row = node.node_id + epoch + bytes.fromhex(node.signer.address[2:]) + order.row(slot)[60:125] + kem
    accept = changes.get("accept") or world.accept(order, slot, row=row, signer=node.signer)
    sealed = int(str(expires)).to_bytes(5, "big") + world.random(144)
    replacement = node.node_id + epoch + kem
    head = [order.order_id, order.terms, order.card, order.table, order.progress, slot, replacement, sealed]
    return [*head, accept], row


def reseal(world: World, order: Order, slot: int, node: Node, sender: Role | None = None, **changes: object) -> bytes:
    arguments, row = reseal_arguments(world, order, slot, node, **changes)
    world.grants.reseal(*arguments, b"", sender=(sender or world.provider).address)
    old = order.row(slot)
    order.table = order.table.replace(old, row)
    order.nodes[slot] = node
    if order.progress:
        accepted = int.from_bytes(order.progress[:2], "big") | 1 << slot
        order.progress = accepted.to_bytes(2, "big") + order.progress[2:]
    return old


def regenerate_arguments(
    world: World, order: Order, nodes: list[Node], generation: int, **changes: object
) -> list[object]:
    x_a, shares, sealed, table = world.shares(order, nodes, generation=generation, **changes)  # type: ignore[arg-type]
    head = [order.order_id, order.terms, order.asset.parts, order.table_hash, order.progress]
    order.table, order.nodes = table, list(nodes)
    return [*head, changes.get("threshold", 2), x_a, shares, sealed]


def consent_fields(arguments: list[object], generation: int) -> dict[str, object]:
    return {
        "order": arguments[0],
        "generation": generation,
        "threshold": arguments[5],
        "precursor": arguments[6],
        "shares": arguments[7],
        "sealedShares": arguments[8],
    }


def destroyed(world: World, order: Order, slot: int, /, *, row: bytes | None = None, **changes: object) -> list[object]:
    """Arguments of `record_destroyed`."""
    true_row = row or order.row(slot)
    generation = int.from_bytes(order.table[1:5], "big")
    values = {
        "order": order.order_id,
        "generation": generation,
        "slot": slot,
        "kemKey": true_row[125:157],
        "node": true_row[:32],
        "epoch": int.from_bytes(true_row[32:40], "big"),
        "reason": 2,
    }
    signer = changes.pop("signer", order.nodes[slot].signer)
    signature = signer.compact(world.digest("Destroyed", world.exchange, **{**values, **changes}))  # type: ignore[attr-defined]
    old = row if row is not None else b""
    return [
        order.order_id,
        order.terms,
        order.card,
        order.table,
        bytes(32),
        order.progress_hash,
        slot,
        old,
        2,
        signature,
    ]


def test_revocation_of_a_paid_order_refunds_after_grace(world: World) -> None:
    order = world.pay()
    with refuses("grants: not the provider"):
        world.revoke(order, world.consumer)
    world.move_to(START + HOUR)
    world.revoke(order)
    assert (world.state(order), world.deadline(order)) == ("revoked", START + HOUR)
    world.move_to(START + HOUR + world.grace - 1)
    with refuses("exchange: deadline is not reached"):
        world.refund(order)
    world.move_to(START + HOUR + world.grace)
    world.refund(order)
    assert world.balance(account_of(world.consumer)) == order.terms[5]
    with refuses("exchange: wrong state"):
        world.revoke(order)


def test_a_receipt_of_before_the_revocation_still_counts(world: World) -> None:
    """Attack: the provider revokes right after the cfrags were released, so as not to be paid for data that is out."""
    order = world.pay()
    world.revoke(order)
    world.move_to(START + world.grace - 1)
    world.record(order)
    assert world.state(order) == "delivered"
    assert world.status(order) & 64
    world.settle(order)


def test_revocation_after_the_deadline_does_not_prolong_it(world: World) -> None:
    order = world.pay()
    deadline = world.deadline(order)
    world.move_to(deadline + 5)
    world.revoke(order)
    assert world.deadline(order) == deadline


@pytest.mark.parametrize("settled", [False, True])
def test_revocation_after_delivery_stops_serving_and_leaves_the_money(world: World, settled: bool) -> None:
    order = world.deliver()
    if settled:
        world.settle(order)
    before = world.state(order)
    world.revoke(order)
    assert world.state(order) == before
    assert world.status(order) & 64
    with refuses("grants: serving has stopped"):
        world.revoke(order)
    with refuses("grants: serving has stopped"):
        reseal(world, order, 0, world.tees[3])


def test_an_unpaid_order_is_revoked_for_good(world: World) -> None:
    order = world.approve()
    world.revoke(order)
    assert (world.state(order), world.deadline(order)) == ("revoked", 0)
    with refuses("exchange: wrong state"):
        world.pay(order)


def test_a_resealed_slot_serves_and_its_old_row_still_counts(world: World) -> None:
    """A node restarts after its receipt; another slot is resealed too; receipts of before and after count together."""
    order = world.pay(slots=(0, 1))
    early = world.receipt(order, 0, old=True)
    old = reseal(world, order, 0, world.tees[3])
    assert world.registry.node(world.tees[3].node_id)[7] == START + 3 * DAY + world.grace
    second = world.tees[1]
    second_key = Role("second key")
    world.registry.renew(second.node_id, world.epoch(second_key, TEE), b"", sender=second.operator.address)
    reseal(world, order, 1, Node(second.node_id, second.operator, second_key, 2))
    receipts = early + world.receipt(order, 1)
    world.record(order, receipts=receipts, old_rows=old)
    order.progress = order.progress[:39] + old[:32] + order.row(1)[:32]
    world.settle(order)
    assert world.balance(world.tees[0].node_id) > 0
    assert world.balance(world.tees[3].node_id) == 0


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        ("stranger", "grants: not the provider"),
        ("accept", "exchange: accept is not the node's"),
        ("expired key", "grants: order key has expired"),
        ("operator", "grants: slots are not distinct"),
        ("slot", "exchange: no such slot"),
        ("epoch", "registry: not the current epoch"),
        ("length", "grants: wrong length"),
        ("ended", "grants: access has ended"),
        ("table", "exchange: not this order"),
    ],
)
def test_reseal_refuses(world: World, case: str, reason: str) -> None:
    order = world.pay()
    sender, node, slot = world.provider, world.tees[3], 0
    if case == "stranger":
        sender = world.consumer
    if case == "operator":
        node = order.nodes[1]
    if case == "epoch":
        node = Node(node.node_id, node.operator, node.signer, 2)
    if case == "ended":
        world.move_to(START + 30 * DAY)
    changes = {"expires": world.now if case == "expired key" else world.now + 1}
    arguments, _ = reseal_arguments(world, order, slot, node, **changes)
    if case == "accept":
        arguments[8] = world.accept(order, 0)
    if case == "slot":
        arguments[5] = 3
    if case == "length":
        arguments[6] = bytes(71)
    if case == "table":
        arguments[3] = order.table[:-1] + bytes([order.table[-1] ^ 1])
    with refuses(reason):
        world.grants.reseal(*arguments, b"", sender=sender.address)


def test_access_can_be_resealed_up_to_its_end(world: World) -> None:
    order = world.deliver()
    world.settle(order)
    world.move_to(START + 30 * DAY - 1)
    reseal(world, order, 2, world.tees[3])


def test_before_payment_shares_are_replaced_freely(world: World) -> None:
    order = world.approve()
    reseal(world, order, 0, world.tees[3])
    assert not world.exchange.past(order.order_id, order.table_hash)
    arguments = regenerate_arguments(world, order, world.tees[1:], 2)
    with refuses("grants: order is not paid"):
        world.grants.regenerate(*arguments, world.accepts(order), b"", b"", sender=world.provider.address)
    world.grants.regenerate(*arguments, b"", b"", b"", sender=world.provider.address)
    assert world.status(order) >> 9 & 127 == 2
    world.pay(order)
    world.deliver(order)


def test_nobody_else_replaces_shares(world: World) -> None:
    """Attack: whoever has shares that the provider once signed puts them in place of the present ones."""
    order, paid = world.approve(), world.pay()
    arguments = regenerate_arguments(world, order, world.tees[1:], 2)
    for sender in (world.stranger, world.consumer):
        with refuses("grants: not the provider"):
            world.grants.regenerate(*arguments, b"", b"", b"", sender=sender.address)
    arguments = regenerate_arguments(world, paid, world.tees[1:], 2)
    with refuses("grants: not the provider"):  # not by the consumer who agrees, either
        world.grants.regenerate(*arguments, world.accepts(paid), b"", b"", sender=world.consumer.address)


def test_after_payment_a_new_generation_needs_the_consumer(world: World) -> None:
    order = world.pay()
    old_table, old_hash, old_nodes = order.table, order.table_hash, order.nodes
    arguments = regenerate_arguments(world, order, [world.tees[i] for i in (3, 2, 1)], 2)
    accepts = world.accepts(order)
    with refuses("grants: not the consumer"):
        world.grants.regenerate(*arguments, accepts, b"", b"", sender=world.provider.address)
    fields = consent_fields(arguments, 2)
    wrong = world.authority(world.consumer, "Regenerate", world.grants, **{**fields, "generation": 3})
    with refuses("authority: signature is not the account's"):
        world.grants.regenerate(*arguments, accepts, b"", wrong, sender=world.provider.address)
    consent = world.authority(world.consumer, "Regenerate", world.grants, **fields)
    with refuses("exchange: too few accepts"):
        world.grants.regenerate(*arguments, accepts[:65], b"", consent, sender=world.provider.address)
    world.grants.regenerate(*arguments, accepts, b"", consent, sender=world.provider.address)
    assert world.exchange.past(order.order_id, old_hash)
    order.progress = (7).to_bytes(2, "big") + order.progress[2:]
    current, new_table, new_nodes = order.table_hash, order.table, order.nodes
    mixed = world.receipt(order, 1)
    order.table, order.nodes = old_table, old_nodes
    one = world.receipt(order, 0)
    with refuses("exchange: receipt is not the node's"):
        world.record(order, receipts=one + mixed, current=current)
    world.record(order, current=current)
    order.table, order.nodes = new_table, new_nodes
    world.settle(order)


def test_a_table_of_another_order_is_no_past_table(world: World) -> None:
    order = world.pay()
    current = order.table_hash
    order.table = order.table[:1] + (9).to_bytes(4, "big") + order.table[5:]
    with refuses("exchange: not a table of this order"):
        world.record(order, current=current)


def test_destroyed_keys_are_recorded_once(world: World) -> None:
    order = world.pay()
    arguments = destroyed(world, order, 1)
    world.grants.record_destroyed(*arguments, sender=world.stranger.address)
    assert world.status(order) >> 16 & 65535 == 2
    with refuses("grants: destruction is recorded"):
        world.grants.record_destroyed(*arguments, sender=world.stranger.address)
    for changes in ({"signer": world.stranger}, {"reason": 1}, {"generation": 2}, {"order": bytes(32)}):
        with refuses("exchange: word is not the node's"):
            world.grants.record_destroyed(*destroyed(world, order, 0, **changes), sender=world.stranger.address)
    with refuses("grants: wrong length"):
        world.grants.record_destroyed(*destroyed(world, order, 0)[:-1], b"", sender=world.stranger.address)
    reseal(world, order, 1, world.tees[3])
    assert world.status(order) >> 16 & 65535 == 0


def test_a_replaced_node_can_still_say_that_its_key_is_gone(world: World) -> None:
    order = world.pay()
    old = reseal(world, order, 0, world.tees[3])
    arguments = destroyed(world, order, 0, row=old, signer=world.tees[0].signer)
    world.grants.record_destroyed(*arguments, sender=world.stranger.address)
    assert world.status(order) >> 16 & 65535 == 0
    arguments[7] = old[:-1] + bytes([old[-1] ^ 1])
    with refuses("exchange: not a row of this order"):
        world.grants.record_destroyed(*arguments, sender=world.stranger.address)
