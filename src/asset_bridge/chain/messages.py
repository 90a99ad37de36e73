"""Every EIP-712 message of the protocol: type strings, digests, signing, recovery.

Source: protocol §1, spec/contracts.md §2; golden values in spec/vectors/contracts. Pure. A digest says nothing about who signed:
`recover` gives the account, and the caller compares it with the one it expects.
Promises: only canonical signatures pass: 65 bytes r ‖ s ‖ v with v 27 or 28 and s in the lower half of the group order.
Does not promise: that a contract account (ERC-1271) would accept a signature; only the chain can say that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from coincurve import PublicKey

from asset_bridge.chain.keys import address_bytes, checksum_address
from asset_bridge.chain.records import AcceptSignature, DeliveryReceipt, DestroyedReceipt, StorageReceipt
from asset_bridge.errors import DefectError, TamperedError
from asset_bridge.keys.keccak import keccak

GROUP_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
_DOMAIN_TYPE = "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"

NODE_MESSAGES = (
    "StorageReceipt(bytes32 body,uint64 length,bytes32[] nodes,uint64 blockNumber,bytes32 light,uint64 epoch)",
    "Form(uint256 chainId,address exchange,bytes32 asset,bytes32 orderNonce,bytes32 hybridKey,bytes32 application)",
    "OrderKey(bytes32 order,bytes32 node,uint64 epoch,bytes32 kemKey,uint64 expires)",
    "Accept(bytes32 order,uint32 generation,uint8 slot,bytes32 kfrag,bytes32 kemKey,bytes32 node,uint64 epoch)",
    "Fetch(bytes32 order,uint32 generation)",
    "Receipt(bytes32 order,uint32 generation,uint8 slot,bytes32 kfrag,bytes32 cfrag,bytes32 fetch,uint64 blockNumber,"
    "bytes32 blockHash,bytes32 node,uint64 epoch)",
    "Ack(bytes32 receipt,bytes32 node,uint64 epoch)",
    "Destroyed(bytes32 order,uint32 generation,uint8 slot,bytes32 kemKey,bytes32 node,uint64 epoch,uint8 reason)",
)
_END = "uint256 nonce,uint64 deadline)"
VERB_MESSAGES = (
    f"Request(bytes32 order,address fetchSigner,uint256 periods,bytes32 card,uint64 formLength,{_END}",
    "Approve(bytes32 order,uint32 generation,uint8 threshold,bytes precursor,bytes shares,bytes sealedShares,bytes sealedKpq,"
    f"bytes32 reply,uint64 replyLength,{_END}",
    f"Deny(bytes32 order,bytes32 reply,uint64 replyLength,{_END}",
    f"Cancel(bytes32 order,{_END}",
    f"Pay(bytes32 order,address token,uint256 price,bytes32 table,{_END}",
    f"AcceptDelivery(bytes32 order,{_END}",
    f"AgreeRefund(bytes32 order,{_END}",
    f"Revoke(bytes32 order,{_END}",
    f"Reseal(bytes32 order,bytes32 table,uint8 slot,bytes replacement,bytes sealedShare,{_END}",
    f"Regenerate(bytes32 order,uint32 generation,uint8 threshold,bytes precursor,bytes shares,bytes sealedShares,{_END}",
    f"Claim(bytes32 account,address token,{_END}",
    f"Challenge(bytes32 order,{_END}",
    f"SetProfile(address provider,bytes32 profile,address payee,address recovery,{_END}",
    f"ProposeChange(address provider,address owner,address payee,address recovery,{_END}",
    f"CancelChange(address provider,{_END}",
    f"List(bytes32 asset,bytes32 offer,bytes32 description,bytes32 supersedes,{_END}",
    f"SetOffer(bytes32 asset,bytes32 offer,{_END}",
    f"Retire(bytes32 asset,{_END}",
    f"Register(bytes32 node,uint8 kind,bytes32 epoch,{_END}",
    f"Renew(bytes32 node,uint64 number,bytes32 epoch,{_END}",
)
TYPES = {text.split("(", 1)[0]: text for text in NODE_MESSAGES + VERB_MESSAGES}


@dataclass(frozen=True, slots=True)
class Domain:
    """The EIP-712 domain: the chain and the contract that consumes the message."""

    chain_id: int
    contract: str
    separator: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        words = (keccak(b"asset-bridge"), keccak(b"1"), self.chain_id.to_bytes(32, "big"), _address_word(self.contract))
        object.__setattr__(self, "separator", keccak(keccak(_DOMAIN_TYPE.encode()) + b"".join(words)))

    def digest(self, message: str, *values: object) -> bytes:
        """The 32-byte EIP-712 digest of `message` (its type's name) with `values` in the order of the type."""
        return keccak(b"\x19\x01" + self.separator + struct_hash(message, values))


def struct_hash(message: str, values: Sequence[object]) -> bytes:
    """EIP-712 hashStruct of one of TYPES."""
    own_hash, writers = _PARSED[message]
    return keccak(own_hash + b"".join([write(value) for write, value in zip(writers, values, strict=True)]))


def _address_word(address: str) -> bytes:
    return bytes(12) + address_bytes(address)


def _bytes32_word(value: object) -> bytes:
    if isinstance(value, bytes) and len(value) == 32:
        return value
    raise _does_not_fit("bytes32")


def _integer_word(bits: int) -> Callable[[object], bytes]:
    bound = 1 << bits

    def word(value: object) -> bytes:
        if isinstance(value, int) and 0 <= value < bound:
            return value.to_bytes(32, "big")
        raise _does_not_fit(f"uint{bits}")

    return word


def _other_word(kind: str) -> Callable[[object], bytes]:
    def word(value: object) -> bytes:
        if kind == "address" and isinstance(value, str):
            return _address_word(value)
        if kind == "bytes" and isinstance(value, bytes):
            return keccak(value)
        if kind == "bytes32[]" and isinstance(value, tuple):
            return keccak(b"".join([_bytes32_word(item) for item in value]))
        raise _does_not_fit(kind)

    return word


def _does_not_fit(kind: str) -> DefectError:
    return DefectError(
        "chain.message-field", f"A field of kind {kind} has a value that does not fit it.", actor="nobody"
    )


def _writer(kind: str) -> Callable[[object], bytes]:
    """What writes a field of this kind as a word of 32 bytes."""
    if kind == "bytes32":
        return _bytes32_word
    return _integer_word(int(kind[4:])) if kind.startswith("uint") else _other_word(kind)


_PARSED = {  # of each type: its own hash, and what writes its fields
    name: (
        keccak(text.encode()),
        tuple(_writer(item.split(" ")[0]) for item in text.split("(", 1)[1][:-1].split(",")),
    )
    for name, text in TYPES.items()
}


# ── digests of the nodes' and the fetch signer's messages ──
def storage_receipt_digest(ledger: Domain, receipt: StorageReceipt) -> bytes:
    """`StorageReceipt`, by the light node; domain of the AssetLedger."""
    nodes = tuple(receipt.storage_node_ids)
    return ledger.digest(
        "StorageReceipt",
        receipt.body_digest,
        receipt.body_length,
        nodes,
        receipt.block_number,
        receipt.light_node_id,
        receipt.epoch,
    )


def form_digest(
    exchange: Domain, asset_id: bytes, order_nonce: bytes, hybrid_key_digest: bytes, application: bytes
) -> bytes:
    """`Form`, by the consumer; `application` is SHA-256 of the application."""
    return exchange.digest(
        "Form", exchange.chain_id, exchange.contract, asset_id, order_nonce, hybrid_key_digest, application
    )


def order_key_digest(
    exchange: Domain, order_id: bytes, node_id: bytes, epoch: int, kem_key_digest: bytes, expires_at: int
) -> bytes:
    """`OrderKey`, by the TEE node."""
    return exchange.digest("OrderKey", order_id, node_id, epoch, kem_key_digest, expires_at)


def accept_digest(exchange: Domain, order_id: bytes, accept: AcceptSignature) -> bytes:
    """`Accept`, by the TEE node."""
    return exchange.digest(
        "Accept",
        order_id,
        accept.generation,
        accept.slot,
        accept.kfrag_id,
        accept.kem_key_digest,
        accept.node_id,
        accept.epoch,
    )


def fetch_digest(exchange: Domain, order_id: bytes, generation: int) -> bytes:
    """`Fetch`, by the order's fetch signer."""
    return exchange.digest("Fetch", order_id, generation)


def receipt_digest(exchange: Domain, order_id: bytes, receipt: DeliveryReceipt) -> bytes:
    """`Receipt`, by the TEE node."""
    return exchange.digest(
        "Receipt",
        order_id,
        receipt.generation,
        receipt.slot,
        receipt.kfrag_id,
        receipt.cfrag_digest,
        receipt.fetch_digest,
        receipt.block_number,
        receipt.block_hash,
        receipt.node_id,
        receipt.epoch,
    )


def ack_digest(exchange: Domain, receipt: bytes, node_id: bytes, epoch: int) -> bytes:
    """`Ack`, by a light node or the provider's profile key; `receipt` is the digest of the `Receipt`."""
    return exchange.digest("Ack", receipt, node_id, epoch)


def destroyed_digest(exchange: Domain, order_id: bytes, receipt: DestroyedReceipt) -> bytes:
    """`Destroyed`, by the TEE node."""
    return exchange.digest(
        "Destroyed",
        order_id,
        receipt.generation,
        receipt.slot,
        receipt.kem_key_digest,
        receipt.node_id,
        receipt.epoch,
        receipt.reason,
    )


# ── signatures ──
def _bad_signature(why: str) -> TamperedError:
    return TamperedError(
        "chain.signature", f"A signature is not acceptable: {why}.", hint="ask the signer to sign again"
    )


def recover(digest: bytes, signature: bytes) -> str:
    """The EIP-55 account that made a canonical 65-byte signature over `digest`.

    Raises:
        TamperedError(chain.signature): wrong length, v or s, or no key gives this signature.
    """
    return checksum_address(_recover(digest, signature))


def is_signed_by(address: str, digest: bytes, signature: bytes) -> bool:
    """Whether the account `address` made this canonical 65-byte signature over `digest`; False for an unusable one too."""
    try:
        return _recover(digest, signature) == bytes.fromhex(address[2:])
    except (TamperedError, ValueError):
        return False


def _recover(digest: bytes, signature: bytes) -> bytes:
    if len(signature) != 65:
        raise _bad_signature(f"it has {len(signature)} bytes instead of 65")
    if signature[64] not in (27, 28):
        raise _bad_signature("its last byte is neither 27 nor 28")
    if int.from_bytes(signature[32:64], "big") > GROUP_ORDER // 2:
        raise _bad_signature("it is not in the canonical form (high s)")
    try:
        key = PublicKey.from_signature_and_message(signature[:64] + bytes([signature[64] - 27]), digest, hasher=None)
    except (ValueError, Exception) as error:
        raise _bad_signature("it belongs to no key") from error
    return keccak(key.format(compressed=False)[1:])[12:]


def to_compact(signature: bytes) -> bytes:
    """EIP-2098 (64 bytes) of a canonical 65-byte signature; what the contracts take from nodes."""
    if len(signature) != 65 or signature[64] not in (27, 28) or signature[32] & 0x80:
        raise _bad_signature("it is not a canonical 65-byte signature")
    return signature[:32] + bytes([signature[32] | (signature[64] - 27) << 7]) + signature[33:64]


def from_compact(compact: bytes) -> bytes:
    """The 65-byte form of an EIP-2098 signature."""
    if len(compact) != 64:
        raise _bad_signature(f"it has {len(compact)} bytes instead of 64")
    return compact[:32] + bytes([compact[32] & 0x7F]) + compact[33:] + bytes([27 + (compact[32] >> 7)])
