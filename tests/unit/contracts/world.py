"""A small world for the contract tests: deployed artefacts, roles with keys, and one order's preimages at every step."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import boa
from boa.contracts.abi.abi_contract import ABIContract
from eth_hash.auto import keccak

from tests.support.revm import next_addresses
from tests.unit.contracts.moments import Moments
from tests.unit.contracts.records import (
    ARTEFACTS,
    DAY,
    HOUR,
    LIGHT,
    MOCKS,
    SIMULATED,
    START,
    STATES,
    STORAGE,
    TDX,
    TEE,
    ZERO,
    Asset,
    Node,
    Order,
    Role,
    abi_of,
    account_of,
    deploy,
    deploy_refused,
    mock,
    pack_periods,
    refuses,
)
from tools.vectors import contracts as spec

__all__ = [
    "ARTEFACTS", "DAY", "HOUR", "LIGHT", "MOCKS", "SIMULATED", "START", "STATES", "STORAGE", "TDX", "TEE",
    "ZERO", "Asset", "Node", "Order", "Role", "World", "abi_of", "account_of", "deploy", "deploy_refused",
    "mock", "pack_periods", "refuses",
]  # fmt: skip


class World(Moments):
    """Deployed contracts and roles."""

    def __init__(self, *, development: bool = True, fees: tuple[int, ...] = (300, 50, 100, 100)) -> None:
        boa.env.evm.patch.chain_id = 31337
        boa.env.evm.patch.timestamp = START
        self.chain_id = 31337
        self.development = development
        self.governor, self.provider, self.consumer, self.stranger = (
            Role(name) for name in ("governor", "provider", "consumer", "stranger")
        )
        self.payee, self.recovery = Role("payee"), Role("recovery")
        self.measurement = keccak(b"measurement")
        self.vendor = SIMULATED if development else TDX
        delay = 0 if development else 7 * DAY
        self.grace = HOUR if development else DAY
        self.token = mock("Token")
        with boa.env.prank(self.governor.address):
            self.registry = deploy(
                "NodeRegistry",
                self.governor.address,
                development,
                10**18,
                delay,
                [self.vendor],
                [(self.vendor, self.measurement)],
            )
            self.ledger = deploy(
                "AssetLedger",
                self.governor.address,
                development,
                self.registry.address,
                delay,
                DAY if development else 7 * DAY,
                0 if development else pack_periods(),
                [self.token.address],
            )
        self.exchange, self.grants = self.deploy_exchange(fees)
        with boa.env.prank(self.governor.address):
            self.ledger.list_exchange(self.exchange.address)
            self.registry.list_exchange(self.exchange.address)
        self.count = 0
        self.light = self.register("light", LIGHT)
        self.storage = [self.register(f"storage {i}", STORAGE) for i in range(3)]
        self.tees = [self.register(f"tee {i}", TEE) for i in range(4)]
        self.ledger.set_profile(
            self.provider.address,
            keccak(b"profile"),
            self.payee.address,
            self.recovery.address,
            b"",
            sender=self.provider.address,
        )

    def deploy_exchange(self, fees: tuple[int, ...], challenges: str | None = None) -> tuple[ABIContract, ABIContract]:
        """An Exchange and its Grants, whose address is known before it exists."""
        self.challenges = Role("challenges")
        deployer = Role(f"deployer {fees}").address
        grants = next_addresses(deployer, 2)[1]
        with boa.env.prank(deployer):
            exchange = deploy(
                "Exchange",
                self.ledger.address,
                self.registry.address,
                grants,
                challenges or self.challenges.address,
                self.development,
                fees,
                60 if self.development else HOUR,
                self.grace,
            )
            return exchange, deploy("Grants", exchange.address)

    def random(self, count: int = 32) -> bytes:
        """Fixed bytes without zeros, so that gas is measured with payloads of real size."""
        self.count += 1
        out = b"".join(keccak(self.count.to_bytes(8, "big") + i.to_bytes(4, "big")) for i in range(count // 32 + 1))
        return out[:count].replace(b"\0", b"\1")

    def point(self) -> bytes:
        return b"\x02" + self.random(32)

    # Nodes

    def epoch(self, signer: Role, kind: int, **changes: Any) -> tuple[Any, ...]:
        values: dict[str, Any] = {
            "endpoint": self.random(),
            "endpoint_length": 500,
            "signing_key": signer.address,
            "vendor": self.vendor if kind == TEE else 0,
            "measurement": self.measurement if kind == TEE else bytes(32),
            "platform": self.random(),
            "evidence": self.random(),
            "expires_at": self.now + 400 * DAY,
        }
        return tuple({**values, **changes}.values())

    def register(self, name: str, kind: int, **changes: Any) -> Node:
        operator, signer, salt = Role(f"operator of {name}"), Role(f"signer of {name}"), keccak(name.encode())
        self.registry.register(
            salt, kind, self.epoch(signer, kind, **changes), b"", sender=operator.address, value=10**18
        )
        return Node(spec.node_id(operator.address, salt), operator, signer)

    def renew(self, node: Node, kind: int = TEE, **changes: Any) -> None:
        node.epoch += 1
        node.signer = Role(f"signer of {node.node_id.hex()} {node.epoch}")
        self.registry.renew(node.node_id, self.epoch(node.signer, kind, **changes), b"", sender=node.operator.address)

    # Messages

    def digest(self, name: str, contract: ABIContract, **values: Any) -> bytes:
        return spec.digest(name, self.chain_id, str(contract.address), values)

    def authority(
        self, role: Role, name: str, contract: ABIContract, *, wallet: str | None = None, **values: Any
    ) -> bytes:
        """Authority of `role` for a verb; nonce and deadline can be given."""
        role.nonce += 1
        nonce, deadline = values.pop("nonce", role.nonce), values.pop("deadline", self.now + DAY)
        digest = self.digest(name, contract, nonce=nonce, deadline=deadline, **values)
        head = bytes.fromhex((wallet or role.address)[2:]) + nonce.to_bytes(32, "big") + deadline.to_bytes(8, "big")
        return head + role.sign(digest)

    # The trade

    def listing(self, **changes: Any) -> dict[str, Any]:
        """Arguments of `list_asset` by name."""
        signer = Role("kfrag signer")
        body_length = changes.pop("body_length", 1_000_000)
        body_digest = changes.pop("body_digest", self.random())
        values: dict[str, Any] = {
            "provider": self.provider.address,
            "header": self.random(128),
            "capsule": b"\x02" + self.random(32) + b"\x03" + self.random(64),
            "package": self.random(137),
            "keys": self.point() + self.point() + self.random(98) + signer.point + signer.y,
            "pq_commit": self.random(),
            "body_digest": body_digest,
            "body_length": body_length,
            "description": self.random(),
            "offer_terms": (10**18 + 7, ZERO, self.random(), pack_periods(access=30 * DAY)),
            "supersedes": bytes(32),
            "storage": self.storage_receipt(body_digest, body_length),
            "authority": b"",
        }
        values |= {name: value for name, value in changes.items() if name in values}
        if "body" in changes:
            authority = values.pop("authority")
            values |= {"body": changes["body"], "authority": authority}
        return values

    def storage_receipt(self, body: bytes, length: int, nodes: int = 3, light: Node | None = None) -> bytes:
        light = light or self.light
        ids = sorted(node.node_id for node in self.storage[:nodes])
        digest = self.digest(
            "StorageReceipt",
            self.ledger,
            body=body,
            length=length,
            nodes=ids,
            blockNumber=7,
            light=light.node_id,
            epoch=light.epoch,
        )
        head = light.node_id + light.epoch.to_bytes(8, "big") + (7).to_bytes(8, "big")
        return head + light.signer.compact(digest) + b"".join(ids)

    def asset_of(self, listing: dict[str, Any]) -> Asset:
        keys, storage = listing["keys"], listing["storage"]
        parts = {"pk_a": keys[:33], "w": keys[33:66], "signer": keys[164:197]}
        asset_id = spec.asset_id(self.chain_id, str(self.ledger.address), listing["provider"], {**listing, **parts})
        asset = Asset(asset_id, listing["capsule"], keys[:33], Role("kfrag signer"), storage[:32] + storage[112:], ())
        return replace(asset, offer=(*listing["offer_terms"], asset.card))

    def publish(self, sender: Role | None = None, **changes: Any) -> Asset:
        listing = self.listing(**changes)
        verb = self.ledger.list_with_body if "body" in listing else self.ledger.list_asset
        verb(*listing.values(), sender=(sender or self.provider).address)
        return self.asset_of(listing)

    def request(self, asset: Asset | None = None, consumer: str | None = None, **changes: Any) -> Order:
        asset = asset or self.publish()
        arguments, order = self.request_arguments(asset, consumer or self.consumer.address, **changes)
        self.exchange.request(*arguments, b"", sender=consumer or self.consumer.address)
        return order

    def request_arguments(self, asset: Asset, consumer: str, **changes: Any) -> tuple[list[Any], Order]:
        pk_b, hybrid, form, nonce = changes.get("pk_b", self.point()), self.random(), self.random(), self.random()
        fetch = changes.get("fetch_signer", self.consumer.address)
        price, token, terms, periods, _ = asset.offer
        order_id = spec.order_id(
            self.chain_id,
            str(self.exchange.address),
            consumer,
            asset.asset_id,
            {
                "pk_b": pk_b,
                "hybrid_key": hybrid,
                "form": form,
                "terms": terms,
                "token": token,
                "price": price,
                "order_nonce": nonce,
            },
        )
        row = (asset.asset_id, self.provider.address, consumer, fetch, token, price, periods, pk_b[0], pk_b[1:])
        arguments = [
            asset.asset_id,
            self.provider.address,
            asset.offer,
            fetch,
            pk_b[0],
            pk_b[1:],
            hybrid,
            form,
            900,
            nonce,
        ]
        return arguments, Order(order_id, asset, row, pk_b)

    def shares(
        self, order: Order, nodes: list[Node] | None = None, *, generation: int = 1, threshold: int = 2, **changes: Any
    ) -> tuple[bytes, bytes, bytes, bytes]:
        """(X_A, shares, sealed shares, table) for an order; `signer`, `pk_b`, `expires` can be falsified."""
        nodes = nodes or self.tees[:3]
        x_a, shares, sealed = self.point(), b"", b""
        table = bytes([threshold]) + generation.to_bytes(4, "big") + x_a
        for node in nodes:
            kfrag, u1, kem = self.random(), self.point(), self.random()
            message = kfrag + u1 + x_a + b"\1" + order.asset.pk_a + b"\1" + changes.get("pk_b", order.pk_b)
            signature = changes.get("signer", order.asset.signer).compact(hashlib.sha256(message).digest())
            expires = changes.get("expires", self.now + HOUR)
            epoch = node.epoch.to_bytes(8, "big")
            shares += node.node_id + epoch + kfrag + u1 + kem
            sealed += signature + expires.to_bytes(5, "big") + self.random(64) + self.random(80)
            table += node.node_id + epoch + bytes.fromhex(node.signer.address[2:]) + kfrag + u1 + kem
        return x_a, shares, sealed, table

    def approve_arguments(self, order: Order, *args: Any, **changes: Any) -> list[Any]:
        threshold = changes.get("threshold", 2)
        x_a, shares, sealed, table = self.shares(order, *args, **changes)
        order.nodes = list(args[0]) if args else self.tees[:3]
        order.table, order.shares, order.sealed = table, shares, sealed
        kpq = changes.get("kpq", self.random(1168))
        return [order.order_id, order.terms, order.asset.parts, threshold, x_a, shares, sealed, kpq, bytes(32), 0]

    def approve(self, order: Order | None = None, *args: Any, **changes: Any) -> Order:
        order = order or self.request()
        self.grants.approve(*self.approve_arguments(order, *args, **changes), b"", sender=self.provider.address)
        return order

    def accept(self, order: Order, slot: int, /, *, row: bytes | None = None, **changes: Any) -> bytes:
        """A node's compact `Accept`."""
        row = row or order.row(slot)
        values = {
            "order": order.order_id,
            "generation": int.from_bytes(order.table[1:5], "big"),
            "slot": slot,
            "kfrag": row[60:92],
            "kemKey": row[125:157],
            "node": row[:32],
            "epoch": int.from_bytes(row[32:40], "big"),
        }
        signer = changes.pop("signer", order.nodes[slot].signer)
        contract = changes.pop("contract", self.exchange)
        return bytes(signer.compact(self.digest("Accept", contract, **{**values, **changes})))

    def accepts(self, order: Order, slots: tuple[int, ...] = (0, 1, 2)) -> bytes:
        return b"".join(bytes([slot]) + self.accept(order, slot) for slot in slots)

    def pay(self, order: Order | None = None, slots: tuple[int, ...] = (0, 1, 2)) -> Order:
        order = order or self.approve()
        self.exchange.pay(
            order.order_id,
            order.terms,
            order.card,
            order.table,
            self.accepts(order, slots),
            b"",
            b"",
            sender=self.consumer.address,
            value=order.terms[5],
        )
        self.note_payment(order, slots)
        return order

    def note_payment(self, order: Order, slots: tuple[int, ...] = (0, 1, 2)) -> None:
        """What `pay` puts into the order's progress."""
        ends_at = self.now + (order.terms[6] & (2**32 - 1))
        order.progress = sum(1 << slot for slot in slots).to_bytes(2, "big") + ends_at.to_bytes(5, "big")

    def fetch(self, order: Order, /, *, role: Role | None = None, **changes: Any) -> bytes:
        values = {"order": order.order_id, "generation": int.from_bytes(order.table[1:5], "big"), **changes}
        return (role or self.consumer).compact(self.digest("Fetch", self.exchange, **values))

    def receipt(
        self, order: Order, slot: int, /, *, row: bytes | None = None, old: bool = False, **changes: Any
    ) -> bytes:
        """One packed receipt."""
        row = row or order.row(slot)
        signer, contract = changes.pop("signer", order.nodes[slot].signer), changes.pop("contract", self.exchange)
        generation = int.from_bytes(order.table[1:5], "big")
        fetch = self.digest("Fetch", self.exchange, order=order.order_id, generation=generation)
        cfrag, block_hash = self.random(), self.random()
        values = {
            "order": order.order_id,
            "generation": generation,
            "slot": slot,
            "kfrag": row[60:92],
            "cfrag": cfrag,
            "fetch": fetch,
            "blockNumber": 99,
            "blockHash": block_hash,
            "node": row[:32],
            "epoch": int.from_bytes(row[32:40], "big"),
        }
        signature = signer.compact(self.digest("Receipt", contract, **{**values, **changes}))
        return bytes([slot | (128 if old else 0)]) + cfrag + (99).to_bytes(8, "big") + block_hash + signature

    def record(
        self, order: Order, slots: tuple[int, ...] = (0, 1), *, recorder: bytes = bytes(32), **changes: Any
    ) -> Order:
        arguments = self.delivery_arguments(order, slots, recorder=recorder, **changes)
        self.exchange.record_delivery(order.order_id, order.terms, order.card, *arguments, sender=self.stranger.address)
        self.note_delivery(order, slots, recorder if any(recorder) else account_of(self.stranger))
        return order

    def accept_receipts(
        self,
        order: Order,
        slots: tuple[int, ...] = (0, 1),
        *,
        sender: Role | None = None,
        authority: bytes = b"",
        **changes: Any,
    ) -> None:
        """Record and settle in one call."""
        caller, asset = sender or self.consumer, order.asset
        arguments = self.delivery_arguments(order, slots, **changes)
        head = (order.order_id, order.terms, asset.commitment, asset.credits)
        self.exchange.accept_receipts(*head, *arguments, authority, sender=caller.address)
        self.note_delivery(order, slots, changes.get("recorder", account_of(caller)))

    def delivery_arguments(self, order: Order, slots: tuple[int, ...] = (0, 1), **changes: Any) -> list[Any]:
        """From the table to the recorder."""
        receipts = changes.get("receipts", b"".join(self.receipt(order, slot) for slot in slots))
        return [
            order.table,
            changes.get("current", bytes(32)),
            order.progress[:7],
            changes.get("fetch", self.fetch(order)),
            receipts,
            changes.get("old_rows", b""),
            changes.get("recorder", bytes(32)),
        ]

    def note_delivery(self, order: Order, slots: tuple[int, ...], account: bytes) -> None:
        """What a recorded delivery puts into the order's progress."""
        order.progress = order.progress[:7] + account + b"".join(order.row(slot)[:32] for slot in slots)

    def deliver(self, order: Order | None = None) -> Order:
        return self.record(order or self.pay())

    def settle(
        self, order: Order, sender: Role | None = None, claim_for: bytes = bytes(32), authority: bytes = b""
    ) -> Any:
        self.exchange.settle(
            order.order_id,
            order.terms,
            order.asset.commitment,
            order.asset.credits,
            order.table_hash,
            order.progress,
            claim_for,
            authority,
            sender=(sender or self.consumer).address,
        )

    def refund(self, order: Order, *, claim_now: bool = False, sender: Role | None = None) -> None:
        self.exchange.refund(
            order.order_id,
            order.terms,
            order.card,
            order.table_hash,
            order.progress_hash,
            claim_now,
            sender=(sender or self.stranger).address,
        )

    def revoke(self, order: Order, sender: Role | None = None) -> None:
        self.grants.revoke(
            order.order_id,
            order.terms,
            order.card,
            order.table_hash,
            order.progress_hash,
            b"",
            sender=(sender or self.provider).address,
        )

    # Reading

    def status(self, order: Order) -> int:
        return int(self.exchange.order(order.order_id)[1])

    def state(self, order: Order) -> str:
        return STATES[self.status(order) & 15]

    def deadline(self, order: Order) -> int:
        return self.status(order) >> 32 & (2**32 - 1)

    def balance(self, account: bytes, token: str = ZERO) -> int:
        return int(self.exchange.balance_of(token, account))
