"""A trade of the market up to a given point; one deal serves many tests of a module, reset between them."""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest

from asset_bridge.errors import ACTORS, BridgeError
from asset_bridge.ipld.cid import Cid
from asset_bridge.ipld.unixfs import body_cid
from asset_bridge.trade.desk import Desk
from asset_bridge.trade.publish import publish
from tests.journeys.support.market import Market, make_market
from tests.support.trade import plan_of
from tests.support.trade_steps import Trade, make_data


class Deal(Trade):
    """A trade of the market."""

    @property
    def market(self) -> Market:
        return cast(Market, self.scene)

    @property
    def root(self) -> Cid:
        return body_cid(self.published.body_cid.digest, self.published.body_length_bytes)

    def blocks(self) -> dict[str, list[Cid]]:
        """CIDs of the body by their place: root (where it is not the only block), leaves."""
        dag = self.market.storages[0].store
        tree = self.provider.replicas.tree(self.root, self.published.body_length_bytes)
        assert all(dag.get_block(leaf) for leaf in tree.leaves)
        return {"root": list(tree.interior), "leaves": list(tree.leaves)}

    def reset(self) -> None:
        """As it was right after the payment (or approval): nodes honest, nothing fetched. States of the chain stay."""
        self.market.heal()
        shutil.rmtree(self.out, ignore_errors=True)
        shutil.rmtree(self.bodies)
        with contextlib.suppress(BridgeError):
            self.consumer.vault.halves.delete(self.order_id.hex())
        self.consumer = self.market.desk("consumer")

    def reset_storage(self) -> None:
        """Nodes honest, no output of an earlier order."""
        self.market.heal()
        shutil.rmtree(self.out, ignore_errors=True)

    def assert_unpaid(self) -> None:
        """Nothing was paid."""
        order = self.market.chain.order(self.order_id)
        assert (order.state.name, order.escrow_wei) == ("APPROVED", 0)

    def assert_clean(self) -> None:
        """No output, and nothing half-written beside it or for it."""
        self.assert_nothing_opened()
        assert not self.consumer.vault.halves.get(self.order_id.hex())

    def files(self) -> set[Path]:
        """What lies where outputs go."""
        return {path for path in self.folder.iterdir() if path.is_file() or path.name.startswith(".")}


def listed(folder: Path, *, light: Callable[[Market], Desk] | None = None, lights: int = 2) -> Deal:
    """A listed asset of a little over two blocks."""
    market = make_market(folder / "market", lights=lights)
    provider, consumer = market.desk("provider"), market.desk("consumer")
    data = make_data(folder)
    done = publish(provider, plan_of(data), market.folder_of("provider", "work"))
    market.chain.mine(3)
    return Deal(market, folder, data, provider, consumer, done)


def approved(folder: Path, **how: int) -> Deal:
    deal = listed(folder, **how)  # type: ignore[arg-type]
    deal.request()
    deal.approve()
    return deal


def paid(folder: Path, **how: int) -> Deal:
    deal = approved(folder, **how)
    deal.pay()
    return deal


def refused(call: Callable[[], object], kind: type[BridgeError], code: str, actor: str, layer: str = "") -> BridgeError:
    """The refusal has this class, code and actor (a role of errors.ACTORS), and names a layer."""
    with pytest.raises(BridgeError) as caught:
        call()
    error = caught.value
    assert (type(error), error.code) == (kind, code), f"{error.code}: {error.message}"
    assert any(error.actor.startswith(role) for role in ACTORS)
    assert error.actor.startswith(actor), error.actor
    assert layer_of(error) == (layer or layer_of(error))
    assert layer_of(error)
    return error


def layer_of(error: BridgeError) -> str:
    """The layer that a refusal names: in front of its message; a chain endpoint's lie names the chain by its code."""
    found = re.match(r"layer ([a-z-]+): ", error.message)
    if found:
        return found[1]
    return "chain" if error.code.startswith("chain.") else ""


def assert_found_out(deal: Deal, kind: type[BridgeError], code: str, layer: str = "approval") -> None:
    """However the buyer pays, he is refused before a coin moves."""
    coins = deal.market.chain.coins_wei(deal.consumer.address)
    for how in ({}, {"minimum_accepts": 2}, {"download_first": True}):
        refused(lambda how=how: deal.pay(**how), kind, code, "provider", layer)  # type: ignore[misc]
    deal.assert_unpaid()
    assert deal.market.chain.coins_wei(deal.consumer.address) == coins
    deal.assert_clean()
