"""A small market on the chain twin with real shares, real evidence (simulated) and real TEE nodes in process."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

from eth_hash.auto import keccak

from asset_bridge.attestation.policy import Policy, development
from asset_bridge.attestation.verifiers import hardware
from asset_bridge.attestation.verify import NO_COLLATERAL
from asset_bridge.chain import messages
from asset_bridge.chain.config import DeployConfig
from asset_bridge.chain.keys import AccountKey, address_bytes
from asset_bridge.chain.records import (
    ZERO32,
    ZERO_ADDRESS,
    AcceptSignature,
    Ack,
    Approval,
    ApprovedSlot,
    At,
    BlockRef,
    DeliveryReceipt,
    FetchSignature,
    Listing,
    Node,
    NodeKind,
    Offer,
    Order,
    Periods,
    RequestTerms,
    StorageReceipt,
    Vendor,
)
from asset_bridge.chain.twin.chain import ChainTwin, TwinAccount
from asset_bridge.errors import UnavailableError
from asset_bridge.keys.derivation import share_randomness
from asset_bridge.keys.hpke import seal_kfrag
from asset_bridge.keys.kem import SharePublicKey
from asset_bridge.keys.secp256k1 import SecretScalar
from asset_bridge.nodes.tee.start import StartedTee, TeeSetup
from asset_bridge.reencryption import VerifiedKeyFrag, encrypt_package, generate_shares
from asset_bridge.trade.evidence import Examiner, OrderKey
from asset_bridge.trade.register import EndpointDocument
from asset_bridge_simulator import SimAttester, SimVerifier, issue_platform, make_root, measurement_id, measurement_of

PERIODS = Periods(600, 600, 600, 300, 200, 86_400)
FAR = 2**32 - 1
STAKE_WEI = 10**17
DEV = measurement_of("asset-bridge-dev")
GOVERNOR = AccountKey(keccak(b"twin governor"))


class Numbers:
    """Reproducible bytes."""

    def __init__(self, seed: str) -> None:
        self._seed, self._n = seed.encode(), 0

    def __call__(self, length_bytes: int) -> bytes:
        self._n += 1
        return hashlib.shake_256(self._seed + self._n.to_bytes(4, "big")).digest(length_bytes)


class LightNodes:
    """The light nodes that answer for acks in process. What they do can be changed, by node id."""

    def __init__(self, domain: messages.Domain) -> None:
        self.domain, self.keys, self.asked = domain, dict[bytes, AccountKey](), list[bytes]()
        self.fetches: list[FetchSignature] = []
        self.behaviour: dict[bytes, Callable[[Ack], Ack]] = {}
        self.provider: Callable[[Order, DeliveryReceipt], tuple[bytes, Ack] | None] = lambda order, receipt: None

    def ack(self, key: AccountKey, node_id: bytes, epoch: int, order_id: bytes, receipt: DeliveryReceipt) -> Ack:
        digest = messages.receipt_digest(self.domain, order_id, receipt)
        return Ack(digest, node_id, epoch, key.sign_digest(messages.ack_digest(self.domain, digest, node_id, epoch)))

    def acknowledge(self, node: Node, order_id: bytes, fetch: FetchSignature, receipt: DeliveryReceipt) -> Ack:
        self.fetches.append(fetch)
        self.asked.append(node.node_id)
        good = self.ack(self.keys[node.node_id], node.node_id, node.current.epoch, order_id, receipt)
        return self.behaviour.get(node.node_id, lambda ack: ack)(good)

    def provider_ack(
        self, order: Order, profile_digest: bytes, fetch: FetchSignature, receipt: DeliveryReceipt
    ) -> tuple[bytes, Ack] | None:
        return self.provider(order, receipt)


def down(_ack: Ack) -> Ack:
    raise UnavailableError("transport.down", "it is down")


class Lens:
    """One endpoint's view of the twin; `orders` and `blocks` may show something else."""

    def __init__(self, twin: ChainTwin) -> None:
        self._twin = twin
        self.order_changes: dict[At, Callable[[Order], Order]] = {}
        self.block_changes: dict[At, Callable[[BlockRef], BlockRef]] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._twin, name)

    def block(self, at: At = At.HEAD) -> BlockRef:
        return self.block_changes.get(at, lambda block: block)(self._twin.block(at))

    def order(self, order_id: bytes, at: At = At.HEAD) -> Order:
        return self.order_changes.get(at, lambda order: order)(self._twin.order(order_id, at))


class Market:
    """Provider, consumer, two light nodes of different operators, two storage nodes, three TEE nodes."""

    def __init__(
        self,
        folder: Path,
        *,
        light_operators: int = 2,
        lenses: int = 2,
        tees: int = 3,
        measured: tuple[bytes, ...] = (),
    ) -> None:
        self.numbers, self.starts = Numbers("market"), count()
        self.measured = (measurement_id(DEV), *measured)
        listed = tuple((int(Vendor.SIMULATED), code) for code in (measurement_id(DEV), *measured))
        config = DeployConfig(GOVERNOR.address, measurements=listed)
        self.twin = ChainTwin(config)
        self.domain = messages.Domain(self.twin.chain_id, self.twin.exchange)
        self.folder = folder
        self.root = make_root(folder / "root", now=self.now).read_bytes()
        self.verifiers = hardware().plus(SimVerifier(self.root))
        self.provider, self.consumer = self.account("provider"), self.account("consumer")
        self.provider_key, self.consumer_key = self.key("provider"), self.key("consumer")
        self.seed, self.tweak, self.container = self.numbers(32), self.numbers(32), self.numbers(16)
        self.provider.set_profile(keccak(b"profile"), self.provider.address, ZERO_ADDRESS)
        self.acks = LightNodes(self.domain)
        self.storage = sorted(self.plain_node(f"storage {i}", NodeKind.STORAGE) for i in range(2))
        self.lights = [self.plain_node(f"light {i}", NodeKind.LIGHT) for i in range(light_operators)]
        self.lenses = [Lens(self.twin) for _ in range(lenses)]
        self.tees = [self.tee(f"tee {i}") for i in range(tees)]
        self.delegating = SecretScalar.from_wide(self.numbers(48))
        self.signer = SecretScalar.from_wide(self.numbers(48))
        self.receiving = SecretScalar.from_wide(self.numbers(48))
        self.asset_id = self.list_asset()
        self.twin.mine(2)

    @property
    def now(self) -> int:
        return self.twin.now_at if hasattr(self, "twin") else 1_800_000_000

    def clock(self) -> float:
        return float(self.twin.now_at)

    @staticmethod
    def key(name: str) -> AccountKey:
        return AccountKey(keccak(b"key of " + name.encode()))

    def account(self, name: str) -> TwinAccount:
        key = self.key(name)
        self.twin.fund(key.address, 10**20)
        return self.twin.account(key)

    def plain_node(self, name: str, kind: NodeKind, operator: str = "") -> bytes:
        key = self.key(f"signing {name}")
        node_id, _ = self.account(operator or name).register_node(
            salt=keccak(name.encode()),
            kind=kind,
            endpoint_digest=keccak(b"endpoint"),
            endpoint_length=100,
            signing_address=key.address,
            vendor=Vendor.NONE,
            measurement_id=ZERO32,
            platform_id=ZERO32,
            evidence_digest=ZERO32,
            expires_at=FAR,
            stake_wei=STAKE_WEI,
        )
        self.acks.keys[node_id] = key
        return node_id

    def setup(self, name: str, **changes: Any) -> TeeSetup:
        issue_platform(self.folder / "root", self.folder / name, name=name, now=self.now)
        made = TeeSetup(
            account=self.account(name),
            readers=self.lenses,
            attester=SimAttester.load(self.folder / name, DEV, self.clock),
            verifiers=self.verifiers,
            salt=keccak(name.encode()),
            endpoint=EndpointDocument(keccak(b"endpoint"), 100),
            stake_wei=STAKE_WEI,
            lifetime_seconds=86_400,
            acks=self.acks,
            clock=self.clock,
            randbytes=Numbers(f"{name} {next(self.starts)}"),
        )
        return replace(made, **changes)

    def tee(self, name: str, **changes: Any) -> StartedTee:
        return StartedTee(self.setup(name, **changes))

    def policy(self) -> Policy:
        operators = {address_bytes(self.key(f"tee {i}").address): f"operator {i}" for i in range(5)}
        return development(31337, operators, dict.fromkeys(self.measured, "dev"), self.root)

    def examiner(self, policy: Policy | None = None) -> Examiner:
        return Examiner(self.twin, policy or self.policy(), self.verifiers, NO_COLLATERAL, self.numbers, self.clock)

    # ── the trade ──
    def list_asset(self) -> bytes:
        capsule, package = encrypt_package(self.delegating.public_key(), b"k" * 97, self.numbers)
        receipt = StorageReceipt(
            keccak(b"body"), 100, tuple(self.storage), self.twin.block().number, self.lights[0], 1, b""
        )
        digest = messages.storage_receipt_digest(messages.Domain(self.twin.chain_id, self.twin.ledger), receipt)
        listing = Listing(
            header=self.numbers(128),
            capsule=capsule.to_bytes(),
            package=package,
            pk_a=self.delegating.public_key().to_bytes(),
            kfrag_signer=self.signer.public_key().to_bytes(),
            w=self.signer.public_key().to_bytes(),
            w_proof=self.numbers(98),
            pq_commit=self.numbers(32),
            body_digest=receipt.body_digest,
            body_length=100,
            description_digest=self.numbers(32),
            offer=Offer(1_000_003, ZERO_ADDRESS, self.numbers(32), PERIODS),
            supersedes=ZERO32,
            receipt=replace(receipt, signature=self.acks.keys[self.lights[0]].sign_digest(digest)),
        )
        return self.provider.list_asset(listing)[0]

    def request(self, *, final: bool = True, fetch_signer: str = "") -> bytes:
        offer = self.twin.asset(self.asset_id).offer
        terms = RequestTerms(
            asset_id=self.asset_id,
            pk_b=self.receiving.public_key().to_bytes(),
            hybrid_key_digest=self.numbers(32),
            form_digest=self.numbers(32),
            form_length=1000,
            offer=offer,
            order_nonce=self.numbers(32),
            fetch_signer=fetch_signer or self.consumer.address,
        )
        order_id, _ = self.consumer.request(terms)
        return self.settle(order_id, final)

    def settle(self, order_id: bytes, final: bool = True) -> bytes:
        if final:
            self.twin.mine(2)
        return order_id

    def shares(self, order_id: bytes, generation: int = 1) -> list[VerifiedKeyFrag]:
        randomness = share_randomness(self.seed, self.tweak, self.container, order_id, generation, 2, 3)
        return generate_shares(self.delegating, self.receiving.public_key(), self.signer, 2, randomness)

    def slot(self, order_id: bytes, generation: int, index: int, share: VerifiedKeyFrag, key: OrderKey) -> ApprovedSlot:
        public, kem = share.published(), SharePublicKey.from_bytes(key.kem_key)
        u1, x_a = public.u1.to_bytes(), public.x_a.to_bytes()
        sealed = seal_kfrag(
            kem, share.rk, order_id=order_id, generation=generation, slot=index, kfrag_id=public.kfrag_id,
            u1=u1, x_a=x_a, node_id=key.node_id, epoch=key.epoch,
        )  # fmt: skip
        return ApprovedSlot(
            public.kfrag_id, u1, public.receiver_signature, key.node_id, key.epoch, kem.digest(), key.expires_at,
            key.signature, sealed,
        )  # fmt: skip

    def approval(self, order_id: bytes, generation: int = 1) -> Approval:
        made = self.shares(order_id, generation)
        keys = [OrderKey.parse(tee.core.order_key(order_id)) for tee in self.tees[:3]]
        slots = tuple(
            self.slot(order_id, generation, index, share, key)
            for index, (share, key) in enumerate(zip(made, keys, strict=True))
        )
        reply = (keccak(b"reply"), 9) if generation == 1 else (ZERO32, 0)
        return Approval(generation, 2, made[0].published().x_a.to_bytes(), slots, self.numbers(1168), *reply)

    def approve(self, order_id: bytes, approval: Approval | None = None, *, final: bool = True) -> bytes:
        self.provider.approve(order_id, approval or self.approval(order_id))
        return self.settle(order_id, final)

    def accepts(self, order_id: bytes) -> list[AcceptSignature]:
        return [tee.core.accept(order_id, 1, index) for index, tee in enumerate(self.tees[:3])]

    def pay(self, order_id: bytes, *, final: bool = True) -> bytes:
        self.consumer.pay(order_id, self.accepts(order_id))
        return self.settle(order_id, final)

    def paid(self) -> bytes:
        return self.pay(self.approve(self.request()))

    def fetch(self, order_id: bytes, generation: int = 1, key: AccountKey | None = None) -> FetchSignature:
        digest = messages.fetch_digest(self.domain, order_id, generation)
        return FetchSignature(generation, (key or self.consumer_key).sign_digest(digest))

    def deliver(self, order_id: bytes) -> bytes:
        receipts = [tee.core.reencrypt(order_id, self.fetch(order_id))[1] for tee in self.tees[:2]]
        self.consumer.record_delivery(order_id, self.fetch(order_id), receipts)
        return self.settle(order_id)
