"""Issue 3, must-show 4, documents: description, terms, profile, form, reply and endpoint document, on one storage node and on all.

One copy: passed by, the storage node named. All copies: a refusal that names layer and actor, and nothing happened on chain."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
from eth_hash.auto import keccak

from asset_bridge.chain.keys import AccountKey
from asset_bridge.chain.records import Node, NodeKind, OrderState
from asset_bridge.errors import BridgeError, TamperedError, UnavailableError
from asset_bridge.ipld.cid import RAW, Cid
from asset_bridge.ipld.unixfs import body_cid, file_dag
from asset_bridge.trade.answer import read_reply
from asset_bridge.trade.approve import approve
from asset_bridge.trade.desk import Desk
from asset_bridge.trade.directory import Directory
from asset_bridge.trade.documents.endpoint import Endpoint
from asset_bridge.trade.register import announce
from tests.journeys.support import deal as deals
from tests.journeys.support.deal import Deal, layer_of, refused
from tests.journeys.support.lies import flip
from tests.journeys.support.market import Lie, plain_node

LIES: dict[str, tuple[Lie, str]] = {
    "flip": (flip(3), "ipfs.gateway-block"),
    "zero": (lambda block: bytes(len(block)), "ipfs.gateway-block"),
    "truncate": (lambda block: block[:-1], "ipfs.gateway-block"),
    "missing": (lambda block: None, "ipfs.block-missing"),
}


@dataclass
class Step:
    """A verb that reads a document: whose desk, which document, the verb, and what must not have happened when it is refused."""

    desk: Callable[[Deal], Desk]
    document: Callable[[Deal], Cid]
    run: Callable[[Deal, Desk], object]
    unchanged: Callable[[Deal], object]


def listing(deal: Deal) -> Any:
    return deal.market.chain.asset(deal.published.asset_id).listing


def profile(deal: Deal) -> Cid:
    found = deal.market.chain.profile(deal.provider.address)
    assert found is not None
    return Cid(RAW, found.document_digest)


def form(deal: Deal) -> Cid:
    terms = deal.market.chain.order(deal.order_id).terms
    return body_cid(terms.form_digest, terms.form_length)


def reply(deal: Deal) -> Cid:
    order = deal.market.chain.order(deal.order_id)
    assert order.approval is not None
    return body_cid(order.approval.reply_digest, order.approval.reply_length)


def do_request(deal: Deal, desk: Desk) -> None:
    replace_consumer(deal, desk).request()


def replace_consumer(deal: Deal, desk: Desk) -> Deal:
    deal.consumer = desk
    return deal


def do_approve(deal: Deal, desk: Desk) -> None:
    approve(desk, deal.order_id, deal.scene.examiner(), reply="Welcome.")
    deal.market.chain.mine(3)


def state(deal: Deal) -> OrderState:
    return deal.market.chain.order(deal.order_id).state


def do_fetch(deal: Deal, desk: Desk) -> None:
    fetched = deal.fetch(desk)
    deal.assert_same()
    assert "storage node 0" in {failure.source for failure in fetched.bad_replicas}


def consumer(deal: Deal) -> Desk:
    return deal.market.desk("consumer")


def provider(deal: Deal) -> Desk:
    return deal.market.desk("provider")


def orders(deal: Deal) -> int:
    return len(deal.market.chain.orders())


STEPS: dict[str, tuple[str, Step]] = {
    "description, request": (
        "listed",
        Step(consumer, lambda deal: Cid(RAW, listing(deal).description_digest), do_request, orders),
    ),
    "profile, request": ("listed", Step(consumer, profile, do_request, orders)),
    "description, approve": (
        "requested",
        Step(provider, lambda deal: Cid(RAW, listing(deal).description_digest), do_approve, state),
    ),
    "profile, approve": ("requested", Step(provider, profile, do_approve, state)),
    "form, approve": ("requested", Step(provider, form, do_approve, state)),
    "reply, read": (
        "approved",
        Step(consumer, reply, lambda deal, desk: read_reply(desk, deal.order_id), state),
    ),
    "description, fetch": (
        "paid",
        Step(
            consumer, lambda deal: Cid(RAW, listing(deal).description_digest), do_fetch, lambda deal: deal.out.exists()
        ),
    ),
    "terms, fetch": (
        "paid",
        Step(
            consumer, lambda deal: Cid(RAW, listing(deal).offer.terms_digest), do_fetch, lambda deal: deal.out.exists()
        ),
    ),
}


@pytest.fixture(scope="module")
def listed_once(tmp_path_factory: pytest.TempPathFactory) -> Any:
    deal = deals.listed(tmp_path_factory.mktemp("documents"))
    yield deal
    deal.market.close()


def brought_to(deal: Deal, stage: str) -> Deal:
    """A new order on the same asset, at this stage."""
    deal.reset_storage()
    if stage != "listed":
        deal.consumer = consumer(deal)
        deal.request()
        deal.market.chain.mine(3)
    if stage in ("approved", "paid"):
        do_approve(deal, provider(deal))
    if stage == "paid":
        deal.pay()
        deal.reset()
    return deal


@pytest.mark.parametrize("how", LIES)
@pytest.mark.parametrize("what", STEPS)
def test_one_copy_is_passed_by_and_named(listed_once: Deal, what: str, how: str) -> None:
    stage, step = STEPS[what]
    lie, code = LIES[how]
    deal = brought_to(listed_once, stage)
    deal.market.storages[0].lies[step.document(deal)] = lie
    desk = step.desk(deal)
    step.run(deal, desk)
    assert ("storage node 0", code) in {(failure.source, failure.code) for failure in desk.replicas.bad}


@pytest.mark.parametrize("how", LIES)
@pytest.mark.parametrize("what", STEPS)
def test_all_copies_are_refused(listed_once: Deal, what: str, how: str) -> None:
    stage, step = STEPS[what]
    lie, code = LIES[how]
    deal = brought_to(listed_once, stage)
    for storage in deal.market.storages:
        storage.lies[step.document(deal)] = lie
    before = step.unchanged(deal)
    kind: type[BridgeError] = UnavailableError if how == "missing" else TamperedError
    wanted = "ipfs.replicas-down" if how == "missing" else "ipfs.replicas-damaged"
    desk = step.desk(deal)
    error = refused(lambda: step.run(deal, desk), kind, wanted, "storage node", "documents")
    assert f"storage node 2: {code}" in error.message
    assert step.unchanged(deal) == before
    if stage == "paid":
        deal.assert_clean()


# ── the endpoint document, by which every connection is found ──
@dataclass
class Endpoints:
    """A light node whose endpoint document is `document`, and the directory that reads it."""

    deal: Deal
    operator: AccountKey

    def register(self, label: str, document: bytes) -> Node:
        dag = file_dag(document)
        blocks = {dag.root.to_bytes(): document}
        self.deal.market.lights[0].upload(dag.root.to_bytes(), len(document), blocks.__getitem__, "document", None)
        chain = self.deal.market.chain
        plan = plain_node(NodeKind.LIGHT, self.operator.address, label.encode(), chain.now_at)
        plan = replace(plan, endpoint_digest=dag.root.digest, endpoint_length=len(document))
        return chain.node(announce(chain.account(self.operator), plan).node_id)

    def document(self, label: str, **changes: Any) -> bytes:
        from asset_bridge.chain.ids import node_id
        from asset_bridge.chain.keys import address_bytes

        chain = self.deal.market.chain
        assert address_bytes(self.operator.address)
        name = node_id(self.operator.address, keccak(label.encode()))
        fields = {
            "kind": NodeKind.LIGHT,
            "node_id": name,
            "operator": self.operator.address,
            "chain_id": chain.chain_id,
            "registry": chain.registry,
            "urls": ("https://light.test",),
        }
        return Endpoint(**{**fields, **changes}).sign(self.operator)

    def directory(self) -> Directory:
        chain = self.deal.market.chain
        sources = [storage.gateway for storage in self.deal.market.storages]
        return Directory(chain.chain_id, chain.registry, lambda: sources, lambda url, name: (url, name))  # type: ignore[arg-type, return-value]


@pytest.fixture
def endpoints(listed_once: Deal) -> Endpoints:
    listed_once.reset_storage()
    return Endpoints(listed_once, listed_once.market.account("operator of endpoints"))


_serial = iter(range(10**6))


@pytest.mark.parametrize("how", LIES)
def test_an_endpoint_document_on_one_node_and_on_all(endpoints: Endpoints, how: str) -> None:
    label = f"endpoint {next(_serial)}"
    node = endpoints.register(label, endpoints.document(label))
    cid = body_cid(node.endpoint_digest, node.endpoint_length)
    storages = endpoints.deal.market.storages
    storages[0].lies[cid] = LIES[how][0]
    assert endpoints.directory().endpoint(node).urls == ("https://light.test",)
    for storage in storages:
        storage.lies[cid] = LIES[how][0]
    kind: type[BridgeError] = UnavailableError if how == "missing" else TamperedError
    wanted = "ipfs.replicas-down" if how == "missing" else "ipfs.replicas-damaged"
    refused(lambda: endpoints.directory().peer(node), kind, wanted, "storage node", "documents")


UNTRUE: dict[str, dict[str, Any]] = {
    "another kind": {"kind": NodeKind.TEE},
    "another node": {"node_id": bytes(32)},
    "another chain": {"chain_id": 1},
    "another registry": {"registry": "0x" + "00" * 20},
}


@pytest.mark.parametrize("what", UNTRUE)
def test_an_endpoint_document_of_another_node_is_refused(endpoints: Endpoints, what: str) -> None:
    label = f"endpoint {next(_serial)}"
    node = endpoints.register(label, endpoints.document(label, **UNTRUE[what]))
    with pytest.raises(TamperedError) as caught:
        endpoints.directory().peer(node)
    assert (caught.value.code, caught.value.actor) == ("trade.endpoint", "operator")


@pytest.mark.parametrize("position", [30, 120, -10])
def test_an_endpoint_document_with_another_byte_is_refused(endpoints: Endpoints, position: int) -> None:
    """The registry holds the digest of the changed document: only the operator's signature is left to tell."""
    label = f"endpoint {next(_serial)}"
    node = endpoints.register(label, flip(position, 2)(endpoints.document(label)))
    with pytest.raises(TamperedError) as caught:
        endpoints.directory().peer(node)
    assert caught.value.code in ("trade.endpoint", "trade.document")
    assert caught.value.actor
    assert layer_of(caught.value) in ("", "documents")
