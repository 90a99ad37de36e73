"""The compiled contracts in titanoboa (on revm or py-evm) and the twin, given every call side by side and compared after each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import boa
from eth_hash.auto import keccak

from asset_bridge.chain import deploy
from asset_bridge.chain.abi import Event, decode_answer, decode_log, encode_call
from asset_bridge.chain.actor import Actor
from asset_bridge.chain.config import DeployConfig
from asset_bridge.chain.index import Index
from asset_bridge.chain.keys import AccountKey, address_bytes, checksum_address
from asset_bridge.chain.network import CONTRACTS
from asset_bridge.chain.packing import pack_periods
from asset_bridge.chain.reader import Call
from asset_bridge.chain.reasons import reason_of
from asset_bridge.chain.records import At, BlockRef, Sent
from asset_bridge.chain.submitting import Cost
from asset_bridge.chain.twin import ChainTwin
from asset_bridge.chain.twin.chain import Block, TwinSource
from asset_bridge.chain.twin.world import Snapshot
from asset_bridge.errors import RefusedError
from tests.ports.chain_scene import Numbers
from tests.stateful.pair_tokens import TOKEN_REFUSED, PairTokens
from tests.support.revm import next_addresses

RICH_WEI = 10**20


@dataclass(frozen=True)
class Moment:
    """Both worlds at one time."""

    snapshot: Any
    blocks: tuple[Block, ...]
    tables: Snapshot
    now_at: int
    events: int


class Pair(PairTokens):
    """One deployment in two worlds."""

    def __init__(self, config: DeployConfig, *, chain_id: int = 31337, now_at: int = 1_800_000_000) -> None:
        boa.env.evm.patch.chain_id = chain_id
        boa.env.evm.patch.timestamp = now_at
        c, governor = config, address_bytes(config.governor)
        registry = self._create(
            "NodeRegistry",
            governor,
            c.development,
            c.minimum_stake_wei,
            c.delay_seconds,
            list(c.vendors),
            [list(m) for m in c.measurements],
        )
        minimum = pack_periods(c.minimum_periods)
        ledger = self._create(
            "AssetLedger",
            governor,
            c.development,
            address_bytes(registry),
            c.delay_seconds,
            c.change_seconds,
            minimum,
            [address_bytes(token) for token in c.tokens],
        )
        deployer = checksum_address(keccak(b"deployer of the pair")[12:])
        grants, challenges = next_addresses(deployer, 3)[1:]
        verifier = self._create("ReencryptionVerifier")
        fees = (c.fee_tee, c.fee_recorder, c.fee_light, c.fee_storage)
        places = [address_bytes(a) for a in (ledger, registry, grants, challenges)]
        with boa.env.prank(deployer):
            exchange = self._create("Exchange", *places, c.development, fees, c.margin_seconds, c.grace_seconds)
            assert self._create("Grants", address_bytes(exchange)) == grants
            bound = (address_bytes(exchange), address_bytes(verifier), c.liveness_deposit_wei)
            assert self._create("Challenges", *bound) == challenges
        made = (registry, ledger, verifier, exchange, grants, challenges)
        addresses = dict(zip(CONTRACTS, made, strict=True))
        self.names = {address: name for name, address in addresses.items()}
        self.twin = ChainTwin(config, chain_id=chain_id, now_at=now_at, addresses=addresses)
        self.seen: Counter[str] = Counter()
        self.events: list[Event] = []
        """Every event that the contracts logged, decoded."""
        self.touched = b""
        """Call data and logs of the calls that went since it was last emptied: what they do not name cannot have changed."""
        self.called: set[str] = set()
        self.senders: set[str] = set()
        for contract in ("AssetLedger", "NodeRegistry"):
            boa.env.execute_code(
                addresses[contract], sender=config.governor, data=encode_call(contract, "list_exchange", (exchange,))
            )

    @staticmethod
    def _create(name: str, *args: object) -> str:
        address, _ = boa.env.deploy_code(bytecode=deploy.artefact(name).creation(*args))
        return checksum_address(address_bytes(str(address)))

    def account(self, name: str) -> PairAccount:
        key = AccountKey(Numbers(name)(32))
        self.twin.fund(key.address, RICH_WEI)
        boa.env.set_balance(key.address, RICH_WEI)
        return PairAccount(self, key)

    def both(
        self, sender: str, contract: str, function: str, args: Sequence[object], value_wei: int, verb: str
    ) -> Sent:
        """The call in both worlds; they must agree on success, reason, events and coins."""
        boa.env.evm.patch.timestamp = self.twin.now_at
        address = self.twin.deployment.address_of(contract)
        data = encode_call(contract, function, args)
        computation = boa.env.execute_code(address, sender=sender, value=value_wei, data=data)
        real = reason_of(bytes(computation.output)) or "reverted" if computation.is_error else ""
        reason, sent = "", None
        try:
            sent = self.twin.execute(sender, contract, function, args, value_wei, verb)
        except RefusedError as error:
            reason = error.message.removeprefix("The contract refused: ").removesuffix(".")
        if (reason, real) == TOKEN_REFUSED:  # the token says in its own words why it does not pay, or says nothing
            real = reason
        assert reason == real, f"{function}: twin {reason or 'goes'!r}, contract {real or 'goes'!r}"
        if sent is None:
            self.seen[f"refused {reason}"] += 1
            raise RefusedError("chain.reverted", real)
        raw = computation.get_raw_log_entries()
        self.touched += data + b"".join(b"".join(t.to_bytes(32, "big") for t in entry[2]) + entry[3] for entry in raw)
        logs = [self._log(entry) for entry in raw]
        assert logs == [(e.contract, e.name, dict(e.args)) for e in self.twin.head.events]
        block = self.twin.head.ref
        self.events += [Event(*log, block, sent.transaction_hash, at) for at, log in enumerate(logs)]  # type: ignore[arg-type]
        self.seen[verb] += 1
        self.seen[f"called {function}"] += 1
        self.count_token(verb, args)
        self.called.add(contract)
        self.senders.add(sender)
        return sent

    def _log(self, entry: Any) -> tuple[str, str, dict[str, Any]]:
        _, address, topics, data = entry
        contract = self.names[checksum_address(address)]
        decoded = decode_log(contract, [t.to_bytes(32, "big") for t in topics], data)
        assert decoded is not None
        return contract, *decoded

    def real_view(self, contract: str, name: str, *args: object) -> Any:
        """A view's answer in the contract, at the time of the newest block."""
        boa.env.evm.patch.timestamp = self.twin.head.ref.timestamp
        address = self.twin.deployment.address_of(contract)
        computation = boa.env.execute_code(address, data=encode_call(contract, name, args), is_modifying=False)
        return decode_answer(contract, name, bytes(computation.output))

    def differences(self, calls: Sequence[Call]) -> list[tuple[Call, Any, Any]]:
        """Views that the contracts and the twin answer differently now; all of the twin's at once."""
        models = self.twin.source.calls(calls, self.twin.head.ref, At.HEAD)
        reals = [self.real_view(contract, name, *args) for contract, name, args in calls]
        return [each for each in zip(calls, reals, models, strict=True) if each[1] != each[2]]

    # ── going back ──
    def moment(self) -> Moment:
        """Both worlds as they are now; `rewind` comes back here."""
        twin = self.twin
        return Moment(boa.env.evm.snapshot(), tuple(twin._blocks), twin.world.snapshot(), twin.now_at, len(self.events))

    def rewind(self, to: Moment) -> Moment:
        """Back to `to`, in both worlds; the same moment for the next time (a snapshot of the machine serves once)."""
        boa.env.evm.revert(to.snapshot)
        self.twin._blocks[:] = to.blocks
        self.twin.world.restore(to.tables)
        self.twin._now_at = to.now_at
        self.twin._done.clear()
        del self.events[to.events :]
        return Moment(boa.env.evm.snapshot(), to.blocks, to.tables, to.now_at, to.events)


class ContractsSource(TwinSource):
    """The compiled contracts behind a Reader: their own logs in an Index, and their own views; blocks are the twin's."""

    def __init__(self, pair: Pair) -> None:
        super().__init__(pair.twin, pair.twin.deployment)
        self._pair = pair
        self.index = Index(None, self)
        self.index.update()

    def events(self, first: int, last: int) -> list[Event]:
        """See EventSource."""
        return [event for event in self._pair.events if first <= event.block.number <= last]

    def find(self, names: Iterable[str], block: BlockRef, **fields: object) -> list[Event]:
        """See reader.Source."""
        return self.index.find(names, block.number, **fields)

    def calls(self, calls: Sequence[Call], block: BlockRef, at: At) -> list[Any]:
        """See reader.Source."""
        return [self._pair.real_view(contract, name, *args) for contract, name, args in calls]


class PairAccount(Actor):
    """A ChainAccount that acts in both worlds."""

    def __init__(self, pair: Pair, key: AccountKey) -> None:
        super().__init__(pair.twin, key)
        self.pair = pair

    def _transact(
        self, verb: str, contract: str, function: str, args: Sequence[object], value_wei: int = 0, *, once: bool = True
    ) -> Sent:
        return self.pair.both(self.address, contract, function, args, value_wei, verb)

    def _estimate(self, contract: str, function: str, args: Sequence[object], value_wei: int) -> Cost:
        return self.pair.twin.cost_of(self.address, contract, function, args, value_wei)

    def _call_token(self, verb: str, token: str, data: bytes) -> Sent:
        return self.pair.call_token(self.address, token, data, verb)
