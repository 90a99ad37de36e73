"""Who did what: every transaction of the demonstration's chain, and what happened off chain, in one table.

Promises: the transactions are the chain's own, read block by block, so that none is left out, whoever sent it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from asset_bridge.chain.abi import functions
from asset_bridge.chain.endpoint import Endpoint
from asset_bridge.chain.keys import checksum_address
from asset_bridge.cli.output import size, table

_BATCH = 50


@dataclass(frozen=True, slots=True)
class Row:
    """One thing that happened. `at_seconds` counts from the start; gas 0: off chain; bytes: calldata, or what was moved."""

    at_seconds: float
    who: str
    what: str
    transaction: str = ""
    gas: int = 0
    seconds: float = 0.0
    size_bytes: int = 0


@dataclass
class Timeline:
    """Collects rows; `started_at` in Unix seconds."""

    started_at: float
    rows: list[Row] = field(default_factory=list)

    def off_chain(self, who: str, what: str, now_at: float, seconds: float, size_bytes: int = 0) -> None:
        """Something that took time and needed no transaction; `now_at` is when it ended."""
        self.rows.append(Row(now_at - seconds - self.started_at, who, what, seconds=seconds, size_bytes=size_bytes))

    def add_chain(self, endpoint: Endpoint, names: dict[str, str]) -> None:
        """Every transaction of the chain, by the accounts' names."""
        verbs = {function.selector: function.name for function in functions().values()}
        head = endpoint.as_int(endpoint.call("eth_blockNumber"))
        blocks = _batched(endpoint, [("eth_getBlockByNumber", [hex(number), True]) for number in range(1, head + 1)])
        found = [(block, one) for block in blocks for one in block["transactions"]]
        deployers = {checksum_address(endpoint.as_bytes(one["from"], 20)) for _, one in found if not one.get("to")}
        names = dict.fromkeys(deployers, "deployer") | names
        receipts = _batched(endpoint, [("eth_getTransactionReceipt", [one["hash"]]) for _, one in found])
        for (block, one), receipt in zip(found, receipts, strict=True):
            sender = checksum_address(endpoint.as_bytes(one["from"], 20))
            data = endpoint.as_bytes(one["input"])
            what = "deploy a contract" if not one.get("to") else verbs.get(data[:4], "send coins")
            if endpoint.as_int(receipt["status"]) != 1:
                what += " (reverted)"
            self.rows.append(
                Row(
                    endpoint.as_int(block["timestamp"]) - self.started_at,
                    names.get(sender, sender[:10]),
                    what.replace("_", " "),
                    one["hash"],
                    endpoint.as_int(receipt["gasUsed"]),
                    0.0,
                    len(data),
                )
            )

    def lines(self) -> list[str]:
        """The table."""
        head = ("at", "who", "what", "transaction", "gas", "seconds", "bytes")
        return table(
            (
                (
                    f"{max(0.0, row.at_seconds):.0f} s",
                    row.who,
                    row.what,
                    row.transaction[:12],
                    f"{row.gas:,}" if row.gas else "",
                    f"{row.seconds:.1f}" if row.seconds else "",
                    size(row.size_bytes) if row.size_bytes else "",
                )
                for row in self.sorted()
            ),
            head,
        )

    def sorted(self) -> list[Row]:
        """Rows in time."""
        return sorted(self.rows, key=lambda row: row.at_seconds)

    def as_json(self) -> list[dict[str, Any]]:
        """Rows for the record."""
        return [asdict(row) for row in self.sorted()]


def _batched(endpoint: Endpoint, calls: list[tuple[str, list[object]]]) -> list[dict[str, Any]]:
    answers: list[dict[str, Any]] = []
    for start in range(0, len(calls), _BATCH):
        answers += [endpoint.as_object(one) for one in endpoint.batch(calls[start : start + _BATCH])]
    return answers
