"""GET over a kept connection a thread, with as little between socket and hash as Python allows; what bulk transfers of blocks use.

Source: RFC 9112; why not httpx: docs/decisions/0051.
Promises: no redirect is followed, no proxy and no environment variable is looked at; one receive waits at most until the deadline.
Does not promise: to read an answer to its end; a connection whose answer was left is closed.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer's head, and its bytes as they come. `length_bytes` is what its head announced, None where it did not.

    `into(view)` puts what is there into `view` and returns how many bytes, none at the end; `wait()` returns once `into` need not wait.
    """

    status: int
    encoding: str
    length_bytes: int | None
    into: Callable[[memoryview], int]
    wait: Callable[[], object]


class DirectHttp:
    """Connections to one host. Any number of threads; each has its own connection."""

    def __init__(self, base_url: str, verify: Any, timeout_seconds: float) -> None:
        url = httpx.URL(base_url)
        self._host, self._path = url.host, url.path.rstrip("/")
        self._port = url.port or (443 if url.scheme == "https" else 80)
        self._timeout_seconds = timeout_seconds
        self._context: ssl.SSLContext | None = None
        if url.scheme == "https":
            self._context = verify if isinstance(verify, ssl.SSLContext) else httpx.create_ssl_context(trust_env=False)
        self._mine = threading.local()
        self._lock = threading.Lock()
        self._all: set[http.client.HTTPConnection] = set()

    @contextlib.contextmanager
    def get(self, path: str, headers: dict[str, str]) -> Iterator[Reply]:
        """One request. Raises OSError or http.client.HTTPException; the connection is closed then."""
        deadline = time.monotonic() + self._timeout_seconds
        connection, response = self._ask(path, headers)
        try:
            length = response.length if response.getheader("content-length") is not None else None
            encoding = response.getheader("content-encoding") or "identity"

            def in_time() -> None:
                left = deadline - time.monotonic()
                if left <= 0:
                    raise TimeoutError("the answer takes too long")
                if connection.sock is not None:
                    connection.sock.settimeout(left)

            def into(view: memoryview) -> int:
                in_time()
                if response.length is None or response.isclosed():  # chunked, or up to the connection's end
                    part = response.read1(len(view))
                    view[: len(part)] = part
                    return len(part)
                count: int = response.fp.readinto1(view[: response.length])  # one receive, to where it belongs
                response.length -= count
                if not count:
                    response.close()
                elif not response.length:
                    response.read(0)  # the connection may be used again
                return count

            def wait() -> None:
                in_time()
                response.peek(1)

            yield Reply(response.status, encoding, length, into, wait)
            if not response.isclosed():
                self._drop(connection)
        except BaseException:
            self._drop(connection)
            raise

    def close(self) -> None:
        """Close every connection."""
        with self._lock:
            connections, self._all = self._all, set()
        for connection in connections:
            connection.close()

    def _ask(self, path: str, headers: dict[str, str]) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        """Send and read the head; once more on a new connection where a kept one had been closed by the other side."""
        kept: http.client.HTTPConnection | None = getattr(self._mine, "connection", None)
        for connection in (kept, None) if kept is not None and kept.sock is not None else (None,):
            connection = connection or self._connect()
            try:
                if connection.sock is not None:
                    connection.sock.settimeout(self._timeout_seconds)
                connection.request("GET", self._path + path, headers=headers)
                return connection, connection.getresponse()
            except (ConnectionError, http.client.RemoteDisconnected):
                self._drop(connection)
                if connection is not kept:
                    raise
            except BaseException:
                self._drop(connection)
                raise
        raise ConnectionError("no connection")

    def _connect(self) -> http.client.HTTPConnection:
        connection: http.client.HTTPConnection
        wait = min(5.0, self._timeout_seconds)
        if self._context is not None:
            connection = http.client.HTTPSConnection(self._host, self._port, timeout=wait, context=self._context)
        else:
            connection = http.client.HTTPConnection(self._host, self._port, timeout=wait)
        connection.connect()
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._lock:
            self._all.add(connection)
        self._mine.connection = connection
        return connection

    def _drop(self, connection: http.client.HTTPConnection) -> None:
        connection.close()
        with self._lock:
            self._all.discard(connection)
        if getattr(self._mine, "connection", None) is connection:
            self._mine.connection = None


class HttpxReply:
    """The same over an httpx transport: for apps in this process."""

    def __init__(self, base_url: str, transport: httpx.BaseTransport, timeout_seconds: float) -> None:
        self._base_url = base_url
        self._http = httpx.Client(
            transport=transport,
            timeout=httpx.Timeout(timeout_seconds, connect=min(5.0, timeout_seconds)),
            follow_redirects=False,
            trust_env=False,
        )

    @contextlib.contextmanager
    def get(self, path: str, headers: dict[str, str]) -> Iterator[Reply]:
        """One request. Raises httpx.HTTPError."""
        with self._http.stream("GET", self._base_url + path, headers=headers) as response:
            length = response.headers.get("content-length", "")
            encoding = response.headers.get("content-encoding", "identity")
            announced = int(length) if length.isdigit() else None
            parts, rest = response.iter_raw(), b""

            def into(view: memoryview) -> int:
                nonlocal rest
                rest = rest or next(parts, b"")
                count = min(len(rest), len(view))
                view[:count], rest = rest[:count], rest[count:]
                return count

            yield Reply(response.status_code, encoding, announced, into, lambda: None)

    def close(self) -> None:
        """Close the client."""
        self._http.close()
