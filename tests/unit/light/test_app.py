"""The light node over HTTP with the client that the stories use; events as pages, as a stream on a real socket, and to webhooks."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from asset_bridge.chain.keys import AccountKey
from asset_bridge.errors import RefusedError, UnavailableError
from asset_bridge.ipfs.store import put_document
from asset_bridge.ipld.unixfs import LEAF_BYTES
from asset_bridge.nodes.light.app import build
from asset_bridge.nodes.light.events import PAGE_EVENTS, Follower
from asset_bridge.nodes.light.workers import Workers
from asset_bridge.nodes.serve import bind
from asset_bridge.trade import remote as remote_module
from asset_bridge.trade.remote import RemoteLight
from asset_bridge.transport.calls import Answer, Route
from asset_bridge.transport.server import build_app
from tests.ports.test_blocks import blocks_of, code_of, content
from tests.support.asgi import AsgiTransport
from tests.support.light import ORDER_ID, TEE_IDS, World, fetch_signature, paid_order, receipt
from tests.support.peers import guard, peer

DATA = content(2 * LEAF_BYTES + 3)
DAG, BLOCKS = blocks_of(DATA)
PROVIDER = AccountKey(b"\x91" * 32)
FETCH = fetch_signature()


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def remote(app: Any, signer: Any = PROVIDER, **changes: Any) -> RemoteLight:
    return RemoteLight(peer(app, signer=signer, name="light node 0x11111111", host="light.test", **changes))


def made(world: World, **changes: Any) -> Any:
    return build(world.light(**changes), guard("light.test"))


def event(block: int, index: int = 0, mark: str = "a", **args: str) -> dict[str, object]:
    return {"block": block, "block_hash": f"0x{mark}{block}", "log_index": index, "event": "Requested", "args": args}


def test_upload_fetch_and_receipt(world: World) -> None:
    light = remote(made(world))
    seen: list[tuple[int, int]] = []
    sent: list[bytes] = []

    def blocks(cid: bytes) -> bytes:
        sent.append(cid)
        return next(block for name, block in BLOCKS.items() if name.to_bytes() == cid)

    light.upload(DAG.root.to_bytes(), len(DATA), blocks, "body", lambda _s, done, total: seen.append((done, total)))
    assert len(sent) == len(BLOCKS)
    assert seen[-1] == (len(DATA), len(DATA))
    light.upload(DAG.root.to_bytes(), len(DATA), blocks, "body", None)
    assert len(sent) == len(BLOCKS)
    for cid, block in BLOCKS.items():
        assert light.get_block(cid.to_bytes()) == block
    assert len(light.storage_receipt(DAG.root.digest, len(DATA)).storage_node_ids) == 3
    assert code_of(lambda: light.get_block(blocks_of(b"else")[0].root.to_bytes())) == "ipfs.replicas-down"


def test_what_a_storage_node_holds_already_is_waited_for_and_not_sent(world: World) -> None:
    put_document(world.storage[2].store, DATA)
    told: list[str] = []

    def never(_cid: bytes) -> bytes:
        raise AssertionError("a block was asked of the provider")

    def slow(_request: Any) -> None:
        time.sleep(0.05)

    world.storage[0].transport.fault = world.storage[1].transport.fault = slow
    light = remote(made(world))
    light.upload(DAG.root.to_bytes(), len(DATA), never, "body", lambda step, _done, _total: told.append(step))
    assert "copy to storage nodes" in told
    assert len(light.storage_receipt(DAG.root.digest, len(DATA)).storage_node_ids) >= 2


def test_copying_without_progress_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    state = {
        "root": str(DAG.root),
        "length": len(DATA),
        "complete": False,
        "missing": [],
        "missing_count": 2,
        "done_bytes": 7,
    }
    routes = [
        Route(method, path, lambda _call: Answer(json=state), "x")
        for method, path in (("POST", "/v1/uploads"), ("GET", "/v1/uploads/{root}"))
    ]
    light = remote(build_app(routes, title="t", info=dict, health=list, guard=guard("light.test")))
    monkeypatch.setattr(remote_module, "_COPY_POLLS", 3)
    assert code_of(lambda: light.upload(DAG.root.to_bytes(), len(DATA), bytes, "body", None)) == "light.upload"


def test_uploads_are_signed_and_may_be_limited(world: World) -> None:
    def nobody(_address: str) -> None:
        raise RefusedError("light.uploader", "Not you.", actor="operator")

    app = build(world.light(), guard("light.test"), allow_upload=nobody)
    for signer, code in ((None, "transport.unsigned"), (PROVIDER, "light.uploader")):
        assert (
            code_of(
                lambda signer=signer: remote(app, signer).upload(DAG.root.to_bytes(), len(DATA), bytes, "body", None)
            )
            == code
        )


def test_delivery_over_http(world: World) -> None:
    light = remote(made(world))
    world.tees[TEE_IDS[2]].error = UnavailableError("transport.down", "It did not answer.", actor="tee node")
    report = light.fan_out(ORDER_ID, FETCH)
    assert [answer[0] for answer in report.answers] == TEE_IDS[:2]
    [failed] = report.failed
    assert (failed.slot, failed.error.code, type(failed.error)) == (2, "transport.down", UnavailableError)
    assert light.reencrypt(ORDER_ID, FETCH) == list(report.answers)
    ack = light.acknowledge(ORDER_ID, FETCH, receipt(2))
    assert ack.node_id == b"\x11" * 32
    fetch, receipts = light.receipts(ORDER_ID)
    assert fetch == FETCH
    assert {held.slot for held in receipts} == {0, 1, 2}
    assert code_of(lambda: light.acknowledge(ORDER_ID, FETCH, receipt(0, epoch=9))) == "light.receipt"


def test_records_are_served_as_json(world: World) -> None:
    http = httpx.Client(transport=AsgiTransport(made(world)), base_url="http://light.test")
    order = http.get(f"/v1/orders/0x{ORDER_ID.hex()}").json()
    assert order["state"] == 6
    kfrags = http.get(f"/v1/orders/0x{ORDER_ID.hex()}/kfrags").json()
    assert kfrags["approval"]["slots"][2]["sealed_rk"] == "0x" + (b"s" * 80).hex()
    assert len(http.get("/v1/nodes").json()["nodes"]) == 6
    assert remote(made(world, folder=world.folder / "l2")).catalog() == [b"\xaa" * 32]
    assert http.get("/v1/assets/0x00").json()["code"] == "transport.json"
    assert http.get("/v1/info").json()["kind"] == "light"
    assert http.get("/health").status_code == 200
    world.chain.orders_by_id[ORDER_ID] = paid_order(approval=None)
    assert http.get(f"/v1/orders/0x{ORDER_ID.hex()}/kfrags").json()["code"] == "light.not-approved"


def test_events_come_in_pages_of_whole_blocks(world: World) -> None:
    world.chain.event_list = [event(block, index) for block in range(1, 900) for index in range(3)]
    light = remote(made(world))
    assert list(light.events(0)) == world.chain.event_list
    assert list(light.events(898)) == world.chain.event_list[-3:]
    http = httpx.Client(transport=AsgiTransport(made(world, folder=world.folder / "l2")), base_url="http://light.test")
    first = http.get("/v1/events?follow=0").json()
    assert len(first["events"]) == -(-PAGE_EVENTS // 3) * 3
    assert first["next_after_block"] == first["events"][-1]["block"]


def test_a_follower_sees_what_a_reorg_put_in(world: World) -> None:
    world.chain.event_list = [event(5), event(6)]
    follower = Follower(world.index, 4)
    assert follower.news() == [event(5), event(6)]
    world.chain.event_list = [event(5), event(6, mark="b"), event(7, mark="b")]
    assert follower.news() == [event(6, mark="b"), event(7, mark="b")]
    assert follower.news() == []


class Hook:
    def __init__(self) -> None:
        self.got: list[dict[str, object]] = []
        self.down = False

    def post(self, _url: str, message: Any) -> None:
        if self.down:
            raise UnavailableError("transport.down", "It did not answer.")
        self.got += message["events"]


def test_webhooks_go_to_the_operators_urls_until_they_arrive(world: World) -> None:
    hook = Hook()
    url = "https://hospital.example/hook"
    core = world.light(webhooks=frozenset({url}), post=hook.post)
    app = build(core, guard("light.test"))
    client = peer(app, signer=PROVIDER, name="light node", host="light.test")
    assert (
        code_of(lambda: client.post("/v1/webhooks", {"url": "http://169.254.169.254/", "filter": {}}))
        == "light.webhook-url"
    )
    assert code_of(lambda: client.post("/v1/webhooks", {"url": url, "filter": {"x": "y"}})) == "light.webhook-filter"
    assert code_of(lambda: client.post("/v1/webhooks", {"url": url, "filter": {"provider": 1}})) == "transport.json"
    client.post("/v1/webhooks", {"url": url, "filter": {"provider": "0xa"}, "after_block": 1})
    world.chain.event_list = [event(1, provider="0xa"), event(2, provider="0xa"), event(3, provider="0xb")]
    hook.down = True
    assert core.webhooks.deliver() == 0
    hook.down = False
    assert core.webhooks.deliver() == 1
    assert hook.got == [event(2, provider="0xa")]
    assert core.webhooks.deliver() == 0
    core.close()
    again = world.light(webhooks=frozenset({url}), post=hook.post)  # a restart goes on where it was
    world.chain.event_list.append(event(90, provider="0xa"))
    again.webhooks.deliver()
    assert hook.got[-1] == event(90, provider="0xa")
    nobody = world.light(folder=world.folder / "l2", webhooks=frozenset({url}))
    nobody.webhooks.add(url, {}, 0)
    assert nobody.webhooks.deliver() == 0


@pytest.fixture
def on_a_socket(world: World) -> Iterator[tuple[World, int]]:
    """The light node with its workers on a real port."""
    core = world.light()
    doorkeeper = guard("light.test")
    app = build(core, doorkeeper, workers=Workers(core, audit_seconds=0.2, follow_seconds=0.1))
    listener = bind("127.0.0.1", 0)
    port = listener.getsockname()[1]
    doorkeeper.authorities.add(f"127.0.0.1:{port}")
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=3))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    yield world, port
    server.should_exit = True
    thread.join(20)
    assert not thread.is_alive()
    listener.close()


def test_the_stream_and_the_workers_on_a_real_socket(on_a_socket: tuple[World, int]) -> None:
    world, port = on_a_socket
    client = peer(None, signer=PROVIDER, name="light node", host=f"127.0.0.1:{port}", transport=None)
    light = RemoteLight(client)
    world.chain.event_list = [event(1), event(2)]
    stream = light.follow(0)
    assert [next(stream), next(stream)] == [event(1), event(2)]
    world.chain.event_list.append(event(3))
    assert next(stream) == event(3)
    light.fan_out(ORDER_ID, FETCH)
    deadline = time.monotonic() + 10
    while not (world.chain.recorded and world.index.updates) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(world.chain.recorded) == 1
    light.upload(
        DAG.root.to_bytes(),
        len(DATA),
        lambda cid: next(b for n, b in BLOCKS.items() if n.to_bytes() == cid),
        "body",
        None,
    )
    assert light.get_block(DAG.root.to_bytes()) == BLOCKS[DAG.root]
    client.close()


def test_a_light_node_that_answers_nonsense_is_named(world: World) -> None:
    app = made(world)
    for answer in (
        {},
        {"assets": 1},
        {"assets": [{}]},
        {"cfrags": [], "failed": [{}]},
        {"receipt": {}},
        {"missing": [], "done_bytes": "x"},
    ):
        text = json.dumps(answer).encode()
        transport = httpx.MockTransport(lambda _request, text=text: httpx.Response(200, stream=httpx.ByteStream(text)))
        light = remote(app, transport=transport)
        for call in (
            light.catalog,
            lambda light=light: light.fan_out(ORDER_ID, FETCH),
            lambda light=light: light.storage_receipt(b"\0" * 32, 1),
            lambda light=light: light.acknowledge(ORDER_ID, FETCH, receipt(0)),
            lambda light=light: light.upload(DAG.root.to_bytes(), 1, bytes, "body", None),
            lambda light=light: light.receipts(ORDER_ID),
            lambda light=light: list(light.events(0)),
        ):
            with pytest.raises(UnavailableError) as caught:
                call()
            assert (caught.value.code, caught.value.actor) == ("transport.reply", "light node 0x11111111")


def test_the_number_of_streams_is_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asset_bridge.nodes.light.app.MOST_FOLLOWERS", 0)
    answer = httpx.Client(transport=AsgiTransport(made(world)), base_url="http://light.test").get("/v1/events")
    assert (answer.status_code, answer.json()["code"]) == (503, "light.too-many-followers")


def test_a_light_node_that_keeps_losing_blocks_is_given_up(world: World) -> None:
    state = {
        "root": str(DAG.root),
        "length": len(DATA),
        "complete": False,
        "missing": [str(DAG.root)],
        "missing_count": 1,
        "done_bytes": 0,
    }
    text = json.dumps(state).encode()
    transport = httpx.MockTransport(lambda _request: httpx.Response(200, stream=httpx.ByteStream(text)))
    light = remote(made(world), transport=transport)
    assert (
        code_of(lambda: light.upload(DAG.root.to_bytes(), len(DATA), lambda _cid: b"x", "body", None)) == "light.upload"
    )
