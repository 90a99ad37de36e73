"""The Exchanges that share this network's AssetLedger and NodeRegistry: which are listed, since when, and which are closed.

Source: protocol §7 ("Upgrade"), spec/contracts.md §5, §9. Promises: addresses come from events, and what each counts for is the
contracts' own word at one block; a contract is taken for an Exchange of this network only on the word of every endpoint at a final
block. Does not promise: what an Exchange of another release does; a governor lists what this release knows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from asset_bridge.chain.abi import Event
from asset_bridge.chain.compiled import artefact
from asset_bridge.chain.encoding import encode
from asset_bridge.chain.keys import address_bytes
from asset_bridge.chain.network import Deployment
from asset_bridge.chain.records import At, BlockRef
from asset_bridge.errors import InputError, RefusedError, TamperedError
from asset_bridge.keys.keccak import keccak

LISTS = ("AssetLedger", "NodeRegistry")  # the contracts that keep a list of Exchanges


@dataclass(frozen=True, slots=True)
class ExchangeListing:
    """What the two lists say of one Exchange: from when on it counts (Unix seconds, 0: not listed), and whether it is closed."""

    address: str
    ledger_from: int
    registry_from: int
    closed: bool

    def takes_requests(self, now_at: int) -> bool:
        """Whether a new order can be requested there now, and paid once it is approved."""
        return not self.closed and 0 < self.ledger_from <= now_at and 0 < self.registry_from <= now_at

    def listed_from(self, contract: str) -> int:
        """From when on it counts for this contract of LISTS."""
        return self.ledger_from if contract == "AssetLedger" else self.registry_from


class ExchangeSource(Protocol):
    """What of a chain is needed to read the lists."""

    deployment: Deployment

    def block(self, at: At = At.HEAD) -> BlockRef: ...
    def find(self, names: Iterable[str], block: BlockRef, **fields: object) -> list[Event]: ...
    def calls(self, calls: Sequence[tuple[str, str, tuple[object, ...]]], block: BlockRef, at: At) -> list[Any]: ...
    def token_answers(self, token: str, calls: Sequence[bytes], block: BlockRef, at: At) -> list[bytes | None]: ...
    def code(self, account: str, at: At = At.HEAD) -> bytes: ...


class ExchangeReader:
    """The part of the reader that knows Exchanges."""

    source: ExchangeSource

    def exchange_listings(self) -> list[ExchangeListing]:
        """Every Exchange that was ever listed, oldest first."""
        block = self.source.block()
        found = dict.fromkeys(str(event.args["exchange"]) for event in self.source.find({"ExchangeListed"}, block))
        return self._listings(list(found), block)

    def exchange_listing(self, address: str) -> ExchangeListing:
        """One Exchange, listed or not."""
        return self._listings([address], self.source.block())[0]

    def _listings(self, addresses: Sequence[str], block: BlockRef) -> list[ExchangeListing]:
        views = (
            ("AssetLedger", "exchange_active_at"),
            ("NodeRegistry", "exchange_active_at"),
            ("AssetLedger", "exchange_closed"),
        )
        asked = [(contract, view, (address,)) for address in addresses for contract, view in views]
        answers = self.source.calls(asked, block, At.HEAD)
        rows = [answers[i : i + 3] for i in range(0, len(answers), 3)]
        return [
            ExchangeListing(address, int(ledger), int(registry), bool(closed))
            for address, (ledger, registry, closed) in zip(addresses, rows, strict=True)
        ]

    def governor_of(self, contract: str) -> str:
        """The account that keeps the lists of AssetLedger or NodeRegistry; each has a governor of its own."""
        return str(self.source.calls([(contract, "governor", ())], self.source.block(), At.HEAD)[0])

    def require_listed_exchange(self) -> None:
        """Raises unless the AssetLedger lists this deployment's Exchange (closed or not), and that one names its other contracts.

        For a network.toml that comes to a home which trusts its AssetLedger already: a contract of somebody's own beside it is not enough.

        Raises:
            RefusedError(chain.exchange-unlisted): the ledger never listed it.
            TamperedError(chain.beside): it names another ledger, registry, Grants or Challenges than the network does.
        """
        deployment, block = self.source.deployment, self.source.block()
        names = {"ledger": "AssetLedger", "registry": "NodeRegistry", "grants": "Grants", "challenges": "Challenges"}
        asked = [
            ("AssetLedger", "exchange_active_at", (deployment.exchange,)),
            *(("Exchange", view, ()) for view in names),
        ]
        listed, *named = self.source.calls(asked, block, At.HEAD)
        if not listed:
            raise RefusedError(
                "chain.exchange-unlisted",
                f"The AssetLedger {deployment.ledger} does not list the Exchange {deployment.exchange} of that network.",
                hint="ask the network's governor: asset-bridge exchanges shows what is listed; do not trade there before",
            )
        for contract, address in zip(names.values(), named, strict=True):
            if address != deployment.address_of(contract):
                raise TamperedError(
                    "chain.beside",
                    f"the Exchange {deployment.exchange} names the {contract} {address}, and that network another one",
                    hint="ask who gave you network.toml for a new one",
                )

    def require_exchange(self, address: str) -> None:
        """Raises unless an Exchange of this release stands there that names this AssetLedger and NodeRegistry.

        Raises:
            InputError(chain.not-an-exchange): nothing there that names both (yet, at a final block).
            RefusedError(chain.exchange-code): it says so, but is not the Exchange of this release.
        """
        deployment, block = self.source.deployment, self.source.block(At.FINAL)
        asked = [keccak(f"{name}()".encode())[:4] for name in ("ledger", "registry")]
        wanted = [encode(["address"], [address_bytes(one)]) for one in (deployment.ledger, deployment.registry)]
        if self.source.token_answers(address, asked, block, At.FINAL) != wanted:
            raise InputError(
                "chain.not-an-exchange",
                f"There is no Exchange at {address} that names this network's AssetLedger and NodeRegistry.",
                hint="check the address; one that was deployed just now needs a few more blocks",
            )
        if not artefact("Exchange").is_code_of(self.source.code(address, At.FINAL)):
            raise RefusedError(
                "chain.exchange-code",
                f"The contract at {address} is not the Exchange of this release: it could hold assets, nodes and stakes as it likes.",
                hint="use the release that deployed it, and know who made it",
            )
