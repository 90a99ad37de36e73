"""Light nodes, storage nodes and TEE nodes as one side of a trade reaches them.

Source: protocol §2 (endpoint documents), spec/node-http.md. Promises: a node is reached only at a URL that its operator signed; light nodes
are tried in turn, none is special. Does not promise: that anyone answers truthfully.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol, TypeVar

from asset_bridge.chain.records import Ack, DeliveryReceipt, FetchSignature, NodeKind, StorageReceipt
from asset_bridge.errors import BridgeError, InputError, UnavailableError
from asset_bridge.ipfs.gateway import Gateway
from asset_bridge.trade.directory import Connect, Directory, connect_pinned, node_name
from asset_bridge.trade.ports import BlockSource, ChainReader, LightNode, Progress
from asset_bridge.trade.unpin import UnpinReceipt
from asset_bridge.vault.network import Peer

_T = TypeVar("_T")
_Made = TypeVar("_Made")


class LightNodes:
    """Several light nodes as one: a call goes to the first that is not down."""

    def __init__(self, nodes: Sequence[LightNode]) -> None:
        """InputError(client.no-light-node): the list is empty."""
        if not nodes:
            raise InputError(
                "client.no-light-node",
                "network.toml names no light node",
                hint="ask your network's operator for a new one",
            )
        self._nodes, self.name = tuple(nodes), "light nodes"

    def _first(self, call: Callable[[LightNode], _T]) -> _T:
        down: BridgeError | None = None
        for node in self._nodes:
            try:
                return call(node)
            except UnavailableError as error:
                down = error
        assert down is not None
        raise down

    def get_block(self, cid: bytes) -> bytes:
        """See BlockSource."""
        return self._first(lambda node: node.get_block(cid))

    def upload(
        self, root: bytes, length: int, blocks: Callable[[bytes], bytes], purpose: str, progress: Progress | None
    ) -> None:
        """See BlockSink; another light node goes on where one failed."""
        self._first(lambda node: node.upload(root, length, blocks, purpose, progress))

    def storage_receipt(self, body_digest: bytes, length: int) -> StorageReceipt:
        """See BlockSink."""
        return self._first(lambda node: node.storage_receipt(body_digest, length))

    def catalog(self) -> list[bytes]:
        """See LightNode."""
        return self._first(lambda node: node.catalog())

    def events(self, after_block: int) -> Iterator[dict[str, object]]:
        """See LightNode."""
        return self._first(lambda node: node.events(after_block))

    def follow(self, after_block: int, *, seconds: float) -> Iterator[dict[str, object]]:
        """See LightNode; where one falls silent the next goes on for what is left of the time."""
        ends_at = time.monotonic() + seconds
        last: UnavailableError | None = None
        for node in self._nodes:
            try:
                yield from node.follow(after_block, seconds=ends_at - time.monotonic())
            except UnavailableError as error:
                last = error
            if time.monotonic() >= ends_at:
                break
        if last is not None:
            raise last

    def follow_until(self, after_block: int, wanted: Callable[[Mapping[str, object]], bool], seconds: float) -> bool:
        """Read events as they happen until a wanted one comes (True); False when the time is over, or no light node answers."""
        try:
            return any(wanted(event) for event in self.follow(after_block, seconds=seconds))
        except UnavailableError:
            return False

    def reencrypt(
        self, order_id: bytes, fetch: FetchSignature
    ) -> list[tuple[bytes, bytes, DeliveryReceipt, tuple[Ack, ...]]]:
        """See LightNode."""
        return self._first(lambda node: node.reencrypt(order_id, fetch))


class Unpinner(Protocol):
    """A light node that deletes bodies."""

    name: str

    def unpin(self, root: bytes) -> tuple[list[UnpinReceipt], list[str]]:
        """See trade.remote.RemoteLight."""
        ...


def unpin_everywhere(nodes: Sequence[Unpinner], root: bytes) -> tuple[list[UnpinReceipt], list[str]]:
    """Ask every light node, since each knows its own uploads only; those that are down are named as silent."""
    receipts: list[UnpinReceipt] = []
    silent: list[str] = []
    for node in nodes:
        try:
            found, quiet = node.unpin(root)
        except InputError:
            continue  # it never stored this body
        except BridgeError:
            silent.append(node.name)
            continue
        receipts += found
        silent += quiet
    return receipts, silent


def reachable(nodes: Sequence[Peer], role: str, make: Connect[_Made]) -> list[_Made]:
    """Connections to the nodes of network.toml. A node with a pinned TLS key that is down now, or shows another key, is left out.

    Raises:
        BridgeError: every one was left out; the last one's reason.
    """
    made: list[_Made] = []
    reason: BridgeError | None = None
    for node in nodes:
        try:
            made.append(connect_pinned(make, node.url, f"{role} {node.url}", node.tls_pin))
        except BridgeError as error:
            reason = error
    if reason is not None and not made:
        raise reason
    return made


def storage_sources(
    reader: ChainReader, directory: Directory, start: Sequence[Gateway], make: Connect[Gateway]
) -> list[BlockSource]:
    """The storage nodes of network.toml, then every other live one of the registry that can be found."""
    sources: list[BlockSource] = list(start)
    seen = {gateway.base_url for gateway in start}
    for node in reader.nodes(NodeKind.STORAGE):
        if not node.live:
            continue
        try:
            endpoint = directory.endpoint(node)
            url = endpoint.urls[0].rstrip("/")
            if url not in seen:
                seen.add(url)
                sources.append(connect_pinned(make, url, node_name(node), endpoint.tls_pin))
        except BridgeError:
            continue  # a node whose document is lost, or whose TLS key is another, serves nobody; the others do
    return sources
