"""From an order's events to everything that it is, and to the two words that the Exchange must then hold.

Source: spec/contracts.md §4, §6; spec/chain.md §3. Pure. Logs are only hints: `OrderFacts.core` is recomputed from them, and the
reader compares it with the contract's word at the same block. What no word commits to (sealed blobs, the reply) verifies by itself
or is opened by the one it is sealed to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from eth_hash.auto import keccak

from asset_bridge.chain import packing
from asset_bridge.chain.abi import Event
from asset_bridge.chain.messages import (
    Domain,
    destroyed_digest,
    fetch_digest,
    from_compact,
    receipt_digest,
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
    def delivery_hash(self) -> bytes:
        """Zero before delivery."""
        return keccak(self.delivery) if self.delivery else ZERO32

    @property
    def core(self) -> bytes:
        """The word that the Exchange must hold."""
        return packing.core(packing.basis(self.terms, self.card), self.table_hash, self.delivery_hash)

    def tables(self) -> list[Table]:
        """Every table that is a valid preimage: those since `pay`, the current one last."""
        return [*self.past_tables, *([self.table] if self.table else [])]


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
        facts.paid_at, facts.accepted = at, _accepted(facts, args["accepts"])
    elif event.name == "Resealed":
        _resealed(facts, args["slot"], args["row"], args["sealed_share"])
    elif event.name == "Regenerated":
        _keep(facts)
        facts.table = Table.parse(args["table"])
        facts.sealed = unpack_slots(facts.table, args["sealed_shares"])
        facts.accepted = _accepted(facts, args["accepts"])
    elif event.name == "Delivered":
        _delivered(exchange, facts, args["generation"], args["recorder"], args["fetch"], args["receipts"])
        facts.delivered_at = at
    elif event.name == "Revoked":
        facts.revoked_at = at
    elif event.name == "DestroyedRecorded":
        facts.destroyed.append(_destroyed(exchange, facts, event))
    elif event.name == "ChallengeOpened":
        facts.challenged, facts.answer_by = True, args["answer_by"]


def _keep(facts: OrderFacts) -> Table:
    if facts.table is None:
        raise malformed("an approval that is missing")
    if facts.paid_at:
        facts.past_tables.append(facts.table)
    return facts.table


def _accepted(facts: OrderFacts, accepts: bytes) -> dict[int, bytes]:
    if facts.table is None or len(accepts) % packing.ACCEPT_BYTES:
        raise malformed("the accepts of an order")
    slots = [accepts[i] for i in range(0, len(accepts), packing.ACCEPT_BYTES)]
    if any(slot >= len(facts.table.rows) for slot in slots):
        raise malformed("the accepts of an order")
    return {slot: facts.table.rows[slot].node_id for slot in slots}


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
    table, row = _keep(facts), Row.parse(raw_row)
    if slot >= len(table.rows) or len(sealed_share) != packing.SEALED_SHARE_BYTES - 64:
        raise malformed("a resealed share")
    facts.table = replace(table, rows=(*table.rows[:slot], row, *table.rows[slot + 1 :]))
    new = _slot(row, facts.sealed[slot].receiver_signature, sealed_share)
    facts.sealed = (*facts.sealed[:slot], new, *facts.sealed[slot + 1 :])
    facts.accepted[slot] = row.node_id


def _is(address: str, digest: bytes, signature: bytes) -> bool:
    try:
        return recover(digest, signature) == address
    except BridgeError:
        return False


def _delivered(
    exchange: Domain, facts: OrderFacts, generation: int, recorder: bytes, fetch: bytes, receipts: bytes
) -> None:
    if len(receipts) % packing.RECEIPT_BYTES:
        raise malformed("the receipts of a delivery")
    digest = fetch_digest(exchange, facts.order_id, generation)
    for table in reversed(facts.tables()):  # the event does not say which table; the signatures do
        found = unpack_receipts(table, digest, receipts) if table.generation == generation else []
        if found and all(
            _is(table.rows[r.slot].signing_address, receipt_digest(exchange, facts.order_id, r), r.signature)
            for r in found
        ):
            facts.delivered, facts.fetch = tuple(found), from_compact(fetch)
            facts.delivery = recorder + b"".join(r.node_id for r in found)
            return
    raise malformed("a delivery whose receipts fit no table")


def unpack_receipts(table: Table, fetch: bytes, receipts: bytes) -> list[DeliveryReceipt]:
    """The receipts of a delivery under one table; empty when a slot is not in it."""
    found, size = [], packing.RECEIPT_BYTES
    for i in range(0, len(receipts), size):
        raw = receipts[i : i + size]
        if raw[0] >= len(table.rows):
            return []
        row = table.rows[raw[0]]
        found.append(
            DeliveryReceipt(
                table.generation,
                raw[0],
                row.kfrag_id,
                raw[1:33],
                fetch,
                int.from_bytes(raw[33:41], "big"),
                raw[41:73],
                row.node_id,
                row.epoch,
                from_compact(raw[73:]),
            )
        )
    return found


def _destroyed(exchange: Domain, facts: OrderFacts, event: Event) -> DestroyedReceipt:
    args = event.args
    for table in reversed(facts.tables()):
        if table.generation != args["generation"] or args["slot"] >= len(table.rows):
            continue
        row = table.rows[args["slot"]]
        receipt = DestroyedReceipt(
            table.generation,
            args["slot"],
            row.kem_key_digest,
            row.node_id,
            row.epoch,
            args["reason"],
            from_compact(args["signature"]),
        )
        if _is(row.signing_address, destroyed_digest(exchange, facts.order_id, receipt), receipt.signature):
            return receipt
    raise malformed("a destroyed receipt that fits no table")
