"""Everything that a stranger can get: events, blocks of every storage node, and an answer of every HTTP route of every node.

Source: docs/explain/what-is-public.md. Promises: nothing here has an account that anybody knows, an order, or a key of anyone; the routes
are the ones that each node's own OpenAPI page lists, so that a new route is tried without a change here.
"""

from __future__ import annotations

import json
import os
import re
import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from asset_bridge.chain.adapter import RpcChain
from asset_bridge.chain.keys import AccountKey
from asset_bridge.chain.messages import Domain, fetch_digest
from asset_bridge.chain.records import Asset, FetchSignature, NodeKind, Order
from asset_bridge.errors import BridgeError
from asset_bridge.ipfs.gateway import Gateway
from asset_bridge.ipfs.multi import MultiSource
from asset_bridge.ipld.cid import RAW, Cid
from asset_bridge.ipld.unixfs import body_cid
from asset_bridge.trade.directory import Directory
from asset_bridge.trade.network import deployment_of
from asset_bridge.transport.client import Peer
from asset_bridge.transport.wire import hex_of, to_json
from asset_bridge.vault.network import Network

WAIT_SECONDS = 60.0
MAX_ANSWER_BYTES = 64 * 1024 * 1024
CFRAG = re.compile(rb'"cfrag":\s*"0x([0-9a-f]{718})"')
_KINDS = {NodeKind.LIGHT: "light", NodeKind.TEE: "tee", NodeKind.STORAGE: "storage"}


@dataclass(frozen=True, slots=True)
class Answer:
    """What one route of one node said."""

    node: str
    method: str
    route: str
    signed: bool
    outcome: str
    """`ok`, or the code of the refusal."""
    size_bytes: int


@dataclass
class Holdings:
    """What the stranger has in hands."""

    events: list[dict[str, object]] = field(default_factory=list)
    documents: dict[str, bytes] = field(default_factory=dict)
    blocks: int = 0
    block_bytes: int = 0
    first_block: bytes = b""
    last_block: bytes = b""
    answers: list[Answer] = field(default_factory=list)
    cfrags: set[bytes] = field(default_factory=set)


class Stranger:
    """Somebody with network.toml, a fresh account without coins, and time."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.key = AccountKey.from_random(os.urandom)
        self.chain = RpcChain(deployment_of(network), network.rpc_urls)
        self.held = Holdings()
        self.gateways = [Gateway(node.url, f"storage node {node.url}") for node in network.storage_nodes]
        self.blocks = MultiSource(self.gateways)
        self.directory = Directory(network.chain_id, self.chain.registry, lambda: self.gateways, self.connect)

    def connect(self, url: str, name: str, verify: ssl.SSLContext | bool = True) -> Peer:
        """A connection that signs as the stranger."""
        return self._peer(url, name, self.key, verify)

    def _peer(self, url: str, name: str, key: AccountKey | None, verify: ssl.SSLContext | bool = True) -> Peer:
        return Peer(
            url,
            name=name,
            chain_id=self.network.chain_id,
            signer=key,
            clock=time.time,
            randbytes=os.urandom,
            sleep=time.sleep,
            attempts=1,
            timeout_seconds=30.0,
            verify=verify,
        )

    # ── chain and blocks ──
    def take_events(self) -> None:
        """Every event of every contract, as far as the chain goes."""
        self.chain.index.update()
        self.held.events = list(self.chain.index.events())

    def wait_for(self, event: str, order_id: bytes) -> None:
        """Until the chain shows this of the order: the more is public, the more there is to try."""
        until = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < until:
            self.chain.index.update()
            if self.chain.index.find({event}, 2**62, order_id=order_id):
                return
            time.sleep(0.5)

    def take_body(self, asset: Asset) -> None:
        """Every block of the ciphertext, from the storage nodes in turn."""
        listing = asset.listing
        dag = self.blocks.tree(body_cid(listing.body_digest, listing.body_length), listing.body_length)
        for number, leaf in enumerate(dag.leaves):
            try:
                block = self.gateways[number % len(self.gateways)].get_block(leaf.to_bytes())
            except BridgeError:
                block = self.blocks.get_block(leaf.to_bytes())
            self.held.blocks, self.held.block_bytes = self.held.blocks + 1, self.held.block_bytes + len(block)
            self.held.first_block = block if number == 0 else self.held.first_block
            self.held.last_block = block

    def take_documents(self) -> None:
        """Every file that a record on chain names: descriptions, terms, profiles, endpoint documents, sealed forms and replies."""
        chain = self.chain
        raw, sized = set(), set()
        for asset in chain.assets():
            raw |= {asset.listing.description_digest, asset.offer.terms_digest}
            if (profile := chain.profile(asset.provider)) is not None:
                raw.add(profile.document_digest)
        for order in chain.orders():
            sized |= {(order.terms.form_digest, order.terms.form_length), (order.reply_digest, order.reply_length)}
        sized |= {(node.endpoint_digest, node.endpoint_length) for node in chain.nodes()}
        for cid in (Cid(RAW, digest) for digest in raw):
            self._keep(cid, partial(self.blocks.get_block, cid.to_bytes()))
        for digest, length in sized:
            if length:
                self._keep(body_cid(digest, length), partial(self.blocks.fetch_bytes, body_cid(digest, length), length))

    def _keep(self, cid: Cid, get: Callable[[], bytes]) -> None:
        with suppress(BridgeError):  # some are lost: never mind
            self.held.documents[str(cid)] = get()

    # ── routes ──
    def own_fetch(self, order: Order) -> FetchSignature:
        """A `Fetch` by the stranger's own account."""
        generation = order.approval.generation if order.approval is not None else 1
        digest = fetch_digest(Domain(self.chain.chain_id, self.chain.exchange), order.order_id, generation)
        return FetchSignature(generation, self.key.sign_digest(digest))

    def try_routes(self, asset: Asset, order: Order) -> None:
        """Every route of every node, without a signature, and with the stranger's own where one is asked for."""
        values = {
            "asset_id": hex_of(asset.asset_id),
            "order_id": hex_of(order.order_id),
            "root": str(body_cid(asset.listing.body_digest, asset.listing.body_length)),
            "cid": str(body_cid(asset.listing.body_digest, asset.listing.body_length)),
        }
        for node in self.chain.nodes():
            try:
                endpoint = self.directory.endpoint(node)
            except BridgeError:
                continue
            name = f"{_KINDS[node.kind]} {hex_of(node.node_id)[:10]}"
            peers = [self._peer(endpoint.urls[0], name, key) for key in (None, self.key)]
            self._try_node(peers, name, asset, order, values)
            for peer in peers:
                peer.close()

    def _try_node(self, peers: list[Peer], name: str, asset: Asset, order: Order, values: dict[str, str]) -> None:
        unsigned, signed = peers
        paths = unsigned.get("/openapi.json", max_bytes=MAX_ANSWER_BYTES).get("paths", {})
        for route, methods in sorted(paths.items()):
            path = re.sub(r"\{(\w+)\}", lambda found: values.get(found[1], "x"), route)
            for method in sorted(methods):
                body = self._body(route, asset, order, values)
                outcome = self._try(unsigned, name, method.upper(), route, path, body, False)
                if outcome == "transport.unsigned":
                    self._try(signed, name, method.upper(), route, path, body, True)

    def _try(self, peer: Peer, name: str, method: str, route: str, path: str, body: Any, signed: bool) -> str:
        content, outcome = b"", "ok"
        if route.endswith("/events"):
            path += "?follow=0&after_block=0"
        try:
            if method in ("GET", "HEAD"):
                content = peer.get_bytes(path, accept="*/*", max_bytes=MAX_ANSWER_BYTES)
            elif method == "PUT":
                content = str(peer.put_bytes(path, b"of a stranger")).encode()
            elif method == "DELETE":
                content = str(peer.delete(path)).encode()
            else:
                content = _json(peer.post(path, body, max_bytes=MAX_ANSWER_BYTES))
        except BridgeError as error:
            outcome = error.code
        self.held.cfrags |= {bytes.fromhex(found.decode()) for found in CFRAG.findall(content)}
        self.held.answers.append(Answer(name, method, route, signed, outcome, len(content)))
        return outcome

    def _body(self, route: str, asset: Asset, order: Order, values: dict[str, str]) -> dict[str, Any]:
        fetch = self.own_fetch(order)
        receipt = order.delivered_receipts[0] if order.delivered_receipts else None
        bodies: dict[str, dict[str, Any]] = {
            "reencrypt": to_json(fetch),
            "accept": {"generation": fetch.generation, "slot": 0},
            "evidence": {"nonce": hex_of(os.urandom(32))},
            "acks": {"order_id": values["order_id"], "fetch": to_json(fetch), "receipt": to_json(receipt)},
            "storage-receipts": {
                "body_digest": hex_of(asset.listing.body_digest),
                "length": asset.listing.body_length,
            },
            "uploads": {"root": values["root"], "length": asset.listing.body_length, "purpose": "body"},
            "bodies": {"root": values["root"], "length": asset.listing.body_length},
            "webhooks": {"url": "http://127.0.0.1:9/stranger", "filter": {}},
        }
        return bodies.get(route.rsplit("/", 1)[-1], {})


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value).encode()
