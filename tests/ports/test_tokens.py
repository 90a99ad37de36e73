"""A price in a token, end to end, on the twin and on anvil: by permit, after a permit that was sent first, by allowance."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from asset_bridge.chain.actor import Actor
from asset_bridge.chain.keys import checksum_address
from asset_bridge.chain.records import ZERO_ADDRESS, OrderState
from asset_bridge.chain.tokens import APPROVE, COIN, PERMIT, Token, token_call
from asset_bridge.errors import InputError, RefusedError
from tests.ports.chain_scene import MEASUREMENT, PERIODS, PRICE_WEI, Scene
from tests.ports.chain_worlds import AnvilWorld, TwinWorld, World

FIRST_TOKEN = checksum_address(b"\x11" * 20)


@pytest.fixture(scope="module", params=["twin", pytest.param("anvil", marks=pytest.mark.needs_anvil)])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    if request.param == "twin":
        yield TwinWorld(((255, MEASUREMENT),), (FIRST_TOKEN,))
        return
    anvil: Path = request.getfixturevalue("anvil_path")
    with AnvilWorld(anvil, tmp_path_factory.mktemp("anvil"), ((255, MEASUREMENT),), (FIRST_TOKEN,)) as made:
        yield made


@pytest.fixture
def scene(world: World, request: pytest.FixtureRequest) -> Scene:
    return world.scene(request.node.name)


@pytest.fixture(scope="module")
def token(world: World) -> str:
    return world.token(permits=True)


@pytest.fixture(scope="module")
def old_token(world: World) -> str:
    return world.token(permits=False)


def units(account: Actor, token: str) -> int:
    return account.reader.token_units(account.address, token)


def test_a_token_tells_its_symbol_and_decimals(scene: Scene, token: str) -> None:
    reader = scene.consumer.reader
    assert reader.token(token) == Token(token, "TST", 6)
    assert reader.token(token).text(1_500_000) == "1.5 TST"
    assert reader.token(ZERO_ADDRESS) == COIN
    active = reader.tokens_active()
    assert active[0] == FIRST_TOKEN  # from the deployment on
    assert token in active
    reader.require_listed(token)
    reader.require_listed(ZERO_ADDRESS)
    with pytest.raises(InputError) as error:
        reader.token(scene.consumer.address)
    assert error.value.code == "chain.token"
    with pytest.raises(InputError) as error:
        reader.require_listed(scene.consumer.address)
    assert error.value.code == "chain.token-not-listed"
    assert token in error.value.hint


def test_a_permit_pays_without_a_transaction_before_it(world: World, scene: Scene, token: str) -> None:
    consumer, provider = scene.consumer, scene.provider
    world.give(token, consumer.address, PRICE_WEI + 7)
    order = scene.approved(token=token)
    assert consumer.allow_payment(order.order_id) == ()
    consumer.pay(order.order_id, [scene.accept(order, slot) for slot in (0, 1, 2)])
    paid = consumer.reader.order(order.order_id)
    assert (paid.state, paid.escrow_wei, units(consumer, token)) == (OrderState.PAID, PRICE_WEI, 7)
    assert consumer.reader.token_allowance(consumer.address, token) == 0
    fetch, receipts = scene.fetch(paid), [scene.receipt(paid, slot) for slot in (0, 1, 2)]
    consumer.accept_receipts(order.order_id, fetch, receipts)
    owed = provider.reader.balance_wei(provider.address, token)
    assert 0 < owed <= PRICE_WEI
    provider.claim(token)
    assert units(provider, token) == owed


def test_a_permit_that_somebody_else_sent_first_does_no_harm(
    world: World, scene: Scene, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attack: an observer takes the permit out of the pending payment and submits it alone, so that the payment's own fails."""
    consumer, reader = scene.consumer, scene.consumer.reader
    world.give(token, consumer.address, PRICE_WEI)
    order = scene.approved(token=token)
    permit = reader.permit(consumer.address, token, PRICE_WEI, order.pay_by, consumer.sign_digest)
    words = [permit[i : i + 32] for i in range(0, 160, 32)]
    numbers = [int.from_bytes(word, "big") for word in words[:3]]
    call = token_call(PERMIT, consumer.address, reader.exchange, *numbers, *words[3:])
    scene.recorder._call_token("permit", token, call)
    with pytest.raises(RefusedError):
        scene.recorder._call_token("permit", token, call)  # it is used: the payment's own has no effect
    monkeypatch.setattr(consumer, "_permit", lambda order_id: permit)
    consumer.pay(order.order_id, [scene.accept(order, slot) for slot in (0, 1)])
    assert reader.order(order.order_id).state is OrderState.PAID
    assert (units(consumer, token), reader.token_allowance(consumer.address, token)) == (0, 0)


def test_a_token_without_a_permit_is_allowed_exactly_the_price(world: World, scene: Scene, old_token: str) -> None:
    consumer, reader = scene.consumer, scene.consumer.reader
    world.give(old_token, consumer.address, 2 * PRICE_WEI)
    order = scene.approved(token=old_token)
    assert len(consumer.allow_payment(order.order_id)) == 1
    assert reader.token_allowance(consumer.address, old_token) == PRICE_WEI
    assert consumer.allow_payment(order.order_id) == ()
    consumer.pay(order.order_id, [scene.accept(order, slot) for slot in (0, 1)])
    assert reader.token_allowance(consumer.address, old_token) == 0
    second = scene.approved(token=old_token)
    consumer._call_token("allow", old_token, token_call(APPROVE, reader.exchange, PRICE_WEI - 1))
    assert len(consumer.allow_payment(second.order_id)) == 2  # to zero, then to the price
    assert reader.token_allowance(consumer.address, old_token) == PRICE_WEI


def test_too_few_tokens_are_said_before_anything_is_sent(world: World, scene: Scene, token: str) -> None:
    world.give(token, scene.consumer.address, PRICE_WEI - 1)
    order = scene.approved(token=token)
    kind = scene.consumer.reader.token(token)
    for act in (scene.consumer.allow_payment, lambda order_id: scene.consumer.pay(order_id, [])):
        with pytest.raises(InputError) as error:
            act(order.order_id)
        assert error.value.code == "chain.token-funds"
        for part in (scene.consumer.address, kind.text(PRICE_WEI), kind.text(PRICE_WEI - 1), token):
            assert part in error.value.message
        assert kind.text(1) in error.value.hint


def test_a_refund_gives_the_tokens_back(world: World, scene: Scene, token: str) -> None:
    world.give(token, scene.consumer.address, PRICE_WEI)
    order = scene.paid(token=token)
    assert units(scene.consumer, token) == 0
    world.advance_to(order.deliver_by + scene.consumer.reader.grace_seconds() + PERIODS.deliver_seconds)
    scene.consumer.refund(order.order_id)
    assert units(scene.consumer, token) == PRICE_WEI


def test_a_permit_is_signed_only_for_the_token_that_asks(world: World, scene: Scene, token: str) -> None:
    """Attack: an endpoint answers with the domain of another token, to get a signature that moves that one."""
    reader, asked = scene.consumer.reader, []
    answers = reader.source.token_answers

    def lie(at: str, calls: list[bytes], *rest: object) -> list[bytes | None]:
        found = answers(at, calls, *rest)  # type: ignore[arg-type]
        return [
            b"\x01" * 32 if call == token_call("DOMAIN_SEPARATOR()") else one
            for call, one in zip(calls, found, strict=True)
        ]

    def sign(digest: bytes) -> bytes:
        asked.append(digest)
        return scene.consumer.sign_digest(digest)

    deadline = reader.block().timestamp + 60
    permits = {reader.permit(scene.consumer.address, token, 1, deadline, sign) for _ in range(2)}
    assert [len(one) for one in permits] == [160]  # the same each time: a repeated `pay` is the one that is pending
    asked.clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reader.source, "token_answers", lie)
        assert reader.permit(scene.consumer.address, token, 1, deadline, sign) == b""
    assert asked == []
