"""An httpx transport into an ASGI app in this process: no ports, real requests and answers."""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import Iterator
from typing import Any

import httpx


class AsgiTransport(httpx.BaseTransport):
    """Sends each request to `app` on one event loop of its own thread, which ends with the transport."""

    def __init__(self, app: Any, *, max_bytes: int = 1 << 28) -> None:
        self._app = app
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=_run_and_close, args=(self._loop,), daemon=True).start()
        self._end = weakref.finalize(self, self._loop.call_soon_threadsafe, self._loop.stop)
        self._max_bytes = max_bytes

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        body = request.read()
        raw_path, _, query = request.url.raw_path.partition(b"?")
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": request.method,
            "scheme": request.url.scheme,
            "path": request.url.path,
            "raw_path": raw_path,
            "query_string": query,
            "root_path": "",
            "headers": [(name.lower(), value) for name, value in request.headers.raw],
            "client": ("127.0.0.1", 1),
            "server": (request.url.host, request.url.port or 80),
        }
        future = asyncio.run_coroutine_threadsafe(self._run(scope, body), self._loop)
        status, headers, parts = future.result(60)
        return httpx.Response(status, headers=headers, stream=_Parts(parts), request=request)

    async def _run(self, scope: dict[str, Any], body: bytes) -> tuple[int, list[Any], list[bytes]]:
        sent_body = False
        done = asyncio.Event()
        status, headers, parts, size = 500, [], [], 0

        async def receive() -> dict[str, Any]:
            nonlocal sent_body
            if not sent_body:
                sent_body = True
                return {"type": "http.request", "body": body, "more_body": False}
            await done.wait()
            return {"type": "http.disconnect"}

        async def send(message: dict[str, Any]) -> None:
            nonlocal status, headers, size
            if message["type"] == "http.response.start":
                status, headers = message["status"], message["headers"]
            else:
                size += len(message.get("body", b""))
                if size > self._max_bytes:
                    raise RuntimeError("the answer does not end")
                if scope["method"] != "HEAD":
                    parts.append(message.get("body", b""))
                if not message.get("more_body"):
                    done.set()

        await self._app(scope, receive, send)
        return status, headers, parts

    def close(self) -> None:
        self._end()


def _run_and_close(loop: asyncio.AbstractEventLoop) -> None:
    loop.run_forever()
    loop.close()


class _Parts(httpx.SyncByteStream):
    def __init__(self, parts: list[bytes]) -> None:
        self._parts = parts

    def __iter__(self) -> Iterator[bytes]:
        yield from self._parts
