"""Runs a node's app: one listening socket, JSON logs, a clean stop.

Source: spec/node-http.md §5. Promises: the port is bound before `port_file` names it; SIGTERM and SIGINT end the process with status 0
after the requests in hand are answered; no core dump; no plain HTTP to other machines unless a proxy ends TLS.
"""

from __future__ import annotations

import json
import logging
import os
import resource
import signal
import socket
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import httpx
import uvicorn
from starlette.applications import Starlette

from asset_bridge.errors import InputError, UnavailableError
from asset_bridge.transport.sendfile import FileProtocol
from asset_bridge.transport.server import Guard
from asset_bridge.transport.tls import check_bind, is_loopback

GRACE_SECONDS = 5
IDLE_SECONDS = 30
MOST_CONNECTIONS = 512


@dataclass(frozen=True, slots=True)
class Tls:
    """A certificate chain and its key, as PEM files."""

    certificate: Path
    key: Path


class JsonLines(logging.Formatter):
    """One JSON object a line. Only fields that the code names are written; never a header, a body or a path with its query."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "at": round(record.created, 3),
            "level": record.levelname.lower(),
            "room": record.name,
            "event": record.getMessage(),
        }
        line.update(getattr(record, "fields", {}))
        if record.exc_info and record.exc_info[0] is not None:
            line["exception"] = record.exc_info[0].__name__
            line["trace"] = _frames(record.exc_info[2])
        return json.dumps(line, separators=(",", ":"), default=str)


def _frames(trace: Any) -> list[str]:
    """File, line and function of each frame: what finds a bug, without the values, which may be secret."""
    frames = []
    while trace is not None:
        code = trace.tb_frame.f_code
        frames.append(f"{Path(code.co_filename).name}:{trace.tb_lineno} {code.co_name}")
        trace = trace.tb_next
    return frames[-12:]


def configure_logs(level: str = "INFO") -> None:
    """JSON lines on stderr, for our rooms at `level` and for everything else from WARNING."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("asset_bridge").setLevel(level)
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)


def no_core_dumps() -> None:
    """A crash must not write this process's memory, where keys may be, to disk."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def bind(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one. Raises UnavailableError(node.port)."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Named protocol: asyncio turns Nagle's algorithm off only for sockets that say they are TCP, and with it every answer waits 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(1024)
    except OSError as error:
        listener.close()
        raise UnavailableError(
            "node.port",
            f"Cannot listen on {host} port {port}: {os.strerror(error.errno or 0)}.",
            hint="Choose another --port, or 0 for a free one.",
            actor="operator",
        ) from error
    return listener


def serve(
    app: Starlette,
    guard: Guard,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    port_file: Path | None = None,
    public_urls: Iterable[str] = (),
    tls: Tls | None = None,
    behind_proxy: bool = False,
    listener: socket.socket | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT. Blocks; call it on the main thread.

    Args:
        port_file: gets the bound port as decimal text, written whole, after the socket listens.
        public_urls: URLs under which others reach this node; signed requests must name one of their hosts.
        listener: a socket from `bind`, for a caller that must know its port first; replaces host and port.
    Raises:
        RefusedError(transport.no-tls): see transport/tls.py. UnavailableError(node.port): the port is taken.
    """
    check_bind(host, has_tls=tls is not None, behind_proxy=behind_proxy)
    no_core_dumps()
    listener = listener or bind(host, port)
    bound = listener.getsockname()[1]
    guard.authorities.update(authorities(host, bound, public_urls, has_tls=tls is not None))
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        limit_concurrency=MOST_CONNECTIONS,
        timeout_keep_alive=IDLE_SECONDS,
        timeout_graceful_shutdown=GRACE_SECONDS,
        h11_max_incomplete_event_size=32_768,
        http=FileProtocol,
        ws="none",
        ssl_certfile=tls.certificate if tls else None,
        ssl_keyfile=tls.key if tls else None,
    )
    server = _Server(config, port_file, bound)

    def stop(_number: int, _frame: FrameType | None) -> None:
        server.should_exit = True

    for number in (signal.SIGTERM, signal.SIGINT):
        # For a signal that comes before uvicorn has handlers of its own, and for one that it caught: it raises that again at its end.
        signal.signal(number, stop)
    try:
        server.run(sockets=[listener])
    finally:
        listener.close()
        if port_file is not None:
            port_file.unlink(missing_ok=True)
    if not server.started:
        raise UnavailableError("node.start", "The node did not start; the log says why.", actor="operator")


def authorities(host: str, port: int, public_urls: Iterable[str], *, has_tls: bool) -> set[str]:
    """The Host values of requests meant for a node that listens there."""
    default = 443 if has_tls else 80
    names = {"127.0.0.1", "localhost", "[::1]"} if is_loopback(host) else {f"[{host}]" if ":" in host else host}
    found = {name if port == default else f"{name}:{port}" for name in names}
    for text in public_urls:
        try:
            url = httpx.URL(text)
        except httpx.InvalidURL:
            url = httpx.URL("")
        if url.scheme not in ("http", "https") or not url.host:
            raise InputError("node.url", "A public URL of the node is not an http(s) URL.", actor="operator")
        found.add(url.netloc.decode("ascii").lower())
    return found


class _Server(uvicorn.Server):
    """Names the port once requests can be answered."""

    def __init__(self, config: uvicorn.Config, port_file: Path | None, port: int) -> None:
        super().__init__(config)
        self._port_file, self._port = port_file, port

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started and self._port_file is not None:
            part = self._port_file.with_name(self._port_file.name + ".part")
            part.write_text(f"{self._port}\n")
            part.replace(self._port_file)
        logging.getLogger("asset_bridge.node").info("listening", extra={"fields": {"port": self._port}})
