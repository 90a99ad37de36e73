"""`regenerate`: all shares of an order anew, for other nodes or another threshold (protocol §7, decision 0058).

Before payment the provider does it alone. Afterwards `propose` makes a document, the consumer agrees (trade/consent.py), and
`regenerate_agreed` sends it.
Promises: the nodes passed this provider's policy and hold what they accepted when the transaction is sent; while the delivery can still
be challenged, the consumer's `Fetch` for the new shares is in this home before they count, so that a challenge can be answered.
Does not promise: anything about copies of earlier shares; their nodes destroy the keys when they see the new ones final.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from asset_bridge.chain.messages import fetch_digest, is_signed_by
from asset_bridge.chain.packing import MAX_GENERATION
from asset_bridge.chain.records import AcceptSignature, Approval, FetchSignature, Order, OrderState, Sent
from asset_bridge.errors import DefectError, InputError, TamperedError, UnavailableError
from asset_bridge.trade.check_approval import is_acceptance, not_its_word
from asset_bridge.trade.check_asset import checked_asset
from asset_bridge.trade.desk import Desk, require_role, short
from asset_bridge.trade.documents.new_generation import NewGeneration
from asset_bridge.trade.evidence import Examiner
from asset_bridge.trade.ports import TeeNode
from asset_bridge.trade.shares import Generation, OwnedAsset, RefusedNode, make_generation, make_shares, owned_asset

PAID = (OrderState.PAID, OrderState.DELIVERED, OrderState.SETTLED)
CHALLENGEABLE = (OrderState.PAID, OrderState.DELIVERED)
"""While a delivery can come or be challenged: consent brings the `Fetch` of the new shares."""


@dataclass(frozen=True, slots=True)
class Regenerated:
    """New shares on chain: of which generation, who holds them, which nodes were refused and why."""

    order_id: bytes
    generation: int
    threshold: int
    chosen: tuple[bytes, ...]
    refused: tuple[RefusedNode, ...]
    sent: Sent


@dataclass(frozen=True, slots=True)
class Proposed:
    """New shares that wait for the consumer's consent."""

    document: NewGeneration
    refused: tuple[RefusedNode, ...]


def regenerate(
    desk: Desk, order_id: bytes, examiner: Examiner, *, threshold: int | None = None, shares: int | None = None
) -> Regenerated:
    """Replace the shares of an order that is approved and not paid.

    Raises:
        InputError(trade.consent): it is paid, so the consumer has to agree.
        what `propose` raises, but for its state.
    """
    order = desk.reader.order(order_id)
    require_role(desk, order, "provider")
    if order.state in PAID:
        raise InputError(
            "trade.consent",
            f"the order is {order.state.name.lower()}, so its shares change only with the consumer's consent",
            hint=f"asset-bridge regenerate 0x{order_id.hex()} --propose FILE, and give FILE to the consumer",
            actor="consumer",
        )
    order = desk.final_order(order_id, OrderState.APPROVED)
    approval, made = _made(desk, order, examiner, threshold, shares)
    sent = desk.account.new_generation(order_id, approval, b"", ())
    return Regenerated(order_id, approval.generation, approval.threshold, made.node_ids(), made.refused, sent)


def propose(
    desk: Desk, order_id: bytes, examiner: Examiner, *, threshold: int | None = None, shares: int | None = None
) -> Proposed:
    """Make new shares for a paid order and have each node accept its own; nothing is sent.

    Raises:
        InputError(trade.role, trade.state): not this provider's order, not paid, or no longer served.
        RefusedError(attestation.*): too few nodes pass the policy.
        TamperedError(trade.accept), UnavailableError: a chosen node did not accept its share.
    """
    order = desk.final_order(order_id, *PAID)
    require_role(desk, order, "provider")
    approval, made = _made(desk, order, examiner, threshold, shares)
    accepts = _accepts(desk, order_id, approval, [holder.tee for holder in made.holders])
    document = NewGeneration(
        chain_id=desk.reader.chain_id,
        exchange=desk.reader.exchange,
        order_id=order_id,
        generation=approval.generation,
        threshold=approval.threshold,
        precursor=approval.precursor,
        slots=approval.slots,
        accepts=accepts,
    )
    return Proposed(document, made.refused)


def regenerate_agreed(desk: Desk, document: NewGeneration) -> Regenerated:
    """Send new shares that the consumer agreed to.

    Raises:
        InputError(trade.network, trade.generation, trade.role, trade.state): it is not for this order as it is now.
        TamperedError(trade.new-shares): they are not the shares that this home makes.
        InputError(trade.no-consent, trade.no-fetch): the consumer has not agreed, or left out what the state of the order needs.
        RefusedError, TamperedError, UnavailableError of a node: it does not hold what it accepted any more.
    """
    order_id = document.order_id
    require_network(desk, document)
    order = desk.reader.order(order_id)
    require_role(desk, order, "provider")
    require_next(order, document)
    if not document.consent:
        raise InputError(
            "trade.no-consent",
            "the consumer has not agreed to these shares yet",
            hint="give him the file; he runs `asset-bridge consent FILE` and gives back what it writes",
            actor="consumer",
        )
    approval = document.approval(order)
    _require_own(desk, order, approval)
    fetch = _fetch_of(desk, order, document)
    tees = [desk.connect_tee(desk.reader.node(slot.node_id)) for slot in approval.slots]
    accepts = _accepts(
        desk, order_id, approval, tees
    )  # anew: what the file says of a share could have been changed on its way
    if fetch is not None:
        desk.vault.journal.put(_fetch_name(order_id, fetch.generation), fetch.signature)
    sent = desk.account.new_generation(order_id, approval, document.consent, accepts)
    chosen = tuple(slot.node_id for slot in approval.slots)
    return Regenerated(order_id, approval.generation, approval.threshold, chosen, (), sent)


def kept_fetch(desk: Desk, order_id: bytes, generation: int) -> FetchSignature | None:
    """The `Fetch` of a generation that came with the consumer's consent."""
    signature = desk.vault.journal.get(_fetch_name(order_id, generation))
    return FetchSignature(generation, signature) if signature is not None else None


def require_network(desk: Desk, document: NewGeneration) -> None:
    """InputError(trade.network) for a document of another chain or Exchange."""
    if (document.chain_id, document.exchange) != (desk.reader.chain_id, desk.reader.exchange):
        raise InputError(
            "trade.network",
            f"the file is about Exchange {document.exchange} on chain {document.chain_id}, not about this home's",
            hint="use a home of that network",
        )


def require_next(order: Order, document: NewGeneration) -> None:
    """InputError unless the order is paid and served, and the document is of its next generation."""
    current = order.approval.generation if order.approval is not None else 0
    if order.state not in PAID or order.serving_stopped:
        raise InputError(
            "trade.state",
            f"the order is {order.state.name.lower()}{' and no longer served' if order.serving_stopped else ''}",
            hint=f"asset-bridge status 0x{order.order_id.hex()}",
        )
    if document.generation != current + 1:
        raise InputError(
            "trade.generation",
            f"the file is of generation {document.generation}, and the order has come to {current}",
            hint="the provider proposes again: asset-bridge regenerate ORDER --propose FILE",
            actor="provider",
        )


def _made(
    desk: Desk, order: Order, examiner: Examiner, threshold: int | None, shares: int | None
) -> tuple[Approval, Generation]:
    """The next generation of an order's shares, each sealed to a node that this provider's policy accepts now."""
    if order.approval is None:
        raise DefectError("trade.no-approval", "an approved order came without its approval", actor="nobody")
    generation = order.approval.generation + 1
    if generation > MAX_GENERATION:
        raise InputError(
            "trade.generation", f"an order has at most {MAX_GENERATION} generations of shares", hint="revoke, or wait"
        )
    made = make_generation(desk, _owned(desk, order), order, examiner, generation, threshold, shares)
    approval = replace(
        order.approval,
        generation=generation,
        threshold=made.threshold,
        precursor=made.precursor,
        slots=made.slots,
    )
    return approval, made


def _owned(desk: Desk, order: Order) -> OwnedAsset:
    return owned_asset(desk, checked_asset(desk.reader, order.terms.asset_id))


def _accepts(desk: Desk, order_id: bytes, approval: Approval, tees: Sequence[TeeNode]) -> tuple[AcceptSignature, ...]:
    """The verified `Accept` of every slot, asked for now."""
    found = []
    for number, (slot, tee) in enumerate(zip(approval.slots, tees, strict=True)):
        try:
            accept = tee.accept_generation(order_id, approval.generation, number, slot, approval.precursor)
        except UnavailableError as error:
            raise UnavailableError(
                error.code,
                f"node {short(slot.node_id)} does not accept its new share: {error.message}",
                hint="propose again: another node is chosen for one that does not answer",
                actor=error.actor,
            ) from None
        if not is_acceptance(desk, order_id, approval.generation, number, slot, desk.reader.node(slot.node_id), accept):
            raise not_its_word()
        found.append(accept)
    return tuple(found)


def _require_own(desk: Desk, order: Order, approval: Approval) -> None:
    """TamperedError(trade.new-shares) unless these are the shares that this home makes of this generation."""
    made = make_shares(
        desk,
        _owned(desk, order),
        order.order_id,
        order.terms.pk_b,
        approval.generation,
        approval.threshold,
        len(approval.slots),
    )
    for share, slot in zip(made, approval.slots, strict=True):
        public = share.published()
        ours = (public.kfrag_id, public.u1.to_bytes(), public.x_a.to_bytes(), public.receiver_signature)
        if ours != (slot.kfrag_id, slot.u1, approval.precursor, slot.receiver_signature):
            raise TamperedError(
                "trade.new-shares",
                "layer approval: the file does not hold the shares that this home makes",
                hint="propose again, and send what comes back unchanged",
                actor="consumer",
            )


def _fetch_of(desk: Desk, order: Order, document: NewGeneration) -> FetchSignature | None:
    """The consumer's `Fetch` of the new shares, where the order's state needs one."""
    fetch = document.fetch_signature
    if fetch is not None:
        digest = fetch_digest(desk.exchange_domain, order.order_id, fetch.generation)
        if is_signed_by(order.terms.fetch_signer, digest, fetch.signature):
            return fetch
    if order.state not in CHALLENGEABLE:
        return None
    raise InputError(
        "trade.no-fetch",
        "the consent comes without the consumer's request for the new shares, so a challenge of them could not be answered",
        hint="he runs `asset-bridge consent FILE` on the proposal again and gives back what it writes",
        actor="consumer",
    )


def _fetch_name(order_id: bytes, generation: int) -> str:
    return f"fetch-{order_id.hex()}-{generation}"
