"""`open`: from kept fragments and ciphertext to files on disk; needs no node and no chain (design §1).

Promises: the output folder appears under its name only when every byte verified; every refusal names its layer and who is at fault.
Does not promise: that the content is what the description says.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asset_bridge.chain.keys import address_bytes
from asset_bridge.errors import InputError, TamperedError
from asset_bridge.ipld.unixfs import FileDagBuilder, body_cid, leaf_count
from asset_bridge.keys.file_key import file_key
from asset_bridge.keys.secp256k1 import Point
from asset_bridge.reencryption import Capsule, open_package
from asset_bridge.sealing.open import Opener
from asset_bridge.sealing.package import KeyPackage
from asset_bridge.trade.desk import Desk, layer
from asset_bridge.trade.fragments import Fragments
from asset_bridge.vault.files_opened import Written, write_members
from asset_bridge.vault.files_sealed import SealedFile

LAYER_OF = {
    **dict.fromkeys(("sealing.header", "sealing.key"), "header"),
    **dict.fromkeys(("sealing.length", "sealing.index", "sealing.path", "sealing.padding"), "content"),
}
TERMS_NAME = "TERMS.txt"
PROVENANCE_NAME = "provenance.json"


@dataclass(frozen=True, slots=True)
class Opened:
    """An opened asset on disk."""

    output: Path
    written: Written
    provenance: Mapping[str, Any]


def open_key(fragments: Fragments) -> tuple[bytes, KeyPackage]:
    """The file key and the key package, every layer checked.

    Raises:
        TamperedError(reencryption.*): layer fragments or capsule. TamperedError(sealing.package*): layer package.
    """
    listing = fragments.listing
    with layer("fragments"):
        cfrags = fragments.verified()
    with layer("package"):
        opened = open_package(
            fragments.half,
            pk_a=Point.from_bytes(listing.pk_a),
            capsule=Capsule.from_bytes(listing.capsule),
            cfrags=cfrags,
            threshold=fragments.threshold,
            sealed=listing.package,
        )
        package = KeyPackage.decode(opened)
        package.check_against(
            header=listing.header, body_digest=listing.body_digest, body_length_bytes=listing.body_length
        )
    return file_key(package.k_pre, fragments.k_pq, package.container_id), package


@contextlib.contextmanager
def sealed_layer() -> Iterator[None]:
    """As `layer`, with the part of the sealed file that the refusal is about."""
    try:
        yield
    except TamperedError as error:
        with layer(LAYER_OF.get(error.code, "body")):
            raise


def opener_of(
    fragments: Fragments,
    segment: Callable[[int], bytes],
    *,
    segment_into: Callable[[int, memoryview], int] | None = None,
    leaf_digest: Callable[[int], bytes] | None = None,
) -> Opener:
    """An opener of a body; only the segments that are read are asked for.

    Args:
        segment: block i of the body. segment_into: the same for several threads at once.
        leaf_digest: the digest of block i, where the tree is known; else a failure reads the whole body to tell whose it is.
    """
    listing = fragments.listing
    key, package = open_key(fragments)
    with sealed_layer():
        return Opener(
            listing.header,
            file_key=key,
            lister=address_bytes(fragments.provider),
            body_length_bytes=listing.body_length,
            fetch_segment=segment,
            fetch_into=segment_into,
            content_length_bytes=package.content_length_bytes,
            leaf_digest=leaf_digest or _blame(listing.body_digest, listing.body_length, segment),
        )


def open_into(
    desk: Desk,
    fragments: Fragments,
    segment: Callable[[int], bytes],
    output: Path,
    provenance: dict[str, Any],
    *,
    segment_into: Callable[[int, memoryview], int] | None = None,
) -> Opened:
    """Open a body into the new folder `output`.

    Raises:
        InputError(files.exists, files.disk-space, …): the place.
        TamperedError(sealing.*): layer header, body or content; nothing is left.
    """
    opener = opener_of(fragments, segment, segment_into=segment_into)
    with sealed_layer():
        files = {
            TERMS_NAME: fragments.terms,
            PROVENANCE_NAME: json.dumps(provenance, indent=2, sort_keys=True, ensure_ascii=False).encode() + b"\n",
        }
        written = write_members(
            opener, output, extra_files=files, progress=lambda done, total: desk.progress("open", done, total)
        )
    return Opened(output, written, provenance)


def _blame(digest: bytes, length_bytes: int, segment: Callable[[int], bytes]) -> Callable[[int], bytes]:
    """The digest that block i should have: asked only after a tag failed, to tell a damaged copy from a wrong original."""

    def leaf_digest(number: int) -> bytes:
        builder = FileDagBuilder()
        for each in range(leaf_count(length_bytes)):
            block = segment(each)
            builder.add(hashlib.sha256(block).digest(), len(block))
        return hashlib.sha256(segment(number)).digest() if builder.finish().root.digest == digest else bytes(32)

    return leaf_digest


def provenance_of(desk: Desk, order_id: bytes, fragments: Fragments, extra: Mapping[str, Any]) -> dict[str, Any]:
    """Where the data came from, for the consumer's own records; nothing in it is secret."""
    listing, reader = fragments.listing, desk.reader
    return {
        "format": "asset-bridge/provenance/1",
        "title": fragments.title,
        "chain_id": reader.chain_id,
        "exchange": reader.exchange,
        "asset_ledger": reader.ledger,
        "asset_id": "0x" + reader.asset_id_of(fragments.provider, listing).hex(),
        "order_id": "0x" + order_id.hex(),
        "provider": fragments.provider,
        "consumer": desk.address,
        "body_cid": str(body_cid(listing.body_digest, listing.body_length)),
        "body_length_bytes": listing.body_length,
        "terms_digest": "0x" + listing.offer.terms_digest.hex(),
        "opened_at": desk.clock(),
        "tee_nodes": ["0x" + receipt.node_id.hex() for receipt in fragments.receipts],
        **extra,
    }


def kept(desk: Desk, order_id: bytes) -> Fragments:
    """The fragments of an order; InputError(trade.not-fetched) when it was never fetched here."""
    fragments = Fragments.load(desk, order_id)
    if fragments is None:
        raise InputError(
            "trade.not-fetched",
            "this home holds no fragments of that order",
            hint=f"asset-bridge fetch 0x{order_id.hex()} -o DIR",
        )
    return fragments


def open_at_hand(desk: Desk, sealed_path: Path, output: Path) -> Opened:
    """Open a sealed file (header, then body) that lies on this disk, with fragments of an earlier fetch.

    Raises:
        InputError(trade.not-fetched): no order of this home belongs to it.
    """
    with SealedFile(sealed_path) as sealed:
        for name in desk.vault.halves.names():
            fragments = Fragments.load(desk, bytes.fromhex(name))
            if fragments is not None and fragments.listing.header == sealed.header:
                order_id = bytes.fromhex(name)
                provenance = provenance_of(desk, order_id, fragments, {"sealed_file": "at hand"})
                return open_into(desk, fragments, sealed.segment, output, provenance, segment_into=sealed.segment_into)
    raise InputError(
        "trade.not-fetched", "no order of this home belongs to this sealed file", hint="asset-bridge fetch ORDER -o DIR"
    )
