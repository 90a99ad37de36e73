"""The TEE node itself, without HTTP: evidence, order keys, acceptance, re-encryption, destruction.

Source: protocol §4.2, §4.3, §5.2 and §6; spec/node-http-tee.md. Satisfies `trade.ports.TeeNode`.
Promises: the numbered steps of each verb, in this order, with no answer that rests on an earlier one's "paid"; a cfrag leaves only after
its receipt lies where the consumer cannot undo it, and only if the order is still served at that moment.
Does not promise: durability; a restart loses keys, shares and cfrags on purpose.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from asset_bridge.attestation.binding import REGISTRATION_NONCE
from asset_bridge.attestation.configuration import OPERATOR_VIEW, ChainConfiguration
from asset_bridge.attesters import Attester
from asset_bridge.chain.ids import cfrag_digest
from asset_bridge.chain.keys import address_bytes
from asset_bridge.chain.messages import (
    Domain,
    accept_digest,
    fetch_digest,
    is_signed_by,
    order_key_digest,
    receipt_digest,
)
from asset_bridge.chain.records import (
    AcceptSignature,
    Ack,
    Approval,
    ApprovedSlot,
    DeliveryReceipt,
    DestroyedReceipt,
    FetchSignature,
    Order,
)
from asset_bridge.errors import InputError, RefusedError
from asset_bridge.nodes.tee import rules, shares
from asset_bridge.nodes.tee.acks import AckCollector, AckSource, is_recorded
from asset_bridge.nodes.tee.chain_view import ChainView, Seen
from asset_bridge.nodes.tee.destruction import Reaper, note_place
from asset_bridge.nodes.tee.identity import NodeIdentity
from asset_bridge.nodes.tee.order_keys import Limits, OrderKeys
from asset_bridge.nodes.tee.released import Made, MadeCfrags
from asset_bridge.reencryption import CapsuleFrag
from asset_bridge.trade.evidence import OrderKey
from asset_bridge.trade.ports import ChainReader
from asset_bridge.trade.register import configuration_aux, tee_binding

NONCE_BYTES = 32
MOST_SHARES = 16  # protocol §4.2


def no_ack_address(_document: bytes) -> str:
    """For a node that takes no acks of providers."""
    return ""


@dataclass(frozen=True, slots=True)
class TeeParts:
    """What a TEE node is made of. `readers`: one per chain endpoint. `clock`: Unix seconds."""

    readers: Sequence[ChainReader]
    identity: NodeIdentity
    attester: Attester
    configuration: ChainConfiguration | None
    acks: AckSource
    clock: Callable[[], float]
    randbytes: Callable[[int], bytes]
    ack_address_of: Callable[[bytes], str] = no_ack_address
    limits: Limits = field(default_factory=Limits)


class TeeNodeCore:
    """One TEE node. Safe to call from several threads."""

    def __init__(self, parts: TeeParts) -> None:
        """InputError(tee.readers | tee.exchange): the endpoints do not fit together, or the Exchange is not in the configuration."""
        self._parts, self._identity = parts, parts.identity
        self.view = ChainView(parts.readers, parts.clock)
        reader = self.view.reader
        if parts.configuration is not None and address_bytes(reader.exchange) not in parts.configuration.exchanges:
            raise InputError("tee.exchange", "the Exchange is not in this node's configuration", actor="operator")
        self._domain = Domain(reader.chain_id, reader.exchange)
        self._margin_seconds = reader.margin_seconds()
        self._keys = OrderKeys(parts.limits)
        self._made = MadeCfrags()
        self._acks = AckCollector(self.view, parts.acks, parts.randbytes, parts.ack_address_of)
        self._reaper = Reaper(self.view, self._keys, self._made, self._identity, self._domain)

    @property
    def name(self) -> str:
        """How people name this node: the first bytes of its id."""
        return f"0x{self._identity.node_id.hex()[:8]}"

    @property
    def tee(self) -> str:
        """tdx, sev-snp, nitro or simulated: in every answer."""
        return self._parts.attester.tee

    @property
    def measurement(self) -> str:
        """The measurement id under which the node is registered: in every answer."""
        return "0x" + self._identity.measurement_id.hex()

    @property
    def chain_view(self) -> str:
        """`attested` or `operator`."""
        configuration = self._parts.configuration
        return configuration.chain_view() if configuration else OPERATOR_VIEW

    def info(self) -> dict[str, object]:
        """What /v1/info says of this node."""
        reader = self.view.reader
        return {
            "kind": "tee",
            "node_id": "0x" + self._identity.node_id.hex(),
            "operator": self._identity.operator,
            "epoch": self._identity.epoch,
            "chain_id": reader.chain_id,
            "exchange": reader.exchange,
            "registry": reader.registry,
            "tee": self.tee,
            "measurement": self.measurement,
            "chain_view": self.chain_view,
            "order_keys": self._keys.count,
        }

    def registered(self) -> bool:
        """Whether the registry, at a finalized block, holds this node as live with this process's key."""
        return self.view.is_live(self._identity.node_id, self._identity.key.address)

    def evidence(self, nonce: bytes) -> bytes:
        """Fresh evidence for a challenge; RefusedError(tee.nonce) for a nonce that no challenge may have."""
        if len(nonce) != NONCE_BYTES or nonce == REGISTRATION_NONCE:
            raise RefusedError("tee.nonce", "a challenge has 32 random bytes")
        configuration = self._parts.configuration
        binding = tee_binding(
            self.view.reader,
            node_id=self._identity.node_id,
            operator=self._identity.operator,
            signing_address=self._identity.key.address,
            epoch=self._identity.epoch,
            nonce=nonce,
            configuration=configuration,
        )
        return self._parts.attester.collect(binding, configuration_aux(configuration))

    def order_key(self, order_id: bytes) -> bytes:
        """The key made for this order, signed (`trade.evidence.OrderKey`, 145 bytes)."""
        seen = self.view.order(order_id)
        rules.permit_key(seen)
        for held in self._keys.of(order_id):
            note_place(seen.order, held)  # a key that holds a share already is not given for another one
        key = self._keys.make(order_id, self._identity.epoch, seen.now_at, self._parts.randbytes)
        digest = order_key_digest(self._domain, order_id, self._identity.node_id, key.epoch, key.digest, key.expires_at)
        signature = self._identity.key.sign_digest(digest)
        made = OrderKey(self._identity.node_id, key.epoch, key.public.to_bytes(), key.expires_at, signature)
        return made.encode()

    def accept(self, order_id: bytes, generation: int, slot: int) -> AcceptSignature:
        """Open this slot's share as approved on chain, check it, and sign `Accept`."""
        seen = self.view.order(order_id)
        rules.permit_accept(seen)
        found = shares.find_slot(seen.order, generation, slot, self._identity, self._keys)
        found.key.generation, found.key.slot = generation, slot
        return self._accept(seen.order, found, shares.current_approval(seen.order, generation))

    def accept_reseal(self, order_id: bytes, generation: int, slot: int, replacement: ApprovedSlot) -> AcceptSignature:
        """As `accept`, for a blob that is not on chain yet: the same share, sealed to a key of this node (protocol §7, Reseal)."""
        seen = self.view.order(order_id)
        rules.permit_accept(seen)
        approval = shares.current_approval(seen.order, generation)
        if replacement.node_id != self._identity.node_id or not 0 <= slot < len(approval.slots):
            raise RefusedError("tee.no-slot", "the replacement is not for this node or for no slot of the order")
        old = approval.slots[slot]
        same = (old.kfrag_id, old.u1, old.receiver_signature)
        if (replacement.kfrag_id, replacement.u1, replacement.receiver_signature) != same:
            raise RefusedError("tee.share", "a reseal gives the same share to another key, and this is another share")
        key = shares.held_key(seen.order, replacement, self._identity, self._keys)
        return self._accept(seen.order, shares.Slot(generation, slot, replacement, key), approval)

    def accept_generation(
        self, order_id: bytes, generation: int, slot: int, share: ApprovedSlot, precursor: bytes
    ) -> AcceptSignature:
        """As `accept`, for a share of the next generation, which is not on chain yet (protocol §7)."""
        seen = self.view.order(order_id)
        rules.permit_accept(seen)
        approval = shares.next_approval(seen.order, generation, precursor)
        if share.node_id != self._identity.node_id or slot >= MOST_SHARES:
            raise RefusedError("tee.no-slot", "the share is not for this node or for no slot that an order can have")
        key = shares.held_key(seen.order, share, self._identity, self._keys)
        return self._accept(seen.order, shares.Slot(generation, slot, share, key), approval)

    def reencrypt(self, order_id: bytes, fetch: FetchSignature) -> tuple[bytes, DeliveryReceipt, tuple[Ack, ...]]:
        """The cfrag of this node's share with its receipt and what holds the receipt.

        1. the order, agreed at a finalized block, and at every head; 2. permission; 3. the slot and its live key;
        4. `Fetch` by the order's fetch signer; 5. cfrag and receipt together, once; 6. the receipt lies elsewhere;
        7. permission again, since step 6 took time; only then the cfrag.
        While a challenge of the delivery is open, the cfrag whose receipt the chain records is shown again, also after a revocation
        or the end date: nothing new is made, and without it who served would be fined for obeying.
        """
        seen = self.view.order(order_id)
        if (shown := self._released_before(seen, fetch)) is not None:
            return shown.cfrag, shown.receipt, ()
        rules.permit_release(seen, self._margin_seconds)
        slot = shares.find_slot(seen.order, fetch.generation, None, self._identity, self._keys)
        asked = self._check_fetch(seen.order, fetch)
        made = self._make(seen, slot, asked)
        acks = self._acks.collect(self._domain, seen.order, fetch, made.receipt, made.receipt_digest)
        again = self.view.order(order_id)
        rules.permit_release(again, self._margin_seconds)
        shares.find_slot(again.order, fetch.generation, slot.index, self._identity, self._keys)
        return made.cfrag, made.receipt, acks

    def destroyed(self, order_id: bytes) -> list[DestroyedReceipt]:
        """The `Destroyed` of each key of this order that had a slot and is gone, after looking whether it is time."""
        self._reaper.reap(order_id)
        return self._reaper.receipts(order_id)

    def sweep(self) -> int:
        """Destroy what has ended, drop cfrags nobody can ask for; how many keys went. Call it every few seconds."""
        return self._reaper.sweep()

    def close(self) -> None:
        """End of this process's service: every key is destroyed."""
        self._reaper.destroy_all()

    def _accept(self, order: Order, slot: shares.Slot, approval: Approval) -> AcceptSignature:
        shares.open_share(order, self.view.asset(order.terms.asset_id), approval, slot)
        unsigned = AcceptSignature(
            generation=slot.generation,
            slot=slot.index,
            kfrag_id=slot.approved.kfrag_id,
            kem_key_digest=slot.key.digest,
            node_id=self._identity.node_id,
            epoch=slot.approved.epoch,
            signature=b"",
        )
        signature = self._identity.key.sign_digest(accept_digest(self._domain, order.order_id, unsigned))
        return AcceptSignature(
            unsigned.generation,
            unsigned.slot,
            unsigned.kfrag_id,
            unsigned.kem_key_digest,
            unsigned.node_id,
            unsigned.epoch,
            signature,
        )

    def _check_fetch(self, order: Order, fetch: FetchSignature) -> bytes:
        """The digest of this order's `Fetch`, signed by its fetch signer."""
        digest = fetch_digest(self._domain, order.order_id, fetch.generation)
        if not is_signed_by(order.terms.fetch_signer, digest, fetch.signature):
            raise RefusedError(
                "tee.fetch-signature", "the request is not signed by the order's fetch signer", actor="consumer"
            )
        return digest

    def _released_before(self, seen: Seen, fetch: FetchSignature) -> Made | None:
        """The kept cfrag that a challenge asks for: its receipt is recorded at a finalized block, and answers this very `Fetch`."""
        kept = self._made.of(seen.order.order_id)
        if not kept or not rules.asks_again(seen):
            return None
        asked = self._check_fetch(seen.order, fetch)
        return next((m for m in kept if m.receipt.fetch_digest == asked and is_recorded(seen.order, m.receipt)), None)

    def _make(self, seen: Seen, slot: shares.Slot, asked: bytes) -> Made:
        order, name = seen.order, (seen.order.order_id, slot.generation, slot.index, slot.approved.kem_key_digest)
        known = self._made.get(name)
        if known is not None:
            return known
        asset = self.view.asset(order.terms.asset_id)
        approval = shares.current_approval(order, slot.generation)
        cfrag = shares.make_cfrag(shares.open_share(order, asset, approval, slot))
        slot.key.generation, slot.key.slot = slot.generation, slot.index
        return self._made.keep(name, self._receipt(seen, slot, cfrag.frag, asked))

    def _receipt(self, seen: Seen, slot: shares.Slot, frag: CapsuleFrag, asked: bytes) -> Made:
        unsigned = DeliveryReceipt(
            generation=slot.generation,
            slot=slot.index,
            kfrag_id=slot.approved.kfrag_id,
            cfrag_digest=cfrag_digest(slot.approved.kfrag_id, frag.e1.to_bytes(), frag.v1.to_bytes()),
            fetch_digest=asked,
            block_number=seen.final.number,
            block_hash=seen.final.hash,
            node_id=self._identity.node_id,
            epoch=slot.approved.epoch,
            signature=b"",
        )
        digest = receipt_digest(self._domain, seen.order.order_id, unsigned)
        receipt = replace(unsigned, signature=self._identity.key.sign_digest(digest))
        return Made(frag.to_bytes(), receipt, digest)
