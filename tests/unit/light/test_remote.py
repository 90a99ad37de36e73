"""TEE nodes over HTTP as the stories see them, and how nodes are found."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from asset_bridge.chain.keys import AccountKey
from asset_bridge.chain.records import AcceptSignature, ApprovedSlot, DestroyedReceipt, FetchSignature, NodeKind
from asset_bridge.errors import RefusedError, TamperedError, UnavailableError
from asset_bridge.ipfs.gateway import StoreSource
from asset_bridge.ipfs.memory import InMemoryStore
from asset_bridge.ipfs.store import put_document
from asset_bridge.ipld.unixfs import file_dag
from asset_bridge.trade.directory import Directory
from asset_bridge.trade.documents.endpoint import Endpoint
from asset_bridge.trade.evidence import OrderKey
from asset_bridge.trade.remote import RemoteLight, RemoteTee
from asset_bridge.trade.unpin import UnpinReceipt
from asset_bridge.transport.calls import Answer, Call, Route
from asset_bridge.transport.server import build_app
from asset_bridge.transport.wire import hex_of, to_json
from tests.support.light import CHAIN_ID, ORDER_ID, REGISTRY, TEE_IDS, fetch_signature, node, receipt
from tests.support.peers import guard, peer

KEY = OrderKey(b"\1" * 32, 1, b"\2" * 32, 5, b"\3" * 65)
ACCEPT = AcceptSignature(1, 0, b"\1" * 32, b"\2" * 32, TEE_IDS[0], 1, b"\3" * 65)
SLOT = ApprovedSlot(b"\1" * 32, b"u" * 33, b"r" * 65, TEE_IDS[0], 1, b"k" * 32, 9, b"o" * 65, b"s" * 80)
DESTROYED = DestroyedReceipt(1, 0, b"\2" * 32, TEE_IDS[0], 1, 1, b"\3" * 65)
OPERATOR = AccountKey(b"\x29" * 32)


def tee(answers: dict[str, Any], seen: list[Any] | None = None) -> RemoteTee:
    """A TEE node whose routes answer with these objects."""

    def handler(name: str) -> Any:
        def run(call: Call) -> Answer:
            if seen is not None and call.body:
                seen.append(call.json())
            answer = answers[name]
            if isinstance(answer, Exception):
                raise answer
            return Answer(json={**answer, "tee": "simulated", "measurement": "0x00"})

        return run

    routes = [Route("POST", "/v1/evidence", handler("evidence"), "x")]
    routes += [
        Route("POST", f"/v1/orders/{{order_id}}/{name}", handler(name), "x") for name in ("key", "accept", "reencrypt")
    ]
    routes.append(Route("GET", "/v1/orders/{order_id}/destroyed", handler("destroyed"), "x"))
    app = build_app(routes, title="t", info=dict, health=list, guard=guard("tee.test"))
    return RemoteTee(peer(app, name="tee node 0xa0", host="tee.test"))


def test_a_tee_node_over_http() -> None:
    seen: list[Any] = []
    made = receipt(0)
    node_ = tee(
        {
            "evidence": {"evidence": "0x0102"},
            "key": to_json(KEY),
            "accept": {"accept": to_json(ACCEPT)},
            "reencrypt": {"slot": 0, "cfrag": hex_of(b"c" * 359), "receipt": to_json(made), "acks": []},
            "destroyed": {"destroyed": [to_json(DESTROYED)]},
        },
        seen,
    )
    assert node_.evidence(b"\7" * 32) == b"\1\2"
    assert node_.order_key(ORDER_ID) == KEY.encode()
    assert node_.accept(ORDER_ID, 1, 0) == ACCEPT
    assert node_.accept_reseal(ORDER_ID, 1, 0, SLOT) == ACCEPT
    assert node_.accept_generation(ORDER_ID, 2, 0, SLOT, b"\2" * 33) == ACCEPT
    assert node_.reencrypt(ORDER_ID, fetch_signature()) == (b"c" * 359, made, ())
    assert node_.destroyed(ORDER_ID) == [DESTROYED]
    assert seen[0] == {"nonce": hex_of(b"\7" * 32)}
    assert seen[3]["replacement"] == to_json(SLOT)
    assert seen[4] == {**seen[3], "generation": 2, "precursor": hex_of(b"\2" * 33)}


def test_a_tee_nodes_refusal_comes_through_and_nonsense_is_named() -> None:
    refusal = RefusedError("tee.not-paid", "The order is not paid.", actor="consumer")
    with pytest.raises(RefusedError) as caught:
        tee({"reencrypt": refusal}).reencrypt(ORDER_ID, FetchSignature(1, b"\0" * 65))
    assert (caught.value.code, caught.value.actor) == ("tee.not-paid", "consumer")
    short = {"slot": 0, "cfrag": "0x00", "receipt": to_json(receipt(0)), "acks": []}
    nonsense = tee(
        {"evidence": {}, "key": {}, "accept": {"accept": {}}, "reencrypt": short, "destroyed": {"destroyed": 1}}
    )
    for call in (
        lambda: nonsense.evidence(b"\0" * 32),
        lambda: nonsense.order_key(ORDER_ID),
        lambda: nonsense.accept(ORDER_ID, 1, 0),
        lambda: nonsense.reencrypt(ORDER_ID, fetch_signature()),
        lambda: nonsense.destroyed(ORDER_ID),
    ):
        with pytest.raises(UnavailableError) as named:
            call()
        assert (named.value.code, named.value.actor) == ("transport.reply", "tee node 0xa0")


def test_nodes_are_found_by_documents_that_their_operators_signed() -> None:
    store, connected = InMemoryStore(), []
    endpoint = Endpoint(NodeKind.TEE, TEE_IDS[0], OPERATOR.address, CHAIN_ID, REGISTRY, ("http://127.0.0.1:1",))
    document = endpoint.sign(OPERATOR)
    root = put_document(store, document)

    def connect(url: str, name: str) -> Any:
        connected.append((url, name))
        return object()

    directory = Directory(CHAIN_ID, REGISTRY, lambda: [StoreSource(store, "here")], connect)
    registered = node(TEE_IDS[0], NodeKind.TEE, OPERATOR, operator=OPERATOR.address)
    registered = replace(registered, endpoint_digest=root.digest, endpoint_length=len(document))
    assert directory.endpoint(registered) == endpoint
    assert directory.peer(registered) is directory.peer(registered)
    assert connected == [("http://127.0.0.1:1", f"tee node 0x{TEE_IDS[0].hex()[:8]}")]
    with pytest.raises(TamperedError):
        directory.peer(replace(registered, node_id=TEE_IDS[1]))
    with pytest.raises(TamperedError):
        Directory(CHAIN_ID + 1, REGISTRY, lambda: [StoreSource(store, "here")], connect).peer(registered)
    gone = replace(registered, endpoint_digest=file_dag(b"else").root.digest)
    with pytest.raises(UnavailableError):
        directory.peer(gone)


def test_a_light_node_deletes_a_body() -> None:
    root = file_dag(b"body").root
    made = UnpinReceipt(root.to_bytes(), 4, b"\1" * 32, 9, b"\2" * 65)
    answers: list[dict[str, Any]] = [{"receipts": [to_json(made)], "silent": ["storage node 1"]}]
    answers += [{"receipts": [{}], "silent": []}, {"receipts": [], "silent": [1]}, {"receipts": []}]
    asked: list[str] = []

    def run(call: Call) -> Answer:
        asked.append(call.params["root"])
        return Answer(json=answers[len(asked) - 1])

    app = build_app(
        [Route("DELETE", "/v1/uploads/{root}", run, "x")], title="t", info=dict, health=list, guard=guard("light.test")
    )
    light = RemoteLight(peer(app, name="light node", host="light.test"))
    assert light.unpin(root.to_bytes()) == ([made], ["storage node 1"])
    for _ in range(3):
        with pytest.raises(UnavailableError) as caught:
            light.unpin(root.to_bytes())
        assert caught.value.code == "transport.reply"
    assert asked == [str(root)] * 4
