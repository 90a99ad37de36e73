"""A trade of the scene up to a given point, and lying wrappers around its parts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from asset_bridge.chain.records import Ack, Asset, At, DeliveryReceipt, FetchSignature, Order
from asset_bridge.ipfs.multi import MultiSource
from asset_bridge.trade.approve import approve
from asset_bridge.trade.desk import Desk
from asset_bridge.trade.documents.template import EXAMPLE_APPLICATION
from asset_bridge.trade.fetch import Fetched, fetch
from asset_bridge.trade.pay import Paid, pay
from asset_bridge.trade.ports import TeeNode
from asset_bridge.trade.publish import Published, publish
from asset_bridge.trade.request import request
from tests.support.trade import Scene, make_scene, plan_of


@dataclass
class Trade:
    """Scene, both desks, and how far the trade is."""

    scene: Scene
    folder: Path
    data: Path
    provider: Desk
    consumer: Desk
    published: Published
    order_id: bytes = b""

    @property
    def bodies(self) -> Path:
        return self.scene.folder_of("consumer", "bodies")

    @property
    def out(self) -> Path:
        return self.folder / "out"

    def request(self) -> Trade:
        self.order_id = request(self.consumer, self.published.asset_id, EXAMPLE_APPLICATION).order_id
        return self

    def approve(self) -> Trade:
        approve(self.provider, self.order_id, self.scene.examiner())
        self.scene.chain.mine(3)
        return self

    def pay(self, desk: Desk | None = None, **how: Any) -> Paid:
        paid = pay(desk or self.consumer, self.order_id, self.bodies, **how)
        self.scene.chain.mine(3)
        return paid

    def fetch(self, desk: Desk | None = None, *, body_from: MultiSource | None = None) -> Fetched:
        return fetch(desk or self.consumer, self.order_id, self.out, self.bodies, body_from=body_from)

    def assert_same(self) -> None:
        """Every opened file equals its original."""
        for path in self.data.rglob("*"):
            if path.is_file():
                assert (self.out / path.relative_to(self.data)).read_bytes() == path.read_bytes()

    def assert_nothing_opened(self) -> None:
        """No output, and nothing of ours beside it."""
        assert not self.out.exists()
        assert not [path for path in self.folder.iterdir() if "partial" in path.name]


def make_data(folder: Path) -> Path:
    """A folder of a little over two blocks."""
    data = folder / "data"
    (data / "deep" / "er").mkdir(parents=True)
    (data / "patients.ndjson").write_bytes(b'{"resourceType":"Patient"}\n' * 30_000)
    (data / "deep" / "er" / "naïve name.bin").write_bytes(bytes(range(256)) * 6000)
    (data / "empty").write_bytes(b"")
    return data


def published(folder: Path, **changes: object) -> Trade:
    """A listed asset."""
    scene = make_scene(folder)
    provider, consumer = scene.desk("provider"), scene.desk("consumer")
    data = make_data(folder)
    done = publish(provider, plan_of(data, **changes), scene.folder_of("provider", "work"))
    return Trade(scene, folder, data, provider, consumer, done)


class LyingReader:
    """A chain endpoint that changes what it serves."""

    def __init__(
        self,
        reader: Any,
        *,
        asset: Callable[[Asset], Asset] = lambda asset: asset,
        order: Callable[[Order], Order] = lambda order: order,
    ) -> None:
        self._reader, self._asset, self._order = reader, asset, order

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reader, name)

    def asset(self, asset_id: bytes, at: At = At.HEAD) -> Asset:
        return self._asset(self._reader.asset(asset_id, at))

    def order(self, order_id: bytes, at: At = At.HEAD) -> Order:
        return self._order(self._reader.order(order_id, at))


class LyingAccount:
    """An account behind a lying endpoint."""

    def __init__(self, account: Any, reader: LyingReader) -> None:
        self._account, self.reader = account, reader

    def __getattr__(self, name: str) -> Any:
        return getattr(self._account, name)


def lied_to(desk: Desk, **lies: Any) -> Desk:
    """The same desk behind an endpoint that lies."""
    return replace(desk, account=LyingAccount(desk.account, LyingReader(desk.reader, **lies)))


def with_listing(**fields: Callable[[bytes], bytes]) -> Callable[[Asset], Asset]:
    """A lie about fields of the listing."""

    def lie(asset: Asset) -> Asset:
        changed = {name: change(getattr(asset.listing, name)) for name, change in fields.items()}
        return replace(asset, listing=replace(asset.listing, **changed))

    return lie


def flip(position: int) -> Callable[[bytes], bytes]:
    """Flip a bit."""
    return lambda old: old[:position] + bytes([old[position] ^ 1]) + old[position + 1 :]


class BadFragments:
    """A TEE node whose cfrags arrive changed."""

    def __init__(self, inner: TeeNode, position: int = 300) -> None:
        self._inner, self._flip = inner, flip(position)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def reencrypt(self, order_id: bytes, fetch: FetchSignature) -> tuple[bytes, DeliveryReceipt, tuple[Ack, ...]]:
        cfrag, receipt, acks = self._inner.reencrypt(order_id, fetch)
        return self._flip(cfrag), receipt, acks


def spoil(trade: Trade, *numbers: int, position: int = 300) -> None:
    """From now on the cfrags of these TEE nodes arrive changed."""
    bad = {id(trade.scene.tees[number].core) for number in numbers}
    trade.scene.wrap_tee = lambda tee: BadFragments(tee, position) if id(tee) in bad else tee
