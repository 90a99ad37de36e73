"""A whole trade in one process with real cryptography, and the lies that each side could tell in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from asset_bridge.chain.records import OrderState
from asset_bridge.trade.accept import accept
from asset_bridge.trade.approve import approve
from asset_bridge.trade.documents.template import EXAMPLE_APPLICATION
from asset_bridge.trade.fetch import fetch
from asset_bridge.trade.inbox import inbox
from asset_bridge.trade.pay import pay
from asset_bridge.trade.publish import publish
from asset_bridge.trade.request import request
from tests.support.trade import make_scene, plan_of


def data_folder(folder: Path) -> Path:
    data = folder / "data"
    (data / "deep" / "er").mkdir(parents=True)
    (data / "patients.ndjson").write_bytes(b'{"resourceType":"Patient"}\n' * 50_000)
    (data / "deep" / "er" / "naïve name.bin").write_bytes(bytes(range(256)) * 5000)
    (data / "empty").write_bytes(b"")
    return data


def test_trade(tmp_path: Path) -> None:
    scene = make_scene(tmp_path)
    provider, consumer = scene.desk("provider"), scene.desk("consumer")
    data = data_folder(tmp_path)
    published = publish(provider, plan_of(data), scene.folder_of("provider", "work"))
    requested = request(consumer, published.asset_id, EXAMPLE_APPLICATION)
    (item,) = inbox(provider)
    assert (item.problem, item.application) == ("", EXAMPLE_APPLICATION)
    approved = approve(provider, requested.order_id, scene.examiner())
    assert len(approved.chosen) == 3
    scene.chain.mine(3)
    pay(consumer, requested.order_id, scene.folder_of("consumer", "bodies"))
    scene.chain.mine(3)
    fetched = fetch(consumer, requested.order_id, tmp_path / "out", scene.folder_of("consumer", "bodies"))
    for path in data.rglob("*"):
        if path.is_file():
            assert (tmp_path / "out" / path.relative_to(data)).read_bytes() == path.read_bytes()
    assert (fetched.bad_replicas, fetched.failed_nodes) == ((), ())
    accept(consumer, requested.order_id)
    assert scene.chain.order(requested.order_id).state is OrderState.SETTLED
