"""What must be the same in the contracts and in the twin, and when it is looked at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import boa
from hypothesis.stateful import RuleBasedStateMachine, invariant

from asset_bridge.chain.keys import address_bytes
from asset_bridge.chain.packing import WAS_PAID, Status, address_account
from asset_bridge.chain.reader import Call, Reader
from asset_bridge.chain.records import ZERO_ADDRESS, OrderState
from asset_bridge.chain.tokens import token_call
from tests.stateful.market import MarketScene
from tests.stateful.pair import ContractsSource, Pair, PairAccount

TOTAL: Counter[str] = Counter()
"""What was seen in all sequences."""


class Agreement(RuleBasedStateMachine):
    """A machine over both worlds."""

    pair: Pair
    scene: MarketScene
    accounts: dict[str, PairAccount]
    orders: list[bytes]
    assets: list[bytes]
    tokens: list[str]
    prices: dict[bytes, tuple[str, int]]
    """Token (or ZERO_ADDRESS) and amount of each order."""

    def nodes(self) -> list[bytes]:
        return [n.node_id for n in (self.scene.light, *self.scene.storage, *self.scene.tees)]

    def status(self, order_id: bytes) -> Status:
        """An order's status as the twin has it."""
        return Status.parse(self.pair.twin.view(("Exchange", "order", (order_id,)), self.pair.twin.head)[1])

    def compare(self, calls: list[Call]) -> None:
        """These views answer alike in both worlds."""
        assert self.pair.differences(calls) == []

    def views(self, known: bytes | None = None) -> list[Call]:
        """Views of all that `known` names (call data and logs), or of everything."""
        scene = self.scene
        nodes = [n.node_id for n in (scene.light, *scene.storage, *scene.tees)]
        people = [(address_account(a.address), address_bytes(a.address), a.address) for a in self.accounts.values()]
        named = [x for x in (*self.orders, *self.assets, *nodes) if known is None or x in known]
        paid = [p for p in people if known is None or p[1] in known]
        asked: list[Call] = []
        kinds = (ZERO_ADDRESS, *self.named_tokens(known))
        disputes = known is None or "Challenges" in self.pair.called
        stakes = disputes or "NodeRegistry" in self.pair.called
        for each in named:
            if each in self.orders:
                asked.append(("Exchange", "order", (each,)))
                asked += [("Challenges", "challenge_of", (each,))] if disputes else []
            elif each in self.assets:
                asked.append(("AssetLedger", "asset", (each,)))
            else:
                asked.append(("NodeRegistry", "node", (each,)))
                asked += [("Exchange", "balance_of", (kind, each)) for kind in kinds]
        for account, _, address in paid:
            asked += [("Exchange", "balance_of", (kind, account)) for kind in kinds]
            asked += [("Challenges", "withdrawable", (address,))] if disputes else []
            asked += [("NodeRegistry", "claimable", (address,))] if stakes else []
        if known is None or "AssetLedger" in self.pair.called:
            asked.append(("AssetLedger", "account", (scene.provider.address,)))
            asked += [("AssetLedger", "token_active_at", (token,)) for token in self.tokens]
        return asked

    def named_tokens(self, known: bytes | None) -> list[str]:
        """The tokens that `known` names, or all."""
        return [token for token in self.tokens if known is None or address_bytes(token) in known]

    @invariant()
    def what_a_step_named_is_the_same_in_both_worlds(self) -> None:
        pair = self.pair
        if not pair.touched:
            return
        self.compare(self.views(pair.touched))
        self.coins(pair.senders)
        self.units(self.named_tokens(pair.touched), pair.senders)
        pair.touched = b""
        pair.called.clear()
        pair.senders.clear()

    def coins(self, accounts: Iterable[str]) -> None:
        """Native coins are the same in both worlds, and the Exchange holds exactly what it owes."""
        twin, env = self.pair.twin, boa.env
        for address in (twin.exchange, twin.registry, twin.deployment.address_of("Challenges"), *accounts):
            assert env.get_balance(address) == twin.coins_wei(address), address
        assert twin.coins_wei(twin.exchange) == self.owed(ZERO_ADDRESS)

    def units(self, tokens: Iterable[str], accounts: Iterable[str]) -> None:
        """So are tokens, what the Exchange may take of them, and the number of permits that were used."""
        twin, exchange = self.pair.twin, self.pair.twin.exchange
        people = list(accounts)
        for token in tokens:
            calls = [token_call("balanceOf(address)", address) for address in (exchange, *people)]
            calls += [token_call("allowance(address,address)", address, exchange) for address in people]
            calls += [token_call("nonces(address)", address) for address in people if token == self.tokens[0]]
            assert self.pair.token_differences(token, calls) == []
            assert twin.token_units(exchange, token) == self.owed(token)

    def owed(self, token: str) -> int:
        """What the Exchange holds for open orders and owes as balances."""
        twin, escrow = self.pair.twin, 0
        for order_id in self.orders:
            if self.prices[order_id][0] != token:
                continue
            status = self.status(order_id)
            held = status.state in (OrderState.PAID, OrderState.DELIVERED) or (
                status.state == OrderState.REVOKED and status.flags & WAS_PAID
            )
            escrow += self.prices[order_id][1] if held else 0
        return escrow + sum(
            twin.view(("Exchange", "balance_of", (token, account)), twin.head)
            for account in (*(address_account(a.address) for a in self.accounts.values()), *self.nodes())
        )

    def everything_agrees(self) -> None:
        """At the end of a sequence: every view, every coin; and the events alone give what the contracts hold (I12)."""
        twin = self.pair.twin
        self.compare(self.views())
        people = [account.address for account in self.accounts.values()]
        self.coins(people)
        self.units(self.tokens, people)
        rebuilt = Reader(ContractsSource(self.pair))  # its records are checked against the contracts' own words
        assert rebuilt.orders() == twin.orders()
        assert rebuilt.assets() == twin.assets()
        assert rebuilt.nodes() == twin.nodes()
        assert rebuilt.token_times() == twin.token_times()
        provider = self.scene.provider.address
        assert rebuilt.provider_account(provider) == twin.provider_account(provider)
        assert rebuilt.profile(provider) == twin.profile(provider)
        for order_id in self.orders:
            assert rebuilt.challenge_of(order_id) == twin.challenge_of(order_id)
        TOTAL["rebuilt from events"] += 1
