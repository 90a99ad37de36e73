"""Everything an account can do, as ABI calls: one class for the twin and for a real chain.

Source: spec/contracts.md §5; trade/ports.py `ChainAccount`. The preimages that a verb supplies come from the checked reader, never
from the caller's memory. How a call gets into a block is the subclass's `_transact`.
Promises: the same call with the same arguments has one effect where a verb can happen only once (`once`); verbs that may be
repeated (profile, offer, balance, claim) are sent again only after the earlier result was handed out.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence

from asset_bridge.chain import ids, packing
from asset_bridge.chain.disputes import Disputes
from asset_bridge.chain.fold import OrderFacts
from asset_bridge.chain.keys import AccountKey, address_bytes
from asset_bridge.chain.messages import Domain, to_compact
from asset_bridge.chain.packing import EpochArgs, KeyParts, address_account, uint
from asset_bridge.chain.payments import TokenPayments
from asset_bridge.chain.reader import Reader
from asset_bridge.chain.reasons import refused
from asset_bridge.chain.records import (
    ZERO32,
    ZERO_ADDRESS,
    AcceptSignature,
    AccountChange,
    Approval,
    ApprovedSlot,
    At,
    DeliveryReceipt,
    DestroyedReceipt,
    FetchSignature,
    Listing,
    NodeKind,
    Offer,
    RequestTerms,
    Sent,
    Vendor,
)
from asset_bridge.chain.submitting import Submitting
from asset_bridge.errors import InputError
from asset_bridge.keys.keccak import keccak

AGREEMENT_SECONDS = 30 * 86_400  # how long a signed agreement to a refund or a new generation may be used


class Actor(Disputes, TokenPayments, Submitting):
    """A ChainAccount; `reader` sees what it acts on."""

    def __init__(self, reader: Reader, key: AccountKey) -> None:
        self._reader, self._key = reader, key

    @property
    def address(self) -> str:
        """The account, EIP-55."""
        return self._key.address

    @property
    def reader(self) -> Reader:
        """The reader behind this account."""
        return self._reader

    def sign_digest(self, digest: bytes) -> bytes:
        """The account's 65-byte signature over a digest (for messages that travel elsewhere)."""
        return self._key.sign_digest(digest)

    @abstractmethod
    def _transact(
        self, verb: str, contract: str, function: str, args: Sequence[object], value_wei: int = 0, *, once: bool = True
    ) -> Sent:
        """Get the call into a block; RefusedError when the contract says no."""

    # ── AssetLedger ──
    def set_profile(self, document_digest: bytes, payee: str, recovery: str) -> Sent:
        """Set or change the profile document; payee and recovery stay what the first call set."""
        args = (self.address, document_digest, payee, recovery, b"")
        return self._transact("set_profile", "AssetLedger", "set_profile", args, once=False)

    def propose_change(self, provider: str, owner: str, payee: str, recovery: str) -> Sent:
        """Ask for another owner, payee or recovery account of `provider`; as its owner or its recovery account."""
        args = (provider, owner, payee, recovery, b"")
        return self._transact("propose_change", "AssetLedger", "propose_change", args, once=False)

    def cancel_change(self, provider: str) -> Sent:
        """Drop the change that waits; as the owner or the recovery account."""
        return self._transact("cancel_change", "AssetLedger", "cancel_change", (provider, b""), once=False)

    def apply_change(self, provider: str, change: AccountChange) -> Sent:
        """Make a change that has waited long enough take effect; anyone."""
        args = (provider, change.owner, change.payee, change.recovery)
        return self._transact("apply_change", "AssetLedger", "apply_change", args, once=False)

    def list_asset(self, listing: Listing) -> tuple[bytes, Sent]:
        """List; returns the asset's id."""
        offer = listing.offer
        args = (
            self.address,
            listing.header,
            listing.capsule,
            listing.package,
            packing.pack_keys(listing),
            listing.pq_commit,
            listing.body_digest,
            listing.body_length,
            listing.description_digest,
            (offer.price_wei, offer.token, offer.terms_digest, packing.pack_periods(offer.periods)),
            listing.supersedes,
            packing.pack_storage(listing.receipt),
        )
        if listing.on_chain_body:
            sent = self._transact("publish", "AssetLedger", "list_with_body", (*args, listing.on_chain_body, b""))
        else:
            sent = self._transact("publish", "AssetLedger", "list_asset", (*args, b""))
        return self._reader.asset_id_of(self.address, listing), sent

    def set_offer(self, asset_id: bytes, offer: Offer) -> Sent:
        """Another price, terms or periods for future requests."""
        asset = self._reader.asset(asset_id)
        card = packing.card_of(packing.key_parts(asset.listing))
        old, new = packing.offer_args(asset.offer, card), packing.offer_args(offer, card)
        return self._transact(
            "set_offer", "AssetLedger", "set_offer", (asset_id, asset.provider, old, new, b""), once=False
        )

    def retire(self, asset_id: bytes) -> Sent:
        """No new requests."""
        asset = self._reader.asset(asset_id)
        offer = packing.offer_args(asset.offer, packing.card_of(packing.key_parts(asset.listing)))
        args = (asset_id, asset.provider, packing.offer_hash(offer), b"")
        return self._transact("retire", "AssetLedger", "retire", args)

    # ── Exchange: before payment ──
    def request(self, terms: RequestTerms) -> tuple[bytes, Sent]:
        """Ask for an asset; returns the order's id, which is known before sending."""
        asset = self._reader.asset(terms.asset_id)
        offer = packing.offer_args(terms.offer, packing.card_of(packing.key_parts(asset.listing)))
        args = (
            terms.asset_id,
            asset.provider,
            offer,
            terms.fetch_signer,
            terms.pk_b[0],
            terms.pk_b[1:],
            terms.hybrid_key_digest,
            terms.form_digest,
            terms.form_length,
            terms.order_nonce,
            b"",
        )
        sent = self._transact("request", "Exchange", "request", args)
        return self._reader.order_id_of(self.address, terms), sent

    def _parts(self, facts: OrderFacts) -> KeyParts:
        return packing.key_parts(self._reader.asset(facts.terms.asset_id).listing)

    def approve(self, order_id: bytes, approval: Approval) -> Sent:
        """Hand out the first generation of shares."""
        facts = self._reader.facts(order_id)
        args = (
            order_id,
            facts.terms,
            self._parts(facts),
            approval.threshold,
            approval.precursor,
            pack_shares(approval.slots),
            pack_sealed_shares(approval.slots),
            approval.sealed_kpq,
            approval.reply_digest,
            approval.reply_length,
            b"",
        )
        return self._transact("approve", "Grants", "approve", args)

    def deny(self, order_id: bytes, reply_digest: bytes, reply_length: int) -> Sent:
        """Say no."""
        facts = self._reader.facts(order_id)
        args = (order_id, facts.terms, facts.card, reply_digest, reply_length, b"")
        return self._transact("deny", "Grants", "deny", args)

    def cancel(self, order_id: bytes) -> Sent:
        """Withdraw a request before payment."""
        facts = self._reader.facts(order_id)
        args = (order_id, facts.terms, facts.card, facts.table_hash, b"")
        return self._transact("cancel", "Exchange", "cancel", args)

    def expire(self, order_id: bytes) -> Sent:
        """Record that a request or an approval ran out."""
        return self._transact("expire", "Exchange", "expire", (order_id,))

    # ── Exchange: pay and deliver ──
    def pay(self, order_id: bytes, accepts: Iterable[AcceptSignature]) -> Sent:
        """The price into escrow, with at least t accepts; in a token by its permit, or by the allowance that `allow_payment` made."""
        facts = self._reader.facts(order_id)
        table = facts.table.pack() if facts.table else b""
        value_wei = facts.terms.price if facts.terms.token == ZERO_ADDRESS else 0
        permit = self._permit(order_id) or b""
        args = (order_id, facts.terms, facts.card, table, pack_accepts(accepts), permit, b"")
        return self._transact("pay", "Exchange", "pay", args, value_wei)

    def record_delivery(self, order_id: bytes, fetch: FetchSignature, receipts: Iterable[DeliveryReceipt]) -> Sent:
        """Record t receipts of one generation; this account is credited the recorder's fee."""
        facts = self._reader.facts(order_id)
        args = (order_id, facts.terms, facts.card, *self._delivery(facts, fetch, receipts))
        return self._transact("record_delivery", "Exchange", "record_delivery", args)

    def accept_receipts(self, order_id: bytes, fetch: FetchSignature, receipts: Iterable[DeliveryReceipt]) -> Sent:
        """`record_delivery` and `accept_delivery` in one call, by the consumer: about 40,000 gas less than both."""
        facts = self._reader.facts(order_id)
        args = (order_id, facts.terms, *self._card_parts(facts), *self._delivery(facts, fetch, receipts), b"")
        return self._transact("accept", "Exchange", "accept_receipts", args)

    def _delivery(
        self, facts: OrderFacts, fetch: FetchSignature, receipts: Iterable[DeliveryReceipt]
    ) -> tuple[object, ...]:
        """The arguments from table to recorder; this account is the recorder."""
        given = sorted(receipts, key=lambda r: r.slot)
        if facts.delivery:
            raise refused("exchange: wrong state")  # the contract could not even take the longer preimage
        table = facts.table_of(fetch.generation)
        packed, old_rows = b"", b""
        for r in given:
            row = facts.row_of(r.generation, r.slot, r.node_id, r.epoch)
            if table is None or row is None or r.generation != fetch.generation:
                raise _do_not_count_together()
            old = row != table.rows[r.slot]
            old_rows += row.pack() if old else b""
            head = uint(r.slot | (0x80 if old else 0), 1) + r.cfrag_digest + uint(r.block_number, 8) + r.block_hash
            packed += head + to_compact(r.signature)
        if table is None:
            raise _do_not_count_together()
        return (
            table.pack(),
            ZERO32 if table is facts.table else facts.table_hash,
            facts.progress,
            to_compact(fetch.signature),
            packed,
            old_rows,
            address_account(self.address),
        )

    # ── Exchange: after delivery ──
    def accept_delivery(self, order_id: bytes) -> Sent:
        """The consumer accepts before the windows end; settles at once."""
        return self._settle("accept", order_id)

    def settle(self, order_id: bytes) -> Sent:
        """Divide the escrow once the windows are over; anyone."""
        return self._settle("settle", order_id)

    def _settle(self, verb: str, order_id: bytes) -> Sent:
        facts = self._reader.facts(order_id)
        args = (order_id, facts.terms, *self._card_parts(facts), facts.table_hash, facts.progress, ZERO32, b"")
        return self._transact(verb, "Exchange", "settle", args)

    def _card_parts(self, facts: OrderFacts) -> tuple[bytes, bytes]:
        """Key commitment and credits: the preimages of the card."""
        listing = self._reader.asset(facts.terms.asset_id).listing
        parts, receipt = packing.key_parts(listing), listing.receipt
        commitment = packing.key_commitment(parts.points, listing.pk_a, parts.signer)
        return commitment, packing.pack_credits(receipt.light_node_id, receipt.storage_node_ids)

    def agree_refund_signature(self, order_id: bytes) -> bytes:
        """This account's half of an agreement to refund; valid for 30 days."""
        domain = self._reader.exchange_domain
        return self.authority(domain, "AgreeRefund", (order_id,), keccak(b"agree-refund" + order_id))

    def authority(self, domain: Domain, message: str, values: Sequence[object], nonce: bytes) -> bytes:
        """account ‖ nonce ‖ deadline ‖ signature: lets anyone submit the verb for this account, once."""
        deadline = self._reader.block().timestamp + AGREEMENT_SECONDS
        digest = domain.digest(message, *values, int.from_bytes(nonce, "big"), deadline)
        return address_bytes(self.address) + nonce + uint(deadline, 8) + self._key.sign_digest(digest)

    def agree_refund(self, order_id: bytes, provider_signature: bytes, consumer_signature: bytes) -> Sent:
        """Refund by agreement; an empty signature means that this account is that party."""
        facts = self._reader.facts(order_id)
        args = (order_id, facts.terms, facts.card, facts.table_hash, facts.progress_hash)
        return self._transact(
            "agree_refund", "Exchange", "agree_refund", (*args, provider_signature, consumer_signature)
        )

    def refund(self, order_id: bytes) -> Sent:
        """The price back when nothing was delivered in time; paid out at once when this account is the consumer."""
        facts = self._reader.facts(order_id)
        now = facts.terms.consumer == self.address
        return self._transact(
            "refund",
            "Exchange",
            "refund",
            (order_id, facts.terms, facts.card, facts.table_hash, facts.progress_hash, now),
        )

    def revoke(self, order_id: bytes) -> Sent:
        """No further cfrag for this order."""
        facts = self._reader.facts(order_id)
        args = (order_id, facts.terms, facts.card, facts.table_hash, facts.progress_hash, b"")
        return self._transact("revoke", "Grants", "revoke", args)

    # ── Exchange: shares ──
    def reseal(self, order_id: bytes, slot: int, replacement: Approval, accept: AcceptSignature) -> Sent:
        """The same share to a new order key; `replacement` holds exactly the one slot that changes."""
        facts = self._reader.facts(order_id)
        if len(replacement.slots) != 1 or facts.table is None:
            raise InputError("chain.reseal-one-slot", "A reseal changes exactly one slot of an approved order.")
        (new,) = replacement.slots
        packed = new.node_id + uint(new.epoch, 8) + new.kem_key_digest
        args = (order_id, facts.terms, facts.card, facts.table.pack(), facts.progress, slot, packed)
        rest = (_sealed_share(new), to_compact(accept.signature), b"")
        return self._transact("reseal", "Grants", "reseal", (*args, *rest))

    def new_generation_signature(self, order_id: bytes, approval: Approval) -> bytes:
        """The consumer's consent to a new generation of a paid order."""
        values = (order_id, *_generation(approval))
        nonce = keccak(b"regenerate" + order_id + uint(approval.generation, 4))
        return self.authority(self._reader.grants_domain, "Regenerate", values, nonce)

    def new_generation(
        self,
        order_id: bytes,
        approval: Approval,
        consumer_signature: bytes = b"",
        accepts: Iterable[AcceptSignature] = (),
    ) -> Sent:
        """Replace all shares; a paid order needs the consumer's signature and the new nodes' accepts."""
        facts = self._reader.facts(order_id)
        args = (order_id, facts.terms, self._parts(facts), facts.table_hash, facts.progress)
        rest = (*_generation(approval)[1:], pack_accepts(accepts), b"", consumer_signature)
        return self._transact("new_generation", "Grants", "regenerate", (*args, *rest))

    def record_destroyed(self, order_id: bytes, destroyed: DestroyedReceipt) -> Sent:
        """Record a node's word that its key is gone."""
        facts, given = self._reader.facts(order_id), destroyed
        table = facts.table_of(given.generation)
        row = facts.row_of(given.generation, given.slot, given.node_id, given.epoch, given.kem_key_digest)
        if table is None or row is None:
            raise InputError("chain.no-such-slot", "The order has no slot with this node, epoch and key.")
        old_row = b"" if row == table.rows[given.slot] else row.pack()
        current = ZERO32 if table is facts.table else facts.table_hash
        args = (order_id, facts.terms, facts.card, table.pack(), current, facts.progress_hash, given.slot)
        rest = (old_row, given.reason, to_compact(given.signature))
        return self._transact("record_destroyed", "Grants", "record_destroyed", (*args, *rest))

    # ── Exchange: money ──
    def open_balance(self, token: str, account: bytes | None = None) -> Sent | None:
        """Make the balance's slot; None when it is there already."""
        whose = address_account(self.address) if account is None else account
        reader = self._reader
        if any(reader.source.find({"BalanceOpened"}, reader.block(), token=token, account=whose)):
            return None
        return self._transact("open_balance", "Exchange", "open_balance", (token, whose), once=False)

    def claim(self, token: str, account: bytes | None = None) -> Sent:
        """Take out what this account (or a node it operates) is owed."""
        whose = address_account(self.address) if account is None else account
        return self._transact("claim", "Exchange", "claim", (token, whose, b""), once=False)

    # ── NodeRegistry ──
    def register_node(
        self,
        *,
        salt: bytes,
        kind: NodeKind,
        endpoint_digest: bytes,
        endpoint_length: int,
        signing_address: str,
        vendor: Vendor,
        measurement_id: bytes,
        platform_id: bytes,
        evidence_digest: bytes,
        expires_at: int,
        stake_wei: int,
    ) -> tuple[bytes, Sent]:
        """Register a node of this account; returns its id."""
        epoch = EpochArgs(
            endpoint_digest,
            endpoint_length,
            signing_address,
            int(vendor),
            measurement_id,
            platform_id,
            evidence_digest,
            expires_at,
        )
        sent = self._transact("register", "NodeRegistry", "register", (salt, int(kind), epoch, b""), stake_wei)
        return ids.node_id(self.address, salt), sent

    def renew_node(
        self,
        node_id: bytes,
        *,
        endpoint_digest: bytes,
        endpoint_length: int,
        signing_address: str,
        vendor: Vendor,
        measurement_id: bytes,
        platform_id: bytes,
        evidence_digest: bytes,
        expires_at: int,
    ) -> Sent:
        """A new epoch of the same node."""
        epoch = EpochArgs(
            endpoint_digest,
            endpoint_length,
            signing_address,
            int(vendor),
            measurement_id,
            platform_id,
            evidence_digest,
            expires_at,
        )
        return self._transact("renew", "NodeRegistry", "renew", (node_id, epoch, b""))

    def withdraw_node(self, node_id: bytes) -> Sent:
        """Leave; the stake comes back."""
        return self._transact("withdraw", "NodeRegistry", "withdraw", (node_id,))

    # ── the governor's verbs ──
    def govern(self, contract: str, function: str, *args: object) -> Sent:
        """A governor's call, such as govern("NodeRegistry", "list_measurement", vendor, measurement_id)."""
        return self._transact(function, contract, function, args, once=False)

    def is_owner_of(self, provider: str) -> bool:
        """Whether this account acts for `provider`."""
        return self._reader.owner_of(provider, At.HEAD) == self.address


def pack_shares(slots: Iterable[ApprovedSlot]) -> bytes:
    """`shares` of an approval."""
    return b"".join(s.node_id + uint(s.epoch, 8) + s.kfrag_id + s.u1 + s.kem_key_digest for s in slots)


def _sealed_share(slot: ApprovedSlot) -> bytes:
    return uint(slot.order_key_expires_at, 5) + to_compact(slot.order_key_signature) + slot.sealed_rk


def pack_sealed_shares(slots: Iterable[ApprovedSlot]) -> bytes:
    """`sealed_shares` of an approval."""
    return b"".join(to_compact(s.receiver_signature) + _sealed_share(s) for s in slots)


def pack_accepts(accepts: Iterable[AcceptSignature]) -> bytes:
    """`accepts` of `pay`, slots ascending."""
    ordered = sorted(accepts, key=lambda a: a.slot)
    return b"".join(uint(a.slot, 1) + to_compact(a.signature) for a in ordered)


def _generation(approval: Approval) -> tuple[object, ...]:
    shares, sealed = pack_shares(approval.slots), pack_sealed_shares(approval.slots)
    return approval.generation, approval.threshold, approval.precursor, shares, sealed


def _do_not_count_together() -> InputError:
    return InputError(
        "chain.receipts-do-not-count-together",
        "These receipts are not of one generation of shares that the order has had since it was paid.",
        hint="collect receipts of the same generation",
    )
