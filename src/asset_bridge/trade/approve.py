"""`approve`: shares of the key, each sealed to one TEE node that the provider examined himself (protocol §4.2).

Promises: the request is read at a finalized block; the form belongs to it; every node's evidence was verified and appraised by this
provider's policy with a fresh nonce; nothing secret leaves except sealed. Does not promise: that the consumer pays.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from asset_bridge.chain.records import Approval, At, Order, OrderState, Sent
from asset_bridge.errors import InputError
from asset_bridge.keys.hpke import seal_kpq
from asset_bridge.trade.answer import put_reply
from asset_bridge.trade.desk import Desk, require_role
from asset_bridge.trade.documents.template import application_problem
from asset_bridge.trade.evidence import Examiner
from asset_bridge.trade.inbox import CheckedForm, read_form
from asset_bridge.trade.profile import own_form_key
from asset_bridge.trade.shares import RefusedNode, make_generation, owned_asset

FIRST_GENERATION = 1


@dataclass(frozen=True, slots=True)
class Approved:
    """An approval on chain: who holds a share, who was refused and why."""

    order_id: bytes
    threshold: int
    chosen: tuple[bytes, ...]
    refused: tuple[RefusedNode, ...]
    sent: Sent | None


def approve(
    desk: Desk,
    order_id: bytes,
    examiner: Examiner,
    *,
    threshold: int | None = None,
    shares: int | None = None,
    reply: str = "",
    confirm: Callable[[Order, CheckedForm], bool] = lambda _order, _form: True,
) -> Approved:
    """Approve a request.

    Args:
        examiner: the provider's policy and verifiers; there is no default that accepts anybody.
        confirm: shown the order and its form before anything is made; False stops.
    Raises:
        InputError(trade.role, trade.state): not this provider's order, or no longer open.
        TamperedError(trade.form, keys.envelope): the form does not belong to the order.
        InputError(trade.application): it does not fit the template.
        RefusedError(attestation.*): too few nodes pass the policy.
    """
    order = desk.final_order(order_id, OrderState.REQUESTED, OrderState.APPROVED)
    require_role(desk, order, "provider")
    head = desk.reader.order(order_id)
    if head.state is OrderState.APPROVED and head.approval is not None:  # a retry after the transaction went through
        approval = head.approval
        return Approved(order_id, approval.threshold, tuple(slot.node_id for slot in approval.slots), (), None)
    order = desk.final_order(order_id, OrderState.REQUESTED)
    if desk.clock() >= order.approve_by:
        raise InputError(
            "trade.too-late", "the time to approve this request is over", hint="the consumer can request again"
        )
    checked = read_form(desk, own_form_key(desk), order, At.FINAL)
    if problem := application_problem(checked.form.application, checked.description.template):
        raise InputError("trade.application", problem, hint="asset-bridge deny, with a reply that says what is missing")
    if not confirm(order, checked):
        raise InputError("trade.not-confirmed", "the approval was not confirmed; nothing was sent")
    owned = owned_asset(desk, checked.asset)
    made = make_generation(desk, owned, order, examiner, FIRST_GENERATION, threshold, shares)
    sealed_kpq = seal_kpq(
        checked.hybrid_key, owned.keys.k_pq, order_id=order_id, pq_commit=checked.asset.listing.pq_commit
    )
    reply_digest, reply_length = put_reply(desk, order, checked.hybrid_key, reply)
    approval = Approval(
        generation=made.number,
        threshold=made.threshold,
        precursor=made.precursor,
        slots=made.slots,
        sealed_kpq=sealed_kpq,
        reply_digest=reply_digest,
        reply_length=reply_length,
    )
    sent = desk.account.approve(order_id, approval)
    return Approved(order_id, made.threshold, made.node_ids(), made.refused, sent)
