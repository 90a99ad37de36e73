"""A light node in the test process: storage nodes over their real apps, a chain made of records, an account that records."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from asset_bridge.chain.keys import AccountKey
from asset_bridge.chain.messages import Domain, fetch_digest, receipt_digest
from asset_bridge.chain.records import (
    ZERO32,
    ZERO_ADDRESS,
    Approval,
    ApprovedSlot,
    At,
    BlockRef,
    DeliveryReceipt,
    FetchSignature,
    Node,
    NodeEpoch,
    NodeKind,
    Offer,
    Order,
    OrderState,
    Periods,
    RequestTerms,
    Sent,
    Vendor,
)
from asset_bridge.errors import InputError, RefusedError
from asset_bridge.nodes.light.core import LightNodeCore, LightParts
from asset_bridge.nodes.light.replicas import HttpReplica
from tests.support.peers import CHAIN_ID
from tests.support.storage import WRITER, StorageNode

NOW = 1_800_000_000
EXCHANGE = AccountKey(b"\x51" * 32).address
LEDGER = AccountKey(b"\x52" * 32).address
REGISTRY = AccountKey(b"\x53" * 32).address
CONSUMER = AccountKey(b"\x61" * 32)
ORDER_ID = b"\x0d" * 32
DOMAIN = Domain(CHAIN_ID, EXCHANGE)
TEE_KEYS = [AccountKey(bytes([0x70 + slot]) * 32) for slot in range(3)]
TEE_IDS = [bytes([0xA0 + slot]) * 32 for slot in range(3)]
PERIODS = Periods(1, 1, 1, 1, 1, 1)


def node(
    node_id: bytes, kind: NodeKind, key: AccountKey, *, epoch: int = 1, live: bool = True, operator: str = ZERO_ADDRESS
) -> Node:
    current = NodeEpoch(epoch, key.address, Vendor.NONE, ZERO32, ZERO32, ZERO32, NOW + 10**6)
    return Node(node_id, kind, operator, ZERO32, 1, current, (current,), live, 0, 0)


def paid_order(**changes: Any) -> Order:
    slots = tuple(
        ApprovedSlot(bytes([slot]) * 32, b"u" * 33, b"r" * 65, TEE_IDS[slot], 1, b"k" * 32, NOW, b"o" * 65, b"s" * 80)
        for slot in range(3)
    )
    offer = Offer(1, ZERO_ADDRESS, ZERO32, PERIODS)
    terms = RequestTerms(b"\xaa" * 32, b"p" * 33, ZERO32, ZERO32, 1, offer, ZERO32, CONSUMER.address)
    given: dict[str, Any] = {
        "order_id": ORDER_ID,
        "consumer": CONSUMER.address,
        "provider": EXCHANGE,
        "terms": terms,
        "state": OrderState.PAID,
        "requested_in": BlockRef(1, ZERO32, NOW),
        "approve_by": NOW,
        "pay_by": NOW,
        "deliver_by": NOW + 1000,
        "windows_end": 0,
        "ends_at": NOW + 10_000,
        "approval": Approval(1, 2, b"x" * 33, slots, b"q", ZERO32, 0),
        "accepted": ((0, TEE_IDS[0]), (1, TEE_IDS[1])),
        "delivered_receipts": (),
        "destroyed": (),
        "serving_stopped": False,
        "challenged": False,
        "escrow_wei": 1,
    }
    import dataclasses

    for field in dataclasses.fields(Order):  # fields that the record got later start empty
        if field.name not in given:
            given[field.name] = ZERO32 if field.type == "bytes" else 0
    return Order(**{**given, **changes})


def fetch_signature(generation: int = 1, key: AccountKey = CONSUMER) -> FetchSignature:
    return FetchSignature(generation, key.sign_digest(fetch_digest(DOMAIN, ORDER_ID, generation)))


def receipt(slot: int, *, key: AccountKey | None = None, **changes: Any) -> DeliveryReceipt:
    given: dict[str, Any] = {
        "generation": 1,
        "slot": slot,
        "kfrag_id": bytes([slot]) * 32,
        "cfrag_digest": b"c" * 32,
        "fetch_digest": fetch_digest(DOMAIN, ORDER_ID, 1),
        "block_number": 5,
        "block_hash": b"b" * 32,
        "node_id": TEE_IDS[slot],
        "epoch": 1,
        "signature": b"",
    }
    bare = DeliveryReceipt(**{**given, **changes})
    return replace(bare, signature=(key or TEE_KEYS[slot]).sign_digest(receipt_digest(DOMAIN, ORDER_ID, bare)))


class Chain:
    """The records a light node reads, and the account it records with."""

    chain_id, exchange, ledger, registry, is_development = CHAIN_ID, EXCHANGE, LEDGER, REGISTRY, True
    address = WRITER.address

    def __init__(self) -> None:
        self.orders_by_id = {ORDER_ID: paid_order()}
        self.final_by_id: dict[bytes, Order] = dict(self.orders_by_id)
        self.node_list = [node(TEE_IDS[slot], NodeKind.TEE, TEE_KEYS[slot]) for slot in range(3)]
        self.asset_list: list[Any] = []
        self.event_list: list[dict[str, object]] = []
        self.recorded: list[tuple[bytes, FetchSignature, tuple[DeliveryReceipt, ...]]] = []
        self.head_at = NOW
        self.down: Exception | None = None

    @property
    def reader(self) -> Chain:
        return self

    def block(self, at: At = At.HEAD) -> BlockRef:
        if self.down:
            raise self.down
        return BlockRef(9, b"b" * 32, self.head_at)

    def order(self, order_id: bytes, at: At = At.HEAD) -> Order:
        if self.down:
            raise self.down
        orders = self.orders_by_id if at == At.HEAD else self.final_by_id
        if order_id not in orders:
            raise InputError("chain.not-found", "No such order.")
        return orders[order_id]

    def node(self, node_id: bytes, at: At = At.HEAD) -> Node:
        for found in self.node_list:
            if found.node_id == node_id:
                return found
        raise InputError("chain.not-found", "No such node.")

    def nodes(self, kind: NodeKind | None = None, at: At = At.HEAD) -> list[Node]:
        return [found for found in self.node_list if kind in (None, found.kind)]

    def assets(self, **_filters: Any) -> list[Any]:
        return self.asset_list

    def orders(self, **_filters: Any) -> list[Order]:
        return list(self.orders_by_id.values())

    def asset(self, asset_id: bytes, at: At = At.HEAD) -> Any:
        raise InputError("chain.not-found", "No such asset.")

    def grace_seconds(self) -> int:
        return 100

    def record_delivery(self, order_id: bytes, fetch: FetchSignature, receipts: Any) -> Sent:
        order = self.orders_by_id[order_id]
        if order.delivered_receipts:
            raise RefusedError("chain.exchange.delivered", "Delivered already.")
        self.recorded.append((order_id, fetch, tuple(receipts)))
        self.orders_by_id[order_id] = replace(order, state=OrderState.DELIVERED, delivered_receipts=tuple(receipts))
        return Sent(ZERO32, BlockRef(10, ZERO32, NOW), 1, 1, "record_delivery")

    def finalize(self) -> None:
        self.final_by_id = dict(self.orders_by_id)


class Index:
    """The events of a `Chain`."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        self.updates = 0

    def update(self) -> int:
        self.updates += 1
        return 9

    def events(self, after_block: int = -1) -> Iterator[dict[str, object]]:
        return iter([event for event in self._chain.event_list if int(str(event["block"])) > after_block])

    def assets(self) -> list[bytes]:
        return [b"\xaa" * 32]


class Tee:
    """A TEE node that answers a fetch with a receipt of its own."""

    def __init__(self, slot: int) -> None:
        self.name, self.slot = f"tee node {slot}", slot
        self.error: Exception | None = None
        self.receipt = receipt(slot)

    def reencrypt(self, order_id: bytes, fetch: FetchSignature) -> tuple[bytes, DeliveryReceipt, tuple[()]]:
        if self.error:
            raise self.error
        return bytes([self.slot]) * 359, self.receipt, ()


class World:
    """Three storage nodes, a chain, three TEE nodes and a light node's parts."""

    def __init__(self, folder: Path, *, storage: int = 3, stores: Sequence[Any] = ()) -> None:
        self.chain = Chain()
        self.index = Index(self.chain)
        given = dict(enumerate(stores, 1))
        self.storage = [StorageNode(number, given.get(number)) for number in range(1, storage + 1)]
        for stored in self.storage:
            self.chain.node_list.append(node(stored.node_id, NodeKind.STORAGE, stored.key))
        self.replicas = [HttpReplica(s.node_id, s.peer(attempts=1), s.gateway(timeout_seconds=2)) for s in self.storage]
        self.tees = {TEE_IDS[slot]: Tee(slot) for slot in range(3)}
        self.lights: dict[bytes, Any] = {}
        self.now = float(NOW)
        self.folder = folder

    def parts(self, **changes: Any) -> LightParts:
        given: dict[str, Any] = {
            "node_id": b"\x11" * 32,
            "epoch": 1,
            "key": WRITER,
            "reader": self.chain,
            "index": self.index,
            "account": self.chain,
            "replicas": lambda: self.replicas,
            "tee_of": lambda found: self.tees[found.node_id],
            "light_of": lambda found: self.lights[found.node_id],
            "folder": self.folder / "light",
            "clock": lambda: self.now,
            "randbytes": os.urandom,
        }
        return LightParts(**{**given, **changes})

    def light(self, **changes: Any) -> LightNodeCore:
        return LightNodeCore(self.parts(**changes))
