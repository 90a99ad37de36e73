"""From an order's facts and its status word to the `Order` record, or to nothing when the two contradict each other.

Source: spec/contracts.md §4 (status), §7 (deadlines). Pure.
"""

from __future__ import annotations

from asset_bridge.chain import packing
from asset_bridge.chain.fold import OrderFacts
from asset_bridge.chain.packing import ANSWERED, CHALLENGED, SERVING_STOPPED, WAS_PAID, Status
from asset_bridge.chain.records import Approval, Order, OrderState, RequestTerms

_ESCROWED = (OrderState.PAID, OrderState.DELIVERED, OrderState.REVOKED)


def order_record(facts: OrderFacts, status: Status) -> Order | None:
    """The record; None when the status cannot follow from the events."""
    try:
        state = OrderState(status.state)
    except ValueError:
        return None
    deadlines = _deadlines(facts, status, state)
    if deadlines is None or not _fits(facts, status):
        return None
    approve_by, pay_by, deliver_by, windows_end = deadlines
    escrowed = bool(status.flags & WAS_PAID) and state in _ESCROWED
    return Order(
        order_id=facts.order_id,
        consumer=facts.terms.consumer,
        provider=facts.terms.provider,
        terms=_terms(facts),
        state=state,
        requested_in=facts.requested_in,
        approve_by=approve_by,
        pay_by=pay_by,
        deliver_by=deliver_by,
        windows_end=windows_end,
        ends_at=facts.paid_at + packing.unpack_periods(facts.terms.periods).access_seconds if facts.paid_at else 0,
        approval=_approval(facts),
        accepted=tuple(sorted(facts.accepted.items())),
        delivered_receipts=facts.delivered,
        destroyed=tuple(facts.destroyed),
        serving_stopped=bool(status.flags & SERVING_STOPPED),
        challenged=status.flags & (CHALLENGED | ANSWERED) == CHALLENGED,
        escrow_wei=facts.terms.price if escrowed else 0,
        reply_digest=facts.reply[0],
        reply_length=facts.reply[1],
    )


def _deadlines(facts: OrderFacts, status: Status, state: OrderState) -> tuple[int, int, int, int] | None:
    """(approve_by, pay_by, deliver_by, windows_end); the one of the present state must be the contract's."""
    periods = packing.unpack_periods(facts.terms.periods)
    approve_by = facts.requested_in.timestamp + periods.approve_seconds
    pay_by = facts.approved_at + periods.pay_seconds if facts.approved_at else 0
    deliver_by = facts.paid_at + periods.deliver_seconds if facts.paid_at else 0
    if deliver_by and facts.revoked_at and not facts.delivered_at:
        deliver_by = min(deliver_by, facts.revoked_at)
    windows_end = max(facts.delivered_at + periods.window_seconds, facts.answer_by) if facts.delivered_at else 0
    expected = {
        OrderState.REQUESTED: approve_by,
        OrderState.APPROVED: pay_by,
        OrderState.PAID: deliver_by,
        OrderState.DELIVERED: windows_end,
    }
    if state in expected and status.deadline != expected[state]:
        return None
    if state == OrderState.REVOKED and facts.paid_at and status.deadline != deliver_by:
        return None
    return approve_by, pay_by, deliver_by, windows_end


def _fits(facts: OrderFacts, status: Status) -> bool:
    if status.generation != (facts.table.generation if facts.table else 0):
        return False
    return bool(status.flags & WAS_PAID) == bool(facts.paid_at)


def _terms(facts: OrderFacts) -> RequestTerms:
    return RequestTerms(
        facts.terms.asset_id,
        facts.terms.pk_b,
        facts.hybrid_key,
        facts.form,
        facts.form_length,
        packing.offer_record(facts.offer),
        facts.order_nonce,
        facts.terms.fetch_signer,
    )


def _approval(facts: OrderFacts) -> Approval | None:
    if facts.table is None:
        return None
    table = facts.table
    return Approval(
        table.generation,
        table.threshold,
        table.precursor,
        facts.sealed,
        facts.sealed_kpq,
        facts.reply[0],
        facts.reply[1],
    )
