"""The light node itself, without HTTP: uploads, catalogue, proxy-key cache, delivery, receipts, events, audit, health.

Source: design §6, protocol §5, spec/node-http.md §9 and §10. Satisfies `trade.ports.LightNode`. Holds no secret that opens anything:
`key` signs receipts and requests, `account` pays for records. Many light nodes run side by side; none is special.
Promises: a storage receipt names only registered storage nodes that hold the finished body and gave it back.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from asset_bridge import __version__
from asset_bridge.chain.messages import Domain, storage_receipt_digest
from asset_bridge.chain.records import (
    Ack,
    At,
    DeliveryReceipt,
    FetchSignature,
    Node,
    NodeKind,
    OrderState,
    StorageReceipt,
)
from asset_bridge.errors import BridgeError, InputError, RefusedError, UnavailableError
from asset_bridge.ipfs.multi import MultiSource
from asset_bridge.ipfs.store import ImportState
from asset_bridge.ipld.cid import Cid
from asset_bridge.ipld.unixfs import body_cid
from asset_bridge.nodes.light.audit import Finding, audit
from asset_bridge.nodes.light.delivery import RECORD_AFTER_SECONDS, Delivery, ReceiptHolder
from asset_bridge.nodes.light.events import EventIndex, Webhooks
from asset_bridge.nodes.light.receipts import ReceiptStore
from asset_bridge.nodes.light.replicas import Replica
from asset_bridge.nodes.light.uploads import MIN_REPLICAS, Upload, Uploads, too_few
from asset_bridge.trade.ports import ChainAccount, ChainReader, Progress, Signer, TeeNode
from asset_bridge.trade.remote import Fanout
from asset_bridge.trade.replica_report import AuditResult, FileReplicas, ReplicaReport
from asset_bridge.trade.unpin import UnpinReceipt
from asset_bridge.transport.calls import Reason

MAX_HEAD_AGE_SECONDS = 120
LOW_DISK_BYTES = 64 * 1024 * 1024
_PROBE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class LightParts:
    """What a light node is made of.

    Args:
        node_id, epoch, key: who it is in the NodeRegistry; `key` is its signing key.
        reader: the chain. index: its events. account: the operator's, to record deliveries; None never records.
        replicas: the storage nodes known now. tee_of, light_of: connections to registered nodes.
        folder: its files. clock: Unix seconds. webhooks: URLs the operator allows. post: sends to such a URL.
    """

    node_id: bytes
    epoch: int
    key: Signer
    reader: ChainReader
    index: EventIndex
    account: ChainAccount | None
    replicas: Callable[[], Sequence[Replica]]
    tee_of: Callable[[Node], TeeNode]
    light_of: Callable[[Node], ReceiptHolder]
    folder: Path
    clock: Callable[[], float]
    randbytes: Callable[[int], bytes]
    wanted_replicas: int = 3
    record_after_seconds: int = RECORD_AFTER_SECONDS
    webhooks: frozenset[str] = frozenset()
    post: Callable[[str, Mapping[str, Any]], None] | None = None


class LightNodeCore:
    """One light node. Safe to call from several threads."""

    def __init__(self, parts: LightParts) -> None:
        self.parts = parts
        self.name = f"light node 0x{parts.node_id.hex()[:8]}"
        parts.folder.mkdir(parents=True, exist_ok=True)
        self.uploads = Uploads(parts.folder / "uploads.sqlite", parts.replicas, parts.randbytes, parts.wanted_replicas)
        self.receipts = ReceiptStore(parts.folder / "receipts.sqlite")
        self.delivery = Delivery(
            parts.reader,
            self.receipts,
            node_id=parts.node_id,
            epoch=parts.epoch,
            key=parts.key,
            account=parts.account,
            tee_of=parts.tee_of,
            light_of=parts.light_of,
            clock=parts.clock,
            record_after_seconds=parts.record_after_seconds,
        )
        post = parts.post or _no_webhooks
        self.webhooks = Webhooks(parts.folder / "webhooks.sqlite", parts.index, parts.webhooks, post)
        self.findings: list[Finding] = []
        self.audited_at = 0
        self._lock = threading.Lock()
        self._probe: tuple[float, int] = (0.0, 0)

    # --- blocks -------------------------------------------------------------------------------------------------------------

    def get_block(self, cid: bytes) -> bytes:
        """See ports.BlockSource: from any storage node, verified."""
        return MultiSource(self.parts.replicas()).get_block(cid)

    def begin_upload(self, root: Cid, length_bytes: int, purpose: str, uploader: str) -> ImportState:
        """See uploads.Uploads.begin."""
        return self.uploads.begin(root, length_bytes, purpose, uploader)

    def upload(
        self, root: bytes, length: int, blocks: Callable[[bytes], bytes], purpose: str, progress: Progress | None
    ) -> None:
        """See ports.BlockSink."""
        name = Cid.from_bytes(root)
        state = self.begin_upload(name, length, purpose, "")
        while state.missing_count:
            for cid in state.missing:
                self.uploads.put_block(name, cid, blocks(cid.to_bytes()))
            if not state.missing:
                self.uploads.wait_for_copies(name)
            state = self.uploads.state(name)
            if progress is not None:
                progress("upload", state.done_bytes, length)
        self.uploads.finish(name)

    def storage_receipt(self, body_digest: bytes, length: int) -> StorageReceipt:
        """See ports.BlockSink. Raises RefusedError(light.not-stored) before `finish`, UnavailableError(light.too-few-storage-nodes)."""
        root = body_cid(body_digest, length)
        upload = self.uploads.find(root)
        if upload is None or upload.length_bytes != length or len(upload.held_by) < MIN_REPLICAS:
            raise RefusedError("light.not-stored", f"The body {root} is not finished here.", hint="Upload it first.")
        reader = self.parts.reader
        registered = {node.node_id for node in reader.nodes(NodeKind.STORAGE) if node.live}
        held = tuple(sorted(node_id for node_id in upload.held_by if node_id in registered))
        if len(held) < MIN_REPLICAS:
            raise too_few(len(held), {})
        block = reader.block(At.FINAL).number
        bare = StorageReceipt(body_digest, length, held, block, self.parts.node_id, self.parts.epoch, b"")
        digest = storage_receipt_digest(Domain(reader.chain_id, reader.ledger), bare)
        return replace(bare, signature=self.parts.key.sign_digest(digest))

    def unpin(self, root: Cid, asked_by: str) -> tuple[list[UnpinReceipt], list[str]]:
        """Delete a body from the storage nodes: receipts, and the names of nodes that did not answer.

        Raises:
            RefusedError(light.unpin): it is not the asker's, or an asset that names it is still listed or busy, or has an order that
            is approved and can still be paid.
        """
        upload = self.uploads.find(root)
        if upload is None:
            raise InputError("light.no-upload", f"The upload {root} is not known here.")
        listed = [a for a in self.parts.reader.assets() if a.listing.body_digest == root.digest]
        now = self.parts.clock()
        free = all(a.provider == asked_by and a.retired and a.busy_until <= now for a in listed)
        free = free and not any(self._may_be_paid(a.asset_id, now) for a in listed)
        if not free or (not listed and upload.uploader != asked_by):
            raise RefusedError(
                "light.unpin",
                "This body is not yours to delete, or an asset that needs it is listed or busy.",
                hint="Retire the asset first.",
            )
        receipts, silent = [], []
        for replica in self.uploads.named(dict.fromkeys((*upload.chosen, *upload.held_by))):
            try:
                receipts.append(replica.remove(root))
            except InputError:
                continue  # it has nothing of it
            except BridgeError:
                silent.append(replica.name)
        if not silent:
            self.uploads.forget(root)
        return receipts, silent

    def _may_be_paid(self, asset_id: bytes, now: float) -> bool:
        orders = self.parts.reader.orders(asset_id=asset_id)
        return any(order.state is OrderState.APPROVED and order.pay_by > now for order in orders)

    def audit(self) -> list[Finding]:
        """One round of the replicas' audit; see audit.py."""
        self.findings = audit(self.uploads)
        self.audited_at = int(self.parts.clock())
        return self.findings

    def replicas(self) -> ReplicaReport:
        """Every file that this node put on storage, who holds it, and what the last audit found; for operators of storage nodes."""
        found = {finding.root: finding for finding in self.findings}
        files = tuple(_file_replicas(upload, found.get(upload.root)) for upload in self.uploads.finished())
        return ReplicaReport(files, self.parts.wanted_replicas, self.audited_at)

    def storage_operator(self, address: str) -> None:
        """Raises RefusedError(light.not-an-operator) for an account that runs no live storage node and not this node."""
        live = [node for node in self.parts.reader.nodes(NodeKind.STORAGE) if node.live]
        known = {node.operator for node in live} | {node.current.signing_address for node in live}
        if address not in known | {self.parts.key.address}:
            raise RefusedError(
                "light.not-an-operator",
                "This list is for the operators of this network's storage nodes.",
                hint="Ask with the home of a storage node's operator.",
                actor="operator",
            )

    # --- the chain ----------------------------------------------------------------------------------------------------------

    def catalog(self) -> list[bytes]:
        """See ports.LightNode."""
        return self.parts.index.assets()

    def events(self, after_block: int) -> Iterator[dict[str, object]]:
        """See ports.LightNode."""
        return self.parts.index.events(after_block)

    # --- delivery -----------------------------------------------------------------------------------------------------------

    def reencrypt(
        self, order_id: bytes, fetch: FetchSignature
    ) -> list[tuple[bytes, bytes, DeliveryReceipt, tuple[Ack, ...]]]:
        """See ports.LightNode."""
        return list(self.fan_out(order_id, fetch).answers)

    def fan_out(self, order_id: bytes, fetch: FetchSignature) -> Fanout:
        """See delivery.Delivery.reencrypt."""
        return self.delivery.reencrypt(order_id, fetch)

    def acknowledge(self, order_id: bytes, fetch: FetchSignature | None, receipt: DeliveryReceipt) -> Ack:
        """See delivery.Delivery.acknowledge."""
        return self.delivery.acknowledge(order_id, fetch, receipt)

    # --- itself -------------------------------------------------------------------------------------------------------------

    def info(self) -> dict[str, Any]:
        """What /v1/info says."""
        reader = self.parts.reader
        return {
            "kind": "light",
            "node_id": "0x" + self.parts.node_id.hex(),
            "epoch": self.parts.epoch,
            "chain_id": reader.chain_id,
            "exchange": reader.exchange,
            "registry": reader.registry,
            "signing_address": self.parts.key.address,
            "wanted_replicas": self.parts.wanted_replicas,
            "version": __version__,
        }

    def health(self) -> list[Reason]:
        """Chain down, head stale, storage below r, files short of replicas, disk low."""
        reasons = []
        try:
            age = self.parts.clock() - self.parts.reader.block().timestamp
            if age > MAX_HEAD_AGE_SECONDS:
                text = f"The newest block is {int(age)} seconds old."
                reasons.append(Reason("light.head-stale", text, "chain endpoint"))
        except BridgeError as error:
            reasons.append(Reason("light.chain-down", error.message, "chain endpoint"))
        reachable = self._reachable()
        if reachable < self.parts.wanted_replicas:
            text = f"{reachable} storage nodes answer and {self.parts.wanted_replicas} are wanted."
            reasons.append(Reason("light.storage-below-r", text, "storage node"))
        gone = [finding for finding in self.findings if finding.missing_count]
        if gone:
            first = gone[0]
            blocks = ", ".join(str(cid) for cid in first.missing_blocks[:3])
            text = f"{len(gone)} files have blocks that no replica gives, as {first.root}: {blocks} ({first.missing_count} in all)."
            reasons.append(Reason("light.blocks-lost", text, "storage node"))
        short = [finding for finding in self.findings if finding.missing_replicas]
        if short:
            text = f"{len(short)} files have fewer than {self.parts.wanted_replicas} good replicas."
            reasons.append(Reason("light.replicas-below-r", text, "storage node"))
        if shutil.disk_usage(self.parts.folder).free < LOW_DISK_BYTES:
            reasons.append(Reason("light.disk-low", "The light node's own disk is nearly full."))
        return reasons

    def close(self) -> None:
        """Close the files."""
        self.uploads.close()
        self.receipts.close()
        self.webhooks.close()

    def _reachable(self) -> int:
        """How many storage nodes answer; asked at most each ten seconds."""
        with self._lock:
            at, count = self._probe
            now = self.parts.clock()
            if not at <= now < at + _PROBE_SECONDS:
                count = 0
                for replica in self.parts.replicas():
                    try:
                        replica.free_bytes()
                        count += 1
                    except BridgeError:
                        continue
                self._probe = (now, count)
            return count


def _file_replicas(upload: Upload, finding: Finding | None) -> FileReplicas:
    audited = None
    if finding is not None:
        audited = AuditResult(
            finding.good,
            finding.repaired,
            finding.lost,
            dict(finding.damage),
            finding.missing_replicas,
            tuple(str(cid) for cid in finding.missing_blocks),
            finding.missing_count,
        )
    return FileReplicas(str(upload.root), upload.length_bytes, upload.purpose, upload.held_by, audited)


def _no_webhooks(_url: str, _message: Mapping[str, Any]) -> None:
    raise UnavailableError("light.webhook", "This node sends no webhooks.", actor="operator")
