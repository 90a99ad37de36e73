"""The market of the machine: each asset has keys of its own, shares re-encrypt, and orders wait in every state.

It is deployed and stocked once a process; each sequence begins from a snapshot of both worlds.
"""

from __future__ import annotations

from copy import deepcopy
from functools import cache
from typing import Any

import boa
from eth_hash.auto import keccak

from asset_bridge import reencryption as pre
from asset_bridge.chain.config import DeployConfig
from asset_bridge.chain.keys import AccountKey
from asset_bridge.chain.records import ZERO_ADDRESS, Approval, Listing, Order, RequestTerms
from asset_bridge.keys.secp256k1 import SecretScalar
from tests.ports.chain_scene import MEASUREMENT, NodeActor, Numbers
from tests.ports.true_scene import TrueScene
from tests.stateful.pair import Moment, Pair, PairAccount
from tests.support.revm import FastEnv

RICH_UNITS = 10**15
STOCK = {"requested": 3, "approved": 4, "paid": 6, "revoked": 1, "delivered": 6, "challenged": 2, "settled": 2}


class MarketScene(TrueScene):
    """True shares, for assets whose delegating keys differ."""

    def __post_init__(self) -> None:
        self.assets: dict[bytes, tuple[SecretScalar, pre.Capsule]] = {}
        self.by_id: dict[bytes, tuple[pre.VerifiedKeyFrag, pre.Capsule]] = {}
        super().__post_init__()

    def listing(self, **options: object) -> Listing:  # type: ignore[override]
        self.a = self.scalar()
        self.capsule, _ = pre.encrypt_package(self.a.public_key(), b"package", self.numbers)
        self.assets[self.a.public_key().to_bytes()] = self.a, self.capsule
        return super().listing(**options)

    def terms(self, asset_id: bytes, *, fetch_signer: str = "") -> RequestTerms:
        return super().terms(asset_id, fetch_signer=fetch_signer)

    def approval(
        self, order: Order, *, generation: int = 1, threshold: int = 2, nodes: list[NodeActor] | None = None
    ) -> Approval:
        self.a, self.capsule = self.assets[self.provider.reader.asset(order.terms.asset_id).listing.pk_a]
        count = len(nodes or self.tees[:3])
        made = super().approval(order, generation=generation, threshold=min(threshold, count), nodes=nodes)
        for kfrag in self.kfrags[order.order_id]:
            self.by_id[kfrag.kfrag_id] = kfrag, self.capsule
        return made

    def cfrag(self, order: Order, slot: int) -> pre.VerifiedCapsuleFrag:
        assert order.approval is not None
        kfrag, capsule = self.by_id[order.approval.slots[slot].kfrag_id]
        return pre.reencrypt(capsule, kfrag)


class Market:
    """One deployment in both worlds with stocked orders; `rewind` goes back to the beginning of every sequence."""

    def __init__(self, engine: type[boa.Env]) -> None:
        self.env = engine()
        with boa.swap_env(self.env):
            governor = AccountKey(keccak(b"governor of the machine"))
            self.pair = Pair(DeployConfig(governor.address, measurements=((255, MEASUREMENT),)))
            self.accounts: dict[str, PairAccount] = {}
            self.governor = PairAccount(self.pair, governor)
            self.scene = MarketScene(self.account, Numbers("machine"))
            for extra in ("one more", "heir", "payee"):
                self.account(extra)
            self.tokens = [self.token(permits=True), self.token(permits=False)]
            kinds = (ZERO_ADDRESS, self.tokens[0], ZERO_ADDRESS, self.tokens[1])
            self.assets = [self.scene.listed(token=token) for token in kinds]
            self.orders: list[bytes] = []
            for kind, count in STOCK.items():
                for _ in range(count):
                    self.stock(kind)
            self.start = self.moment()

    def token(self, *, permits: bool) -> str:
        """A token that may be a price, of which the consumer has enough."""
        token = self.pair.deploy_token(permits=permits)
        self.governor.govern("AssetLedger", "list_token", token)
        self.pair.mint(token, self.scene.consumer.address, RICH_UNITS)
        return token

    def account(self, name: str) -> PairAccount:
        """An account that was funded when it was first named."""
        if name not in self.accounts:
            self.accounts[name] = self.pair.account(name)
        return self.accounts[name]

    def stock(self, kind: str) -> None:
        """One order, brought to `kind`."""
        scene, reader = self.scene, self.pair.twin
        asset_id = self.assets[(0, 1, 0, 3)[len(self.orders) % 4]]  # nobody asks for the third
        order_id, _ = scene.consumer.request(scene.terms(asset_id))
        self.orders.append(order_id)
        if kind == "requested":
            return
        scene.provider.approve(order_id, scene.approval(reader.order(order_id)))
        if kind == "approved":
            return
        scene.consumer.allow_payment(order_id)
        scene.consumer.pay(
            order_id, [scene.accept(reader.order(order_id), s) for s in (0, 1, 2)][len(self.orders) % 2 :]
        )
        if kind == "revoked":
            scene.provider.revoke(order_id)
        if kind in ("paid", "revoked"):
            return
        order = reader.order(order_id)
        scene.recorder.record_delivery(order_id, scene.fetch(order), [scene.receipt(order, s) for s in (1, 2)])
        if kind == "challenged":
            scene.consumer.challenge(order_id)
        if kind == "settled":
            scene.consumer.accept_delivery(order_id)

    def moment(self) -> tuple[Moment, Any]:
        """Both worlds and the scene as they are now."""
        tees = [(tee.key, tee.epoch) for tee in self.scene.tees]
        return self.pair.moment(), deepcopy((self.scene.numbers._n, tees, self.assets, self.orders))

    def rewind(self, to: tuple[Moment, Any]) -> tuple[Moment, Any]:
        """Back to a moment; the moment to use the next time."""
        again = self.pair.rewind(to[0])
        self.scene.numbers._n, tees, assets, orders = deepcopy(to[1])
        for tee, (key, epoch) in zip(self.scene.tees, tees, strict=True):
            tee.key, tee.epoch = key, epoch
        self.assets[:], self.orders[:] = assets, orders
        return again, to[1]


@cache
def market(engine: type[boa.Env] = FastEnv) -> Market:
    """The market of this process, on one of titanoboa's two engines."""
    return Market(engine)
