"""The agent: a killed node's share is sealed again and the trade finishes; nothing is approved or accepted unless the owner said so."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from asset_bridge.agent.duties import Agent, Done
from asset_bridge.attestation.policy import AgentRules
from asset_bridge.attestation.policy_file import parse, render
from asset_bridge.chain.records import OrderState
from asset_bridge.errors import InputError
from asset_bridge.trade.accept import record_delivery
from asset_bridge.trade.challenge import challenge
from asset_bridge.trade.desk import Desk
from asset_bridge.trade.publish import publish
from tests.support.trade import make_scene, plan_of
from tests.support.trade_steps import Trade, make_data


@pytest.fixture
def trade(tmp_path: Path) -> Trade:
    scene = make_scene(tmp_path / "scene")
    provider, consumer = scene.desk("provider"), scene.desk("consumer")
    data = make_data(tmp_path)
    done = publish(provider, plan_of(data), scene.folder_of("provider", "work"))
    scene.chain.mine(3)
    return Trade(scene, tmp_path, data, provider, consumer, done)


def turn(agent: Agent, trade: Trade, desk: Desk) -> list[Done]:
    found = list(agent.turn(desk, trade.scene.examiner))
    trade.scene.chain.mine(3)
    return found


def verbs(found: list[Done]) -> list[tuple[str, str]]:
    return [(item.verb, item.code) for item in found]


def test_a_request_is_told_once_and_never_approved_by_itself(trade: Trade) -> None:
    agent = Agent(AgentRules())
    assert turn(agent, trade, trade.provider) == []
    trade.request()
    trade.scene.chain.mine(3)
    assert verbs(turn(agent, trade, trade.provider)) == [("inbox", "")]
    assert turn(agent, trade, trade.provider) == []
    assert trade.scene.chain.order(trade.order_id).state is OrderState.REQUESTED


def test_it_approves_where_the_policy_says_so(trade: Trade) -> None:
    trade.request()
    trade.scene.chain.mine(3)
    assert verbs(turn(Agent(AgentRules(approve=True)), trade, trade.provider)) == [("approve", "")]
    assert trade.scene.chain.order(trade.order_id).state is OrderState.APPROVED


def test_a_killed_nodes_share_is_sealed_again_and_the_trade_finishes(trade: Trade) -> None:
    trade.request().approve()
    trade.pay()
    scene, agent = trade.scene, Agent(AgentRules())
    assert turn(agent, trade, trade.provider) == []
    node = next(tee for tee in scene.tees if tee.node_id == slots(trade)[0])
    node.core = None
    assert turn(agent, trade, trade.provider) == []  # the registry does not know of a kill; there is nobody to seal to
    began = scene.clock()
    scene.start_tee(node)
    assert turn(Agent(AgentRules(reseal=False)), trade, trade.provider) == []
    assert verbs(turn(agent, trade, trade.provider)) == [("reseal", "")]
    assert scene.clock() - began <= 60
    assert turn(agent, trade, trade.provider) == []
    trade.fetch()
    trade.assert_same()
    assert verbs(turn(Agent(AgentRules()), trade, trade.consumer)) == [("record delivery", "")]
    assert scene.chain.order(trade.order_id).state is OrderState.DELIVERED
    assert turn(Agent(AgentRules()), trade, trade.consumer) == []
    assert verbs(turn(Agent(AgentRules(accept=True)), trade, trade.consumer)) == [("accept", "")]
    assert scene.chain.order(trade.order_id).state is OrderState.SETTLED


def slots(trade: Trade) -> list[bytes]:
    approval = trade.scene.chain.order(trade.order_id).approval
    assert approval is not None
    return [slot.node_id for slot in approval.slots]


def test_a_failure_is_told_and_the_next_turn_tries_again(trade: Trade) -> None:
    trade.request().approve()
    trade.pay()
    scene, agent = trade.scene, Agent(AgentRules())
    node = next(tee for tee in scene.tees if tee.node_id == slots(trade)[0])
    scene.start_tee(node)
    core, node.core = node.core, None
    found = turn(agent, trade, trade.provider)
    assert [item.verb for item in found] == ["reseal"]
    assert found[0].code
    node.core = core
    assert verbs(turn(agent, trade, trade.provider)) == [("reseal", "")]


def test_a_challenge_is_answered_unless_the_owner_forbids_it(trade: Trade) -> None:
    trade.request().approve()
    trade.pay()
    trade.fetch()
    record_delivery(trade.consumer, trade.order_id)
    trade.scene.chain.mine(3)
    assert turn(Agent(AgentRules()), trade, trade.provider) == []
    challenge(trade.consumer, trade.order_id)
    trade.scene.chain.mine(3)
    assert turn(Agent(AgentRules(answer=False)), trade, trade.provider) == []
    for tee in trade.scene.tees:
        cores, tee.core = tee.core, None
        tee.core = cores if tee is trade.scene.tees[0] else None
    found = turn(Agent(AgentRules(reseal=False)), trade, trade.provider)
    assert [(item.verb, item.code, item.told) for item in found] == [
        ("answer", "", "challenge answered in part, 1 fragments posted")
    ]
    assert verbs(turn(Agent(AgentRules(reseal=False)), trade, trade.provider)) == [
        ("answer", "trade.too-few-fragments")
    ]
    waiting = trade.scene.chain.challenge_of(trade.order_id)
    assert waiting is not None
    trade.scene.chain.advance_to(waiting.answer_by)
    assert turn(Agent(AgentRules(reseal=False)), trade, trade.provider) == []  # too late: nothing to send


def test_the_rules_in_the_policy_file(trade: Trade) -> None:
    plain = trade.scene.policy()
    assert "[agent]" not in render(plain)
    assert parse(render(plain)).agent == AgentRules(reseal=True, approve=False, accept=False)
    for rules in (AgentRules(approve=True), AgentRules(reseal=False, accept=True), AgentRules(answer=False)):
        assert parse(render(replace(plain, agent=rules))).agent == rules
    for junk in ("\n[agent]\napprove = 1\n", "\n[agent]\nsell = true\n"):
        with pytest.raises(InputError):
            parse(render(plain) + junk)
