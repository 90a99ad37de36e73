"""What the stories need from the wires, as Protocols. Real adapters and in-memory twins both satisfy these.

Source: design §2, protocol §2–§8. Every method raises only `asset_bridge.errors`. Methods that act (`Account…`) return when the
transaction is in a block; retrying the same call with the same arguments has one effect (idempotent by id and by a journal that
is written before sending). Readers return records that were checked (chain/records.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from asset_bridge.chain.records import (
    AcceptSignature,
    AccountChange,
    Ack,
    Approval,
    ApprovedSlot,
    Asset,
    At,
    BlockRef,
    DeliveryReceipt,
    DestroyedReceipt,
    FetchSignature,
    Listing,
    Node,
    NodeKind,
    Offer,
    Order,
    Periods,
    Profile,
    ProviderAccount,
    RequestTerms,
    Sent,
    StorageReceipt,
    Vendor,
)

RandBytes = Callable[[int], bytes]
Progress = Callable[[str, int, int], None]
"""Called with (step, done_bytes, total_bytes)."""


class Signer(Protocol):
    """An account's key. `sign_digest` gives 65 bytes r ‖ s ‖ v with low s; chain.keys.AccountKey is one."""

    @property
    def address(self) -> str: ...
    def sign_digest(self, digest: bytes) -> bytes: ...


class ChainReader(Protocol):
    """Reads the contracts. `at=At.FINAL` reads a finalized block on which the configured endpoints agree (design §6)."""

    @property
    def chain_id(self) -> int: ...
    @property
    def exchange(self) -> str: ...
    @property
    def ledger(self) -> str: ...
    @property
    def registry(self) -> str: ...
    @property
    def is_development(self) -> bool: ...
    def block(self, at: At = At.HEAD) -> BlockRef: ...
    def asset(self, asset_id: bytes, at: At = At.HEAD) -> Asset: ...
    def assets(self, *, provider: str | None = None, at: At = At.HEAD) -> list[Asset]: ...
    def profile(self, provider: str, at: At = At.HEAD) -> Profile | None: ...
    def provider_account(self, provider: str, at: At = At.HEAD) -> ProviderAccount: ...
    def order(self, order_id: bytes, at: At = At.HEAD) -> Order: ...
    def orders(
        self,
        *,
        provider: str | None = None,
        consumer: str | None = None,
        asset_id: bytes | None = None,
        at: At = At.HEAD,
    ) -> list[Order]: ...
    def node(self, node_id: bytes, at: At = At.HEAD) -> Node: ...
    def nodes(self, kind: NodeKind | None = None, at: At = At.HEAD) -> list[Node]: ...
    def coins_wei(self, account: str) -> int:
        """The account's own native coins."""
        ...

    def balance_wei(self, account: str, token: str) -> int:
        """What `account` can claim from the Exchange (the stored amount + 1 already undone)."""
        ...

    def minimum_periods(self) -> Periods: ...
    def margin_seconds(self) -> int: ...
    def grace_seconds(self) -> int: ...
    def asset_id_of(self, provider: str, listing: Listing) -> bytes: ...
    def order_id_of(self, consumer: str, terms: RequestTerms) -> bytes: ...


class ChainAccount(Protocol):
    """A reader that can also act for one account. `address` is EIP-55."""

    @property
    def address(self) -> str: ...
    @property
    def reader(self) -> ChainReader: ...

    # AssetLedger
    def set_profile(self, document_digest: bytes, payee: str, recovery: str) -> Sent: ...
    def propose_change(self, provider: str, owner: str, payee: str, recovery: str) -> Sent: ...
    def cancel_change(self, provider: str) -> Sent: ...
    def apply_change(self, provider: str, change: AccountChange) -> Sent: ...
    def list_asset(self, listing: Listing) -> tuple[bytes, Sent]: ...
    def set_offer(self, asset_id: bytes, offer: Offer) -> Sent: ...
    def retire(self, asset_id: bytes) -> Sent: ...
    # Exchange
    def open_balance(self, token: str) -> Sent | None: ...
    def request(self, terms: RequestTerms) -> tuple[bytes, Sent]: ...
    def approve(self, order_id: bytes, approval: Approval) -> Sent: ...
    def deny(self, order_id: bytes, reply_digest: bytes, reply_length: int) -> Sent: ...
    def cancel(self, order_id: bytes) -> Sent: ...
    def pay(self, order_id: bytes, accepts: Iterable[AcceptSignature]) -> Sent: ...
    def record_delivery(self, order_id: bytes, fetch: FetchSignature, receipts: Iterable[DeliveryReceipt]) -> Sent: ...
    def accept_delivery(self, order_id: bytes) -> Sent: ...
    def agree_refund_signature(self, order_id: bytes) -> bytes: ...
    def agree_refund(self, order_id: bytes, provider_signature: bytes, consumer_signature: bytes) -> Sent: ...
    def refund(self, order_id: bytes) -> Sent: ...
    def settle(self, order_id: bytes) -> Sent: ...
    def claim(self, token: str) -> Sent: ...
    def revoke(self, order_id: bytes) -> Sent: ...
    def reseal(self, order_id: bytes, slot: int, replacement: Approval, accept: AcceptSignature) -> Sent:
        """Same share, new order key: `replacement` holds exactly the one slot that changes."""
        ...

    def new_generation(self, order_id: bytes, approval: Approval, consumer_signature: bytes) -> Sent: ...
    def record_destroyed(self, order_id: bytes, destroyed: DestroyedReceipt) -> Sent: ...
    # NodeRegistry
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
    ) -> tuple[bytes, Sent]: ...
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
        """A new epoch of the same node_id; the epoch counts up by one."""
        ...

    def withdraw_node(self, node_id: bytes) -> Sent: ...


class BlockSource(Protocol):
    """Anything that serves blocks by CID. The bytes are verified against the CID before they are returned."""

    name: str

    def get_block(self, cid: bytes) -> bytes:
        """The block of a binary CID (36 bytes). UnavailableError: not here or down; TamperedError: wrong bytes."""
        ...


class BlockSink(Protocol):
    """The light node's block-addressed, resumable upload (spec/node-http.md)."""

    def upload(
        self, root: bytes, length: int, blocks: Callable[[bytes], bytes], purpose: str, progress: Progress | None
    ) -> None:
        """Put a file of `length` bytes with root CID `root` on r storage nodes; `blocks` yields a block by CID.

        Returns when it was put on r (at least 2) storage nodes and read back. Blocks already there are not sent again.
        """
        ...

    def storage_receipt(self, body_digest: bytes, length: int) -> StorageReceipt:
        """The light node's signed word about a body that `upload` finished. Unverified until trade/publish checked it."""
        ...


class TeeNode(Protocol):
    """One TEE node, over HTTP or in process. All answers are unverified until a named check."""

    name: str

    def evidence(self, nonce: bytes) -> bytes: ...
    def order_key(self, order_id: bytes) -> bytes: ...
    def accept(self, order_id: bytes, generation: int, slot: int) -> AcceptSignature: ...
    def accept_reseal(self, order_id: bytes, generation: int, slot: int, replacement: ApprovedSlot) -> AcceptSignature:
        """`Accept` for a share that is not on chain yet: `reseal` carries it (protocol §7)."""
        ...

    def reencrypt(self, order_id: bytes, fetch: FetchSignature) -> tuple[bytes, DeliveryReceipt, tuple[Ack, ...]]:
        """The 359-byte cfrag of this node's slot, its receipt, and the acks that hold the receipt."""
        ...

    def destroyed(self, order_id: bytes) -> list[DestroyedReceipt]: ...


class LightNode(BlockSource, BlockSink, Protocol):
    """A light node, over HTTP or in process."""

    def catalog(self) -> list[bytes]: ...
    def events(self, after_block: int) -> Iterator[dict[str, object]]: ...
    def follow(self, after_block: int, *, seconds: float) -> Iterator[dict[str, object]]:
        """Events after a block as they happen; UnavailableError when nothing came for `seconds`."""
        ...

    def reencrypt(
        self, order_id: bytes, fetch: FetchSignature
    ) -> list[tuple[bytes, bytes, DeliveryReceipt, tuple[Ack, ...]]]:
        """(node_id, cfrag, receipt, acks) of every slot that answered."""
        ...
