"""The governor's verbs about evidence and about himself: which vendors and measurements count, and who governs next.

Source: protocol §2, spec/contracts.md §5. Promises: nothing is sent that a contract would refuse; what is so already is left alone; each
refusal says who could do it. Does not promise: that a measurement is that of good code; `evidence measure` computes it.
"""

from __future__ import annotations

from asset_bridge.chain.exchanges import LISTS
from asset_bridge.chain.records import ZERO_ADDRESS, Sent, Vendor
from asset_bridge.errors import InputError, RefusedError
from asset_bridge.trade.exchanges import governed
from asset_bridge.trade.ports import ChainAccount


def allow_evidence(account: ChainAccount, vendor: Vendor, measurement: bytes | None = None) -> tuple[Sent, ...]:
    """Let evidence of a vendor count, or one measurement of his; after the network's delay. A node counts when both are listed.

    Raises:
        RefusedError(trade.not-governor): the account is not the NodeRegistry's governor.
    """
    if account.reader.evidence_from(int(vendor), measurement):
        return ()
    governed(account, ["NodeRegistry"])
    if measurement is None:
        return (account.govern("NodeRegistry", "list_vendor", int(vendor)),)
    return (account.govern("NodeRegistry", "list_measurement", int(vendor), measurement),)


def forbid_evidence(account: ChainAccount, vendor: Vendor, measurement: bytes | None = None) -> tuple[Sent, ...]:
    """Let evidence of a vendor, or one measurement of his, count no more, at once: its nodes get no new share and are not paid for.

    Raises:
        RefusedError(trade.not-governor): the account is not the NodeRegistry's governor.
    """
    if not account.reader.evidence_from(int(vendor), measurement):
        return ()
    governed(account, ["NodeRegistry"])
    if measurement is None:
        return (account.govern("NodeRegistry", "remove_vendor", int(vendor)),)
    return (account.govern("NodeRegistry", "remove_measurement", int(vendor), measurement),)


def propose_governor(account: ChainAccount, successor: str) -> tuple[Sent, ...]:
    """Name the account that may take over AssetLedger and NodeRegistry, where this account governs; ZERO_ADDRESS withdraws it.

    Raises:
        RefusedError(trade.not-governor): the account governs neither.
    """
    mine = governed(account, list(LISTS))
    missing = [contract for contract in mine if account.reader.pending_governor_of(contract) != successor]
    return tuple(account.govern(contract, "propose_governor", successor) for contract in missing)


def accept_governor(account: ChainAccount) -> tuple[Sent, ...]:
    """Take over where this account was proposed; the governor before has no say from then on.

    Raises:
        RefusedError(trade.not-proposed): it was proposed for neither contract.
    """
    mine = [contract for contract in LISTS if account.reader.pending_governor_of(contract) == account.address]
    if not mine:
        if all(account.reader.governor_of(contract) == account.address for contract in LISTS):
            return ()
        raise RefusedError(
            "trade.not-proposed",
            f"Nobody proposed {account.address} as governor.",
            hint=f"the governor runs: asset-bridge governor propose {account.address}",
        )
    return tuple(account.govern(contract, "accept_governor") for contract in mine)


def require_successor(account: ChainAccount, successor: str) -> None:
    """Raises InputError(trade.successor) for an account that can never accept: none, or one of the network's own contracts."""
    reader = account.reader
    if successor in (ZERO_ADDRESS, reader.exchange, reader.ledger, reader.registry):
        raise InputError(
            "trade.successor",
            f"{successor} cannot become governor: nobody can act for it.",
            hint="name an account; `governor propose --withdraw` takes a proposal back",
        )
