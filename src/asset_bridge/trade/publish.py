"""`publish`: seal, make durable, put on storage, list (protocol §3; order of durability design §9.4).

Promises: nothing leaves the machine but ciphertext and what `preview` shows; the key is fsynced before the first byte is sealed, the
ciphertext is on storage nodes and read back before the transaction; after a crash the upload is resumed, the sealing never.
Does not promise: that a storage node keeps what it acknowledged (the audit finds out).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from asset_bridge.chain.ids import asset_id as asset_id_of
from asset_bridge.chain.keys import address_bytes
from asset_bridge.chain.records import ZERO32, Listing, Offer, Sent, StorageReceipt
from asset_bridge.errors import BridgeError, DefectError, InputError, TamperedError
from asset_bridge.ipfs.kubo.own import KuboPlace, OwnKubo, hold_body
from asset_bridge.ipld.cid import Cid
from asset_bridge.ipld.unixfs import LEAF_BYTES, FileDag, FileDagBuilder, file_dag
from asset_bridge.keys.derivation import AssetKeys, asset_keys
from asset_bridge.keys.file_key import file_key, pq_commit
from asset_bridge.reencryption import ListingContext, encrypt_package, prove_commitment
from asset_bridge.sealing.header import HEADER_BYTES
from asset_bridge.sealing.package import KeyPackage
from asset_bridge.sealing.padding import ON_CHAIN_BODY_BYTES, Padding
from asset_bridge.sealing.seal import SealedSummary
from asset_bridge.trade.desk import Desk
from asset_bridge.trade.documents.description import Description, encode_terms, refuse_names
from asset_bridge.trade.profile import ensure_profile
from asset_bridge.trade.publish_sweep import JOURNAL, SEALING
from asset_bridge.trade.storage_receipt import check_storage_receipt
from asset_bridge.transport.wire import from_json, to_json
from asset_bridge.vault.crypt4gh import Crypt4ghSource
from asset_bridge.vault.files import Source, Stream, walk
from asset_bridge.vault.files_sealed import SealedFile, seal_to_disk
from asset_bridge.vault.secret import pack, unpack

ON_CHAIN_WARNING = "The ciphertext becomes part of the chain itself: it can never be removed, by anyone, and stays there when ciphers age."
NO_RECEIPT = StorageReceipt(ZERO32, 0, (), 0, ZERO32, 0, bytes(65))


@dataclass(frozen=True, slots=True)
class Plan:
    """What a provider wants to list. `legal_name` goes into his public profile when he has none yet.

    `crypt4gh_key`: the secret key that opens `path`, a Crypt4GH file, which is then sealed as what it holds.
    `kubo`: a kubo of the provider's own, which takes the body while it is sealed and keeps it pinned; storage nodes copy from it where one
    of them keeps its blocks in it, and otherwise get the body from here.
    """

    path: Path
    description: Description
    terms: str
    offer: Offer
    on_chain: bool = False
    supersedes: bytes = ZERO32
    legal_name: str = ""
    crypt4gh_key: bytes | None = field(default=None, repr=False)
    kubo: KuboPlace | None = None


@dataclass(frozen=True, slots=True)
class Published:
    """A listed asset and the transactions that listed it. `kubo`: the provider's own that keeps the body, if any."""

    asset_id: bytes
    container_id: bytes
    body_cid: Cid
    body_length_bytes: int
    replicas: int
    sent: tuple[Sent, ...]
    kubo: str = ""


def prepare(desk: Desk, plan: Plan) -> tuple[Source | Stream, bytes, bytes, Offer]:
    """Everything that can be refused before a key is made: the data, the texts, the offer.

    Returns the looked-at source, the description's and the terms' bytes, and the offer with the terms' digest.
    """
    description, terms = plan.description.encode(), encode_terms(plan.terms)
    source: Source | Stream = walk(plan.path)
    if plan.crypt4gh_key is not None:
        source = Crypt4ghSource(plan.path, plan.crypt4gh_key)
    paths = [member.path for member in source.index.members] + list(source.index.empty_folders)
    refuse_names((description.decode(), plan.terms, plan.legal_name), paths, str(plan.path))
    desk.reader.require_listed(plan.offer.token)
    minimum, wanted = desk.reader.minimum_periods(), plan.offer.periods
    for name in wanted.__slots__:
        if getattr(wanted, name) < getattr(minimum, name):
            raise InputError(
                "trade.period", f"{name} is {getattr(wanted, name)}, the contract's minimum is {getattr(minimum, name)}"
            )
    offer = Offer(plan.offer.price_wei, plan.offer.token, file_dag(terms).root.digest, wanted)
    return source, description, terms, offer


def publish(desk: Desk, plan: Plan, work_folder: Path) -> Published:
    """Publish a file or folder.

    Raises:
        InputError(files.*, trade.document, trade.template, trade.name-in-public, trade.period): before anything was made.
        InputError(sealing.on-chain-size): too large to be listed with the body on chain.
        UnavailableError: a node, the chain or `plan.kubo` is down; `resume` goes on from there once all is sealed.
    """
    if plan.kubo is None:
        return _publish(desk, plan, work_folder, None)
    with contextlib.closing(plan.kubo.rpc()) as rpc:
        return _publish(
            desk, plan, work_folder, OwnKubo(rpc, lambda done, total: desk.progress("clean up", done, total))
        )


def _publish(desk: Desk, plan: Plan, work_folder: Path, own: OwnKubo | None) -> Published:
    source, description, terms, offer = prepare(desk, plan)
    container_id = desk.randbytes(16)
    sealed_path = work_folder / f"{container_id.hex()}.sealed"
    place = {"kubo": plan.kubo.where, "secret_file": plan.kubo.secret_file} if plan.kubo is not None else {}
    sealing, summary = SEALING + container_id.hex(), None
    if place:
        desk.vault.journal.put(sealing, pack(place))  # after a kill, publish_sweep deletes from kubo what nothing names
    tweak = desk.vault.tweaks.create(container_id)  # fsynced: from here on the key of what we seal survives a crash
    try:
        keys = asset_keys(desk.vault.provider_seed.reveal(), tweak.reveal(), container_id)
        k_pre = desk.randbytes(32)
        summary = seal_to_disk(
            source,
            sealed_path,
            file_key=file_key(k_pre, keys.k_pq, container_id),
            container_id=container_id,
            lister=address_bytes(desk.address),
            randbytes=desk.randbytes,
            padding=Padding.ON_CHAIN if plan.on_chain else Padding.PADME,
            progress=lambda done, total: desk.progress("seal", done, total),
            beside=own,
        )
        listing = _listing(desk, keys, k_pre, summary, description, offer, plan.supersedes)
        if plan.on_chain:
            listing = _with_body(listing, sealed_path)
        record = {
            "listing": to_json(listing),
            "description": description,
            "terms": terms,
            "legal_name": plan.legal_name,
            **place,
        }
        desk.vault.journal.put(JOURNAL + container_id.hex(), pack(record))
    except BaseException:
        desk.vault.tweaks.destroy(container_id)  # nothing was listed or uploaded: the key opens nothing
        sealed_path.unlink(missing_ok=True)
        if own is not None and summary is not None:
            own.take_back(summary.body)
        if own is not None and not own.left_bytes:
            desk.vault.journal.delete(sealing)
        raise
    if own is not None:
        desk.vault.journal.delete(sealing)
        if own.error is not None:
            raise own.error
    return _finish(desk, listing, record, sealed_path, summary.body)


def unfinished(desk: Desk) -> list[str]:
    """Container ids (hex) that were sealed and not yet listed."""
    return [name[len(JOURNAL) :] for name in desk.vault.journal.names() if name.startswith(JOURNAL)]


def resume(desk: Desk, name: str, work_folder: Path) -> Published:
    """Go on with an upload or a listing that was interrupted.

    Raises:
        InputError(trade.nothing-to-resume): no such publication is open.
        InputError(files.missing): its ciphertext is gone; publish again.
    """
    content = desk.vault.journal.get(JOURNAL + name)
    if content is None:
        raise InputError("trade.nothing-to-resume", f"no publication {name} is open", hint="asset-bridge assets")
    record = unpack(content, "the journal of a publication")
    listing = from_json(Listing, record["listing"])
    sealed_path = work_folder / f"{name}.sealed"
    dag = _hash_again(desk, sealed_path, listing)
    return _finish(desk, listing, record, sealed_path, dag)


def _listing(
    desk: Desk,
    keys: AssetKeys,
    k_pre: bytes,
    summary: SealedSummary,
    description: bytes,
    offer: Offer,
    supersedes: bytes,
) -> Listing:
    package = KeyPackage(
        summary.container_id, k_pre, summary.body.root.digest, summary.body_length_bytes, summary.content_length_bytes
    )
    pk_a = keys.delegating.public_key()
    capsule, sealed_package = encrypt_package(pk_a, package.encode(), desk.randbytes)
    w, w_proof = prove_commitment(keys.delegating, listing_context(desk, desk.address, summary.container_id))
    return Listing(
        header=summary.header,
        capsule=capsule.to_bytes(),
        package=sealed_package,
        pk_a=pk_a.to_bytes(),
        kfrag_signer=keys.signer.public_key().to_bytes(),
        w=w.to_bytes(),
        w_proof=w_proof,
        pq_commit=pq_commit(keys.k_pq, summary.container_id),
        body_digest=summary.body.root.digest,
        body_length=summary.body_length_bytes,
        description_digest=file_dag(description).root.digest,
        offer=offer,
        supersedes=supersedes,
        receipt=NO_RECEIPT,
    )


def listing_context(desk: Desk, provider: str, container_id: bytes) -> ListingContext:
    """What the proof of W is bound to."""
    reader = desk.reader
    return ListingContext(reader.chain_id, address_bytes(reader.ledger), address_bytes(provider), container_id)


def _with_body(listing: Listing, sealed_path: Path) -> Listing:
    if listing.body_length > ON_CHAIN_BODY_BYTES[-1]:
        raise DefectError(
            "trade.on-chain-body", "an on-chain body came out larger than the contract takes", actor="nobody"
        )
    with SealedFile(sealed_path) as sealed:
        body = sealed.segment(0)
    return Listing(**{**{name: getattr(listing, name) for name in Listing.__slots__}, "on_chain_body": body})


def _hash_again(desk: Desk, sealed_path: Path, listing: Listing) -> FileDag:
    """The DAG of finished ciphertext. Uploading resumes, sealing never does, so the bytes must be the journal's."""
    builder = FileDagBuilder()
    with SealedFile(sealed_path) as sealed:
        total = sealed.body_length_bytes
        for number in range(-(-total // LEAF_BYTES)):
            block = sealed.segment(number)
            builder.add(file_dag(block).root.digest, len(block))
            desk.progress("check", min(total, (number + 1) * LEAF_BYTES), total)
        same_header = sealed.header == listing.header
    dag = builder.finish()
    if not same_header or (dag.root.digest, dag.length_bytes) != (listing.body_digest, listing.body_length):
        raise TamperedError(
            "trade.ciphertext-changed",
            "the ciphertext waiting for upload is not what was sealed",
            hint="publish the data again",
        )
    return dag


def _finish(desk: Desk, listing: Listing, record: dict[str, Any], sealed_path: Path, dag: FileDag) -> Published:
    container_id = bytes.fromhex(sealed_path.stem)
    if container_id.hex() not in desk.vault.tweaks.names():
        raise InputError(
            "trade.no-tweak",
            "the key of this ciphertext is gone, so nobody could ever open it",
            hint="publish it again",
        )
    kubo = str(record.get("kubo", ""))
    if kubo:
        rpc = KuboPlace(kubo, str(record["secret_file"])).rpc()
        with contextlib.closing(rpc):
            hold_body(rpc, dag, sealed_path, HEADER_BYTES)
    sent = ensure_profile(desk, record["legal_name"])
    for document in (record["description"], record["terms"]):
        upload_document(desk, document)
    with SealedFile(sealed_path) as sealed:
        desk.light.upload(dag.root.to_bytes(), dag.length_bytes, _blocks(dag, sealed.segment), "body", desk.progress)
    receipt = desk.light.storage_receipt(dag.root.digest, dag.length_bytes)
    check_storage_receipt(desk.reader, receipt, dag.root.digest, dag.length_bytes)
    listing = Listing(**{**{name: getattr(listing, name) for name in Listing.__slots__}, "receipt": receipt})
    expected = asset_id_of(desk.reader.chain_id, desk.reader.ledger, desk.address, listing)
    if (opened := desk.account.open_balance(listing.offer.token)) is not None:
        sent.append(opened)
    if not _is_listed(desk, expected):
        asset_id, listed = desk.account.list_asset(listing)
        sent.append(listed)
        if asset_id != expected:
            raise TamperedError(
                "trade.asset-id",
                "the chain gave the listing another id than its content has",
                hint="ask another chain endpoint before anyone pays for it",
                actor="chain endpoint",
            )
    desk.vault.journal.delete(JOURNAL + container_id.hex())
    sealed_path.unlink(missing_ok=True)
    replicas = len(receipt.storage_node_ids)
    return Published(expected, container_id, dag.root, dag.length_bytes, replicas, tuple(sent), kubo)


def _is_listed(desk: Desk, asset_id: bytes) -> bool:
    """Whether an earlier, interrupted attempt already listed it."""
    try:
        desk.reader.asset(asset_id)
    except BridgeError as error:
        if error.code == "chain.not-found":
            return False
        raise
    return True


def _blocks(dag: FileDag, leaf: Callable[[int], bytes]) -> Callable[[bytes], bytes]:
    numbers = {cid: number for number, cid in reversed(list(enumerate(dag.leaves)))}

    def block(cid36: bytes) -> bytes:
        cid = Cid.from_bytes(cid36)
        if cid in dag.interior:
            return dag.interior[cid]
        if cid in numbers:
            return leaf(numbers[cid])
        raise TamperedError(
            "trade.upload",
            "the light node asked for a block that is not part of this upload",
            hint="use another light node",
            actor="light node",
        )

    return block


def upload_document(desk: Desk, document: bytes) -> bytes:
    """Put a document on storage nodes, acknowledged before this returns; gives its digest."""
    dag = file_dag(document)

    def leaf(number: int) -> bytes:
        return document[number * LEAF_BYTES : (number + 1) * LEAF_BYTES]

    desk.light.upload(dag.root.to_bytes(), len(document), _blocks(dag, leaf), "document", None)
    return dag.root.digest
