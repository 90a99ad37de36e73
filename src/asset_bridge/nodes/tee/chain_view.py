"""How a TEE node reads the chain: every endpoint must be fresh, must not go back, and must agree with the others.

Source: protocol §6, spec/node-http-tee.md §3. Promises: permission comes from records that all endpoints give alike at a finalized
block; each endpoint's head is read too, and no answer is remembered from one request to the next.
Does not promise: that the endpoints are honest when all of them lie alike; that is what pinned endpoints of others are for.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from asset_bridge.chain.records import Asset, At, BlockRef, Node, NodeKind, Order, OrderState, Profile
from asset_bridge.errors import BridgeError, InputError, RefusedError, UnavailableError
from asset_bridge.trade.ports import ChainReader

MAX_HEAD_AGE_SECONDS = 120  # tee.md §6.4
MAX_SKEW_SECONDS = 300  # tee.md §6.4
_T = TypeVar("_T")
_TRANSLATED = {
    "chain.stale-head": "tee.head-stale",
    "chain.regressed-head": "tee.head-regressed",
    "chain.endpoints-disagree": "tee.endpoints-disagree",
}


@dataclass(frozen=True, slots=True)
class Seen:
    """One order as seen now: at a finalized block, at each endpoint's head (None: not there), and the chain's time."""

    final: BlockRef
    order: Order
    heads: tuple[Order | None, ...]
    now_at: int


class ChainView:
    """Reads through all endpoints. `clock` gives Unix seconds."""

    def __init__(
        self,
        readers: Sequence[ChainReader],
        clock: Callable[[], float],
        *,
        max_head_age_seconds: int = MAX_HEAD_AGE_SECONDS,
    ) -> None:
        """InputError(tee.readers): no reader, or readers of different deployments."""
        deployments = {(r.chain_id, r.exchange, r.ledger, r.registry) for r in readers}
        if len(deployments) != 1:
            raise InputError("tee.readers", "a TEE node needs chain endpoints, all of one deployment", actor="operator")
        self._readers, self._clock, self._max_age = tuple(readers), clock, max_head_age_seconds
        self._highest: dict[tuple[int, At], int] = {}
        self._lock = threading.Lock()

    @property
    def reader(self) -> ChainReader:
        """Any one of the readers, for constants of the deployment."""
        return self._readers[0]

    def fresh(self) -> tuple[BlockRef, int]:
        """The finalized block and the time now, after every endpoint's head was found fresh and not going back.

        Raises:
            UnavailableError: tee.head-stale, tee.head-regressed, tee.clock-skew, tee.endpoints-disagree.
        """
        clock_at = int(self._clock())
        times, finals = [clock_at], []
        with _translated:
            for index, reader in enumerate(self._readers):
                head = self._block(index, reader, At.HEAD)
                self._check_age(head, clock_at, reader)
                times.append(head.timestamp)
                finals.append(self._block(index, reader, At.FINAL))
        by_number: dict[int, bytes] = {}
        for final in finals:
            if by_number.setdefault(final.number, final.hash) != final.hash:
                raise disagree("they give different finalized blocks of one number")
        return min(finals, key=lambda block: block.number), max(times)

    def order(self, order_id: bytes) -> Seen:
        """The order, agreed at a finalized block, and as each head shows it.

        Raises:
            RefusedError(tee.unknown-order): no endpoint knows it. UnavailableError(tee.not-final): a head knows it already.
        """
        final, now_at = self.fresh()
        heads = tuple(_find(reader, order_id, At.HEAD) for reader in self._readers)
        found = [_find(reader, order_id, At.FINAL) for reader in self._readers]
        order = found[0]
        if any(other != order for other in found[1:]):
            raise disagree("they give different records of the order at a finalized block")
        if order is None:
            if any(head is not None for head in heads):
                raise not_final("the order")
            raise RefusedError(
                "tee.unknown-order", "no such order on this Exchange", hint="check the order id and the network"
            )
        return Seen(final, order, heads, now_at)

    def asset(self, asset_id: bytes) -> Asset:
        """The asset's record at a finalized block, the same from every endpoint."""
        return self._agreed(lambda reader: reader.asset(asset_id, At.FINAL), "the asset")

    def profile(self, provider: str) -> Profile | None:
        """The provider's profile at a finalized block, the same from every endpoint."""
        return self._agreed(lambda reader: reader.profile(provider, At.FINAL), "the profile")

    def light_nodes(self) -> list[Node]:
        """The live light nodes at a finalized block, the same from every endpoint."""
        found = self._agreed(lambda reader: reader.nodes(NodeKind.LIGHT, At.FINAL), "the light nodes")
        return [node for node in found if node.live and node.kind == NodeKind.LIGHT]

    def is_live(self, node_id: bytes, signing_address: str) -> bool:
        """Whether a node is live at a finalized block with this key; False when it is not there."""
        try:
            node = self._agreed(lambda reader: reader.node(node_id, At.FINAL), "the node itself")
        except InputError as error:
            if error.code != "chain.not-found":
                raise
            return False
        return node.live and node.current.signing_address == signing_address

    def _agreed(self, read: Callable[[ChainReader], _T], what: str) -> _T:
        with _translated:
            found = [read(reader) for reader in self._readers]
        if any(other != found[0] for other in found[1:]):
            raise disagree(f"they give different records of {what}")
        return found[0]

    def _check_age(self, head: BlockRef, clock_at: int, reader: ChainReader) -> None:
        if clock_at - head.timestamp > self._max_age:
            raise _endpoint(
                "tee.head-stale", f"a chain endpoint's newest block is {clock_at - head.timestamp} seconds old"
            )
        # A development chain may be moved forward by hand; its time then rules, and it can only end things earlier.
        if head.timestamp - clock_at > MAX_SKEW_SECONDS and not reader.is_development:
            raise _endpoint("tee.clock-skew", "this node's clock and the chain's differ by more than five minutes")

    def _block(self, index: int, reader: ChainReader, at: At) -> BlockRef:
        """Read a block that is not below what was known before reading; another thread may learn of a later one meanwhile."""
        with self._lock:
            known = self._highest.get((index, at), 0)
        block = reader.block(at)
        if block.number < known:
            raise _endpoint("tee.head-regressed", "a chain endpoint went back to an earlier block")
        with self._lock:
            self._highest[index, at] = max(block.number, self._highest.get((index, at), 0))
        return block


def disagree(why: str) -> UnavailableError:
    """The endpoints contradict each other: nothing is released."""
    return _endpoint("tee.endpoints-disagree", f"the node's chain endpoints disagree: {why}")


def not_final(what: str) -> UnavailableError:
    """It is on chain, but not in a finalized block yet."""
    return UnavailableError(
        "tee.not-final",
        f"{what} is not in a finalized block yet",
        hint="wait for finality and ask again",
        actor="nobody",
    )


def _endpoint(code: str, message: str) -> UnavailableError:
    return UnavailableError(code, message, hint="ask another TEE node, or wait", actor="chain endpoint")


def _find(reader: ChainReader, order_id: bytes, at: At) -> Order | None:
    with _translated:
        try:
            order = reader.order(order_id, at)
        except InputError as error:
            if error.code != "chain.not-found":
                raise
            return None
    return None if order.state == OrderState.NONE else order


class _Translated:
    """The adapter's own words for a bad endpoint become this node's codes."""

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        code = _TRANSLATED.get(error.code) if isinstance(error, BridgeError) else None
        if code is not None and isinstance(error, BridgeError):
            raise _endpoint(code, error.message) from None


_translated = _Translated()
