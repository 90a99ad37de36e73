"""Exchange after payment: settle, refund, revoke, reseal, regenerate, destroyed, and the doors of a challenge.

Source: spec/contracts.md §5, §7, §8; protocol §7.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from eth_hash.auto import keccak

from asset_bridge.chain import packing
from asset_bridge.chain.messages import destroyed_digest
from asset_bridge.chain.packing import (
    ANSWERED,
    CHALLENGED,
    SERVING_STOPPED,
    WAS_PAID,
    KeyParts,
    Row,
    Status,
    Table,
    TermsArgs,
    address_account,
)
from asset_bridge.chain.records import ZERO32, DestroyedReceipt, OrderState
from asset_bridge.chain.twin.money import Money
from asset_bridge.chain.twin.orders import with_bit
from asset_bridge.chain.twin.world import Message

WEEK_SECONDS = 604_800
HELD = (OrderState.PAID, OrderState.REVOKED)


class AfterPayment(Money):
    """The second half of the Exchange's model."""

    def grace(self) -> int:
        return int(self.table("fixed")["grace_seconds"])

    def bind(self, message: Message, asset_id: bytes | None, rows: Sequence[Row], until: int) -> None:
        """Raise busy_until of nodes, and of the asset if given; in whole weeks outside development."""
        if not self.view_development():
            until = -(-until // WEEK_SECONDS) * WEEK_SECONDS
        inner = replace(message, sender=self.address)
        if asset_id is not None:
            self.ledger.hold(inner, asset_id, until)
        self.registry.hold(inner, [r.node_id for r in rows], [r.epoch for r in rows], until)

    # ── after ──
    def settle(
        self,
        message: Message,
        order_id: bytes,
        terms: TermsArgs,
        key_commitment: bytes,
        credits: bytes,
        table_hash: bytes,
        delivery: bytes,
        claim_for: bytes,
        authority: bytes,
    ) -> None:
        """The escrow is divided: by the consumer at once, by anyone when the window is over."""
        terms = TermsArgs(*terms)
        card = packing.card(key_commitment, keccak(credits))
        status = self.load(order_id, terms, card, table_hash, keccak(delivery))
        self.state_is(status, OrderState.DELIVERED)
        self.no_open_challenge(status)
        early = message.now_at < status.deadline
        if early:
            self.consumer(message, authority, terms, "AcceptDelivery", order_id)
        accounts, amounts = self.divide(terms, credits, delivery)
        self.store(order_id, replace(status, state=OrderState.SETTLED, deadline=0))
        self.release(terms.token, terms.price)
        for account, amount in zip(accounts, amounts, strict=True):
            self.credit(terms.token, account, amount)
        self.log("Settled", order_id=order_id, accepted=early, accounts=accounts, amounts=amounts)
        if claim_for != ZERO32:
            self.pay_out(message, terms.token, claim_for, b"")

    def agree_refund(
        self,
        message: Message,
        order_id: bytes,
        terms: TermsArgs,
        card: bytes,
        table_hash: bytes,
        delivery_hash: bytes,
        provider_authority: bytes,
        consumer_authority: bytes,
    ) -> None:
        """Both agree that the price goes back."""
        terms = TermsArgs(*terms)
        status = self.load(order_id, terms, card, table_hash, delivery_hash)
        self.owner(message, provider_authority, terms, "AgreeRefund", order_id)
        self.consumer(message, consumer_authority, terms, "AgreeRefund", order_id)
        self.check(self.holds_money(status), "wrong state")
        self.no_open_challenge(status)
        self.give_back(order_id, terms, status, agreed=True)

    def refund(
        self, message: Message, order_id: bytes, terms: TermsArgs, card: bytes, table_hash: bytes, claim_now: bool
    ) -> None:
        """Anyone, when nothing was delivered in time."""
        terms = TermsArgs(*terms)
        status = self.load(order_id, terms, card, table_hash)
        self.state_is(status, *HELD)
        self.check(bool(status.flags & WAS_PAID), "wrong state")
        self.check(message.now_at >= status.deadline + self.grace(), "too early")
        self.give_back(order_id, terms, status, agreed=False)
        if claim_now:
            self.pay_out(message, terms.token, address_account(terms.consumer), b"")

    def give_back(self, order_id: bytes, terms: TermsArgs, status: Status, *, agreed: bool) -> None:
        """The price to the consumer's balance; final."""
        self.store(order_id, replace(status, state=OrderState.REFUNDED, deadline=0))
        self.release(terms.token, terms.price)
        self.credit(terms.token, address_account(terms.consumer), terms.price)
        self.log("Refunded", order_id=order_id, amount=terms.price, agreed=agreed)

    def revoke(
        self,
        message: Message,
        order_id: bytes,
        terms: TermsArgs,
        card: bytes,
        table_hash: bytes,
        delivery_hash: bytes,
        authority: bytes,
    ) -> None:
        """The provider ends serving; the money of delivered orders is untouched."""
        terms = TermsArgs(*terms)
        status = self.load(order_id, terms, card, table_hash, delivery_hash)
        self.owner(message, authority, terms, "Revoke", order_id)
        if status.state == OrderState.APPROVED:
            new = replace(status, state=OrderState.REVOKED, deadline=0)
        elif status.state == OrderState.PAID:
            new = replace(status, state=OrderState.REVOKED, deadline=min(status.deadline, message.now_at))
        else:
            self.state_is(status, OrderState.DELIVERED, OrderState.SETTLED)
            self.check(not status.flags & SERVING_STOPPED, "serving has stopped")
            new = replace(status, flags=status.flags | SERVING_STOPPED)
        self.store(order_id, new)
        self.log("Revoked", order_id=order_id, state=new.state)

    def reseal(
        self,
        message: Message,
        order_id: bytes,
        terms: TermsArgs,
        card: bytes,
        table: bytes,
        delivery_hash: bytes,
        slot: int,
        replacement: bytes,
        sealed_share: bytes,
        accept: bytes,
        authority: bytes,
    ) -> None:
        """The same share to a new order key in the same slot."""
        terms = TermsArgs(*terms)
        old, digest = self.parse_table(table), keccak(terms.pk_b + table)
        status = self.load(order_id, terms, card, digest, delivery_hash)
        self.owner(message, authority, terms, "Reseal", order_id, digest, slot, replacement, sealed_share)
        self.can_reseal(message, status)
        self.check(slot < len(old.rows), "no such slot")
        self.check(len(replacement) == 72 and len(sealed_share) == 149, "lengths")
        node_id, epoch = replacement[:32], int.from_bytes(replacement[32:40], "big")
        operators, signers = self.registry.tee_slots(message, [node_id], [epoch])
        others = [row for i, row in enumerate(old.rows) if i != slot]
        taken = {row.node_id for row in others} | {self.registry.view_operator_of(row.node_id) for row in others}
        self.check(node_id not in taken and operators[0] not in taken, "operator holds another slot")
        before = old.rows[slot]
        row = Row(node_id, epoch, signers[0], before.kfrag_id, before.u1, replacement[40:])
        self.order_key(message, order_id, row, sealed_share)
        self.accepted_by(order_id, old.generation, slot, row, accept)
        rows = (*old.rows[:slot], row, *old.rows[slot + 1 :])
        new = Table(old.threshold, old.generation, old.precursor, rows)
        self.keep_table(order_id, status, digest)
        self._bind_replacement(message, status, terms, [row])
        core = packing.core(packing.basis(terms, card), new.digest(terms.pk_b), delivery_hash)
        changed = replace(
            status,
            accepted=with_bit(status.accepted, slot),
            destroyed=with_bit(status.destroyed, slot, False),
        )
        self.store(order_id, changed, core)
        self.log("Resealed", order_id=order_id, slot=slot, row=row.pack(), sealed_share=sealed_share, accept=accept)

    def _bind_replacement(self, message: Message, status: Status, terms: TermsArgs, rows: Sequence[Row]) -> None:
        if status.state in (OrderState.PAID, OrderState.DELIVERED):
            periods = packing.unpack_periods(terms.periods)
            self.bind(
                message, None, rows, status.deadline + self.grace() + periods.window_seconds + periods.answer_seconds
            )

    def regenerate(
        self,
        message: Message,
        order_id: bytes,
        terms: TermsArgs,
        parts: KeyParts,
        table_hash: bytes,
        delivery_hash: bytes,
        threshold: int,
        precursor: bytes,
        shares: bytes,
        sealed_shares: bytes,
        accepts: bytes,
        authority: bytes,
        consent: bytes,
    ) -> None:
        """All shares anew; after payment with the consumer's signature."""
        terms, parts = TermsArgs(*terms), KeyParts(*parts)
        card = packing.card_of(parts)
        status = self.load(order_id, terms, card, table_hash, delivery_hash)
        generation = status.generation + 1
        values = (order_id, generation, threshold, precursor, shares, sealed_shares)
        self.owner(message, authority, terms, "Regenerate", *values)
        paid = bool(status.flags & WAS_PAID)
        if paid:
            self.consumer(message, consent, terms, "Regenerate", *values)
        self.can_reseal(message, status)
        table = self.make_table(
            message, order_id, parts, terms.pk_b, generation, threshold, precursor, shares, sealed_shares
        )
        slots = self.accepted_slots(order_id, table, accepts, at_least=threshold if paid else 0)
        self.keep_table(order_id, status, table_hash)
        self._bind_replacement(message, status, terms, [table.rows[s] for s in slots])
        accepted = 0
        for slot in slots:
            accepted = with_bit(accepted, slot)
        changed = replace(
            status,
            generation=generation,
            threshold=threshold,
            shares=len(table.rows),
            accepted=accepted if paid else 0,
            destroyed=0,
        )
        self.store(order_id, changed, packing.core(packing.basis(terms, card), table.digest(terms.pk_b), delivery_hash))
        self.log("Regenerated", order_id=order_id, table=table.pack(), sealed_shares=sealed_shares, accepts=accepts)

    def record_destroyed(
        self,
        message: Message,  # noqa: ARG002
        order_id: bytes,
        terms: TermsArgs,
        card: bytes,
        table: bytes,
        current_table: bytes,
        delivery_hash: bytes,
        slot: int,
        reason: int,
        signature: bytes,
    ) -> None:
        """A node's word that its key is gone; anyone brings it."""
        terms = TermsArgs(*terms)
        rows, digest, current = self.known_table(order_id, terms.pk_b, table, current_table)
        status = self.load(order_id, terms, card, current, delivery_hash)
        self.check(slot < len(rows.rows), "no such slot")
        row = rows.rows[slot]
        receipt = DestroyedReceipt(rows.generation, slot, row.kem_key_digest, row.node_id, row.epoch, reason, b"")
        valid = self.signed(row.signing_address, destroyed_digest(self.domain, order_id, receipt), signature)
        self.check(valid, "destroyed signature")
        seen = self.table("destroyed")
        self.check((order_id, digest, slot) not in seen, "already recorded")
        seen[order_id, digest, slot] = True
        if digest == current:
            self.store(order_id, replace(status, destroyed=with_bit(status.destroyed, slot)))
        self.log(
            "DestroyedRecorded",
            order_id=order_id,
            generation=rows.generation,
            slot=slot,
            node_id=row.node_id,
            epoch=row.epoch,
            reason=reason,
            signature=signature,
        )

    # ── challenges: the doors that the Challenges contract uses ──
    def open_challenge(
        self,
        message: Message,
        order_id: bytes,
        terms: TermsArgs,
        card: bytes,
        table_hash: bytes,
        delivery_hash: bytes,
    ) -> int:
        """The consumer says that he cannot open; once."""
        self.check(message.sender == self.table("fixed")["challenges"], "not the challenges contract")
        terms = TermsArgs(*terms)
        status = self.load(order_id, terms, card, table_hash, delivery_hash)
        self.state_is(status, OrderState.DELIVERED)
        self.check(not status.flags & (CHALLENGED | ANSWERED), "challenged before")
        self.check(message.now_at < status.deadline, "too late")
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
        delivery_hash: bytes,
        met: bool,
    ) -> None:
        """Answered, or the price goes back."""
        self.check(message.sender == self.table("fixed")["challenges"], "not the challenges contract")
        terms = TermsArgs(*terms)
        status = self.load(order_id, terms, card, table_hash, delivery_hash)
        self.state_is(status, OrderState.DELIVERED)
        self.check(bool(status.flags & CHALLENGED), "no open challenge")
        closed = replace(status, flags=status.flags & ~CHALLENGED | (ANSWERED if met else 0))
        if met:
            self.store(order_id, closed)
        else:
            self.give_back(order_id, terms, closed, agreed=False)
        self.log("ChallengeClosed", order_id=order_id, met=met)
