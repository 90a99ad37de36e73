"""What happens to every request before and after its handler.

Source: spec/node-http.md §1 and §2.
Promises: the event loop only reads head and body, within their caps, and writes the answer; signature, permission, nonce, handler and the
writing of JSON happen in one hand-over to a thread, in this order. An exception nobody expected leaves as an id, never with its text.
Does not promise: that a handler ends; a request whose client has gone is worked on to its end.
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Counter, Histogram
from starlette.datastructures import QueryParams
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from asset_bridge.errors import BridgeError, DefectError, InputError, UnavailableError
from asset_bridge.transport.calls import Answer, Call, Route
from asset_bridge.transport.nonces import NonceStore
from asset_bridge.transport.sendfile import send_part
from asset_bridge.transport.signing import verify_request

BODY_SECONDS = 60.0
MOST_AT_ONCE = 40
"""How many handlers of one node run at the same time; further requests wait."""

_ONCE = ("host", "content-digest", "signature", "signature-input", "content-length", "content-type")
_LOG = logging.getLogger("asset_bridge.http")
_JSON = json.JSONEncoder(separators=(",", ":"), allow_nan=False)


@dataclass(slots=True)
class Guard:
    """What a signed request is checked against. `authorities` are the host names (with port) this node answers to."""

    chain_id: int
    nonces: NonceStore
    clock: Callable[[], float]
    authorities: set[str] = field(default_factory=set)


class Door:
    """The way into a node's routes and out again. `headers` go with every answer."""

    def __init__(self, guard: Guard, registry: CollectorRegistry, headers: Mapping[str, str]) -> None:
        self._guard, self._headers = guard, headers
        self._threads: ThreadPoolExecutor | None = None
        self._requests = Counter(
            "asset_bridge_requests", "Requests answered.", ["method", "route", "status"], registry=registry
        )
        self._seconds = Histogram("asset_bridge_request_seconds", "Time to answer.", ["route"], registry=registry)

    def endpoint(self, route: Route) -> _Endpoint:
        """The ASGI app of this route."""
        return _Endpoint(self, route)

    def close(self) -> None:
        """Let the idle threads go. Later requests would start new ones."""
        threads, self._threads = self._threads, None
        if threads is not None:
            threads.shutdown(wait=False)

    async def pass_through(self, route: Route, scope: Scope, receive: Receive, send: Send) -> None:
        """Read one request, have it answered, count it, write the answer."""
        started = time.perf_counter()
        failure = ""
        body: bytes | None
        try:
            headers = _headers(scope)
            content = await _read_body(receive, headers, route.max_body_bytes)
            if content is None:
                return
            if self._threads is None:
                self._threads = ThreadPoolExecutor(MOST_AT_ONCE, thread_name_prefix="request")
            answer, body, failure = await asyncio.get_running_loop().run_in_executor(
                self._threads, self._answer, route, scope, headers, content
            )
        except BridgeError as error:
            failure = error.code
            answer, body = written(error_answer(error))
        except Exception:  # noqa: BLE001 - as in _answer
            failure = "node.defect"
            answer, body = written(error_answer(defect(route.path)))
        seconds = time.perf_counter() - started
        self._requests.labels(scope["method"], route.path, str(answer.status)).inc()
        self._seconds.labels(route.path).observe(seconds)
        fields = {
            "method": scope["method"],
            "route": route.path,
            "status": answer.status,
            "seconds": round(seconds, 4),
        }
        _LOG.info("request", extra={"fields": fields | ({"code": failure} if failure else {})})
        raw = raw_headers(answer, self._headers, body)
        if answer.part is not None:
            await send({"type": "http.response.start", "status": answer.status, "headers": raw})
            await send_part(answer.part, scope, send)
            return
        if body is None:
            assert answer.stream is not None
            response = StreamingResponse(answer.stream, answer.status)
            response.raw_headers = raw
            await response(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": answer.status, "headers": raw})
        await send({"type": "http.response.body", "body": body})

    def _answer(
        self, route: Route, scope: Scope, headers: Mapping[str, str], content: bytes
    ) -> tuple[Answer, bytes | None, str]:
        """The answer, its body (None for a stream or a file) and its code if it is a failure. Blocks; raises nothing."""
        try:
            return *written(route.handler(self._checked(route, scope, headers, content))), ""
        except BridgeError as error:
            if isinstance(error, DefectError):
                _LOG.error("defect", extra={"fields": {"code": error.code}}, exc_info=True)
            return *written(error_answer(error)), error.code
        except Exception:  # noqa: BLE001 - the promise of the module: its text never leaves
            return *written(error_answer(defect(route.path))), "node.defect"

    def _checked(self, route: Route, scope: Scope, headers: Mapping[str, str], content: bytes) -> Call:
        """The call, whose signature was verified and whose nonce was consumed if it is signed."""
        query = scope["query_string"].decode("latin-1")
        signer = None
        if route.signed or "signature-input" in headers:
            now = self._guard.clock()
            raw_path: bytes = scope.get("raw_path") or scope["path"].encode()
            by = verify_request(
                headers,
                method=scope["method"],
                authorities=self._guard.authorities,
                path=raw_path.split(b"?")[0].decode("latin-1"),
                query=query,
                body=content,
                chain_id=self._guard.chain_id,
                now=now,
            )
            if route.allow is not None:
                route.allow(by.address)
            self._guard.nonces.use(by.address, by.nonce, by.expires_at, now)
            signer = by.address
        return Call(
            scope["method"],
            scope["path"],
            {key: str(value) for key, value in scope["path_params"].items()},
            dict(QueryParams(query)) if query else {},
            headers,
            content,
            signer,
        )


class _Endpoint:
    """One route as an ASGI app; not a function, which Starlette would wrap in layers of its own."""

    def __init__(self, door: Door, route: Route) -> None:
        self._door, self._route = door, route

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._door.pass_through(self._route, scope, receive, send)


def error_answer(error: BridgeError, status: int | None = None) -> Answer:
    """A failure in its one shape; `status` replaces the class's own (404 of a gateway)."""
    return Answer(status=status or error.http_status, json=error.as_json(), headers={"cache-control": "no-store"})


def written(answer: Answer) -> tuple[Answer, bytes | None]:
    """The answer and the bytes of its body; None where it is a stream or a part of a file."""
    if answer.stream is not None or answer.part is not None:
        return answer, None
    return answer, answer.body if answer.body is not None else _JSON.encode(answer.json).encode()


def raw_headers(answer: Answer, every: Mapping[str, str], body: bytes | None) -> list[tuple[bytes, bytes]]:
    """The headers of an answer as ASGI has them; the answer's own come before those of every answer."""
    headers = {"x-content-type-options": "nosniff", **every, **answer.headers}
    length = answer.part.length if answer.part is not None else None if body is None else len(body)
    if length is not None and answer.status not in (204, 304):
        headers.setdefault("content-length", str(length))
    headers.setdefault("content-type", _media_type(answer))
    return [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]


def defect(where: str) -> DefectError:
    """Log the exception that is being handled under a new id; call from an except block."""
    number = secrets.token_hex(6)
    _LOG.exception("defect", extra={"fields": {"defect": number, "route": where}})
    return DefectError(
        "node.defect",
        f"The node failed on this request (id {number}).",
        hint="Report the id to the operator.",
        actor="operator",
    )


def _media_type(answer: Answer) -> str:
    if answer.stream is None and answer.body is None and answer.part is None:
        return "application/json"
    text = answer.media_type.startswith("text/") and "charset=" not in answer.media_type
    return answer.media_type + "; charset=utf-8" if text else answer.media_type


def _headers(scope: Scope) -> dict[str, str]:
    """Lower-case names; a name that decides something may come only once."""
    headers: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        if name in headers:
            if name in _ONCE:
                raise InputError("transport.header", f"The header {name} came more than once.")
            value = f"{headers[name]}, {value}"
        headers[name] = value
    return headers


async def _read_body(receive: Receive, headers: Mapping[str, str], cap_bytes: int) -> bytes | None:
    """The body; None if its sender went away before its end."""
    if headers.get("content-encoding", "identity") != "identity":
        raise InputError("transport.encoding", "A compressed body is not accepted.", hint="Send it as it is.")
    too_large = f"The body is larger than {cap_bytes} bytes, which is the most that this route takes."
    announced = headers.get("content-length", "0")
    if not (announced.isascii() and announced.isdigit() and len(announced) <= 15) or int(announced) > cap_bytes:
        raise InputError("transport.too-large", too_large)
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    return None
                part: bytes = message.get("body", b"")
                size += len(part)
                if size > cap_bytes:
                    raise InputError("transport.too-large", too_large)
                parts.append(part)
                if not message.get("more_body", False):
                    return b"".join(parts)
    except TimeoutError as error:
        raise UnavailableError(
            "transport.slow", f"The body did not arrive within {BODY_SECONDS:.0f} seconds."
        ) from error
