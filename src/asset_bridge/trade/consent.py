"""`consent`: a consumer agrees to new shares of a paid order (protocol §7, decision 0058).

Promises: what `pay` showed him is shown again for the new shares: every subset of them opens, each share is accepted by its node; while
the delivery can still be challenged, the whole ciphertext is here before he asks for the new shares.
Does not promise: that the provider sends them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from asset_bridge.chain.records import At
from asset_bridge.errors import InputError
from asset_bridge.trade.check_approval import check_approval, is_acceptance, not_its_word
from asset_bridge.trade.desk import Desk, require_role
from asset_bridge.trade.documents.new_generation import NewGeneration
from asset_bridge.trade.download import download_body
from asset_bridge.trade.fragments import sign_fetch
from asset_bridge.trade.regenerate import CHALLENGEABLE, PAID, require_network, require_next


@dataclass(frozen=True, slots=True)
class Consented:
    """The document with this consumer's consent; `downloaded_bytes` of the ciphertext were fetched for it."""

    document: NewGeneration
    downloaded_bytes: int


def consent(desk: Desk, document: NewGeneration, bodies_folder: Path) -> Consented:
    """Check new shares as before a payment, and sign for them.

    Raises:
        InputError(trade.network, trade.generation, trade.role, trade.state): it is not for this consumer's order as it is now.
        InputError(trade.too-late): the nodes' keys in it have run out.
        TamperedError(reencryption.*): these shares would not open the asset. TamperedError(trade.accept): a node did not accept its own.
        what `download_body` raises: nothing was signed.
    """
    order_id = document.order_id
    require_network(desk, document)
    order = desk.final_order(order_id, *PAID)
    require_role(desk, order, "consumer")
    require_next(order, document)
    if desk.reader.block().timestamp >= document.expires_at():
        raise InputError(
            "trade.too-late",
            "the nodes' keys that these shares are sealed to have run out",
            hint="the provider proposes again: asset-bridge regenerate ORDER --propose FILE",
            actor="provider",
        )
    approval = document.approval(order)
    keys = check_approval(desk, replace(order, approval=approval))
    for number, (slot, accept) in enumerate(zip(approval.slots, document.accepts, strict=True)):
        node = desk.reader.node(slot.node_id, At.FINAL)
        if not is_acceptance(desk, order_id, approval.generation, number, slot, node, accept):
            raise not_its_word()
    fetch, downloaded = b"", 0
    if order.state in CHALLENGEABLE:
        report = download_body(desk, keys.asset, bodies_folder).report
        downloaded = report.fetched_bytes if report is not None else 0
        fetch = sign_fetch(desk, order, approval.generation).signature
    signature = desk.account.new_generation_signature(order_id, approval)
    return Consented(replace(document, consent=signature, fetch=fetch), downloaded)
