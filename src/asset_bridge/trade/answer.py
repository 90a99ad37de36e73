"""`deny`, and the sealed reply that goes with a denial or an approval (protocol §4.2).

Promises: the reply is readable by the order's consumer only, and on storage before the transaction.
"""

from __future__ import annotations

from asset_bridge.chain.records import ZERO32, Order, OrderState, Sent
from asset_bridge.keys.hpke import open_reply, seal_reply
from asset_bridge.keys.kem import ConsumerHybridPublicKey
from asset_bridge.trade.desk import Desk, require_role, wrong_state
from asset_bridge.trade.documents.form import decode_reply, encode_reply
from asset_bridge.trade.inbox import read_form
from asset_bridge.trade.order_record import keys_of
from asset_bridge.trade.profile import own_form_key
from asset_bridge.trade.publish import upload_document


def put_reply(desk: Desk, order: Order, key: ConsumerHybridPublicKey, reply: str) -> tuple[bytes, int]:
    """Seal and upload a reply; digest and length for the chain, zero without a reply."""
    if not reply:
        return ZERO32, 0
    sealed = seal_reply(key, encode_reply(reply), order_id=order.order_id)
    return upload_document(desk, sealed), len(sealed)


def deny(desk: Desk, order_id: bytes, reply: str = "") -> Sent:
    """Refuse a request. A reply needs the consumer's key out of his form; without one the form is not read.

    Raises:
        InputError(trade.role, trade.state): not this provider's order, or no longer open.
    """
    order = desk.reader.order(order_id)
    require_role(desk, order, "provider")
    if order.state is not OrderState.REQUESTED:
        raise wrong_state(order, OrderState.REQUESTED)
    if not reply:
        return desk.account.deny(order_id, ZERO32, 0)
    hybrid_key = read_form(desk, own_form_key(desk), order).hybrid_key
    return desk.account.deny(order_id, *put_reply(desk, order, hybrid_key, reply))


def read_reply(desk: Desk, order_id: bytes) -> str:
    """What the provider wrote with an approval or a denial, or nothing.

    Raises:
        InputError(trade.role): not this consumer's order.
        TamperedError(keys.envelope, trade.document): the reply was changed.
    """
    order = desk.reader.order(order_id)
    require_role(desk, order, "consumer")
    digest, length_bytes = reply_of(order)
    if not length_bytes:
        return ""
    sealed = desk.sealed_document(digest, length_bytes, "the sealed reply")
    return decode_reply(open_reply(keys_of(desk, order).hybrid, sealed, order_id=order_id))


def reply_of(order: Order) -> tuple[bytes, int]:
    """Where the reply to a request lies; zeros without one."""
    return order.reply_digest, order.reply_length
