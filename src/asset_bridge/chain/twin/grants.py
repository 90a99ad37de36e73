"""Grants, as the specification says it (spec/contracts.md §5, §7; protocol §4.2, §7): what the provider says about access.

State lies in the Exchange; verbs are signed for this contract, the nodes' words for the Exchange.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

from asset_bridge.chain import packing
from asset_bridge.chain.messages import destroyed_digest
from asset_bridge.chain.packing import SERVING_STOPPED, WAS_PAID, KeyParts, Row, Status, Table, TermsArgs
from asset_bridge.chain.records import ZERO32, DestroyedReceipt, OrderState
from asset_bridge.chain.twin.exchange import Exchange
from asset_bridge.chain.twin.orders import bitmap
from asset_bridge.chain.twin.world import Contract, Message, World
from asset_bridge.keys.keccak import keccak

MIN_SHARES, MAX_SHARES = 2, 16
SERVED = (OrderState.APPROVED, OrderState.PAID, OrderState.DELIVERED, OrderState.SETTLED)


class Grants(Contract):
    """The model of contracts/Grants.vy."""

    NAME = "Grants"
    PREFIX = "grants"

    def __init__(self, world: World, exchange: Exchange) -> None:
        super().__init__(world)
        self.exchange = exchange

    def _provider(self, message: Message, authority: bytes, terms: TermsArgs, kind: str, *values: object) -> None:
        actor = self.authorised(message, authority, kind, *values)
        self.check(actor == self.exchange.ledger.owner_of(terms.provider), "not the provider")

    def _requested(self, message: Message, order_id: bytes) -> Status:
        status = self.exchange.status_of(order_id)
        self.exchange.state_is(status, OrderState.REQUESTED)
        self.exchange.before_deadline(message, status)
        return status

    def approve(
        self,
        message: Message,
        order_id: bytes,
        terms: TermsArgs,
        parts: KeyParts,
        threshold: int,
        precursor: bytes,
        shares: bytes,
        sealed_shares: bytes,
        sealed_kpq: bytes,
        reply: bytes,
        reply_length: int,
        authority: bytes,
    ) -> None:
        """The provider hands out shares, each sealed to one node."""
        terms, parts = TermsArgs(*terms), KeyParts(*parts)
        self._requested(message, order_id)
        values = (order_id, 1, threshold, precursor, shares, sealed_shares, sealed_kpq, reply, reply_length)
        self._provider(message, authority, terms, "Approve", *values)
        table = self._table(message, parts, terms.pk_b, 1, threshold, precursor, shares, sealed_shares)
        status = Status(
            state=OrderState.APPROVED,
            generation=1,
            deadline=message.now_at + packing.unpack_periods(terms.periods).pay_seconds,
        )
        basis = packing.basis(terms, packing.card_of(parts))
        tables = (ZERO32, table.digest(terms.pk_b))
        self.exchange.set_order(order_id, basis, tables, (ZERO32, ZERO32), status, ZERO32)
        self.log(
            "Approved",
            order_id=order_id,
            table=table.pack(),
            sealed_shares=sealed_shares,
            sealed_kpq=sealed_kpq,
            reply=reply,
            reply_length=reply_length,
        )

    def _table(
        self,
        message: Message,
        parts: KeyParts,
        pk_b: bytes,
        generation: int,
        threshold: int,
        precursor: bytes,
        shares: bytes,
        sealed_shares: bytes,
    ) -> Table:
        """The checked table of an approval or a new generation."""
        count, size, sealed_size = len(shares) // packing.SHARE_BYTES, packing.SHARE_BYTES, packing.SEALED_SHARE_BYTES
        exact = len(shares) == count * size and len(sealed_shares) == count * sealed_size and len(precursor) == 33
        self.check(exact, "wrong length")
        self.check(MIN_SHARES <= threshold <= count <= MAX_SHARES, "threshold is out of range")
        pieces = [shares[i * size : (i + 1) * size] for i in range(count)]
        nodes, epochs = [p[:32] for p in pieces], [int.from_bytes(p[32:40], "big") for p in pieces]
        self._fit(epochs)
        signers = self.exchange.registry.tee_slots(message, nodes, packing.pack_epochs(epochs))
        for field in ([p[40:72] for p in pieces], [p[73:105] for p in pieces]):
            self.check(len(set(field)) == count, "slots are not distinct")
        pk_a, rows = bytes([parts.pk_a_sign]) + parts.pk_a_x, []
        for i, piece in enumerate(pieces):
            sealed = sealed_shares[i * sealed_size : (i + 1) * sealed_size]
            text = piece[40:105] + precursor + b"\x01" + pk_a + b"\x01" + pk_b
            signed = self.signed(parts.signer, hashlib.sha256(text).digest(), sealed[:64])
            self.check(signed, "share is not signed by the listed signer")
            self._order_key(message, sealed[64:69])
            rows.append(Row(nodes[i], epochs[i], signers[i], piece[40:72], piece[72:105], piece[105:137]))
        return Table(threshold, generation, precursor, tuple(rows))

    def _fit(self, epochs: Sequence[int]) -> None:
        self.check(max(epochs) <= 0xFFFF, "not the current epoch", "registry")

    def _order_key(self, message: Message, expires: bytes) -> None:
        # the node's signature over its order key is verified off chain, by the provider who asked for it
        self.check(int.from_bytes(expires, "big") > message.now_at, "order key has expired")

    def deny(
        self,
        message: Message,
        order_id: bytes,
        terms: TermsArgs,
        card: bytes,
        reply: bytes,
        reply_length: int,
        authority: bytes,
    ) -> None:
        """The provider says no."""
        terms = TermsArgs(*terms)
        status = self._requested(message, order_id)
        self._provider(message, authority, terms, "Deny", order_id, reply, reply_length)
        self._set(order_id, terms, card, ZERO32, ZERO32, replace(status, state=OrderState.DENIED, deadline=0))
        self.log("Denied", order_id=order_id, reply=reply, reply_length=reply_length)

    def _set(
        self,
        order_id: bytes,
        terms: TermsArgs,
        card: bytes,
        table_hash: bytes,
        progress_hash: bytes,
        status: Status,
    ) -> None:
        tables, progress = (table_hash, table_hash), (progress_hash, progress_hash)
        self.exchange.set_order(order_id, packing.basis(terms, card), tables, progress, status, ZERO32)

    def revoke(
        self,
        message: Message,
        order_id: bytes,
        terms: TermsArgs,
        card: bytes,
        table_hash: bytes,
        progress_hash: bytes,
        authority: bytes,
    ) -> None:
        """The provider ends serving; the money of delivered orders is untouched."""
        terms = TermsArgs(*terms)
        status = self.exchange.status_of(order_id)
        self._provider(message, authority, terms, "Revoke", order_id)
        if status.state == OrderState.PAID:
            new = replace(status, state=OrderState.REVOKED, deadline=min(status.deadline, message.now_at))
        elif status.state == OrderState.APPROVED:
            new = replace(status, state=OrderState.REVOKED, deadline=0)
        else:
            self.exchange.state_is(status, OrderState.DELIVERED, OrderState.SETTLED)
            self.check(not status.flags & SERVING_STOPPED, "serving has stopped")
            new = replace(status, flags=status.flags | SERVING_STOPPED)
        self._set(order_id, terms, card, table_hash, progress_hash, new)
        self.log("Revoked", order_id=order_id, state=int(new.state))

    # ── other holders of the shares ──
    def _served(self, message: Message, order_id: bytes, progress: bytes) -> Status:
        status = self.exchange.status_of(order_id)
        self.exchange.state_is(status, *SERVED)
        if status.flags & WAS_PAID:
            self.check(not status.flags & SERVING_STOPPED, "serving has stopped")
            self.check(message.now_at < int.from_bytes(progress[2:7], "big"), "access has ended")
        else:
            self.exchange.before_deadline(message, status)
        return status

    def _hold(self, message: Message, status: Status, terms: TermsArgs, rows: Sequence[Row]) -> None:
        until = self.exchange.busy_until(status.deadline, status.state == OrderState.PAID, terms.periods)
        inner = replace(message, sender=self.address)
        nodes, epochs = [r.node_id for r in rows], packing.pack_epochs([r.epoch for r in rows])
        self.exchange.registry.hold_for(inner, self.exchange.address, nodes, epochs, until)

    def reseal(
        self,
        message: Message,
        order_id: bytes,
        terms: TermsArgs,
        card: bytes,
        table: bytes,
        progress: bytes,
        slot: int,
        replacement: bytes,
        sealed_share: bytes,
        accept: bytes,
        authority: bytes,
    ) -> None:
        """The same share to a new order key in the same slot."""
        terms, digest = TermsArgs(*terms), keccak(TermsArgs(*terms).pk_b + table)
        status = self._served(message, order_id, progress)
        self._provider(message, authority, terms, "Reseal", order_id, digest, slot, replacement, sealed_share)
        self.check((len(replacement), len(sealed_share), len(accept)) == (72, 149, 64), "wrong length")
        self._order_key(message, sealed_share[:5])
        old = self.exchange.parse_table(table)
        before = self.exchange.row(old, slot)
        node_id, epoch = replacement[:32], int.from_bytes(replacement[32:40], "big")
        self._fit([epoch])
        signers = self.exchange.registry.tee_slots(message, [node_id], epoch)
        operator = self.exchange.registry.view_operator_of(node_id)
        others = [row.node_id for i, row in enumerate(old.rows) if i != slot]
        taken = [self.exchange.registry.view_operator_of(other) for other in others]
        self.check(operator not in taken, "slots are not distinct")
        row = Row(node_id, epoch, signers[0], before.kfrag_id, before.u1, replacement[40:])
        self.exchange.check_accept(order_id, old.generation, slot, row, accept)
        new, paid = old.with_row(slot, row), bool(status.flags & WAS_PAID)
        after, replaced = progress, ZERO32
        if paid:
            replaced = packing.row_hash(old.generation, slot, before)
            after = _with_accepted(progress, int.from_bytes(progress[:2], "big") | 1 << slot)
            self._hold(message, status, terms, [row])
        self.exchange.set_order(
            order_id,
            packing.basis(terms, card),
            (digest, new.digest(terms.pk_b)),
            (packing.progress_hash(progress), packing.progress_hash(after)),
            replace(status, destroyed=status.destroyed & ~(1 << slot)),
            replaced,
        )
        self.log("Resealed", order_id=order_id, slot=slot, row=row.pack(), sealed_share=sealed_share, accept=accept)

    def regenerate(
        self,
        message: Message,
        order_id: bytes,
        terms: TermsArgs,
        parts: KeyParts,
        table_hash: bytes,
        progress: bytes,
        threshold: int,
        precursor: bytes,
        shares: bytes,
        sealed_shares: bytes,
        accepts: bytes,
        authority: bytes,
        consent: bytes,
    ) -> None:
        """All shares anew; after payment with the consumer's consent and t accepts."""
        terms, parts = TermsArgs(*terms), KeyParts(*parts)
        status = self._served(message, order_id, progress)
        generation = status.generation + 1
        self.check(generation <= packing.MAX_GENERATION, "too many generations")
        values = (order_id, generation, threshold, precursor, shares, sealed_shares)
        self._provider(message, authority, terms, "Regenerate", *values)
        table = self._table(message, parts, terms.pk_b, generation, threshold, precursor, shares, sealed_shares)
        after, replaced = progress, ZERO32
        if status.flags & WAS_PAID:
            actor = self.authorised(message, consent, "Regenerate", *values)
            self.check(actor == terms.consumer, "not the consumer")
            slots = self.exchange.take_accepts(order_id, table, accepts)
            after, replaced = _with_accepted(progress, bitmap(slots)), table_hash
            self._hold(message, status, terms, [table.rows[s] for s in slots])
        else:
            self.check(not accepts and not consent, "order is not paid")
        self.exchange.set_order(
            order_id,
            packing.basis(terms, packing.card_of(parts)),
            (table_hash, table.digest(terms.pk_b)),
            (packing.progress_hash(progress), packing.progress_hash(after)),
            replace(status, generation=generation, destroyed=0),
            replaced,
        )
        self.log("Regenerated", order_id=order_id, table=table.pack(), sealed_shares=sealed_shares, accepts=accepts)

    def record_destroyed(
        self,
        message: Message,  # noqa: ARG002
        order_id: bytes,
        terms: TermsArgs,
        card: bytes,
        table: bytes,
        current_table: bytes,
        progress_hash: bytes,
        slot: int,
        old_row: bytes,
        reason: int,
        signature: bytes,
    ) -> None:
        """A node's word that its key is gone; anyone brings it."""
        terms, exchange = TermsArgs(*terms), self.exchange
        current = exchange.known_table(order_id, keccak(terms.pk_b + table), current_table)
        status, parsed = exchange.status_of(order_id), exchange.parse_table(table)
        row = exchange.row(parsed, slot)
        if old_row:
            row = exchange.old_row(order_id, parsed.generation, slot, old_row)
        elif current_table == ZERO32:
            self.check(not status.destroyed >> slot & 1, "destruction is recorded")
            status = replace(status, destroyed=status.destroyed | 1 << slot)
        self.check(len(signature) == 64, "wrong length")
        receipt = DestroyedReceipt(parsed.generation, slot, row.kem_key_digest, row.node_id, row.epoch, reason, b"")
        digest = destroyed_digest(exchange.domain, order_id, receipt)
        self.check(self.signed(row.signing_address, digest, signature), "word is not the node's", "exchange")
        self._set(order_id, terms, card, current, progress_hash, status)
        self.log(
            "DestroyedRecorded",
            order_id=order_id,
            generation=parsed.generation,
            slot=slot,
            node_id=row.node_id,
            epoch=row.epoch,
            reason=reason,
            signature=signature,
        )

    # ── views ──
    def view_exchange(self) -> str:
        """View."""
        return self.exchange.address

    def view_ledger(self) -> str:
        """View."""
        return self.exchange.ledger.address

    def view_registry(self) -> str:
        """View."""
        return self.exchange.registry.address


def _with_accepted(progress: bytes, accepted: int) -> bytes:
    return packing.uint(accepted, 2) + progress[2:]
