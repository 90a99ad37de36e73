"""A provider in a script: open a home, publish, read the inbox, approve.

with Provider.open("~/hospital", passphrase_from_file(Path("passphrase"))) as provider:
    asset = provider.publish("export/", description=Description("Cohort", "…"), terms="…", price_wei=10**17)
    for item in provider.inbox():
        provider.approve(item.order_id, policy="policy.toml")
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from asset_bridge.attestation.policy import NOBODY, Policy
from asset_bridge.chain.keys import AccountKey, address_bytes
from asset_bridge.chain.records import ZERO32, ZERO_ADDRESS, Offer, Order, OrderState, Periods, Sent
from asset_bridge.client.examine import examiner_of
from asset_bridge.client.results import Approved, ChosenNode, Proposed, Regenerated, Resealed, Revoked
from asset_bridge.client.session import Session
from asset_bridge.errors import InputError
from asset_bridge.ipfs.kubo.own import KuboPlace
from asset_bridge.trade import answer
from asset_bridge.trade import approve as approve_story
from asset_bridge.trade import inbox as inbox_story
from asset_bridge.trade import publish as publish_story
from asset_bridge.trade import regenerate as regenerate_story
from asset_bridge.trade import reseal as reseal_story
from asset_bridge.trade import retire as retire_story
from asset_bridge.trade import revoke as revoke_story
from asset_bridge.trade import shred as shred_story
from asset_bridge.trade import unpin_asset as unpin_story
from asset_bridge.trade.check_approval import collect_accepts
from asset_bridge.trade.desk import short
from asset_bridge.trade.documents.description import Description
from asset_bridge.trade.documents.form import Attachment
from asset_bridge.trade.documents.new_generation import decode_new_generation
from asset_bridge.trade.evidence import VENDOR_NAMES, Examiner
from asset_bridge.trade.offers import set_offer
from asset_bridge.trade.preview import PublicView, preview
from asset_bridge.trade.profile import name_ack_endpoint
from asset_bridge.trade.publish_sweep import sweep
from asset_bridge.trade.shares import RefusedNode
from asset_bridge.vault.passphrase import Passphrase

ACK_ACCOUNT = "ack"
"""The home's account whose key acknowledges receipts; it holds no coins."""
ACCEPT_TRIES = 15
DESTROYED_TRIES = 6
DEFAULT_PERIODS = Periods(30 * 86_400, 14 * 86_400, 72 * 3_600, 72 * 3_600, 48 * 3_600, 365 * 86_400)  # protocol §8


@dataclass(frozen=True, slots=True)
class InboxItem:
    """A request as a page: `application` is what the consumer wrote by `template`, `problem` why it cannot be approved."""

    order: Order
    asset_title: str
    application: dict[str, Any] | None
    attachments: tuple[Attachment, ...]
    problem: str
    template: dict[str, Any] = field(default_factory=dict)

    @property
    def order_id(self) -> bytes:
        """The order's id."""
        return self.order.order_id


class Provider(Session):
    """The verbs of a data provider."""

    def default_periods(self) -> Periods:
        """The deadlines of protocol §8."""
        return DEFAULT_PERIODS

    def _plan(
        self,
        path: Path | str,
        *,
        description: Description,
        terms: str,
        price_wei: int,
        token: str = ZERO_ADDRESS,
        periods: Periods | None = None,
        on_chain: bool = False,
        supersedes: bytes | None = None,
        legal_name: str = "",
        crypt4gh_key: bytes | None = None,
        kubo: KuboPlace | None = None,
    ) -> publish_story.Plan:
        return publish_story.Plan(
            path=Path(path),
            description=description,
            terms=terms,
            offer=Offer(price_wei, token, ZERO32, periods or DEFAULT_PERIODS),
            on_chain=on_chain,
            supersedes=supersedes or ZERO32,
            legal_name=legal_name,
            crypt4gh_key=crypt4gh_key,
            kubo=kubo,
        )

    def preview(self, path: Path | str, **plan: Any) -> PublicView:
        """What `publish` with the same arguments would make public; nothing is written or sent."""
        return preview(self.desk, self._plan(path, **plan))

    def publish(self, path: Path | str, **plan: Any) -> publish_story.Published:
        """Seal a file or folder, upload the ciphertext, list it.

        Args: description, terms, price_wei; optional token, periods, on_chain, supersedes, legal_name,
            crypt4gh_key (the secret key of a Crypt4GH file, which is sealed as what it holds),
            kubo (a kubo of your own, which takes the ciphertext while it is sealed and keeps it pinned).
        """
        return publish_story.publish(self.desk, self._plan(path, **plan), self.home.work_folder)

    def clean_up(self) -> list[str]:
        """Delete what a publish that was killed while it sealed has left, here and in a kubo; a sentence on each thing that was found."""
        return sweep(self.desk, self.home.work_folder)

    def unfinished(self) -> list[str]:
        """Publications that were sealed and not listed."""
        return publish_story.unfinished(self.desk)

    def resume_publish(self, name: str) -> publish_story.Published:
        """Go on with one of `unfinished`."""
        return publish_story.resume(self.desk, name, self.home.work_folder)

    def inbox(self) -> list[InboxItem]:
        """Requests that wait for an answer."""
        return [
            InboxItem(item.order, item.title, item.application, item.attachments, item.problem, item.template)
            for item in inbox_story.inbox(self.desk)
        ]

    def _examiner(self, policy: Policy | Path | str | None) -> Examiner:
        return examiner_of(self.desk, self.home, policy)

    def approve(
        self,
        order_id: bytes,
        *,
        policy: Policy | Path | str | None = None,
        reply: str = "",
        threshold: int | None = None,
        shares: int | None = None,
        wait: bool = True,
    ) -> Approved:
        """Approve a request; `policy` names the TEE nodes to trust (the home's policy.toml by default).

        Without `wait` it returns when the approval is on chain; `accepted` is then 0, and `accepted(order_id)` counts later.
        """
        examiner = self._examiner(policy)
        done = approve_story.approve(self.desk, order_id, examiner, threshold=threshold, shares=shares, reply=reply)
        chosen = tuple(self._chosen(node_id, examiner.policy) for node_id in done.chosen)
        refused, names = self._turned_down(done.refused, examiner.policy)
        sent = (done.sent,) if done.sent is not None else ()
        accepted = self.accepted(order_id) if wait else 0
        return Approved(order_id, done.threshold, chosen, refused, accepted, sent, names)

    def _chosen(self, node_id: bytes, policy: Policy) -> ChosenNode:
        node = self.chain.node(node_id)
        vendor = VENDOR_NAMES[node.current.vendor]
        return ChosenNode(node_id, short(node_id), node.operator, vendor, self._known_as(node_id, policy))

    def _known_as(self, node_id: bytes, policy: Policy) -> str:
        """What the policy calls the node's operator; empty for one that it does not name."""
        return policy.operators.get(address_bytes(self.chain.node(node_id).operator), "")

    def _turned_down(
        self, nodes: Sequence[RefusedNode], policy: Policy
    ) -> tuple[tuple[tuple[str, tuple[str, ...]], ...], dict[str, str]]:
        """(short id, codes) of nodes that get no share, and what the policy calls each."""
        refused = tuple((short(node.node_id), node.codes) for node in nodes)
        return refused, {short(node.node_id): self._known_as(node.node_id, policy) for node in nodes}

    def accepted(self, order_id: bytes) -> int:
        """How many nodes opened their share; they look at a finalized block, so this waits a little for all of them."""
        found = 0
        for _ in range(ACCEPT_TRIES):
            order = self.chain.order(order_id)
            if order.state is not OrderState.APPROVED or order.approval is None:
                break
            found = len(collect_accepts(self.desk, order).accepts)
            if found >= len(order.approval.slots):
                break
            self.desk.pause()
        return found

    def deny(self, order_id: bytes, reply: str = "") -> Sent:
        """Refuse a request."""
        return answer.deny(self.desk, order_id, reply)

    def reseal(
        self, order_id: bytes, *, policy: Policy | Path | str | None = None, slots: tuple[int, ...] | None = None
    ) -> Resealed:
        """Give lost shares to their nodes' new keys. Nothing lost: an empty result."""
        try:
            examiner = self._examiner(policy)
            done = reseal_story.reseal(self.desk, order_id, examiner, slots)
        except InputError as error:
            if error.code == "trade.nothing-lost":
                return Resealed(order_id, (), (), ())
            raise
        approval = self.chain.order(order_id).approval
        held = approval.slots if approval is not None else ()
        failed = tuple((short(node.node_id), node.codes) for node in done.failed)
        names = {short(slot.node_id): self._known_as(slot.node_id, examiner.policy) for slot in held}
        return Resealed(order_id, tuple((slot, held[slot].node_id) for slot in done.slots), failed, done.sent, names)

    def regenerate(
        self,
        order_id: bytes,
        *,
        policy: Policy | Path | str | None = None,
        threshold: int | None = None,
        shares: int | None = None,
        wait: bool = True,
    ) -> Regenerated:
        """Replace all shares of an order that is approved and not paid; for a paid one `propose_shares`. `wait` as in `approve`."""
        examiner = self._examiner(policy)
        done = regenerate_story.regenerate(self.desk, order_id, examiner, threshold=threshold, shares=shares)
        return self._regenerated(done, examiner.policy, self.accepted(order_id) if wait else 0)

    def propose_shares(
        self,
        order_id: bytes,
        *,
        policy: Policy | Path | str | None = None,
        threshold: int | None = None,
        shares: int | None = None,
    ) -> Proposed:
        """New shares of a paid order, for its consumer to agree to (`Consumer.consent`); nothing is sent."""
        examiner = self._examiner(policy)
        made = regenerate_story.propose(self.desk, order_id, examiner, threshold=threshold, shares=shares)
        document, known = made.document, examiner.policy
        refused, names = self._turned_down(made.refused, known)
        return Proposed(
            order_id,
            document.generation,
            document.threshold,
            tuple(self._chosen(slot.node_id, known) for slot in document.slots),
            refused,
            document.encode(),
            document.expires_at(),
            names,
        )

    def regenerate_agreed(self, document: bytes) -> Regenerated:
        """Send the new shares of a document that `Consumer.consent` made."""
        agreed = decode_new_generation(document)
        done = regenerate_story.regenerate_agreed(self.desk, agreed)
        policy = self._examiner(None).policy if self.home.policy_path.exists() else NOBODY  # only for the nodes' names
        return self._regenerated(done, policy, len(agreed.slots))

    def _regenerated(self, done: regenerate_story.Regenerated, policy: Policy, accepted: int) -> Regenerated:
        chosen = tuple(self._chosen(node_id, policy) for node_id in done.chosen)
        refused, names = self._turned_down(done.refused, policy)
        return Regenerated(
            done.order_id, done.generation, done.threshold, chosen, refused, accepted, (done.sent,), names
        )

    def revoking_loses_a_challenge(self, order_id: bytes) -> bool:
        """Whether the consumer could get his money back by a challenge that nobody could answer after a revocation."""
        return revoke_story.loses_a_challenge(self.desk, order_id)

    def revoke(self, order_id: bytes) -> Revoked:
        """Stop serving an order, and record which nodes say that their key is gone."""
        sent = [revoke_story.revoke(self.desk, order_id)]
        for _ in range(DESTROYED_TRIES):  # they refuse at once, but destroy their keys at a finalized block
            found = revoke_story.collect_destroyed(self.desk, order_id)
            sent += found.sent
            if not found.silent:
                break
            self.desk.pause()
        return Revoked(order_id, found.destroyed, found.ended, found.silent, tuple(sent))

    def retire(self, asset_id: bytes) -> Sent:
        """Take no new requests for an asset."""
        return retire_story.retire(self.desk, asset_id)

    def unpin(self, asset_id: bytes) -> tuple[list[dict[str, Any]], list[str]]:
        """Have a retired asset's ciphertext deleted from the storage nodes: verified receipts, and the names of those that were silent.

        Raises:
            InputError(trade.role | trade.not-retired): not this provider's asset, or still listed.
            InputError(trade.busy): an approved order can still be paid, or a paid one still relies on it.
        """
        return unpin_story.unpin_asset(self.desk, asset_id, self._peers.unpin)

    def shred(self, asset_id: bytes) -> shred_story.Shredded:
        """Make an asset unreadable for ever; run again where the certificate still names somebody silent."""
        return shred_story.shred(self.desk, asset_id, self._peers.unpin, self.desks_beside())

    def ack_endpoint(self, url: str, passphrase: Passphrase) -> tuple[str, Sent]:
        """Say in the profile that receipts of this provider's deliveries are acknowledged at `url`, by a key of this home that is made
        when it is first needed; an empty `url` says that nobody does. Gives the key's address.

        Raises:
            InputError(trade.no-profile): nothing was published yet.
        """
        vault, address = self.desk.vault, ""
        if url:
            made = ACK_ACCOUNT in vault.account_names
            key = vault.account(ACK_ACCOUNT) if made else vault.add_account(ACK_ACCOUNT, passphrase)
            address = AccountKey(key.reveal()).address
        return address, name_ack_endpoint(self.desk, address, url)

    def set_offer(
        self, asset_id: bytes, *, price_wei: int, terms: str | None = None, periods: Periods | None = None
    ) -> Sent:
        """Change price, terms or periods for future requests."""
        return set_offer(self.desk, asset_id, price_wei=price_wei, terms=terms, periods=periods)
