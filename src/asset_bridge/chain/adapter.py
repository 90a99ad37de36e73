"""The RPC adapter: the contracts on a real EVM chain, read through endpoints that are not trusted.

Source: spec/chain.md §2, §3; design §6; fault rows F7–F9. Logs come from every endpoint that has the block and must be the same;
the reader then checks each record against the contracts' words at the same block hash.
Promises: a lying, stale or regressing endpoint gives an error that names it, never a record; nothing is written to the chain.
Does not promise: to find a lie that all configured endpoints tell alike.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from asset_bridge.chain.abi import Event, decode_answer, decode_log, encode_call
from asset_bridge.chain.endpoint import Endpoint, Reverted
from asset_bridge.chain.endpoints import Endpoints, EndpointState
from asset_bridge.chain.index import Index
from asset_bridge.chain.keys import checksum_address
from asset_bridge.chain.network import CONTRACTS, Deployment
from asset_bridge.chain.reader import Call, Reader
from asset_bridge.chain.records import At, BlockRef
from asset_bridge.errors import BridgeError, InputError, TamperedError, UnavailableError
from asset_bridge.keys.keccak import keccak

BATCH_CALLS = 50
READ_CONTRACTS = CONTRACTS


class RpcSource:
    """Blocks, events and view answers of a real chain (reader.Source, index.EventSource)."""

    def __init__(self, deployment: Deployment, endpoints: Endpoints, index_path: Path | None) -> None:
        self.deployment, self.endpoints = deployment, endpoints
        self._names = {deployment.address_of(name): name for name in READ_CONTRACTS}
        self._heads: dict[bytes, Endpoint] = {}
        self.index = Index(index_path, self)

    # ── blocks ──
    def block(self, at: At = At.HEAD) -> BlockRef:
        """The newest block of any endpoint, or the final block of all."""
        if at is At.FINAL:
            return self.endpoints.final().ref
        endpoint, header = self.endpoints.head()
        self._heads = {header.ref.hash: endpoint}
        return header.ref

    def canonical(self, number: int) -> BlockRef | None:
        """The block at this height, by the endpoint that showed the head."""
        endpoint = next(iter(self._heads.values()), self.endpoints.all[0])
        header = self.endpoints.header(endpoint, number)
        return header.ref if header else None

    # ── events ──
    def find(self, names: Iterable[str], block: BlockRef, **fields: object) -> list[Event]:
        """See reader.Source; out of the index, which follows the chain first if it must."""
        if not self.index.covers(block):
            self.index.update()
        return self.index.find(names, block.number, **fields)

    def events(self, first: int, last: int) -> list[Event]:
        """See index.EventSource; every endpoint that has block `last` must give the same."""
        target = self.canonical(last)
        answers = self.endpoints.each(lambda e: self._events(e, first, last, target))
        usable = [(e, a) for e, a in zip(self.endpoints.all, answers, strict=True) if isinstance(a, list)]
        for answer in answers:
            if isinstance(answer, TamperedError) or (not usable and isinstance(answer, BridgeError)):
                raise answer
        if not usable:
            raise UnavailableError("chain.reorg", "The chain is being reorganised.", hint="try again", actor="nobody")
        for endpoint, events in usable[1:]:
            if events != usable[0][1]:
                names = f"{usable[0][0].name} and {endpoint.name}"
                raise TamperedError(
                    "chain.endpoints-disagree",
                    f"The chain endpoints {names} give different events for blocks {first} to {last}.",
                    hint="replace the one you trust less",
                    actor=f"chain endpoint {names}",
                )
        return usable[0][1]

    def _events(self, endpoint: Endpoint, first: int, last: int, target: BlockRef | None) -> list[Event] | None:
        """This endpoint's events; None when it is not at that block (yet)."""
        header = self.endpoints.header(endpoint, last)
        if header is None or target is None or header.ref.hash != target.hash:
            return None
        logs = self.endpoints.logs(endpoint, list(self._names), first, last)
        numbers = sorted({endpoint.as_int(log.get("blockNumber")) for log in logs})
        if any(not first <= number <= last for number in numbers):
            raise endpoint.lying("it gave logs of blocks that were not asked for")
        headers = self.endpoints.headers(endpoint, numbers)
        if headers is None:
            return None
        blocks = {h.ref.number: h.ref for h in headers}
        events = [e for log in logs if (e := self._event(endpoint, log, blocks)) is not None]
        return sorted(events, key=lambda e: (e.block.number, e.log_index))

    def _event(self, endpoint: Endpoint, log: dict[str, Any], blocks: dict[int, BlockRef]) -> Event | None:
        address = checksum_address(endpoint.as_bytes(log.get("address"), 20))
        topics, data = log.get("topics"), endpoint.as_bytes(log.get("data"))
        if address not in self._names or not isinstance(topics, list):
            raise endpoint.lying("it gave logs of other contracts")
        block = blocks[endpoint.as_int(log.get("blockNumber"))]
        if log.get("removed") or endpoint.as_bytes(log.get("blockHash"), 32) != block.hash:
            raise endpoint.lying("a log names another block than the chain has there")
        try:
            decoded = decode_log(self._names[address], [endpoint.as_bytes(t, 32) for t in topics], data)
        except TamperedError as error:
            raise endpoint.lying(error.message) from None
        if decoded is None:
            return None
        transaction = endpoint.as_bytes(log.get("transactionHash"), 32)
        return Event(self._names[address], *decoded, block, transaction, endpoint.as_int(log.get("logIndex")))

    # ── views ──
    def calls(self, calls: Sequence[Call], block: BlockRef, at: At) -> list[Any]:
        """See reader.Source."""
        if not calls:
            return []
        encoded = [(self.deployment.address_of(c), encode_call(c, name, args)) for c, name, args in calls]

        def ask(endpoint: Endpoint) -> list[bytes]:
            pieces = [encoded[i : i + BATCH_CALLS] for i in range(0, len(encoded), BATCH_CALLS)]
            return [answer for piece in pieces for answer in self.endpoints.calls(endpoint, piece, block)]

        try:
            if at is At.FINAL:
                answers = self.endpoints.agreed(ask, f"the contracts' state at block {block.number}")
            elif block.hash in self._heads:
                answers = ask(self._heads[block.hash])
            else:
                answers = self.endpoints.first(ask)
        except Reverted:
            raise self._not_ours() from None
        if b"" in answers:
            raise self._not_ours()
        try:
            return [decode_answer(c, name, a) for (c, name, _), a in zip(calls, answers, strict=True)]
        except TamperedError as error:
            raise self.lying(error.message) from None

    def token_answers(self, token: str, calls: Sequence[bytes], block: BlockRef, at: At) -> list[bytes | None]:
        """See reader.Source."""
        where = {"blockHash": "0x" + block.hash.hex(), "requireCanonical": True}

        def ask(endpoint: Endpoint) -> list[bytes | None]:
            return [one(endpoint, call) for call in calls]

        def one(endpoint: Endpoint, call: bytes) -> bytes | None:
            try:
                return endpoint.as_bytes(endpoint.call("eth_call", {"to": token, "data": "0x" + call.hex()}, where))
            except Reverted:
                return None

        if at is At.FINAL:
            return self.endpoints.agreed(ask, f"the token {token} at block {block.number}")
        return ask(self._heads[block.hash]) if block.hash in self._heads else self.endpoints.first(ask)

    @staticmethod
    def _not_ours() -> InputError:
        return InputError(
            "chain.no-contract",
            "There are no contracts of ours at the addresses of this network.",
            hint="the development chain may have been reset, or network.toml is of another chain; run: asset-bridge doctor",
        )

    def lying(self, what: str) -> TamperedError:
        """The error for a record that contradicts itself; what the index holds is forgotten with it."""
        self.index.clear()
        names = " and ".join(e.name for e in self.endpoints.all)
        return TamperedError(
            "chain.lying-endpoint",
            f"The chain endpoint {names} gave a record that does not verify: {what}.",
            hint="stop using this endpoint; nothing was done with its answer",
            actor=f"chain endpoint {names}",
        )

    def base_fee_wei(self) -> int:
        """See reader.Source."""
        return self.endpoints.head()[1].base_fee_wei

    def code(self, account: str, at: At = At.HEAD) -> bytes:
        """See reader.Source."""
        if at is At.HEAD:
            return self.endpoints.first(lambda e: e.as_bytes(e.call("eth_getCode", account, "latest")))
        where = {"blockHash": "0x" + self.endpoints.final().ref.hash.hex(), "requireCanonical": True}
        return self.endpoints.agreed(
            lambda e: e.as_bytes(e.call("eth_getCode", account, where)), f"the code at {account}"
        )

    def coins_wei(self, account: str) -> int:
        """Native coins of an account now."""
        return self.endpoints.first(lambda e: e.as_int(e.call("eth_getBalance", account, "latest")))


class RpcChain(Reader):
    """A ChainReader on a real chain."""

    def __init__(
        self,
        deployment: Deployment,
        rpc_urls: Sequence[str],
        *,
        index_path: Path | None = None,
        timeout_seconds: float = 10.0,
        max_head_age_seconds: int = 90,
        clock: Callable[[], float] = time.time,
        single: bool = False,
        tls: Mapping[str, ssl.SSLContext] | None = None,
    ) -> None:
        """`single` permits one endpoint anywhere: for a caller that compares endpoints itself (`each`). `tls`: by URL, for pinned keys."""
        self._tls = dict(tls or {})
        self._options = (timeout_seconds, max_head_age_seconds, clock)
        self.endpoints = Endpoints(
            rpc_urls,
            deployment.chain_id,
            timeout_seconds=timeout_seconds,
            max_head_age_seconds=max_head_age_seconds,
            clock=clock,
            single=single,
            tls=self._tls,
        )
        self._urls = tuple(rpc_urls)
        self._source = RpcSource(deployment, self.endpoints, index_path)
        super().__init__(self._source)

    @property
    def index(self) -> Index:
        """The index behind this reader."""
        return self._source.index

    def each(self) -> list[RpcChain]:
        """One reader an endpoint, each seeing only its own: for rules that hold "at any head" (protocol §6)."""
        timeout_seconds, max_head_age_seconds, clock = self._options
        return [
            RpcChain(
                self.deployment,
                [url],
                timeout_seconds=timeout_seconds,
                max_head_age_seconds=max_head_age_seconds,
                clock=clock,
                single=True,
                tls=self._tls,
            )
            for url in dict.fromkeys(self._urls)
        ]

    def states(self) -> list[EndpointState]:
        """How each endpoint is, for /health and doctor."""
        return self.endpoints.states()

    def check(self) -> None:
        """Compare chain id and code hashes of every endpoint with the network's facts.

        Raises:
            InputError(chain.wrong-chain), TamperedError(chain.code-hash), UnavailableError: an endpoint is down.
        """
        for endpoint, answer in zip(self.endpoints.all, self.endpoints.each(self._code_hashes), strict=True):
            if isinstance(answer, BridgeError):
                raise answer
            for name in CONTRACTS:
                if answer[name] != self.deployment.code_hashes[name]:
                    raise TamperedError(
                        "chain.code-hash",
                        f"The code of {name} at {endpoint.name} is not the one that this network names.",
                        hint="the development chain may have been reset, or network.toml is of another chain",
                        actor=f"chain endpoint {endpoint.name}",
                    )

    def _code_hashes(self, endpoint: Endpoint) -> dict[str, bytes]:
        addresses = [self.deployment.address_of(name) for name in CONTRACTS]
        codes = [endpoint.as_bytes(endpoint.call("eth_getCode", address, "latest")) for address in addresses]
        return {name: keccak(code) for name, code in zip(CONTRACTS, codes, strict=True)}

    def close(self) -> None:
        """Close the index."""
        self.index.close()
