"""A whole trade in one process: chain twin, block stores in memory, a plain light node, real TEE node cores, two homes.

Cryptography, contracts' rules and nodes' rules are the real ones; only wires are missing. Adversaries wrap one of the parts.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from eth_hash.auto import keccak

from asset_bridge.attestation.policy import Policy, development
from asset_bridge.attestation.verifiers import hardware
from asset_bridge.attestation.verify import NO_COLLATERAL, Verifier, VerifierSet
from asset_bridge.attesters import Attester
from asset_bridge.chain.keys import AccountKey, address_bytes
from asset_bridge.chain.messages import Domain, ack_digest, receipt_digest, storage_receipt_digest
from asset_bridge.chain.records import (
    ZERO32,
    ZERO_ADDRESS,
    Ack,
    DeliveryReceipt,
    FetchSignature,
    Node,
    NodeKind,
    Offer,
    Order,
    Periods,
    StorageReceipt,
    Vendor,
)
from asset_bridge.chain.twin import ChainTwin
from asset_bridge.errors import BridgeError, UnavailableError
from asset_bridge.ipfs.memory import InMemoryStore
from asset_bridge.ipfs.multi import MultiSource
from asset_bridge.ipld.cid import Cid, verify_block
from asset_bridge.ipld.unixfs import body_cid
from asset_bridge.nodes.tee.core import TeeNodeCore, TeeParts
from asset_bridge.nodes.tee.identity import NodeIdentity
from asset_bridge.trade.desk import Desk
from asset_bridge.trade.documents.description import Description
from asset_bridge.trade.evidence import Examiner
from asset_bridge.trade.ports import LightNode, Progress, TeeNode
from asset_bridge.trade.publish import Plan
from asset_bridge.trade.register import EndpointDocument, NodePlan, TeeRegistration, announce, announce_tee
from asset_bridge.vault import envelope
from asset_bridge.vault.envelope import Cost
from asset_bridge.vault.home import Home
from asset_bridge.vault.network import Contract, Network
from asset_bridge_simulator import SimAttester, SimVerifier, issue_platform, make_root, measurement_id

COIN = 10**18
PRICE_WEI = COIN // 10
MEASUREMENT = keccak(b"the build that this test lists")
PERIODS = Periods(3600, 3600, 3600, 600, 600, 86_400)
QUICK = Cost(10, 1, 1)
PASSPHRASE = "a passphrase for tests"
STAKE_WEI = COIN


class StoreSource:
    """A storage node as a source of blocks."""

    def __init__(self, store: InMemoryStore, name: str) -> None:
        self.store, self.name, self.down = store, name, False

    def get_block(self, cid: bytes) -> bytes:
        if self.down:
            raise down(self.name)
        block = self.store.get_block(Cid.from_bytes(cid))
        verify_block(Cid.from_bytes(cid), block)
        return block


def down(name: str) -> UnavailableError:
    """What a peer that does not answer looks like."""
    return UnavailableError("transport.down", f"{name} does not answer", actor=name)


class PlainLight:
    """The least that a light node does, over stores at hand; also the tee nodes' source of acks."""

    name = "light node"

    def __init__(self, scene: Scene, key: AccountKey, node_id: bytes) -> None:
        self.scene, self.key, self.node_id = scene, key, node_id
        self.held: list[DeliveryReceipt] = []

    def get_block(self, cid: bytes) -> bytes:
        return MultiSource(self.scene.sources).get_block(cid)

    def upload(
        self, root: bytes, length: int, blocks: Callable[[bytes], bytes], purpose: str, progress: Progress | None
    ) -> None:
        cid = Cid.from_bytes(root)
        for source in self.scene.sources:
            state = source.store.begin(cid, length)
            while state.missing:
                for missing in state.missing:
                    source.store.put_block(cid, missing, blocks(missing.to_bytes()))
                state = source.store.state(cid)
            source.store.finish(cid)

    def storage_receipt(self, body_digest: bytes, length: int) -> StorageReceipt:
        chain = self.scene.chain
        node = chain.node(self.node_id)
        unsigned = StorageReceipt(
            body_digest,
            length,
            tuple(sorted(self.scene.storage_ids)),
            chain.block().number,
            self.node_id,
            node.current.epoch,
            b"",
        )
        digest = storage_receipt_digest(Domain(chain.chain_id, chain.ledger), unsigned)
        return StorageReceipt(
            *[getattr(unsigned, n) for n in StorageReceipt.__slots__[:-1]], self.key.sign_digest(digest)
        )

    def catalog(self) -> list[bytes]:
        return [asset.asset_id for asset in self.scene.chain.assets()]

    def events(self, after_block: int) -> Iterator[dict[str, object]]:
        return iter(())

    def reencrypt(
        self, order_id: bytes, fetch: FetchSignature
    ) -> list[tuple[bytes, bytes, DeliveryReceipt, tuple[Ack, ...]]]:
        approval = self.scene.chain.order(order_id).approval
        answers = []
        for slot in approval.slots if approval is not None else ():
            try:
                cfrag, receipt, acks = self.scene.connect(self.scene.chain.node(slot.node_id)).reencrypt(
                    order_id, fetch
                )
            except BridgeError:
                continue
            answers.append((slot.node_id, cfrag, receipt, acks))
        return answers

    def acknowledge(self, node: Node, order_id: bytes, *rest: object) -> Ack:
        receipt = rest[-1]
        assert isinstance(receipt, DeliveryReceipt)
        self.held.append(receipt)
        domain = Domain(self.scene.chain.chain_id, self.scene.chain.exchange)
        digest = receipt_digest(domain, order_id, receipt)
        epoch = node.current.epoch
        return Ack(digest, node.node_id, epoch, self.key.sign_digest(ack_digest(domain, digest, node.node_id, epoch)))

    def provider_ack(
        self, order: Order, profile_digest: bytes, fetch: FetchSignature, receipt: DeliveryReceipt
    ) -> None:
        return None


@dataclass
class Tee:
    """A TEE node of the scene: operator, salt, platform, and the core that runs now (None: killed)."""

    operator: AccountKey
    salt: bytes
    attester: Attester
    node_id: bytes = b""
    core: TeeNodeCore | None = None


@dataclass
class Scene:
    """Everything. `wrap_tee` lets an adversary stand in front of a node."""

    folder: Path
    chain: ChainTwin
    root_pem: bytes
    sources: list[StoreSource] = field(default_factory=list)
    storage_ids: list[bytes] = field(default_factory=list)
    tees: list[Tee] = field(default_factory=list)
    light: PlainLight = field(init=False)
    wrap_tee: Callable[[TeeNode], TeeNode] = lambda tee: tee
    more_verifiers: list[Verifier] = field(default_factory=list)
    measured: dict[bytes, str] = field(default_factory=lambda: {measurement_id(MEASUREMENT): "test build"})

    @property
    def verifiers(self) -> VerifierSet:
        found = hardware().plus(SimVerifier(self.root_pem))
        for one in self.more_verifiers:
            found = found.plus(one)
        return found

    def account(self, label: str, coins_wei: int = 100 * COIN) -> AccountKey:
        key = AccountKey(keccak(label.encode()))
        self.chain.fund(key.address, coins_wei)
        return key

    def clock(self) -> int:
        return self.chain.now_at

    def start_tee(self, tee: Tee, *, blocks_after: int = 3) -> None:
        """A process of this node: new keys, a new epoch, final after three blocks."""
        key = AccountKey.from_random(os.urandom)
        registration = TeeRegistration(
            tee.attester,
            self.verifiers,
            NO_COLLATERAL,
            None,
            key.address,
            tee.salt,
            EndpointDocument(keccak(tee.salt), 100),
            STAKE_WEI,
        )
        registered, claims = announce_tee(self.chain.account(tee.operator), registration, self.clock)
        identity = NodeIdentity(
            registered.node_id, tee.operator.address, key, claims.measurement_id, [registered.epoch]
        )
        tee.node_id = registered.node_id
        tee.core = TeeNodeCore(TeeParts([self.chain], identity, tee.attester, None, self.light, self.clock, os.urandom))
        self.chain.mine(blocks_after)

    def connect(self, node: Node) -> TeeNode:
        for tee in self.tees:
            if tee.node_id == node.node_id:
                if tee.core is None:
                    raise down(f"tee node 0x{node.node_id.hex()[:8]}")
                return self.wrap_tee(tee.core)
        raise down("an unknown node")

    def policy(self) -> Policy:
        operators = {address_bytes(tee.operator.address): f"operator {n}" for n, tee in enumerate(self.tees)}
        return development(self.chain.chain_id, operators, self.measured, self.root_pem)

    def examiner(self) -> Examiner:
        return Examiner(
            self.chain,
            self.policy(),
            self.verifiers,
            NO_COLLATERAL,
            os.urandom,
            self.clock,
        )

    def desk(self, label: str, *, light: LightNode | None = None) -> Desk:
        """A home and a desk for one side."""
        key = self.account(label)
        root = self.folder / label
        if not root.exists():
            Home.init(
                root,
                network=Network(
                    "memory",
                    self.chain.chain_id,
                    ("http://127.0.0.1:1",),
                    {"Exchange": Contract(self.chain.exchange, ZERO32)},
                    0,
                    (),
                    (),
                ),
                second_place=self.folder / f"{label}-second",
                passphrase=lambda: PASSPHRASE,
                randbytes=os.urandom,
                now_at=self.clock(),
                cost=QUICK,
            )
        home = Home.open(root)
        return Desk(
            account=self.chain.account(key),
            signer=key,
            vault=home.unlock(lambda: PASSPHRASE, os.urandom),
            light=light or self.light,
            storage=MultiSource(self.sources),
            replicas=MultiSource([*self.sources, light or self.light]),
            connect_tee=self.connect,
            clock=self.clock,
            randbytes=os.urandom,
            pause=lambda: self.chain.mine() and None,
        )

    def folder_of(self, label: str, name: str) -> Path:
        path = self.folder / label / name
        path.mkdir(mode=0o700, exist_ok=True)
        return path

    def damage(self, cid: Cid, sources: list[StoreSource]) -> None:
        """Flip a byte of a block on these storage nodes; the store serves it without noticing."""
        for source in sources:
            source.store = _Damaged(source.store, cid)


class _Damaged(InMemoryStore):
    """A store that serves one block with a flipped byte."""

    def __init__(self, inner: InMemoryStore, bad: Cid) -> None:
        self._inner, self._bad = inner, bad

    def get_block(self, cid: Cid) -> bytes:
        block = self._inner.get_block(cid)
        return bytes([block[0] ^ 1]) + block[1:] if cid == self._bad else block


def body_of(length: int, digest: bytes) -> Cid:
    """The CID of a body."""
    return body_cid(digest, length)


def make_scene(folder: Path, root: Path | None = None) -> Scene:
    """A chain with three storage nodes, a light node and three TEE nodes, all registered; `root`: a simulator's root that is there."""
    envelope.MIN_COST = QUICK
    chain = ChainTwin()
    if root is not None:
        shutil.copytree(root, folder / "simulator-root")
        root_pem = (root / "root.cert.pem").read_bytes()
    else:
        root_pem = make_root(folder / "simulator-root", now=chain.now_at).read_bytes()
    scene = Scene(folder, chain, root_pem)
    chain.governor.govern("NodeRegistry", "list_measurement", int(Vendor.SIMULATED), measurement_id(MEASUREMENT))
    for number in range(3):
        operator = scene.account(f"storage {number}")
        registered = announce(
            chain.account(operator), _plain_node(NodeKind.STORAGE, operator.address, b"storage", chain.now_at)
        )
        scene.storage_ids.append(registered.node_id)
        scene.sources.append(StoreSource(InMemoryStore(), f"storage node {number}"))
    operator = scene.account("light")
    signing = AccountKey.from_random(os.urandom)
    registered = announce(chain.account(operator), _plain_node(NodeKind.LIGHT, signing.address, b"light", chain.now_at))
    scene.light = PlainLight(scene, signing, registered.node_id)
    for number in range(3):
        platform = folder / f"platform {number}"
        issue_platform(folder / "simulator-root", platform, name=f"platform {number}", now=chain.now_at)
        attester = SimAttester.load(platform, MEASUREMENT, scene.clock)
        tee = Tee(scene.account(f"tee {number}"), keccak(b"salt %d" % number), attester)
        scene.tees.append(tee)
        scene.start_tee(tee)
    chain.mine(3)
    return scene


def _plain_node(kind: NodeKind, signing_address: str, salt: bytes, now_at: int) -> NodePlan:
    return NodePlan(kind, keccak(salt), keccak(b"endpoint"), 100, signing_address, now_at + 365 * 86_400, STAKE_WEI)


def plan_of(path: Path, **changes: object) -> Plan:
    """A plan with everything that does not matter filled in."""
    fields: dict[str, object] = {
        "path": path,
        "description": Description("Cohort of 2,000 patients", "Diagnoses and laboratory values.", ("cohort",)),
        "terms": "For the stated purpose only.",
        "offer": Offer(PRICE_WEI, ZERO_ADDRESS, ZERO32, PERIODS),
    }
    return Plan(**{**fields, **changes})  # type: ignore[arg-type]
