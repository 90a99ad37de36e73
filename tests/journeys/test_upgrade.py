"""A new Exchange beside the old one, on a real chain: the old one closed, its orders ended, the same asset traded on the new."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from asset_bridge.attestation.configuration import ChainConfiguration
from asset_bridge.chain.adapter import RpcChain
from asset_bridge.chain.keys import AccountKey, address_bytes
from asset_bridge.chain.network import Deployment
from asset_bridge.chain.records import ZERO32, OrderState
from asset_bridge.cli.exchanges_cmd import exchanges
from asset_bridge.errors import BridgeError, InputError, RefusedError
from asset_bridge.nodes.tee.core import TeeNodeCore, TeeParts
from asset_bridge.nodes.tee.identity import NodeIdentity
from asset_bridge.trade.exchanges import require_open
from asset_bridge.vault.network import Network
from tests.ports.chain_scene import MEASUREMENT
from tests.support.upgrade import LIGHT, STORAGE, Upgrade, command, upgrade_world

pytestmark = pytest.mark.needs_anvil


@pytest.fixture(scope="module")
def net(anvil_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upgrade]:
    with upgrade_world(anvil_path, tmp_path_factory.mktemp("upgrade")) as made:
        yield made


def code_of(kind: type[BridgeError], call: Callable[[], object]) -> str:
    with pytest.raises(kind) as caught:
        call()
    return caught.value.code


def test_orders_end_on_the_old_exchange_and_begin_on_the_new(net: Upgrade) -> None:
    old = net.world.scene("upgrade")
    waiting, served, lost = old.requested(), old.paid(), old.paid()
    asset_id = waiting.terms.asset_id
    file, made, said = net.beside("new")

    # The new network names what is there, sees what was listed before it, and takes requests at once (development: no delay).
    shared = ("AssetLedger", "NodeRegistry", "ReencryptionVerifier")
    before = net.world.deployment
    assert all(made.address_of(name) == before.address_of(name) for name in shared)
    assert all(made.address_of(name) != before.address_of(name) for name in ("Exchange", "Grants", "Challenges"))
    assert made.deployed_block == before.deployed_block
    kept = Network.load(file)
    assert (kept.name, kept.rpc_urls) == ("trial", (net.world.url,))
    assert [peer.url for peer in (*kept.light_nodes, *kept.storage_nodes)] == [LIGHT, STORAGE]
    assert set(said["listed_from"]) == {"AssetLedger", "NodeRegistry"}
    new = net.scene_on(made, old)
    reader = new.consumer.reader
    assert reader.asset(asset_id) == old.consumer.reader.asset(asset_id)
    assert len(reader.nodes()) == len(old.consumer.reader.nodes())
    require_open(reader)
    assert [one.address for one in reader.exchange_listings()] == [before.exchange, made.exchange]

    # The old one is closed: no new request, and every order that it has can still end.
    closed = command(exchanges, "close", before.exchange, "--yes", "--key-file", net.key_file, "--network", net.file)
    assert (closed["exchange"]["closed"], len(closed["sent"])) == (True, 1)
    terms = old.terms(asset_id)
    with pytest.raises(InputError) as error:
        require_open(old.consumer.reader)
    assert (error.value.code, before.exchange in error.value.message) == ("trade.exchange-closed", True)
    assert "network use" in error.value.hint
    assert code_of(RefusedError, lambda: old.consumer.request(terms)) == "chain.ledger.exchange-is-closed"
    old.consumer.cancel(waiting.order_id)
    old.recorder.record_delivery(served.order_id, old.fetch(served), [old.receipt(served, slot) for slot in (0, 2)])
    old.consumer.accept_delivery(served.order_id)
    states = [old.consumer.reader.order(one.order_id).state for one in (waiting, served)]
    assert states == [OrderState.CANCELLED, OrderState.SETTLED]

    # The same terms on the new one are another order, and a node's word about one is no word about the other.
    order_id, _ = new.consumer.request(terms)
    assert order_id != old.consumer.reader.order_id_of(old.consumer.address, terms)
    order = reader.order(order_id)
    new.provider.approve(order_id, new.approval(order))
    approved = reader.order(order_id)
    words = [old.accept(approved, slot) for slot in (0, 1)]
    assert code_of(RefusedError, lambda: new.consumer.pay(order_id, words)) == "chain.exchange.accept-is-not-the-node-s"
    new.consumer.pay(order_id, [new.accept(approved, slot) for slot in (0, 1)])
    assert reader.order(order_id).state is OrderState.PAID
    assert code_of(InputError, lambda: old.consumer.reader.order(order_id)) == "chain.not-found"
    assert code_of(InputError, lambda: reader.order(lost.order_id)) == "chain.not-found"
    refused_by_nodes(net, made, order_id)

    deadline = old.consumer.reader.order(lost.order_id).deliver_by + old.consumer.reader.grace_seconds()
    net.world.advance_to(deadline)
    old.consumer.refund(lost.order_id)
    assert old.consumer.reader.order(lost.order_id).state is OrderState.REFUNDED


def refused_by_nodes(net: Upgrade, made: Deployment, order_id: bytes) -> None:
    """A node of the old network does not know the new order; one that is attested for the old Exchange does not start on the new."""
    net.world.mine(3)
    before = net.world.deployment
    configuration = ChainConfiguration(
        before.chain_id, address_bytes(before.registry), address_bytes(before.ledger), (address_bytes(before.exchange),),
        "finalized", (), 0, ZERO32,
    )  # fmt: skip

    def core(chain: RpcChain, attested: ChainConfiguration) -> TeeNodeCore:
        identity = NodeIdentity(ZERO32, ZERO32.hex(), AccountKey.from_random(os.urandom), MEASUREMENT, [1])
        none: Any = None
        clock = lambda: float(chain.block().timestamp)  # noqa: E731
        return TeeNodeCore(TeeParts([chain], identity, none, attested, none, clock, os.urandom))

    chain = net.chain(made)
    assert (
        code_of(RefusedError, lambda: core(net.chain(before), configuration).order_key(order_id)) == "tee.unknown-order"
    )
    assert code_of(InputError, lambda: core(chain, configuration)) == "tee.exchange"
    own = replace(configuration, exchanges=(address_bytes(made.exchange),))
    assert core(chain, own).order_key(order_id)  # the node of the new network serves it
