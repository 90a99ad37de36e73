"""Which vendors of evidence and which measurements the NodeRegistry lists, and who may take over as governor.

Source: spec/contracts.md §5 (NodeRegistry). Promises: names come from events, and from when on each counts is the contract's own word at
one block. Does not promise: that what is listed is good; a provider's policy judges nodes by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from asset_bridge.chain.abi import Event
from asset_bridge.chain.records import At, BlockRef


class EvidenceSource(Protocol):
    """What of a chain is needed to read the lists."""

    def block(self, at: At = At.HEAD) -> BlockRef: ...
    def find(self, names: Iterable[str], block: BlockRef, **fields: object) -> list[Event]: ...
    def calls(self, calls: Sequence[tuple[str, str, tuple[object, ...]]], block: BlockRef, at: At) -> list[Any]: ...


class EvidenceReader:
    """The part of the reader that knows the lists of evidence."""

    source: EvidenceSource

    def vendor_times(self) -> dict[int, int]:
        """From when on evidence of each vendor that was ever listed counts (Unix seconds, 0: removed), by the vendor's number."""
        block = self.source.block()
        known = sorted({int(event.args["vendor"]) for event in self.source.find({"VendorListed"}, block)})
        return dict(zip(known, self._times("vendor_active_at", [(one,) for one in known], block), strict=True))

    def measurement_times(self) -> dict[tuple[int, bytes], int]:
        """From when on each (vendor, measurement) that was ever listed counts (Unix seconds, 0: removed)."""
        block = self.source.block()
        found = self.source.find({"MeasurementListed"}, block)
        known = list(dict.fromkeys((int(one.args["vendor"]), bytes(one.args["measurement"])) for one in found))
        return dict(zip(known, self._times("measurement_active_at", known, block), strict=True))

    def evidence_from(self, vendor: int, measurement: bytes | None) -> int:
        """From when on a vendor, or a measurement of his, counts; 0: not listed."""
        asked = (
            ("vendor_active_at", (vendor,)) if measurement is None else ("measurement_active_at", (vendor, measurement))
        )
        return self._times(asked[0], [asked[1]], self.source.block())[0]

    def _times(self, view: str, known: Sequence[tuple[object, ...]], block: BlockRef) -> list[int]:
        return [int(at) for at in self.source.calls([("NodeRegistry", view, one) for one in known], block, At.HEAD)]

    def pending_governor_of(self, contract: str) -> str:
        """The account that was proposed as the next governor of AssetLedger or NodeRegistry; ZERO_ADDRESS: none."""
        return str(self.source.calls([(contract, "pending_governor", ())], self.source.block(), At.HEAD)[0])

    def delay_seconds_of(self, contract: str) -> int:
        """How long an addition to the lists of AssetLedger or NodeRegistry waits."""
        return int(self.source.calls([(contract, "delay_seconds", ())], self.source.block(), At.HEAD)[0])
