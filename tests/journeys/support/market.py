"""A trade in one process with the real nodes: LightNodeCore over storage nodes that are read through real gateways, TeeNodeCore whose
acks come from the light nodes themselves, the chain twin. Only HTTP between nodes is missing. Liars are in lies.py."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from eth_hash.auto import keccak

from asset_bridge.attestation.verifiers import hardware
from asset_bridge.attestation.verify import NO_COLLATERAL
from asset_bridge.chain.keys import AccountKey
from asset_bridge.chain.records import Ack, DeliveryReceipt, FetchSignature, Node, NodeKind, Vendor
from asset_bridge.chain.twin import ChainTwin
from asset_bridge.errors import BridgeError
from asset_bridge.ipfs.gateway import Gateway
from asset_bridge.ipfs.memory import InMemoryStore
from asset_bridge.ipld.cid import RAW, Cid
from asset_bridge.nodes.light.core import LightNodeCore, LightParts
from asset_bridge.nodes.light.replicas import StoreReplica
from asset_bridge.nodes.tee.core import TeeNodeCore, TeeParts
from asset_bridge.nodes.tee.identity import NodeIdentity
from asset_bridge.trade.register import EndpointDocument, NodePlan, TeeRegistration, announce, announce_tee
from asset_bridge.vault import envelope
from asset_bridge_simulator import SimAttester, SimVerifier, issue_platform, make_root, measurement_id
from tests.support.trade import MEASUREMENT, QUICK, STAKE_WEI, Scene, Tee, down

Lie = Callable[[bytes], bytes | None]
"""What a liar makes of bytes; None: it says that it has none."""


class LockedTwin(ChainTwin):
    """The twin for readers in several threads: a view looks at an old state by swapping it in."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._lock = threading.RLock()
        super().__init__(*args, **kwargs)

    def view(self, *args: Any, **kwargs: Any) -> Any:
        with self._lock:
            return super().view(*args, **kwargs)

    def execute(self, *args: Any, **kwargs: Any) -> Any:
        with self._lock:
            return super().execute(*args, **kwargs)


class Storage:
    """A storage node: an honest store, what it answers instead for some blocks, and a gateway client in front of it."""

    def __init__(self, number: int) -> None:
        self.name = f"storage node {number}"
        self.store = InMemoryStore()
        self.down = False
        self.lies: dict[Cid, Lie] = {}
        self.lied = threading.Event()
        self.after: threading.Event | None = None
        """An honest node waits for it (a moment) before it answers, so that a liar is surely asked too."""
        self.gateway = Gateway(f"http://storage{number}.test", self.name, transport=httpx.MockTransport(self._answer))

    def _answer(self, request: httpx.Request) -> httpx.Response:
        if self.down:
            raise httpx.ConnectError("refused")
        cid = Cid.parse(request.url.path.rsplit("/", 1)[1])
        if cid in self.lies:
            block = self.lies[cid](self.store.get_block(cid))
            self.lied.set()
        else:
            if self.after is not None and cid.codec == RAW:
                self.after.wait(2)
            try:
                block = self.store.get_block(cid)
            except BridgeError:
                block = None
        return httpx.Response(404) if block is None else httpx.Response(200, stream=_Bytes(block))

    def get_block(self, cid: bytes) -> bytes:
        """Through the gateway client, as everybody reads it."""
        return self.gateway.get_block(cid)

    def heal(self) -> None:
        """Honest again."""
        self.lies.clear()
        self.down, self.after = False, None
        self.lied.clear()


class _Bytes(httpx.SyncByteStream):
    def __init__(self, block: bytes) -> None:
        self._block = block

    def __iter__(self) -> Iterator[bytes]:
        yield self._block


class Replica(StoreReplica):
    """A storage node as a light node writes to it; reads go through the gateway. `put` counts blocks that were sent."""

    def __init__(self, storage: Storage, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.name, self._storage = storage.name, storage

    def get_block(self, cid: bytes) -> bytes:
        """See Replica."""
        return self._storage.get_block(cid)

    def begin(self, root: Cid, length_bytes: int) -> Any:
        """See Replica."""
        if self._storage.down:
            raise down(self.name)
        return super().begin(root, length_bytes)


class TwinIndex:
    """The chain's events for a light node."""

    def __init__(self, chain: ChainTwin) -> None:
        self._chain = chain

    def update(self) -> int:
        return self._chain.height

    def events(self, after_block: int = -1) -> Iterator[dict[str, object]]:
        return iter(())

    def assets(self) -> list[bytes]:
        return [asset.asset_id for asset in self._chain.assets()]


class Receipts:
    """One light node as another asks it for receipts."""

    def __init__(self, core: LightNodeCore) -> None:
        self._core = core

    def receipts(self, order_id: bytes) -> tuple[FetchSignature | None, list[DeliveryReceipt]]:
        return self._core.delivery.held(order_id)


class Acks:
    """Where the TEE nodes get their acks: the light nodes themselves. `lies` replaces what a node answers; `asked` is the record."""

    def __init__(self, market: Market) -> None:
        self._market = market
        self.lies: dict[bytes, Callable[[Callable[[], Ack], bytes, DeliveryReceipt], Ack]] = {}
        self.asked: list[bytes] = []

    def acknowledge(self, node: Node, order_id: bytes, fetch: FetchSignature, receipt: DeliveryReceipt) -> Ack:
        self.asked.append(node.node_id)

        def honest() -> Ack:
            return self._market.light_core(node.node_id).acknowledge(order_id, fetch, receipt)

        lie = self.lies.get(node.node_id)
        return honest() if lie is None else lie(honest, order_id, receipt)

    def provider_ack(self, *_: object) -> None:
        return None


@dataclass
class Market(Scene):
    """Everything. `light` is the first light node; the others of `lights` belong to other operators."""

    storages: list[Storage] = field(default_factory=list)
    storage_keys: list[AccountKey] = field(default_factory=list)
    lights: list[LightNodeCore] = field(default_factory=list)
    light_keys: list[AccountKey] = field(default_factory=list)
    acks: Acks = field(init=False)
    tee_readers: Callable[[], list[Any]] = field(init=False)

    def __post_init__(self) -> None:
        self.acks = Acks(self)
        self.tee_readers = lambda: [self.chain]
        self.tee_lie: Callable[[Any], Any] = lambda event: event

    def light_core(self, node_id: bytes) -> LightNodeCore:
        for core in self.lights:
            if core.parts.node_id == node_id:
                return core
        raise down("an unknown light node")

    def replicas(self) -> list[Replica]:
        return [
            Replica(
                storage,
                node_id,
                storage.store,
                key=key,
                chain_id=self.chain.chain_id,
                registry=self.chain.registry,
                clock=self.clock,
                operator=key.address,
            )
            for storage, node_id, key in zip(self.storages, self.storage_ids, self.storage_keys, strict=True)
        ]

    def add_light(self, label: str, *, operator: str = "") -> LightNodeCore:
        """Register a light node and start it. `operator` names another one's, so that both belong to one operator."""
        key, operator_key = AccountKey(keccak(f"signing {label}".encode())), self.account(operator or label)
        plan = plain_node(NodeKind.LIGHT, key.address, label.encode(), self.clock())
        registered = announce(self.chain.account(operator_key), plan)
        core = self.start_light(registered.node_id, key, self.folder / label, operator_key)
        self.lights.append(core)
        self.light_keys.append(key)
        return core

    def start_light(
        self, node_id: bytes, key: AccountKey, folder: Path, operator: AccountKey | None = None
    ) -> LightNodeCore:
        """A process of a light node on its folder."""
        return LightNodeCore(
            LightParts(
                node_id=node_id,
                epoch=1,
                key=key,
                reader=self.chain,
                index=TwinIndex(self.chain),
                account=self.chain.account(operator) if operator is not None else None,
                replicas=self.replicas,
                tee_of=self.connect,
                light_of=lambda node: Receipts(self.light_core(node.node_id)),
                folder=folder,
                clock=self.clock,
                randbytes=os.urandom,
            )
        )

    def start_tee(self, tee: Tee) -> None:
        """A process of this node: new keys, a new epoch; its acks are the light nodes'."""
        key = AccountKey.from_random(os.urandom)
        verifiers = hardware().plus(SimVerifier(self.root_pem))
        endpoint = EndpointDocument(keccak(tee.salt), 100)
        registration = TeeRegistration(
            tee.attester, verifiers, NO_COLLATERAL, None, key.address, tee.salt, endpoint, STAKE_WEI
        )
        registered, claims = announce_tee(self.chain.account(tee.operator), registration, self.clock)
        identity = NodeIdentity(
            registered.node_id, tee.operator.address, key, claims.measurement_id, [registered.epoch]
        )
        tee.node_id = registered.node_id
        tee.core = TeeNodeCore(
            TeeParts(self.tee_readers(), identity, tee.attester, None, self.acks, self.clock, os.urandom)
        )
        self.chain.mine(3)

    def tee_key(self, number: int) -> AccountKey:
        """What a TEE node that works with the liars signs with."""
        core = self.tees[number].core
        assert core is not None
        return core._identity.key

    def heal(self) -> None:
        """Every node honest and up again."""
        for storage in self.storages:
            storage.heal()
        self.acks.lies.clear()
        self.acks.asked.clear()
        self.wrap_tee = lambda tee: tee

    def close(self) -> None:
        for core in self.lights:
            core.close()


def plain_node(kind: NodeKind, signing_address: str, salt: bytes, now_at: int) -> NodePlan:
    return NodePlan(kind, keccak(salt), keccak(b"endpoint"), 100, signing_address, now_at + 365 * 86_400, STAKE_WEI)


def make_market(folder: Path, *, lights: int = 2, tees: int = 3) -> Market:
    """Three storage nodes, light nodes and TEE nodes of different operators, all registered and running."""
    envelope.MIN_COST = QUICK
    folder.mkdir(exist_ok=True)
    chain = LockedTwin()
    root_pem = make_root(folder / "simulator-root", now=chain.now_at).read_bytes()
    market = Market(folder, chain, root_pem)
    chain.governor.govern("NodeRegistry", "list_measurement", int(Vendor.SIMULATED), measurement_id(MEASUREMENT))
    for number in range(3):
        operator = market.account(f"storage {number}")
        plan = plain_node(NodeKind.STORAGE, operator.address, b"storage", chain.now_at)
        market.storage_ids.append(announce(chain.account(operator), plan).node_id)
        market.storage_keys.append(operator)
        market.storages.append(Storage(number))
    market.sources = [storage.gateway for storage in market.storages]  # type: ignore[misc]
    for number in range(lights):
        market.add_light(f"light {number}")
    market.light = market.lights[0]  # type: ignore[assignment]
    for number in range(tees):
        platform = folder / f"platform {number}"
        issue_platform(folder / "simulator-root", platform, name=f"platform {number}", now=chain.now_at)
        attester = SimAttester.load(platform, MEASUREMENT, market.clock)
        tee = Tee(market.account(f"tee {number}"), keccak(b"salt %d" % number), attester)
        market.tees.append(tee)
        market.start_tee(tee)
    chain.mine(3)
    return market
