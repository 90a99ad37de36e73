"""The document with which provider and consumer of a paid order agree on new shares (spec/documents.md §10).

Promises: one encoding of each; limits and lengths are checked before anything else looks at it. Does not promise: that anything in it is
true; whoever gets one checks it against the chain and the nodes (trade/consent.py, trade/regenerate.py). It holds no secret.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from asset_bridge.chain.keys import address_bytes, checksum_address
from asset_bridge.chain.packing import MAX_GENERATION
from asset_bridge.chain.records import AcceptSignature, Approval, ApprovedSlot, FetchSignature, Order
from asset_bridge.errors import InputError
from asset_bridge.trade.documents.canonical import bad, decode_json, encode_json
from asset_bridge.transport.wire import from_json, to_json

FORMAT = "asset-bridge/new-generation/1"
MAX_DOCUMENT_BYTES = 64 * 1024
MAX_SHARES = 16
WHAT = "the document of new shares"
_CONSENT_BYTES = range(60 + 1, 60 + 1024 + 1)  # account, nonce, deadline, signature (spec/contracts.md §2)
SLOT_LENGTHS = {
    "kfrag_id": 32,
    "u1": 33,
    "receiver_signature": 65,
    "node_id": 32,
    "kem_key_digest": 32,
    "order_key_signature": 65,
    "sealed_rk": 80,
}
"""Bytes of the fields of an ApprovedSlot in JSON (spec/node-http.md §3)."""
_LENGTHS = {**SLOT_LENGTHS, "order_id": 32, "precursor": 33, "signature": 65}


@dataclass(frozen=True, slots=True)
class NewGeneration:
    """Shares that shall replace an order's, with each node's `Accept`; `consent` and `fetch` are empty until the consumer agreed.

    `consent` is the consumer's authority for `Regenerate` (account 20 ‖ nonce 32 ‖ deadline 8 ‖ signature), `fetch` his
    65-byte signature under `Fetch` of the new generation, empty for an order that is settled.
    """

    chain_id: int
    exchange: str
    order_id: bytes
    generation: int
    threshold: int
    precursor: bytes
    slots: tuple[ApprovedSlot, ...]
    accepts: tuple[AcceptSignature, ...]
    consent: bytes = b""
    fetch: bytes = b""

    def approval(self, order: Order) -> Approval:
        """What the order's approval will be."""
        assert order.approval is not None  # callers read an approved order
        return replace(
            order.approval,
            generation=self.generation,
            threshold=self.threshold,
            precursor=self.precursor,
            slots=self.slots,
        )

    @property
    def fetch_signature(self) -> FetchSignature | None:
        """The consumer's `Fetch` of the new generation."""
        return FetchSignature(self.generation, self.fetch) if self.fetch else None

    def expires_at(self) -> int:
        """The last second at which the contract takes it: the first order key's end."""
        return min(slot.order_key_expires_at for slot in self.slots) - 1

    def encode(self) -> bytes:
        """Canonical JSON."""
        return encode_json({"format": FORMAT, **to_json(self)})


def decode_new_generation(encoded: bytes) -> NewGeneration:
    """The document of canonical JSON bytes.

    Raises:
        TamperedError(trade.document): another format or version, another encoding, a field missing, unknown or out of bounds.
    """
    value = decode_json(encoded, WHAT, limit_bytes=MAX_DOCUMENT_BYTES)
    if value.pop("format", None) != FORMAT:
        raise bad(WHAT, f"is not of the format {FORMAT}")
    try:
        found = from_json(NewGeneration, value, _LENGTHS)
        address = checksum_address(address_bytes(found.exchange))
    except InputError:
        raise bad(WHAT, "has missing or unknown fields, or values of the wrong kind") from None
    numbers = [found.chain_id, *(slot.epoch for slot in found.slots), *(s.order_key_expires_at for s in found.slots)]
    shape = (
        2 <= found.threshold <= len(found.slots) <= MAX_SHARES
        and 2 <= found.generation <= MAX_GENERATION
        and len(found.accepts) == len(found.slots)
        and all(0 <= number < 1 << 63 for number in numbers)
        and (not found.consent or len(found.consent) in _CONSENT_BYTES)
        and len(found.fetch) in (0, 65)
        and (found.consent != b"" or found.fetch == b"")
    )
    if not shape or address != found.exchange:
        raise bad(WHAT, "has a number or a length that no such document has")
    return found
