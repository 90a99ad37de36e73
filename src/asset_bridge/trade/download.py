"""The ciphertext on the consumer's disk: space checked, every block verified, resumed after any interruption (protocol §5.1).

Promises: nothing is asked of a TEE node before the whole body is here. A body under its name in the folder was verified against its CID.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from asset_bridge.chain.records import Asset
from asset_bridge.errors import BridgeError, TamperedError
from asset_bridge.ipfs.multi import FetchReport, MultiSource
from asset_bridge.ipld.unixfs import LEAF_BYTES, body_cid
from asset_bridge.trade.desk import Desk, layer
from asset_bridge.vault.durable import write_private
from asset_bridge.vault.files import require_free_space


@dataclass(frozen=True, slots=True)
class Body:
    """A verified body on disk. `report` is None when it was here already or came from the chain."""

    path: Path
    length_bytes: int
    report: FetchReport | None

    def segment(self, number: int) -> bytes:
        """Block `number`."""
        with self.path.open("rb") as file:
            file.seek(number * LEAF_BYTES)
            return file.read(min(LEAF_BYTES, self.length_bytes - number * LEAF_BYTES))


def body_path(folder: Path, body_digest: bytes) -> Path:
    """Where a body lies in the home."""
    return folder / f"{body_digest.hex()}.body"


def download_body(
    desk: Desk, asset: Asset, folder: Path, *, more_bytes: int = 0, source: MultiSource | None = None
) -> Body:
    """The body of an asset, from disk, from the chain, or from the replicas.

    Args:
        more_bytes: what the caller will write beside it; the space for both is checked first.
        source: where the blocks come from, in place of the network's storage and light nodes.
    Raises:
        InputError(files.disk-space): need and free space are in the message.
        TamperedError(trade.body): layer body, no replica serves the listed bytes.
        UnavailableError(ipfs.replicas-down): run it again; what is here is kept.
    """
    listing = asset.listing
    path = body_path(folder, listing.body_digest)
    if path.exists() and path.stat().st_size == listing.body_length:
        require_free_space(folder, more_bytes)
        return Body(path, listing.body_length, None)
    here = path.with_name(path.name + ".part")
    require_free_space(folder, listing.body_length - (here.stat().st_blocks * 512 if here.exists() else 0) + more_bytes)
    if listing.on_chain_body:
        body = listing.on_chain_body
        if len(body) != listing.body_length or hashlib.sha256(body).digest() != listing.body_digest:
            raise _tampered("chain endpoint", "the body that the chain endpoint served is not the listed one")
        write_private(path, body)
        return Body(path, listing.body_length, None)
    try:
        with layer("body"):
            report = (source or desk.replicas).fetch_file(
                body_cid(listing.body_digest, listing.body_length), listing.body_length, path, progress=desk.progress
            )
    except TamperedError as error:
        raise _tampered(
            "storage node", f"no replica serves the listed ciphertext: {error.message.removeprefix('layer body: ')}"
        ) from None
    return Body(path, listing.body_length, report)


def _tampered(actor: str, message: str) -> BridgeError:
    return TamperedError(
        "trade.body", f"layer body: {message}", hint="ask the provider to publish it again", actor=actor
    )
