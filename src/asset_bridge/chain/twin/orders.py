"""What the twin's Exchange keeps of an order, and the checks that every verb on an order begins with.

Source: spec/contracts.md §4 (core, status, tables), §7 (who may do what, when).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from eth_hash.auto import keccak

from asset_bridge.chain import packing
from asset_bridge.chain.messages import accept_digest, order_key_digest
from asset_bridge.chain.packing import CHALLENGED, SERVING_STOPPED, WAS_PAID, KeyParts, Row, Status, Table, TermsArgs
from asset_bridge.chain.records import ZERO32, AcceptSignature, OrderState
from asset_bridge.chain.twin.ledger import AssetLedger
from asset_bridge.chain.twin.registry import NodeRegistry
from asset_bridge.chain.twin.world import Contract, Message, World
from asset_bridge.errors import TamperedError

MAX_SHARES = 16
RESEALABLE = (OrderState.APPROVED, OrderState.PAID, OrderState.DELIVERED, OrderState.SETTLED)


@dataclass(frozen=True, slots=True)
class OrderWords:
    """The two words of an order."""

    core: bytes
    status: Status


class OrderBook(Contract):
    """The order part of the Exchange: words, preimages, tables."""

    NAME = "Exchange"
    PREFIX = "exchange"

    def __init__(self, world: World, ledger: AssetLedger, registry: NodeRegistry) -> None:
        super().__init__(world)
        self.ledger, self.registry = ledger, registry

    # ── words and preimages ──
    def words(self, order_id: bytes) -> OrderWords:
        """The order's words; zeros when there is none."""
        found = self.table("orders").get(order_id)
        return found if isinstance(found, OrderWords) else OrderWords(ZERO32, Status())

    def load(
        self, order_id: bytes, terms: TermsArgs, card: bytes, table_hash: bytes = ZERO32, delivery_hash: bytes = ZERO32
    ) -> Status:
        """The status of an order whose preimages these are; reverts when they are not."""
        words = self.words(order_id)
        self.check(words.status.state != OrderState.NONE, "no such order")
        expected = packing.core(packing.basis(TermsArgs(*terms), card), table_hash, delivery_hash)
        self.check(words.core == expected, "order data differs")
        return words.status

    def store(self, order_id: bytes, status: Status, core: bytes | None = None) -> None:
        """Write an order's words."""
        self.table("orders")[order_id] = OrderWords(self.words(order_id).core if core is None else core, status)

    def state_is(self, status: Status, *states: OrderState) -> None:
        """Revert unless the state is one of `states`."""
        self.check(status.state in states, "wrong state")

    def owner(self, message: Message, authority: bytes, terms: TermsArgs, kind: str, *values: object) -> None:
        """The provider's owner acts."""
        self.require(message, authority, self.ledger.owner_of(terms.provider), "not the provider", kind, *values)

    def consumer(self, message: Message, authority: bytes, terms: TermsArgs, kind: str, *values: object) -> None:
        """The consumer acts."""
        self.require(message, authority, terms.consumer, "not the consumer", kind, *values)

    @staticmethod
    def holds_money(status: Status) -> bool:
        """Whether the price of this order is still in escrow."""
        paid = bool(status.flags & WAS_PAID)
        return paid and status.state in (OrderState.PAID, OrderState.DELIVERED, OrderState.REVOKED)

    def no_open_challenge(self, status: Status) -> None:
        """Revert while a challenge waits for its answer."""
        self.check(not status.flags & CHALLENGED, "challenge is open")

    # ── tables ──
    def make_table(
        self,
        message: Message,
        order_id: bytes,
        parts: KeyParts,
        pk_b: bytes,
        generation: int,
        threshold: int,
        precursor: bytes,
        shares: bytes,
        sealed_shares: bytes,
    ) -> Table:
        """The checked table of an approval or a new generation."""
        count = len(shares) // packing.SHARE_BYTES
        self.check(len(shares) % packing.SHARE_BYTES == 0 and len(precursor) == 33, "lengths")
        self.check(2 <= threshold <= count <= MAX_SHARES, "threshold")
        self.check(len(sealed_shares) == count * packing.SEALED_SHARE_BYTES, "lengths")
        nodes, epochs, rows = [], [], []
        for i in range(count):
            raw = shares[i * packing.SHARE_BYTES : (i + 1) * packing.SHARE_BYTES]
            nodes.append(raw[:32])
            epochs.append(int.from_bytes(raw[32:40], "big"))
        operators, signers = self.registry.tee_slots(message, nodes, epochs)
        for i in range(count):
            raw = shares[i * packing.SHARE_BYTES : (i + 1) * packing.SHARE_BYTES]
            sealed = sealed_shares[i * packing.SEALED_SHARE_BYTES : (i + 1) * packing.SEALED_SHARE_BYTES]
            row = Row(nodes[i], epochs[i], signers[i], raw[40:72], raw[72:105], raw[105:137])
            self._receiver_signature(row, precursor, parts, pk_b, sealed[:64])
            self.order_key(message, order_id, row, sealed[64:])
            rows.append(row)
        for field in (nodes, operators, [r.kfrag_id for r in rows], [r.u1 for r in rows]):
            self.check(len(set(field)) == count, "duplicate share")
        return Table(threshold, generation, precursor, tuple(rows))

    def _receiver_signature(self, row: Row, precursor: bytes, parts: KeyParts, pk_b: bytes, signature: bytes) -> None:
        pk_a = bytes([parts.pk_a_sign]) + parts.pk_a_x
        text = row.kfrag_id + row.u1 + precursor + b"\x01" + pk_a + b"\x01" + pk_b
        self.check(self.signed(parts.signer, hashlib.sha256(text).digest(), signature), "share signature")

    def order_key(self, message: Message, order_id: bytes, row: Row, sealed: bytes) -> None:
        """The node's own word that it made this key for this order; `sealed` begins with expiry and signature."""
        expires_at = int.from_bytes(sealed[:5], "big")
        self.check(expires_at > message.now_at, "order key has expired")
        digest = order_key_digest(self.domain, order_id, row.node_id, row.epoch, row.kem_key_digest, expires_at)
        self.check(self.signed(row.signing_address, digest, sealed[5:69]), "order key signature")

    def accepted_by(self, order_id: bytes, generation: int, slot: int, row: Row, signature: bytes) -> None:
        """The node's `Accept` of its slot."""
        accept = AcceptSignature(generation, slot, row.kfrag_id, row.kem_key_digest, row.node_id, row.epoch, b"")
        digest = accept_digest(self.domain, order_id, accept)
        self.check(self.signed(row.signing_address, digest, signature), "accept signature")

    def accepted_slots(self, order_id: bytes, table: Table, accepts: bytes, *, at_least: int) -> list[int]:
        """The slots of valid, ascending `Accept`s."""
        self.check(len(accepts) % packing.ACCEPT_BYTES == 0, "lengths")
        slots: list[int] = []
        for i in range(0, len(accepts), packing.ACCEPT_BYTES):
            slot = accepts[i]
            self.check(slot < len(table.rows) and (not slots or slot > slots[-1]), "slots not ascending")
            self.accepted_by(
                order_id, table.generation, slot, table.rows[slot], accepts[i + 1 : i + packing.ACCEPT_BYTES]
            )
            slots.append(slot)
        self.check(len(slots) >= at_least, "too few accepts")
        return slots

    def parse_table(self, raw: bytes) -> Table:
        """A caller's table; reverts on malformed bytes."""
        try:
            return Table.parse(raw)
        except TamperedError:
            self.fail("order data differs")

    def known_table(self, order_id: bytes, pk_b: bytes, raw: bytes, current_table: bytes) -> tuple[Table, bytes, bytes]:
        """(table, its hash, the current hash): the current one, or one that the order had since `pay`."""
        digest = keccak(pk_b + raw)
        if current_table == ZERO32:
            return self.parse_table(raw), digest, digest
        self.check((order_id, digest) in self.table("past_tables"), "unknown table")
        return self.parse_table(raw), digest, current_table

    def keep_table(self, order_id: bytes, status: Status, table_hash: bytes) -> None:
        """After `pay`, a replaced table stays a valid preimage."""
        if status.flags & WAS_PAID:
            self.table("past_tables")[order_id, table_hash] = True

    def can_reseal(self, message: Message, status: Status) -> None:
        """The rules that reseal and regenerate share."""
        self.state_is(status, *RESEALABLE)
        self.check(not status.flags & SERVING_STOPPED, "serving has stopped")
        if status.state == OrderState.APPROVED:
            self.check(message.now_at < status.deadline, "too late")
        else:
            self.check(message.now_at < status.ends_at, "too late")

    # ── views ──
    def view_order(self, order_id: bytes) -> tuple[bytes, int]:
        """View."""
        words = self.words(order_id)
        return words.core, words.status.pack()

    def view_past_table(self, order_id: bytes, table_hash: bytes) -> bool:
        """View."""
        return (order_id, table_hash) in self.table("past_tables")


def with_bit(bits: int, slot: int, value: bool = True) -> int:
    """`bits` with the bit of `slot` set or cleared."""
    return bits | 1 << slot if value else bits & ~(1 << slot)
