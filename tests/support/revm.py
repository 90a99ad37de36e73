"""titanoboa on revm: an `Env` whose engine is the EVM of reth (package pyrevm), many times as fast as py-evm.

It has what titanoboa's `Env` and its contracts made from an ABI use of an engine, and no more. The binding answers BASEFEE with 0
and lets PREVRANDAO be set, so code that asks for the base fee is deployed with the one instruction in place of the other. Tests that
use it also have a part on py-evm, with the code as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import boa
from boa.util.abi import Address
from boa.vm.gas_meters import NoGasMeter
from eth._utils.address import generate_contract_address
from eth.exceptions import Revert, VMError

try:
    import pyrevm
except ImportError:  # it has wheels for few machines; there the tests run on py-evm alone
    pyrevm = None

FORK = "OSAKA"
CALL_GAS = 10**9
BASE_FEE_WEI = 10**9
PUSH1, PUSH32, BASEFEE, PREVRANDAO = 0x60, 0x7F, 0x48, 0x44
REVERTED = re.compile(r"Revert \{ gas_used: \d+, output: 0x([0-9a-f]*) \}")


@dataclass
class Computation:
    """A finished call, with what titanoboa and the tests read of py-evm's."""

    msg: Any
    output: bytes
    error: VMError | None
    logs: list[Any]
    gas_used: int
    children: list[Any] = field(default_factory=list)
    _gas_meter_class: type = NoGasMeter

    @property
    def is_error(self) -> bool:
        """Whether it reverted or failed."""
        return self.error is not None

    @property
    def call_trace(self) -> Any:
        """What the tests read of a trace: the call itself."""
        return SimpleNamespace(computation=self)

    def get_gas_used(self) -> int:
        """Gas, without the base of a transaction."""
        return self.gas_used

    def get_raw_log_entries(self) -> list[tuple[int, bytes, list[int], bytes]]:
        """Number, address, topics and data of each log."""
        return [
            (number, bytes.fromhex(log.address[2:]), [int(topic, 16) for topic in log.topics], bytes(log.data[1]))
            for number, log in enumerate(self.logs)
        ]


class Patch:
    """Time, block and chain of the calls to come."""

    def __init__(self) -> None:
        self.timestamp, self.block_number, self.chain_id = 1_700_000_000, 1, 31337

    @contextmanager
    def anchor(self) -> Iterator[None]:
        """As they were, afterwards."""
        before = dict(vars(self))
        try:
            yield
        finally:
            vars(self).update(before)


class Engine:
    """In the place of titanoboa's PyEVM."""

    def __init__(self) -> None:
        self.patch = Patch()
        config = pyrevm.CfgEnv(chain_id=self.patch.chain_id)
        self.revm = pyrevm.EVM(pyrevm.Env(cfg=config), spec_id=FORK, gas_limit=CALL_GAS)
        self._block = (0, 0)
        self._snapshots: list[Any] = []

    def get_gas_limit(self) -> int:
        """Of a call."""
        return CALL_GAS

    def get_code(self, address: Address) -> bytes:
        """Code of an account."""
        return bytes(self.revm.get_code(address) or b"")

    def get_balance(self, address: Address) -> int:
        """Coins of an account."""
        return int(self.revm.get_balance(address))

    def set_balance(self, address: Address, value: int) -> None:
        """Give coins; going back to a snapshot does not take them."""
        self.revm.set_balance(address, value)

    def get_storage(self, address: Address, slot: int) -> int:
        """A slot."""
        return int(self.revm.storage(address, slot))

    def set_storage(self, address: Address, slot: int, value: int) -> None:
        """Change a slot."""
        self.revm.insert_account_storage(address, slot, value)

    def get_nonce(self, address: Address) -> int:
        """Number of contracts that an account has made."""
        return int(self.revm.basic(address).nonce)

    def reset_access_counters(self) -> None:
        """Gas is not looked at."""

    def snapshot(self) -> Any:
        """The state, to go back to once."""
        self._snapshots.append(self.revm.snapshot())
        return self._snapshots[-1]

    def revert(self, snapshot: Any) -> None:
        """Go back, and forget every later snapshot: each that revm keeps counts as a call under way, and 1,024 of those are too deep."""
        assert snapshot in self._snapshots
        while (newest := self._snapshots.pop()) is not snapshot:
            self.revm.revert(newest)
        self.revm.revert(newest)

    def generate_create_address(self, sender: Address) -> Address:
        """Where the next contract of `sender` will be."""
        return Address(generate_contract_address(sender.canonical_address, self.get_nonce(sender)))

    def _enter_block(self) -> None:
        block = self.patch.block_number, self.patch.timestamp
        if block != self._block:
            fee = BASE_FEE_WEI.to_bytes(32, "big")
            self.revm.set_block_env(pyrevm.BlockEnv(number=block[0], timestamp=block[1], prevrandao=fee))
            self._block = block

    def deploy_code(
        self,
        sender: Address,
        origin: Address,
        target_address: Address,
        gas: int | None,
        gas_price: int,
        value: int,
        bytecode: bytes,
    ) -> Computation:
        """Create a contract."""
        self._enter_block()
        message = SimpleNamespace(data=b"", code_address=target_address.canonical_address)

        def make() -> bytes:
            made = self.revm.deploy(sender, base_fee_as_set(bytecode), value)
            assert Address(made) == target_address
            return self.get_code(target_address)

        return self._ran(message, make)

    def execute_code(
        self,
        sender: Address,
        to: Address,
        gas: int,
        gas_price: int,
        value: int,
        bytecode: bytes,
        data: bytes,
        is_static: bool,
        **_: Any,
    ) -> Computation:
        """Call a contract, with its own code."""
        self._enter_block()
        message = SimpleNamespace(data=data, code_address=to.canonical_address)
        return self._ran(
            message, lambda: self.revm.message_call(sender, to, data, value, is_static=is_static, gas=CALL_GAS)
        )

    def _ran(self, message: Any, act: Any) -> Computation:
        try:
            output = bytes(act())
        except RuntimeError as error:
            found = REVERTED.search(str(error))
            output = bytes.fromhex(found[1]) if found else b""
            return Computation(message, output, Revert(output) if found else VMError(str(error)), [], 0)
        result = self.revm.result
        return Computation(message, output, None, result.logs, result.gas_used)


def base_fee_as_set(code: bytes) -> bytes:
    """The code with PREVRANDAO in place of BASEFEE; what PUSH instructions carry is passed over."""
    made, at = bytearray(code), 0
    while at < len(code):
        if code[at] == BASEFEE:
            made[at] = PREVRANDAO
        at += 1 + (code[at] - PUSH1 + 1 if PUSH1 <= code[at] <= PUSH32 else 0)
    return bytes(made)


class RevmEnv(boa.Env):  # type: ignore[misc]
    """titanoboa's environment on revm."""

    def __init__(self) -> None:
        super().__init__()
        self.evm = Engine()
        self.nickname = "revm"


FastEnv: type[boa.Env] = boa.Env if pyrevm is None else RevmEnv
ENGINES = sorted({FastEnv, boa.Env}, key=lambda engine: str(engine.__name__))


def next_addresses(deployer: str, count: int) -> list[str]:
    """Where the next contracts of `deployer` will be, in the present environment."""
    raw, engine = Address(deployer).canonical_address, boa.env.evm
    nonce = engine.get_nonce(Address(deployer)) if isinstance(engine, Engine) else engine.vm.state.get_nonce(raw)
    return [str(Address(generate_contract_address(raw, nonce + i))) for i in range(count)]
