"""`fetch`: download, re-encrypt, open, in this order (protocol §5).

Promises: every ciphertext block is here and verified, and the space for the output is there, before a fragment is asked for; fragments
are kept before opening, so a second run needs no node; nothing is overwritten. Does not promise: speed.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from asset_bridge.chain.records import At, Node, OrderState
from asset_bridge.errors import BridgeError
from asset_bridge.ipfs.multi import Failure, MultiSource
from asset_bridge.trade.check_approval import check_approval
from asset_bridge.trade.check_asset import checked_asset
from asset_bridge.trade.desk import Desk, require_role
from asset_bridge.trade.documents.description import Description
from asset_bridge.trade.download import Body, download_body
from asset_bridge.trade.fragments import Fragments, NodeFailure, collect_fragments, keep_fragments, sign_fetch
from asset_bridge.trade.opening import Opened, kept, open_into, provenance_of
from asset_bridge.vault.files import exists, require_free_space

SERVED = (OrderState.PAID, OrderState.DELIVERED, OrderState.SETTLED)


@dataclass(frozen=True, slots=True)
class Fetched:
    """A delivered asset, and what was skipped on the way."""

    order_id: bytes
    opened: Opened
    downloaded_bytes: int
    bad_replicas: tuple[Failure, ...]
    failed_nodes: tuple[NodeFailure, ...]


def fetch(
    desk: Desk, order_id: bytes, output: Path, bodies_folder: Path, *, body_from: MultiSource | None = None
) -> Fetched:
    """Get and open a paid asset into the new folder `output`.

    Args:
        body_from: where the ciphertext comes from, alone; the network's storage and light nodes are then not asked for it.

    Raises:
        InputError(files.exists, files.disk-space): before anything is asked of anyone.
        TamperedError: the layer and the actor are in the message; no output is left.
        UnavailableError: a peer is down; run it again, what is here is kept.
    """
    if os.path.lexists(output):
        raise exists(output)
    fragments = Fragments.load(desk, order_id)
    failed: tuple[NodeFailure, ...] = ()
    if fragments is None:
        order = desk.final_order(order_id, *SERVED)
        require_role(desk, order, "consumer")
        keys = check_approval(desk, order)
        body = _download(desk, output, bodies_folder, keys.asset.listing.body_length, order.terms.asset_id, body_from)
        description, terms = _documents(desk, keys.asset.listing.description_digest, order.terms.offer.terms_digest)
        signature = sign_fetch(desk, order, keys.approval.generation)
        collector = collect_fragments(desk, order, keys, signature)
        fragments = keep_fragments(desk, order, keys.asset, keys, signature, collector, description.title, terms)
        failed = tuple(collector.failures)
    else:
        asset_id = desk.reader.asset_id_of(fragments.provider, fragments.listing)
        body = _download(desk, output, bodies_folder, fragments.listing.body_length, asset_id, body_from)
    bad = desk.replicas.bad  # also who failed with a document, not only with the body
    bad += body_from.bad if body_from is not None else ()
    provenance = provenance_of(
        desk,
        order_id,
        fragments,
        {
            "bad_replicas": [{"replica": f.source, "code": f.code, "count": f.count} for f in bad],
            "tees": [
                {
                    "node_id": "0x" + node.node_id.hex(),
                    "tee": node.tee,
                    "measurement": "0x" + node.current.measurement_id.hex(),
                }
                for node in _holders(desk, fragments)
            ],
            "failed_nodes": [{"node_id": "0x" + f.node_id.hex(), "code": f.code, "through": f.through} for f in failed],
        },
    )
    opened = open_into(desk, fragments, body.segment, output, provenance)
    downloaded = body.report.fetched_bytes if body.report is not None else 0
    return Fetched(order_id, opened, downloaded, tuple(bad), failed)


def _holders(desk: Desk, fragments: Fragments) -> Iterator[Node]:
    """The TEE nodes whose receipts are here, as the registry holds them now; one that cannot be read is left out."""
    for receipt in fragments.receipts:
        with contextlib.suppress(BridgeError):
            yield desk.reader.node(receipt.node_id)


def open_again(desk: Desk, order_id: bytes, output: Path, bodies_folder: Path) -> Opened:
    """Open an asset that was fetched before: no TEE node is asked, and no storage node while the ciphertext is here."""
    fragments = kept(desk, order_id)
    asset_id = desk.reader.asset_id_of(fragments.provider, fragments.listing)
    body = _download(desk, output, bodies_folder, fragments.listing.body_length, asset_id)
    return open_into(desk, fragments, body.segment, output, provenance_of(desk, order_id, fragments, {}))


def _download(
    desk: Desk,
    output: Path,
    bodies_folder: Path,
    length_bytes: int,
    asset_id: bytes,
    source: MultiSource | None = None,
) -> Body:
    """The body, after the space for both body and output is there. The content is never longer than the body."""
    parent = next(folder for folder in (output.absolute().parent, *output.absolute().parents) if folder.exists())
    same_disk = parent.stat().st_dev == bodies_folder.stat().st_dev
    if not same_disk:
        require_free_space(parent, length_bytes)
    asset = checked_asset(desk.reader, asset_id, At.FINAL)
    return download_body(desk, asset, bodies_folder, more_bytes=length_bytes if same_disk else 0, source=source)


def _documents(desk: Desk, description_digest: bytes, terms_digest: bytes) -> tuple[Description, bytes]:
    description = Description.decode(desk.public_document(description_digest))
    return description, desk.public_document(terms_digest)  # the block matched the digest that the order names


def is_fetched(desk: Desk, order_id: bytes) -> bool:
    """Whether this home can open the order without any node."""
    try:
        return Fragments.load(desk, order_id) is not None
    except BridgeError:
        return False
