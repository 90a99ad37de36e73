"""`--sign-only` and `submit`: each side's real session on the in-memory chain, a third one pays the fees."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import pytest
from click.testing import CliRunner

from asset_bridge.chain.records import OrderState
from asset_bridge.cli import approve_cmd, cancel_cmd, pay_cmd, request_cmd, revoke_cmd, submit_cmd
from asset_bridge.cli import session as session_module
from asset_bridge.client import Consumer, Provider
from asset_bridge.errors import BridgeError, InputError, RefusedError, TamperedError
from asset_bridge.trade.documents.template import EXAMPLE_APPLICATION
from asset_bridge.vault.home import Home
from tests.support.trade import PRICE_WEI
from tests.support.trade_steps import Trade, published

Run = Callable[..., str]


@pytest.fixture
def trade(tmp_path: Path) -> Trade:
    """A listed asset, nothing asked for."""
    return published(tmp_path)


@pytest.fixture
def run(trade: Trade, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A command of a side: "provider", "consumer", or "sponsor", a third account with coins."""

    def as_side(side: str) -> Any:
        desk = trade.scene.desk(side) if side not in ("provider", "consumer") else getattr(trade, side)

        @contextmanager
        def opened(*_: object, **__: object) -> Iterator[Provider | Consumer]:
            nothing: Any = None
            kind = Provider if side == "provider" else Consumer
            yield kind(Home.open(trade.folder / side), desk, nothing, ExitStack())

        return SimpleNamespace(open=opened)

    def of(side: str, command: click.Command, *words: object) -> str:
        for name in ("Provider", "Consumer"):
            monkeypatch.setattr(session_module, name, as_side(side))
        text = [*map(str, words), "--home", str(trade.folder / "home")]
        done = CliRunner().invoke(command, text, catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.stdout

    return of


def refused(run: Run, code: str, kind: type[BridgeError], *words: object) -> BridgeError:
    with pytest.raises(kind) as error:
        run(*words)
    assert error.value.code == code
    return error.value


def test_a_request_is_signed_here_and_sent_by_a_sponsor(trade: Trade, run: Run, tmp_path: Path) -> None:
    chain, file = trade.scene.chain, tmp_path / "request.json"
    application = tmp_path / "application.json"
    application.write_text(json.dumps(EXAMPLE_APPLICATION))
    asset = "0x" + trade.published.asset_id.hex()
    before = chain.coins_wei(trade.consumer.address)
    words = (asset, "--application", application, "--yes", "--sign-only", file, "--deadline", "2h")
    shown = run("consumer", request_cmd.request, *words)
    assert "Nothing was sent." in shown
    assert f"next: asset-bridge submit {file}" in shown
    assert chain.orders() == []
    document = json.loads(file.read_text())
    assert document["deadline"] == chain.block().timestamp + 7_200
    assert document["says"] in shown
    refused(run, "cli.exists", InputError, "consumer", request_cmd.request, *words)

    checked = run("sponsor", submit_cmd.submit, "--check", file)
    assert f"says       {document['says']}" in checked
    assert chain.orders() == []
    sent = json.loads(run("sponsor", submit_cmd.submit, file, "--json"))["documents"][0]
    (order,) = chain.orders()
    assert (order.consumer, sent["already"], sent["value_wei"]) == (trade.consumer.address, False, 0)
    assert f"as order 0x{order.order_id.hex()}" in document["says"]
    again = run("sponsor", submit_cmd.submit, file, "--yes")
    assert f"already    done in block {chain.order(order.order_id).requested_in.number}" in again
    assert len(chain.orders()) == 1
    assert chain.coins_wei(trade.consumer.address) == before


def test_an_approval_and_a_payment_in_coins(
    trade: Trade, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The shares are sealed and accepted as ever; the price comes from the sponsor, who has to say so."""
    chain = trade.scene.chain
    trade.request()
    order = "0x" + trade.order_id.hex()
    approve, pay = tmp_path / "approve.json", tmp_path / "pay.json"
    monkeypatch.setattr("asset_bridge.client.provider.examiner_of", lambda *_: trade.scene.examiner())
    chain.mine(3)
    run("provider", approve_cmd.approve, order, "--yes", "--sign-only", approve)
    assert chain.order(trade.order_id).state is OrderState.REQUESTED
    run("sponsor", submit_cmd.submit, approve, "--yes")
    assert chain.order(trade.order_id).state is OrderState.APPROVED
    chain.mine(3)
    run("consumer", pay_cmd.pay, order, "--yes", "--sign-only", pay)
    error = refused(run, "cli.submit-value", InputError, "sponsor", submit_cmd.submit, pay, "--yes")
    assert "--allow-value" in error.hint
    assert "which come back to account" in run("sponsor", submit_cmd.submit, pay, "--check")
    run("sponsor", submit_cmd.submit, pay, "--yes", "--allow-value")
    assert chain.order(trade.order_id).escrow_wei == PRICE_WEI


def test_several_files_stop_at_the_first_that_is_refused_and_go_on_when_sent_again(
    trade: Trade, run: Run, tmp_path: Path
) -> None:
    chain, files = trade.scene.chain, []
    for number in range(2):
        trade.request()
        files.append(tmp_path / f"{number}.json")
        run("consumer", cancel_cmd.cancel, "0x" + trade.order_id.hex(), "--sign-only", files[-1])
    whole = files[1].read_text()
    files[1].write_text(whole.replace('"deadline": ', '"deadline": 1'))
    error = refused(run, "trade.signed-document", TamperedError, "sponsor", submit_cmd.submit, *files, "--yes")
    assert error.message.startswith(str(files[1]))
    files[1].write_text(whole)
    both = json.loads(run("sponsor", submit_cmd.submit, *files, "--json"))["documents"]
    assert [one["already"] for one in both] == [True, False]
    assert {order.state for order in chain.orders()} == {OrderState.CANCELLED}


def test_it_asks_and_says_what_it_cannot(trade: Trade, run: Run, tmp_path: Path) -> None:
    trade.request()
    order, file = "0x" + trade.order_id.hex(), tmp_path / "cancel.json"
    run("consumer", cancel_cmd.cancel, order, "--sign-only", file)
    refused(run, "cli.not-confirmed", RefusedError, "sponsor", submit_cmd.submit, file)
    refused(run, "cli.submit", InputError, "sponsor", submit_cmd.submit, tmp_path / "missing.json", "--yes")
    other = tmp_path / "other.json"
    refused(run, "cli.sign-only", InputError, "consumer", cancel_cmd.cancel, order, "--deadline", "1h")
    words = (order, "--sign-only", other)
    refused(run, "client.signed-deadline", InputError, "consumer", cancel_cmd.cancel, *words, "--deadline", "31d")
    asset = "0x" + trade.published.asset_id.hex()
    words = (asset, "--shred", "--yes", "--sign-only", other)
    refused(run, "cli.sign-only", InputError, "provider", revoke_cmd.retire, *words)
    assert not other.exists()


def test_the_same_in_a_script(trade: Trade) -> None:
    nothing: Any = None
    trade.request()
    with (
        Consumer(Home.open(trade.folder / "consumer"), trade.consumer, nothing, ExitStack()) as consumer,
        Provider(Home.open(trade.folder / "provider"), trade.provider, nothing, ExitStack()) as anyone,
    ):
        signed = consumer.sign_only(lambda session: session.cancel(trade.order_id), seconds=3_600)
        assert signed is not None
        assert consumer.chain.order(trade.order_id).state is OrderState.REQUESTED
        assert anyone.submit(anyone.examine(signed.document)) is not None
        assert anyone.submit(anyone.examine(signed.document)) is None  # done already
        assert consumer.chain.order(trade.order_id).state is OrderState.CANCELLED
        assert consumer.sign_only(lambda session: session.status(trade.order_id)) is None
        with pytest.raises(InputError):  # it acts again after signing: the contract's story refuses by state
            consumer.cancel(trade.order_id)
