"""What the chain knows, as values: the one vocabulary of contracts, twin, index and trade.

Source: spec/contracts.md. Pure values, no behaviour beyond small derived facts. Every record that a reader hands out was
checked by that reader: ids recompute, logs agree with storage commitments (spec/contracts.md, "Reading").
Does not promise: finality; that is the `at` argument of the reader.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum

ZERO_ADDRESS = "0x0000000000000000000000000000000000000000"
ZERO32 = bytes(32)


class At(StrEnum):
    """Where to read: the newest block, or the newest that the chain's finality rule calls final."""

    HEAD = "head"
    FINAL = "final"


class OrderState(IntEnum):
    """States of an order (protocol §7); the numbers are frozen in spec/contracts.md."""

    NONE = 0
    REQUESTED = 1
    APPROVED = 2
    DENIED = 3
    CANCELLED = 4
    EXPIRED = 5
    PAID = 6
    DELIVERED = 7
    REVOKED = 8
    REFUNDED = 9
    SETTLED = 10


class NodeKind(IntEnum):
    """Kinds of a node in the NodeRegistry."""

    LIGHT = 1
    TEE = 2
    STORAGE = 3


class Vendor(IntEnum):
    """Vendors of attestation evidence; SIMULATED reverts unless the deployment has the development flag."""

    NONE = 0
    TDX = 1
    SEV_SNP = 2
    NITRO = 3
    AZURE = 4
    TPM = 5
    SIMULATED = 255


@dataclass(frozen=True, slots=True)
class BlockRef:
    """A block. `timestamp` is its own, in Unix seconds."""

    number: int
    hash: bytes
    timestamp: int


@dataclass(frozen=True, slots=True)
class Periods:
    """The deadlines of protocol §8, in seconds, fixed in the order at request."""

    approve_seconds: int
    pay_seconds: int
    deliver_seconds: int
    window_seconds: int
    answer_seconds: int
    access_seconds: int


@dataclass(frozen=True, slots=True)
class Offer:
    """What a request must repeat exactly (I15). `token` is ZERO_ADDRESS for the native coin; `price_wei` its smallest unit."""

    price_wei: int
    token: str
    terms_digest: bytes
    periods: Periods


@dataclass(frozen=True, slots=True)
class StorageReceipt:
    """A light node's word that the body lies on these storage nodes and was read back (EIP-712 `StorageReceipt`)."""

    body_digest: bytes
    body_length: int
    storage_node_ids: tuple[bytes, ...]
    block_number: int
    light_node_id: bytes
    epoch: int
    signature: bytes


@dataclass(frozen=True, slots=True)
class Listing:
    """Everything a provider puts into `list` (protocol §3). Lengths: header 128, capsule 98, keys 33, digests 32."""

    header: bytes
    capsule: bytes
    package: bytes
    pk_a: bytes
    kfrag_signer: bytes
    w: bytes
    w_proof: bytes
    pq_commit: bytes
    body_digest: bytes
    body_length: int
    description_digest: bytes
    offer: Offer
    supersedes: bytes
    receipt: StorageReceipt
    on_chain_body: bytes = b""


@dataclass(frozen=True, slots=True)
class Asset:
    """A listed asset. `offer` is the current one, for future requests."""

    asset_id: bytes
    provider: str
    listing: Listing
    offer: Offer
    retired: bool
    busy_until: int
    listed_in: BlockRef


@dataclass(frozen=True, slots=True)
class Profile:
    """A provider's profile: digest of the profile document, payee and recovery account."""

    provider: str
    document_digest: bytes
    payee: str
    recovery: str


@dataclass(frozen=True, slots=True)
class AccountChange:
    """A change of an account that waits; anyone may apply it from `applies_at` (Unix seconds) on."""

    owner: str
    payee: str
    recovery: str
    applies_at: int


@dataclass(frozen=True, slots=True)
class ProviderAccount:
    """Who acts for a provider, who is paid, who can recover (zero: nobody), and the change that waits."""

    provider: str
    owner: str
    payee: str
    recovery: str
    change: AccountChange | None


@dataclass(frozen=True, slots=True)
class RequestTerms:
    """What a consumer puts into `request` (protocol §4.1). `pk_b` 33 bytes; digests and nonce 32 bytes."""

    asset_id: bytes
    pk_b: bytes
    hybrid_key_digest: bytes
    form_digest: bytes
    form_length: int
    offer: Offer
    order_nonce: bytes
    fetch_signer: str


@dataclass(frozen=True, slots=True)
class ApprovedSlot:
    """One slot of an approval: the public part of a kfrag, whom it is sealed to, and the sealed secret (80 bytes)."""

    kfrag_id: bytes
    u1: bytes
    receiver_signature: bytes
    node_id: bytes
    epoch: int
    kem_key_digest: bytes
    order_key_expires_at: int
    order_key_signature: bytes
    sealed_rk: bytes


@dataclass(frozen=True, slots=True)
class Approval:
    """What a provider puts into `approve` (protocol §4.2), or into a new generation."""

    generation: int
    threshold: int
    precursor: bytes
    slots: tuple[ApprovedSlot, ...]
    sealed_kpq: bytes
    reply_digest: bytes
    reply_length: int


@dataclass(frozen=True, slots=True)
class AcceptSignature:
    """A TEE node's EIP-712 `Accept` for one slot of one generation."""

    generation: int
    slot: int
    kfrag_id: bytes
    kem_key_digest: bytes
    node_id: bytes
    epoch: int
    signature: bytes


@dataclass(frozen=True, slots=True)
class FetchSignature:
    """The consumer's `Fetch`: one digest for a whole generation (protocol §1)."""

    generation: int
    signature: bytes


@dataclass(frozen=True, slots=True)
class DeliveryReceipt:
    """A TEE node's `Receipt` for one cfrag; `cfrag_digest` = keccak(kfrag id ‖ e1 ‖ v1), e1 and v1 compressed."""

    generation: int
    slot: int
    kfrag_id: bytes
    cfrag_digest: bytes
    fetch_digest: bytes
    block_number: int
    block_hash: bytes
    node_id: bytes
    epoch: int
    signature: bytes


@dataclass(frozen=True, slots=True)
class Ack:
    """A light node's (or the provider's profile key's, node_id zero) word that it holds a receipt durably."""

    receipt_digest: bytes
    node_id: bytes
    epoch: int
    signature: bytes


@dataclass(frozen=True, slots=True)
class DestroyedReceipt:
    """A TEE node's word that the order's private key no longer exists in it (protocol §6)."""

    generation: int
    slot: int
    kem_key_digest: bytes
    node_id: bytes
    epoch: int
    reason: int
    signature: bytes


@dataclass(frozen=True, slots=True)
class Order:
    """An order with all that its events carried. Deadlines are absolute, 0 where not yet fixed.

    `approval` is the current one, with what a reseal or a new generation changed; `reply_…` that of the approval or denial.
    `accepted` names (slot → node_id) of the `Accept` signatures given to `pay` or to a later reseal.
    """

    order_id: bytes
    consumer: str
    provider: str
    terms: RequestTerms
    state: OrderState
    requested_in: BlockRef
    approve_by: int
    pay_by: int
    deliver_by: int
    windows_end: int
    ends_at: int
    approval: Approval | None
    accepted: tuple[tuple[int, bytes], ...]
    delivered_receipts: tuple[DeliveryReceipt, ...]
    destroyed: tuple[DestroyedReceipt, ...]
    serving_stopped: bool
    challenged: bool
    escrow_wei: int
    reply_digest: bytes = ZERO32
    reply_length: int = 0


@dataclass(frozen=True, slots=True)
class NodeEpoch:
    """One epoch of a node: its signing key and evidence (protocol §2)."""

    epoch: int
    signing_address: str
    vendor: Vendor
    measurement_id: bytes
    platform_id: bytes
    evidence_digest: bytes
    expires_at: int


@dataclass(frozen=True, slots=True)
class Node:
    """A registered node. `live` is the contract's own verdict: vendor and measurement listed, epoch not expired."""

    node_id: bytes
    kind: NodeKind
    operator: str
    endpoint_digest: bytes
    endpoint_length: int
    current: NodeEpoch
    epochs: tuple[NodeEpoch, ...]
    live: bool
    stake_wei: int
    busy_until: int

    @property
    def tee(self) -> str:
        """What kind of TEE it is registered as: tdx, sev-snp, nitro, azure, tpm or simulated; empty for a node that is none."""
        return self.current.vendor.name.lower().replace("_", "-") if self.kind is NodeKind.TEE else ""


@dataclass(frozen=True, slots=True)
class Sent:
    """A transaction that is in a block: what it cost and what it did. `gas_price_wei` is the effective price."""

    transaction_hash: bytes
    block: BlockRef
    gas_used: int
    gas_price_wei: int
    verb: str

    @property
    def cost_wei(self) -> int:
        """Gas used times the price paid for it."""
        return self.gas_used * self.gas_price_wei


@dataclass(frozen=True, slots=True)
class Challenge:
    """A non-delivery challenge of an order; `answered` is a bitmap of slots."""

    challenger: str
    bond_wei: int
    answer_by: int
    answered: int
    met: bool
