"""One model, two uses: the compiled contracts and the twin take the same steps and must always agree (design §2).

Every step is tried in every state, most of the time on an order where it fits; every deadline is met at its exact edge (edges.py).
Each call is compared in success, reason and events, each step in what it named, each sequence in everything (agreement.py).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace

import boa
from eth_hash.auto import keccak
from hypothesis.stateful import rule

from asset_bridge.chain.keys import AccountKey
from asset_bridge.chain.packing import ANSWERED, CHALLENGED, address_account
from asset_bridge.chain.records import ZERO_ADDRESS, NodeKind, Order, OrderState
from asset_bridge.errors import BridgeError
from tests.ports.chain_scene import FAR, MEASUREMENT, NodeActor
from tests.stateful.agreement import TOTAL
from tests.stateful.choosing import picks
from tests.stateful.edges import EDGES, STAYING, contradict
from tests.stateful.market import market
from tests.stateful.tokens import MUST_SUCCEED_IN_TOKENS, TokenRules
from tests.support.revm import FastEnv

REQUESTED, APPROVED, PAID = OrderState.REQUESTED, OrderState.APPROVED, OrderState.PAID
DELIVERED, REVOKED, SETTLED = OrderState.DELIVERED, OrderState.REVOKED, OrderState.SETTLED
SERVED = (APPROVED, PAID, DELIVERED, SETTLED)
MUST_SUCCEED = {
    *("request", "approve", "deny", "cancel", "expire", "pay", "record_delivery", "accept", "settle", "refund"),
    *("agree_refund", "revoke", "reseal", "new_generation", "record_destroyed", "claim", "set_offer", "retire"),
    *("renew", "withdraw", "publish", "open_balance", "remove_measurement", "list_measurement", "refresh", "register"),
    *("challenge", "answer_challenge", "close_challenge", "contradict", "withdraw_rewards", "collect_deposits"),
    *("set_profile", "propose_change", "cancel_change", "apply_change", "add_stake", "rebuilt from events"),
    "called accept_receipts",
    *MUST_SUCCEED_IN_TOKENS,
}


class ChainMachine(TokenRules):
    """Contracts and twin side by side, from the stocked market on."""

    def __init__(self, engine: type[boa.Env] = FastEnv) -> None:
        super().__init__()
        self.market = market(engine)
        # Entered here and not around the run: titanoboa's pytest plugin undoes what an example did to the environment it began in,
        # and would take the market's snapshots away.
        self.environment = ExitStack()
        self.environment.enter_context(boa.swap_env(self.market.env))
        self.pair, self.scene = self.market.pair, self.market.scene
        self.accounts, self.governor = self.market.accounts, self.market.governor
        self.orders, self.assets, self.tokens = self.market.orders, self.market.assets, self.market.tokens
        self.market.start = self.market.rewind(self.market.start)
        offers = {o: self.pair.twin.order(o).terms.offer for o in self.orders}
        self.prices = {o: (offer.token, offer.price_wei) for o, offer in offers.items()}
        self.pair.touched = b""
        self.pair.called.clear()
        self.pair.senders.clear()
        self.pair.seen.clear()

    def teardown(self) -> None:
        try:
            self.everything_agrees()
            TOTAL.update(self.pair.seen)
        finally:
            self.environment.close()

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
        with self.excursion(stay=pick % 8 == 0):
            self.exactly(order.approve_by if order.state == REQUESTED else order.pay_by)
            self.attempt(lambda: self.scene.recorder.expire(order.order_id))

    @rule(pick=picks)
    def pay(self, pick: int) -> None:
        order = self.order(pick, APPROVED)
        if order.approval is None:
            return
        accepts = [self.scene.accept(order, slot) for slot in range(len(order.approval.slots))]
        if pick % 3 == 0:
            accepts = accepts[1:]
        if pick % 4:
            self.attempt(lambda: self.scene.consumer.allow_payment(order.order_id))
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
    def accept_receipts(self, pick: int) -> None:
        """Recording and accepting in one call: the consumer's, and anyone's attempt at it."""
        order = self.order(pick, PAID)
        if order.approval is None:
            return
        receipts = [self.scene.receipt(order, slot) for slot in range(len(order.approval.slots))][pick % 2 :]
        fetch = self.scene.fetch(order, order.approval.generation)
        who = self.scene.consumer if pick % 5 else self.scene.recorder
        self.attempt(lambda: who.accept_receipts(order.order_id, fetch, receipts))

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
        with self.excursion(stay=pick % 8 == 0):
            if order.state == DELIVERED:
                self.exactly(order.windows_end)
            self.attempt(lambda: who.settle(order.order_id))

    @rule(pick=picks)
    def refund(self, pick: int) -> None:
        order = self.order(pick, PAID, REVOKED)
        who = self.scene.consumer if pick % 3 else self.scene.recorder
        with self.excursion(stay=pick % 8 == 0):
            if pick % 2 and order.deliver_by:
                self.exactly(order.deliver_by + self.pair.twin.grace_seconds())
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
    def challenge(self, pick: int) -> None:
        order = self.order(pick, DELIVERED)
        who = self.scene.consumer if pick % 7 else self.scene.provider
        self.attempt(lambda: who.challenge(order.order_id))

    def challenged_order(self, pick: int) -> Order:
        """An order whose challenge is open; a fresh one if there is none."""
        found = [o for o in self.orders if self.open_challenge(o)]
        if not found:
            order_id = self.bring(pick, DELIVERED)
            self.attempt(lambda: self.scene.consumer.challenge(order_id))
            found = [order_id]
        return self.pair.twin.order(found[pick // 7 % len(found)])

    def open_challenge(self, order_id: bytes) -> bool:
        status = self.status(order_id)
        return status.state == DELIVERED and status.flags & (CHALLENGED | ANSWERED) == CHALLENGED

    @rule(pick=picks)
    def answer(self, pick: int) -> None:
        order = self.challenged_order(pick)
        if order.approval is None:
            return
        slots = range(len(order.approval.slots)) if pick % 2 else [pick // 2 % len(order.approval.slots)]
        proofs = [(slot, self.scene.proof(order, slot)) for slot in slots]
        if pick % 5 == 0:  # another slot's
            proofs = [(slot, proofs[-1][1]) for slot, _ in proofs]
        self.attempt(lambda: self.scene.recorder.answer_challenge(order.order_id, proofs, order.approval.generation))

    @rule(pick=picks)
    def close_a_challenge(self, pick: int) -> None:
        """Unanswered: price, bond and deposits go to the challenger; nodes lose stake, so mostly undone."""
        order, consumer = self.challenged_order(pick), self.scene.consumer
        with self.excursion(stay=pick % 16 == 0):
            found = self.pair.twin.challenge_of(order.order_id)
            if found is not None:
                self.exactly(found.answer_by)
            self.attempt(lambda: self.scene.recorder.close_challenge(order.order_id))
            self.attempt(lambda: consumer.collect_deposits(consumer.address))
            self.attempt(lambda: consumer.withdraw_rewards(consumer.address))

    @rule(pick=picks)
    def contradict(self, pick: int) -> None:
        """A node's false receipt beside the proof of the true fragment; it loses its stake, so mostly undone."""
        order = self.order(pick, PAID, DELIVERED)
        if order.approval is None or not order.accepted:
            return
        slot = order.accepted[pick % len(order.accepted)][0]
        with self.excursion(stay=pick % 16 == 0):
            for _ in range(2):  # the second time it is refused
                self.attempt(lambda: contradict(self.pair, self.scene, order, slot, lie=bool(pick % 4)))

    @rule(pick=picks)
    def withdraw_and_collect(self, pick: int) -> None:
        for account in (self.scene.recorder.address, self.scene.consumer.address):
            self.attempt(lambda account=account: self.scene.recorder.withdraw_rewards(account))
            self.attempt(lambda account=account: self.scene.recorder.collect_deposits(account))

    @rule(pick=picks)
    def claim(self, pick: int) -> None:
        scene, kind = self.scene, (ZERO_ADDRESS, *self.tokens)[pick // 16 % 3]
        if pick % 2:
            self.order(pick, SETTLED)
        claims: list[Callable[[], object]] = [
            lambda: scene.provider.claim(kind),
            lambda: scene.consumer.claim(kind),
            lambda: scene.recorder.claim(kind),
            lambda: scene.tees[1].operator.claim(kind, scene.tees[1].node_id),
            lambda: scene.light.operator.claim(kind, scene.light.node_id),
            lambda: scene.recorder.claim(kind, scene.light.node_id),
            lambda: scene.tees[pick % 4].operator.open_balance(kind, scene.tees[pick % 4].node_id),
            lambda: scene.recorder.open_balance(kind, scene.numbers(32)),
        ]
        for i in (0, 3):
            self.attempt(claims[(pick + i) % len(claims)])

    @rule(pick=picks)
    def change_or_retire_an_asset(self, pick: int) -> None:
        if pick % 3 == 0:
            asset_id = self.assets[2] if pick % 2 else self.assets[pick % len(self.assets)]
            self.attempt(lambda: self.scene.provider.retire(asset_id))
            return
        asset = self.pair.twin.asset(self.assets[pick % len(self.assets)])
        offer = replace(asset.offer, price_wei=1 + pick * 997)
        if pick % 4 == 0:
            offer = replace(offer, token=(ZERO_ADDRESS, *self.tokens)[pick // 4 % 3])
        self.attempt(lambda: self.scene.provider.set_offer(asset.asset_id, offer))

    @rule(pick=picks)
    def change_the_account(self, pick: int) -> None:
        """Profile, owner, payee, recovery account; undone, because the market has one provider."""
        provider, heir = self.scene.provider, self.accounts["heir"]
        own = provider.address
        with self.excursion():
            self.attempt(lambda: provider.set_profile(keccak(b"%d" % pick), own, ZERO_ADDRESS))
            owner = heir.address if pick % 2 else own
            self.attempt(lambda: provider.propose_change(own, owner, self.accounts["payee"].address, heir.address))
            if pick % 3 == 0:
                self.attempt(lambda: (provider if pick % 4 else heir).cancel_change(own))
            change = self.pair.twin.provider_account(own).change
            if change is not None:
                self.exactly(change.applies_at)
                self.attempt(lambda: self.scene.recorder.apply_change(own, change))
            self.attempt(lambda: provider.claim(self.tokens[pick % 2]))
            self.attempt(lambda: provider.claim(ZERO_ADDRESS))
            self.attempt(lambda: heir.claim(ZERO_ADDRESS, address_account(own)))

    # ── time ──
    @rule(pick=picks)
    def at_the_edge_of_a_deadline(self, pick: int) -> None:
        self.edge(pick)

    @rule(pick=picks)
    def at_the_edge_of_another(self, pick: int) -> None:
        self.edge(pick // 7)

    def edge(self, pick: int) -> None:
        names = sorted(EDGES)
        name, at_deadline = names[pick % len(names)], bool(pick // 64 % 2)
        self.meet(name, at_deadline, pick // 128, stay=name in STAYING and pick % 8 == 0)

    def meet(self, name: str, at_deadline: bool, pick: int, *, stay: bool = False, strict: bool = False) -> None:
        """The last second before a deadline, or the deadline itself: who may still act, and who may already act.

        Unless `strict`, an edge is passed over where something else refuses, such as a node that has gone.
        """
        with self.excursion(stay=stay):
            try:
                found = EDGES[name](self, pick)
            except BridgeError:
                assert not strict, name
                return
            if found is None or not self.exactly(found.at - 1 + at_deadline):
                assert not strict, name
                return
            before = self.pair.seen.total()
            refusal = ""
            try:
                found.act()
            except BridgeError as error:
                refusal = str(error)
            went = not refusal
            if found.refused_by not in refusal and not went:
                assert not strict, (name, refusal)
                return
            assert self.pair.seen.total() > before, f"{name}: the call did not reach the contracts"
            assert went == (found.begins == at_deadline), f"{name} {'at' if at_deadline else 'before'} its deadline"
            TOTAL[f"edge {name} {'at' if at_deadline else 'before'}"] += 1

    @rule(pick=picks)
    def move_time(self, pick: int) -> None:
        self.exactly(self.pair.twin.now_at + 1 + pick % 60)

    # ── nodes ──
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
            lambda: self.pair.both(
                tee.operator.address, "NodeRegistry", "add_stake", (tee.node_id,), 1 + pick, "add_stake"
            ),
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
