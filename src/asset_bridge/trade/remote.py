"""Light and TEE nodes over HTTP, as the stories' ports.

Source: spec/node-http.md §8 to §10, spec/node-http-tee.md. Promises: every answer has exactly the shape of its record, every block its CID.
Does not promise: that records are true; the stories check signatures and proofs before they use them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from asset_bridge.chain.records import (
    AcceptSignature,
    Ack,
    ApprovedSlot,
    DeliveryReceipt,
    DestroyedReceipt,
    FetchSignature,
    StorageReceipt,
)
from asset_bridge.errors import BridgeError, InputError, TamperedError, UnavailableError
from asset_bridge.ipfs.gateway import MAX_BLOCK_BYTES, RAW_MEDIA_TYPE
from asset_bridge.ipld.cid import Cid, verify_block
from asset_bridge.trade.evidence import OrderKey
from asset_bridge.trade.ports import Progress
from asset_bridge.trade.replica_report import ReplicaReport
from asset_bridge.trade.unpin import UnpinReceipt
from asset_bridge.transport.client import Peer
from asset_bridge.transport.wire import bytes_of, from_json, hex_of, load_json, to_json

ACK_ANSWER_BYTES = 16_384
_T = TypeVar("_T")
RECEIPT_LENGTHS = {
    "cfrag_digest": 32,
    "fetch_digest": 32,
    "block_hash": 32,
    "node_id": 32,
    "kfrag_id": 32,
    "signature": 65,
    "kem_key_digest": 32,
    "receipt_digest": 32,
    "body_digest": 32,
    "light_node_id": 32,
}
CFRAG_BYTES = 359
MAX_EVIDENCE_BYTES = 262_144
_UPLOAD_ROUNDS = 64
_COPY_POLLS = 600
"""Seconds without progress after which a copy from one storage node to others counts as stuck."""
_REPLICAS_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class SlotFailure:
    """A slot that gave no cfrag, with the node's own reason."""

    node_id: bytes
    slot: int
    error: BridgeError


@dataclass(frozen=True, slots=True)
class Fanout:
    """What the TEE nodes of an order's slots answered: (node_id, cfrag, receipt, acks) each, and who did not."""

    answers: tuple[tuple[bytes, bytes, DeliveryReceipt, tuple[Ack, ...]], ...]
    failed: tuple[SlotFailure, ...]


class RemoteTee:
    """A TEE node (ports.TeeNode)."""

    def __init__(self, peer: Peer) -> None:
        self._peer, self.name = peer, peer.name

    def evidence(self, nonce: bytes) -> bytes:
        """See ports.TeeNode."""
        answer = self._peer.post("/v1/evidence", {"nonce": hex_of(nonce)}, idempotent=True)
        return _checked(self._peer, lambda: bytes_of(answer.get("evidence"), name="evidence"))

    def order_key(self, order_id: bytes) -> bytes:
        """See ports.TeeNode; `trade.evidence.OrderKey`, encoded."""
        answer = self._peer.post(f"/v1/orders/{hex_of(order_id)}/key", {}, idempotent=True)
        fields = {name: answer.get(name) for name in ("node_id", "epoch", "kem_key", "expires_at", "signature")}
        lengths = {"node_id": 32, "kem_key": 32, "signature": 65}
        return _checked(self._peer, lambda: from_json(OrderKey, fields, lengths).encode())

    def accept(self, order_id: bytes, generation: int, slot: int) -> AcceptSignature:
        """See ports.TeeNode."""
        return self._accept(order_id, {"generation": generation, "slot": slot})

    def accept_reseal(self, order_id: bytes, generation: int, slot: int, replacement: ApprovedSlot) -> AcceptSignature:
        """See ports.TeeNode."""
        return self._accept(order_id, {"generation": generation, "slot": slot, "replacement": to_json(replacement)})

    def accept_generation(
        self, order_id: bytes, generation: int, slot: int, share: ApprovedSlot, precursor: bytes
    ) -> AcceptSignature:
        """See ports.TeeNode."""
        body = {"generation": generation, "slot": slot, "replacement": to_json(share), "precursor": hex_of(precursor)}
        return self._accept(order_id, body)

    def reencrypt(self, order_id: bytes, fetch: FetchSignature) -> tuple[bytes, DeliveryReceipt, tuple[Ack, ...]]:
        """See ports.TeeNode."""
        answer = self._peer.post(f"/v1/orders/{hex_of(order_id)}/reencrypt", to_json(fetch), idempotent=True)
        return _checked(self._peer, lambda: _cfrag(answer))

    def destroyed(self, order_id: bytes) -> list[DestroyedReceipt]:
        """See ports.TeeNode."""
        answer = self._peer.get(f"/v1/orders/{hex_of(order_id)}/destroyed")
        return _checked(
            self._peer,
            lambda: [from_json(DestroyedReceipt, item, RECEIPT_LENGTHS) for item in _list(answer, "destroyed")],
        )

    def _accept(self, order_id: bytes, body: dict[str, Any]) -> AcceptSignature:
        answer = self._peer.post(f"/v1/orders/{hex_of(order_id)}/accept", body, idempotent=True)
        return _checked(self._peer, lambda: from_json(AcceptSignature, answer.get("accept"), RECEIPT_LENGTHS))


class RemoteLight:
    """A light node (ports.LightNode)."""

    def __init__(self, peer: Peer) -> None:
        self._peer, self.name = peer, peer.name

    def get_block(self, cid: bytes) -> bytes:
        """See ports.BlockSource."""
        name = Cid.from_bytes(cid)
        block = self._peer.get_bytes(f"/ipfs/{name}?format=raw", accept=RAW_MEDIA_TYPE, max_bytes=MAX_BLOCK_BYTES)
        try:
            verify_block(name, block)
        except TamperedError as error:
            raise TamperedError(
                "ipfs.gateway-block",
                f"The {self.name} sent other bytes for the block {name}.",
                hint="Use another.",
                actor=self.name,
            ) from error
        return block

    def upload(
        self, root: bytes, length: int, blocks: Callable[[bytes], bytes], purpose: str, progress: Progress | None
    ) -> None:
        """See ports.BlockSink. Safe to repeat; only what is missing is sent."""
        name = Cid.from_bytes(root)
        path = f"/v1/uploads/{name}"
        state = self._peer.post(
            "/v1/uploads", {"root": str(name), "length": length, "purpose": purpose}, idempotent=True
        )
        for _ in range(_UPLOAD_ROUNDS * max(1, length // 2**32 + 1)):
            state = self._wait_for_copies(path, state, length, progress)
            missing, done, _count = _checked(self._peer, partial(_missing, state))
            if progress is not None:
                progress("upload", min(done, length), length)
            if not missing:
                break
            for cid in missing:
                block = blocks(cid.to_bytes())
                self._peer.put_bytes(f"{path}/blocks/{cid}", block, sha256=cid.digest)  # of other bytes it is refused
                done += len(block) if cid.codec == 0x55 else 0
                if progress is not None:
                    progress("upload", min(done, length), length)
            state = self._peer.get(path)
        else:
            raise UnavailableError(
                "light.upload",
                f"The {self.name} keeps losing blocks of this upload.",
                hint="Use another light node.",
                actor=self.name,
            )
        if progress is not None:
            progress("store and read back", 0, length)
        self._peer.post(f"{path}/finish", {}, idempotent=True)
        if progress is not None:
            progress("store and read back", length, length)

    def _wait_for_copies(
        self, path: str, state: dict[str, Any], length: int, progress: Progress | None
    ) -> dict[str, Any]:
        """While a storage node that holds the file gives it to others, nothing is asked for and something is missing (H23a)."""
        most, polls = -1, 0
        while True:
            missing, done, count = _checked(self._peer, partial(_missing, state))
            if missing or not count:
                return state
            if progress is not None:
                progress("copy to storage nodes", min(done, length), length)
            most, polls = (done, 0) if done > most else (most, polls + 1)
            if polls > _COPY_POLLS:
                raise UnavailableError(
                    "light.upload",
                    f"The {self.name} makes no progress with copying from one storage node to others.",
                    hint="Use another light node.",
                    actor=self.name,
                )
            self._peer.pause(1.0 if polls or done else 0.1)
            state = self._peer.get(path)

    def replicas(self) -> ReplicaReport:
        """Its files, their replicas and its last audit; it tells operators of storage nodes only."""
        answer = self._peer.get("/v1/replicas", max_bytes=_REPLICAS_BYTES)
        return _checked(self._peer, lambda: ReplicaReport.decode(answer))

    def storage_receipt(self, body_digest: bytes, length: int) -> StorageReceipt:
        """See ports.BlockSink."""
        body = {"body_digest": hex_of(body_digest), "length": length}
        answer = self._peer.post("/v1/storage-receipts", body, idempotent=True)
        return _checked(self._peer, lambda: from_json(StorageReceipt, answer.get("receipt"), RECEIPT_LENGTHS))

    def unpin(self, root: bytes) -> tuple[list[UnpinReceipt], list[str]]:
        """Delete a retired asset's body from the storage nodes: unverified receipts, and who did not answer."""
        answer = self._peer.delete(f"/v1/uploads/{Cid.from_bytes(root)}")
        lengths = {"root": 36, "node_id": 32, "signature": 65}

        def read() -> tuple[list[UnpinReceipt], list[str]]:
            receipts = [from_json(UnpinReceipt, item, lengths) for item in _list(answer, "receipts")]
            silent = answer.get("silent")
            if not isinstance(silent, list) or not all(isinstance(name, str) for name in silent):
                raise InputError("transport.json", "The list of silent nodes is not one.")
            return receipts, silent

        return _checked(self._peer, read)

    def catalog(self) -> list[bytes]:
        """See ports.LightNode: asset ids."""
        answer = self._peer.get("/v1/assets", max_bytes=1 << 24)
        return _checked(self._peer, lambda: [bytes_of(item.get("asset_id"), 32) for item in _list(answer, "assets")])

    def events(self, after_block: int) -> Iterator[dict[str, object]]:
        """See ports.LightNode: what happened after a block, without waiting for more."""
        after: int | None = after_block
        while after is not None:
            answer = self._peer.get("/v1/events", {"after_block": after, "follow": 0}, max_bytes=1 << 26)
            yield from _checked(self._peer, partial(_list, answer, "events"))
            following = answer.get("next_after_block")
            after = following if isinstance(following, int) and following > after else None

    def follow(self, after_block: int, *, seconds: float = 60.0) -> Iterator[dict[str, object]]:
        """Events as they happen, until the connection ends.

        Raises:
            UnavailableError(transport.down): nothing at all came for `seconds`.
        """
        for line in self._peer.lines("/v1/events", {"after_block": after_block}, idle_seconds=max(seconds, 0.1)):
            if line.startswith("data: "):
                event = _checked(self._peer, partial(_event, line))
                yield event

    def reencrypt(
        self, order_id: bytes, fetch: FetchSignature
    ) -> list[tuple[bytes, bytes, DeliveryReceipt, tuple[Ack, ...]]]:
        """See ports.LightNode."""
        return list(self.fan_out(order_id, fetch).answers)

    def fan_out(self, order_id: bytes, fetch: FetchSignature) -> Fanout:
        """As `reencrypt`, with the slots that failed and why."""
        answer = self._peer.post(
            f"/v1/orders/{hex_of(order_id)}/reencrypt", to_json(fetch), idempotent=True, max_bytes=1 << 21
        )
        return _checked(self._peer, lambda: _fanout(answer))

    def receipts(self, order_id: bytes) -> tuple[FetchSignature | None, list[DeliveryReceipt]]:
        """The receipts that this light node holds for an order, with the `Fetch` they answer."""
        answer = self._peer.get(f"/v1/orders/{hex_of(order_id)}/receipts")

        def read() -> tuple[FetchSignature | None, list[DeliveryReceipt]]:
            fetch = answer.get("fetch")
            return (
                None if fetch is None else from_json(FetchSignature, fetch, RECEIPT_LENGTHS),
                [from_json(DeliveryReceipt, item, RECEIPT_LENGTHS) for item in _list(answer, "receipts")],
            )

        return _checked(self._peer, read)

    def acknowledge(self, order_id: bytes, fetch: FetchSignature, receipt: DeliveryReceipt) -> Ack:
        """Ask it to keep a receipt; its `Ack` is unverified."""
        body = {"order_id": hex_of(order_id), "fetch": to_json(fetch), "receipt": to_json(receipt)}
        answer = self._peer.post("/v1/acks", body, idempotent=True, max_bytes=ACK_ANSWER_BYTES)
        return _checked(self._peer, lambda: from_json(Ack, answer, RECEIPT_LENGTHS))


def fanout_json(fanout: Fanout) -> dict[str, Any]:
    """A fan-out on the wire."""
    return {
        "cfrags": [
            {
                "node_id": hex_of(node_id),
                "slot": receipt.slot,
                "cfrag": hex_of(cfrag),
                "receipt": to_json(receipt),
                "acks": to_json(acks),
            }
            for node_id, cfrag, receipt, acks in fanout.answers
        ],
        "failed": [
            {
                "node_id": hex_of(failure.node_id),
                "slot": failure.slot,
                "status": failure.error.http_status,
                "error": failure.error.as_json(),
            }
            for failure in fanout.failed
        ],
    }


def _fanout(answer: dict[str, Any]) -> Fanout:
    answers = tuple((bytes_of(item.get("node_id"), 32), *_cfrag(item)) for item in _list(answer, "cfrags"))
    return Fanout(answers, tuple(_slot_failure(item) for item in _list(answer, "failed")))


def _slot_failure(item: dict[str, Any]) -> SlotFailure:
    error = item.get("error")
    if not isinstance(error, dict):
        raise InputError("transport.json", "A failure has no reason.")
    made = Peer.failure_of(error, item.get("status"))
    slot = item.get("slot")
    if made is None or not isinstance(slot, int):
        raise InputError("transport.json", "A failure's reason has no known form.")
    return SlotFailure(bytes_of(item.get("node_id"), 32), slot, made)


def _cfrag(answer: dict[str, Any]) -> tuple[bytes, DeliveryReceipt, tuple[Ack, ...]]:
    return (
        bytes_of(answer.get("cfrag"), CFRAG_BYTES, name="cfrag"),
        from_json(DeliveryReceipt, answer.get("receipt"), RECEIPT_LENGTHS),
        tuple(from_json(Ack, item, RECEIPT_LENGTHS) for item in _list(answer, "acks")),
    )


def _event(line: str) -> dict[str, object]:
    event = load_json(line.removeprefix("data: ").encode())
    if not isinstance(event, dict):
        raise InputError("transport.json", "An event is not an object.")
    return event


def _missing(state: dict[str, Any]) -> tuple[list[Cid], int, int]:
    done, missing, count = state.get("done_bytes"), state.get("missing"), state.get("missing_count")
    if not isinstance(done, int) or not isinstance(missing, list) or not isinstance(count, int):
        raise InputError("transport.json", "The state of the upload has no known form.")
    return [Cid.parse(str(text)) for text in missing], done, count


def _list(answer: dict[str, Any], name: str) -> list[dict[str, Any]]:
    found = answer.get(name)
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        raise InputError("transport.json", f"{name} is not a list of objects.")
    return found


def _checked(peer: Peer, read: Callable[[], _T]) -> _T:
    """What `read` makes of an answer; an answer of the wrong shape is the peer's fault, not the caller's input."""
    try:
        return read()
    except (InputError, ValueError) as error:
        raise UnavailableError(
            "transport.reply",
            f"The answer of the {peer.name} does not have its form.",
            hint="Use another node.",
            actor=peer.name,
        ) from error
