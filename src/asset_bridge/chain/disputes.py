"""Non-delivery challenges as ABI calls: open, answer, close, take out.

Source: spec/contracts.md §5 (Challenges), §12; protocol §7. Promises: what a call supplies comes from the checked reader.
Does not promise: that a bond is enough in a block whose base fee more than doubled since it was read.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence

from asset_bridge.chain import packing
from asset_bridge.chain.fold import OrderFacts
from asset_bridge.chain.packing import uint
from asset_bridge.chain.reader import Reader
from asset_bridge.chain.records import ZERO32, ZERO_ADDRESS, Sent
from asset_bridge.errors import InputError

ANSWER_GAS = 120_000  # spec/contracts.md §12: what posting one fragment costs at most
BOND_MARGIN = 2  # the base fee can rise until the challenge is in a block; what is too much comes back
ENTRIES_A_CALL = 8


class Disputes(ABC):
    """The part of a ChainAccount that challenges and answers."""

    _reader: Reader

    @abstractmethod
    def _transact(
        self, verb: str, contract: str, function: str, args: Sequence[object], value_wei: int = 0, *, once: bool = True
    ) -> Sent: ...

    def bond_wei(self, order_id: bytes) -> int:
        """What a challenge of this order costs now, until it is met or fails."""
        table = _paid(self._reader.facts(order_id))
        return table.threshold * ANSWER_GAS * 2 * self._reader.source.base_fee_wei() * BOND_MARGIN

    def challenge(self, order_id: bytes) -> Sent:
        """Say that this account cannot open for lack of valid fragments; the bond is sent along."""
        facts = self._reader.facts(order_id)
        args = (order_id, facts.terms, facts.card, _paid(facts).pack(), facts.progress_hash, b"")
        return self._transact("challenge", "Challenges", "challenge", args, self.bond_wei(order_id))

    def answer_challenge(self, order_id: bytes, proofs: Iterable[tuple[int, bytes]], generation: int) -> Sent:
        """Post fragments as (slot, proof of 482 bytes) of the challenged generation; at most eight."""
        facts = self._reader.facts(order_id)
        table, listing = facts.table_of(generation), self._reader.asset(facts.terms.asset_id).listing
        if table is None:
            raise InputError("chain.no-such-slot", "The order never had that generation of shares.")
        entries = b"".join(uint(slot, 1) + proof for slot, proof in sorted(proofs)[:ENTRIES_A_CALL])
        current = ZERO32 if table is facts.table else facts.table_hash
        args = (order_id, facts.terms, packing.key_parts(listing), listing.capsule, table.pack(), current)
        rest = (facts.progress_hash, entries, ZERO_ADDRESS)
        return self._transact("answer_challenge", "Challenges", "answer", (*args, *rest))

    def close_challenge(self, order_id: bytes) -> Sent:
        """After the time to answer: price and bond go back to the challenger; anyone."""
        facts = self._reader.facts(order_id)
        args = (order_id, facts.terms, facts.card, _paid(facts).pack(), facts.progress)
        return self._transact("close_challenge", "Challenges", "close", args)

    def withdraw_rewards(self, account: str) -> Sent:
        """Pay out what `account` has in Challenges: rewards and returned bonds."""
        return self._transact("withdraw_rewards", "Challenges", "withdraw", (account,), once=False)

    def collect_deposits(self, account: str) -> Sent:
        """Pay out what `account` got of stakes that others lost."""
        return self._transact("collect_deposits", "NodeRegistry", "collect", (account,), once=False)


def _paid(facts: OrderFacts) -> packing.Table:
    if facts.table is None or not facts.paid_at:
        raise InputError("chain.not-delivered", "This order was not paid.", hint="only a delivered order is challenged")
    return facts.table
