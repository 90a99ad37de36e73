"""The way from the event loop to a handler and back: one hand-over, no hanging request, threads that end."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from asset_bridge.chain.keys import AccountKey
from asset_bridge.transport.calls import Answer, Call, Route
from asset_bridge.transport.nonces import NonceStore
from asset_bridge.transport.server import Guard, build_app
from tests.support.peers import guard, peer

KEY = AccountKey(b"\x07" * 32)


class Ask:
    """One request to an app on this thread's own event loop."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def once(self, path: str, headers: list[tuple[bytes, bytes]], received: dict[str, Any]) -> list[Any]:
        """What the app sent."""
        sent: list[Any] = []

        async def receive() -> Any:
            return received

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "",
                 "headers": headers, "http_version": "1.1", "scheme": "http"}  # fmt: skip
        await asyncio.wait_for(self._app(scope, receive, send), 10)
        return sent


WHOLE = {"type": "http.request", "body": b"{}", "more_body": False}


def app_of(*routes: Route, by: Guard | None = None) -> Any:
    return build_app(routes, title="t", info=dict, health=list, guard=by or guard())


def test_permission_nonce_and_handler_share_one_thread_which_is_not_the_loops() -> None:
    seen: list[tuple[str, int]] = []

    class Noting(NonceStore):
        def use(self, *arguments: Any) -> None:
            seen.append(("nonce", threading.get_ident()))
            super().use(*arguments)

    def handler(_call: Call) -> Answer:
        seen.append(("handler", threading.get_ident()))
        return Answer(json={})

    def allow(_address: str) -> None:
        seen.append(("allow", threading.get_ident()))

    found = guard()
    found.nonces = Noting(None)
    app = app_of(Route("POST", "/x", handler, "x", signed=True, allow=allow), by=found)
    peer(app, signer=KEY).post("/x", {})
    assert [name for name, _ in seen] == ["allow", "nonce", "handler"]
    assert len({ident for _, ident in seen}) == 1
    assert threading.get_ident() not in {ident for _, ident in seen}


def test_a_handler_that_lets_stop_iteration_out_is_a_defect_and_does_not_hang() -> None:
    empty: Iterator[Answer] = iter(())
    sent = asyncio.run(Ask(app_of(Route("POST", "/x", lambda _call: next(empty), "x"))).once("/x", [], WHOLE))
    assert sent[0]["status"] == 500
    assert json.loads(sent[1]["body"])["code"] == "node.defect"


def test_what_has_no_json_form_is_a_defect() -> None:
    sent = asyncio.run(
        Ask(app_of(Route("POST", "/x", lambda _call: Answer(json=float("nan")), "x"))).once("/x", [], WHOLE)
    )
    assert json.loads(sent[1]["body"])["code"] == "node.defect"


@pytest.mark.parametrize("length", ["\u00b2", "-1", "+1", "1_0", "", "9" * 5_000])
def test_a_length_that_is_no_number_is_refused(length: str) -> None:
    app = app_of(Route("POST", "/x", lambda _call: Answer(json={}), "x"))
    sent = asyncio.run(Ask(app).once("/x", [(b"content-length", length.encode("latin-1"))], WHOLE))
    assert json.loads(sent[1]["body"])["code"] == "transport.too-large"


def test_a_request_whose_sender_left_reaches_no_handler() -> None:
    reached: list[Call] = []

    def handler(call: Call) -> Answer:
        reached.append(call)
        return Answer(json={})

    app = app_of(Route("POST", "/x", handler, "x"))
    assert asyncio.run(Ask(app).once("/x", [], {"type": "http.disconnect"})) == []
    assert reached == []
    assert asyncio.run(Ask(app).once("/x", [], WHOLE))[0]["status"] == 200
    assert len(reached) == 1


def test_the_threads_end_with_the_app_which_may_start_again() -> None:
    used: list[threading.Thread] = []

    def handler(_call: Call) -> Answer:
        used.append(threading.current_thread())
        return Answer(json={})

    app = app_of(Route("POST", "/x", handler, "x"))

    async def life() -> None:
        async with app.router.lifespan_context(app):
            assert (await Ask(app).once("/x", [], WHOLE))[0]["status"] == 200

    for _ in range(2):
        asyncio.run(life())
    for thread in used:
        thread.join(10)
    assert len(used) == 2
    assert not any(thread.is_alive() for thread in used)
