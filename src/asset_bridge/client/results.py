"""What the client's verbs return: plain values, ready for a report or for JSON. Nothing in them is secret."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from asset_bridge.chain.records import ZERO_ADDRESS, Asset, ProviderAccount, Sent
from asset_bridge.trade.documents.description import Description


@dataclass(frozen=True, slots=True)
class CatalogEntry:
    """A listed asset. `problem` says why its description or terms could not be read."""

    asset: Asset
    description: Description | None
    terms: str
    problem: str


@dataclass(frozen=True, slots=True)
class Requested:
    """An order that waits for its provider."""

    order_id: bytes
    asset_id: bytes
    provider: str
    sent: tuple[Sent, ...]


@dataclass(frozen=True, slots=True)
class ChosenNode:
    """A TEE node that holds a share; `known_as` is what the policy calls its operator."""

    node_id: bytes
    name: str
    operator: str
    tee: str
    known_as: str = ""


@dataclass(frozen=True, slots=True)
class Approved:
    """An approval: who holds a share, who was refused and why, how many opened theirs; `names` says what the policy calls a refused one."""

    order_id: bytes
    threshold: int
    chosen: tuple[ChosenNode, ...]
    refused: tuple[tuple[str, tuple[str, ...]], ...]
    accepted: int
    sent: tuple[Sent, ...]
    names: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Checked:
    """What the checks before payment found."""

    order_id: bytes
    accepts: int
    shares: int
    threshold: int
    sampled_blocks: int
    replicas: int
    bad: tuple[tuple[str, str], ...]
    price_wei: int
    token: str


@dataclass(frozen=True, slots=True)
class Paid:
    """A paid order; `allowed`: what was sent first so that the Exchange may take the price in a token without a permit."""

    order_id: bytes
    checked: Checked
    sent: Sent
    allowed: tuple[Sent, ...] = ()


@dataclass(frozen=True, slots=True)
class Fetched:
    """An opened asset on disk, and what was skipped on the way."""

    order_id: bytes
    output: Path
    files: int
    bytes_written: int
    downloaded_bytes: int
    bad_replicas: tuple[tuple[str, str], ...]
    failed_nodes: tuple[tuple[str, str], ...]
    recorded: Sent | None
    provenance: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Revoked:
    """A revoked order: slots whose node says that its key is gone, whose node started anew, and which are silent."""

    order_id: bytes
    destroyed: int
    ended: int
    silent: int
    sent: tuple[Sent, ...]


@dataclass(frozen=True, slots=True)
class Resealed:
    """Slots that live again as (slot, node id), nodes that failed as (short id, codes), and what the policy calls each."""

    order_id: bytes
    slots: tuple[tuple[int, bytes], ...]
    failed: tuple[tuple[str, tuple[str, ...]], ...]
    sent: tuple[Sent, ...]
    names: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Regenerated:
    """New shares of an order: the generation, who holds them, who was refused and why, how many opened theirs; `names` as in Approved."""

    order_id: bytes
    generation: int
    threshold: int
    chosen: tuple[ChosenNode, ...]
    refused: tuple[tuple[str, tuple[str, ...]], ...]
    accepted: int
    sent: tuple[Sent, ...]
    names: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Proposed:
    """New shares that the consumer has to agree to: the document for him, and until when (Unix seconds) it can be used."""

    order_id: bytes
    generation: int
    threshold: int
    chosen: tuple[ChosenNode, ...]
    refused: tuple[tuple[str, tuple[str, ...]], ...]
    document: bytes
    expires_at: int
    names: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Consented:
    """New shares that this consumer agreed to: the document for the provider; `asked` when it holds his request for the data."""

    order_id: bytes
    generation: int
    threshold: int
    nodes: tuple[bytes, ...]
    asked: bool
    downloaded_bytes: int
    document: bytes
    expires_at: int


@dataclass(frozen=True, slots=True)
class Claimed:
    """Money taken out of the Exchange, in the smallest unit of `token` (ZERO_ADDRESS: the native coin)."""

    settled: tuple[bytes, ...]
    amount_wei: int
    payee: str
    sent: tuple[Sent, ...]
    unsettled: tuple[tuple[bytes, str], ...] = ()
    token: str = ZERO_ADDRESS


@dataclass(frozen=True, slots=True)
class TokenBalance:
    """What an account holds of a token, and what of it waits in the Exchange, in the token's smallest unit."""

    token: str
    symbol: str
    decimals: int
    held: int
    claimable: int


@dataclass(frozen=True, slots=True)
class Changed:
    """An account after a change was proposed, cancelled or applied."""

    account: ProviderAccount
    sent: Sent
