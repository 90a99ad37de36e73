"""A provider's own `Ack` endpoint: receipts of his orders lie with him before a fragment leaves (protocol §3, §5.2).

Source: spec/node-http-tee.md §5, spec/node-http.md §10 (the same route, checks and store as a light node's). Promises: a receipt is on
disk, fsynced, before its `Ack` is signed; only receipts of this provider's orders are taken; what nobody recorded in time is recorded by
this provider's account. Does not promise: to be reachable; the TEE node then asks light nodes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from starlette.applications import Starlette

from asset_bridge.chain.records import ZERO32, Ack, DeliveryReceipt, FetchSignature, Node, Sent
from asset_bridge.errors import RefusedError, UnavailableError
from asset_bridge.nodes.light.delivery import Delivery, ReceiptHolder
from asset_bridge.nodes.light.receipts import ReceiptStore
from asset_bridge.trade.ports import ChainAccount, ChainReader, Signer, TeeNode
from asset_bridge.trade.remote import RECEIPT_LENGTHS
from asset_bridge.transport.calls import Answer, Call, Route, field_bytes
from asset_bridge.transport.server import Guard, build_app
from asset_bridge.transport.wire import from_json, to_json

PROVIDER_EPOCH = 0


class ProviderAcks:
    """Acknowledges for `provider` with the key that his profile names. `path` is the store's file."""

    def __init__(self, reader: ChainReader, path: Path, key: Signer, provider: str, clock: Callable[[], float]) -> None:
        self._reader, self._key, self._provider, self._clock = reader, key, provider, clock
        self._store = ReceiptStore(path)
        self._delivery = self._with(None)
        self._recording = threading.Lock()

    def acknowledge(self, order_id: bytes, fetch: FetchSignature | None, receipt: DeliveryReceipt) -> Ack:
        """Keep a receipt, then say so.

        Raises:
            RefusedError(light.other-provider): the order is not this provider's. What `Delivery.acknowledge` raises.
        """
        if self._reader.order(order_id).provider != self._provider:
            raise RefusedError("light.other-provider", "The order is of another provider than this endpoint's.")
        return self._delivery.acknowledge(order_id, fetch, receipt)

    def sweep(self, account: ChainAccount) -> list[Sent]:
        """Record what is together and nobody recorded, let go what is final; `account` pays and gets the recorder's fee."""
        with self._recording:
            return self._with(account).sweep()

    def held(self) -> int:
        """Orders with receipts that are not recorded for good."""
        return self._delivery.unrecorded()

    def close(self) -> None:
        """Close the store."""
        self._store.close()

    def _with(self, account: ChainAccount | None) -> Delivery:
        return Delivery(
            self._reader,
            self._store,
            node_id=ZERO32,
            epoch=PROVIDER_EPOCH,
            key=self._key,
            account=account,
            tee_of=_no_tee,
            light_of=_no_light,
            clock=self._clock,
        )


def build_ack_app(
    acks: ProviderAcks, guard: Guard, *, on_start: Callable[[], None], on_stop: Callable[[], None]
) -> Starlette:
    """The endpoint: POST /v1/acks as a light node has it, /health, /metrics, /v1/info."""

    def acknowledge(call: Call) -> Answer:
        obj = call.json()
        fetch = from_json(FetchSignature, obj["fetch"], RECEIPT_LENGTHS) if "fetch" in obj else None
        receipt = from_json(DeliveryReceipt, obj.get("receipt"), RECEIPT_LENGTHS)
        return Answer(json=to_json(acks.acknowledge(field_bytes(obj, "order_id", 32), fetch, receipt)))

    return build_app(
        [Route("POST", "/v1/acks", acknowledge, "Keep a receipt of this provider's orders and acknowledge it")],
        title="Asset Bridge ack endpoint of a provider",
        info=lambda: {"kind": "provider acks", "orders_with_unrecorded_receipts": acks.held()},
        health=list,
        guard=guard,
        on_start=[on_start],
        on_stop=[on_stop, acks.close],
    )


def _no_tee(_node: Node) -> TeeNode:
    raise UnavailableError("light.no-tee", "an ack endpoint passes nothing on", actor="nobody")


def _no_light(_node: Node) -> ReceiptHolder:
    raise UnavailableError("light.no-light", "an ack endpoint asks no light node for receipts", actor="nobody")
