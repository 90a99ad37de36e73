"""The light node as an HTTP service.

Source: spec/node-http.md §6, §9, §10. Uploads, webhooks and deletions are signed by the account that asks; everything else is open: what
decides there is on chain or inside the message.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool

from asset_bridge.chain.records import DeliveryReceipt, FetchSignature
from asset_bridge.errors import InputError, RefusedError, UnavailableError
from asset_bridge.ipld.cid import Cid
from asset_bridge.ipld.unixfs import LEAF_BYTES
from asset_bridge.nodes.light.core import LightNodeCore
from asset_bridge.nodes.light.events import FILTERS, Follower, page
from asset_bridge.nodes.light.workers import Workers
from asset_bridge.nodes.storage.app import BODY_SCHEMA, state_json
from asset_bridge.nodes.storage.gateway import gateway_routes
from asset_bridge.trade.remote import RECEIPT_LENGTHS, fanout_json
from asset_bridge.transport.calls import Answer, Call, Route, field_bytes, field_int, field_str
from asset_bridge.transport.server import Guard, build_app
from asset_bridge.transport.wire import from_json, hex_of, to_json

MOST_FOLLOWERS = 64
POLL_SECONDS = 0.5
KEEP_ALIVE_POLLS = 30
_NO_STORE = {"cache-control": "no-store"}


def build(
    core: LightNodeCore,
    guard: Guard,
    *,
    workers: Workers | None = None,
    allow_upload: Callable[[str], None] | None = None,
) -> Starlette:
    """The node's app. `workers` start and stop with it; `allow_upload` raises RefusedError for accounts that may not upload."""
    node = _Light(core)

    def signed(method: str, path: str, handler: Callable[[Call], Answer], summary: str, **more: Any) -> Route:
        return Route(method, path, handler, summary, signed=True, allow=allow_upload, **more)

    routes = [
        *gateway_routes(node),
        signed("POST", "/v1/uploads", node.begin, "Begin or resume an upload", request=BODY_SCHEMA),
        signed("GET", "/v1/uploads/{root}", node.state, "How far an upload is"),
        signed("PUT", "/v1/uploads/{root}/blocks/{cid}", node.put, "Send a block", max_body_bytes=LEAF_BYTES),
        signed("POST", "/v1/uploads/{root}/finish", node.finish, "Make it durable on the storage nodes"),
        signed("DELETE", "/v1/uploads/{root}", node.unpin, "Delete a retired asset's body; signed receipts"),
        Route("POST", "/v1/storage-receipts", node.storage_receipt, "The signed StorageReceipt of a finished body"),
        Route("GET", "/v1/assets", node.assets, "Ids of listed assets"),
        Route("GET", "/v1/assets/{asset_id}", node.asset, "An asset's record"),
        Route("GET", "/v1/orders/{order_id}", node.order, "An order's record, with its sealed kfrags"),
        Route("GET", "/v1/orders/{order_id}/kfrags", node.kfrags, "The sealed kfrags of a live approval"),
        Route("GET", "/v1/orders/{order_id}/receipts", node.receipts, "Receipts held for an order"),
        Route("POST", "/v1/orders/{order_id}/reencrypt", node.reencrypt, "Pass a fetch on to the TEE nodes"),
        Route("POST", "/v1/acks", node.acknowledge, "Keep a receipt and acknowledge it"),
        Route("GET", "/v1/nodes", node.nodes, "Registered nodes"),
        Route(
            "GET",
            "/v1/replicas",
            node.replicas,
            "Stored files, their replicas and the last audit; for operators of storage nodes",
            signed=True,
            allow=core.storage_operator,
        ),
        Route("GET", "/v1/events", node.events, "Events after a block: one page (follow=0) or a stream"),
        signed("POST", "/v1/webhooks", node.webhook, "Send matching events to a URL of the operator's list"),
    ]
    return build_app(
        routes,
        title="Asset Bridge light node",
        info=core.info,
        health=core.health,
        guard=guard,
        on_start=[workers.start] if workers else [],
        on_stop=[node.stop, *([workers.stop] if workers else []), core.close],
    )


class _Light:
    """The handlers."""

    def __init__(self, core: LightNodeCore) -> None:
        self._core = core
        self._followers = 0
        self._lock = threading.Lock()
        self._stopping = threading.Event()

    def stop(self) -> None:
        """End the streams."""
        self._stopping.set()

    # The gateway's Blocks.
    def get_block(self, cid: Cid) -> bytes:
        return self._core.get_block(cid.to_bytes())

    def block_size(self, cid: Cid) -> int | None:
        try:
            return len(self.get_block(cid))
        except UnavailableError:
            return None

    def begin(self, call: Call) -> Answer:
        obj = call.json()
        root, length = Cid.parse(field_str(obj, "root")), field_int(obj, "length", 0, 2**53 - 1)
        state = self._core.begin_upload(root, length, field_str(obj, "purpose"), call.signer or "")
        return Answer(json=state_json(state))

    def state(self, call: Call) -> Answer:
        return Answer(json=state_json(self._core.uploads.state(_root(call))))

    def put(self, call: Call) -> Answer:
        self._core.uploads.put_block(_root(call), Cid.parse(call.params["cid"]), call.body)
        return Answer(json={"stored": True})

    def finish(self, call: Call) -> Answer:
        upload = self._core.uploads.finish(_root(call))
        ids = [hex_of(node_id) for node_id in upload.held_by]
        return Answer(json={"root": str(upload.root), "length": upload.length_bytes, "storage_node_ids": ids})

    def unpin(self, call: Call) -> Answer:
        receipts, silent = self._core.unpin(_root(call), call.signer or "")
        return Answer(json={"receipts": to_json(receipts), "silent": silent})

    def storage_receipt(self, call: Call) -> Answer:
        obj = call.json()
        receipt = self._core.storage_receipt(
            field_bytes(obj, "body_digest", 32), field_int(obj, "length", 0, 2**53 - 1)
        )
        return Answer(json={"receipt": to_json(receipt)})

    def assets(self, _call: Call) -> Answer:
        return Answer(
            json={"assets": [{"asset_id": hex_of(asset_id)} for asset_id in self._core.catalog()]}, headers=_NO_STORE
        )

    def asset(self, call: Call) -> Answer:
        return Answer(json=to_json(self._core.parts.reader.asset(call.hex32("asset_id"))), headers=_NO_STORE)

    def order(self, call: Call) -> Answer:
        return Answer(json=to_json(self._core.parts.reader.order(call.hex32("order_id"))), headers=_NO_STORE)

    def kfrags(self, call: Call) -> Answer:
        order = self._core.parts.reader.order(call.hex32("order_id"))
        if order.approval is None:
            raise RefusedError("light.not-approved", "The order is not approved.", actor="provider")
        return Answer(json={"approval": to_json(order.approval)}, headers=_NO_STORE)

    def receipts(self, call: Call) -> Answer:
        fetch, receipts = self._core.delivery.held(call.hex32("order_id"))
        return Answer(json={"fetch": to_json(fetch), "receipts": to_json(receipts)}, headers=_NO_STORE)

    def reencrypt(self, call: Call) -> Answer:
        obj = call.json()
        fetch = FetchSignature(field_int(obj, "generation", 1, 2**32 - 1), field_bytes(obj, "signature", 65))
        return Answer(json=fanout_json(self._core.fan_out(call.hex32("order_id"), fetch)), headers=_NO_STORE)

    def acknowledge(self, call: Call) -> Answer:
        obj = call.json()
        fetch = from_json(FetchSignature, obj["fetch"], RECEIPT_LENGTHS) if "fetch" in obj else None
        receipt = from_json(DeliveryReceipt, obj.get("receipt"), RECEIPT_LENGTHS)
        return Answer(json=to_json(self._core.acknowledge(field_bytes(obj, "order_id", 32), fetch, receipt)))

    def nodes(self, _call: Call) -> Answer:
        return Answer(json={"nodes": to_json(self._core.parts.reader.nodes())}, headers=_NO_STORE)

    def replicas(self, _call: Call) -> Answer:
        return Answer(json=self._core.replicas().encode(), headers=_NO_STORE)

    def events(self, call: Call) -> Answer:
        after_block = call.query_int("after_block", 0, 0, 2**53 - 1)
        if call.query_int("follow", 1, 0, 1) == 0:
            found, after = page(self._core.parts.index, after_block)
            return Answer(json={"events": found, "next_after_block": after}, headers=_NO_STORE)
        with self._lock:
            if self._followers >= MOST_FOLLOWERS:
                raise UnavailableError(
                    "light.too-many-followers",
                    "This node follows for as many readers as it can.",
                    hint="Poll with follow=0.",
                )
        return Answer(stream=self._stream(after_block), headers=_NO_STORE, media_type="text/event-stream")

    async def _stream(self, after_block: int) -> AsyncIterator[bytes]:
        follower = Follower(self._core.parts.index, after_block)
        quiet = 0
        with self._lock:
            self._followers += 1
        try:
            yield b": events\n\n"
            while not self._stopping.is_set():
                fresh = await run_in_threadpool(follower.news)
                for event in fresh:
                    yield f"id: {event['block']}\ndata: {json.dumps(event, separators=(',', ':'))}\n\n".encode()
                quiet = 0 if fresh else quiet + 1
                if quiet >= KEEP_ALIVE_POLLS:
                    quiet = 0
                    yield b": still here\n\n"
                await asyncio.sleep(POLL_SECONDS)
        finally:
            with self._lock:
                self._followers -= 1

    def webhook(self, call: Call) -> Answer:
        obj = call.json()
        wanted = obj.get("filter", {})
        if not isinstance(wanted, dict) or not all(
            isinstance(value, str) and len(value) <= 66 for value in wanted.values()
        ):
            raise InputError("transport.json", f"filter is not an object of {', '.join(FILTERS)}.")
        after_block = field_int(obj, "after_block", 0, 2**53 - 1) if "after_block" in obj else 0
        self._core.webhooks.add(field_str(obj, "url", 512), wanted, after_block)
        return Answer(json={"registered": True})


def _root(call: Call) -> Cid:
    return Cid.parse(call.params["root"])
