"""What a consumer shows to himself before he pays: that the approved key will open this capsule (protocol §4.4).

From the chain: ids recompute, the capsule's own check, the proof of W, every receiver-side signature, every subset of shares gives W, K_pq
opens and matches its commitment. From nodes: `Accept` of the slots, random blocks of the body from two replicas.
Promises: garbage shares that pass every proof of Umbral, a copied approval and a wrong K_pq are found out here, before any money moves.
Does not promise: that the content is what the description says (`agree_refund` is the remedy).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from asset_bridge.chain.messages import accept_digest, is_signed_by
from asset_bridge.chain.records import (
    ZERO_ADDRESS,
    AcceptSignature,
    Approval,
    ApprovedSlot,
    Asset,
    At,
    Node,
    Order,
)
from asset_bridge.errors import BridgeError, DefectError, RefusedError, TamperedError, UnavailableError
from asset_bridge.ipfs.multi import Failure
from asset_bridge.ipld.unixfs import body_cid
from asset_bridge.keys.file_key import check_pq_commit
from asset_bridge.keys.hpke import open_kpq
from asset_bridge.reencryption import HalfKey, PublishedShare, pre_payment_check
from asset_bridge.trade.check_asset import check_order_id, checked_asset, container_id_of
from asset_bridge.trade.desk import Desk, layer, short
from asset_bridge.trade.order_record import keys_of
from asset_bridge.trade.publish import listing_context

SAMPLE_BLOCKS = 64
SAMPLE_REPLICAS = 2


@dataclass(frozen=True, slots=True)
class OpeningKeys:
    """What the consumer alone can compute of an order: his half of the key, and K_pq."""

    asset: Asset
    approval: Approval
    half: HalfKey = field(repr=False)
    k_pq: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Acceptances:
    """`Accept` of the slots that gave one, and why the others did not."""

    accepts: tuple[AcceptSignature, ...]
    missing: tuple[tuple[bytes, str], ...]


def check_approval(desk: Desk, order: Order, at: At = At.FINAL) -> OpeningKeys:
    """Every check that the chain alone allows.

    Raises:
        TamperedError(trade.asset-id, trade.order-id, trade.order-changed): a chain endpoint lies.
        TamperedError(reencryption.*, keys.envelope, keys.pq-commit): the provider's approval does not open the asset.
    """
    check_order_id(desk.reader, order)
    keys = keys_of(desk, order)
    asset = checked_asset(desk.reader, order.terms.asset_id, at)
    approval, listing = order.approval, asset.listing
    if approval is None:
        raise DefectError("trade.no-approval", "an approved order came without its approval", actor="nobody")
    if not 2 <= approval.threshold <= len(approval.slots):  # the contract never takes such an approval
        raise TamperedError(
            "trade.threshold",
            f"layer approval: {len(approval.slots)} shares with a threshold of {approval.threshold} cannot have been approved",
            hint="use another chain endpoint and report this one",
            actor="chain endpoint",
        )
    container_id = container_id_of(asset)
    with layer("approval"):
        slots = [
            PublishedShare.from_fields(slot.kfrag_id, slot.u1, approval.precursor, slot.receiver_signature)
            for slot in approval.slots
        ]
        half = pre_payment_check(
            capsule=listing.capsule,
            pk_a=listing.pk_a,
            signer=listing.kfrag_signer,
            w=listing.w,
            proof=listing.w_proof,
            context=listing_context(desk, asset.provider, container_id),
            slots=slots,
            threshold=approval.threshold,
            receiving=keys.receiving,
        )
    try:
        k_pq = open_kpq(keys.hybrid, approval.sealed_kpq, order_id=order.order_id, pq_commit=listing.pq_commit)
    except TamperedError:
        raise TamperedError(
            "trade.sealed-kpq",
            "layer approval: the post-quantum half of the key does not open for this order",
            hint="do not pay; ask the provider to approve again",
            actor="provider",
        ) from None
    with layer("approval"):
        check_pq_commit(k_pq, container_id, listing.pq_commit)
    return OpeningKeys(asset, approval, half, k_pq)


def collect_accepts(desk: Desk, order: Order) -> Acceptances:
    """Ask each slot's node for its `Accept` and check it."""
    approval = order.approval
    accepts: list[AcceptSignature] = []
    missing: list[tuple[bytes, str]] = []
    for number, slot in enumerate(approval.slots if approval is not None else ()):
        node = desk.reader.node(slot.node_id, At.FINAL)  # a lie of the chain endpoint is not the node's failure
        try:
            generation = approval.generation if approval else 0
            accept = desk.connect_tee(node).accept(order.order_id, generation, number)
            if not is_acceptance(desk, order.order_id, generation, number, slot, node, accept):
                missing.append((slot.node_id, "trade.accept"))
                continue
        except BridgeError as error:
            missing.append((slot.node_id, error.code))
            continue
        accepts.append(accept)
    return Acceptances(tuple(accepts), tuple(missing))


def is_acceptance(
    desk: Desk, order_id: bytes, generation: int, number: int, slot: ApprovedSlot, node: Node, accept: AcceptSignature
) -> bool:
    """Whether this is the node's own `Accept` of exactly this share in slot `number`."""
    expected = (generation, number, slot.kfrag_id, slot.kem_key_digest, slot.node_id, slot.epoch)
    given = (accept.generation, accept.slot, accept.kfrag_id, accept.kem_key_digest, accept.node_id, accept.epoch)
    signers = {epoch.epoch: epoch.signing_address for epoch in (*node.epochs, node.current)}
    digest = accept_digest(desk.exchange_domain, order_id, accept)
    return given == expected and is_signed_by(signers.get(slot.epoch, ZERO_ADDRESS), digest, accept.signature)


def not_its_word() -> TamperedError:
    """What a node's answer is that is no `Accept` of the share it was asked about."""
    return TamperedError(
        "trade.accept",
        "layer approval: the node's acceptance is not its word about this share",
        hint="choose another node",
        actor="tee node",
    )


def require_accepts(found: Acceptances, minimum: int) -> None:
    """Raises UnavailableError(trade.accepts-missing) that names each node without `Accept`."""
    if len(found.accepts) < minimum:
        told = ", ".join(f"node {short(node_id)}: {code}" for node_id, code in found.missing)
        raise UnavailableError(
            "trade.accepts-missing",
            f"layer approval: {len(found.accepts)} of {minimum} needed nodes have accepted their share ({told})",
            hint="wait and run it again; the provider can give a silent node's share to a new key: asset-bridge reseal ORDER",
            actor="tee node",
        )


def sample_body(desk: Desk, asset: Asset) -> tuple[int, tuple[Failure, ...]]:
    """Ask storage nodes for random blocks of the body: how many replicas gave good ones, and who failed.

    Raises:
        RefusedError(trade.body-missing): fewer than two replicas are good, so the body may be gone after the payment.
    """
    listing = asset.listing
    if listing.on_chain_body:
        return 0, ()
    good, failures = desk.storage.sample(
        body_cid(listing.body_digest, listing.body_length), listing.body_length, SAMPLE_BLOCKS, desk.randbytes
    )
    if good < SAMPLE_REPLICAS:
        told = ", ".join(f"{failure.source}: {failure.code}" for failure in failures)
        raise RefusedError(
            "trade.body-missing",
            f"layer body: only {good} storage nodes gave good blocks of the ciphertext, {SAMPLE_REPLICAS} are needed ({told})",
            hint="do not pay yet; ask again later, or pay with --download-first once it can be downloaded",
            actor="storage node",
        )
    return good, failures
