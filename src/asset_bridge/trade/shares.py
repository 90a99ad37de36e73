"""An order's shares, made and sealed to TEE nodes: what `approve`, `regenerate` and `reseal` have in common (protocol §4.2, §7).

Promises: a share is sealed only to a node that this provider's policy accepted after a fresh challenge, and only to the key that this
node signed for this order; the same arguments give the same shares, so nothing secret is stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from asset_bridge.attestation.appraise import Accepted, Appraisal, Rejected
from asset_bridge.attestation.choose import choose_nodes
from asset_bridge.attestation.refusal import Refusal
from asset_bridge.chain.keys import address_bytes
from asset_bridge.chain.records import ApprovedSlot, Asset, At, Node, NodeKind, Order
from asset_bridge.errors import BridgeError, InputError
from asset_bridge.keys.derivation import AssetKeys, asset_keys, share_randomness
from asset_bridge.keys.hpke import seal_kfrag
from asset_bridge.keys.kem import SharePublicKey
from asset_bridge.keys.secp256k1 import Point
from asset_bridge.reencryption import VerifiedKeyFrag, generate_shares
from asset_bridge.trade.check_asset import container_id_of
from asset_bridge.trade.desk import Desk
from asset_bridge.trade.evidence import Examiner, OrderKey, challenge_all, take_order_key
from asset_bridge.trade.ports import TeeNode


@dataclass(frozen=True, slots=True)
class OwnedAsset:
    """An asset of this provider with the secrets that its tweak gives."""

    asset: Asset
    container_id: bytes
    tweak: bytes
    keys: AssetKeys

    def __repr__(self) -> str:
        return f"OwnedAsset(0x{self.asset.asset_id.hex()})"


@dataclass(frozen=True, slots=True)
class Holder:
    """A node that was accepted, and the key it made for the order."""

    node: Node
    tee: TeeNode
    accepted: Accepted
    order_key: OrderKey


@dataclass(frozen=True, slots=True)
class RefusedNode:
    """A node that gets no share, and why."""

    node_id: bytes
    codes: tuple[str, ...]
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Generation:
    """All shares of an order, made once: `slots[i]` is sealed to `holders[i]`, and any `threshold` of them open."""

    number: int
    threshold: int
    precursor: bytes
    slots: tuple[ApprovedSlot, ...]
    holders: tuple[Holder, ...]
    refused: tuple[RefusedNode, ...]

    def node_ids(self) -> tuple[bytes, ...]:
        """Who holds a share, by slot."""
        return tuple(holder.node.node_id for holder in self.holders)


def owned_asset(desk: Desk, asset: Asset) -> OwnedAsset:
    """Derive an asset's secrets and see that they are the listed ones.

    Raises:
        InputError(vault.no-tweak), UnavailableError(vault.second-place): the tweak is gone or not at hand.
        InputError(trade.other-seed): this home's seed gives other keys than the listing has.
    """
    container_id = container_id_of(asset)
    tweak = desk.vault.tweaks.get(container_id).reveal()
    keys = asset_keys(desk.vault.provider_seed.reveal(), tweak, container_id)
    listed = (asset.listing.pk_a, asset.listing.kfrag_signer)
    if (keys.delegating.public_key().to_bytes(), keys.signer.public_key().to_bytes()) != listed:
        raise InputError(
            "trade.other-seed",
            "this home's seed and tweak do not give the keys of the listing",
            hint="use the home that published the asset, or restore it from its backup",
        )
    return OwnedAsset(asset, container_id, tweak, keys)


def make_generation(
    desk: Desk,
    owned: OwnedAsset,
    order: Order,
    examiner: Examiner,
    number: int,
    threshold: int | None,
    shares: int | None,
) -> Generation:
    """Choose nodes by the provider's policy, make the shares of a generation and seal each to its node; nothing is sent.

    Args:
        threshold, shares: the policy's where None.
    Raises:
        what `choose_holders` raises.
    """
    threshold = threshold if threshold is not None else examiner.policy.threshold
    shares = shares if shares is not None else examiner.policy.shares
    holders, refused = choose_holders(desk, examiner, order.order_id, threshold, shares)
    made = make_shares(desk, owned, order.order_id, order.terms.pk_b, number, threshold, shares)
    slots = tuple(
        seal_share(share, order.order_id, number, slot, holder.order_key)
        for slot, (share, holder) in enumerate(zip(made, holders, strict=True))
    )
    precursor = made[0].published().x_a.to_bytes()
    return Generation(number, threshold, precursor, slots, tuple(holders), tuple(refused))


def make_shares(
    desk: Desk, owned: OwnedAsset, order_id: bytes, pk_b: bytes, generation: int, threshold: int, shares: int
) -> list[VerifiedKeyFrag]:
    """The order's shares, by slot; equal arguments give equal shares."""
    randomness = share_randomness(
        desk.vault.provider_seed.reveal(), owned.tweak, owned.container_id, order_id, generation, threshold, shares
    )
    return generate_shares(owned.keys.delegating, Point.from_bytes(pk_b), owned.keys.signer, threshold, randomness)


def seal_share(share: VerifiedKeyFrag, order_id: bytes, generation: int, slot: int, key: OrderKey) -> ApprovedSlot:
    """One share, sealed to the key that its node made for the order."""
    public = share.published()
    u1, precursor = public.u1.to_bytes(), public.x_a.to_bytes()
    kem_key = SharePublicKey.from_bytes(key.kem_key)
    sealed = seal_kfrag(
        kem_key,
        share.rk,
        order_id=order_id,
        generation=generation,
        slot=slot,
        kfrag_id=public.kfrag_id,
        u1=u1,
        x_a=precursor,
        node_id=key.node_id,
        epoch=key.epoch,
    )
    return ApprovedSlot(
        kfrag_id=public.kfrag_id,
        u1=u1,
        receiver_signature=public.receiver_signature,
        node_id=key.node_id,
        epoch=key.epoch,
        kem_key_digest=kem_key.digest(),
        order_key_expires_at=key.expires_at,
        order_key_signature=key.signature,
        sealed_rk=sealed,
    )


def examine(desk: Desk, examiner: Examiner, nodes: Sequence[Node]) -> tuple[list[Appraisal], dict[bytes, TeeNode]]:
    """Challenge nodes; one that cannot even be reached is simply not among the answers of the second value."""
    pairs, unreachable = [], []
    for node in nodes:
        try:
            pairs.append((desk.connect_tee(node), node))
        except BridgeError as error:
            unreachable.append(_no_answer(node, error))
    verdicts = [*challenge_all(pairs, examiner), *unreachable]
    return verdicts, {node.node_id: tee for tee, node in pairs}


def _no_answer(node: Node, error: BridgeError) -> Rejected:
    return Rejected(node.node_id, address_bytes(node.operator), (Refusal.NO_ANSWER,), error.code)


def choose_holders(
    desk: Desk, examiner: Examiner, order_id: bytes, threshold: int, shares: int, *, at: At = At.FINAL
) -> tuple[list[Holder], list[RefusedNode]]:
    """Challenge every TEE node whose epoch lasts, choose by policy, take their order keys; a node that fails at the last step is replaced.

    Raises:
        RefusedError(attestation.policy-nobody, attestation.too-few): the policy leaves fewer than `shares` nodes; each is named.
    """
    now_at = desk.reader.block(at).timestamp  # nodes that are not live are asked too, so that the report names why
    nodes = {node.node_id: node for node in desk.reader.nodes(NodeKind.TEE, at) if node.current.expires_at > now_at}
    verdicts, tees = examine(desk, examiner, list(nodes.values()))
    failed: list[RefusedNode] = []
    while True:
        choice = choose_nodes(examiner.policy, verdicts, threshold, shares)
        holders: list[Holder] = []
        for accepted in choice.chosen:
            node, tee = nodes[accepted.node_id], tees[accepted.node_id]
            try:
                key = take_order_key(tee, accepted, node, order_id, reader=desk.reader, now=desk.clock())
            except BridgeError as error:
                failed.append(RefusedNode(node.node_id, (error.code,), error.message))
                verdicts = [verdict for verdict in verdicts if verdict.node_id != node.node_id]
                break
            holders.append(Holder(node, tee, accepted, key))
        else:
            refused = [
                RefusedNode(r.node_id, tuple(code.value for code in r.codes), r.sentence()) for r in choice.refused
            ]
            return holders, refused + failed
