"""A node's door and its caller: one error shape, caps, retries, health; nothing of an unexpected exception leaves."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from asset_bridge.chain.keys import AccountKey
from asset_bridge.errors import (
    BridgeError,
    DefectError,
    InputError,
    RefusedError,
    StoppedError,
    TamperedError,
    UnavailableError,
)
from asset_bridge.transport.calls import Answer, Call, Reason, Route, field_bytes, field_int, field_str
from asset_bridge.transport.server import build_app
from tests.support.asgi import AsgiTransport
from tests.support.peers import guard, peer

KEY = AccountKey(b"\x07" * 32)
SECRET = "the secret in an exception"
REASONS: list[Reason] = []


def raiser(error: Exception) -> Callable[[Call], Answer]:
    def handler(_call: Call) -> Answer:
        raise error

    return handler


def only_key(address: str) -> None:
    if address != KEY.address:
        raise RefusedError("node.not-allowed", "Not you.")


def echo(call: Call) -> Answer:
    obj = call.json()
    return Answer(
        json={
            "signer": call.signer,
            "bytes": field_bytes(obj, "b", 2).hex(),
            "int": field_int(obj, "i", 1, 9),
            "str": field_str(obj, "s"),
        }
    )


KINDS = [InputError, RefusedError, TamperedError, UnavailableError, StoppedError, DefectError]
ROUTES = [
    *(
        Route(
            "GET",
            f"/fail/{kind.http_status}",
            raiser(kind("room.why", "A sentence.", hint="Do.", actor="consumer")),
            "x",
        )
        for kind in KINDS
    ),
    Route("GET", "/bug", raiser(ValueError(SECRET)), "x"),
    Route("POST", "/echo", echo, "x", max_body_bytes=100),
    Route("POST", "/signed", echo, "x", signed=True, allow=only_key),
    Route("GET", "/id/{order_id}", lambda call: Answer(json={"id": call.hex32("order_id").hex()}), "x"),
    Route("GET", "/n", lambda call: Answer(json={"n": call.query_int("n", 3, 0, 9)}), "x"),
    Route(
        "GET",
        "/lines",
        lambda call: Answer(stream=iter([b"data: 1\n\n", b"data: 2\n"]), media_type="text/event-stream"),
        "x",
    ),
    Route("PUT", "/bytes", lambda call: Answer(json={"size": len(call.body)}), "x", max_body_bytes=10),
    Route("DELETE", "/bytes", lambda call: Answer(json={"gone": True}), "x"),
]
GOOD = {"b": "0x0102", "i": 3, "s": "x"}


@pytest.fixture(scope="module")
def app() -> Any:
    return build_app(ROUTES, title="t", info=lambda: {"kind": "test"}, health=lambda: REASONS, guard=guard())


@pytest.mark.parametrize("kind", KINDS)
def test_a_failure_keeps_its_class_code_and_actor(app: Any, kind: type[BridgeError]) -> None:
    with pytest.raises(kind) as caught:
        peer(app).get(f"/fail/{kind.http_status}")
    assert caught.value.as_json() == {"code": "room.why", "message": "A sentence.", "hint": "Do.", "actor": "consumer"}


def test_an_unexpected_exception_leaves_only_an_id(app: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)
    answer = httpx.Client(transport=AsgiTransport(app), base_url="http://node.test").get("/bug")
    assert answer.status_code == 500
    assert set(answer.json()) == {"code", "message", "hint", "actor"}
    assert SECRET not in answer.text
    [record] = [record for record in caplog.records if record.name == "asset_bridge.http"]
    assert record.fields["defect"] in answer.json()["message"]  # type: ignore[attr-defined]


def test_the_json_log_has_no_exception_text() -> None:
    from asset_bridge.nodes.serve import JsonLines

    try:
        raise ValueError(SECRET)
    except ValueError:
        import sys

        record = logging.LogRecord("asset_bridge.http", logging.ERROR, "f", 1, "defect", (), sys.exc_info())
    line = JsonLines().format(record)
    assert SECRET not in line
    assert json.loads(line)["exception"] == "ValueError"


def test_signed_routes(app: Any) -> None:
    assert peer(app, signer=KEY).post("/signed", GOOD)["signer"] == KEY.address
    for signer, code in ((None, "transport.unsigned"), (AccountKey(b"\x08" * 32), "node.not-allowed")):
        with pytest.raises(RefusedError) as caught:
            peer(app, signer=signer).post("/signed", GOOD)
        assert caught.value.code == code


def test_a_signed_request_counts_once(app: Any) -> None:
    sent: list[httpx.Request] = []

    class Recorder(AsgiTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            sent.append(request)
            return super().handle_request(request)

    transport = Recorder(app)
    peer(app, signer=KEY, transport=transport).post("/signed", GOOD)
    replay = httpx.Request("POST", sent[0].url, headers=sent[0].headers, content=sent[0].content)
    answer = AsgiTransport(app).handle_request(replay)
    assert answer.status_code == 403
    assert json.loads(answer.read())["code"] == "transport.replay"


def test_a_repeated_call_is_signed_anew(app: Any) -> None:
    class Flaky(AsgiTransport):
        failures = 2

        def handle_request(self, request: httpx.Request) -> httpx.Response:
            answer = super().handle_request(request)
            if self.failures:
                self.failures -= 1
                raise httpx.ReadTimeout("lost")
            return answer

    assert peer(app, signer=KEY, transport=Flaky(app)).post("/signed", GOOD, idempotent=True)["int"] == 3
    with pytest.raises(UnavailableError) as caught:
        peer(app, signer=KEY, transport=Flaky(app)).post("/signed", GOOD)
    assert caught.value.code == "transport.down"


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{", b'{"b":1,"b":2}', b'{"b":NaN}', b"[" * 90, b'{"b":"0x01","i":3,"s":"x"}', b'{"b":"0X0102","i":3,"s":"x"}',
     b'{"b":"0x0102","i":0,"s":"x"}', b'{"b":"0x0102","i":true,"s":"x"}', b'{"b":"0x0102","i":3,"s":""}', b'{"b":"0x0102","i":3}', b"\xff"],
)  # fmt: skip
def test_malformed_json_is_an_input_error(app: Any, body: bytes) -> None:
    answer = httpx.Client(transport=AsgiTransport(app), base_url="http://node.test").post("/echo", content=body)
    assert answer.status_code == 400
    assert answer.json()["code"] == "transport.json"


@pytest.mark.parametrize(
    ("path", "code"), [("/id/0x00", "transport.json"), ("/id/" + "0x" + "AA" * 32, "transport.json"), ("/n?n=10", "transport.json"),
                       ("/n?n=-1", "transport.json"), ("/nowhere", "transport.route")]
)  # fmt: skip
def test_malformed_targets(app: Any, path: str, code: str) -> None:
    answer = httpx.Client(transport=AsgiTransport(app), base_url="http://node.test").get(path)
    assert answer.status_code in (400, 404)
    assert answer.json()["code"] == code


def test_caps_and_encodings(app: Any) -> None:
    http = httpx.Client(transport=AsgiTransport(app), base_url="http://node.test")
    assert http.put("/bytes", content=b"x" * 10).json() == {"size": 10}
    assert http.put("/bytes", content=b"x" * 11).json()["code"] == "transport.too-large"
    assert http.put("/bytes", content=iter([b"x" * 6, b"x" * 6])).json()["code"] == "transport.too-large"
    assert http.put("/bytes", content=b"x", headers={"content-encoding": "gzip"}).json()["code"] == "transport.encoding"
    twice = http.build_request(
        "PUT", "/bytes", content=b"x", headers=[("content-digest", "a"), ("content-digest", "b")]
    )
    assert http.send(twice).json()["code"] == "transport.header"
    assert peer(app).put_bytes("/bytes", b"abc") == {"size": 3}
    assert peer(app).delete("/bytes") == {"gone": True}
    assert [line for line in peer(app).lines("/lines") if line] == ["data: 1", "data: 2"]


def lying(answer: httpx.Response | Exception) -> httpx.MockTransport:
    def handler(_request: httpx.Request) -> httpx.Response:
        if isinstance(answer, Exception):
            raise answer
        # Unread, as a socket gives it.
        return httpx.Response(answer.status_code, headers=answer.headers, stream=answer.stream)

    return httpx.MockTransport(handler)


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (httpx.Response(200, content=b"no json"), "transport.reply"),
        (httpx.Response(200, content=b"[1]"), "transport.reply"),
        (httpx.Response(200, content=b"x" * 2_000_000), "transport.reply"),
        (httpx.Response(302, headers={"location": "http://elsewhere/"}), "transport.reply"),
        (httpx.Response(200, stream=httpx.ByteStream(b"{}"), headers={"content-encoding": "br"}), "transport.reply"),
        (httpx.Response(400, json={"code": "x\n", "message": "m", "hint": "", "actor": "you"}), "transport.reply"),
        (httpx.Response(400, json={"code": "a.b", "message": "m\x1b[2J", "hint": "", "actor": "you"}), "transport.reply"),
        (httpx.Response(400, json={"code": "a.b", "message": "m", "hint": "", "actor": "a stranger"}), "transport.reply"),
        (httpx.Response(400, json={"code": "a.b", "message": 1, "hint": "", "actor": "you"}), "transport.reply"),
        (httpx.Response(502, content=b"<html>"), "transport.reply"),
        (httpx.ConnectError("refused"), "transport.down"),
        (httpx.ReadTimeout("slow"), "transport.down"),
    ],
)  # fmt: skip
def test_a_lying_or_dead_peer_is_named_and_never_believed(app: Any, answer: Any, code: str) -> None:
    with pytest.raises(UnavailableError) as caught:
        peer(app, transport=lying(answer), name="tee node 0x12").get("/x")
    assert caught.value.code == code
    assert caught.value.actor == "tee node 0x12"


def test_only_passing_failures_are_repeated(app: Any) -> None:
    tried: list[int] = []

    def handler(_request: httpx.Request) -> httpx.Response:
        tried.append(1)
        text = json.dumps(RefusedError("a.b", "No.").as_json()).encode()
        return httpx.Response(403, stream=httpx.ByteStream(text))

    with pytest.raises(RefusedError):
        peer(app, transport=httpx.MockTransport(handler)).get("/x")
    assert len(tried) == 1


def test_health_metrics_openapi_info(app: Any) -> None:
    http = httpx.Client(transport=AsgiTransport(app), base_url="http://node.test")
    assert http.get("/health").json() == {"status": "ok", "reasons": []}
    REASONS.append(Reason("light.chain-down", "The chain does not answer.", "chain endpoint"))
    try:
        answer = http.get("/health")
        assert answer.status_code == 503
        assert answer.json()["reasons"][0]["code"] == "light.chain-down"
        assert answer.json()["actor"] == "chain endpoint"
    finally:
        REASONS.clear()
    assert http.get("/v1/info").json() == {"kind": "test"}
    assert "asset_bridge_requests_total" in http.get("/metrics").text
    document = http.get("/openapi.json").json()
    assert {route.path for route in ROUTES} <= set(document["paths"])
    assert document["paths"]["/signed"]["post"]["security"]


@pytest.mark.parametrize("url", ["ftp://x", "http://", "http://u:p@x", "http://x/?a=1"])
def test_a_url_that_is_no_node(url: str) -> None:
    from asset_bridge.transport.client import Peer

    with pytest.raises(InputError) as caught:
        Peer(url, name="x", chain_id=1, signer=None, clock=lambda: 0.0, randbytes=bytes, sleep=lambda _s: None)
    assert caught.value.code == "transport.url"


def test_no_more_than_the_cap_of_an_answer_is_taken(app: Any) -> None:
    given: list[int] = []

    class Counted(httpx.SyncByteStream):
        def __iter__(self) -> Any:
            while sum(given) < 2**24:
                given.append(65_536)
                yield b"x" * 65_536

    transport = httpx.MockTransport(lambda _request: httpx.Response(200, stream=Counted()))
    with pytest.raises(UnavailableError) as caught:
        peer(app, transport=transport).get_bytes("/x", accept="*/*", max_bytes=100_000)
    assert caught.value.code == "transport.reply"
    assert max(given) * len(given) <= 4 * 200_000  # at most four attempts


def test_a_body_that_does_not_come_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    import asyncio

    monkeypatch.setattr("asset_bridge.transport.door.BODY_SECONDS", 0.05)
    app = build_app(ROUTES, title="t", info=dict, health=list, guard=guard())
    sent: list[Any] = []

    async def receive() -> Any:
        await asyncio.sleep(5)

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "PUT",
        "path": "/bytes",
        "raw_path": b"/bytes",
        "query_string": b"",
        "headers": [],
        "root_path": "",
    }
    asyncio.run(
        app({**scope, "http_version": "1.1", "scheme": "http", "server": ("x", 1), "client": ("y", 1)}, receive, send)
    )
    assert json.loads(sent[-1]["body"])["code"] == "transport.slow"


def test_the_names_and_the_port_of_a_node() -> None:
    from asset_bridge.nodes.serve import authorities, bind

    assert authorities("0.0.0.0", 443, ["https://a.example"], has_tls=True) == {"0.0.0.0", "a.example"}
    assert authorities("::1", 80, [], has_tls=False) == {"127.0.0.1", "localhost", "[::1]"}
    for text in ("http://", "ftp://x", "node.example:8443", "http://a:b:c", ""):
        with pytest.raises(InputError) as caught:
            authorities("127.0.0.1", 1, [text], has_tls=False)
        assert caught.value.code == "node.url"
    with bind("127.0.0.1", 0) as taken, pytest.raises(UnavailableError) as busy:
        bind("127.0.0.1", taken.getsockname()[1])
    assert busy.value.code == "node.port"


def test_a_node_whose_start_fails_says_so() -> None:
    from asset_bridge.nodes.serve import serve

    def fails() -> None:
        raise UnavailableError("room.why", "Not now.")

    doorkeeper = guard()
    app = build_app([], title="t", info=dict, health=list, guard=doorkeeper, on_start=[fails])
    import signal

    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    try:
        with pytest.raises((UnavailableError, SystemExit)) as caught:
            serve(app, doorkeeper)
    finally:
        for number, handler in zip((signal.SIGTERM, signal.SIGINT), before, strict=True):
            signal.signal(number, handler)
    assert getattr(caught.value, "code", "") in ("node.start", 3)
