"""The compiled contracts in titanoboa and the twin, given every call side by side and compared after each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import boa
import rlp
from eth_hash.auto import keccak

from asset_bridge.chain import deploy
from asset_bridge.chain.abi import decode_answer, decode_log, encode_call
from asset_bridge.chain.actor import Actor
from asset_bridge.chain.config import DeployConfig
from asset_bridge.chain.keys import AccountKey, address_bytes, checksum_address
from asset_bridge.chain.network import CONTRACTS
from asset_bridge.chain.packing import pack_periods
from asset_bridge.chain.reasons import reason_of
from asset_bridge.chain.records import At, Sent
from asset_bridge.chain.twin import ChainTwin
from asset_bridge.errors import RefusedError
from tests.ports.chain_scene import Numbers

RICH_WEI = 10**20


class Pair:
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
        nonce = boa.env.evm.vm.state.get_nonce(address_bytes(deployer))
        grants, challenges = (
            checksum_address(keccak(rlp.encode([address_bytes(deployer), nonce + i]))[12:]) for i in (1, 2)
        )
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
        computation = boa.env.execute_code(
            address, sender=sender, value=value_wei, data=encode_call(contract, function, args)
        )
        real = reason_of(bytes(computation.output)) or "reverted" if computation.is_error else ""
        reason, sent = "", None
        try:
            sent = self.twin.execute(sender, contract, function, args, value_wei, verb)
        except RefusedError as error:
            reason = error.message.removeprefix("The contract refused: ").removesuffix(".")
        assert reason == real, f"{function}: twin {reason or 'goes'!r}, contract {real or 'goes'!r}"
        if sent is None:
            self.seen[f"refused {reason}"] += 1
            raise RefusedError("chain.reverted", real)
        logs = [self._log(entry) for entry in computation.get_raw_log_entries()]
        assert logs == [(e.contract, e.name, dict(e.args)) for e in self.twin.head.events]
        self.seen[verb] += 1
        return sent

    def _log(self, entry: Any) -> tuple[str, str, dict[str, Any]]:
        _, address, topics, data = entry
        contract = self.names[checksum_address(address)]
        decoded = decode_log(contract, [t.to_bytes(32, "big") for t in topics], data)
        assert decoded is not None
        return contract, *decoded

    def view(self, contract: str, name: str, *args: object) -> tuple[Any, Any]:
        """A view's answer in the contract and in the twin, at the same time."""
        block = self.twin.head.ref
        boa.env.evm.patch.timestamp = block.timestamp
        address = self.twin.deployment.address_of(contract)
        computation = boa.env.execute_code(address, data=encode_call(contract, name, args), is_modifying=False)
        real = decode_answer(contract, name, bytes(computation.output))
        (model,) = self.twin.source.calls([(contract, name, args)], block, At.HEAD)
        return real, model


class PairAccount(Actor):
    """A ChainAccount that acts in both worlds."""

    def __init__(self, pair: Pair, key: AccountKey) -> None:
        super().__init__(pair.twin, key)
        self.pair = pair

    def _transact(
        self, verb: str, contract: str, function: str, args: Sequence[object], value_wei: int = 0, *, once: bool = True
    ) -> Sent:
        return self.pair.both(self.address, contract, function, args, value_wei, verb)
