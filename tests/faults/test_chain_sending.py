"""F7, F10, N3: lost answers, restarts, stuck and displaced transactions, reorgs; the effect on chain is counted, not believed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from eth_hash.auto import keccak

from asset_bridge.chain.account import RpcAccount
from asset_bridge.chain.adapter import RpcChain
from asset_bridge.chain.keys import AccountKey
from asset_bridge.chain.records import ZERO_ADDRESS, Sent
from asset_bridge.errors import InputError, RefusedError, UnavailableError
from tests.faults.chain_proxy import ChainProxy
from tests.ports.chain_scene import Numbers
from tests.ports.chain_worlds import AnvilWorld

pytestmark = pytest.mark.needs_anvil


class Restarting:
    """An account whose process may end at any moment: `again` opens the same journal anew."""

    def __init__(self, world: AnvilWorld, url: str, folder: Path, name: str) -> None:
        self.world, self.url, self.journal = world, url, folder / "journal.sqlite"
        self.key = AccountKey(Numbers(name)(32))
        world.rpc("anvil_setBalance", self.key.address, hex(10**20))
        self.account = self._open(0.0)

    def _open(self, wait_seconds: float, bump_after_seconds: float = 10**6) -> RpcAccount:
        chain = RpcChain(self.world.deployment, [self.url], max_head_age_seconds=10**9)
        return RpcAccount(
            chain,
            self.key,
            self.journal,
            wait_seconds=wait_seconds,
            bump_after_seconds=bump_after_seconds,
            sleep=lambda _: None,
        )

    def again(self, wait_seconds: float = 0.0, bump_after_seconds: float = 10**6) -> RpcAccount:
        self.account.close()
        self.account = self._open(wait_seconds, bump_after_seconds)
        return self.account

    def used(self) -> int:
        return int(self.world.rpc("eth_getTransactionCount", self.key.address, "latest"), 16)


@pytest.fixture
def sender(anvil_world: AnvilWorld, proxy: ChainProxy, tmp_path: Path, request: pytest.FixtureRequest) -> Restarting:
    return Restarting(anvil_world, proxy.url, tmp_path, request.node.name)


def profile(n: int) -> Callable[[RpcAccount], Sent]:
    return lambda a: a.set_profile(keccak(b"profile %d" % n), a.address, ZERO_ADDRESS)


def balance(n: int) -> Callable[[RpcAccount], Sent]:
    return lambda a: a._transact("open_balance", "Exchange", "open_balance", (ZERO_ADDRESS, keccak(b"%d" % n)))


@pytest.mark.parametrize("before", [False, True], ids=["answer lost", "request lost"])
@pytest.mark.parametrize("times", [1, 2])
def test_a_lost_answer_and_a_restart_have_one_effect(
    sender: Restarting, proxy: ChainProxy, times: int, before: bool
) -> None:
    for n, act in enumerate((profile(1), balance(times * 10 + before), profile(2))):
        proxy.lose("eth_sendRawTransaction", times, before=before)
        sent = None
        for _ in range(times + 2):
            try:
                sent = act(sender.again())
                break
            except UnavailableError:
                continue
        assert sent is not None
        assert sender.used() == n + 1
        proxy.lose("eth_sendRawTransaction", 0)
    events = sender.account.reader.source.find(
        {"ProfileSet"}, sender.account.reader.block(), provider=sender.key.address
    )
    assert [e.args["profile"] for e in events] == [keccak(b"profile 1"), keccak(b"profile 2")]


def test_a_crash_between_journal_and_network_is_taken_up(sender: Restarting, proxy: ChainProxy) -> None:
    proxy.lose("eth_sendRawTransaction", 1, before=True)
    with pytest.raises(UnavailableError):
        profile(1)(sender.account)
    assert sender.used() == 0
    settled = sender.again(30.0).resume()
    assert (len(settled), sender.used()) == (1, 1)
    assert profile(1)(sender.again()) == settled[0]
    assert sender.used() == 1


def test_what_was_answered_may_be_done_again(sender: Restarting) -> None:
    act = sender.again(30.0)
    first, second = profile(1)(act), profile(1)(act)
    assert first.transaction_hash != second.transaction_hash
    assert sender.used() == 2


def test_a_waiting_transaction_is_not_sent_twice(sender: Restarting, anvil_world: AnvilWorld) -> None:
    anvil_world.rpc("evm_setAutomine", False)
    try:
        for _ in range(3):
            with pytest.raises(UnavailableError) as error:
                profile(1)(sender.again())
            assert error.value.code == "chain.pending"
        anvil_world.mine(1)
        sent = profile(1)(sender.again())
    finally:
        anvil_world.rpc("evm_setAutomine", True)
    assert sent.verb == "set_profile"
    assert sender.used() == 1


def test_a_stuck_transaction_is_replaced_at_its_own_nonce(sender: Restarting, anvil_world: AnvilWorld) -> None:
    anvil_world.rpc("evm_setAutomine", False)
    try:
        with pytest.raises(UnavailableError):
            profile(1)(sender.account)
        base_fee = int(anvil_world.rpc("eth_getBlockByNumber", "latest", False)["baseFeePerGas"], 16)
        anvil_world.rpc("anvil_setNextBlockBaseFeePerGas", hex(base_fee * 50 + 10**10))
        anvil_world.mine(1)
        assert sender.used() == 0
        with pytest.raises(UnavailableError):
            profile(1)(sender.again(wait_seconds=1.0, bump_after_seconds=0.25))
        anvil_world.mine(1)
        sent = profile(1)(sender.again())
    finally:
        anvil_world.rpc("evm_setAutomine", True)
    journal = sender.account.journal
    (intent,) = journal.done_from(0)
    attempts = journal.attempts(intent)
    assert len(attempts) > 1
    assert attempts[0].hash != sent.transaction_hash
    assert sender.used() == 1


def test_a_nonce_that_another_wallet_used_is_noticed(
    sender: Restarting, proxy: ChainProxy, anvil_world: AnvilWorld, tmp_path: Path
) -> None:
    proxy.lose("eth_sendRawTransaction", 1, before=True)
    with pytest.raises(UnavailableError):
        profile(1)(sender.account)
    other = Restarting(anvil_world, anvil_world.url, tmp_path / "other wallet", "unused")
    other.key, other.journal = sender.key, tmp_path / "other.sqlite"
    balance(77)(other.again(30.0))
    profile(1)(sender.again(30.0))
    assert sender.used() == 2
    events = sender.account.reader.source.find(
        {"ProfileSet"}, sender.account.reader.block(), provider=sender.key.address
    )
    assert len(events) == 1


def test_a_transaction_that_a_reorg_removed_is_sent_again(sender: Restarting, anvil_world: AnvilWorld) -> None:
    account = sender.again(30.0)
    balance(501)(account)
    first = profile(1)(account)
    anvil_world.mine(1)
    anvil_world.rpc("anvil_reorg", 2, [])
    assert sender.used() == 1
    balance(502)(account)
    assert sender.used() == 3
    reader = account.reader
    events = reader.source.find({"ProfileSet"}, reader.block(), provider=sender.key.address)
    assert [e.transaction_hash for e in events] == [first.transaction_hash]


def test_a_mined_revert_names_its_reason_and_stays_one(
    sender: Restarting, proxy: ChainProxy, anvil_world: AnvilWorld
) -> None:
    proxy.lose("eth_sendRawTransaction", 1, before=True)
    with pytest.raises(UnavailableError):
        balance(900)(sender.account)
    other = Restarting(anvil_world, anvil_world.url, sender.journal.parent / "other", "the other opener")
    balance(900)(other.again(30.0))
    for used in (1, 1):  # the first is mined and reverts; the second is refused by its estimate and costs nothing
        with pytest.raises(RefusedError) as error:
            balance(900)(sender.again(30.0))
        assert error.value.code == "chain.exchange.balance-is-open"
        assert sender.used() == used


def test_an_account_without_coins_says_how_much(sender: Restarting, anvil_world: AnvilWorld) -> None:
    anvil_world.rpc("anvil_setBalance", sender.key.address, hex(1_000))
    with pytest.raises(InputError) as error:
        profile(1)(sender.account)
    assert error.value.code == "chain.funds"
    assert sender.key.address in error.value.message
    assert sender.account.journal.pending() == []


def test_a_journal_serves_one_account_only(sender: Restarting) -> None:
    sender.key = AccountKey(b"\x05" * 32)
    with pytest.raises(InputError) as error:
        sender.again()
    assert error.value.code == "chain.journal-owner"
