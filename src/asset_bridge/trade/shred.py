"""`retire --shred`: make an asset unreadable for ever, and say exactly what could not be reached (protocol §7).

Source: spec/shred.md. Order: retire, end every order, collect `Destroyed`, destroy the tweak, end the period so that
backups follow, unpin, certificate. Promises: safe to repeat after a crash or a silent node, and the certificate then
names less; nothing irreversible happens before the second place is at hand. Does not promise: that those who opened the
asset lose it, or that an untrue receipt is noticed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from asset_bridge.chain.records import Asset, Order, OrderState, Sent
from asset_bridge.errors import BridgeError, InputError, TamperedError
from asset_bridge.ipld.unixfs import body_cid
from asset_bridge.keys.keccak import keccak
from asset_bridge.trade.answer import deny
from asset_bridge.trade.check_asset import container_id_of
from asset_bridge.trade.desk import Desk
from asset_bridge.trade.documents.canonical import decode_json, encode_json
from asset_bridge.trade.ports import Signer
from asset_bridge.trade.retire import retire
from asset_bridge.trade.revoke import REVOCABLE, collect_destroyed, revoke
from asset_bridge.trade.unpin import UnpinReceipt, check_unpin
from asset_bridge.transport.signing import recover
from asset_bridge.vault.backup import SHREDDED

FORMAT = "asset-bridge/shred/1"
DESTROYED_TRIES = 6
_PREFIX = b"asset-bridge/1/shred\0"
_OPENED = (OrderState.DELIVERED, OrderState.SETTLED)

Unpin = Callable[[bytes], tuple[list[UnpinReceipt], list[str]]]
"""Delete a body by its binary root CID: receipts, and the names of storage nodes that did not answer."""


@dataclass(frozen=True, slots=True)
class Shredded:
    """The certificate as values and as the signed document; what was sent on the way."""

    certificate: dict[str, Any]
    document: bytes
    sent: tuple[Sent, ...]

    @property
    def complete(self) -> bool:
        """Whether nobody was silent."""
        return not self.certificate["silent_slots"] and not self.certificate["silent_storage"]


def shred(desk: Desk, asset_id: bytes, unpin: Unpin, beside: Sequence[Desk] = ()) -> Shredded:
    """Shred an asset; run it again to shorten the certificate's lists.

    Args:
        beside: this provider at the other Exchanges of the same AssetLedger; orders end there too.
    Raises:
        InputError(trade.other-exchange): orders may be at an Exchange that is not among these. Nothing was done.
        InputError(trade.role, trade.busy): not this provider's asset, or a paid order still relies on it. Nothing was done.
        InputError(trade.no-tweak-here): this home never held the asset's tweak, so shredding here would prove nothing.
        UnavailableError(vault.second-place): backups cannot be reached without it. Nothing was done.
    """
    asset, desks = desk.reader.asset(asset_id), (desk, *beside)
    container = container_id_of(asset)
    _require_every_exchange(desks)
    name = SHREDDED + container.hex()
    begun = desk.vault.journal.get(name)
    earlier = decode_certificate(begun, desk.address) if begun is not None else None
    if earlier is None:
        _require_tweak(desk, asset, container)
    sent = [] if asset.retired else [retire(desk, asset_id)]
    found = [(one, one.reader.orders(asset_id=asset_id)) for one in desks]
    orders = [order for _, these in found for order in these]
    for one, these in found:
        for order in these:
            sent += _end(one, order)
    nodes: dict[str, list[str]] = {"destroyed": [], "ended": [], "silent": []}
    for one, these in found:
        kinds, sent_receipts = _destroyed(one, [order.order_id for order in these])
        nodes = {kind: [*nodes[kind], *kinds[kind]] for kind in nodes}
        sent += sent_receipts
    destroyed_at, unreadable_at = _destroy(desk, container, name, earlier)
    receipts, silent_storage = unpinned(desk, asset, unpin)
    known = [*earlier.get("unpinned", []), *receipts] if earlier is not None else receipts
    table: dict[str, Any] = {
        "format": FORMAT,
        "asset_id": _hex(asset_id),
        "chain_id": desk.reader.chain_id,
        "ledger": desk.reader.ledger,
        "provider": desk.address,
        "made_at": desk.clock(),
        "tweak_destroyed_at": destroyed_at,
        "backups_unreadable_at": unreadable_at,
        "silent_slots": nodes["silent"],
        "destroyed_slots": nodes["destroyed"],
        "ended_slots": nodes["ended"],
        "unpinned": list({receipt["storage_node"]: receipt for receipt in known}.values()),
        "silent_storage": silent_storage,
        "kept_by": _consumers(orders, _opened),
        "may_be_kept_by": _consumers(orders, lambda order: order.deliver_by > 0 and not _opened(order)),
        "on_chain_body": bool(asset.listing.on_chain_body),
    }
    document = _sign(desk.signer, table)
    desk.vault.journal.put(name, document)
    return Shredded(table, document, tuple(sent))


def _require_every_exchange(desks: Sequence[Desk]) -> None:
    """An asset is for sale at every Exchange that its ledger lists: a certificate that leaves one out would not be true."""
    reader = desks[0].reader
    now_at, known = reader.block().timestamp, {one.reader.exchange for one in desks}
    for one in reader.exchange_listings():
        if one.address not in known and 0 < one.ledger_from <= now_at:
            raise InputError(
                "trade.other-exchange",
                f"Orders of this asset may be at the Exchange {one.address}, and this home has no network.toml of it.",
                hint="take it from the operator, run: asset-bridge network use FILE, then shred; the home then reaches both",
            )


def _require_tweak(desk: Desk, asset: Asset, container: bytes) -> None:
    """The tweak and the second place must be at hand before anything ends."""
    if asset.provider != desk.address:
        raise InputError("trade.role", "this asset was listed by another account", hint="use the home that listed it")
    try:
        desk.vault.tweaks.get(container)
    except InputError:
        raise InputError(
            "trade.no-tweak-here",
            "this home does not hold the asset's key and has no certificate that it was destroyed here",
            hint="shred it with the home that published it",
        ) from None


def _end(desk: Desk, order: Order) -> list[Sent]:
    """Deny what waits, revoke what was given."""
    if order.state is OrderState.REQUESTED:
        return [deny(desk, order.order_id)]
    if order.state in REVOCABLE and not order.serving_stopped:
        return [revoke(desk, order.order_id)]
    return []


def _destroyed(desk: Desk, order_ids: list[bytes]) -> tuple[dict[str, list[str]], list[Sent]]:
    """Slots by what is known of their key, as "order/slot node": nodes destroy at a finalized block, so this waits a little."""
    sent: list[Sent] = []
    waiting = list(order_ids)
    for attempt in range(DESTROYED_TRIES):
        if attempt:
            desk.pause()
        found = {order_id: collect_destroyed(desk, order_id) for order_id in waiting}
        sent += [one for result in found.values() for one in result.sent]
        waiting = [order_id for order_id, result in found.items() if result.silent]
        if not waiting:
            break
    kinds: dict[str, list[str]] = {"destroyed": [], "ended": [], "silent": []}
    for order_id in order_ids:
        order = desk.reader.order(order_id)
        signed = {(receipt.slot, receipt.kem_key_digest) for receipt in order.destroyed}
        for number, slot in enumerate(order.approval.slots if order.approval is not None else ()):
            if (number, slot.kem_key_digest) in signed:
                kind = "destroyed"
            else:
                kind = "silent" if desk.reader.node(slot.node_id).current.epoch == slot.epoch else "ended"
            kinds[kind].append(f"order {_hex(order_id)} slot {number} node {_hex(slot.node_id)}")
    return kinds, sent


def _destroy(desk: Desk, container: bytes, name: str, earlier: dict[str, Any] | None) -> tuple[int, int]:
    """Destroy the tweak and end the period, so that every backup made until now loses its key.

    Returns when the tweak went, and when the last backup becomes unreadable (Unix seconds). The journal says what is under way before
    it happens: a crash in between is finished by the next run.
    """
    if earlier is not None and "tweak_destroyed_at" in earlier:
        return int(earlier["tweak_destroyed_at"]), int(earlier["backups_unreadable_at"])
    desk.vault.journal.put(name, _sign(desk.signer, {"format": FORMAT, "provider": desk.address}))
    desk.vault.tweaks.destroy(container)
    now_at = desk.clock()
    desk.vault.tweaks.new_period(now_at)
    return now_at, max(desk.vault.tweaks.ended_periods().values())


def unpinned(desk: Desk, asset: Asset, unpin: Unpin) -> tuple[list[dict[str, Any]], list[str]]:
    """Have an asset's body deleted from the storage nodes: receipts that verify, and who was silent or lied."""
    listing = asset.listing
    root = body_cid(listing.body_digest, listing.body_length)
    try:
        receipts, silent = unpin(root.to_bytes())
    except InputError:  # no light node knows the body any more
        return [], []
    except BridgeError as error:
        return [], [error.actor]
    good = []
    for receipt in receipts:
        try:
            node = desk.reader.node(receipt.node_id)
            check_unpin(
                receipt,
                chain_id=desk.reader.chain_id,
                registry=desk.reader.registry,
                root=root,
                node_id=node.node_id,
                signing_address=node.current.signing_address,
            )
        except BridgeError:
            silent = [*silent, f"storage node {_hex(receipt.node_id)}"]
            continue
        good.append(
            {
                "storage_node": _hex(receipt.node_id),
                "root": str(root),
                "length": receipt.length_bytes,
                "removed_at": receipt.removed_at,
                "signature": _hex(receipt.signature),
            }
        )
    return good, silent


def _opened(order: Order) -> bool:
    """Whether a delivery is on chain; a paid order without one may still have been served."""
    return order.state in _OPENED or bool(order.delivered_receipts)


def _consumers(orders: list[Order], wanted: Callable[[Order], bool]) -> list[str]:
    return sorted({order.consumer for order in orders if wanted(order)})


def _sign(signer: Signer, table: dict[str, Any]) -> bytes:
    signature = signer.sign_digest(keccak(_PREFIX + encode_json(table)))
    return encode_json({**table, "signature": _hex(signature)})


def decode_certificate(document: bytes, provider: str) -> dict[str, Any]:
    """The certificate of a signed document; TamperedError(trade.certificate) unless `provider` signed exactly this."""
    table = decode_json(document, "the certificate")
    signature = table.pop("signature", None)
    signer = ""
    if isinstance(signature, str) and table.get("format") == FORMAT:
        try:
            signer = recover(keccak(_PREFIX + encode_json(table)), bytes.fromhex(signature.removeprefix("0x")))
        except (BridgeError, ValueError):
            signer = ""
    if signer != provider or table.get("provider") != provider:
        raise TamperedError(
            "trade.certificate", "this is not a certificate of this provider", hint="compare it with the original"
        )
    return table


def _hex(value: bytes) -> str:
    return "0x" + value.hex()
