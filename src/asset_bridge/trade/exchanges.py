"""The lists of Exchanges, and the governor's three verbs about them: allow, close, remove.

Source: protocol §7 ("Upgrade"), spec/contracts.md §5; decision record 0057. AssetLedger and NodeRegistry keep a list each, under a
governor each (one account, unless one was handed on). Promises: nothing is sent that a contract would refuse; what is so already is
left alone, so that a verb that was cut short is simply given again; each refusal says who could do it.
Does not promise: that an Exchange which is allowed is a good one; the caller has it checked (chain `require_exchange`).
"""

from __future__ import annotations

from asset_bridge.chain.exchanges import LISTS
from asset_bridge.chain.records import Sent
from asset_bridge.errors import InputError, RefusedError
from asset_bridge.trade.ports import ChainAccount, ChainReader


def allow_exchange(account: ChainAccount, exchange: str) -> tuple[Sent, ...]:
    """List an Exchange on AssetLedger and NodeRegistry where it is not; each after the network's delay.

    With two governors each lists it where it may; the first one's call leaves the other list to the other.

    Raises:
        InputError(trade.exchange-closed): it was closed, which is for ever.
        InputError(chain.not-an-exchange), RefusedError(chain.exchange-code): it is not an Exchange of this release over this network.
        RefusedError(trade.not-governor): the account is the governor of no list that it is missing on.
    """
    found = account.reader.exchange_listing(exchange)
    if found.closed:
        raise InputError(
            "trade.exchange-closed",
            f"The Exchange {exchange} was closed to new requests, which is for ever.",
            hint="deploy another one: asset-bridge deploy --beside network.toml",
        )
    missing = [contract for contract in LISTS if not found.listed_from(contract)]
    if not missing:
        return ()
    mine = governed(account, missing)
    account.reader.require_exchange(exchange)
    return tuple(account.govern(contract, "list_exchange", exchange) for contract in mine)


def close_exchange(account: ChainAccount, exchange: str) -> tuple[Sent, ...]:
    """End new requests at an Exchange for ever; what orders it has can still end.

    Raises:
        InputError(trade.exchange-not-listed): the AssetLedger does not list it.
        RefusedError(trade.not-governor): the account is not the AssetLedger's governor.
    """
    found = account.reader.exchange_listing(exchange)
    if not found.ledger_from:
        raise _not_listed(exchange, "AssetLedger")
    if found.closed:
        return ()
    governed(account, ["AssetLedger"])
    return (account.govern("AssetLedger", "close_exchange", exchange),)


def remove_exchange(account: ChainAccount, exchange: str) -> tuple[Sent, ...]:
    """Take an Exchange from the NodeRegistry's list at once: it can hold no node and take no stake any more.

    Raises:
        InputError(trade.exchange-not-listed): neither list has ever had it.
        RefusedError(trade.not-governor): the account is not the NodeRegistry's governor.
    """
    found = account.reader.exchange_listing(exchange)
    if not found.registry_from:
        if not found.ledger_from:
            raise _not_listed(exchange, "NodeRegistry")
        return ()
    governed(account, ["NodeRegistry"])
    return (account.govern("NodeRegistry", "remove_exchange", exchange),)


def require_open(reader: ChainReader) -> None:
    """Raises unless this network's Exchange takes new requests now.

    Raises:
        InputError(trade.exchange-closed): its governor closed or removed it.
        InputError(trade.too-early): it is listed, and its delay is not over.
    """
    found, now_at = reader.exchange_listing(reader.exchange), reader.block().timestamp
    if found.takes_requests(now_at):
        return
    if found.closed or not found.ledger_from or not found.registry_from:
        raise InputError(
            "trade.exchange-closed",
            f"The Exchange {found.address} of this network takes no new requests"
            f" ({'it was closed' if found.closed else 'it is not listed'}); orders that it has go on.",
            hint="take the operator's new network.toml and run: asset-bridge network use FILE",
        )
    starts_at = max(found.ledger_from, found.registry_from)
    raise InputError(
        "trade.too-early",
        f"The Exchange {found.address} of this network takes requests from {starts_at} on (Unix seconds).",
        hint=f"wait {starts_at - now_at} seconds; asset-bridge exchanges shows it",
    )


def governed(account: ChainAccount, contracts: list[str]) -> list[str]:
    """Those of these contracts that the account governs; RefusedError(trade.not-governor) where it is none."""
    governors = {contract: account.reader.governor_of(contract) for contract in contracts}
    mine = [contract for contract in contracts if governors[contract] == account.address]
    if not mine:
        names = " and ".join(f"the governor {governor} of {contract}" for contract, governor in governors.items())
        raise RefusedError(
            "trade.not-governor",
            f"Only {names} can do this, and this account is {account.address}.",
            hint="use the governor's home with --home, or its key with --key-file",
        )
    return mine


def _not_listed(exchange: str, contract: str) -> InputError:
    return InputError(
        "trade.exchange-not-listed",
        f"The {contract} does not list the Exchange {exchange}.",
        hint="asset-bridge exchanges shows what is listed",
    )
