"""Challenges on the twin, on anvil, and on both the compiled contracts and the twin call by call."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import boa
import pytest

from asset_bridge.chain.config import DeployConfig
from asset_bridge.chain.keys import AccountKey
from asset_bridge.chain.records import Order, OrderState
from asset_bridge.errors import BridgeError, InputError
from tests.ports.chain_scene import MEASUREMENT, PRICE_WEI, Numbers
from tests.ports.chain_worlds import AnvilWorld, TwinWorld
from tests.ports.true_scene import TrueScene
from tests.stateful.pair import Pair
from tests.support.revm import FastEnv

DEPOSIT_WEI = 10**16
STAKE_WEI = 10**17
GOVERNOR = AccountKey(b"\x07" * 32)


class PairWorld:
    """The contracts in titanoboa beside the twin: each call is compared in success, reason, events."""

    def __init__(self) -> None:
        self.pair = Pair(DeployConfig(GOVERNOR.address, measurements=((255, MEASUREMENT),)))

    def scene(self, name: str) -> TrueScene:
        return TrueScene(lambda role: self.pair.account(f"{name} {role}"), Numbers(name))

    def advance_to(self, at: int) -> None:
        self.pair.twin.advance_to(at)


@pytest.fixture(scope="module", params=["twin", "pair", pytest.param("anvil", marks=pytest.mark.needs_anvil)])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    measurements = ((255, MEASUREMENT),)
    if request.param == "twin":
        yield TwinWorld(measurements)
    elif request.param == "pair":
        with boa.swap_env(FastEnv()):
            yield PairWorld()
    else:
        anvil: Path = request.getfixturevalue("anvil_path")
        with AnvilWorld(anvil, tmp_path_factory.mktemp("anvil"), measurements) as made:
            yield made


@pytest.fixture
def scene(world: TwinWorld, request: pytest.FixtureRequest) -> TrueScene:
    if isinstance(world, PairWorld):
        return world.scene(request.node.name)
    return TrueScene(lambda role: world.account(f"{request.node.name} {role}"), Numbers(request.node.name))


def challenged(scene: TrueScene) -> Order:
    order = scene.delivered((0, 2))
    scene.consumer.challenge(order.order_id)
    found = scene.consumer.reader.challenge_of(order.order_id)
    assert found is not None
    assert (found.challenger, found.answered, found.met) == (scene.consumer.address, 0, False)
    return scene.consumer.reader.order(order.order_id)


def test_two_answers_meet_a_challenge_and_the_window_goes_on(scene: TrueScene) -> None:
    order = challenged(scene)
    assert order.challenged
    bond = scene.consumer.reader.challenge_of(order.order_id).bond_wei  # type: ignore[union-attr]
    scene.recorder.answer_challenge(order.order_id, [(2, scene.proof(order, 2))], 1)
    scene.recorder.answer_challenge(order.order_id, [(0, scene.proof(order, 0))], 1)
    found = scene.consumer.reader.challenge_of(order.order_id)
    assert found is not None
    assert (found.met, found.answered) == (True, 0b101)
    after = scene.consumer.reader.order(order.order_id)
    assert (after.state, after.challenged, after.windows_end) == (OrderState.DELIVERED, False, order.windows_end)
    assert scene.consumer.reader.rewards_wei(scene.recorder.address) == bond > 0
    scene.consumer.withdraw_rewards(scene.recorder.address)
    assert scene.consumer.reader.rewards_wei(scene.recorder.address) == 0
    scene.consumer.accept_delivery(order.order_id)


def test_unanswered_the_price_and_the_deposits_go_to_the_consumer(scene: TrueScene, world: TwinWorld) -> None:
    order = challenged(scene)
    scene.recorder.answer_challenge(order.order_id, [(0, scene.proof(order, 0))], 1)
    found = scene.consumer.reader.challenge_of(order.order_id)
    assert found is not None
    with pytest.raises(BridgeError) as error:
        scene.recorder.close_challenge(order.order_id)
    assert error.value.code in ("chain.challenges.deadline-is-not-reached", "chain.reverted")
    world.advance_to(found.answer_by)
    with pytest.raises(BridgeError):
        scene.recorder.answer_challenge(order.order_id, [(2, scene.proof(order, 2))], 1)
    scene.recorder.close_challenge(order.order_id)
    reader = scene.consumer.reader
    assert reader.order(order.order_id).state is OrderState.REFUNDED
    assert reader.balance_wei(scene.consumer.address, "0x" + "00" * 20) == PRICE_WEI
    assert reader.deposits_wei(scene.consumer.address) == 2 * DEPOSIT_WEI
    stakes = [reader.node(node.node_id).stake_wei for node in scene.tees[:3]]
    assert stakes == [STAKE_WEI, STAKE_WEI - DEPOSIT_WEI, STAKE_WEI - DEPOSIT_WEI]
    scene.consumer.collect_deposits(scene.consumer.address)
    assert reader.deposits_wei(scene.consumer.address) == 0


def test_a_wrong_fragment_and_a_second_challenge_are_refused(scene: TrueScene) -> None:
    order = challenged(scene)
    wrong = bytearray(scene.proof(order, 0))
    wrong[70] ^= 1
    with pytest.raises(BridgeError):
        scene.recorder.answer_challenge(order.order_id, [(0, bytes(wrong))], 1)
    with pytest.raises(BridgeError):
        scene.recorder.answer_challenge(order.order_id, [(1, scene.proof(order, 0))], 1)
    with pytest.raises(BridgeError):
        scene.recorder.challenge(order.order_id)


def test_after_a_revocation_nodes_without_a_receipt_owe_nothing(scene: TrueScene, world: TwinWorld) -> None:
    order = scene.delivered((0, 2))
    scene.provider.revoke(order.order_id)
    scene.consumer.challenge(order.order_id)
    found = scene.consumer.reader.challenge_of(order.order_id)
    assert found is not None
    world.advance_to(found.answer_by)
    scene.recorder.close_challenge(order.order_id)
    stakes = [scene.consumer.reader.node(node.node_id).stake_wei for node in scene.tees[:3]]
    assert stakes == [STAKE_WEI - DEPOSIT_WEI, STAKE_WEI, STAKE_WEI - DEPOSIT_WEI]


def test_after_a_revocation_anyone_answers(scene: TrueScene) -> None:
    order = scene.delivered((0, 2))
    scene.provider.revoke(order.order_id)
    scene.consumer.challenge(order.order_id)
    scene.recorder.answer_challenge(order.order_id, [(0, scene.proof(order, 0)), (2, scene.proof(order, 2))], 1)
    after = scene.consumer.reader.order(order.order_id)
    assert (after.state, after.serving_stopped, after.challenged) == (OrderState.DELIVERED, True, False)


def test_an_order_without_delivery_has_no_fetch_to_repeat(scene: TrueScene) -> None:
    order = scene.approved()
    assert scene.consumer.reader.challenge_of(order.order_id) is None
    with pytest.raises(InputError) as error:
        scene.consumer.challenge(order.order_id)
    assert error.value.code == "chain.not-delivered"
    scene.consumer.pay(order.order_id, [scene.accept(order, slot) for slot in (0, 1, 2)])
    with pytest.raises(InputError) as error:
        scene.consumer.reader.recorded_fetch(order.order_id)
    assert error.value.code == "chain.not-delivered"
