"""A world whose orders have true shares and fragments, so that challenges can be answered."""

from __future__ import annotations

import hashlib
from typing import Any

import boa
from boa.contracts.abi.abi_contract import ABIContract
from eth_hash.auto import keccak
from eth_utils import to_checksum_address

from asset_bridge import reencryption as pre
from asset_bridge.keys.derivation import ShareRandomness
from asset_bridge.keys.secp256k1 import SecretScalar
from asset_bridge.reencryption.chain_proof import to_chain_proof
from tests.support.revm import next_addresses
from tests.unit.contracts.world import DAY, HOUR, Node, Order, Role, World, deploy, pack_periods

DEPOSIT = 10**16
PERIODS = pack_periods(access=30 * DAY)


class ChallengeWorld(World):
    """Verifier and Challenges beside the Exchange; `order` makes one with shares that re-encrypt."""

    def deploy_exchange(self, fees: tuple[int, ...], challenges: str | None = None) -> tuple[ABIContract, ABIContract]:
        del challenges
        self.verifier = deploy("ReencryptionVerifier")
        deployer = bytes.fromhex(Role(f"deployer of {fees} with challenges").address[2:])
        later = next_addresses(to_checksum_address(deployer), 3)[1:]
        settings = (self.development, fees, 60 if self.development else HOUR, self.grace)
        with boa.env.prank(to_checksum_address(deployer)):
            exchange = deploy("Exchange", self.ledger.address, self.registry.address, *later, *settings)
            grants = deploy("Grants", exchange.address)
            self.challenge = deploy("Challenges", exchange.address, self.verifier.address, DEPOSIT)
        assert str(self.challenge.address) == later[1]
        return exchange, grants

    def scalar(self) -> SecretScalar:
        return SecretScalar.from_wide(self.random(48))

    def kfrags(self, order: Order, threshold: int = 2, shares: int = 3) -> list[pre.VerifiedKeyFrag]:
        """New shares of the order's asset."""
        coefficients = tuple(self.scalar() for _ in range(threshold - 1))
        chosen = ShareRandomness(self.scalar(), coefficients, tuple(self.random() for _ in range(shares)))
        signer = SecretScalar.from_bytes(order.asset.signer.key.secret)
        return pre.generate_shares(self.a, self.b.public_key(), signer, threshold, chosen)

    def packed(
        self,
        order: Order,
        kfrags: list[pre.VerifiedKeyFrag],
        nodes: list[Node],
        generation: int = 1,
        threshold: int = 2,
    ) -> tuple[bytes, bytes, bytes, bytes]:
        """(X_A, shares, sealed shares, table)."""
        x_a, shares, sealed = kfrags[0].x_a.to_bytes(), b"", b""
        table = bytes([threshold]) + generation.to_bytes(4, "big") + x_a
        for kfrag, node in zip(kfrags, nodes, strict=True):
            u1, kem, epoch = kfrag.u1.to_bytes(), self.random(), node.epoch.to_bytes(8, "big")
            message = kfrag.kfrag_id + u1 + x_a + b"\1" + order.asset.pk_a + b"\1" + order.pk_b
            signature = order.asset.signer.compact(hashlib.sha256(message).digest())
            shares += node.node_id + epoch + kfrag.kfrag_id + u1 + kem
            sealed += signature + (self.now + HOUR).to_bytes(5, "big") + self.random(64) + self.random(80)
            table += node.node_id + epoch + bytes.fromhex(node.signer.address[2:]) + kfrag.kfrag_id + u1 + kem
        return x_a, shares, sealed, table

    def true_order(self, threshold: int = 2, shares: int = 3) -> Order:
        """Listed, requested and approved with true shares."""
        self.a, self.b = self.scalar(), self.scalar()
        signer = Role("kfrag signer")
        pk_a = self.a.public_key().to_bytes()
        self.capsule, _ = pre.encrypt_package(self.a.public_key(), b"package", self.random)
        keys = pk_a + self.point() + self.random(98) + signer.point + signer.y
        asset = self.publish(capsule=self.capsule.to_bytes(), keys=keys)
        order = self.request(asset, pk_b=self.b.public_key().to_bytes())
        order.nodes = self.tees[:shares]
        self.true_kfrags = self.kfrags(order, threshold, shares)
        x_a, packed, sealed, table = self.packed(order, self.true_kfrags, order.nodes, threshold=threshold)
        order.table, order.shares, order.sealed = table, packed, sealed
        arguments = [order.order_id, order.terms, order.asset.parts, threshold, x_a, packed, sealed]
        self.grants.approve(*arguments, self.random(1168), bytes(32), 0, b"", sender=self.provider.address)
        return order

    def entry(self, slot: int, kfrag: pre.VerifiedKeyFrag | None = None) -> bytes:
        """slot(1), proof(482)."""
        return bytes([slot]) + to_chain_proof(pre.reencrypt(self.capsule, kfrag or self.true_kfrags[slot]))

    def record_true(self, order: Order, slots: tuple[int, ...] = (0, 1), **changes: Any) -> Order:
        """Deliver with receipts that name the true fragments."""
        receipts = b"".join(self.true_receipt(order, slot) for slot in slots)
        return self.record(order, slots, receipts=changes.pop("receipts", receipts), **changes)

    def true_receipt(self, order: Order, slot: int, cfrag: bytes | None = None, **changes: Any) -> bytes:
        """A packed receipt over the true fragment, or over another digest."""
        row = order.row(slot)
        digest = cfrag or keccak(row[60:92] + self.entry(slot)[1:67])
        raw = self.receipt(order, slot, cfrag=digest, **changes)
        return raw[:1] + digest + raw[33:41] + raw[41:]

    def delivered(self, threshold: int = 2, shares: int = 3) -> Order:
        order = self.pay(self.true_order(threshold, shares), tuple(range(shares)))
        return self.record_true(order, tuple(range(threshold)))

    # Challenges

    def open(
        self, order: Order, *, bond: int | None = None, sender: Role | None = None, authority: bytes = b""
    ) -> None:
        value = self.challenge.bond_of(order.table[0]) if bond is None else bond
        who = (sender or self.consumer).address
        self.challenge.challenge(
            order.order_id,
            order.terms,
            order.card,
            order.table,
            order.progress_hash,
            authority,
            sender=who,
            value=value,
        )

    def answer(self, order: Order, entries: bytes, **changes: Any) -> None:
        arguments: dict[str, Any] = {
            "order_id": order.order_id,
            "terms": order.terms,
            "parts": order.asset.parts,
            "capsule": self.capsule.to_bytes(),
            "table": order.table,
            "current": bytes(32),
            "progress_hash": order.progress_hash,
            "proofs": entries,
            "account": self.light.operator.address,
        }
        sender = changes.pop("sender", self.stranger)
        self.challenge.answer(*{**arguments, **changes}.values(), sender=sender.address)

    def close(self, order: Order, **changes: Any) -> None:
        arguments = {
            "order_id": order.order_id,
            "terms": order.terms,
            "card": order.card,
            "table": order.table,
            "progress": order.progress,
        }
        self.challenge.close(*{**arguments, **changes}.values(), sender=self.stranger.address)

    def contradict(self, order: Order, slot: int, receipt: bytes, **changes: Any) -> None:
        arguments: dict[str, Any] = {
            "order_id": order.order_id,
            "terms": order.terms,
            "parts": order.asset.parts,
            "capsule": self.capsule.to_bytes(),
            "table": order.table,
            "current": bytes(32),
            "progress_hash": order.progress_hash,
            "old_row": b"",
            "fetch": self.fetch(order),
            "receipt": receipt,
            "proof": self.entry(slot)[1:],
            "beneficiary": self.stranger.address,
        }
        self.challenge.contradict(*{**arguments, **changes}.values(), sender=self.stranger.address)

    def stake(self, node: Node) -> int:
        return int(self.registry.node(node.node_id)[8])
