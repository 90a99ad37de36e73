"""ChainTwin: blocks, time, finality and reorgs around the twin's contracts; a `Source` like a real chain.

Source: design §2 ("the in-memory chain twin is the model"), §7 (depth of 2 on a development chain).
One transaction makes one block. Nothing here reads a clock: time moves only by `advance`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from asset_bridge.chain.abi import Event
from asset_bridge.chain.actor import Actor
from asset_bridge.chain.config import DeployConfig
from asset_bridge.chain.keys import AccountKey, checksum_address
from asset_bridge.chain.network import CONTRACTS, DEVELOPMENT_FINALITY_DEPTH, Deployment
from asset_bridge.chain.packing import pack_periods
from asset_bridge.chain.reader import Call, Reader
from asset_bridge.chain.reasons import refused
from asset_bridge.chain.records import At, BlockRef, Sent
from asset_bridge.chain.submitting import Cost
from asset_bridge.chain.twin.challenges import BASE_FEE_WEI, Challenges, ReencryptionVerifier
from asset_bridge.chain.twin.exchange import Exchange
from asset_bridge.chain.twin.grants import Grants
from asset_bridge.chain.twin.ledger import AssetLedger
from asset_bridge.chain.twin.registry import NodeRegistry
from asset_bridge.chain.twin.tokens import TokenFacts, answer, call_token
from asset_bridge.chain.twin.world import Contract, ContractRevert, Message, Snapshot, World
from asset_bridge.errors import InputError, TamperedError
from asset_bridge.keys.keccak import keccak

GAS_USED = 100_000  # the twin has no gas; a fixed figure keeps costs visible in tests


@dataclass(frozen=True, slots=True)
class Transaction:
    """A call that was put into a block."""

    sender: str
    contract: str
    function: str
    args: tuple[object, ...]
    value_wei: int
    verb: str
    serial: int

    @property
    def hash(self) -> bytes:
        """Its name."""
        return keccak(
            repr((self.sender, self.contract, self.function, self.args, self.value_wei, self.serial)).encode()
        )


@dataclass(slots=True)
class Block:
    """A block with the state after it."""

    ref: BlockRef
    state: Snapshot
    transactions: list[Transaction] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)


class ChainTwin(Reader):
    """The twin as a ChainReader; `account` gives a ChainAccount."""

    def __init__(
        self,
        config: DeployConfig | None = None,
        *,
        chain_id: int = 31337,
        now_at: int = 1_800_000_000,
        addresses: dict[str, str] | None = None,
    ) -> None:
        self.governor_key = AccountKey(keccak(b"twin governor"))
        self.config = config or DeployConfig(governor=self.governor_key.address)
        names = CONTRACTS
        given = addresses or {name: checksum_address(keccak(name.encode())[12:]) for name in names}
        deployment = Deployment(
            chain_id=chain_id,
            addresses=given,
            code_hashes={name: keccak(b"twin " + name.encode()) for name in names},
            deployed_block=0,
        )
        self.world = World(chain_id, given)
        registry = NodeRegistry(self.world)
        ledger = AssetLedger(self.world, registry)
        exchange = Exchange(self.world, ledger, registry)
        grants = Grants(self.world, exchange)
        self.contracts: dict[str, Contract] = {c.NAME: c for c in (registry, ledger, exchange, grants)}
        challenges = Challenges(self.world, exchange)
        challenges.construct(self.config.liveness_deposit_wei)
        self.contracts |= {"Challenges": challenges, "ReencryptionVerifier": ReencryptionVerifier(self.world)}
        self._now_at, self._serial, self._forks = now_at, 0, 0
        self._done: dict[tuple[object, ...], Sent] = {}
        self._blocks: list[Block] = []
        self._construct(registry, ledger, exchange, now_at)
        self._seal([])
        super().__init__(TwinSource(self, deployment))

    def _construct(self, registry: NodeRegistry, ledger: AssetLedger, exchange: Exchange, now_at: int) -> None:
        c = self.config
        minimum = pack_periods(c.minimum_periods)
        registry.construct(
            now_at, c.governor, c.development, c.minimum_stake_wei, c.delay_seconds, c.vendors, c.measurements
        )
        ledger.construct(now_at, c.governor, c.development, c.delay_seconds, c.change_seconds, minimum, c.tokens)
        fees = (c.fee_tee, c.fee_recorder, c.fee_light, c.fee_storage)
        exchange.construct(
            self.world.addresses["Grants"],
            self.world.addresses["Challenges"],
            c.development,
            fees,
            c.margin_seconds,
            c.grace_seconds,
        )
        governor = Message(c.governor, 0, now_at, 0)
        ledger.list_exchange(governor, exchange.address)
        registry.list_exchange(governor, exchange.address)

    # ── blocks and time ──
    @property
    def now_at(self) -> int:
        """Time of the next block."""
        return self._now_at

    @property
    def head(self) -> Block:
        """The newest block."""
        return self._blocks[-1]

    def _seal(self, transactions: list[Transaction]) -> BlockRef:
        number = len(self._blocks)
        parent = self._blocks[-1].ref.hash if self._blocks else bytes(32)
        body = b"".join(t.hash for t in transactions)
        digest = keccak(
            parent + number.to_bytes(8, "big") + self._now_at.to_bytes(8, "big") + bytes([self._forks]) + body
        )
        ref = BlockRef(number, digest, self._now_at)
        transaction = transactions[0].hash if transactions else bytes(32)
        events = [Event(e.contract, e.name, e.args, ref, transaction, i) for i, e in enumerate(self.world.emitted)]
        self.world.emitted.clear()
        state = self.world.snapshot() if transactions or not self._blocks else self._blocks[-1].state
        self._blocks.append(Block(ref, state, transactions, events))
        self._now_at += 1
        return ref

    def mine(self, blocks: int = 1) -> BlockRef:
        """Empty blocks."""
        for _ in range(blocks):
            self._seal([])
        return self.head.ref

    def advance(self, seconds: int) -> BlockRef:
        """Move time and mine a block at the new time."""
        return self.advance_to(self._now_at + seconds)

    def advance_to(self, at: int) -> BlockRef:
        """Mine a block whose time is `at` (not before the next block's)."""
        self._now_at = max(self._now_at, at)
        return self.mine()

    def reorg(self, depth: int, *, keep: bool = True) -> None:
        """Replace the last `depth` blocks by others, with the same transactions (`keep`) or without."""
        removed = self._blocks[-depth:]
        del self._blocks[-depth:]
        self.world.restore(self.head.state)
        self._forks = (self._forks + 1) % 256
        for block in removed:
            self._now_at = block.ref.timestamp
            self._seal([t for t in block.transactions if keep and self._goes(t)])
        self._done.clear()

    def _goes(self, transaction: Transaction) -> bool:
        try:
            self._execute(transaction)
        except (ContractRevert, InputError):
            return False
        return True

    # ── money from nowhere: in every block, so that no reorg takes it ──
    def fund(self, address: str, wei: int) -> None:
        """Give native coins."""
        for tables in self._states():
            coins = tables.setdefault("", {}).setdefault("coins", {})
            coins[address] = coins.get(address, 0) + wei

    def fund_token(self, token: str, address: str, amount: int) -> None:
        """Give tokens, and allow the Exchange to take them."""
        for tables in self._states():
            outside = tables.setdefault("", {})
            outside.setdefault("tokens", {})[token, address] = amount
            outside.setdefault("allowances", {})[token, address, self.exchange] = amount

    def add_token(self, token: str, symbol: str, decimals: int, *, permits: bool, name: str = "") -> None:
        """Deploy a token that tells its symbol and decimals; `permits`: with EIP-2612."""
        facts = TokenFacts(symbol, decimals, permits, name)
        for tables in self._states():
            tables.setdefault("", {}).setdefault("token_facts", {})[token] = facts

    def give_tokens(self, token: str, address: str, units: int) -> None:
        """Give tokens; whom they may be taken by is the holder's to say."""
        for tables in self._states():
            tables.setdefault("", {}).setdefault("tokens", {})[token, address] = units

    def _states(self) -> list[Snapshot]:
        states = {id(block.state): block.state for block in self._blocks} | {id(self.world.tables): self.world.tables}
        return list(states.values())

    # ── calls ──
    def account(self, key: AccountKey) -> TwinAccount:
        """An account on this chain."""
        return TwinAccount(self, key)

    @property
    def governor(self) -> TwinAccount:
        """The governor of a twin made without a config of one's own."""
        return TwinAccount(self, self.governor_key)

    def execute(
        self, sender: str, contract: str, function: str, args: Sequence[object], value_wei: int, verb: str
    ) -> Sent:
        """One transaction in a block of its own, or RefusedError and no block."""
        self._serial += 1
        transaction = Transaction(sender, contract, function, tuple(args), value_wei, verb, self._serial)
        try:
            self._execute(transaction)
        except ContractRevert as revert:
            raise refused(revert.reason) from None
        ref = self._seal([transaction])
        return Sent(transaction.hash, ref, GAS_USED, 0, verb)

    def cost_of(self, sender: str, contract: str, function: str, args: Sequence[object], value_wei: int) -> Cost:
        """What a call would cost, after trying it; RefusedError when it would be refused."""
        before, events = self.world.snapshot(), len(self.world.emitted)
        try:
            self._execute(Transaction(sender, contract, function, tuple(args), value_wei, function, self._serial))
        except ContractRevert as revert:
            raise refused(revert.reason) from None
        finally:
            self.world.restore(before)
            del self.world.emitted[events:]
        return Cost(GAS_USED, 0)

    def _execute(self, transaction: Transaction) -> object:
        before, events = self.world.snapshot(), len(self.world.emitted)
        if transaction.function == "token":
            call = transaction.args[0]
            assert isinstance(call, bytes)
            call_token(self.world, transaction.sender, transaction.contract, call, self._now_at)
            return None
        contract = self.contracts[transaction.contract]
        message = Message(transaction.sender, transaction.value_wei, self._now_at, len(self._blocks))
        if self.world.coins_wei(transaction.sender) < transaction.value_wei:
            raise InputError(
                "chain.funds",
                f"Account {transaction.sender} needs at least {transaction.value_wei} wei.",
                hint=f"send coins of chain {self.world.chain_id} to {transaction.sender}",
            )
        try:
            self.world.move_coins(transaction.sender, contract.address, transaction.value_wei)
            return getattr(contract, transaction.function)(message, *transaction.args)
        except ContractRevert:
            self.world.restore(before)
            del self.world.emitted[events:]
            raise

    # ── what the source needs ──
    def block_at(self, number: int) -> Block:
        """A block by number."""
        return self._blocks[number]

    @property
    def height(self) -> int:
        """Number of the newest block."""
        return len(self._blocks) - 1

    def token_answer(self, token: str, call: bytes, block: Block) -> bytes | None:
        """A token's answer on the state after `block`; None where it reverts."""
        now, self.world.tables = self.world.tables, block.state
        try:
            return answer(self.world, token, call, block.ref.timestamp)
        finally:
            self.world.tables = now

    def view(self, call: Call, block: Block) -> Any:
        """A view's answer on the state after `block`."""
        contract, name, args = call
        now, self.world.tables = self.world.tables, block.state
        try:
            model = self.contracts[contract]
            message = Message("", 0, block.ref.timestamp, block.ref.number)
            method = getattr(model, f"view_{name}", None) or getattr(model, name)
            answer = method(message, *args) if name in ("node", "is_live") else method(*args)
            return tuple(answer) if isinstance(answer, tuple) else answer
        finally:
            self.world.tables = now


class TwinSource:
    """The twin's blocks, events and views for the Reader and the Index."""

    def __init__(self, twin: ChainTwin, deployment: Deployment) -> None:
        self.deployment = deployment
        self._twin = twin

    def block(self, at: At = At.HEAD) -> BlockRef:
        """The head, or the block two below it."""
        depth = DEVELOPMENT_FINALITY_DEPTH if at is At.FINAL else 0
        return self._twin.block_at(max(0, self._twin.height - depth)).ref

    def canonical(self, number: int) -> BlockRef | None:
        """The block at a height; None above the head."""
        return self._twin.block_at(number).ref if number <= self._twin.height else None

    def events(self, first: int, last: int) -> list[Event]:
        """Every event in blocks first..last."""
        return [e for n in range(first, last + 1) for e in self._twin.block_at(n).events]

    def find(self, names: Iterable[str], block: BlockRef, **fields: object) -> list[Event]:
        """See reader.Source."""
        wanted = set(names)
        return [
            event
            for event in self.events(0, block.number)
            if event.name in wanted and all(event.args.get(name) == value for name, value in fields.items())
        ]

    def calls(self, calls: Sequence[Call], block: BlockRef, at: At) -> list[Any]:  # noqa: ARG002
        """See reader.Source; the twin has one endpoint, itself."""
        found = self._twin.block_at(block.number)
        return [self._twin.view(call, found) for call in calls]

    def token_answers(self, token: str, calls: Sequence[bytes], block: BlockRef, at: At) -> list[bytes | None]:  # noqa: ARG002
        """See reader.Source."""
        return [self._twin.token_answer(token, call, self._twin.block_at(block.number)) for call in calls]

    def lying(self, what: str) -> TamperedError:
        """See reader.Source."""
        return TamperedError(
            "chain.lying-endpoint", f"The twin contradicts itself: {what}.", actor="chain endpoint twin"
        )

    def code(self, account: str, at: At = At.HEAD) -> bytes:  # noqa: ARG002
        """See reader.Source; every account of the twin is a key or one of its contracts, whose code is a mark."""
        return b"\0" if account in self.deployment.addresses.values() else b""

    def base_fee_wei(self) -> int:
        """See twin/challenges.py."""
        return BASE_FEE_WEI

    def coins_wei(self, account: str) -> int:
        """Native coins now."""
        return self._twin.world.coins_wei(account)


class TwinAccount(Actor):
    """A ChainAccount on the twin."""

    def __init__(self, twin: ChainTwin, key: AccountKey) -> None:
        super().__init__(twin, key)
        self._twin = twin

    def _transact(
        self, verb: str, contract: str, function: str, args: Sequence[object], value_wei: int = 0, *, once: bool = True
    ) -> Sent:
        done = self._twin._done
        name = (self.address, contract, function, tuple(args), value_wei)
        if once and name in done:
            return done[name]
        sent = self._twin.execute(self.address, contract, function, args, value_wei, verb)
        if once:
            done[name] = sent
        return sent

    def _estimate(self, contract: str, function: str, args: Sequence[object], value_wei: int) -> Cost:
        return self._twin.cost_of(self.address, contract, function, args, value_wei)

    def _call_token(self, verb: str, token: str, data: bytes) -> Sent:
        return self._twin.execute(self.address, token, "token", (data,), 0, verb)
