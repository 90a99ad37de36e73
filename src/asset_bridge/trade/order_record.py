"""What a consumer remembers of an order, sealed in his home: enough to check, fetch and send the form again.

Source: spec/home.md §4 (store `orders`, name = order id in hex). Promises: durable before the transaction is sent.
"""

from __future__ import annotations

from dataclasses import dataclass

from asset_bridge.chain.keys import address_bytes
from asset_bridge.chain.records import Order, RequestTerms
from asset_bridge.errors import TamperedError
from asset_bridge.keys.derivation import consumer_hybrid_key, receiving_key
from asset_bridge.keys.kem import ConsumerHybridSecretKey
from asset_bridge.keys.secp256k1 import SecretScalar
from asset_bridge.trade.desk import Desk
from asset_bridge.transport.wire import from_json, to_json
from asset_bridge.vault.secret import pack, unpack


@dataclass(frozen=True, slots=True)
class OrderRecord:
    """The terms that were signed for, and the sealed form."""

    terms: RequestTerms
    application: bytes
    sealed_form: bytes

    def save(self, desk: Desk, order_id: bytes) -> None:
        """Durable on return."""
        content = {"terms": to_json(self.terms), "application": self.application, "sealed_form": self.sealed_form}
        desk.vault.orders.put(order_id.hex(), pack(content))

    @staticmethod
    def load(desk: Desk, order_id: bytes) -> OrderRecord | None:
        """The record, or None on a machine that did not make the request."""
        content = desk.vault.orders.get(order_id.hex())
        if content is None:
            return None
        table = unpack(content, "the record of an order")
        return OrderRecord(from_json(RequestTerms, table["terms"]), table["application"], table["sealed_form"])


@dataclass(frozen=True, slots=True)
class OrderKeys:
    """A consumer's two keys of one order, derived from his seed (design §4)."""

    receiving: SecretScalar
    hybrid: ConsumerHybridSecretKey


def order_keys(desk: Desk, asset_id: bytes, order_nonce: bytes) -> OrderKeys:
    """The keys that this consumer's seed gives for an order nonce."""
    seed, reader = desk.vault.consumer_seed.reveal(), desk.reader
    context = (order_nonce, reader.chain_id, address_bytes(reader.exchange), asset_id)
    return OrderKeys(receiving_key(seed, *context), consumer_hybrid_key(seed, *context))


def keys_of(desk: Desk, order: Order) -> OrderKeys:
    """The keys of an order of ours.

    Raises:
        TamperedError(trade.order-changed): its keys or terms are not the ones this home asked for.
    """
    keys = order_keys(desk, order.terms.asset_id, order.terms.order_nonce)
    record = OrderRecord.load(desk, order.order_id)
    same = (
        keys.receiving.public_key().to_bytes() == order.terms.pk_b
        and keys.hybrid.public_key().digest() == order.terms.hybrid_key_digest
        and (record is None or record.terms == order.terms)
    )
    if not same:
        raise TamperedError(
            "trade.order-changed",
            "layer order: its keys, price, terms or periods are not the ones this home asked for",
            hint="use the home that made the request, or another chain endpoint",
            actor="chain endpoint",
        )
    return keys
