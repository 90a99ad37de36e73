"""Where a TEE node gets its evidence from: one Protocol, one adapter per runtime.

Source: spec/attestation.md §9 and §10. The simulator's adapter is in its own distribution. Promises of an adapter: the evidence binds
exactly the given binding, or it raises; it never falls back to another kind of evidence.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from asset_bridge.attestation.binding import Binding


class Attester(Protocol):
    """Makes evidence for one node. `kind` is the type tag; `tee` is the word that every answer of the node carries."""

    @property
    def kind(self) -> str: ...
    @property
    def tee(self) -> str: ...

    def collect(self, binding: Binding, aux: Mapping[str, bytes] = ...) -> bytes:
        """Evidence (spec/attestation.md §2) whose report data is that of `binding`; `aux` items travel with it."""
        ...
