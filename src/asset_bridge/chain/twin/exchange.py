"""Exchange, as the specification says it (spec/contracts.md §5, §7, §8; protocol §4, §5, §7): the life of an order and its money."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from eth_abi.abi import encode
from eth_hash.auto import keccak

from asset_bridge.chain import ids, packing
from asset_bridge.chain.messages import fetch_digest, receipt_digest
from asset_bridge.chain.packing import (
    SERVING_STOPPED,
    WAS_PAID,
    KeyParts,
    OfferArgs,
    Status,
    Table,
    TermsArgs,
    address_account,
)
from asset_bridge.chain.records import ZERO32, ZERO_ADDRESS, DeliveryReceipt, OrderState
from asset_bridge.chain.twin.after import HELD, AfterPayment
from asset_bridge.chain.twin.orders import with_bit
from asset_bridge.chain.twin.world import Message


@dataclass(frozen=True, slots=True)
class Fees:
    """Basis points (spec/contracts.md §8)."""

    tee: int
    recorder: int
    light: int
    storage_nodes: int


class Exchange(AfterPayment):
    """The model of contracts/Exchange.vy."""

    def construct(
        self, challenges: str, development: bool, fees: Sequence[int], margin_seconds: int, grace_seconds: int
    ) -> None:
        """The constructor."""
        self.table("fixed").update(
            challenges=challenges,
            development=development,
            fees=Fees(*fees),
            margin_seconds=margin_seconds,
            grace_seconds=grace_seconds,
        )

    # ── request, approve ──
    def request(
        self,
        message: Message,
        asset_id: bytes,
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
        self.check(pk_b_sign in (2, 3), "receiving key")
        self.check(fetch_signer != ZERO_ADDRESS, "fetch signer is zero")
        inner = replace(message, sender=self.address)
        provider = self.ledger.quote(inner, asset_id, packing.offer_hash(offer), offer.token)
        terms = TermsArgs(
            asset_id, provider, consumer, fetch_signer, offer.token, offer.price, offer.periods, pk_b_sign, pk_b_x
        )
        order_id = self._order_id(terms, hybrid_key, form, offer.terms, order_nonce)
        self.consume(message, authority, "Request", order_id, fetch_signer, offer.periods, offer.card, form_length)
        self.check(self.words(order_id).status.state == OrderState.NONE, "order exists")
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
        self, terms: TermsArgs, hybrid_key: bytes, form: bytes, terms_digest: bytes, order_nonce: bytes
    ) -> bytes:
        kinds = ["string", "uint256", "address", "bytes32", "address", "bytes", "bytes32", "bytes32", "bytes32"]
        values = [ids.ORDER_LABEL, self.world.chain_id, self.address, terms.asset_id, terms.consumer, terms.pk_b]
        values += [hybrid_key, form, terms_digest, terms.token, terms.price, order_nonce]
        return keccak(encode([*kinds, "address", "uint256", "bytes32"], values))

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
        card = packing.card_of(parts)
        status = self.load(order_id, terms, card)
        values = (1, threshold, precursor, shares, sealed_shares, sealed_kpq, reply, reply_length)
        self.owner(message, authority, terms, "Approve", order_id, *values)
        self.state_is(status, OrderState.REQUESTED)
        self.check(message.now_at < status.deadline, "too late")
        table = self.make_table(message, order_id, parts, terms.pk_b, 1, threshold, precursor, shares, sealed_shares)
        core = packing.core(packing.basis(terms, card), table.digest(terms.pk_b), ZERO32)
        deadline = message.now_at + packing.unpack_periods(terms.periods).pay_seconds
        new = Status(
            state=OrderState.APPROVED, generation=1, threshold=threshold, shares=len(table.rows), deadline=deadline
        )
        self.store(order_id, new, core)
        self.log(
            "Approved",
            order_id=order_id,
            table=table.pack(),
            sealed_shares=sealed_shares,
            sealed_kpq=sealed_kpq,
            reply=reply,
            reply_length=reply_length,
        )

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
        status = self.load(order_id, terms, card)
        self.owner(message, authority, terms, "Deny", order_id, reply, reply_length)
        self.state_is(status, OrderState.REQUESTED)
        self.check(message.now_at < status.deadline, "too late")
        self.store(order_id, replace(status, state=OrderState.DENIED, deadline=0))
        self.log("Denied", order_id=order_id, reply=reply, reply_length=reply_length)

    def cancel(
        self, message: Message, order_id: bytes, terms: TermsArgs, card: bytes, table_hash: bytes, authority: bytes
    ) -> None:
        """The consumer withdraws before payment."""
        terms = TermsArgs(*terms)
        status = self.load(order_id, terms, card, table_hash)
        self.consumer(message, authority, terms, "Cancel", order_id)
        self.state_is(status, OrderState.REQUESTED, OrderState.APPROVED)
        self.store(order_id, replace(status, state=OrderState.CANCELLED, deadline=0))
        self.log("Cancelled", order_id=order_id)

    def expire(self, message: Message, order_id: bytes) -> None:
        """Anyone, once the period is over."""
        status = self.words(order_id).status
        self.state_is(status, OrderState.REQUESTED, OrderState.APPROVED)
        self.check(message.now_at >= status.deadline, "too early")
        self.store(order_id, replace(status, state=OrderState.EXPIRED, deadline=0))
        self.log("Expired", order_id=order_id)

    # ── pay, deliver ──
    def pay(
        self,
        message: Message,
        order_id: bytes,
        terms: TermsArgs,
        card: bytes,
        table: bytes,
        accepts: bytes,
        permit: bytes,  # noqa: ARG002 - tokens of the twin need none
        authority: bytes,
    ) -> None:
        """The price goes into escrow."""
        terms = TermsArgs(*terms)
        rows = self.parse_table(table)
        digest = keccak(terms.pk_b + table)
        status = self.load(order_id, terms, card, digest)
        self.consumer(message, authority, terms, "Pay", order_id, terms.token, terms.price, digest)
        self.state_is(status, OrderState.APPROVED)
        self.check(message.now_at < status.deadline, "too late")
        slots = self.accepted_slots(order_id, rows, accepts, at_least=rows.threshold)
        periods = packing.unpack_periods(terms.periods)
        until = (
            message.now_at + periods.deliver_seconds + self.grace() + periods.window_seconds + periods.answer_seconds
        )
        self.bind(message, terms.asset_id, [rows.rows[s] for s in slots], until)
        self.take(message, terms.consumer, terms.token, terms.price)
        accepted = 0
        for slot in slots:
            accepted = with_bit(accepted, slot)
        new = replace(
            status,
            state=OrderState.PAID,
            flags=status.flags | WAS_PAID,
            accepted=accepted,
            deadline=message.now_at + periods.deliver_seconds,
            ends_at=message.now_at + periods.access_seconds,
        )
        self.store(order_id, new)
        self.log("Paid", order_id=order_id, payer=message.sender, accepts=accepts)

    def record_delivery(
        self,
        message: Message,
        order_id: bytes,
        terms: TermsArgs,
        card: bytes,
        table: bytes,
        current_table: bytes,
        fetch: bytes,
        receipts: bytes,
        recorder: bytes,
    ) -> None:
        """Anyone, with the fetch and t receipts of one generation."""
        terms = TermsArgs(*terms)
        rows, _, current = self.known_table(order_id, terms.pk_b, table, current_table)
        status = self.load(order_id, terms, card, current)
        self.state_is(status, *HELD)
        self.check(bool(status.flags & WAS_PAID), "wrong state")
        self.check(message.now_at < status.deadline + self.grace(), "too late")
        digest = fetch_digest(self.domain, order_id, rows.generation)
        self.check(len(fetch) == 64 and self.signed(terms.fetch_signer, digest, fetch), "fetch signature")
        slots = self._receipts(order_id, rows, digest, receipts)
        account = recorder if recorder != ZERO32 else address_account(message.sender)
        delivery = account + b"".join(rows.rows[s].node_id for s in slots)
        core = packing.core(packing.basis(terms, card), current, keccak(delivery))
        stopped = SERVING_STOPPED if status.state == OrderState.REVOKED else 0
        delivered = 0
        for slot in slots:
            delivered = with_bit(delivered, slot)
        window = packing.unpack_periods(terms.periods).window_seconds
        new = replace(
            status,
            state=OrderState.DELIVERED,
            flags=status.flags | stopped,
            delivered=delivered,
            deadline=message.now_at + window,
        )
        self.store(order_id, new, core)
        self.log(
            "Delivered", order_id=order_id, generation=rows.generation, recorder=account, fetch=fetch, receipts=receipts
        )

    def _receipts(self, order_id: bytes, table: Table, fetch: bytes, receipts: bytes) -> list[int]:
        size = packing.RECEIPT_BYTES
        self.check(len(receipts) % size == 0, "lengths")
        slots: list[int] = []
        for i in range(0, len(receipts), size):
            raw = receipts[i : i + size]
            slot = raw[0]
            self.check(slot < len(table.rows) and (not slots or slot > slots[-1]), "slots not ascending")
            row = table.rows[slot]
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
            self.check(self.signed(row.signing_address, digest, raw[73:]), "receipt signature")
            slots.append(slot)
        self.check(len(slots) >= table.threshold, "too few receipts")
        return slots
