"""Ids: digests of what they name (protocol §1, spec/contracts.md §1). Pure; golden values in spec/vectors/contracts."""

from __future__ import annotations

from asset_bridge.chain.encoding import encode
from asset_bridge.chain.records import Listing, RequestTerms
from asset_bridge.keys.keccak import keccak

ASSET_LABEL = "asset-bridge/asset/1"
ORDER_LABEL = "asset-bridge/order/1"


def node_id(operator: str, salt: bytes) -> bytes:
    """The id of a node that `operator` registers with `salt` (32 bytes)."""
    return keccak(encode(["address", "bytes32"], [operator, salt]))


def asset_id(chain_id: int, ledger: str, provider: str, listing: Listing) -> bytes:
    """The id that `list` gives to `listing` by `provider`."""
    return keccak(
        encode(
            [
                "string",
                "uint256",
                "address",
                "address",
                *["bytes32"] * 3,
                *["bytes"] * 3,
                "bytes32",
                "bytes32",
                "uint256",
            ],
            [
                ASSET_LABEL,
                chain_id,
                ledger,
                provider,
                keccak(listing.header),
                keccak(listing.capsule),
                keccak(listing.package),
                listing.pk_a,
                listing.w,
                listing.kfrag_signer,
                listing.pq_commit,
                listing.body_digest,
                listing.body_length,
            ],
        )
    )


def order_id(chain_id: int, exchange: str, consumer: str, terms: RequestTerms) -> bytes:
    """The id that `request` gives to `terms` by `consumer`."""
    return keccak(
        encode(
            [
                *["string", "uint256", "address", "bytes32", "address", "bytes", "bytes32", "bytes32", "bytes32"],
                *["address", "uint256", "bytes32"],
            ],
            [
                ORDER_LABEL,
                chain_id,
                exchange,
                terms.asset_id,
                consumer,
                terms.pk_b,
                terms.hybrid_key_digest,
                terms.form_digest,
                terms.offer.terms_digest,
                terms.offer.token,
                terms.offer.price_wei,
                terms.order_nonce,
            ],
        )
    )


def cfrag_digest(kfrag_id: bytes, e1: bytes, v1: bytes) -> bytes:
    """What a `Receipt` says of a cfrag: keccak(kfrag id ‖ e1 ‖ v1), points compressed."""
    return keccak(kfrag_id + e1 + v1)
