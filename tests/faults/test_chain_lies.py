"""F7, F8: every value in every answer that the reader uses is changed once; no changed record is ever believed."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from asset_bridge.chain.adapter import RpcChain
from asset_bridge.chain.records import At, NodeKind
from asset_bridge.errors import BridgeError, InputError, TamperedError, UnavailableError
from tests.faults.chain_proxy import ChainProxy
from tests.ports.chain_scene import Scene
from tests.ports.chain_worlds import AnvilWorld
from tests.support.depth import depth

pytestmark = pytest.mark.needs_anvil


@pytest.fixture(scope="module")
def scene(anvil_world: AnvilWorld) -> Scene:
    return anvil_world.scene("lies")


@pytest.fixture(scope="module")
def order_id(scene: Scene, anvil_world: AnvilWorld) -> bytes:
    order_id = scene.delivered(body=scene.numbers(300)).order_id
    anvil_world.mine(3)
    return order_id


def opened(world: AnvilWorld, *urls: str) -> RpcChain:
    return RpcChain(world.deployment, urls, max_head_age_seconds=10**9, timeout_seconds=5.0)


def look(chain: RpcChain, order_id: bytes, at: At) -> tuple[object, ...]:
    """Everything that a record can hold."""
    order = chain.order(order_id, at)
    asset = chain.asset(order.terms.asset_id, at)
    return order, asset, chain.profile(order.provider, at), chain.nodes(NodeKind.TEE, at)


Leaf = tuple[str, tuple[object, ...]]


def leaves(value: Any, path: tuple[object, ...] = ()) -> Iterator[tuple[object, ...]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item, (*path, key))
    elif isinstance(value, list):
        for i, item in enumerate(value):
            yield from leaves(item, (*path, i))
    elif isinstance(value, str) and value.startswith("0x") and len(value) > 2:
        yield path


def changed(value: Any, path: tuple[object, ...], place: int) -> Any:
    """`value` with one hex digit of the leaf at `path` changed."""
    made = copy.deepcopy(value)
    if not path:
        i = 2 + place % (len(made) - 2)
        return made[:i] + format(int(made[i], 16) ^ 1, "x") + made[i + 1 :]
    at = made
    for key in path[:-1]:
        at = at[key]
    text = at[path[-1]]
    i = 2 + place % (len(text) - 2)
    at[path[-1]] = text[:i] + format(int(text[i], 16) ^ 1, "x") + text[i + 1 :]
    return made


def record_answers(
    world: AnvilWorld, proxy: ChainProxy, order_id: bytes, at: At
) -> tuple[list[Leaf], tuple[object, ...]]:
    """Every (method and occurrence, leaf) that an honest look meets, and what it saw."""
    found: list[Leaf] = []
    counts: dict[str, int] = {}

    def note(method: str, result: Any) -> Any:
        counts[method] = counts.get(method, 0) + 1
        found.extend((f"{method} {counts[method]}", path) for path in leaves(result))
        return result

    proxy.change = note
    chain = opened(world, world.url, proxy.url)
    seen = look(chain, order_id, at)
    chain.close()
    return found, seen


def outcome_of(world: AnvilWorld, proxy: ChainProxy, order_id: bytes) -> tuple[object, ...] | BridgeError:
    chain = opened(world, world.url, proxy.url)
    try:
        return look(chain, order_id, At.FINAL)
    except BridgeError as error:
        return error
    finally:
        chain.close()


def lie(target: str, path: tuple[object, ...], place: int) -> Callable[[str, Any], Any]:
    counts: dict[str, int] = {}

    def change(method: str, result: Any) -> Any:
        counts[method] = counts.get(method, 0) + 1
        return changed(result, path, place) if f"{method} {counts[method]}" == target else result

    return change


def test_no_changed_value_of_one_endpoint_is_believed(
    anvil_world: AnvilWorld, proxy: ChainProxy, order_id: bytes
) -> None:
    found, truth = record_answers(anvil_world, proxy, order_id, At.FINAL)
    methods = {target.split(" ")[0] for target, _ in found}
    assert methods == {"eth_chainId", "eth_getBlockByNumber", "eth_getLogs", "eth_call"}
    step = max(1, len(found) // depth("chain_lies"))
    refusals: dict[str, int] = {}
    for number, (target, path) in enumerate(found[::step]):
        proxy.change = lie(target, path, number * 7)
        outcome = outcome_of(anvil_world, proxy, order_id)
        if isinstance(outcome, BridgeError):
            assert isinstance(outcome, TamperedError | UnavailableError | InputError)
            assert not isinstance(outcome, TamperedError) or proxy.url in outcome.actor
            refusals[outcome.code] = refusals.get(outcome.code, 0) + 1
        else:
            assert outcome == truth, f"a lie in {target} {path} was believed"
    assert set(refusals) >= {"chain.lying-endpoint", "chain.endpoints-disagree"}


def test_a_lie_about_what_the_contract_commits_to_is_seen_with_one_endpoint_alone(
    anvil_world: AnvilWorld, proxy: ChainProxy, order_id: bytes
) -> None:
    for event, offset in (("Requested", 20), ("Approved", 400), ("Delivered", 300)):
        topic = {"Requested": 4, "Approved": 2, "Delivered": 2}[event]

        def change(method: str, result: Any, topics: int = topic, place: int = offset) -> Any:
            if method != "eth_getLogs":
                return result
            made = copy.deepcopy(result)
            for log in made:
                if (
                    order_id.hex() in log["topics"][1]
                    and len(log["topics"]) == topics
                    and len(log["data"]) > place + 700
                ):
                    text = log["data"]
                    log["data"] = text[:place] + format(int(text[place], 16) ^ 1, "x") + text[place + 1 :]
            return made

        proxy.change = change
        chain = opened(anvil_world, proxy.url)
        with pytest.raises(TamperedError) as error:
            chain.order(order_id)
        assert proxy.url in error.value.actor
        proxy.change = lambda _, result: result
        assert chain.order(order_id).order_id == order_id  # nothing of the lie stayed in the index
        chain.close()


def test_withheld_events_are_seen(anvil_world: AnvilWorld, proxy: ChainProxy, order_id: bytes) -> None:
    proxy.change = lambda method, result: [] if method == "eth_getLogs" else result
    alone, both = opened(anvil_world, proxy.url), opened(anvil_world, anvil_world.url, proxy.url)
    for chain, code in ((alone, "chain.lying-endpoint"), (both, "chain.endpoints-disagree")):
        with pytest.raises(TamperedError) as error:
            chain.order(order_id)
        assert error.value.code == code
        assert proxy.url in error.value.actor
        chain.close()


def test_a_stale_and_a_regressing_head_are_refused(anvil_world: AnvilWorld, proxy: ChainProxy, order_id: bytes) -> None:
    chain = RpcChain(anvil_world.deployment, [proxy.url], max_head_age_seconds=30, clock=lambda: 10**11)
    with pytest.raises(UnavailableError) as error:
        chain.order(order_id)
    assert error.value.code == "chain.stale-head"
    chain.close()
    chain = opened(anvil_world, proxy.url)
    head = chain.block().number
    early = anvil_world.rpc("eth_getBlockByNumber", hex(head - 5), False)
    proxy.change = lambda method, result: early if method == "eth_getBlockByNumber" else result
    with pytest.raises(UnavailableError) as error:
        chain.block()
    assert error.value.code == "chain.regressed-head"
    assert proxy.url in error.value.actor
    chain.close()


def test_endpoints_of_another_chain_or_with_other_code_are_named(anvil_world: AnvilWorld, proxy: ChainProxy) -> None:
    chain = opened(anvil_world, anvil_world.url, proxy.url)
    chain.check()
    chain.close()
    for method, lie_, code in (
        ("eth_chainId", "0x1", "chain.wrong-chain"),
        ("eth_getCode", "0x00", "chain.code-hash"),
    ):
        proxy.change = lambda m, r, method=method, lie_=lie_: lie_ if m == method else r
        chain = opened(anvil_world, anvil_world.url, proxy.url)
        with pytest.raises(BridgeError) as error:
            chain.check()
        assert error.value.code == code
        assert proxy.url in error.value.actor
        chain.close()


def test_nonsense_hangs_and_silence_are_unavailable(
    anvil_world: AnvilWorld, proxy: ChainProxy, order_id: bytes
) -> None:
    for nonsense in (None, 7, "x", "0x", [], {}, [[]], {"hash": "0x"}, "0x" + "0" * 99):
        proxy.change = lambda _, result, nonsense=nonsense: nonsense
        chain = opened(anvil_world, proxy.url)
        with pytest.raises((UnavailableError, TamperedError, InputError)):
            chain.order(order_id)
        chain.close()
    proxy.change = lambda _, result: result
    proxy.lose("eth_getBlockByNumber", 1)
    chain = opened(anvil_world, proxy.url)
    with pytest.raises(UnavailableError) as error:
        chain.order(order_id)
    assert error.value.code == "chain.endpoint-down"
    assert chain.order(order_id).order_id == order_id
    states = chain.states()
    assert [s.error for s in states] == [None]
    assert json.dumps(error.value.as_json())
    chain.close()


def test_one_of_two_endpoints_down_still_reads_heads_but_nothing_final(
    anvil_world: AnvilWorld, order_id: bytes
) -> None:
    chain = opened(anvil_world, anvil_world.url, "http://127.0.0.1:9")
    assert chain.order(order_id).order_id == order_id
    with pytest.raises(UnavailableError) as error:
        chain.order(order_id, At.FINAL)
    assert "http://127.0.0.1:9" in error.value.actor
    assert [s.error is None for s in chain.states()] == [True, False]
    assert [reader.block().number for reader in chain.each()[:1]] == [chain.block().number]
    chain.close()
