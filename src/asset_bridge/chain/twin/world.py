"""What the twin's contracts share: state that can be undone, messages, reverts, events, authorities.

Source: spec/contracts.md §4 ("Authority"), protocol §2–§8. Written from the specification, not from the contracts' code: the
stateful tests compare the two. Values in a state table are immutable, so a snapshot is a copy of the tables.
Does not promise: contract accounts (ERC-1271); every account of the twin is a key.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from asset_bridge.chain.keys import checksum_address
from asset_bridge.chain.messages import Domain, from_compact, recover
from asset_bridge.chain.records import ZERO32, ZERO_ADDRESS
from asset_bridge.errors import BridgeError

Snapshot = dict[str, dict[str, dict[Any, Any]]]


class ContractRevert(Exception):
    """A contract refused with "contract: reason"."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Message:
    """One external call: who, with how much, when."""

    sender: str
    value_wei: int
    now_at: int
    block_number: int


@dataclass(frozen=True, slots=True)
class Emitted:
    """An event of a contract, arguments by their ABI names."""

    contract: str
    name: str
    args: Mapping[str, Any]


@dataclass
class World:
    """All state of the twin, and the transaction that is running."""

    chain_id: int
    addresses: Mapping[str, str]
    tables: Snapshot = field(default_factory=dict)
    emitted: list[Emitted] = field(default_factory=list)

    def table(self, contract: str, name: str) -> dict[Any, Any]:
        """A contract's table, made when first used."""
        return self.tables.setdefault(contract, {}).setdefault(name, {})

    def snapshot(self) -> Snapshot:
        """A copy that later writes do not change."""
        return {
            contract: {name: dict(rows) for name, rows in tables.items()} for contract, tables in self.tables.items()
        }

    def restore(self, snapshot: Snapshot) -> None:
        """Go back to a snapshot."""
        self.tables = {c: {name: dict(rows) for name, rows in tables.items()} for c, tables in snapshot.items()}

    def coins_wei(self, account: str) -> int:
        """Native coins of an account."""
        return int(self.table("", "coins").get(account, 0))

    def move_coins(self, source: str, target: str, amount_wei: int) -> None:
        """Move native coins; the caller has checked that they are there."""
        coins = self.table("", "coins")
        coins[source] = coins.get(source, 0) - amount_wei
        coins[target] = coins.get(target, 0) + amount_wei


class Contract:
    """Base of the twin's contracts: `PREFIX` begins its reasons, `NAME` is the deployable's."""

    NAME = ""
    PREFIX = ""

    def __init__(self, world: World) -> None:
        self.world = world
        self.address = world.addresses[self.NAME]
        self.domain = Domain(world.chain_id, self.address)

    def table(self, name: str) -> dict[Any, Any]:
        """One of this contract's tables."""
        return self.world.table(self.NAME, name)

    def fail(self, reason: str, prefix: str = "") -> NoReturn:
        """Revert with "prefix: reason"."""
        raise ContractRevert(f"{prefix or self.PREFIX}: {reason}")

    def check(self, condition: bool, reason: str, prefix: str = "") -> None:
        """Revert unless `condition`."""
        if not condition:
            self.fail(reason, prefix)

    def log(self, name: str, **args: Any) -> None:
        """Emit an event."""
        self.world.emitted.append(Emitted(self.NAME, name, args))

    # ── authorities ──
    def actor(self, message: Message, authority: bytes) -> str:
        """Whom a call acts for: the caller, or the account that the authority names (its signature comes later)."""
        if not authority:
            return message.sender
        self.check(len(authority) > 60, "too short", "authority")
        return checksum_address(authority[:20])

    def consume(self, message: Message, authority: bytes, kind: str, *values: object) -> None:
        """Check an authority's signature over `kind` and use up its nonce; nothing to do for the caller himself."""
        if not authority:
            return
        account = checksum_address(authority[:20])
        nonce, deadline = int.from_bytes(authority[20:52], "big"), int.from_bytes(authority[52:60], "big")
        self.check(message.now_at <= deadline, "deadline has passed", "authority")
        used = self.table("nonces")
        self.check((account, nonce) not in used, "nonce is used", "authority")
        used[account, nonce] = True
        digest = self.domain.digest(kind, *values, nonce, deadline)
        self.check(self.signed(account, digest, authority[60:]), "signature is not the account's", "authority")
        self.log("NonceUsed", account=account, nonce=nonce)

    def authorised(self, message: Message, authority: bytes, kind: str, *values: object) -> str:
        """The account that acts: the caller, or the one whose authority over this very call is valid (and now used up)."""
        account = self.actor(message, authority)
        self.consume(message, authority, kind, *values)
        return account

    @staticmethod
    def signed(account: str, digest: bytes, signature: bytes) -> bool:
        """Whether `signature` (65 bytes, or compact 64) over `digest` is the account's."""
        try:
            full = from_compact(signature) if len(signature) == 64 else signature
            return account != ZERO_ADDRESS and recover(digest, full) == account
        except BridgeError:
            return False

    def view_nonce_used(self, account: str, nonce: int) -> bool:
        """View."""
        return (account, nonce) in self.table("nonces")

    def view_domain_separator(self) -> bytes:
        """View."""
        return self.domain.separator

    # ── the governor (AssetLedger and NodeRegistry) ──
    def governed(self, message: Message) -> None:
        """Only the governor."""
        self.check(message.sender == self.table("fixed")["governor"], "not the governor", "governor")

    def list_exchange(self, message: Message, exchange: str) -> None:
        """The first without delay, later ones after it."""
        self.governed(message)
        listed = self.table("exchanges")
        self.check(exchange != ZERO_ADDRESS, "zero address", "governor")
        self.check(exchange not in listed, "already listed", "governor")
        first = not self.table("fixed").get("exchange_seen", False)
        self.table("fixed")["exchange_seen"] = True
        listed[exchange] = message.now_at if first else self.addition_at(message)
        self.log("ExchangeListed", exchange=exchange, active_at=listed[exchange])

    def addition_at(self, message: Message) -> int:
        """From when on an addition counts."""
        return message.now_at + (0 if self.view_development() else self.view_delay_seconds())

    def only_exchange(self, message: Message) -> None:
        """Only a listed Exchange."""
        self.check(self.exchange_active(message, message.sender), "not a listed exchange", "governor")

    def exchange_active(self, message: Message, exchange: str) -> bool:
        """Whether `exchange` is listed and past its delay."""
        active_at = self.table("exchanges").get(exchange, 0)
        return bool(active_at) and active_at <= message.now_at

    def propose_governor(self, message: Message, governor: str) -> None:
        """First half of handing over."""
        self.governed(message)
        self.table("fixed")["pending_governor"] = governor
        self.log("GovernorProposed", governor=governor)

    def accept_governor(self, message: Message) -> None:
        """Second half."""
        fixed = self.table("fixed")
        self.check(message.sender == fixed.get("pending_governor", ZERO_ADDRESS), "not proposed", "governor")
        fixed["governor"], fixed["pending_governor"] = message.sender, ZERO_ADDRESS
        self.log("GovernorChanged", governor=message.sender)

    def view_governor(self) -> str:
        """View."""
        return str(self.table("fixed")["governor"])

    def view_pending_governor(self) -> str:
        """View."""
        return str(self.table("fixed").get("pending_governor", ZERO_ADDRESS))

    def view_development(self) -> bool:
        """View."""
        return bool(self.table("fixed")["development"])

    def view_delay_seconds(self) -> int:
        """View."""
        return int(self.table("fixed")["delay_seconds"])

    def view_exchange_active_at(self, exchange: str) -> int:
        """View."""
        return int(self.table("exchanges").get(exchange, 0))


def zero(digest: bytes) -> bool:
    """Whether a bytes32 is empty."""
    return digest == ZERO32
