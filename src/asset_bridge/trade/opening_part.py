"""`open --member`: one member of an asset, or a range of it, from kept fragments; the rest of the body is not touched.

Promises: only the blocks that hold the last segment, the index and the wanted bytes are read, from a sealed file at hand,
else from the body on this disk, else from the replicas, each verified. Does not promise: that the other blocks are whole.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from asset_bridge.chain.records import At
from asset_bridge.errors import InputError
from asset_bridge.ipld.unixfs import body_cid
from asset_bridge.sealing.open import Opener
from asset_bridge.trade.check_asset import checked_asset
from asset_bridge.trade.desk import Desk, layer
from asset_bridge.trade.download import Body, body_path, download_body
from asset_bridge.trade.fragments import Fragments
from asset_bridge.trade.opening import kept, opener_of, sealed_layer
from asset_bridge.vault.crypt4gh import write_crypt4gh
from asset_bridge.vault.files_opened import write_member
from asset_bridge.vault.files_sealed import SealedFile


@dataclass(frozen=True, slots=True)
class OpenedPart:
    """A member, or a range of it, on disk."""

    output: Path
    member: str
    bytes_written: int
    crypt4gh: bool


@contextlib.contextmanager
def opened_order(desk: Desk, order_id: bytes, bodies_folder: Path, sealed: Path | None = None) -> Iterator[Opener]:
    """The opener of an order that was fetched before.

    Raises:
        InputError(trade.not-fetched): it was not, or `sealed` belongs to another order.
        TamperedError: the layer is in the message.
    """
    fragments = kept(desk, order_id)
    with contextlib.ExitStack() as files:
        if sealed is not None:
            at_hand = files.enter_context(SealedFile(sealed))
            if at_hand.header != fragments.listing.header:
                raise InputError("trade.not-fetched", "the sealed file belongs to another order")
            opener = opener_of(fragments, at_hand.segment, segment_into=at_hand.segment_into)
        else:
            opener = _from_blocks(desk, fragments, bodies_folder)
        with sealed_layer():
            yield opener


def _from_blocks(desk: Desk, fragments: Fragments, bodies_folder: Path) -> Opener:
    listing = fragments.listing
    path = body_path(bodies_folder, listing.body_digest)
    if path.exists() and path.stat().st_size == listing.body_length:
        return opener_of(fragments, Body(path, listing.body_length, None).segment)
    asset_id = desk.reader.asset_id_of(fragments.provider, listing)
    asset = checked_asset(desk.reader, asset_id, At.FINAL)
    if asset.listing.on_chain_body:
        return opener_of(fragments, download_body(desk, asset, bodies_folder).segment)
    with layer("body"):
        tree = desk.replicas.tree(body_cid(listing.body_digest, listing.body_length), listing.body_length)

    def segment(number: int) -> bytes:
        return desk.replicas.get_block(tree.leaves[number].to_bytes())

    return opener_of(fragments, segment, leaf_digest=lambda number: tree.leaves[number].digest)


def open_member(
    desk: Desk,
    order_id: bytes,
    member: str,
    output: Path,
    bodies_folder: Path,
    *,
    start: int = 0,
    end: int | None = None,
    sealed: Path | None = None,
    crypt4gh_key: bytes | None = None,
) -> OpenedPart:
    """Write one member, or its bytes [start, end), as the new file `output`; with a key, the whole member as Crypt4GH.

    Raises:
        InputError(sealing.no-member, sealing.range, files.*, crypt4gh.recipient, trade.not-fetched): the arguments.
        TamperedError: a byte does not verify; nothing is left.
    """
    with opened_order(desk, order_id, bodies_folder, sealed) as opener:
        if crypt4gh_key is not None:
            written = write_crypt4gh(opener, member, output, recipient=crypt4gh_key, randbytes=desk.randbytes)
        else:
            written = write_member(
                opener,
                member,
                output,
                start=start,
                end=end,
                progress=lambda done, total: desk.progress("open", done, total),
            )
    return OpenedPart(output, member, written, crypt4gh_key is not None)
