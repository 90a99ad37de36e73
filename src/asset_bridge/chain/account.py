"""An account on a real chain: the actor's calls through the sender and its journal.

Source: trade/ports.py `ChainAccount`; spec/chain.md §4.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from asset_bridge.chain.abi import encode_call
from asset_bridge.chain.actor import Actor
from asset_bridge.chain.adapter import RpcChain
from asset_bridge.chain.journal import Journal
from asset_bridge.chain.keys import AccountKey
from asset_bridge.chain.records import Sent
from asset_bridge.chain.sender import BUMP_AFTER_SECONDS, Sender
from asset_bridge.chain.submitting import Cost


class RpcAccount(Actor):
    """A ChainAccount. `journal` is this account's file on this chain; keep it as long as the account."""

    def __init__(
        self,
        chain: RpcChain,
        key: AccountKey,
        journal: Path,
        *,
        wait_seconds: float = 120.0,
        bump_after_seconds: float = BUMP_AFTER_SECONDS,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        super().__init__(chain, key)
        self.journal = Journal(journal, chain_id=chain.chain_id, address=key.address)
        self.sender = Sender(
            chain.endpoints,
            key,
            self.journal,
            wait_seconds=wait_seconds,
            bump_after_seconds=bump_after_seconds,
            clock=clock,
            sleep=sleep,
        )

    def _transact(
        self, verb: str, contract: str, function: str, args: Sequence[object], value_wei: int = 0, *, once: bool = True
    ) -> Sent:
        to = self._reader.deployment.address_of(contract)
        return self.sender.send(verb, to, encode_call(contract, function, args), value_wei, once=once)

    def _estimate(self, contract: str, function: str, args: Sequence[object], value_wei: int) -> Cost:
        to = self._reader.deployment.address_of(contract)
        return Cost(*self.sender.estimate(to, encode_call(contract, function, args), value_wei))

    def _call_token(self, verb: str, token: str, data: bytes) -> Sent:
        return self.sender.send(verb, token, data, once=False)

    def resume(self) -> list[Sent]:
        """Settle what an earlier run left pending; call at start."""
        return self.sender.resume()

    def close(self) -> None:
        """Close the journal."""
        self.journal.close()
