"""Exchange, as the specification says it (spec/contracts.md §5, §7, §8; protocol §4, §5, §7): the life of an order and its money."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from asset_bridge.chain import ids, packing
from asset_bridge.chain.encoding import encode
from asset_bridge.chain.messages import fetch_digest, receipt_digest
from asset_bridge.chain.packing import (
    ANSWERED,
    CHALLENGED,
    SERVING_STOPPED,
    WAS_PAID,
    OfferArgs,
    Progress,
    Row,
    Status,
    Table,
    TermsArgs,
    address_account,
)
from asset_bridge.chain.records import ZERO32, ZERO_ADDRESS, DeliveryReceipt, OrderState
from asset_bridge.chain.twin.money import Money
from asset_bridge.chain.twin.orders import bitmap
from asset_bridge.chain.twin.world import Message, zero
from asset_bridge.keys.keccak import keccak

OLD_ROW_BIT = 0x80


@dataclass(frozen=True, slots=True)
class Fees:
    """Basis points (spec/contracts.md §8)."""

    tee: int
    recorder: int
    light: int
    storage_nodes: int


class Exchange(Money):
    """The model of contracts/Exchange.vy."""

    def construct(
        self,
        grants: str,
        challenges: str,
        development: bool,
        fees: Sequence[int],
        margin_seconds: int,
        grace_seconds: int,
    ) -> None:
        """The constructor."""
        self.table("fixed").update(
            grants=grants,
            challenges=challenges,
            development=development,
            fees=Fees(*fees),
            margin_seconds=margin_seconds,
            grace_seconds=grace_seconds,
        )

    def _consumer(self, message: Message, authority: bytes, terms: TermsArgs, kind: str, *values: object) -> None:
        self.check(self.authorised(message, authority, kind, *values) == terms.consumer, "not the consumer")

    # ── request to payment ──
    def request(
        self,
        message: Message,
        asset_id: bytes,
        provider: str,
        offer: OfferArgs,
        fetch_signer: str,
        pk_b_sign: int,
        pk_b_x: bytes,
        hybrid_key: bytes,
        form: bytes,
        form_length: int,
        order_nonce: bytes,
        authority: bytes,
    ) -> bytes:
        """A consumer asks, at exactly the listing's offer."""
        offer = OfferArgs(*offer)
        consumer = self.actor(message, authority)
        self.check(pk_b_sign in (2, 3), "malformed receiving key")
        self.check(fetch_signer != ZERO_ADDRESS, "fetch signer is zero")
        pk_b = bytes([pk_b_sign]) + pk_b_x
        order_id = self._order_id(asset_id, consumer, pk_b, hybrid_key, form, offer, order_nonce)
        self.consume(message, authority, "Request", order_id, fetch_signer, offer.periods, offer.card, form_length)
        self.check(self.status_of(order_id).state == OrderState.NONE, "order exists")
        inner = replace(message, sender=self.address)
        self.ledger.quote(inner, asset_id, provider, packing.offer_hash(offer), offer.token)
        terms = TermsArgs(
            asset_id, provider, consumer, fetch_signer, offer.token, offer.price, offer.periods, pk_b_sign, pk_b_x
        )
        deadline = message.now_at + packing.unpack_periods(offer.periods).approve_seconds
        core = packing.core(packing.basis(terms, offer.card), ZERO32, ZERO32)
        self.store(order_id, Status(state=OrderState.REQUESTED, deadline=deadline), core)
        self.log(
            "Requested",
            order_id=order_id,
            provider=provider,
            consumer=consumer,
            asset_id=asset_id,
            offer=offer,
            fetch_signer=fetch_signer,
            pk_b_sign=pk_b_sign,
            pk_b_x=pk_b_x,
            hybrid_key=hybrid_key,
            form=form,
            form_length=form_length,
            order_nonce=order_nonce,
        )
        return order_id

    def _order_id(
        self,
        asset_id: bytes,
        consumer: str,
        pk_b: bytes,
        hybrid_key: bytes,
        form: bytes,
        offer: OfferArgs,
        nonce: bytes,
    ) -> bytes:
        kinds = ["string", "uint256", "address", "bytes32", "address", "bytes", "bytes32", "bytes32", "bytes32"]
        values = [ids.ORDER_LABEL, self.world.chain_id, self.address, asset_id, consumer, pk_b, hybrid_key, form]
        values += [offer.terms, offer.token, offer.price, nonce]
        return keccak(encode([*kinds, "address", "uint256", "bytes32"], values))

    def cancel(
        self, message: Message, order_id: bytes, terms: TermsArgs, card: bytes, table_hash: bytes, authority: bytes
    ) -> None:
        """The consumer withdraws before payment."""
        terms = TermsArgs(*terms)
        states = (OrderState.REQUESTED, OrderState.APPROVED)
        status = self.read(order_id, terms, card, table_hash, ZERO32, *states)
        self._consumer(message, authority, terms, "Cancel", order_id)
        self.store(order_id, replace(status, state=OrderState.CANCELLED, deadline=0))
        self.log("Cancelled", order_id=order_id)

    def expire(self, message: Message, order_id: bytes) -> None:
        """Anyone, once the period is over."""
        status = self.status_of(order_id)
        self.state_is(status, OrderState.REQUESTED, OrderState.APPROVED)
        self.check(message.now_at >= status.deadline, "deadline is not reached")
        self.store(order_id, replace(status, state=OrderState.EXPIRED, deadline=0))
        self.log("Expired", order_id=order_id)

    def pay(
        self,
        message: Message,
        order_id: bytes,
        terms: TermsArgs,
        card: bytes,
        table: bytes,
        accepts: bytes,
        permit: bytes,
        authority: bytes,
    ) -> None:
        """The price goes into escrow."""
        terms = TermsArgs(*terms)
        digest = keccak(terms.pk_b + table)
        status = self.read(order_id, terms, card, digest, ZERO32, OrderState.APPROVED)
        self.before_deadline(message, status)
        self._consumer(message, authority, terms, "Pay", order_id, terms.token, terms.price, digest)
        parsed = self.parse_table(table)
        slots = self.take_accepts(order_id, parsed, accepts)
        periods = packing.unpack_periods(terms.periods)
        deliver_by = message.now_at + periods.deliver_seconds
        new = replace(
            status,
            state=OrderState.PAID,
            flags=status.flags | WAS_PAID,
            deadline=deliver_by,
        )
        progress = Progress(bitmap(slots), message.now_at + periods.access_seconds).pack()
        self.store(order_id, new, packing.core(packing.basis(terms, card), digest, keccak(progress)))
        self.log("Paid", order_id=order_id, payer=message.sender, accepted=bitmap(slots))
        until = self.busy_until(deliver_by, True, terms.periods)
        inner, rows = replace(message, sender=self.address), [parsed.rows[s] for s in slots]
        self.ledger.hold(inner, terms.asset_id, until)
        self.registry.hold(inner, [r.node_id for r in rows], packing.pack_epochs([r.epoch for r in rows]), until)
        self.take(message, terms.consumer, terms.token, terms.price, permit)

    # ── delivery and the way out ──
    def record_delivery(self, message: Message, order_id: bytes, terms: TermsArgs, card: bytes, *delivery: Any) -> None:
        """Anyone, with the fetch and t receipts of one generation."""
        self._record(message, order_id, TermsArgs(*terms), card, *delivery)

    def _record(
        self,
        message: Message,
        order_id: bytes,
        terms: TermsArgs,
        card: bytes,
        table: bytes,
        current_table: bytes,
        progress: bytes,
        fetch: bytes,
        receipts: bytes,
        old_rows: bytes,
        recorder: bytes,
    ) -> bytes:
        """Verify fetch and receipts and move the order to delivered; its progress then."""
        current = self.known_table(order_id, keccak(terms.pk_b + table), current_table)
        states = (OrderState.PAID, OrderState.REVOKED)
        status = self.read(order_id, terms, card, current, keccak(progress), *states)
        self.has_money(status)
        self.check(message.now_at < status.deadline + self.view_grace_seconds(), "deadline has passed")
        parsed = self.parse_table(table)
        digest = fetch_digest(self.domain, order_id, parsed.generation)
        self.check(len(fetch) == 64, "wrong length")
        self.check(self.signed(terms.fetch_signer, digest, fetch), "fetch is not the consumer's")
        rows = self._receipts(order_id, parsed, digest, receipts, old_rows)
        account = address_account(message.sender) if zero(recorder) else recorder
        delivered = progress + account + b"".join(row.node_id for row in rows.values())
        stopped = SERVING_STOPPED if status.state == OrderState.REVOKED else 0
        new = replace(
            status,
            state=OrderState.DELIVERED,
            flags=status.flags | stopped,
            deadline=message.now_at + packing.unpack_periods(terms.periods).window_seconds,
        )
        self.store(order_id, new, packing.core(packing.basis(terms, card), current, keccak(delivered)))
        self.log(
            "Delivered",
            order_id=order_id,
            generation=parsed.generation,
            recorder=account,
            fetch=fetch,
            receipts=receipts,
            old_rows=old_rows,
        )
        return delivered

    def _receipts(
        self, order_id: bytes, table: Table, fetch: bytes, receipts: bytes, old_rows: bytes
    ) -> dict[int, Row]:
        size, rows, used = packing.RECEIPT_BYTES, dict[int, Row](), 0
        self.check(len(receipts) % size == 0, "wrong length")
        self.check(len(receipts) // size >= table.threshold, "too few receipts")
        for i in range(0, len(receipts), size):
            raw = receipts[i : i + size]
            slot = raw[0] & ~OLD_ROW_BIT
            row = self.row(table, slot)
            if raw[0] & OLD_ROW_BIT:
                row = self.old_row(order_id, table.generation, slot, old_rows[used : used + packing.ROW_BYTES])
                used += packing.ROW_BYTES
            self.check(not rows or slot > max(rows), "slots are not ascending")
            receipt = DeliveryReceipt(
                table.generation,
                slot,
                row.kfrag_id,
                raw[1:33],
                fetch,
                int.from_bytes(raw[33:41], "big"),
                raw[41:73],
                row.node_id,
                row.epoch,
                b"",
            )
            digest = receipt_digest(self.domain, order_id, receipt)
            self.check(self.signed(row.signing_address, digest, raw[73:]), "receipt is not the node's")
            rows[slot] = row
        self.check(used == len(old_rows), "wrong length")
        return rows

    def settle(
        self,
        message: Message,
        order_id: bytes,
        terms: TermsArgs,
        key_commitment: bytes,
        credits: bytes,
        table_hash: bytes,
        progress: bytes,
        claim_for: bytes,
        authority: bytes,
    ) -> None:
        """The escrow is divided: by the consumer at once, by anyone when the window is over."""
        terms = TermsArgs(*terms)
        card = packing.card(key_commitment, keccak(credits))
        status = self.read(order_id, terms, card, table_hash, keccak(progress), OrderState.DELIVERED)
        self.no_open_challenge(status)
        early = message.now_at < status.deadline
        actor = self.authorised(message, authority, "AcceptDelivery", order_id)
        self.check(not early or actor == terms.consumer, "not the consumer")
        self._settle(order_id, terms, credits, progress, accepted=early)
        if not zero(claim_for):
            self.pay_out(terms.token, claim_for, message.sender)

    def _settle(self, order_id: bytes, terms: TermsArgs, credits: bytes, progress: bytes, *, accepted: bool) -> None:
        status = replace(self.status_of(order_id), state=OrderState.SETTLED, deadline=0)
        self.store(order_id, status)
        self.log("Settled", order_id=order_id, accepted=accepted)
        for account, amount in zip(*self.divide(terms, credits, progress), strict=True):
            self.credit(terms.token, account, amount)

    def accept_receipts(
        self,
        message: Message,
        order_id: bytes,
        terms: TermsArgs,
        key_commitment: bytes,
        credits: bytes,
        *rest: Any,
    ) -> None:
        """The consumer brings the receipts and accepts: recorded and divided in one call."""
        *delivery, authority = rest
        terms, card = TermsArgs(*terms), packing.card(key_commitment, keccak(credits))
        self._consumer(message, authority, terms, "AcceptDelivery", order_id)
        progress = self._record(message, order_id, terms, card, *delivery)
        self._settle(order_id, terms, credits, progress, accepted=True)

    def agree_refund(
        self,
        message: Message,
        order_id: bytes,
        terms: TermsArgs,
        card: bytes,
        table_hash: bytes,
        progress_hash: bytes,
        provider_authority: bytes,
        consumer_authority: bytes,
    ) -> None:
        """Both agree that the price goes back."""
        terms = TermsArgs(*terms)
        states = (OrderState.PAID, OrderState.DELIVERED, OrderState.REVOKED)
        status = self.read(order_id, terms, card, table_hash, progress_hash, *states)
        self.no_open_challenge(status)
        actor = self.authorised(message, provider_authority, "AgreeRefund", order_id)
        self.check(actor == self.ledger.owner_of(terms.provider), "not the provider")
        self._consumer(message, consumer_authority, terms, "AgreeRefund", order_id)
        self._give_back(order_id, terms, status, agreed=True)

    def refund(
        self,
        message: Message,
        order_id: bytes,
        terms: TermsArgs,
        card: bytes,
        table_hash: bytes,
        progress_hash: bytes,
        claim_now: bool,
    ) -> None:
        """Anyone, when nothing was delivered in time."""
        terms = TermsArgs(*terms)
        states = (OrderState.PAID, OrderState.REVOKED)
        status = self.read(order_id, terms, card, table_hash, progress_hash, *states)
        self.check(message.now_at >= status.deadline + self.view_grace_seconds(), "deadline is not reached")
        self._give_back(order_id, terms, status, agreed=False)
        if claim_now:
            self.pay_out(terms.token, address_account(terms.consumer), message.sender)

    def _give_back(self, order_id: bytes, terms: TermsArgs, status: Status, *, agreed: bool) -> None:
        self.has_money(status)
        self.store(order_id, replace(status, state=OrderState.REFUNDED, deadline=0))
        self.credit(terms.token, address_account(terms.consumer), terms.price)
        self.log("Refunded", order_id=order_id, amount=terms.price, agreed=agreed)

    # ── doors of the other contracts ──
    def set_order(
        self,
        order_id: bytes,
        basis: bytes,
        tables: tuple[bytes, bytes],
        progress_hashes: tuple[bytes, bytes],
        status: Status,
        replaced: bytes,
    ) -> None:
        """Grants sets table, progress and status (old, new), and remembers what it replaced: a door, not a transaction."""
        self.check_core(order_id, basis, tables[0], progress_hashes[0])
        self.store(order_id, status, packing.core(basis, tables[1], progress_hashes[1]))
        if not zero(replaced):
            self.table("past")[order_id, replaced] = True

    def open_challenge(
        self,
        message: Message,
        order_id: bytes,
        terms: TermsArgs,
        card: bytes,
        table_hash: bytes,
        progress_hash: bytes,
    ) -> int:
        """The consumer says that he cannot open; once."""
        self.check(message.sender == self.view_challenges(), "not the challenges contract")
        terms = TermsArgs(*terms)
        status = self.read(order_id, terms, card, table_hash, progress_hash, OrderState.DELIVERED)
        self.before_deadline(message, status)
        self.check(not status.flags & CHALLENGED, "order was challenged")
        answer_by = message.now_at + packing.unpack_periods(terms.periods).answer_seconds
        flags, deadline = status.flags | CHALLENGED, max(status.deadline, answer_by)
        self.store(order_id, replace(status, flags=flags, deadline=deadline))
        self.log("ChallengeOpened", order_id=order_id, answer_by=answer_by)
        return answer_by

    def close_challenge(
        self,
        message: Message,
        order_id: bytes,
        terms: TermsArgs,
        card: bytes,
        table_hash: bytes,
        progress_hash: bytes,
        met: bool,
    ) -> None:
        """Answered, or the price goes back."""
        self.check(message.sender == self.view_challenges(), "not the challenges contract")
        terms = TermsArgs(*terms)
        status = self.read(order_id, terms, card, table_hash, progress_hash, OrderState.DELIVERED)
        self.check(status.flags & (CHALLENGED | ANSWERED) == CHALLENGED, "no open challenge")
        self.log("ChallengeClosed", order_id=order_id, met=met)
        if met:
            self.store(order_id, replace(status, flags=status.flags | ANSWERED))
        else:
            self._give_back(order_id, terms, status, agreed=False)
