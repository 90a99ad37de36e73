"""What the twin's Exchange keeps of an order, and the checks that verbs on an order begin with.

Source: spec/contracts.md §4 (core, status, tables), §7 (who may do what, when).
"""

from __future__ import annotations

from dataclasses import dataclass

from asset_bridge.chain import packing
from asset_bridge.chain.messages import accept_digest
from asset_bridge.chain.packing import ANSWERED, CHALLENGED, WAS_PAID, Row, Status, Table, TermsArgs
from asset_bridge.chain.records import ZERO32, AcceptSignature, OrderState
from asset_bridge.chain.twin.ledger import AssetLedger
from asset_bridge.chain.twin.registry import NodeRegistry
from asset_bridge.chain.twin.world import Contract, Message, World, zero
from asset_bridge.errors import TamperedError

WEEK_SECONDS = 604_800


@dataclass(frozen=True, slots=True)
class OrderWord:
    """The word of an order: what it commits to, and its status."""

    core: bytes
    status: Status


class OrderBook(Contract):
    """The order part of the Exchange: words, preimages, tables."""

    NAME = "Exchange"
    PREFIX = "exchange"

    def __init__(self, world: World, ledger: AssetLedger, registry: NodeRegistry) -> None:
        super().__init__(world)
        self.ledger, self.registry = ledger, registry

    # ── the word and its preimages ──
    def word(self, order_id: bytes) -> OrderWord:
        """The order's word; zero when there is none."""
        found = self.table("orders").get(order_id)
        return found if isinstance(found, OrderWord) else OrderWord(ZERO32, Status())

    def status_of(self, order_id: bytes) -> Status:
        """The status alone; whose the preimages are is checked when it is written."""
        return self.word(order_id).status

    def read(
        self,
        order_id: bytes,
        terms: TermsArgs,
        card: bytes,
        table_hash: bytes,
        progress_hash: bytes,
        *states: OrderState,
    ) -> Status:
        """The status of an order; reverts unless the preimages are its own and it is in one of `states`."""
        self.check_core(order_id, packing.basis(terms, card), table_hash, progress_hash)
        status = self.status_of(order_id)
        self.state_is(status, *states)
        return status

    def check_core(self, order_id: bytes, basis: bytes, table_hash: bytes, progress_hash: bytes) -> None:
        """Revert unless these digests make the order's core."""
        self.check(
            self.word(order_id).core == packing.core(basis, table_hash, progress_hash), "not this order", "exchange"
        )

    def store(self, order_id: bytes, status: Status, core: bytes | None = None) -> None:
        """Write an order's word."""
        self.table("orders")[order_id] = OrderWord(self.word(order_id).core if core is None else core, status)

    def state_is(self, status: Status, *states: OrderState) -> None:
        """Revert unless the state is one of `states`."""
        self.check(status.state in states, "wrong state", "exchange")

    def before_deadline(self, message: Message, status: Status) -> None:
        """Revert when the present state's period is over."""
        self.check(message.now_at < status.deadline, "deadline has passed", "exchange")

    def no_open_challenge(self, status: Status) -> None:
        """Revert while a challenge waits for its answer."""
        self.check(status.flags & (CHALLENGED | ANSWERED) != CHALLENGED, "challenge is open")

    def has_money(self, status: Status) -> None:
        """Revert unless the order was paid."""
        self.check(bool(status.flags & WAS_PAID), "order is not paid")

    # ── tables ──
    def parse_table(self, raw: bytes) -> Table:
        """A caller's table; malformed bytes are no order's."""
        try:
            return Table.parse(raw)
        except TamperedError:
            self.fail("not this order")

    def row(self, table: Table, slot: int) -> Row:
        """A slot's row."""
        self.check(slot < len(table.rows), "no such slot", "exchange")
        return table.rows[slot]

    def known_table(self, order_id: bytes, digest: bytes, current_table: bytes) -> bytes:
        """The hash of the current table, when a caller's table is it or that of an earlier generation."""
        if zero(current_table):
            return digest
        self.check(self.view_past(order_id, digest), "not a table of this order", "exchange")
        return current_table

    def old_row(self, order_id: bytes, generation: int, slot: int, raw: bytes) -> Row:
        """A row that `reseal` replaced after payment."""
        known = len(raw) == packing.ROW_BYTES
        row = Row.parse(raw) if known else None
        if row is None or not self.view_past(order_id, packing.row_hash(generation, slot, row)):
            self.fail("not a row of this order", "exchange")
        return row

    def check_accept(self, order_id: bytes, generation: int, slot: int, row: Row, signature: bytes) -> None:
        """The node's `Accept` of its slot."""
        accept = AcceptSignature(generation, slot, row.kfrag_id, row.kem_key_digest, row.node_id, row.epoch, b"")
        digest = accept_digest(self.domain, order_id, accept)
        self.check(self.signed(row.signing_address, digest, signature), "accept is not the node's", "exchange")

    def take_accepts(self, order_id: bytes, table: Table, accepts: bytes) -> list[int]:
        """The slots of valid, ascending `Accept`s of at least t nodes."""
        size = packing.ACCEPT_BYTES
        self.check(len(accepts) % size == 0, "wrong length")
        self.check(len(accepts) // size >= table.threshold, "too few accepts")
        slots: list[int] = []
        for i in range(0, len(accepts), size):
            slot = accepts[i]
            row = self.row(table, slot)
            self.check(not slots or slot > slots[-1], "slots are not ascending")
            self.check_accept(order_id, table.generation, slot, row, accepts[i + 1 : i + size])
            slots.append(slot)
        return slots

    # ── what an order binds ──
    def busy_until(self, deadline: int, paid: bool, packed_periods: int) -> int:
        """The latest end of all windows that an order can still have after `deadline`; whole weeks outside development."""
        periods = packing.unpack_periods(packed_periods)
        until = deadline + periods.answer_seconds
        if paid:
            until += self.view_grace_seconds() + periods.window_seconds
        return until if self.view_development() else -(-until // WEEK_SECONDS) * WEEK_SECONDS

    # ── views ──
    def view_order(self, order_id: bytes) -> tuple[bytes, int]:
        """View."""
        word = self.word(order_id)
        return word.core, word.status.pack()

    def view_past(self, order_id: bytes, digest: bytes) -> bool:
        """View."""
        return (order_id, digest) in self.table("past")

    def view_grace_seconds(self) -> int:
        """View."""
        return int(self.table("fixed")["grace_seconds"])

    def view_margin_seconds(self) -> int:
        """View."""
        return int(self.table("fixed")["margin_seconds"])


def bitmap(slots: list[int]) -> int:
    """The bits of `slots`."""
    return sum(1 << slot for slot in slots)
