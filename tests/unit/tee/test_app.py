"""The TEE node over HTTP, in process (spec/node-http-tee.md §2), and the process's own protection."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette

from asset_bridge.chain.records import (
    AcceptSignature,
    Ack,
    At,
    DeliveryReceipt,
    DestroyedReceipt,
    FetchSignature,
    NodeKind,
)
from asset_bridge.errors import TamperedError, UnavailableError
from asset_bridge.nodes.tee import app as tee_app
from asset_bridge.nodes.tee.ack_client import HttpAckSource
from asset_bridge.trade.documents.endpoint import Endpoint
from asset_bridge.trade.evidence import OrderKey
from asset_bridge.transport.calls import Answer, Call, Route, field_bytes
from asset_bridge.transport.client import Peer
from asset_bridge.transport.nonces import NonceStore
from asset_bridge.transport.server import Guard, build_app
from asset_bridge.transport.wire import from_json, hex_of, to_json
from tests.support.asgi import AsgiTransport
from tests.unit.tee.market import Market


@pytest.fixture
def http(market: Market) -> Iterator[httpx.Client]:
    guard = Guard(31337, NonceStore(None), market.clock, {"node.test"})
    started = tee_app.build(market.tees[0].core, guard)
    with httpx.Client(transport=AsgiTransport(started), base_url="http://node.test") as client:
        yield client


def post(http: httpx.Client, path: str, body: object) -> tuple[int, dict[str, object]]:
    answer = http.post(path, json=body)
    return answer.status_code, answer.json()


def test_every_answer_says_what_it_is(market: Market, http: httpx.Client) -> None:
    measurement = "0x" + market.twin.node(market.tees[0].registered.node_id).current.measurement_id.hex()
    order_id = market.approve(market.request())
    order = f"/v1/orders/{hex_of(order_id)}"
    status, said = post(http, "/v1/evidence", {"nonce": hex_of(b"x" * 32)})
    answers = [said]
    assert status == 200
    status, key = post(http, f"{order}/key", {})
    made = from_json(OrderKey, {name: key[name] for name in ("node_id", "epoch", "kem_key", "expires_at", "signature")})
    assert (status, made.node_id) == (200, market.tees[0].registered.node_id)
    _, accept = post(http, f"{order}/accept", {"generation": 1, "slot": 0})
    assert from_json(AcceptSignature, accept["accept"]) == market.tees[0].core.accept(order_id, 1, 0)
    market.pay(order_id)
    fetch = market.fetch(order_id)
    _, served = post(http, f"{order}/reencrypt", {"generation": 1, "signature": hex_of(fetch.signature)})
    assert served["slot"] == 0
    assert len(bytes.fromhex(str(served["cfrag"])[2:])) == 359
    from_json(DeliveryReceipt, served["receipt"])
    assert len([from_json(Ack, item) for item in served["acks"]]) == 2  # type: ignore[attr-defined]
    destroyed = http.get(f"{order}/destroyed").json()
    assert destroyed["destroyed"] == []
    info = http.get("/v1/info").json()
    for answer in (*answers, key, accept, served, destroyed, info):
        assert (answer["tee"], answer["measurement"]) == ("simulated", measurement)


def test_every_answer_says_it_in_its_headers_too(market: Market, http: httpx.Client) -> None:
    measurement = "0x" + market.twin.node(market.tees[0].registered.node_id).current.measurement_id.hex()
    answers = [http.get(path) for path in ("/health", "/metrics", "/openapi.json", "/v1/info", "/no/such/route")]
    answers.append(http.post("/v1/evidence", json={"nonce": "0x00"}))
    answers.append(http.post(f"/v1/orders/{hex_of(b'?' * 32)}/key", json={}))
    assert [answer.status_code for answer in answers] == [503, 200, 200, 200, 404, 400, 403]
    for answer in answers:
        said = (answer.headers["asset-bridge-tee"], answer.headers["asset-bridge-measurement"])
        assert said == ("simulated", measurement), answer.url


def test_a_batch_answers_each_request_by_itself(market: Market, http: httpx.Client) -> None:
    good, unpaid = market.paid(), market.approve(market.request())
    items = [
        {"order_id": hex_of(order), "generation": 1, "signature": hex_of(market.fetch(signed).signature)}
        for order, signed in ((good, good), (unpaid, unpaid), (good, unpaid), (b"?" * 32, good))
    ]
    status, said = post(http, "/v1/reencrypt", {"requests": items})
    answers = said["answers"]
    assert isinstance(answers, list)
    assert (status, said["tee"]) == (200, "simulated")
    alone = post(http, f"/v1/orders/{hex_of(good)}/reencrypt", {k: v for k, v in items[0].items() if k != "order_id"})[
        1
    ]
    assert {key: answers[0][key] for key in ("slot", "cfrag", "receipt")} == {
        key: alone[key] for key in ("slot", "cfrag", "receipt")
    }
    assert len(answers[0]["acks"]) == 2
    assert [item["error"]["code"] for item in answers[1:]] == [
        "tee.not-paid",
        "tee.fetch-signature",
        "tee.unknown-order",
    ]
    market.provider.revoke(good)  # nothing of the answer above is remembered as a permission
    assert post(http, "/v1/reencrypt", {"requests": items[:1]})[1]["answers"][0]["error"]["code"] == "tee.revoked"  # type: ignore[index]


@pytest.mark.parametrize("requests", [None, {}, [], [1], [{}], [{"order_id": "0x", "generation": 1}], "many"])
def test_malformed_batches(market: Market, http: httpx.Client, requests: object) -> None:
    order = {"order_id": hex_of(b"?" * 32), "generation": 1, "signature": "0x" + "00" * 65}
    for body in ({"requests": requests}, {"requests": [order] * 17}):
        status, said = post(http, "/v1/reencrypt", body)
        assert (status, said["code"]) == (400, "transport.json")


def test_a_reseal_over_http_and_the_word_of_destruction(market: Market, http: httpx.Client) -> None:
    order_id = market.paid()
    key = OrderKey.parse(market.tees[0].core.order_key(order_id))
    slot = market.slot(order_id, 1, 0, market.shares(order_id)[0], key)
    order = f"/v1/orders/{hex_of(order_id)}"
    body = {"generation": 1, "slot": 0, "replacement": to_json(slot)}
    status, said = post(http, f"{order}/accept", body)
    assert status == 200
    assert from_json(AcceptSignature, said["accept"]).kem_key_digest == slot.kem_key_digest
    market.provider.revoke(order_id)
    market.twin.mine(2)
    words = http.get(f"{order}/destroyed").json()["destroyed"]
    assert [from_json(DestroyedReceipt, word).reason for word in words] == [1]


def test_refusals_keep_their_code_and_class(market: Market, http: httpx.Client) -> None:
    order_id = market.approve(market.request())
    order = f"/v1/orders/{hex_of(order_id)}"
    fetch = {"generation": 1, "signature": hex_of(market.fetch(order_id).signature)}
    assert post(http, f"{order}/reencrypt", fetch)[1]["code"] == "tee.not-paid"
    assert post(http, f"{order}/reencrypt", fetch)[0] == 403
    market.lenses[0].block_changes[At.HEAD] = lambda block: replace(block, timestamp=1)
    status, said = post(http, f"{order}/reencrypt", fetch)
    assert (status, said["code"]) == (503, "tee.head-stale")
    assert set(said) == {"code", "message", "hint", "actor"}


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"nonce": "0x"},
        {"nonce": 1},
        {"generation": 0, "slot": 0},
        {"generation": 1, "slot": 256},
        {"generation": 1, "slot": 0, "replacement": {}},
        {"generation": 1, "signature": "0x00"},
        {"generation": 2**40, "signature": "0x" + "00" * 65},
    ],
)
@pytest.mark.parametrize("verb", ["/v1/evidence", "/v1/orders/{}/accept", "/v1/orders/{}/reencrypt"])
def test_malformed_bodies_are_the_callers_mistake(market: Market, http: httpx.Client, body: object, verb: str) -> None:
    if verb.endswith("reencrypt") and body == {"generation": 1, "slot": 0}:
        return
    status, said = post(http, verb.format(hex_of(market.request())), body)
    assert (status, said["code"]) == (400, "transport.json")


def test_a_bad_order_id(http: httpx.Client) -> None:
    assert post(http, "/v1/orders/0x12/key", {})[0] == 400


def test_health_says_why_not(market: Market) -> None:
    core = market.tees[0].core
    sweeper = tee_app.Sweeper(core, every_seconds=0.01)
    assert [reason.code for reason in tee_app.health(core, sweeper)] == ["tee.sweeper"]
    sweeper.start()
    assert tee_app.health(core, sweeper) == []
    market.twin.advance(90_000)
    market.twin.mine(2)
    assert [reason.code for reason in tee_app.health(core, sweeper)] == ["tee.not-registered"]
    market.lenses[0].block_changes[At.HEAD] = lambda block: replace(block, timestamp=1)
    assert [reason.code for reason in tee_app.health(core, sweeper)] == ["tee.head-stale"]
    sweeper.stop()
    assert not sweeper.alive


def test_the_sweeper_destroys_and_calls_what_it_was_given(market: Market) -> None:
    order_id, core = market.paid(), market.tees[0].core
    called: list[int] = []
    sweeper = tee_app.Sweeper(core, lambda: called.append(1), every_seconds=0.01)
    market.provider.revoke(order_id)
    market.twin.mine(2)
    sweeper.start()
    until = time.monotonic() + 5
    while time.monotonic() < until and (core.info()["order_keys"] or not called):
        time.sleep(0.01)
    sweeper.stop()
    assert core.info()["order_keys"] == 0
    assert called


def test_the_http_source_of_acks_asks_nobody_where_the_profile_names_no_url() -> None:
    document = (Path(__file__).parents[3] / "spec" / "vectors" / "documents" / "profile.json").read_bytes()
    asked: list[bytes] = []

    class Storage:
        name = "storage"

        def get_block(self, cid: bytes) -> bytes:
            asked.append(cid)
            return document

    source = HttpAckSource(Storage(), lambda url, name: pytest.fail("no peer is asked"), 31337, "0x")
    digest = hashlib.sha256(document).digest()
    for _ in range(2):
        assert source.provider_ack(None, digest, None, None) is None  # type: ignore[arg-type]
    assert len(asked) == 1  # remembered


def test_a_process_protects_itself() -> None:
    script = """
import json, resource
from asset_bridge.nodes.tee.memory import protect
said = protect()
print(json.dumps([said.no_core_dump, said.undumpable, said.memory_locked, resource.getrlimit(resource.RLIMIT_CORE)]))
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60)
    no_core, undumpable, _locked, limit = json.loads(done.stdout)
    assert no_core
    assert limit == [0, 0]
    assert undumpable == sys.platform.startswith("linux")


def test_no_secret_shows_in_words(market: Market) -> None:
    order_id = market.paid()
    core = market.tees[0].core
    (key,) = core._keys.of(order_id)
    assert key.secret is not None
    secret = key.secret.to_secret_bytes().hex()
    for text in (repr(key), repr(core._identity), str(core.info()), repr(core._parts.identity)):
        assert secret not in text
        assert core._identity.key.secret.hex() not in text


class OneDocument:
    """A storage node with one document."""

    name = "storage"

    def __init__(self, document: bytes) -> None:
        self.document = document

    def get_block(self, cid: bytes) -> bytes:
        return self.document


def light_app(market: Market, index: int, order_id: bytes) -> Starlette:
    """The one route of a light node that a TEE node calls."""
    node_id = market.lights[index]

    def acknowledge(call: Call) -> Answer:
        obj = call.json()
        assert field_bytes(obj, "order_id", 32) == order_id
        assert from_json(FetchSignature, obj["fetch"]) == market.fetch(order_id)
        receipt = from_json(DeliveryReceipt, obj["receipt"])
        ack = market.acks.ack(market.acks.keys[node_id], node_id, 1, order_id, receipt)
        return Answer(json=to_json(ack))

    guard = Guard(31337, NonceStore(None), market.clock, {f"light{index}.test"})
    return build_app(
        [Route("POST", "/v1/acks", acknowledge, "ack")], title="light", info=dict, health=list, guard=guard
    )


def test_acks_over_http_from_the_url_that_the_operator_signed(market: Market) -> None:
    order_id = market.paid()
    core = market.tees[0].core
    operators = {market.lights[i]: market.key(f"light {i}") for i in range(2)}
    documents: dict[bytes, bytes] = {}
    for index, node_id in enumerate(market.lights):
        node = market.twin.node(node_id)
        urls = ("http://down.test", f"http://light{index}.test")
        endpoint = Endpoint(NodeKind.LIGHT, node_id, node.operator, 31337, market.twin.registry, urls)
        documents[node_id] = endpoint.sign(operators[node_id])
    apps = {f"http://light{i}.test": light_app(market, i, order_id) for i in range(2)}
    called: list[str] = []
    broken = build_app([], title="none", info=dict, health=list, guard=Guard(1, NonceStore(None), market.clock))

    def connect(url: str, name: str) -> Peer:
        called.append(url)
        return Peer(
            url, name=name, chain_id=31337, signer=None, clock=market.clock, randbytes=market.numbers,
            transport=AsgiTransport(apps.get(url, broken)), sleep=lambda seconds: None,
        )  # fmt: skip

    def source(document: bytes) -> HttpAckSource:
        return HttpAckSource(OneDocument(document), connect, 31337, market.twin.registry)

    _, receipt, _ = core.reencrypt(order_id, market.fetch(order_id))
    for node_id in market.lights:
        node = market.twin.node(node_id)
        found = source(documents[node_id]).acknowledge(node, order_id, market.fetch(order_id), receipt)
        assert found == market.acks.acknowledge(node, order_id, market.fetch(order_id), receipt)
    assert called.count("http://down.test") == 2
    first, second = (market.twin.node(node_id) for node_id in market.lights)
    with pytest.raises(TamperedError):  # another node's document
        source(documents[second.node_id]).acknowledge(first, order_id, market.fetch(order_id), receipt)
    apps.clear()
    with pytest.raises(UnavailableError) as caught:
        source(documents[first.node_id]).acknowledge(first, order_id, market.fetch(order_id), receipt)
    assert caught.value.code == "tee.light-node"
    huge = replace(first, endpoint_length=10**6)
    with pytest.raises(UnavailableError):
        source(documents[first.node_id]).acknowledge(huge, order_id, market.fetch(order_id), receipt)
