"""What a TEE node's request costs: beside its own cryptography, over HTTP beside in process, with 32 clients, and in memory.

Goals: one unbatched, fully checked request takes at most 2 × (signature check + re-encryption + receipt signature, measured alone), chain
reads excluded and counted; a core serves over HTTP at least 0.5 of the in-process rate, 0.8 in batches of 8; p99 of 32 clients is at most
4 × p50; memory is flat. Rates are requests per second of processor time of the serving process, so that a busy machine changes little.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from asset_bridge.chain.messages import fetch_digest, is_signed_by
from asset_bridge.nodes.tee import shares
from asset_bridge.reencryption import reencrypt
from benchmarks.common import ROOT, Row
from tests.unit.tee.ready import ReadyNode, ready_node

ROUNDS, REPEATS = 12, 60
SERVING_ROUNDS, SERVING = (
    4,
    800,
)  # of the rates over HTTP and in process alike: the best of few long rounds is not that of many short ones
CLIENTS, EACH = 32, 40
WARM, SERVED = 2_000, 20_000
BATCH = 8


def rows() -> Iterator[Row]:
    """The rows of this benchmark, all on one core."""
    with _one_core():
        yield from _rows()


@contextlib.contextmanager
def _one_core() -> Iterator[None]:
    """This process and those it starts stay on one core: two virtual cores are often one real one, where a busy client slows its server."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _rows() -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder:
        ready = ready_node(Path(folder))
        whole, alone, reads = _in_process(ready)
        yield Row(
            f"TEE node: one fully checked request ({reads} chain reads, excluded)",
            f"{whole * 1e6:.0f} µs",
            f"signature check + re-encryption + receipt signature {alone * 1e6:.0f} µs",
            whole / alone,
            "≤ 2",
            whole / alone <= 2,
        )
        with _server() as server:
            yield from _served(ready, server)


def _served(ready: ReadyNode, server: _Server) -> Iterator[Row]:
    """The rows of a node in a process of its own."""
    best = dict.fromkeys((0, 1, BATCH), 1.0)
    for _ in range(SERVING_ROUNDS):
        for batch in best:
            best[batch] = min(best[batch], server.cpu_seconds(batch) if batch else _seconds_in_process(ready))
    inside = best[0]
    for batch, goal in ((1, 0.5), (BATCH, 0.8)):
        over_http = best[batch]
        ratio = inside / over_http
        yield Row(
            f"TEE node: requests a core serves over HTTP, {'unbatched' if batch == 1 else f'in batches of {batch}'}",
            f"{1 / over_http:.0f}/s",
            f"in process {1 / inside:.0f}/s",
            ratio,
            f"≥ {goal}",
            ratio >= goal,
        )
    p50, p99 = min((server.latency() for _ in range(3)), key=lambda found: found[1] / found[0])
    yield Row(
        f"TEE node: {CLIENTS} clients at once, p99 beside p50",
        f"{p99 * 1e3:.1f} ms",
        f"{p50 * 1e3:.1f} ms",
        p99 / p50,
        "≤ 4",
        p99 / p50 <= 4,
    )
    before, after = server.growth()
    yield Row(
        f"TEE node: memory after {SERVED} more requests",
        f"{after / 1024:.1f} MiB",
        f"{before / 1024:.1f} MiB",
        after / before,
        "≤ 1.02",
        after / before <= 1.02,
    )


def _in_process(ready: ReadyNode) -> tuple[float, float, int]:
    """Processor seconds of a request, of its cryptography alone, and the chain reads of one request."""
    core, order, fetch = ready.core, ready.orders[0], ready.fetches[0]
    asked = itertools.cycle(zip(ready.orders, ready.fetches, strict=True))  # as the server is asked
    seen = core.view.order(order)
    slot = shares.find_slot(seen.order, 1, None, core._identity, core._keys)
    approval = seen.order.approval
    assert approval is not None
    opened = shares.open_share(seen.order, core.view.asset(seen.order.terms.asset_id), approval, slot)
    digest, signer, key = fetch_digest(core._domain, order, 1), seen.order.terms.fetch_signer, core._identity.key

    def alone() -> None:
        assert is_signed_by(signer, digest, fetch.signature)
        reencrypt(opened.capsule, opened.kfrag).to_bytes()
        key.sign_digest(digest)

    before = sum(reader.reads for reader in ready.readers)
    core.reencrypt(order, fetch)
    reads = sum(reader.reads for reader in ready.readers) - before
    best = {"whole": 1.0, "alone": 1.0}
    acts: dict[str, Callable[[], object]] = {"whole": lambda: core.reencrypt(*next(asked)), "alone": alone}
    for _ in range(ROUNDS):
        for name, act in acts.items():
            started = time.thread_time()
            for _ in range(REPEATS):
                act()
            best[name] = min(best[name], (time.thread_time() - started) / REPEATS)
    return best["whole"], best["alone"], reads


def _seconds_in_process(ready: ReadyNode) -> float:
    """Processor seconds of a request in process, counted over as many as `_Server.cpu_seconds` counts."""
    asked = itertools.cycle(zip(ready.orders, ready.fetches, strict=True))
    started = time.process_time()
    for _ in range(SERVING):
        ready.core.reencrypt(*next(asked))
    return (time.process_time() - started) / SERVING


class _Server:
    """The node in a process of its own."""

    def __init__(self, told: dict[str, Any]) -> None:
        self._port, self._pid, self._requests = int(told["port"]), int(told["pid"]), told["requests"]

    def cpu_seconds(self, batch: int) -> float:
        """Processor seconds of the server for one request, when asked in batches of `batch`."""
        body = [self._body(batch, start) for start in range(len(self._requests))]
        asked = SERVING // batch // 4
        before = self._used()
        self._ask_from([body] * 4, asked)
        return (self._used() - before) / (asked * 4 * batch)

    def latency(self) -> tuple[float, float]:
        """p50 and p99 of 32 clients that each ask one request after the other, in seconds."""
        took = self._ask_from([[self._body(1, start)] for start in range(CLIENTS)], EACH)
        cuts = statistics.quantiles(took, n=100)
        return cuts[49], cuts[98]

    def growth(self) -> tuple[float, float]:
        """Resident KiB after the first requests and after many more."""
        body = [[self._body(BATCH, start)] for start in range(2)]
        self._ask_from(body, WARM // BATCH // 2)
        before = self._resident()
        self._ask_from(body, SERVED // BATCH // 2)
        return before, self._resident()

    def _body(self, batch: int, start: int) -> bytes:
        chosen = [self._requests[(start + index) % len(self._requests)] for index in range(batch)]
        if batch == 1:
            path = f"/v1/orders/{chosen[0]['order_id']}/reencrypt"
            content = json.dumps({key: chosen[0][key] for key in ("generation", "signature")}).encode()
        else:
            path, content = "/v1/reencrypt", json.dumps({"requests": chosen}).encode()
        head = f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1:{self._port}\r\ncontent-type: application/json\r\n"
        return f"{head}content-length: {len(content)}\r\n\r\n".encode() + content

    def _ask_from(self, bodies: list[list[bytes]], each: int) -> list[float]:
        """One thread and connection for each list; `each` requests from it in turn. Seconds of each answer."""
        took: list[float] = []
        threads = [threading.Thread(target=self._client, args=(body, each, took)) for body in bodies]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if len(took) != each * len(bodies):
            sys.exit(f"benchmark: {len(took)} of {each * len(bodies)} requests were answered with 200")
        return took

    def _client(self, body: list[bytes], each: int, took: list[float]) -> None:
        with socket.create_connection(("127.0.0.1", self._port)) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for number in range(each):
                started = time.perf_counter()
                connection.sendall(body[number % len(body)])
                answer = connection.recv(1 << 16)
                while b"\r\n\r\n" not in answer:
                    answer += connection.recv(1 << 16)
                head, _, rest = answer.partition(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
                while len(rest) < length:
                    rest += connection.recv(1 << 16)
                if b" 200 " not in head.split(b"\r\n")[0] or b'"error"' in rest:
                    return
                took.append(time.perf_counter() - started)

    def _used(self) -> float:
        """Processor seconds of the server so far (user and system), by its scheduler's own count where Linux gives it."""
        with contextlib.suppress(OSError):
            tasks = Path(f"/proc/{self._pid}/task").iterdir()
            return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9
        found = subprocess.run(["ps", "-o", "time=", "-p", str(self._pid)], capture_output=True, text=True, check=True)
        parts = [float(part) for part in found.stdout.strip().replace("-", ":").split(":")]
        return sum(part * 60**power for power, part in enumerate(reversed(parts)))

    def _resident(self) -> float:
        found = subprocess.run(["ps", "-o", "rss=", "-p", str(self._pid)], capture_output=True, text=True, check=True)
        return float(found.stdout)


@contextlib.contextmanager
def _server() -> Iterator[_Server]:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "benchmarks.tee_market", folder]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        with subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        ) as process:
            assert process.stdout is not None
            try:
                yield _Server(json.loads(process.stdout.readline()))
            finally:
                process.terminate()
