"""`challenge`, `challenge --answer`, `challenge --close`: a delivery that cannot be opened for lack of valid fragments (protocol §7).

Promises: an answer posts only fragments that verified here, of the slots that are still missing; it needs no secret, so anyone can give
it. Does not promise: anything about content; a met challenge leaves the window for an agreed refund as it was.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from asset_bridge.chain.records import Approval, Asset, At, FetchSignature, Order, OrderState, Sent
from asset_bridge.errors import BridgeError, InputError, UnavailableError
from asset_bridge.keys.secp256k1 import Point
from asset_bridge.reencryption import Capsule, CapsuleFrag
from asset_bridge.reencryption.chain_proof import to_chain_proof
from asset_bridge.trade.check_asset import checked_asset
from asset_bridge.trade.desk import Desk, require_role, wrong_state
from asset_bridge.trade.regenerate import kept_fetch


@dataclass(frozen=True, slots=True)
class Answered:
    """What was posted: the slots, whether that met the challenge, what was sent."""

    slots: tuple[int, ...]
    met: bool
    sent: tuple[Sent, ...]


def challenge(desk: Desk, order_id: bytes) -> Sent:
    """Say on chain that this consumer cannot open for lack of valid fragments; sends the bond.

    Raises:
        InputError(trade.state, trade.role, trade.challenged, trade.too-late): it cannot be challenged (any more).
    """
    order = desk.reader.order(order_id)
    require_role(desk, order, "consumer")
    if order.state is not OrderState.DELIVERED:
        raise wrong_state(order, OrderState.DELIVERED)
    if desk.reader.challenge_of(order_id) is not None:
        raise InputError(
            "trade.challenged", "this order was challenged already, which is possible once", hint="asset-bridge status"
        )
    if desk.reader.block().timestamp >= order.windows_end:
        raise InputError("trade.too-late", "the time for a challenge is over", hint="asset-bridge status")
    return desk.account.challenge(order_id)


def answer(desk: Desk, order_id: bytes) -> Answered:
    """Fetch the fragments again with the consumer's recorded `Fetch`, and post those that are missing; the bond pays for it.

    Raises:
        InputError(trade.no-challenge): no challenge of this order waits for an answer.
        InputError(trade.no-fetch): its shares are newer than the delivery, and this home has no `Fetch` for them.
        UnavailableError(trade.too-few-fragments): no node gave a fragment that is still missing.
    """
    order = desk.reader.order(order_id)
    found = desk.reader.challenge_of(order_id)
    if found is None or not order.challenged or order.approval is None:
        raise _none()
    asset = checked_asset(desk.reader, order.terms.asset_id, At.HEAD)
    fetch = _fetch_of(desk, order_id, order.approval.generation)
    missing = order.approval.threshold - found.answered.bit_count()
    proofs: dict[int, bytes] = {}
    for node_id, cfrag in _fragments(desk, order, order.approval, fetch):
        slot = next((i for i, s in enumerate(order.approval.slots) if s.node_id == node_id), None)
        if slot is None or slot in proofs or found.answered >> slot & 1:
            continue
        proof = _proof(asset, order, order.approval, slot, cfrag)
        if proof is not None:
            proofs[slot] = proof
        if len(proofs) == missing:
            break
    if not proofs:
        raise UnavailableError(
            "trade.too-few-fragments",
            "no node gave a fragment that is still missing",
            hint="run it again before the time to answer is over",
            actor="tee node",
        )
    sent = [desk.account.answer_challenge(order_id, list(proofs.items()), fetch.generation)]
    if desk.reader.rewards_wei(desk.address):  # nothing on a chain without a base fee
        sent.append(desk.account.withdraw_rewards(desk.address))
    return Answered(tuple(sorted(proofs)), len(proofs) == missing, tuple(sent))


def close(desk: Desk, order_id: bytes) -> tuple[Sent, ...]:
    """After the time to answer: the price goes back, and bond and deposits are paid out to the challenger. Anyone may send it.

    Raises:
        InputError(trade.no-challenge, trade.too-early): there is nothing to close, or nodes still have time.
    """
    order = desk.reader.order(order_id)
    found = desk.reader.challenge_of(order_id)
    if found is None or not order.challenged or order.state is not OrderState.DELIVERED:
        raise _none()
    if desk.reader.block().timestamp < found.answer_by:
        raise InputError(
            "trade.too-early",
            f"the challenge can be answered until {found.answer_by} (Unix seconds)",
            hint="run it again then",
        )
    sent = [desk.account.close_challenge(order_id)]
    if desk.reader.rewards_wei(found.challenger):
        sent.append(desk.account.withdraw_rewards(found.challenger))
    if desk.reader.deposits_wei(found.challenger):
        sent.append(desk.account.collect_deposits(found.challenger))
    return tuple(sent)


def _fetch_of(desk: Desk, order_id: bytes, generation: int) -> FetchSignature:
    """The consumer's `Fetch` of the challenged shares: the recorded one, or the one that came with his consent to new shares."""
    recorded = desk.reader.recorded_fetch(order_id)
    if recorded.generation == generation:
        return recorded
    kept = kept_fetch(desk, order_id, generation)
    if kept is None:
        raise InputError(
            "trade.no-fetch",
            f"the order has shares of generation {generation} since its delivery, and this home has no request of the consumer for them",
            hint="answer from the provider's home that agreed on them with the consumer",
            actor="provider",
        )
    return kept


def _fragments(desk: Desk, order: Order, approval: Approval, fetch: FetchSignature) -> Iterator[tuple[bytes, bytes]]:
    """(node_id, cfrag) from the light node, then from each node itself; whoever does not answer is passed over."""
    try:
        for node_id, cfrag, _, _ in desk.light.reencrypt(order.order_id, fetch):
            yield node_id, cfrag
    except BridgeError:
        pass  # the nodes themselves are asked next
    for slot in approval.slots:
        try:
            cfrag, _, _ = desk.connect_tee(desk.reader.node(slot.node_id)).reencrypt(order.order_id, fetch)
        except BridgeError:
            continue
        yield slot.node_id, cfrag


def _proof(asset: Asset, order: Order, approval: Approval, slot: int, cfrag: bytes) -> bytes | None:
    """The form for the chain of a fragment that verifies as this slot's; None for any other."""
    listing, share = asset.listing, approval.slots[slot]
    try:
        frag = CapsuleFrag.from_bytes(cfrag)
        verified = frag.verify(
            capsule=Capsule.from_bytes(listing.capsule),
            signer=Point.from_bytes(listing.kfrag_signer),
            pk_a=Point.from_bytes(listing.pk_a),
            pk_b=Point.from_bytes(order.terms.pk_b),
        )
    except BridgeError:
        return None
    same = (frag.kfrag_id, frag.u1.to_bytes(), frag.x_a.to_bytes()) == (share.kfrag_id, share.u1, approval.precursor)
    return to_chain_proof(verified) if same else None


def _none() -> InputError:
    return InputError(
        "trade.no-challenge", "no challenge of this order waits for an answer", hint="asset-bridge status"
    )
