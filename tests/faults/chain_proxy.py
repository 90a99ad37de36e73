"""A JSON-RPC proxy between the adapter and anvil that loses answers, holds back, and lies on demand."""

from __future__ import annotations

import json
import threading
import urllib.request
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class ChainProxy:
    """`lose(method, times)` forwards but never answers; `change(method, result) -> result` lies; `seen` counts calls."""

    def __init__(self, target: str) -> None:
        self._target = target
        self._lost: dict[str, int] = {}
        self.before = False
        self.change: Callable[[str, Any], Any] = lambda method, result: result
        self.seen: dict[str, int] = {}
        self._lock = threading.Lock()
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                answer = proxy._answer(body)
                if answer is None:
                    self.close_connection = True
                    self.connection.close()
                    return
                self.send_response(200)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def lose(self, method: str, times: int, *, before: bool = False) -> None:
        """Lose the answer (or, `before`, the request itself) of the next `times` calls of `method`."""
        self._lost[method], self.before = times, before

    def _answer(self, body: bytes) -> bytes | None:
        request = json.loads(body)
        calls = request if isinstance(request, list) else [request]
        lost = False
        with self._lock:
            for call in calls:
                method = call["method"]
                self.seen[method] = self.seen.get(method, 0) + 1
                if self._lost.get(method, 0) > 0:
                    self._lost[method] -= 1
                    lost = True
        if lost and self.before:
            return None
        http = urllib.request.Request(self._target, body, {"content-type": "application/json"})
        with urllib.request.urlopen(http, timeout=20) as reply:
            answer = json.loads(reply.read())
        if lost:
            return None
        methods = {call["id"]: call["method"] for call in calls}
        for item in answer if isinstance(answer, list) else [answer]:
            if "result" in item:
                item["result"] = self.change(methods[item["id"]], item["result"])
        return json.dumps(answer).encode()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
