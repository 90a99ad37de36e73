"""From an order's events to everything that it is, and to the word that the Exchange must then hold.

Source: spec/contracts.md §4, §6; spec/chain.md §3. Pure. Logs are only hints: `OrderFacts.core` is recomputed from them, and the
reader compares it with the contract's word at the same block. What no word commits to (sealed blobs, the reply) verifies by itself
or is opened by the one it is sealed to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from asset_bridge.chain import packing
from asset_bridge.chain.abi import Event
from asset_bridge.chain.messages import (
    Domain,
    destroyed_digest,
    fetch_digest,
    from_compact,
    recover,
)
from asset_bridge.chain.packing import OfferArgs, Row, Table, TermsArgs, malformed
from asset_bridge.chain.records import (
    ZERO32,
    ApprovedSlot,
    BlockRef,
    DeliveryReceipt,
    DestroyedReceipt,
)
from asset_bridge.errors import BridgeError

ORDER_EVENTS = frozenset(
    {
        *("Requested", "Approved", "Denied", "Cancelled", "Expired", "Paid", "Delivered", "Settled", "Refunded"),
        *("Revoked", "Resealed", "Regenerated", "DestroyedRecorded", "ChallengeOpened", "ChallengeClosed"),
    }
)


@dataclass(slots=True)
class OrderFacts:
    """What an order's events say, before and after comparison with the contract."""

    order_id: bytes
    terms: TermsArgs
    offer: OfferArgs
    hybrid_key: bytes
    form: bytes
    form_length: int
    order_nonce: bytes
    requested_in: BlockRef
    table: Table | None = None
    sealed: tuple[ApprovedSlot, ...] = ()
    sealed_kpq: bytes = b""
    reply: tuple[bytes, int] = (ZERO32, 0)
    approved_at: int = 0
    paid_at: int = 0
    revoked_at: int = 0
    delivered_at: int = 0
    answer_by: int = 0
    challenged: bool = False
    accepted: dict[int, bytes] = field(default_factory=dict)
    past_tables: list[Table] = field(default_factory=list)
    old_rows: list[tuple[int, int, Row]] = field(default_factory=list)
    delivery: bytes = b""
    delivered: tuple[DeliveryReceipt, ...] = ()
    fetch: bytes = b""
    destroyed: list[DestroyedReceipt] = field(default_factory=list)

    @property
    def card(self) -> bytes:
        """The card of the offer that was taken."""
        return self.offer.card

    @property
    def table_hash(self) -> bytes:
        """Zero before approval."""
        return self.table.digest(self.terms.pk_b) if self.table else ZERO32

    @property
    def progress(self) -> bytes:
        """Empty before `pay`."""
        if not self.paid_at:
            return b""
        ends_at = self.paid_at + packing.unpack_periods(self.terms.periods).access_seconds
        return packing.Progress(sum(1 << slot for slot in self.accepted), ends_at, self.delivery).pack()

    @property
    def progress_hash(self) -> bytes:
        """Zero before `pay`."""
        return packing.progress_hash(self.progress)

    @property
    def core(self) -> bytes:
        """The word that the Exchange must hold."""
        return packing.core(packing.basis(self.terms, self.card), self.table_hash, self.progress_hash)

    def table_of(self, generation: int) -> Table | None:
        """The last table of a generation that counts: the current one, or that of an earlier generation since `pay`."""
        tables = [*self.past_tables, *([self.table] if self.table else [])]
        return next((table for table in tables if table.generation == generation), None)

    def row_of(
        self, generation: int, slot: int, node_id: bytes, epoch: int, kem_key_digest: bytes | None = None
    ) -> Row | None:
        """The row of a generation's slot that this node held: the one in the table, or one that a reseal replaced."""
        table = self.table_of(generation)
        rows = [row for g, s, row in self.old_rows if (g, s) == (generation, slot)]
        rows += [table.rows[slot]] if table and slot < len(table.rows) else []
        for row in reversed(rows):
            if (row.node_id, row.epoch) == (node_id, epoch) and kem_key_digest in (None, row.kem_key_digest):
                return row
        return None


def fold_order(exchange: Domain, events: Sequence[Event]) -> OrderFacts | None:
    """The facts of one order from its events in chain order; None without a `Requested`.

    Raises:
        TamperedError(chain.malformed): the events do not form an order.
    """
    facts: OrderFacts | None = None
    for event in events:
        if event.name == "Requested":
            if facts is not None:
                raise malformed("an order requested twice")
            facts = _requested(event)
        elif facts is None:
            raise malformed("an order without its request")
        else:
            _apply(exchange, facts, event)
    return facts


def _requested(event: Event) -> OrderFacts:
    args, offer = event.args, event.args["offer"]
    terms = TermsArgs(
        args["asset_id"],
        args["provider"],
        args["consumer"],
        args["fetch_signer"],
        offer.token,
        offer.price,
        offer.periods,
        args["pk_b_sign"],
        args["pk_b_x"],
    )
    return OrderFacts(
        args["order_id"],
        terms,
        offer,
        args["hybrid_key"],
        args["form"],
        args["form_length"],
        args["order_nonce"],
        event.block,
    )


def _apply(exchange: Domain, facts: OrderFacts, event: Event) -> None:
    args, at = event.args, event.block.timestamp
    if event.name == "Approved":
        facts.table = Table.parse(args["table"])
        facts.sealed = unpack_slots(facts.table, args["sealed_shares"])
        facts.sealed_kpq, facts.reply, facts.approved_at = args["sealed_kpq"], (args["reply"], args["reply_length"]), at
    elif event.name == "Denied":
        facts.reply = (args["reply"], args["reply_length"])
    elif event.name == "Paid":
        facts.paid_at, facts.accepted = at, _accepted(facts, args["accepted"])
    elif event.name == "Resealed":
        _resealed(facts, args["slot"], args["row"], args["sealed_share"])
    elif event.name == "Regenerated":
        if facts.table is None:
            raise malformed("an approval that is missing")
        facts.past_tables += [facts.table] if facts.paid_at else []
        facts.table = Table.parse(args["table"])
        facts.sealed = unpack_slots(facts.table, args["sealed_shares"])
        facts.accepted = _accepted(facts, _bitmap(args["accepts"]))
    elif event.name == "Delivered":
        _delivered(exchange, facts, args)
        facts.delivered_at = at
    elif event.name == "Revoked":
        facts.revoked_at = at
    elif event.name == "DestroyedRecorded":
        facts.destroyed.append(_destroyed(exchange, facts, event))
    elif event.name == "ChallengeOpened":
        facts.challenged, facts.answer_by = True, args["answer_by"]


def _bitmap(accepts: bytes) -> int:
    if len(accepts) % packing.ACCEPT_BYTES:
        raise malformed("the accepts of an order")
    return sum(1 << slot for slot in {accepts[i] for i in range(0, len(accepts), packing.ACCEPT_BYTES)})


def _accepted(facts: OrderFacts, bitmap: int) -> dict[int, bytes]:
    if facts.table is None or bitmap >> len(facts.table.rows):
        raise malformed("the accepts of an order")
    return {slot: row.node_id for slot, row in enumerate(facts.table.rows) if bitmap >> slot & 1}


def unpack_slots(table: Table, sealed_shares: bytes) -> tuple[ApprovedSlot, ...]:
    """The slots of an approval from its table and its sealed shares."""
    size = packing.SEALED_SHARE_BYTES
    if len(sealed_shares) != size * len(table.rows):
        raise malformed("the sealed shares of an approval")
    slots = []
    for i, row in enumerate(table.rows):
        raw = sealed_shares[i * size : (i + 1) * size]
        slots.append(_slot(row, from_compact(raw[:64]), raw[64:]))
    return tuple(slots)


def _slot(row: Row, receiver_signature: bytes, rest: bytes) -> ApprovedSlot:
    return ApprovedSlot(
        row.kfrag_id,
        row.u1,
        receiver_signature,
        row.node_id,
        row.epoch,
        row.kem_key_digest,
        int.from_bytes(rest[:5], "big"),
        from_compact(rest[5:69]),
        rest[69:],
    )


def _resealed(facts: OrderFacts, slot: int, raw_row: bytes, sealed_share: bytes) -> None:
    table, row = facts.table, Row.parse(raw_row)
    if table is None or slot >= len(table.rows) or len(sealed_share) != packing.SEALED_SHARE_BYTES - 64:
        raise malformed("a resealed share")
    if facts.paid_at:
        facts.old_rows.append((table.generation, slot, table.rows[slot]))
        facts.accepted[slot] = row.node_id
    facts.table = table.with_row(slot, row)
    new = _slot(row, facts.sealed[slot].receiver_signature, sealed_share)
    facts.sealed = (*facts.sealed[:slot], new, *facts.sealed[slot + 1 :])


def _is(address: str, digest: bytes, signature: bytes) -> bool:
    try:
        return recover(digest, signature) == address
    except BridgeError:
        return False


def _delivered(exchange: Domain, facts: OrderFacts, args: Mapping[str, Any]) -> None:
    receipts, old_rows, size = args["receipts"], args["old_rows"], packing.RECEIPT_BYTES
    table, digest = facts.table_of(args["generation"]), fetch_digest(exchange, facts.order_id, args["generation"])
    if table is None or len(receipts) % size or len(old_rows) % packing.ROW_BYTES:
        raise malformed("the receipts of a delivery")
    old = iter([old_rows[i : i + packing.ROW_BYTES] for i in range(0, len(old_rows), packing.ROW_BYTES)])
    found = []
    for i in range(0, len(receipts), size):
        raw, slot = receipts[i : i + size], receipts[i] & 0x7F
        if slot >= len(table.rows):
            raise malformed("the receipts of a delivery")
        row = Row.parse(next(old, b"")) if raw[0] & 0x80 else table.rows[slot]
        found.append(_receipt(table.generation, slot, row, digest, raw))
    facts.delivered, facts.fetch = tuple(found), from_compact(args["fetch"])
    facts.delivery = args["recorder"] + b"".join(r.node_id for r in found)


def _receipt(generation: int, slot: int, row: Row, fetch: bytes, raw: bytes) -> DeliveryReceipt:
    return DeliveryReceipt(
        generation,
        slot,
        row.kfrag_id,
        raw[1:33],
        fetch,
        int.from_bytes(raw[33:41], "big"),
        raw[41:73],
        row.node_id,
        row.epoch,
        from_compact(raw[73:]),
    )


def _destroyed(exchange: Domain, facts: OrderFacts, event: Event) -> DestroyedReceipt:
    args = event.args
    generation, slot, table = args["generation"], args["slot"], facts.table_of(args["generation"])
    rows = [row for g, s, row in facts.old_rows if (g, s) == (generation, slot)]
    rows += [table.rows[slot]] if table and slot < len(table.rows) else []
    for row in reversed(rows):  # the event does not say which row; the signature does
        signature = from_compact(args["signature"])
        receipt = DestroyedReceipt(
            generation, slot, row.kem_key_digest, row.node_id, row.epoch, args["reason"], signature
        )
        if _is(row.signing_address, destroyed_digest(exchange, facts.order_id, receipt), signature):
            return receipt
    raise malformed("a destroyed receipt that fits no slot")
