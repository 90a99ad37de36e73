"""Liars: TEE nodes that answer otherwise, light nodes that change what they pass on, chain endpoints that change what they serve."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from asset_bridge.chain.abi import Event
from asset_bridge.chain.messages import Domain, receipt_digest
from asset_bridge.chain.reader import Reader
from asset_bridge.chain.records import Ack, DeliveryReceipt, FetchSignature
from asset_bridge.chain.twin.chain import ChainTwin, TwinAccount
from asset_bridge.reencryption import Capsule, VerifiedKeyFrag, reencrypt
from asset_bridge.trade.desk import Desk
from asset_bridge.trade.ports import TeeNode
from asset_bridge.trade.shares import make_shares, owned_asset
from tests.journeys.support.deal import Deal

Answer = tuple[bytes, DeliveryReceipt, tuple[Ack, ...]]
Change = Callable[[Answer], Answer]


def flip(position: int, bits: int = 1) -> Callable[[bytes], bytes]:
    """Flip bits of one byte; a negative position counts from the end."""

    def change(old: bytes) -> bytes:
        at = position % len(old)
        return old[:at] + bytes([old[at] ^ bits]) + old[at + 1 :]

    return change


# ── TEE nodes ──
class LyingTee:
    """A TEE node that answers a fetch otherwise; everything else is the node's own."""

    def __init__(self, inner: TeeNode, change: Change) -> None:
        self._inner, self._change = inner, change

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def reencrypt(self, order_id: bytes, fetch: FetchSignature) -> Answer:
        return self._change(self._inner.reencrypt(order_id, fetch))


def lying_tees(deal: Deal, changes: Mapping[int, Change]) -> None:
    """From now on these TEE nodes (by number) lie, to whoever asks."""
    by_core = {id(deal.market.tees[number].core): change for number, change in changes.items()}
    deal.market.wrap_tee = lambda tee: LyingTee(tee, by_core[id(tee)]) if id(tee) in by_core else tee


def slot_of(deal: Deal, number: int) -> int:
    """The slot that TEE node `number` holds."""
    approval = deal.market.chain.order(deal.order_id).approval
    assert approval is not None
    return [slot.node_id for slot in approval.slots].index(deal.market.tees[number].node_id)


def shares_of(deal: Deal, *, order_id: bytes = b"", pk_b: bytes = b"", generation: int = 1) -> list[VerifiedKeyFrag]:
    """Real shares of the asset's key, for whatever the provider would make them: what a node of another approval holds."""
    chain = deal.market.chain
    owned = owned_asset(deal.provider, chain.asset(deal.published.asset_id))
    own = chain.order(deal.order_id)
    return make_shares(deal.provider, owned, order_id or deal.order_id, pk_b or own.terms.pk_b, generation, 2, 3)


def cfrag_by(deal: Deal, share: VerifiedKeyFrag, capsule: bytes = b"") -> bytes:
    """The cfrag that this share gives."""
    listed = deal.market.chain.asset(deal.published.asset_id).listing.capsule
    return reencrypt(Capsule.from_bytes(capsule or listed), share).to_bytes()


def resigned(deal: Deal, number: int, **fields: Any) -> Change:
    """A receipt with other fields, signed again by the node's own key: the node itself lies."""

    def change(answer: Answer) -> Answer:
        cfrag, receipt, acks = answer
        other = replace(receipt, **fields)
        chain = deal.market.chain
        digest = receipt_digest(Domain(chain.chain_id, chain.exchange), deal.order_id, other)
        return cfrag, replace(other, signature=deal.market.tee_key(number).sign_digest(digest)), acks

    return change


# ── light nodes ──
class LyingLight:
    """A light node of whose verbs some do something else."""

    def __init__(self, inner: Any, **verbs: Callable[..., Any]) -> None:
        self._inner, self._verbs, self.name = inner, verbs, inner.name

    def __getattr__(self, name: str) -> Any:
        return self._verbs.get(name) or getattr(self._inner, name)


# ── chain endpoints ──
class LyingSource:
    """A chain endpoint whose events differ; the contracts' own words (views) are true. What it serves goes through the real checks."""

    def __init__(self, honest: Any, change: Callable[[Event], Event | None]) -> None:
        self._honest, self._change = honest, change

    def __getattr__(self, name: str) -> Any:
        return getattr(self._honest, name)

    def find(self, *args: Any, **fields: Any) -> list[Event]:
        changed = [self._change(event) for event in self._honest.find(*args, **fields)]
        return [event for event in changed if event is not None]


def field_of(event: str, name: str, change: Callable[[Any], Any]) -> Callable[[Event], Event]:
    """Change one argument of the events of this name."""

    def lie(found: Event) -> Event:
        if found.name != event:
            return found
        return replace(found, args={**found.args, name: change(found.args[name])})

    return lie


def withheld(*names: str) -> Callable[[Event], Event | None]:
    """Leave out the events of these names."""
    return lambda found: None if found.name in names else found


def lying_chain(twin: ChainTwin, change: Callable[[Event], Event | None]) -> Reader:
    """A reader behind an endpoint that changes events."""
    return Reader(LyingSource(twin.source, change))


class _Account(TwinAccount):
    """The account's transactions go to the true chain; what it reads is the liar's."""

    def __init__(self, twin: ChainTwin, key: Any, reader: Any) -> None:
        super().__init__(twin, key)
        self._shown = reader

    @property
    def reader(self) -> Any:
        return self._shown


def behind(desk: Desk, reader: Any) -> Desk:
    """The same desk behind another reader."""
    account: Any = desk.account
    return replace(desk, account=_Account(account._twin, account._key, reader))
