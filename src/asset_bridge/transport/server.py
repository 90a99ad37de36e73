"""An HTTP service out of routes: signatures, caps, one error shape, health, metrics, OpenAPI.

Source: spec/node-http.md §1 to §5.
Promises: every failure leaves as {code, message, hint, actor}; an exception nobody expected leaves as DefectError with an id that finds the
log line, never with its text; no body larger than its route's cap is held; no compressed body is accepted.
Does not promise: limits per account or address (a proxy's or the route's job).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route as StarletteRoute

from asset_bridge.errors import BridgeError, DefectError, InputError, UnavailableError
from asset_bridge.transport.calls import Answer, Call, Reason, Route
from asset_bridge.transport.nonces import NonceStore
from asset_bridge.transport.openapi import openapi_document
from asset_bridge.transport.signing import verify_request

BODY_SECONDS = 60.0
_ONCE = ("host", "content-digest", "signature", "signature-input", "content-length", "content-type")
_LOG = logging.getLogger("asset_bridge.http")


@dataclass(slots=True)
class Guard:
    """What a signed request is checked against. `authorities` are the host names (with port) this node answers to."""

    chain_id: int
    nonces: NonceStore
    clock: Callable[[], float]
    authorities: set[str] = field(default_factory=set)


def build_app(
    routes: Iterable[Route],
    *,
    title: str,
    info: Callable[[], Mapping[str, Any]],
    health: Callable[[], list[Reason]],
    guard: Guard,
    on_start: Iterable[Callable[[], None]] = (),
    on_stop: Iterable[Callable[[], None]] = (),
    registry: CollectorRegistry | None = None,
    headers: Mapping[str, str] | None = None,
) -> Starlette:
    """The ASGI app of a node: its own routes and /health, /metrics, /openapi.json, /v1/info.

    `headers` go with every answer, refusals too. `on_start` and `on_stop` run in order around the app's life. `registry` takes
    further metrics of the node.
    """
    metrics = registry or CollectorRegistry()
    common = [
        Route("GET", "/health", lambda _call: _health(health()), "200, or 503 with the reasons"),
        Route("GET", "/v1/info", lambda _call: Answer(json=dict(info())), "Who this node is and what it works for"),
        Route("GET", "/metrics", lambda _call: _metrics(metrics), "Prometheus text format"),
    ]
    all_routes = [*routes, *common]
    document = openapi_document(title, all_routes)
    all_routes.append(Route("GET", "/openapi.json", lambda _call: Answer(json=document), "This document"))
    start, stop = tuple(on_start), tuple(on_stop)

    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        for step in start:
            await run_in_threadpool(step)
        try:
            yield
        finally:
            for step in stop:
                await run_in_threadpool(step)

    every = dict(headers or {})
    door = _Door(guard, metrics, every)
    return Starlette(
        routes=[StarletteRoute(route.path, door.endpoint(route), methods=[route.method]) for route in all_routes],
        exception_handlers={
            HTTPException: lambda _request, error: _respond(_unknown_route(error), every),
            Exception: lambda _request, error: _respond(_unexpected(error), every),
        },
        lifespan=lifespan,
    )


def error_answer(error: BridgeError, status: int | None = None) -> Answer:
    """A failure in its one shape; `status` replaces the class's own (404 of a gateway)."""
    return Answer(status=status or error.http_status, json=error.as_json(), headers={"cache-control": "no-store"})


class _Door:
    """What happens to every request before and after its handler."""

    def __init__(self, guard: Guard, registry: CollectorRegistry, headers: Mapping[str, str]) -> None:
        self._guard, self._headers = guard, headers
        self._requests = Counter(
            "asset_bridge_requests", "Requests answered.", ["method", "route", "status"], registry=registry
        )
        self._seconds = Histogram("asset_bridge_request_seconds", "Time to answer.", ["route"], registry=registry)

    def endpoint(self, route: Route) -> Callable[[Request], Any]:
        async def run(request: Request) -> Response:
            started = time.perf_counter()
            failure = ""
            try:
                call = await self._checked(route, request)
                answer = await run_in_threadpool(route.handler, call)
            except BridgeError as error:
                failure = error.code
                if isinstance(error, DefectError):
                    _LOG.error("defect", extra={"fields": {"code": error.code}}, exc_info=True)
                answer = error_answer(error)
            except ClientDisconnect:
                return Response(status_code=499)
            except Exception:  # noqa: BLE001 - the promise of the module: its text never leaves
                answer = error_answer(_defect(route.path))
                failure = "node.defect"
            seconds = time.perf_counter() - started
            self._requests.labels(request.method, route.path, str(answer.status)).inc()
            self._seconds.labels(route.path).observe(seconds)
            fields = {
                "method": request.method,
                "route": route.path,
                "status": answer.status,
                "seconds": round(seconds, 4),
            }
            _LOG.info("request", extra={"fields": fields | ({"code": failure} if failure else {})})
            return _respond(answer, self._headers)

        return run

    async def _checked(self, route: Route, request: Request) -> Call:
        headers = _headers(request)
        if headers.get("content-encoding", "identity") != "identity":
            raise InputError("transport.encoding", "A compressed body is not accepted.", hint="Send it as it is.")
        body = await _read_body(request, headers.get("content-length", "0"), route.max_body_bytes)
        raw_path = request.scope.get("raw_path") or request.scope["path"].encode()
        query = request.scope["query_string"].decode("latin-1")
        signer = None
        if route.signed or "signature-input" in headers:
            now = self._guard.clock()
            by = verify_request(
                headers,
                method=request.method,
                authorities=self._guard.authorities,
                path=raw_path.split(b"?")[0].decode("latin-1"),
                query=query,
                body=body,
                chain_id=self._guard.chain_id,
                now=now,
            )
            if route.allow is not None:
                await run_in_threadpool(route.allow, by.address)
            await run_in_threadpool(self._guard.nonces.use, by.address, by.nonce, by.expires_at, now)
            signer = by.address
        return Call(
            request.method,
            request.scope["path"],
            {key: str(value) for key, value in request.path_params.items()},
            dict(request.query_params) if query else {},
            headers,
            body,
            signer,
        )


def _headers(request: Request) -> dict[str, str]:
    """Lower-case names; a name that decides something may come only once."""
    headers: dict[str, str] = {}
    for raw_name, raw_value in request.scope["headers"]:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        if name in headers:
            if name in _ONCE:
                raise InputError("transport.header", f"The header {name} came more than once.")
            value = f"{headers[name]}, {value}"
        headers[name] = value
    return headers


async def _read_body(request: Request, announced: str, cap_bytes: int) -> bytes:
    too_large = InputError(
        "transport.too-large", f"The body is larger than {cap_bytes} bytes, which is the most that this route takes."
    )
    if not announced.isdigit() or int(announced) > cap_bytes:
        raise too_large
    parts, size = [], 0
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for part in request.stream():
                size += len(part)
                if size > cap_bytes:
                    raise too_large
                parts.append(part)
    except TimeoutError as error:
        raise UnavailableError(
            "transport.slow", f"The body did not arrive within {BODY_SECONDS:.0f} seconds."
        ) from error
    return b"".join(parts)


def _respond(answer: Answer, every: Mapping[str, str]) -> Response:
    headers = {"x-content-type-options": "nosniff", **every, **answer.headers}
    if answer.stream is not None:
        return StreamingResponse(answer.stream, answer.status, headers, media_type=answer.media_type)
    if answer.body is not None:
        return Response(answer.body, answer.status, headers, media_type=answer.media_type)
    text = json.dumps(answer.json, separators=(",", ":"), allow_nan=False)
    return Response(text, answer.status, headers, media_type="application/json")


def _health(reasons: list[Reason]) -> Answer:
    if not reasons:
        return Answer(json={"status": "ok", "reasons": []}, headers={"cache-control": "no-store"})
    sentence = " ".join(reason.message for reason in reasons)
    error = UnavailableError("node.unhealthy", sentence, hint="See reasons.", actor=reasons[0].actor)
    body = {**error.as_json(), "status": "unhealthy", "reasons": [reason.as_json() for reason in reasons]}
    return Answer(status=503, json=body, headers={"cache-control": "no-store"})


def _metrics(registry: CollectorRegistry) -> Answer:
    return Answer(body=generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


def _unknown_route(error: Exception) -> Answer:
    status = error.status_code if isinstance(error, HTTPException) else 404
    refusal = InputError("transport.route", "This node has no such route.", hint="See /openapi.json of this node.")
    return error_answer(refusal, status)


def _defect(where: str) -> DefectError:
    """Log the exception that is being handled under a new id; call from an except block."""
    number = secrets.token_hex(6)
    _LOG.exception("defect", extra={"fields": {"defect": number, "route": where}})
    return DefectError(
        "node.defect",
        f"The node failed on this request (id {number}).",
        hint="Report the id to the operator.",
        actor="operator",
    )


def _unexpected(error: Exception) -> Answer:
    try:
        raise error
    except Exception:  # noqa: BLE001 - logged by _defect
        return error_answer(_defect(""))
