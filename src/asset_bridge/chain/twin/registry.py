"""NodeRegistry, as the specification says it (spec/contracts.md §5, §7; protocol §2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from asset_bridge.chain import ids
from asset_bridge.chain.packing import EpochArgs, epoch_hash
from asset_bridge.chain.records import ZERO32, ZERO_ADDRESS, NodeKind, Vendor
from asset_bridge.chain.twin.world import Contract, Message, World

MAX_EXPIRY = 2**32 - 1


@dataclass(frozen=True, slots=True)
class NodeState:
    """A node as the contract stores it."""

    operator: str
    kind: int
    epoch: int
    args: EpochArgs
    stake: int
    busy_until: int = 0
    withdrawn: bool = False


class NodeView(NamedTuple):
    """ABI struct NodeView."""

    operator: str
    kind: int
    epoch: int
    signing_key: str
    vendor: int
    measurement: bytes
    expires_at: int
    busy_until: int
    stake: int
    withdrawn: bool
    live: bool


class NodeRegistry(Contract):
    """The model of contracts/NodeRegistry.vy."""

    NAME = "NodeRegistry"
    PREFIX = "registry"

    def __init__(self, world: World) -> None:
        super().__init__(world)

    def construct(
        self,
        now_at: int,
        governor: str,
        development: bool,
        minimum_stake: int,
        delay_seconds: int,
        vendors: Sequence[int],
        measurements: Sequence[tuple[int, bytes]],
    ) -> None:
        """The constructor; its first entries have no delay."""
        self.table("fixed").update(
            governor=governor, development=development, minimum_stake=minimum_stake, delay_seconds=delay_seconds
        )
        for vendor in vendors:
            self.table("vendors")[vendor] = now_at
            self.log("VendorListed", vendor=vendor, active_at=now_at)
        for vendor, measurement in measurements:
            self.table("measurements")[vendor, measurement] = now_at
            self.log("MeasurementListed", vendor=vendor, measurement=measurement, active_at=now_at)

    # ── nodes ──
    def _check_epoch(self, message: Message, kind: int, epoch: EpochArgs) -> None:
        self.check(epoch.signing_key != ZERO_ADDRESS, "signing key is zero")
        self.check(epoch.expires_at > message.now_at, "epoch ends in the past")
        self.check(epoch.expires_at <= MAX_EXPIRY, "epoch ends too late")
        if kind == NodeKind.TEE:
            self.check(epoch.vendor != Vendor.NONE, "vendor is missing")
            self.check(epoch.vendor != Vendor.SIMULATED or self.view_development(), "simulated evidence")
        else:
            self.check(epoch.vendor == Vendor.NONE, "vendor is for tee nodes")

    def _start(self, node_id: bytes, number: int, epoch: EpochArgs) -> None:
        self.table("keys")[node_id, number] = epoch.signing_key
        self.log("EpochStarted", node_id=node_id, epoch=number, **epoch._asdict())

    def register(self, message: Message, salt: bytes, kind: int, epoch: EpochArgs, authority: bytes) -> bytes:
        """A new node of the actor's."""
        epoch = EpochArgs(*epoch)
        operator = self.actor(message, authority)
        node_id = ids.node_id(operator, salt)
        self.consume(message, authority, "Register", node_id, kind, epoch_hash(epoch))
        self.check(1 <= kind <= 3, "unknown kind")
        self.check(node_id not in self.table("nodes"), "node exists")
        self.check(message.value_wei >= self.table("fixed")["minimum_stake"], "stake is too low")
        self._check_epoch(message, kind, epoch)
        self.table("nodes")[node_id] = NodeState(operator, kind, 1, epoch, message.value_wei)
        self.log("NodeRegistered", node_id=node_id, operator=operator, kind=kind, salt=salt, stake=message.value_wei)
        self._start(node_id, 1, epoch)
        return node_id

    def _node(self, node_id: bytes) -> NodeState:
        node = self.table("nodes").get(node_id)
        if not isinstance(node, NodeState):
            self.fail("unknown node")
        return node

    def renew(self, message: Message, node_id: bytes, epoch: EpochArgs, authority: bytes) -> None:
        """A new epoch of the same node."""
        epoch = EpochArgs(*epoch)
        node = self._node(node_id)
        self.check(not node.withdrawn, "node is withdrawn")
        self.require(
            message, authority, node.operator, "not the operator", "Renew", node_id, node.epoch + 1, epoch_hash(epoch)
        )
        self._check_epoch(message, node.kind, epoch)
        self.table("nodes")[node_id] = replace(node, epoch=node.epoch + 1, args=epoch)
        self._start(node_id, node.epoch + 1, epoch)

    def refresh(self, message: Message, node_id: bytes) -> None:  # noqa: ARG002
        """Takes up a listing made after the epoch began."""
        node = self._node(node_id)
        self.check(not node.withdrawn, "node is withdrawn")
        self.log("Refreshed", node_id=node_id, epoch=node.epoch)

    def add_stake(self, message: Message, node_id: bytes) -> None:
        """More stake, by anyone."""
        node = self._node(node_id)
        self.check(not node.withdrawn, "node is withdrawn")
        self.table("nodes")[node_id] = replace(node, stake=node.stake + message.value_wei)
        self.log("StakeAdded", node_id=node_id, amount=message.value_wei)

    def withdraw(self, message: Message, node_id: bytes) -> None:
        """The operator leaves; final."""
        node = self._node(node_id)
        self.check(message.sender == node.operator, "not the operator")
        self.check(not node.withdrawn, "node is withdrawn")
        self.check(message.now_at >= node.busy_until, "node is busy")
        self.table("nodes")[node_id] = replace(node, stake=0, withdrawn=True)
        self.world.move_coins(self.address, node.operator, node.stake)
        self.log("NodeWithdrawn", node_id=node_id, amount=node.stake)

    # ── what listed Exchanges ask ──
    def is_live(self, message: Message, node_id: bytes) -> bool:
        """The contract's verdict on a node now."""
        node = self.table("nodes").get(node_id)
        if not isinstance(node, NodeState) or node.withdrawn or node.args.expires_at <= message.now_at:
            return False
        if node.kind != NodeKind.TEE:
            return True
        vendor_at = self.table("vendors").get(node.args.vendor, 0)
        measurement_at = self.table("measurements").get((node.args.vendor, node.args.measurement), 0)
        return bool(0 < vendor_at <= message.now_at and 0 < measurement_at <= message.now_at)

    def _live_tee(self, message: Message, node_id: bytes, epoch: int) -> NodeState:
        node = self._node(node_id)
        self.check(node.kind == NodeKind.TEE, "not a tee node")
        self.check(node.epoch == epoch, "not the node's epoch")
        self.check(self.is_live(message, node_id), "node is not live")
        return node

    def tee_slots(self, message: Message, nodes: Sequence[bytes], epochs: Sequence[int]) -> tuple[list[str], list[str]]:
        """Operators and signing keys of live TEE nodes at these epochs."""
        found = [self._live_tee(message, n, e) for n, e in zip(nodes, epochs, strict=True)]
        return [n.operator for n in found], [n.args.signing_key for n in found]

    def light_key(self, message: Message, node_id: bytes, epoch: int) -> str:
        """The signing key of a live light node's epoch."""
        node = self._node(node_id)
        self.check(node.kind == NodeKind.LIGHT, "not a light node")
        self.check(node.epoch == epoch, "not the node's epoch")
        self.check(self.is_live(message, node_id), "node is not live")
        return node.args.signing_key

    def hold(self, message: Message, nodes: Sequence[bytes], epochs: Sequence[int], until: int) -> None:
        """A listed Exchange binds accepted nodes."""
        self.check(self.exchange_active(message, message.sender), "not a listed exchange")
        for node_id, epoch in zip(nodes, epochs, strict=True):
            node = self._live_tee(message, node_id, epoch)
            self.table("nodes")[node_id] = replace(node, busy_until=max(node.busy_until, until))

    def slash(self, message: Message, nodes: Sequence[bytes], amount_each: int, beneficiary: str) -> None:
        """A listed Exchange takes stake, at most all of it."""
        self.check(self.exchange_active(message, message.sender), "not a listed exchange")
        owed = self.table("owed")
        for node_id in nodes:
            node = self._node(node_id)
            amount = min(amount_each, node.stake)
            self.table("nodes")[node_id] = replace(node, stake=node.stake - amount)
            owed[beneficiary] = owed.get(beneficiary, 0) + amount
            self.log("Slashed", node_id=node_id, exchange=message.sender, beneficiary=beneficiary, amount=amount)

    def collect(self, message: Message, beneficiary: str) -> None:  # noqa: ARG002
        """Pays slashed stake out."""
        amount = self.table("owed").pop(beneficiary, 0)
        self.check(amount > 0, "nothing to collect")
        self.world.move_coins(self.address, beneficiary, amount)
        self.log("Collected", beneficiary=beneficiary, amount=amount)

    # ── lists ──
    def list_vendor(self, message: Message, vendor: int) -> None:
        """Governor; after the delay."""
        self.governed(message)
        self.check(vendor != Vendor.NONE, "vendor is zero")
        self.check(vendor != Vendor.SIMULATED or self.view_development(), "simulated evidence")
        self.check(vendor not in self.table("vendors"), "vendor is listed")
        active_at = message.now_at + self.view_delay_seconds()
        self.table("vendors")[vendor] = active_at
        self.log("VendorListed", vendor=vendor, active_at=active_at)

    def remove_vendor(self, message: Message, vendor: int) -> None:
        """Governor; at once."""
        self.governed(message)
        self.check(self.table("vendors").pop(vendor, 0) != 0, "vendor is not listed")
        self.log("VendorRemoved", vendor=vendor)

    def list_measurement(self, message: Message, vendor: int, measurement: bytes) -> None:
        """Governor; after the delay."""
        self.governed(message)
        self.check((vendor, measurement) not in self.table("measurements"), "measurement is listed")
        active_at = message.now_at + self.view_delay_seconds()
        self.table("measurements")[vendor, measurement] = active_at
        self.log("MeasurementListed", vendor=vendor, measurement=measurement, active_at=active_at)

    def remove_measurement(self, message: Message, vendor: int, measurement: bytes) -> None:
        """Governor; at once."""
        self.governed(message)
        self.check(self.table("measurements").pop((vendor, measurement), 0) != 0, "measurement is not listed")
        self.log("MeasurementRemoved", vendor=vendor, measurement=measurement)

    def remove_exchange(self, message: Message, exchange: str) -> None:
        """Governor; at once."""
        self.governed(message)
        self.check(self.table("exchanges").pop(exchange, 0) != 0, "exchange is not listed")
        self.log("ExchangeRemoved", exchange=exchange)

    # ── views ──
    def view_node(self, message: Message, node_id: bytes) -> NodeView:
        """View; zeros for an unknown node."""
        node = self.table("nodes").get(node_id)
        if not isinstance(node, NodeState):
            return NodeView(ZERO_ADDRESS, 0, 0, ZERO_ADDRESS, 0, ZERO32, 0, 0, 0, False, False)
        return NodeView(
            node.operator,
            node.kind,
            node.epoch,
            node.args.signing_key,
            node.args.vendor,
            node.args.measurement,
            node.args.expires_at,
            node.busy_until,
            node.stake,
            node.withdrawn,
            self.is_live(message, node_id),
        )

    def view_operator_of(self, node_id: bytes) -> str:
        """View; zero address for an unknown node."""
        node = self.table("nodes").get(node_id)
        return node.operator if isinstance(node, NodeState) else ZERO_ADDRESS

    def view_signing_key(self, node_id: bytes, epoch: int) -> str:
        """View; the key of an epoch, also a past one."""
        return str(self.table("keys").get((node_id, epoch), ZERO_ADDRESS))

    def view_vendor_active_at(self, vendor: int) -> int:
        """View."""
        return int(self.table("vendors").get(vendor, 0))

    def view_measurement_active_at(self, vendor: int, measurement: bytes) -> int:
        """View."""
        return int(self.table("measurements").get((vendor, measurement), 0))

    def view_claimable(self, beneficiary: str) -> int:
        """View."""
        return int(self.table("owed").get(beneficiary, 0))

    def view_minimum_stake(self) -> int:
        """View."""
        return int(self.table("fixed")["minimum_stake"])
