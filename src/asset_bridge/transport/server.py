"""An HTTP service out of routes: signatures, caps, one error shape, health, metrics, OpenAPI.

Source: spec/node-http.md §1 to §5.
Promises: every failure leaves as {code, message, hint, actor}; an exception nobody expected leaves as DefectError with an id that finds the
log line, never with its text; no body larger than its route's cap is held; no compressed body is accepted.
Does not promise: limits per account or address (a proxy's or the route's job).
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Route as StarletteRoute

from asset_bridge.errors import InputError, UnavailableError
from asset_bridge.transport.calls import Answer, Reason, Route
from asset_bridge.transport.door import Door, Guard, defect, error_answer, raw_headers, written
from asset_bridge.transport.openapi import openapi_document

__all__ = ["Guard", "build_app", "error_answer"]


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
            door.close()

    every = dict(headers or {})
    door = Door(guard, metrics, every)
    return Starlette(
        routes=[StarletteRoute(route.path, door.endpoint(route), methods=[route.method]) for route in all_routes],
        exception_handlers={
            HTTPException: lambda _request, error: _respond(_unknown_route(error), every),
            Exception: lambda _request, error: _respond(_unexpected(error), every),
        },
        lifespan=lifespan,
    )


def _respond(answer: Answer, every: Mapping[str, str]) -> Response:
    """A failure outside of every route."""
    answer, body = written(answer)
    response = Response(body, answer.status)
    response.raw_headers = raw_headers(answer, every, body)
    return response


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


def _unexpected(error: Exception) -> Answer:
    try:
        raise error
    except Exception:  # noqa: BLE001 - logged by defect
        return error_answer(defect(""))
