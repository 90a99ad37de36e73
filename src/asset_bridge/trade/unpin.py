"""A storage node's signed word that it deleted a body.

Source: spec/node-http.md §7.4. The text that is signed has fixed widths: label, NUL, chain id(32), NodeRegistry(20), node_id(32), binary
CID(36), length(8), time(8); Keccak-256; the storage node's signing key.
Promises: `check` passes only what that key signed about this body. Does not promise: that no copy is left elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass

from asset_bridge.chain.keys import address_bytes
from asset_bridge.errors import BridgeError, TamperedError
from asset_bridge.ipld.cid import Cid
from asset_bridge.keys.keccak import keccak
from asset_bridge.trade.ports import Signer
from asset_bridge.transport.signing import recover

_LABEL = b"asset-bridge/1/unpin\0"


@dataclass(frozen=True, slots=True)
class UnpinReceipt:
    """`root` is a binary CID; `removed_at` in Unix seconds by the node's clock."""

    root: bytes
    length_bytes: int
    node_id: bytes
    removed_at: int
    signature: bytes


def unpin_digest(chain_id: int, registry: str, receipt: UnpinReceipt) -> bytes:
    """What the node signs."""
    return bytes(
        keccak(
            _LABEL
            + chain_id.to_bytes(32, "big")
            + address_bytes(registry)
            + receipt.node_id
            + Cid.from_bytes(receipt.root).to_bytes()
            + receipt.length_bytes.to_bytes(8, "big")
            + receipt.removed_at.to_bytes(8, "big")
        )
    )


def sign_unpin(
    key: Signer, chain_id: int, registry: str, root: Cid, length_bytes: int, node_id: bytes, removed_at: int
) -> UnpinReceipt:
    """The receipt of a body that was deleted."""
    bare = UnpinReceipt(root.to_bytes(), length_bytes, node_id, removed_at, b"")
    signature = key.sign_digest(unpin_digest(chain_id, registry, bare))
    return UnpinReceipt(bare.root, length_bytes, node_id, removed_at, signature)


def check_unpin(
    receipt: UnpinReceipt, *, chain_id: int, registry: str, root: Cid, node_id: bytes, signing_address: str
) -> None:
    """Raises TamperedError(trade.unpin) unless this node's key signed this receipt about this body."""
    try:
        signer = recover(unpin_digest(chain_id, registry, receipt), receipt.signature)
    except (BridgeError, OverflowError):
        signer = ""
    if signer != signing_address or receipt.root != root.to_bytes() or receipt.node_id != node_id:
        raise TamperedError(
            "trade.unpin",
            "The storage node's deletion receipt does not verify.",
            hint="Ask it again.",
            actor="storage node",
        )
