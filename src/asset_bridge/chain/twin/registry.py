"""NodeRegistry, as the specification says it (spec/contracts.md §5, §7; protocol §2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from asset_bridge.chain import ids, packing
from asset_bridge.chain.packing import EpochArgs, epoch_hash
from asset_bridge.chain.records import ZERO32, ZERO_ADDRESS, NodeKind, Vendor
from asset_bridge.chain.twin.world import Contract, Message, World, zero

MAX_EXPIRY = 2**32 - 1
NO_EPOCH = EpochArgs(ZERO32, 0, ZERO_ADDRESS, 0, ZERO32, ZERO32, ZERO32, 0)


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
    known: bool = False
    expires_at: int = 0


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
        self.log("GovernorChanged", governor=governor)
        for vendor in vendors:
            self._list_vendor(vendor, now_at)
        for vendor, measurement in measurements:
            self._list_measurement(vendor, measurement, now_at)

    # ── nodes ──
    def _start(self, message: Message, node_id: bytes, number: int, epoch: EpochArgs) -> None:
        node = self._node(node_id)
        self.check(epoch.signing_key != ZERO_ADDRESS, "signing key is zero")
        self.check(message.now_at < epoch.expires_at <= MAX_EXPIRY, "expiry is out of range")
        if node.kind == NodeKind.TEE:
            self._check_vendor(epoch.vendor)
        else:
            self.check(epoch.vendor == 0 and zero(epoch.measurement), "only tee nodes have evidence")
        known = (epoch.vendor, epoch.measurement) in self.table("ever_listed")
        self.table("nodes")[node_id] = replace(node, epoch=number, args=epoch, known=known, expires_at=epoch.expires_at)
        self.table("keys")[node_id, number] = epoch.signing_key
        self.log("EpochStarted", node_id=node_id, epoch=number, **epoch._asdict())

    def _check_vendor(self, vendor: int) -> None:
        if vendor == Vendor.SIMULATED:
            self.check(self.view_development(), "simulated evidence needs a development deployment")
        else:
            self.check(Vendor.NONE < vendor <= Vendor.TPM, "unknown vendor")

    def _node(self, node_id: bytes) -> NodeState:
        found = self.table("nodes").get(node_id)
        return found if isinstance(found, NodeState) else NodeState(ZERO_ADDRESS, 0, 0, NO_EPOCH, 0)

    def register(self, message: Message, salt: bytes, kind: int, epoch: EpochArgs, authority: bytes) -> bytes:
        """A new node of the actor's."""
        epoch = EpochArgs(*epoch)
        operator = self.actor(message, authority)
        node_id = ids.node_id(operator, salt)
        self.consume(message, authority, "Register", node_id, kind, epoch_hash(epoch))
        self.check(NodeKind.LIGHT <= kind <= NodeKind.STORAGE, "unknown kind")
        self.check(node_id not in self.table("nodes"), "node exists")
        self.check(message.value_wei >= self.view_minimum_stake(), "stake is too small")
        self.table("nodes")[node_id] = NodeState(operator, kind, 1, epoch, message.value_wei)
        self.log("NodeRegistered", node_id=node_id, operator=operator, kind=kind, salt=salt, stake=message.value_wei)
        self._start(message, node_id, 1, epoch)
        return node_id

    def _operated(self, node_id: bytes, actor: str) -> NodeState:
        node = self._node(node_id)
        self.check(node.kind != 0 and node.operator == actor, "not the operator")
        self.check(not node.withdrawn, "node is withdrawn")
        return node

    def renew(self, message: Message, node_id: bytes, epoch: EpochArgs, authority: bytes) -> None:
        """Fresh evidence; the same signing key keeps the epoch's number, so that approved slots live on."""
        epoch, node = EpochArgs(*epoch), self._node(node_id)
        number = node.epoch + (epoch.signing_key != node.args.signing_key)
        actor = self.authorised(message, authority, "Renew", node_id, number, epoch_hash(epoch))
        node = self._operated(node_id, actor)
        self.check(node.stake >= self.view_minimum_stake(), "stake is too small")
        self._start(message, node_id, number, epoch)

    def refresh(self, message: Message, node_id: bytes) -> None:  # noqa: ARG002
        """Takes up a measurement that was first listed after the epoch began."""
        node = self._node(node_id)
        self.check(node.kind == NodeKind.TEE, "not a tee node")
        known = (node.args.vendor, node.args.measurement) in self.table("ever_listed")
        self.table("nodes")[node_id] = replace(node, known=known)
        self.log("Refreshed", node_id=node_id, epoch=node.epoch)

    def add_stake(self, message: Message, node_id: bytes) -> None:
        """More stake, by anyone."""
        node = self._node(node_id)
        self.check(node.kind != 0 and not node.withdrawn, "no such node")
        self.table("nodes")[node_id] = replace(node, stake=node.stake + message.value_wei)
        self.log("StakeAdded", node_id=node_id, amount=message.value_wei)

    def withdraw(self, message: Message, node_id: bytes) -> None:
        """The operator leaves; final."""
        node = self._operated(node_id, message.sender)
        self.check(message.now_at >= node.busy_until, "node is busy")
        self.table("nodes")[node_id] = replace(node, stake=0, withdrawn=True, expires_at=0)
        self.log("NodeWithdrawn", node_id=node_id, amount=node.stake)
        self.world.move_coins(self.address, node.operator, node.stake)

    # ── what listed Exchanges ask ──
    def _measured(self, message: Message, node: NodeState) -> bool:
        """Whether the node's vendor and measurement are listed now, and were known when its epoch began or was refreshed."""
        vendor_at = self.view_vendor_active_at(node.args.vendor)
        measurement_at = self.view_measurement_active_at(node.args.vendor, node.args.measurement)
        return node.known and 0 < vendor_at <= message.now_at and 0 < measurement_at <= message.now_at

    def is_live(self, message: Message, node_id: bytes) -> bool:
        """The contract's verdict on a node now."""
        node = self._node(node_id)
        if node.expires_at <= message.now_at:
            return False
        return node.kind != NodeKind.TEE or self._measured(message, node)

    def _live_tee(self, message: Message, node_id: bytes, epoch: int) -> NodeState:
        node = self._node(node_id)
        self.check(node.epoch == epoch, "not the current epoch")
        self.check(node.expires_at > message.now_at, "epoch has expired")
        self.check(node.kind == NodeKind.TEE and self._measured(message, node), "measurement is not listed")
        return node

    def tee_slots(self, message: Message, nodes: Sequence[bytes], epochs: int) -> list[str]:
        """Signing keys of live TEE nodes of distinct operators at these epochs."""
        operators, signers = set[str](), []
        for node_id, epoch in zip(nodes, packing.unpack_epochs(epochs, len(nodes)), strict=True):
            node = self._live_tee(message, node_id, epoch)
            self.check(node.operator not in operators, "operators are not distinct")
            operators.add(node.operator)
            signers.append(node.args.signing_key)
        return signers

    def light_key(self, message: Message, node_id: bytes, epoch: int) -> str:
        """The signing key of a live light node's epoch."""
        node = self._node(node_id)
        self.check(node.kind == NodeKind.LIGHT, "not a light node")
        self.check(node.expires_at > message.now_at, "epoch has expired")
        self.check(node.epoch == epoch, "not the current epoch")
        return node.args.signing_key

    def hold(self, message: Message, nodes: Sequence[bytes], epochs: int, until: int) -> None:
        """A listed Exchange binds accepted nodes."""
        self.only_exchange(message)
        self._hold(message, nodes, epochs, until)

    def hold_for(self, message: Message, exchange: str, nodes: Sequence[bytes], epochs: int, until: int) -> None:
        """The same, for the Grants of a listed Exchange."""
        self.check(self.exchange_active(message, exchange), "not a listed exchange", "governor")
        grants = self.world.table("Exchange", "fixed").get("grants")
        self.check(message.sender == grants, "not the exchange's grants contract")
        self._hold(message, nodes, epochs, until)

    def _hold(self, message: Message, nodes: Sequence[bytes], epochs: int, until: int) -> None:
        for node_id, epoch in zip(nodes, packing.unpack_epochs(epochs, len(nodes)), strict=True):
            node = self._live_tee(message, node_id, epoch)
            self.check(until <= MAX_EXPIRY or node.busy_until >= until, "time is too large")
            self.table("nodes")[node_id] = replace(node, busy_until=max(node.busy_until, until))

    def slash(
        self, message: Message, exchange: str, nodes: Sequence[bytes], amount_each: int, beneficiary: str
    ) -> None:
        """Challenges of a listed Exchange take stake, at most all; a node left with too little is not live until it renews."""
        self.check(self.exchange_active(message, exchange), "not a listed exchange", "governor")
        challenges = self.world.table("Exchange", "fixed").get("challenges")
        self.check(message.sender == challenges, "not the exchange's challenges contract")
        owed = self.table("owed")
        for node_id in nodes:
            node = self._node(node_id)
            amount = min(amount_each, node.stake)
            left = node.stake - amount
            expires_at = node.expires_at if left >= self.view_minimum_stake() else 0
            self.table("nodes")[node_id] = replace(node, stake=left, expires_at=expires_at)
            owed[beneficiary] = owed.get(beneficiary, 0) + amount
            self.log("Slashed", node_id=node_id, exchange=exchange, beneficiary=beneficiary, amount=amount)

    def collect(self, message: Message, beneficiary: str) -> None:  # noqa: ARG002
        """Pays slashed stake out."""
        amount = self.table("owed").pop(beneficiary, 0)
        self.check(amount > 0, "nothing to collect")
        self.log("Collected", beneficiary=beneficiary, amount=amount)
        self.world.move_coins(self.address, beneficiary, amount)

    # ── lists ──
    def list_vendor(self, message: Message, vendor: int) -> None:
        """Governor; after the delay."""
        self.governed(message)
        self._list_vendor(vendor, self.addition_at(message))

    def _list_vendor(self, vendor: int, active_at: int) -> None:
        self._check_vendor(vendor)
        self.check(self.view_vendor_active_at(vendor) == 0, "already listed")
        self.table("vendors")[vendor] = active_at
        self.log("VendorListed", vendor=vendor, active_at=active_at)

    def remove_vendor(self, message: Message, vendor: int) -> None:
        """Governor; at once."""
        self.governed(message)
        self.table("vendors").pop(vendor, 0)
        self.log("VendorRemoved", vendor=vendor)

    def list_measurement(self, message: Message, vendor: int, measurement: bytes) -> None:
        """Governor; after the delay."""
        self.governed(message)
        self._list_measurement(vendor, measurement, self.addition_at(message))

    def _list_measurement(self, vendor: int, measurement: bytes, active_at: int) -> None:
        self._check_vendor(vendor)
        self.check(self.view_measurement_active_at(vendor, measurement) == 0, "already listed")
        self.table("measurements")[vendor, measurement] = active_at
        self.table("ever_listed")[vendor, measurement] = True
        self.log("MeasurementListed", vendor=vendor, measurement=measurement, active_at=active_at)

    def remove_measurement(self, message: Message, vendor: int, measurement: bytes) -> None:
        """Governor; at once."""
        self.governed(message)
        self.table("measurements").pop((vendor, measurement), 0)
        self.log("MeasurementRemoved", vendor=vendor, measurement=measurement)

    def remove_exchange(self, message: Message, exchange: str) -> None:
        """Governor; at once."""
        self.governed(message)
        self.table("exchanges").pop(exchange, 0)
        self.log("ExchangeRemoved", exchange=exchange)

    # ── views ──
    def view_node(self, message: Message, node_id: bytes) -> NodeView:
        """View; zeros for an unknown node."""
        node = self._node(node_id)
        return NodeView(
            node.operator,
            node.kind,
            node.epoch,
            node.args.signing_key,
            node.args.vendor,
            node.args.measurement,
            node.expires_at,
            node.busy_until,
            node.stake,
            node.withdrawn,
            self.is_live(message, node_id),
        )

    def view_operator_of(self, node_id: bytes) -> str:
        """View; zero address for an unknown node."""
        return self._node(node_id).operator

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
