"""The chains under test: the twin, and anvil behind the web3 adapter. Both give funded accounts, time and blocks."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from asset_bridge.chain.account import RpcAccount
from asset_bridge.chain.actor import Actor
from asset_bridge.chain.adapter import RpcChain
from asset_bridge.chain.config import DeployConfig
from asset_bridge.chain.deploy import deploy
from asset_bridge.chain.devchain import DevChain
from asset_bridge.chain.endpoint import Endpoint
from asset_bridge.chain.keys import AccountKey, checksum_address
from asset_bridge.chain.tokens import token_call
from asset_bridge.chain.twin import ChainTwin
from asset_bridge.keys.keccak import keccak
from tests.ports.chain_scene import Numbers, Scene

RICH_WEI = 10**20
TOKEN = Path(__file__).parents[2] / "contracts" / "mocks" / "Token.vy"


class World(Protocol):
    def account(self, name: str, *, wei: int = RICH_WEI) -> Actor: ...
    def mine(self, blocks: int) -> None: ...
    def advance_to(self, at: int) -> None: ...
    def scene(self, name: str) -> Scene: ...
    def token(self, *, permits: bool) -> str:
        """A token that the governor lists: symbol TST, 6 decimals, with EIP-2612 or without."""
        ...

    def give(self, token: str, account: str, units: int) -> None: ...


class TwinWorld:
    """The in-memory twin."""

    def __init__(self, measurements: tuple[tuple[int, bytes], ...], tokens: tuple[str, ...] = ()) -> None:
        self.governor = AccountKey(b"\x07" * 32)
        self.twin = ChainTwin(DeployConfig(self.governor.address, measurements=measurements, tokens=tokens))

    def account(self, name: str, *, wei: int = RICH_WEI) -> Actor:
        key = AccountKey(Numbers(name)(32))
        self.twin.fund(key.address, wei)
        return self.twin.account(key)

    def token(self, *, permits: bool) -> str:
        address = checksum_address(keccak(b"token" + bytes([permits]))[12:])
        self.twin.add_token(address, "TST", 6, permits=permits)
        if address not in self.twin.tokens_listed():
            self.twin.account(self.governor).govern("AssetLedger", "list_token", address)
        return address

    def give(self, token: str, account: str, units: int) -> None:
        self.twin.give_tokens(token, account, units)

    def mine(self, blocks: int) -> None:
        self.twin.mine(blocks)

    def advance_to(self, at: int) -> None:
        self.twin.advance_to(at)

    def scene(self, name: str) -> Scene:
        return Scene(lambda role: self.account(f"{name} {role}"), Numbers(name))


class AnvilWorld:
    """anvil that mines at once (no interval: the tests move blocks and time themselves)."""

    def __init__(
        self, anvil: Path, folder: Path, measurements: tuple[tuple[int, bytes], ...], tokens: tuple[str, ...] = ()
    ) -> None:
        self._dev = DevChain(folder, anvil=anvil, block_seconds=0)
        self._folder, self._measurements, self._tokens = folder, measurements, tokens
        self._open: list[RpcAccount] = []
        self._governing: RpcAccount | None = None
        self._scenes = 0

    def __enter__(self) -> AnvilWorld:
        self.url = self._dev.start()
        self.endpoint = Endpoint(self.url)
        deployer = self._dev.accounts[0]
        config = DeployConfig(deployer.address, measurements=self._measurements, tokens=self._tokens)
        self.deployment = deploy([self.url], deployer, config, journal=self._folder / "deployer.sqlite")
        self.chain = RpcChain(self.deployment, [self.url], max_head_age_seconds=10**9)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for account in self._open:
            account.close()
        self._dev.stop()

    def token(self, *, permits: bool) -> str:
        """Without: the struct that its permit takes has another name, as in tokens older than EIP-2612."""
        import vyper

        source = TOKEN.read_text()
        if not permits:
            source = source.replace('"Permit(address owner', '"Other(address owner')
        code = bytes.fromhex(vyper.compile_code(source, output_formats=["bytecode"])["bytecode"][2:])
        governor = self._governor()
        sent = governor.sender.send("deploy", "", code, once=False)
        receipt = self.rpc("eth_getTransactionReceipt", "0x" + sent.transaction_hash.hex())
        address = checksum_address(bytes.fromhex(receipt["contractAddress"][2:]))
        governor.govern("AssetLedger", "list_token", address)
        self.mine(2)
        return address

    def give(self, token: str, account: str, units: int) -> None:
        self._governor().sender.send("mint", token, token_call("mint(address,uint256)", account, units), once=False)

    def _governor(self) -> RpcAccount:
        if self._governing is None:
            journal = self._folder / "governor.sqlite"
            self._governing = RpcAccount(self.chain, self._dev.accounts[0], journal, sleep=lambda _: None)
            self._open.append(self._governing)
        return self._governing

    def rpc(self, method: str, *params: object) -> Any:
        return self.endpoint.call(method, *params)

    def account(self, name: str, *, wei: int = RICH_WEI) -> RpcAccount:
        key = AccountKey(Numbers(name)(32))
        self.rpc("anvil_setBalance", key.address, hex(wei))
        made = RpcAccount(self.chain, key, self._folder / f"{key.address}.sqlite", sleep=lambda _: None)
        self._open.append(made)
        return made

    def mine(self, blocks: int) -> None:
        self.rpc("anvil_mine", hex(blocks))

    def advance_to(self, at: int) -> None:
        if at > self.chain.block().timestamp:
            self.rpc("evm_setNextBlockTimestamp", hex(at))
            self.mine(1)

    def scene(self, name: str) -> Scene:
        self._scenes += 1
        return Scene(lambda role: self.account(f"{name} {role}"), Numbers(name))
