"""The commands with a price in a token, each side's real session on the in-memory chain: amounts in the token's units everywhere."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from asset_bridge.chain.keys import checksum_address
from asset_bridge.chain.records import OrderState
from asset_bridge.cli import (
    account_cmd,
    assets_cmd,
    catalog_cmd,
    governing,
    inbox_cmd,
    pay_cmd,
    publish_cmd,
    settle_cmd,
    tokens_cmd,
)
from asset_bridge.cli.session import wei_of
from asset_bridge.client import Consumer, Provider
from asset_bridge.errors import InputError, RefusedError
from asset_bridge.keys.keccak import keccak
from asset_bridge.trade.accept import accept, record_delivery
from asset_bridge.trade.desk import Desk
from asset_bridge.trade.publish import Published
from asset_bridge.vault.home import Home
from tests.support.trade import make_scene
from tests.support.trade_steps import Trade

TOKEN = checksum_address(keccak(b"a token of the market")[12:])
Run = Callable[..., str]
SIDES = (
    account_cmd,
    assets_cmd,
    catalog_cmd,
    governing,
    inbox_cmd,
    pay_cmd,
    publish_cmd,
    settle_cmd,
    tokens_cmd,
)


@pytest.fixture
def trade(tmp_path: Path) -> Trade:
    """Both sides, nothing published; a token of 2 decimals with a permit that may be a price."""
    scene = make_scene(tmp_path)
    scene.chain.add_token(TOKEN, "EURX", 2, permits=True)
    scene.chain.governor.govern("AssetLedger", "list_token", TOKEN)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "patients.ndjson").write_bytes(b'{"resourceType":"Patient"}\n' * 300)
    nothing: Any = None
    published: Published = nothing
    trade = Trade(scene, tmp_path, tmp_path / "data", scene.desk("provider"), scene.desk("consumer"), published)
    scene.chain.mine(3)
    return trade


@pytest.fixture
def run(trade: Trade, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command of one side; its session stands on the twin instead of an RPC endpoint."""

    def as_side(kind: type[Provider | Consumer], desk: Desk, name: str) -> Callable[..., object]:
        @contextmanager
        def opened(*_: object, **__: object) -> Iterator[Provider | Consumer]:
            peers: Any = None
            yield kind(Home.open(trade.folder / name), desk, peers, ExitStack())

        return opened

    def of(command: click.Command, *words: object, side: str = "") -> str:
        for module in SIDES:
            for name, kind in (("provider", Provider), ("consumer", Consumer)):
                if hasattr(module, name):
                    who = side or name
                    desk = trade.provider if who == "provider" else trade.consumer
                    monkeypatch.setattr(module, name, as_side(kind, desk, who))
        text = [str(word) for word in words]
        done = CliRunner().invoke(command, [*text, "--home", str(trade.folder / "home")], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.stdout

    return of


def test_a_trade_in_a_token_by_commands(trade: Trade, run: Run) -> None:
    chain = trade.scene.chain
    shown = run(
        publish_cmd.publish, trade.data, "--title", "Cohort", "--price", "12.5", "--token", TOKEN.lower(), "--json",
        "--period", "approve=1h", "--period", "pay=1h", "--period", "deliver=1h", "--period", "window=10m",
    )  # fmt: skip
    trade.published = Published(bytes.fromhex(json.loads(shown)["asset_id"][2:]), b"", None, 0, 0, ())  # type: ignore[arg-type]
    asset_id = trade.published.asset_id
    assert (chain.asset(asset_id).offer.token, chain.asset(asset_id).offer.price_wei) == (TOKEN, 1250)
    chain.mine(3)
    run(assets_cmd.assets, "set", "0x" + asset_id.hex(), "--price", "20.05")
    assert (chain.asset(asset_id).offer.token, chain.asset(asset_id).offer.price_wei) == (TOKEN, 2005)
    assert "20.05 EURX" in run(assets_cmd.assets)
    page = run(catalog_cmd.catalog, "0x" + asset_id.hex())
    assert "price      20.05 EURX" in page
    assert TOKEN in page
    chain.mine(3)
    trade.request()
    assert "price      20.05 EURX" in run(inbox_cmd.inbox)
    trade.approve()
    order = "0x" + trade.order_id.hex()

    chain.give_tokens(TOKEN, trade.consumer.address, 2004)
    with pytest.raises(InputError) as error:
        run(pay_cmd.pay, order, "--check")
    assert error.value.code == "chain.token-funds"
    assert "20.05 EURX" in error.value.message
    assert trade.consumer.address in error.value.message
    assert "0.01 EURX" in error.value.hint
    chain.give_tokens(TOKEN, trade.consumer.address, 3000)
    assert f"price      20.05 EURX (token {TOKEN})" in run(pay_cmd.pay, order, "--check")
    paid = run(pay_cmd.pay, order, "--yes")
    assert "paid, 20.05 EURX in escrow" in paid
    assert chain.token_units(trade.consumer.address, TOKEN) == 995
    chain.mine(3)
    trade.fetch()
    record_delivery(trade.consumer, trade.order_id)
    accept(trade.consumer, trade.order_id)

    owed = chain.balance_wei(trade.provider.address, TOKEN)
    balance = run(account_cmd.balance, side="provider")
    assert f"to claim   {owed / 100:g} EURX" in balance
    assert f"next: asset-bridge claim --token {TOKEN}" in balance
    data = json.loads(run(account_cmd.balance, "--json", side="provider"))
    assert data["tokens"] == [{"token": TOKEN, "symbol": "EURX", "decimals": 2, "held": 0, "claimable": owed}]
    with pytest.raises(InputError) as error:
        run(settle_cmd.claim)
    assert (error.value.code, error.value.hint) == ("trade.nothing-to-claim", f"asset-bridge claim --token {TOKEN}")
    assert f"claimed    {owed / 100:g} EURX to {trade.provider.address}" in run(settle_cmd.claim, order)
    assert chain.token_units(trade.provider.address, TOKEN) == owed


def test_a_refund_shows_and_moves_tokens_and_an_old_token_is_allowed_first(trade: Trade, run: Run) -> None:
    chain = trade.scene.chain
    chain.add_token(TOKEN, "EURX", 2, permits=False)
    shown = run(publish_cmd.publish, trade.data, "--title", "Cohort", "--price", "3", "--token", TOKEN, "--json")
    trade.published = Published(bytes.fromhex(json.loads(shown)["asset_id"][2:]), b"", None, 0, 0, ())  # type: ignore[arg-type]
    chain.mine(3)
    trade.request().approve()
    chain.give_tokens(TOKEN, trade.consumer.address, 300)
    order = "0x" + trade.order_id.hex()
    paid = json.loads(run(pay_cmd.pay, order, "--json"))
    assert [one["verb"] for one in (*paid["allowed"], paid["sent"])] == ["allow", "pay"]
    assert chain.token_allowance(trade.consumer.address, TOKEN) == 0
    chain.advance_to(chain.order(trade.order_id).deliver_by + chain.grace_seconds())
    assert "refunded, 3 EURX" in run(settle_cmd.refund, order)
    assert chain.order(trade.order_id).state is OrderState.REFUNDED
    assert chain.token_units(trade.consumer.address, TOKEN) == 300


def test_a_token_that_is_not_allowed_or_an_amount_too_fine_is_refused_before_a_key_is_made(
    trade: Trade, run: Run
) -> None:
    stranger = checksum_address(keccak(b"another token")[12:])
    before = trade.scene.chain.block()
    for words, code in (
        (["--price", "1", "--token", stranger], "chain.token-not-listed"),
        (["--price", "1", "--token", "0x12"], "chain.address"),
        (["--price", "0.125", "--token", TOKEN], "cli.amount"),
    ):
        with pytest.raises(InputError) as error:
            run(publish_cmd.publish, trade.data, "--title", "Cohort", *words, "--yes")
        assert error.value.code == code
    assert trade.scene.chain.block() == before
    assert trade.scene.chain.assets() == []


def test_a_token_whose_decimals_cannot_be_read_is_shown_in_its_smallest_unit(trade: Trade, run: Run) -> None:
    silent = checksum_address(keccak(b"a token without decimals")[12:])
    trade.scene.chain.governor.govern("AssetLedger", "list_token", silent)
    trade.scene.chain.give_tokens(silent, trade.provider.address, 77)
    assert f"77 smallest units of token {silent}" in run(account_cmd.balance, side="provider")
    with pytest.raises(InputError) as error:
        run(publish_cmd.publish, trade.data, "--title", "Cohort", "--price", "1", "--token", silent, "--yes")
    assert error.value.code == "chain.token"


def test_amounts_follow_the_tokens_decimals() -> None:
    assert (wei_of("2.5", 2), wei_of("7", 0), wei_of("0.25")) == (250, 7, 25 * 10**16)
    for text, decimals in (("2.555", 2), ("7.5", 0), ("7.", 0)):
        with pytest.raises(InputError):
            wei_of(text, decimals)


def test_the_governor_changes_the_list_and_nobody_else(trade: Trade, run: Run) -> None:
    chain, other = trade.scene.chain, checksum_address(keccak(b"another token")[12:])
    chain.add_token(other, "USDX", 6, permits=False)
    chain.mine(3)
    assert f"governor   {chain.governor.address}" in run(tokens_cmd.tokens)
    for verb, token in (("allow", other), ("forbid", TOKEN)):
        with pytest.raises(RefusedError) as refusal:
            run(tokens_cmd.tokens, verb, token)
        assert refusal.value.code == "trade.not-governor"
    trade.consumer = replace(trade.consumer, account=chain.governor)
    run(tokens_cmd.tokens, "allow", other.lower())
    assert chain.tokens_active() == [TOKEN, other]
    again = json.loads(run(tokens_cmd.tokens, "allow", other, "--json"))
    assert (again["token"], again["sent"]) == (other, [])
    for verb, token in (("allow", "0x" + "00" * 20), ("forbid", "0x" + "11" * 20)):
        with pytest.raises(InputError) as wrong:
            run(tokens_cmd.tokens, verb, token)
        assert wrong.value.code == "trade.token-listed"
    with pytest.raises(InputError) as missing:
        run(tokens_cmd.tokens, "allow", "0x" + "22" * 20)
    assert missing.value.code == "chain.token"
    assert len(json.loads(run(tokens_cmd.tokens, "forbid", TOKEN, "--json"))["sent"]) == 1
    assert chain.tokens_active() == [other]
    assert "nothing to do: it is so already" in run(tokens_cmd.tokens, "forbid", TOKEN)
    shown = run(tokens_cmd.tokens)
    assert f"token      {TOKEN}  removed" in shown
    assert f"token      {other}  yes" in shown
