"""One slot of one order: which key it is sealed to, what is inside, and what re-encryption makes of it.

Source: protocol §4.3 and §5.2, spec/node-http-tee.md §4. Promises: the capsule comes from the asset record of the order it was asked about
and from nowhere else; a share is used only after the consumer's own check passed on a trial cfrag.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from asset_bridge.chain.records import Approval, ApprovedSlot, Asset, Order
from asset_bridge.errors import RefusedError, TamperedError
from asset_bridge.keys.hpke import open_kfrag
from asset_bridge.keys.secp256k1 import Point
from asset_bridge.nodes.tee.identity import NodeIdentity
from asset_bridge.nodes.tee.order_keys import HeldKey, OrderKeys
from asset_bridge.reencryption import (
    Capsule,
    PublishedShare,
    VerifiedCapsuleFrag,
    VerifiedKeyFrag,
    accept_share,
    reencrypt,
)


@dataclass(frozen=True, slots=True)
class Slot:
    """A slot of the current generation that names this node, and the live key that it is sealed to."""

    generation: int
    index: int
    approved: ApprovedSlot
    key: HeldKey


def slots_of(approval: Approval, node_id: bytes) -> list[int]:
    """The slots that name this node."""
    return [index for index, slot in enumerate(approval.slots) if slot.node_id == node_id]


def find_slot(order: Order, generation: int, index: int | None, identity: NodeIdentity, keys: OrderKeys) -> Slot:
    """This node's slot of the order's current generation, with its live key.

    Raises:
        RefusedError: tee.not-approved, tee.generation, tee.no-slot, tee.key-destroyed.
    """
    approval = current_approval(order, generation)
    mine = slots_of(approval, identity.node_id)
    if not mine or (index is not None and index not in mine):
        raise RefusedError(
            "tee.no-slot", "this node holds no such share of the order", hint="ask the nodes of the approval"
        )
    chosen = mine[0] if index is None else index
    approved = approval.slots[chosen]
    return Slot(generation, chosen, approved, held_key(order, approved, identity, keys))


def current_approval(order: Order, generation: int) -> Approval:
    """The order's approval; RefusedError(tee.not-approved | tee.generation)."""
    approval = order.approval
    if approval is None:
        raise RefusedError("tee.not-approved", "the provider has not approved the order", actor="provider")
    if approval.generation != generation:
        raise RefusedError(
            "tee.generation", f"the order is in generation {approval.generation}", hint="read the order again"
        )
    return approval


def next_approval(order: Order, generation: int, precursor: bytes) -> Approval:
    """What the order's approval would be with the next generation of shares; RefusedError(tee.not-approved | tee.generation)."""
    return replace(current_approval(order, generation - 1), generation=generation, precursor=precursor)


def held_key(order: Order, approved: ApprovedSlot, identity: NodeIdentity, keys: OrderKeys) -> HeldKey:
    """The live key a slot is sealed to; RefusedError(tee.key-destroyed), also for an epoch of an earlier start."""
    if not identity.holds(approved.epoch):
        raise RefusedError(
            "tee.key-destroyed",
            f"the share is sealed to epoch {approved.epoch} of this node, which ended when it started anew",
            hint="the provider can give the share to a new key: asset-bridge reseal ORDER",
            actor="provider",
        )
    return keys.find(order.order_id, approved.kem_key_digest)


@dataclass(frozen=True, slots=True)
class OpenedShare:
    """A share that passed every check, and the capsule of the asset's record with which it did."""

    kfrag: VerifiedKeyFrag
    capsule: Capsule


def open_share(order: Order, asset: Asset, approval: Approval, slot: Slot) -> OpenedShare:
    """Open the sealed share and make every check of protocol §4.3.

    Raises:
        RefusedError(tee.blob): it does not open under this key and context. RefusedError(tee.share): what it holds is junk.
    """
    approved, secret = slot.approved, slot.key.secret
    if secret is None:
        raise RefusedError("tee.key-destroyed", "the key that this share is sealed to was destroyed", actor="provider")
    # Everything that the checks below look at. The same of it gives the same share, so it is opened and checked once in a key's life.
    about = (order.order_id, order.terms.pk_b, slot.generation, slot.index, approved, approval.precursor, asset.listing)
    known = slot.key.opened
    if known is not None and known[0] == about and isinstance(known[1], OpenedShare):
        return known[1]
    try:
        rk = open_kfrag(
            secret,
            approved.sealed_rk,
            order_id=order.order_id,
            generation=slot.generation,
            slot=slot.index,
            kfrag_id=approved.kfrag_id,
            u1=approved.u1,
            x_a=approval.precursor,
            node_id=approved.node_id,
            epoch=approved.epoch,
        )
    except TamperedError as error:
        raise _junk("tee.blob", "the sealed share does not open", error) from None
    listing = asset.listing
    try:
        capsule = Capsule.from_bytes(listing.capsule)
        kfrag = accept_share(
            rk=rk,
            share=PublishedShare.from_fields(
                approved.kfrag_id, approved.u1, approval.precursor, approved.receiver_signature
            ),
            pk_a=Point.from_bytes(listing.pk_a),
            pk_b=Point.from_bytes(order.terms.pk_b),
            signer=Point.from_bytes(listing.kfrag_signer),
            capsule=capsule,
        )
    except TamperedError as error:
        raise _junk("tee.share", "the share does not do what its public part says", error) from None
    share = OpenedShare(kfrag, capsule)
    slot.key.opened = (about, share)
    if slot.key.secret is None:  # destroyed meanwhile: nothing of it may stay
        slot.key.opened = None
        raise RefusedError("tee.key-destroyed", "the key that this share is sealed to was destroyed", actor="provider")
    return share


def make_cfrag(share: OpenedShare) -> VerifiedCapsuleFrag:
    """The cfrag of the asset's own capsule."""
    return reencrypt(share.capsule, share.kfrag)


def _junk(code: str, what: str, error: TamperedError) -> RefusedError:
    return RefusedError(
        code, f"{what} ({error.code})", hint="the provider must approve again or reseal this slot", actor="provider"
    )
