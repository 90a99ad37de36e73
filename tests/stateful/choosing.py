"""How a rule of the machine comes to an order that fits it, and how what it did is undone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from eth_hash.auto import keccak
from hypothesis import strategies as st

from asset_bridge.chain.records import ZERO_ADDRESS, AcceptSignature, Order, OrderState
from asset_bridge.errors import BridgeError
from tests.stateful.agreement import Agreement
from tests.stateful.market import Market
from tests.stateful.pair import PairAccount

APPROVED, PAID = OrderState.APPROVED, OrderState.PAID
DELIVERED, REVOKED, SETTLED = OrderState.DELIVERED, OrderState.REVOKED, OrderState.SETTLED

# hashed, because hypothesis likes zero and repetition, and a pick is a choice among many
picks = st.integers(0, 2**16).map(lambda n: int.from_bytes(keccak(b"%d" % n)[:3], "big"))


class Choosing(Agreement):
    """A machine that picks orders, makes new ones and goes back."""

    market: Market
    governor: PairAccount

    def order(self, pick: int, *states: OrderState) -> Order:
        """Four times of five an order in one of `states`, brought there if there is none; else any."""
        chosen = self.orders
        if pick % 5 and states:
            chosen = [o for o in self.orders if self.status(o).state in states and self.in_time(o)]
            if not chosen:
                chosen = [self.bring(pick, states[pick // 5 % len(states)])]
        return self.pair.twin.order(chosen[pick // 25 % len(chosen)])

    def in_time(self, order_id: bytes) -> bool:
        status = self.status(order_id)
        return not status.deadline or status.deadline > self.pair.twin.now_at or status.state in (DELIVERED, REVOKED)

    def make(self, pick: int, token: str = "") -> bytes:
        """One more order, of an asset that takes requests; priced in `token` where one is named and may be a price."""
        if (pick % 4 == 0 and len(self.assets) < 6) or all(self.pair.twin.asset(a).retired for a in self.assets):
            kinds = (ZERO_ADDRESS, *self.pair.twin.tokens_active())
            self.assets.append(self.scene.listed(token=kinds[pick // 4 % len(kinds)]))
        chosen = self.assets[pick % len(self.assets) :] + self.assets
        if token:
            chosen.sort(key=lambda asset_id: self.pair.twin.asset(asset_id).offer.token != token)
        for asset_id in chosen:
            terms = self.scene.terms(asset_id)
            try:
                order_id, _ = self.scene.consumer.request(terms)
            except BridgeError:
                continue
            self.orders.append(order_id)
            self.prices[order_id] = terms.offer.token, terms.offer.price_wei
            return order_id
        raise AssertionError("no asset takes a request")

    def pay_for(self, order: Order, accepts: list[AcceptSignature]) -> object:
        """As a consumer pays: with a permit or, where the token has none, an allowance before."""
        self.scene.consumer.allow_payment(order.order_id)
        return self.scene.consumer.pay(order.order_id, accepts)

    def bring(self, pick: int, state: OrderState, token: str = "") -> bytes:
        """A new order, as far towards `state` as the rules let it come."""
        order_id, scene, reader = self.make(pick, token), self.scene, self.pair.twin
        steps: list[Callable[[Order], object]] = [
            lambda o: scene.provider.approve(o.order_id, scene.approval(o)),
            lambda o: self.pay_for(o, [scene.accept(o, s) for s in (0, 1, 2)][pick % 2 :]),
            lambda o: scene.recorder.record_delivery(o.order_id, scene.fetch(o), [scene.receipt(o, s) for s in (1, 2)]),
            lambda o: scene.consumer.accept_delivery(o.order_id),
        ]
        far = {APPROVED: 1, PAID: 2, REVOKED: 2, DELIVERED: 3, SETTLED: 4}.get(state, 0)
        try:
            for step in steps[:far]:
                step(reader.order(order_id))
            if state == REVOKED:
                scene.provider.revoke(order_id)
        except BridgeError:
            pass
        return order_id

    @staticmethod
    def attempt(act: Callable[[], object]) -> None:
        try:
            act()
        except BridgeError:
            return  # refused alike in both worlds (Pair.both compared them), or by the client before sending

    @contextmanager
    def excursion(self, *, stay: bool = False) -> Iterator[None]:
        """What happens inside is undone in both worlds at the end, unless `stay`."""
        if stay:
            yield
            return
        before = self.market.moment()
        try:
            yield
            self.what_a_step_named_is_the_same_in_both_worlds()
        finally:
            self.market.rewind(before)

    def exactly(self, at: int) -> bool:
        """The next call happens at `at`; False when that has passed."""
        twin = self.pair.twin
        if at > twin.now_at:
            twin.advance_to(at - 1)
        return twin.now_at == at
