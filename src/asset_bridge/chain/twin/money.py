"""The twin's escrow, fees and balances, to the wei (spec/contracts.md §5 "claim", §8 "Fees"; protocol §7 "Settle")."""

from __future__ import annotations

from asset_bridge.chain.keys import checksum_address
from asset_bridge.chain.packing import TermsArgs, address_account
from asset_bridge.chain.records import ZERO_ADDRESS
from asset_bridge.chain.twin.orders import OrderBook
from asset_bridge.chain.twin.tokens import take_permit
from asset_bridge.chain.twin.world import Message

BASIS_POINTS = 10_000


class Money(OrderBook):
    """The money part of the Exchange. A stored balance is amount + 1; 0 means never opened."""

    # ── escrow ──
    def take(self, message: Message, consumer: str, token: str, price: int, permit: bytes = b"") -> None:
        """The price arrives: as value from whoever calls, or as tokens of the consumer."""
        if token == ZERO_ADDRESS:
            self.check(message.value_wei == price and not permit, "value is not the price")
        else:
            self.check(message.value_wei == 0, "price is in a token")
            if permit:
                self.check(len(permit) == 160, "wrong length")
                take_permit(self.world, token, consumer, self.address, permit, message.now_at)
            tokens, allowed = self.world.table("", "tokens"), self.world.table("", "allowances")
            key = (token, consumer, self.address)
            enough = tokens.get((token, consumer), 0) >= price and allowed.get(key, 0) >= price
            self.check(enough, "token did not arrive")
            allowed[key] -= price
            self._move(token, consumer, self.address, price)

    def _move(self, token: str, source: str, target: str, amount: int) -> None:
        if token == ZERO_ADDRESS:
            self.world.move_coins(source, target, amount)
            return
        tokens = self.world.table("", "tokens")
        tokens[token, source] = tokens.get((token, source), 0) - amount
        tokens[token, target] = tokens.get((token, target), 0) + amount

    def credit(self, token: str, account: bytes, amount: int) -> None:
        """Add to a balance."""
        if amount:
            balances = self.table("balances")
            balances[token, account] = max(balances.get((token, account), 0), 1) + amount

    def divide(self, terms: TermsArgs, credits: bytes, progress: bytes) -> tuple[list[bytes], list[int]]:
        """Who gets how much of the price: fees rounded down, the provider the rest, equal accounts merged."""
        fees, price, delivery = self.table("fixed")["fees"], terms.price, progress[7:]
        recorder, nodes = delivery[:32], [delivery[i : i + 32] for i in range(32, len(delivery), 32)]
        light, storage = credits[:32], [credits[i : i + 32] for i in range(32, len(credits), 32)]
        shares = [(recorder, price * fees.recorder // BASIS_POINTS)]
        shares += [(node, price * fees.tee // BASIS_POINTS // len(nodes)) for node in nodes]
        shares.append((light, price * fees.light // BASIS_POINTS))
        shares += [(node, price * fees.storage_nodes // BASIS_POINTS // len(storage)) for node in storage]
        provider = (address_account(terms.provider), price - sum(amount for _, amount in shares))
        merged: dict[bytes, int] = {}
        for account, amount in [provider, *(share for share in shares if share[1])]:
            merged[account] = merged.get(account, 0) + amount
        return list(merged), list(merged.values())

    # ── balances ──
    def pay_out(self, token: str, account: bytes, actor: str) -> None:
        """The whole balance of `account` leaves, if `actor` may claim for it."""
        if account[:12] == bytes(12):
            address = checksum_address(account[12:])
            self.check(actor == self.ledger.owner_of(address), "not the account's owner")
            payee = self.ledger.payee_of(address)
        else:
            payee = self.registry.view_operator_of(account)
            self.check(actor == payee, "not the node's operator")
        amount = self.view_balance_of(token, account)
        self.check(amount > 0, "nothing to claim")
        self.table("balances")[token, account] = 1
        self.log("Claimed", token=token, account=account, payee=payee, amount=amount)
        self._move(token, self.address, payee, amount)

    def claim(self, message: Message, token: str, account: bytes, authority: bytes) -> None:
        """Pull payment."""
        self.pay_out(token, account, self.authorised(message, authority, "Claim", account, token))

    def open_balance(self, message: Message, token: str, account: bytes) -> None:  # noqa: ARG002
        """Make the slot, so that the first credit is cheap."""
        balances = self.table("balances")
        self.check(balances.get((token, account), 0) == 0, "balance is open")
        balances[token, account] = 1
        self.log("BalanceOpened", token=token, account=account)

    # ── views ──
    def view_balance_of(self, token: str, account: bytes) -> int:
        """View: what can be claimed."""
        return max(0, int(self.table("balances").get((token, account), 0)) - 1)

    def view_ledger(self) -> str:
        """View."""
        return self.ledger.address

    def view_registry(self) -> str:
        """View."""
        return self.registry.address

    def view_challenges(self) -> str:
        """View."""
        return str(self.table("fixed")["challenges"])

    def view_grants(self) -> str:
        """View."""
        return str(self.table("fixed")["grants"])

    def view_fees(self) -> tuple[int, int, int, int]:
        """View."""
        fees = self.table("fixed")["fees"]
        return fees.tee, fees.recorder, fees.light, fees.storage_nodes
