"""Rules about prices in tokens: permits and what can be wrong with them, and a token that may no longer be a price."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis.stateful import rule

from asset_bridge.chain.actor import pack_accepts
from asset_bridge.chain.records import Order, OrderState
from asset_bridge.chain.tokens import APPROVE, PERMIT, token_call
from asset_bridge.errors import BridgeError
from tests.stateful.choosing import Choosing, picks

APPROVED, PAID, DELIVERED = OrderState.APPROVED, OrderState.PAID, OrderState.DELIVERED
MUST_SUCCEED_IN_TOKENS = {
    *(
        f"{verb} in a token"
        for verb in ("pay", "accept", "settle", "refund", "agree_refund", "claim", "close_challenge")
    ),
    *(f"{verb} in a token that was removed" for verb in ("approve", "pay", "record_delivery", "accept", "claim")),
    *("allow", "list_token", "remove_token", "permit", "paid with a permit", "paid with a permit that was used"),
}


class TokenRules(Choosing):
    """The part of the machine that knows tokens."""

    def order_in(self, token: str, pick: int, *states: OrderState) -> Order:
        """An order in this token and one of these states; one that is brought there if there is none."""
        found = [o for o in self.orders if self.prices[o][0] == token and self.status(o).state in states]
        found = [o for o in found if self.in_time(o)] or [self.bring(pick, states[pick % len(states)], token)]
        return self.pair.twin.order(found[pick // 7 % len(found)])

    # ── paying ──
    def take_back(self, token: str) -> None:
        """The Exchange may take nothing."""
        consumer, exchange = self.scene.consumer, self.pair.twin.exchange
        if self.pair.twin.token_allowance(consumer.address, token):
            consumer._call_token("allow", token, token_call(APPROVE, exchange, 0))

    def permit(self, order: Order, *, units: int = 0, deadline: int = 0) -> bytes:
        """The consumer's permit for the price, or for other units; empty where the token has none."""
        offer, consumer = order.terms.offer, self.scene.consumer
        return self.pair.twin.permit(
            consumer.address, offer.token, units or offer.price_wei, deadline or order.pay_by, consumer.sign_digest
        )

    def pay_with(self, order: Order, permit: bytes, value_wei: int = 0) -> object:
        """`pay` with a permit of one's own choice."""
        assert order.approval is not None
        facts = self.pair.twin.facts(order.order_id)
        assert facts.table is not None
        accepts = pack_accepts(self.scene.accept(order, slot) for slot in range(len(order.approval.slots)))
        args = (order.order_id, facts.terms, facts.card, facts.table.pack(), accepts, permit, b"")
        return self.pair.both(self.scene.consumer.address, "Exchange", "pay", args, value_wei, "pay")

    def submit_permit(self, token: str, permit: bytes) -> object:
        """Somebody takes a permit out of a pending payment and sends it alone."""
        words = [permit[i : i + 32] for i in range(0, 160, 32)]
        numbers = [int.from_bytes(word, "big") for word in words[:3]]
        owner, exchange = self.scene.consumer.address, self.pair.twin.exchange
        call = token_call(PERMIT, owner, exchange, *numbers, *words[3:])
        return self.scene.recorder._call_token("permit", token, call)

    @rule(pick=picks)
    def pay_in_a_token(self, pick: int) -> None:
        """By permit: true, sent first by somebody else, for too little, over, cut, with coins beside, with a v that is none."""
        token = self.tokens[bool(pick % 4 == 0)]
        order = self.order_in(token, pick, APPROVED)
        if order.state is not APPROVED or order.terms.offer.token != token:
            return
        now, price = self.pair.twin.now_at, order.terms.offer.price_wei
        self.take_back(token)
        permit = self.permit(order) or bytes(160)
        wrong: list[Callable[[], object]] = [
            lambda: self.pay_with(order, b""),
            lambda: self.pay_with(order, self.permit(order, units=price - 1)),
            lambda: self.pay_with(order, self.permit(order, deadline=now - 1)),
            lambda: self.pay_with(order, permit[:-1]),
            lambda: self.pay_with(order, permit, value_wei=1),
            lambda: self.pay_with(order, permit[:64] + (256 + permit[95]).to_bytes(32, "big") + permit[96:]),
            lambda: self.pay_with(order, permit[:95] + bytes([55 - permit[95]]) + permit[96:]),
        ]
        self.attempt(wrong[pick // 4 % len(wrong)])
        try:
            if pick // 32 % 2:
                self.submit_permit(token, permit)
            self.pay_with(order, permit)
            self.pair.seen[f"paid with a permit{' that was used' if pick // 32 % 2 else ''}"] += 1
        except BridgeError:
            self.attempt(lambda: self.submit_permit(token, permit))

    # ── the list of tokens ──
    @rule(pick=picks)
    def tokens_come_and_go(self, pick: int) -> None:
        """Orders outlive the listing of their token, to the last claim; new requests are refused."""
        token = self.tokens[pick % 2]
        state = (OrderState.REQUESTED, APPROVED, PAID, DELIVERED)[pick // 2 % 4]
        with self.excursion(stay=pick % 8 == 0):
            order = self.order_in(token, pick, state)
            who = self.governor if pick // 8 % 8 else self.scene.recorder
            for _ in range(2):  # removing is repeatable, listing is not
                self.attempt(lambda: who.govern("AssetLedger", "remove_token", token))
            self.walk(order)
            self.attempt(lambda: self.scene.provider.claim(token))
            if pick // 64 % 4:
                for _ in range(2):
                    self.attempt(lambda: self.governor.govern("AssetLedger", "list_token", token))

    def walk(self, order: Order) -> None:
        """One more request, refused; then from where the order stands to settled, as far as the rules let it come."""
        scene, order_id = self.scene, order.order_id
        self.attempt(lambda: scene.consumer.request(scene.terms(order.terms.asset_id)))
        steps: dict[OrderState, Callable[[Order], object]] = {
            OrderState.REQUESTED: lambda o: scene.provider.approve(order_id, scene.approval(o)),
            APPROVED: lambda o: self.pay_for(o, [scene.accept(o, slot) for slot in (0, 1)]),
            PAID: lambda o: scene.recorder.record_delivery(
                order_id, scene.fetch(o), [scene.receipt(o, slot) for slot in (0, 1)]
            ),
            DELIVERED: lambda _: scene.consumer.accept_delivery(order_id),
        }
        for state, step in steps.items():
            now = self.pair.twin.order(order_id)
            if now.state is state:
                self.attempt(lambda step=step, now=now: step(now))
