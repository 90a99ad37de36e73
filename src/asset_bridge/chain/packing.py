"""The packed fields and hashes that the contracts keep instead of the values themselves.

Source: spec/contracts.md §3 and §4, byte by byte. Pure. Used by the reader (to check events against commitments), by the account
(to supply preimages) and by the twin. Parsers take exactly what the packers give and refuse every other length.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from coincurve import PublicKey

from asset_bridge.chain.encoding import encode
from asset_bridge.chain.keys import address_bytes, checksum_address
from asset_bridge.chain.messages import from_compact, to_compact
from asset_bridge.chain.records import ZERO32, Listing, NodeEpoch, Offer, Periods, StorageReceipt, Vendor
from asset_bridge.errors import TamperedError
from asset_bridge.keys.keccak import keccak

ROW_BYTES = 157
TABLE_HEAD_BYTES = 38
SHARE_BYTES = 137
SEALED_SHARE_BYTES = 213
RECEIPT_BYTES = 137
ACCEPT_BYTES = 65


class OfferArgs(NamedTuple):
    """ABI struct Offer."""

    price: int
    token: str
    terms: bytes
    periods: int
    card: bytes


class TermsArgs(NamedTuple):
    """ABI struct Terms."""

    asset_id: bytes
    provider: str
    consumer: str
    fetch_signer: str
    token: str
    price: int
    periods: int
    pk_b_sign: int
    pk_b_x: bytes

    @property
    def pk_b(self) -> bytes:
        """The consumer's receiving key, 33 bytes."""
        return bytes([self.pk_b_sign]) + self.pk_b_x


class KeyParts(NamedTuple):
    """ABI struct KeyParts."""

    points: bytes
    pk_a_sign: int
    pk_a_x: bytes
    signer: str
    credits: bytes


class EpochArgs(NamedTuple):
    """ABI struct Epoch."""

    endpoint: bytes
    endpoint_length: int
    signing_key: str
    vendor: int
    measurement: bytes
    platform: bytes
    evidence: bytes
    expires_at: int


def malformed(what: str) -> TamperedError:
    """A packed field that does not parse."""
    return TamperedError("chain.malformed", f"A record of the chain does not parse: {what}.", actor="chain endpoint")


def uint(value: int, length: int) -> bytes:
    """Big-endian number of `length` bytes."""
    return value.to_bytes(length, "big")


# ── periods, offer, card ──
def pack_periods(periods: Periods) -> int:
    """Six uint32 in one word, approve highest."""
    values = (
        periods.approve_seconds,
        periods.pay_seconds,
        periods.deliver_seconds,
        periods.window_seconds,
        periods.answer_seconds,
        periods.access_seconds,
    )
    return int.from_bytes(b"".join(uint(v, 4) for v in values), "big")


def unpack_periods(packed: int) -> Periods:
    """The inverse of `pack_periods`."""
    return Periods(*(packed >> shift & 0xFFFFFFFF for shift in (160, 128, 96, 64, 32, 0)))


def offer_args(offer: Offer, card: bytes) -> OfferArgs:
    """The ABI form of an offer."""
    return OfferArgs(offer.price_wei, offer.token, offer.terms_digest, pack_periods(offer.periods), card)


def offer_record(args: OfferArgs) -> Offer:
    """The record of an ABI offer."""
    return Offer(args.price, args.token, args.terms, unpack_periods(args.periods))


def offer_hash(offer: OfferArgs) -> bytes:
    """What the AssetLedger keeps of an offer."""
    return keccak(encode(["(uint256,address,bytes32,uint256,bytes32)"], [tuple(offer)]))


def epoch_hash(epoch: EpochArgs) -> bytes:
    """What `Register` and `Renew` sign of an epoch."""
    return keccak(encode(["(bytes32,uint64,address,uint8,bytes32,bytes32,bytes32,uint64)"], [tuple(epoch)]))


def epoch_record(number: int, args: EpochArgs) -> NodeEpoch:
    """The record of an ABI epoch."""
    try:
        vendor = Vendor(args.vendor)
    except ValueError:
        raise malformed("a node's vendor") from None
    return NodeEpoch(number, args.signing_key, vendor, args.measurement, args.platform, args.evidence, args.expires_at)


# ── listing ──
def y_coordinate(point: bytes) -> bytes:
    """The y coordinate of a compressed point.

    Raises:
        TamperedError(chain.malformed): not a point of the curve.
    """
    try:
        return bytes(PublicKey(point).format(compressed=False)[33:])
    except ValueError:
        raise malformed("a public key is not a point") from None


def signer_address(point: bytes) -> str:
    """The address of a compressed public key."""
    return checksum_address(keccak(point[1:] + y_coordinate(point))[12:])


def pack_keys(listing: Listing) -> bytes:
    """`keys` of list_asset, 229 bytes."""
    signer = listing.kfrag_signer
    return listing.pk_a + listing.w + listing.w_proof + signer + y_coordinate(signer)


def pack_storage(receipt: StorageReceipt) -> bytes:
    """`storage` of list_asset: the StorageReceipt without the body's digest and length."""
    return b"".join(
        (
            receipt.light_node_id,
            uint(receipt.epoch, 8),
            uint(receipt.block_number, 8),
            to_compact(receipt.signature),
            *receipt.storage_node_ids,
        )
    )


def unpack_storage(storage: bytes, body_digest: bytes, body_length: int) -> StorageReceipt:
    """The inverse of `pack_storage`."""
    nodes = storage[112:]
    if len(nodes) % 32 or not 2 <= len(nodes) // 32 <= 8:
        raise malformed("a storage receipt")
    return StorageReceipt(
        body_digest,
        body_length,
        tuple(nodes[i : i + 32] for i in range(0, len(nodes), 32)),
        int.from_bytes(storage[40:48], "big"),
        storage[:32],
        int.from_bytes(storage[32:40], "big"),
        from_compact(storage[48:112]),
    )


def pack_credits(light_node_id: bytes, storage_node_ids: tuple[bytes, ...]) -> bytes:
    """Who is credited for storage at settlement."""
    return light_node_id + b"".join(storage_node_ids)


def key_commitment(points: bytes, pk_a: bytes, signer: str) -> bytes:
    """keccak(keccak(E ‖ V) ‖ pk_A ‖ signer address); `points` is keccak(E ‖ V)."""
    return keccak(points + pk_a + address_bytes(signer))


def card(commitment: bytes, credits_digest: bytes) -> bytes:
    """keccak(key commitment ‖ keccak(credits))."""
    return keccak(commitment + credits_digest)


def key_parts(listing: Listing) -> KeyParts:
    """The KeyParts of a listing."""
    receipt = listing.receipt
    return KeyParts(
        keccak(listing.capsule[:66]),
        listing.pk_a[0],
        listing.pk_a[1:],
        signer_address(listing.kfrag_signer),
        keccak(pack_credits(receipt.light_node_id, receipt.storage_node_ids)),
    )


def card_of(parts: KeyParts) -> bytes:
    """The card that these parts make."""
    commitment = key_commitment(parts.points, bytes([parts.pk_a_sign]) + parts.pk_a_x, parts.signer)
    return card(commitment, parts.credits)


# ── order ──
@dataclass(frozen=True, slots=True)
class Row:
    """One slot of a table."""

    node_id: bytes
    epoch: int
    signing_address: str
    kfrag_id: bytes
    u1: bytes
    kem_key_digest: bytes

    def pack(self) -> bytes:
        """157 bytes."""
        return b"".join(
            (
                self.node_id,
                uint(self.epoch, 8),
                address_bytes(self.signing_address),
                self.kfrag_id,
                self.u1,
                self.kem_key_digest,
            )
        )

    @classmethod
    def parse(cls, raw: bytes) -> Row:
        """The inverse of `pack`."""
        if len(raw) != ROW_BYTES:
            raise malformed("a row of an approval")
        return cls(
            raw[:32],
            int.from_bytes(raw[32:40], "big"),
            checksum_address(raw[40:60]),
            raw[60:92],
            raw[92:125],
            raw[125:157],
        )


@dataclass(frozen=True, slots=True)
class Table:
    """The slot table of one generation; what receipts and proofs are checked against."""

    threshold: int
    generation: int
    precursor: bytes
    rows: tuple[Row, ...]

    def pack(self) -> bytes:
        """38 + 157 n bytes."""
        return (
            uint(self.threshold, 1)
            + uint(self.generation, 4)
            + self.precursor
            + b"".join(row.pack() for row in self.rows)
        )

    @classmethod
    def parse(cls, raw: bytes) -> Table:
        """The inverse of `pack`."""
        body = raw[TABLE_HEAD_BYTES:]
        if len(raw) < TABLE_HEAD_BYTES + 2 * ROW_BYTES or len(body) % ROW_BYTES or len(body) // ROW_BYTES > 16:
            raise malformed("the table of an approval")
        rows = tuple(Row.parse(body[i : i + ROW_BYTES]) for i in range(0, len(body), ROW_BYTES))
        return cls(raw[0], int.from_bytes(raw[1:5], "big"), raw[5:38], rows)

    def with_row(self, slot: int, row: Row) -> Table:
        """The table after a reseal of `slot`."""
        return replace(self, rows=(*self.rows[:slot], row, *self.rows[slot + 1 :]))

    def digest(self, pk_b: bytes) -> bytes:
        """table_hash."""
        return keccak(pk_b + self.pack())


def row_hash(generation: int, slot: int, row: Row) -> bytes:
    """Under what a row that was replaced after payment is remembered."""
    return keccak(uint(generation, 4) + uint(slot, 1) + row.pack())


def basis(terms: TermsArgs, card_digest: bytes) -> bytes:
    """keccak(abi.encode(Terms) ‖ card)."""
    kinds = "(bytes32,address,address,address,address,uint256,uint256,uint8,bytes32)"
    return keccak(encode([kinds], [tuple(terms)]) + card_digest)


def core(basis_digest: bytes, table_hash: bytes, progress_hash: bytes) -> bytes:
    """What an order's word commits to besides its status: 192 bits, the low 64 are zero."""
    return keccak(basis_digest + table_hash + progress_hash)[:24] + bytes(8)


def pack_epochs(epochs: Sequence[int]) -> int:
    """Epoch numbers in one word, 16 bits each, the first one lowest."""
    return sum(epoch << 16 * i for i, epoch in enumerate(epochs))


def unpack_epochs(packed: int, count: int) -> list[int]:
    """The inverse of `pack_epochs`, for `count` epochs."""
    return [packed >> 16 * i & 0xFFFF for i in range(count)]


def binding(provider: str, offer_digest: bytes) -> bytes:
    """What an asset's word commits to: provider and present offer, 216 bits, the low 40 are zero."""
    return keccak(encode(["address", "bytes32"], [provider, offer_digest]))[:27] + bytes(5)


def address_account(address: str) -> bytes:
    """The bytes32 account of an address."""
    return bytes(12) + address_bytes(address)


@dataclass(frozen=True, slots=True)
class Status:
    """The packed status of an order (spec/contracts.md §4)."""

    state: int = 0
    flags: int = 0
    generation: int = 0
    destroyed: int = 0
    deadline: int = 0

    def pack(self) -> int:
        """64 bits."""
        return self.state | self.flags << 4 | self.generation << 9 | self.destroyed << 16 | self.deadline << 32

    @classmethod
    def parse(cls, word: int) -> Status:
        """The inverse of `pack`."""
        if word >> 64:
            raise malformed("the status of an order")
        return cls(*(word >> shift & (1 << width) - 1 for shift, width in ((0, 4), (4, 5), (9, 7), (16, 16), (32, 32))))


CHALLENGED, ANSWERED, SERVING_STOPPED, DISPUTED, WAS_PAID = 1, 2, 4, 8, 16
MAX_GENERATION = 127


@dataclass(frozen=True, slots=True)
class Progress:
    """What became of an order since `pay`: who accepted, until when it is served, who delivered."""

    accepted: int
    ends_at: int
    delivery: bytes = b""

    def pack(self) -> bytes:
        """7 bytes, and 32 more for the recorder and each node once it is delivered."""
        return uint(self.accepted, 2) + uint(self.ends_at, 5) + self.delivery

    @classmethod
    def parse(cls, raw: bytes) -> Progress:
        """The inverse of `pack`."""
        if len(raw) < 7 or (len(raw) - 7) % 32:
            raise malformed("the progress of an order")
        return cls(int.from_bytes(raw[:2], "big"), int.from_bytes(raw[2:7], "big"), raw[7:])


def progress_hash(progress: bytes) -> bytes:
    """Zero before `pay`."""
    return keccak(progress) if progress else ZERO32


def change_hash(owner: str, payee: str, recovery: str) -> bytes:
    """What the ledger keeps of a change of an account that waits."""
    return bytes(keccak(encode(["address", "address", "address"], [owner, payee, recovery])))
