"""One model, two uses: the compiled contracts and the twin take the same steps and must always agree (design §2).

Every step is tried in every state, most of the time on an order where it fits; time moves to the second before, at and after a
deadline. After each step the words of every order, asset and node, the balances and the coins are compared.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest
from eth_hash.auto import keccak
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from asset_bridge.chain.config import DeployConfig
from asset_bridge.chain.keys import AccountKey
from asset_bridge.chain.packing import address_account
from asset_bridge.chain.records import ZERO_ADDRESS, NodeKind, Order, OrderState
from asset_bridge.errors import BridgeError
from tests.ports.chain_scene import FAR, MEASUREMENT, NodeActor, Numbers, Scene
from tests.stateful.pair import Pair, PairAccount
from tests.support.depth import depth

REQUESTED, APPROVED, PAID = OrderState.REQUESTED, OrderState.APPROVED, OrderState.PAID
DELIVERED, REVOKED, SETTLED = OrderState.DELIVERED, OrderState.REVOKED, OrderState.SETTLED
SERVED = (APPROVED, PAID, DELIVERED, SETTLED)
MUST_SUCCEED = {
    *("request", "approve", "deny", "cancel", "expire", "pay", "record_delivery", "accept", "settle", "refund"),
    *("agree_refund", "revoke", "reseal", "new_generation", "record_destroyed", "claim", "set_offer", "retire"),
    *("renew", "withdraw", "publish", "open_balance", "remove_measurement", "list_measurement", "refresh"),
}
# hashed, because hypothesis likes zero and repetition, and a pick is a choice among many
picks = st.integers(0, 2**16).map(lambda n: int.from_bytes(keccak(b"%d" % n)[:3], "big"))
TOTAL: Counter[str] = Counter()


class ChainMachine(RuleBasedStateMachine):
    """Contracts and twin side by side."""

    def __init__(self) -> None:
        super().__init__()
        governor = AccountKey(keccak(b"governor of the machine"))
        self.pair = Pair(DeployConfig(governor.address, measurements=((255, MEASUREMENT),)))
        self.governor = PairAccount(self.pair, governor)
        self.accounts: dict[str, PairAccount] = {}
        self.scene = Scene(self._account, Numbers("machine"))
        self.orders: list[bytes] = []
        self.assets = [self.scene.listed()]

    def _account(self, name: str) -> PairAccount:
        if name not in self.accounts:  # made once: making one funds it
            self.accounts[name] = self.pair.account(name)
        return self.accounts[name]

    def teardown(self) -> None:
        TOTAL.update(self.pair.seen)

    # ── choosing ──
    def order(self, pick: int, *states: OrderState) -> Order:
        """Four times of five an order in one of `states`, brought there if there is none; else any."""
        reader = self.pair.twin
        if not self.orders:
            self.make(pick)
        every = [reader.order(o) for o in self.orders]
        if pick % 5 and states:
            fitting = [o for o in every if o.state in states]
            if not fitting:
                self.bring(pick, states[pick // 5 % len(states)])
            every = fitting or [reader.order(self.orders[-1])]
        return every[pick // 25 % len(every)]

    def make(self, pick: int) -> None:
        if (pick % 4 == 0 and len(self.assets) < 4) or all(self.pair.twin.asset(a).retired for a in self.assets):
            self.assets.append(self.scene.listed())
        for asset_id in self.assets[pick % len(self.assets) :] + self.assets:
            try:
                order_id, _ = self.scene.consumer.request(self.scene.terms(asset_id))
            except BridgeError:
                continue
            self.orders.append(order_id)
            return

    def bring(self, pick: int, state: OrderState) -> None:
        """A new order, as far towards `state` as the rules let it come."""
        self.make(pick)
        scene, reader, order_id = self.scene, self.pair.twin, self.orders[-1]
        steps: list[Callable[[Order], object]] = [
            lambda o: scene.provider.approve(o.order_id, scene.approval(o)),
            lambda o: scene.consumer.pay(o.order_id, [scene.accept(o, s) for s in (0, 1, 2)][pick % 2 :]),
            lambda o: scene.recorder.record_delivery(o.order_id, scene.fetch(o), [scene.receipt(o, s) for s in (0, 2)]),
            lambda o: scene.consumer.accept_delivery(o.order_id),
        ]
        far = {APPROVED: 1, PAID: 2, REVOKED: 2, DELIVERED: 3, SETTLED: 4}.get(state, 0)
        try:
            for step in steps[:far]:
                step(reader.order(order_id))
            if state == REVOKED:
                scene.provider.revoke(order_id)
        except BridgeError:
            return

    @staticmethod
    def attempt(act: Callable[[], object]) -> None:
        try:
            act()
        except BridgeError:
            return  # refused alike in both worlds (Pair.both compared them), or by the client before sending

    # ── rules ──
    @rule(pick=picks)
    def list_and_request(self, pick: int) -> None:
        self.make(pick)

    @rule(pick=picks)
    def approve(self, pick: int) -> None:
        order = self.order(pick, REQUESTED)
        nodes = self.scene.tees[:3] if pick % 2 else self.scene.tees[1:]
        approval = self.scene.approval(order, threshold=4 if pick % 8 == 0 else 2 + pick % 2, nodes=nodes)
        self.attempt(lambda: self.scene.provider.approve(order.order_id, approval))

    @rule(pick=picks)
    def deny(self, pick: int) -> None:
        order = self.order(pick, REQUESTED)
        self.attempt(lambda: self.scene.provider.deny(order.order_id, keccak(b"no"), 5))

    @rule(pick=picks)
    def cancel(self, pick: int) -> None:
        order = self.order(pick, REQUESTED, APPROVED)
        self.attempt(lambda: self.scene.consumer.cancel(order.order_id))

    @rule(pick=picks)
    def expire(self, pick: int) -> None:
        order = self.order(pick, REQUESTED, APPROVED)
        if pick % 2:
            self.to(order.approve_by if order.state == REQUESTED else order.pay_by)
        self.attempt(lambda: self.scene.recorder.expire(order.order_id))

    @rule(pick=picks)
    def pay(self, pick: int) -> None:
        order = self.order(pick, APPROVED)
        if order.approval is None:
            return
        accepts = [self.scene.accept(order, slot) for slot in range(len(order.approval.slots))]
        if pick % 3 == 0:
            accepts = accepts[1:]
        self.attempt(lambda: self.scene.consumer.pay(order.order_id, accepts))

    @rule(pick=picks)
    def deliver(self, pick: int) -> None:
        order = self.order(pick, PAID, REVOKED)
        if order.approval is None:
            return
        receipts = [self.scene.receipt(order, slot) for slot in range(len(order.approval.slots))][pick % 2 :]
        fetch = self.scene.fetch(order, order.approval.generation)
        self.attempt(lambda: self.scene.recorder.record_delivery(order.order_id, fetch, receipts))

    @rule(pick=picks)
    def deliver_with_a_row_that_was_replaced(self, pick: int) -> None:
        order = self.order(pick, PAID)
        if order.approval is None or order.state != PAID:
            return
        receipts = [self.scene.receipt(order, slot) for slot in (0, 1)]
        self.reseal_slot(order, 0)
        fetch = self.scene.fetch(order, order.approval.generation)
        self.attempt(lambda: self.scene.recorder.record_delivery(order.order_id, fetch, receipts))

    @rule(pick=picks)
    def settle(self, pick: int) -> None:
        order = self.order(pick, DELIVERED)
        who = self.scene.consumer if pick % 3 else self.scene.recorder
        if pick % 2:
            self.attempt(lambda: who.accept_delivery(order.order_id))
            return
        if order.state == DELIVERED:
            self.to(order.windows_end)
        self.attempt(lambda: who.settle(order.order_id))

    @rule(pick=picks)
    def refund(self, pick: int) -> None:
        order = self.order(pick, PAID, REVOKED)
        if pick % 2 and order.deliver_by:
            self.to(order.deliver_by + self.pair.twin.grace_seconds())
        who = self.scene.consumer if pick % 3 else self.scene.recorder
        self.attempt(lambda: who.refund(order.order_id))

    @rule(pick=picks)
    def agree_refund(self, pick: int) -> None:
        order = self.order(pick, PAID, DELIVERED, REVOKED)
        half = self.scene.provider.agree_refund_signature(order.order_id) if pick % 4 else b""
        self.attempt(lambda: self.scene.consumer.agree_refund(order.order_id, half, b""))

    @rule(pick=picks)
    def revoke(self, pick: int) -> None:
        order = self.order(pick, *SERVED)
        who = self.scene.provider if pick % 7 else self.scene.consumer
        self.attempt(lambda: who.revoke(order.order_id))

    def free(self, order: Order) -> NodeActor | None:
        assert order.approval is not None
        taken = {slot.node_id for slot in order.approval.slots}
        return next((t for t in self.scene.tees if t.node_id not in taken), None)

    def reseal_slot(self, order: Order, slot: int, *, same: bool = False) -> None:
        assert order.approval is not None
        old = order.approval.slots[slot]
        node = self.scene.holder(old) if same else self.free(order)
        if node is None:
            return
        new = self.scene.slot(order, node, order.approval.precursor, like=old)
        replacement, accept = replace(order.approval, slots=(new,)), self.scene.accept(order, slot, new)
        self.attempt(lambda: self.scene.provider.reseal(order.order_id, slot, replacement, accept))

    @rule(pick=picks)
    def reseal(self, pick: int) -> None:
        order = self.order(pick, *SERVED)
        if order.approval is not None:
            self.reseal_slot(order, pick % len(order.approval.slots), same=bool(pick % 2))

    @rule(pick=picks)
    def regenerate(self, pick: int) -> None:
        order = self.order(pick, *SERVED)
        if order.approval is None:
            return
        approval = self.scene.approval(order, generation=order.approval.generation + 1, nodes=self.scene.tees[1:])
        consent, accepts = b"", []
        if order.ends_at and pick % 4:
            consent = self.scene.consumer.new_generation_signature(order.order_id, approval)
            accepts = [self.scene.accept(replace(order, approval=approval), slot) for slot in (0, 1, 2)][pick % 2 :]
        self.attempt(lambda: self.scene.provider.new_generation(order.order_id, approval, consent, accepts))

    @rule(pick=picks)
    def destroyed(self, pick: int) -> None:
        order = self.order(pick, *SERVED, REVOKED)
        if order.approval is not None:
            receipt = self.scene.destroyed(order, pick % len(order.approval.slots))
            self.attempt(lambda: self.scene.recorder.record_destroyed(order.order_id, receipt))

    @rule(pick=picks)
    def claim(self, pick: int) -> None:
        scene = self.scene
        self.order(pick, SETTLED)
        claims: list[Callable[[], object]] = [
            lambda: scene.provider.claim(ZERO_ADDRESS),
            lambda: scene.consumer.claim(ZERO_ADDRESS),
            lambda: scene.recorder.claim(ZERO_ADDRESS),
            lambda: scene.tees[0].operator.claim(ZERO_ADDRESS, scene.tees[0].node_id),
            lambda: scene.light.operator.claim(ZERO_ADDRESS, scene.light.node_id),
            lambda: scene.recorder.claim(ZERO_ADDRESS, scene.light.node_id),
            lambda: scene.tees[pick % 4].operator.open_balance(ZERO_ADDRESS, scene.tees[pick % 4].node_id),
            lambda: scene.recorder.open_balance(ZERO_ADDRESS, scene.numbers(32)),
        ]
        for i in (0, 1, 2):
            self.attempt(claims[(pick + 3 * i) % len(claims)])

    @rule(pick=picks)
    def change_or_retire_an_asset(self, pick: int) -> None:
        if pick % 3 == 0:
            asset_id = self.scene.listed() if pick % 2 else self.assets[pick % len(self.assets)]
            self.attempt(lambda: self.scene.provider.retire(asset_id))
            return
        asset = self.pair.twin.asset(self.assets[pick % len(self.assets)])
        offer = replace(asset.offer, price_wei=1 + pick * 997)
        self.attempt(lambda: self.scene.provider.set_offer(asset.asset_id, offer))

    @rule(pick=picks)
    def move_time(self, pick: int) -> None:
        """To the second before, at or after some deadline of some order."""
        order = self.order(pick)
        edges = [e for e in (order.approve_by, order.pay_by, order.deliver_by, order.windows_end, order.ends_at) if e]
        grace = self.pair.twin.grace_seconds()
        edges += [e + grace for e in edges]
        self.to(edges[pick // 3 % len(edges)] + pick % 3 - 1)

    def to(self, at: int) -> None:
        """Make `at` the time of the next block, if it lies ahead within the life of an order."""
        twin = self.pair.twin
        if twin.now_at < at <= twin.now_at + 3_000:
            twin.advance_to(at - 1)

    @rule(pick=picks)
    def nodes_come_and_go(self, pick: int) -> None:
        tee, governor = self.scene.tees[3], self.governor
        before = tee.key
        if pick % 4 == 0:  # a new key begins a new epoch, the same key keeps it
            tee.key = AccountKey(self.scene.numbers(32))
        epoch = self.scene.epoch(NodeKind.TEE, tee.key, FAR - pick % 3)
        steps: list[Callable[[], object]] = [
            lambda: tee.operator.renew_node(tee.node_id, **epoch),  # type: ignore[arg-type]
            lambda: governor.govern("NodeRegistry", "remove_measurement", 255, MEASUREMENT),
            lambda: governor.govern("NodeRegistry", "list_measurement", 255, MEASUREMENT),
            lambda: governor.govern("NodeRegistry", "refresh", tee.node_id),
            lambda: self.scene.recorder.govern("NodeRegistry", "remove_vendor", 255),
            self.one_node_more_and_gone,
            lambda: tee.operator.withdraw_node(tee.node_id) if pick % 8 == 1 else None,
        ]
        for i in (0, 3):
            self.attempt(steps[(pick // 2 + i) % len(steps)])
        current = self.pair.twin.node(tee.node_id).current
        tee.epoch, tee.key = current.epoch, tee.key if current.signing_address == tee.key.address else before
        if pick % 2:
            self.attempt(lambda: governor.govern("NodeRegistry", "list_measurement", 255, MEASUREMENT))

    def one_node_more_and_gone(self) -> None:
        node = self.scene._node("one more", NodeKind.STORAGE)
        node.operator.withdraw_node(node.node_id)

    # ── agreement ──
    @invariant()
    def contracts_and_twin_agree(self) -> None:
        if not hasattr(self, "scene"):
            return
        asked: list[tuple[str, str, tuple[object, ...]]] = [("Exchange", "order", (o,)) for o in self.orders]
        asked += [("AssetLedger", "asset", (a,)) for a in self.assets]
        nodes = [self.scene.light, *self.scene.storage, *self.scene.tees]
        asked += [("NodeRegistry", "node", (n.node_id,)) for n in nodes]
        owed = [address_account(a.address) for a in self.accounts.values()] + [n.node_id for n in nodes]
        asked += [("Exchange", "balance_of", (ZERO_ADDRESS, account)) for account in owed]
        for contract, name, args in asked:
            real, model = self.pair.view(contract, name, *args)
            assert real == model, (contract, name, args)

    @invariant()
    def the_exchange_holds_exactly_what_it_owes(self) -> None:
        if not hasattr(self, "scene"):
            return
        twin = self.pair.twin
        nodes = [self.scene.light, *self.scene.storage, *self.scene.tees]
        accounts = [address_account(a.address) for a in self.accounts.values()] + [n.node_id for n in nodes]
        escrow = sum(twin.order(o).escrow_wei for o in self.orders)
        assert twin.coins_wei(twin.exchange) == escrow + sum(twin.credit_wei(account) for account in accounts)
        import boa

        for address in (twin.exchange, twin.registry, *(a.address for a in self.accounts.values())):
            assert boa.env.get_balance(address) == twin.coins_wei(address)


@pytest.mark.slow
def test_the_contracts_and_the_twin_agree_on_every_sequence() -> None:
    TOTAL.clear()
    run_state_machine_as_test(
        ChainMachine,
        settings=settings(
            max_examples=depth("chain_machine_runs"),
            stateful_step_count=depth("chain_machine_steps"),
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate],
        ),
    )
    assert sorted(MUST_SUCCEED - set(TOTAL)) == [], "a rule never succeeded"
    assert sum(1 for name in TOTAL if name.startswith("refused")) >= 8
