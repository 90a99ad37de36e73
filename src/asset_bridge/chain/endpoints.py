"""Several endpoints as one view of the chain: which block, and whether they agree on it.

Source: design §6 (irreversible acts: finalized block, endpoints agree), spec/chain.md §2, fault rows F7–F9.
Promises: a finalized block is returned only when every configured endpoint names the same hash for it and it does not go back; a
head that is old or runs back is refused; every `eth_call` names its block by hash, so one record is read from one state.
Does not promise: that endpoints run by one operator disagree when he lies; choose independent ones.
"""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from asset_bridge.chain.endpoint import Endpoint, NodeRefusal, Reverted
from asset_bridge.chain.header import Header, read_header
from asset_bridge.chain.network import DEVELOPMENT_FINALITY_DEPTH, is_development
from asset_bridge.chain.records import BlockRef
from asset_bridge.errors import BridgeError, InputError, TamperedError, UnavailableError

T = TypeVar("T")
HEAD_SLACK_BLOCKS = 3  # a reorg may shorten the chain for a moment; more is an endpoint that lost its way
FIRST_LOG_RANGE_BLOCKS = 10_000
MAX_LOG_RANGE_BLOCKS = 100_000
MAX_SILENCES = 2
BATCH_HEADERS = 50


@dataclass(frozen=True, slots=True)
class EndpointState:
    """How an endpoint is, for /health and doctor."""

    name: str
    head: BlockRef | None
    error: BridgeError | None


class Endpoints:
    """Reads blocks, calls and logs from all configured endpoints."""

    def __init__(
        self,
        urls: Sequence[str],
        chain_id: int,
        *,
        timeout_seconds: float,
        max_head_age_seconds: int,
        clock: Callable[[], float],
        single: bool = False,
        tls: Mapping[str, ssl.SSLContext] | None = None,
    ) -> None:
        """Raises InputError(chain.one-endpoint) when fewer than two are given outside a development chain."""
        names = list(dict.fromkeys(urls))
        if not names or (len(names) < 2 and not single and not is_development(chain_id)):
            raise InputError(
                "chain.one-endpoint",
                f"{len(names)} chain endpoint given; outside a development chain two different ones are needed.",
                hint="name a second endpoint in network.toml",
            )
        self.chain_id = chain_id
        self.all = [Endpoint(url, timeout_seconds, (tls or {}).get(url)) for url in names]
        self._max_head_age_seconds, self._clock = max_head_age_seconds, clock
        self._pool = ThreadPoolExecutor(max(2, len(self.all)), thread_name_prefix="chain-endpoint")
        self._lock = threading.Lock()
        self._heads: dict[str, int] = {}
        self._final: BlockRef | None = None
        self._checked: set[str] = set()
        self._log_range_blocks = FIRST_LOG_RANGE_BLOCKS

    # ── asking ──
    def each(self, ask: Callable[[Endpoint], T]) -> list[T | BridgeError]:
        """`ask` of every endpoint, side by side; an endpoint's failure is its element of the list."""

        def guarded(endpoint: Endpoint) -> T | BridgeError:
            try:
                self._check_chain_id(endpoint)
                return ask(endpoint)
            except BridgeError as error:
                return error

        if len(self.all) == 1:
            return [guarded(self.all[0])]
        return list(self._pool.map(guarded, self.all))

    def _check_chain_id(self, endpoint: Endpoint) -> None:
        if endpoint.name in self._checked:
            return
        got = endpoint.as_int(endpoint.call("eth_chainId"))
        if got != self.chain_id:
            raise InputError(
                "chain.wrong-chain",
                f"The chain endpoint {endpoint.name} serves chain {got}; this network is chain {self.chain_id}.",
                hint="correct the endpoint in network.toml",
                actor=f"chain endpoint {endpoint.name}",
            )
        self._checked.add(endpoint.name)

    def first(self, ask: Callable[[Endpoint], T]) -> T:
        """The answer of the first endpoint that gives one; a revert is an answer (Reverted)."""
        error: BridgeError | None = None
        for endpoint in self.all:
            try:
                self._check_chain_id(endpoint)
                return ask(endpoint)
            except UnavailableError as failed:
                error = error or failed
        assert error is not None
        raise error

    def agreed(self, ask: Callable[[Endpoint], T], what: str) -> T:
        """The answer that every endpoint gives.

        Raises:
            UnavailableError: one did not answer. TamperedError(chain.endpoints-disagree): two answers differ.
        """
        answers = self.each(ask)
        for answer in answers:
            if isinstance(answer, BridgeError):
                raise answer
        for endpoint, answer in zip(self.all[1:], answers[1:], strict=True):
            if answer != answers[0]:
                names = f"{self.all[0].name} and {endpoint.name}"
                raise TamperedError(
                    "chain.endpoints-disagree",
                    f"The chain endpoints {names} disagree on {what}; one of them lies or is broken, so nothing was done.",
                    hint="replace the one you trust less",
                    actor=f"chain endpoint {names}",
                )
        first = answers[0]
        assert not isinstance(first, BridgeError)
        return first

    # ── blocks ──
    def header(self, endpoint: Endpoint, block: int | str | bytes) -> Header | None:
        """The header at a number, tag or hash; None when the endpoint has none there."""
        if isinstance(block, bytes):
            value = endpoint.call("eth_getBlockByHash", "0x" + block.hex(), False)
        else:
            value = endpoint.call("eth_getBlockByNumber", hex(block) if isinstance(block, int) else block, False)
        if value is None:
            return None
        header = read_header(endpoint, value, self.chain_id)
        if (isinstance(block, int) and header.ref.number != block) or (
            isinstance(block, bytes) and header.ref.hash != block
        ):
            raise endpoint.lying("it returned another block than the one asked for")
        return header

    def headers(self, endpoint: Endpoint, numbers: Sequence[int]) -> list[Header] | None:
        """The headers at these heights, in few round trips; None when one is missing."""
        found: list[Header] = []
        for i in range(0, len(numbers), BATCH_HEADERS):
            piece = numbers[i : i + BATCH_HEADERS]
            values = endpoint.batch([("eth_getBlockByNumber", [hex(number), False]) for number in piece])
            for number, value in zip(piece, values, strict=True):
                if value is None:
                    return None
                header = read_header(endpoint, value, self.chain_id)
                if header.ref.number != number:
                    raise endpoint.lying("it returned another block than the one asked for")
                found.append(header)
        return found

    def head(self) -> tuple[Endpoint, Header]:
        """The highest head that any endpoint shows, and which one shows it (so a withheld block is seen by the other).

        Raises:
            UnavailableError: no endpoint answered, chain.stale-head, chain.regressed-head.
        """
        best: tuple[Endpoint, Header] | None = None
        errors: list[BridgeError] = []
        for endpoint, answer in zip(self.all, self.each(self._fresh_head), strict=True):
            if isinstance(answer, BridgeError):
                errors.append(answer)
            elif best is None or answer.ref.number > best[1].ref.number:
                best = endpoint, answer
        if best is None:
            raise errors[0]
        return best

    def _fresh_head(self, endpoint: Endpoint) -> Header:
        header = self.header(endpoint, "latest")
        if header is None:
            raise endpoint.down("has no newest block")
        age_seconds = int(self._clock()) - header.ref.timestamp
        if age_seconds > self._max_head_age_seconds:
            raise UnavailableError(
                "chain.stale-head",
                f"The newest block of the chain endpoint {endpoint.name} is {age_seconds} seconds old.",
                hint="check this computer's clock and that the endpoint is in step with its chain",
                actor=f"chain endpoint {endpoint.name}",
            )
        with self._lock:
            seen = self._heads.get(endpoint.name, 0)
            self._heads[endpoint.name] = header.ref.number
        if header.ref.number + HEAD_SLACK_BLOCKS < seen:
            raise self._regressed(endpoint.name, header.ref.number, seen)
        return header

    def _regressed(self, name: str, number: int, seen: int) -> UnavailableError:
        return UnavailableError(
            "chain.regressed-head",
            f"The chain endpoint {name} went back from block {seen} to block {number}.",
            hint="wait until it has caught up; if it does not, replace it",
            actor=f"chain endpoint {name}",
        )

    def final(self) -> Header:
        """The newest block that the finality rule calls final and on which all endpoints agree.

        Raises:
            UnavailableError: an endpoint is down, stale or behind; chain.regressed-head. TamperedError(chain.endpoints-disagree).
        """
        numbers = self.each(self._final_number)
        for number in numbers:
            if isinstance(number, BridgeError):
                raise number
        lowest = min(n for n in numbers if isinstance(n, int))
        header = self.agreed(lambda e: self._at(e, lowest), f"block {lowest}")
        with self._lock:
            before = self._final
            if before is not None and header.ref.number < before.number:
                raise self._regressed(" and ".join(e.name for e in self.all), header.ref.number, before.number)
        # a development chain's depth of 2 is a convention that a deeper reorg may break; a real finalized block never changes
        if before is not None and not is_development(self.chain_id):
            old = self.agreed(lambda e: self._at(e, before.number), f"block {before.number}")
            if old.ref.hash != before.hash:
                raise self._regressed(" and ".join(e.name for e in self.all), header.ref.number, before.number)
        with self._lock:
            self._final = header.ref
        return header

    def _final_number(self, endpoint: Endpoint) -> int:
        head = self._fresh_head(endpoint)
        if is_development(self.chain_id):
            return max(0, head.ref.number - DEVELOPMENT_FINALITY_DEPTH)
        final = self.header(endpoint, "finalized")
        if final is None:
            raise endpoint.down("knows no finalized block")
        return final.ref.number

    def _at(self, endpoint: Endpoint, number: int) -> Header:
        header = self.header(endpoint, number)
        if header is None:
            raise endpoint.down(f"does not have block {number}")
        return header

    # ── calls ──
    def calls(self, endpoint: Endpoint, calls: Sequence[tuple[str, bytes]], block: BlockRef) -> list[bytes]:
        """`eth_call`s at one block hash. Raises Reverted when one reverts."""
        where = {"blockHash": "0x" + block.hash.hex(), "requireCanonical": True}
        requests: list[tuple[str, list[object]]] = [
            ("eth_call", [{"to": to, "data": "0x" + data.hex()}, where]) for to, data in calls
        ]
        return [endpoint.as_bytes(answer) for answer in endpoint.batch(requests)]

    # ── logs ──
    def logs(
        self, endpoint: Endpoint, addresses: Sequence[str], first: int, last: int, topics: Sequence[str] = ()
    ) -> list[dict[str, Any]]:
        """Every log of `addresses` in blocks first..last, in pieces that shrink when the endpoint finds them too large."""
        found: list[dict[str, Any]] = []
        start, silences = first, 0
        while start <= last:
            end = min(last, start + self._log_range_blocks - 1)
            query = {"address": list(addresses), "fromBlock": hex(start), "toBlock": hex(end)}
            if topics:
                query["topics"] = list(topics)
            try:
                answer = endpoint.call("eth_getLogs", query)
            except (NodeRefusal, Reverted, UnavailableError) as error:
                # a refusal names a limit of its own; silence may be a reply too large to make, or an endpoint that is down
                silences += not isinstance(error, NodeRefusal)
                if end == start or silences > MAX_SILENCES:
                    raise endpoint.down("does not give the logs that were asked for") from None
                self._log_range_blocks = max(1, (end - start + 1) // 4)
                continue
            if not isinstance(answer, list):
                raise endpoint.down("gave something other than a list of logs")
            found += [endpoint.as_object(item) for item in answer]
            start = end + 1
            self._log_range_blocks = min(MAX_LOG_RANGE_BLOCKS, self._log_range_blocks * 2)
        return found

    def states(self) -> list[EndpointState]:
        """Every endpoint's head or what is wrong with it."""
        answers = self.each(self._fresh_head)
        return [
            EndpointState(e.name, None, a) if isinstance(a, BridgeError) else EndpointState(e.name, a.ref, None)
            for e, a in zip(self.all, answers, strict=True)
        ]
