"""`regenerate` and `consent`: the two sides' real sessions on the in-memory chain, a file between them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from asset_bridge.chain.records import OrderState
from asset_bridge.cli import regenerate_cmd, revoke_cmd, submit_cmd
from asset_bridge.errors import InputError, RefusedError, TamperedError
from tests.support.trade_steps import Trade
from tests.unit.cli.test_submit import Run, refused, run, trade

__all__ = ["run", "trade"]


@pytest.fixture
def order(trade: Trade, monkeypatch: pytest.MonkeyPatch) -> str:
    """An approved order; the provider's home trusts the scene's nodes."""
    monkeypatch.setattr("asset_bridge.client.provider.examiner_of", lambda *_: trade.scene.examiner())
    trade.request().approve()
    return "0x" + trade.order_id.hex()


def generation(trade: Trade) -> int:
    approval = trade.scene.chain.order(trade.order_id).approval
    assert approval is not None
    return approval.generation


def test_before_payment_it_is_one_step(trade: Trade, run: Run, order: str) -> None:
    shown = run("provider", regenerate_cmd.regenerate, order, "--shares", "2", "--yes")
    assert "shares of generation 2" in shown
    assert shown.count("share to   operator") == 2
    assert "needed     2 of 2 shares" in shown
    assert (generation(trade), trade.scene.chain.order(trade.order_id).state) == (2, OrderState.APPROVED)


def test_after_payment_a_file_goes_to_the_consumer_and_back(trade: Trade, run: Run, order: str, tmp_path: Path) -> None:
    trade.pay()
    error = refused(run, "trade.consent", InputError, "provider", regenerate_cmd.regenerate, order, "--yes")
    assert "--propose FILE" in error.hint
    file, answer = tmp_path / "shares.json", tmp_path / "shares-agreed.json"
    made = run("provider", regenerate_cmd.regenerate, order, "--propose", file)
    assert "asset-bridge consent FILE" in made
    assert "nothing was sent" in made
    assert f"next: asset-bridge regenerate {order[:14]} --agreed FILE" in made
    refused(run, "cli.exists", InputError, "provider", regenerate_cmd.regenerate, order, "--propose", file)
    refused(
        run, "trade.no-consent", InputError, "provider", regenerate_cmd.regenerate, order, "--agreed", file, "--yes"
    )
    said = run("consumer", regenerate_cmd.consent, file, "--yes")
    assert str(answer) in said
    assert "every set of the new shares opens this asset" in said
    refused(run, "cli.exists", InputError, "consumer", regenerate_cmd.consent, file, "--yes")
    assert generation(trade) == 1
    shown = run("provider", regenerate_cmd.regenerate, order, "--agreed", answer, "--yes")
    assert "shares of generation 2" in shown
    assert "accepted   3 of 3 nodes" in shown
    trade.scene.chain.mine(3)
    trade.fetch()
    trade.assert_same()


def test_what_both_agreed_on_is_sent_by_a_sponsor(trade: Trade, run: Run, order: str, tmp_path: Path) -> None:
    trade.pay()
    file, answer, signed = (tmp_path / name for name in ("a.json", "b.json", "signed.json"))
    run("provider", regenerate_cmd.regenerate, order, "--propose", file)
    run("consumer", regenerate_cmd.consent, file, "-o", answer, "--yes")
    run("provider", regenerate_cmd.regenerate, order, "--agreed", answer, "--yes", "--sign-only", signed)
    assert generation(trade) == 1
    assert "2 of 3 new shares must act together" in json.loads(signed.read_text())["says"]
    run("sponsor", submit_cmd.submit, signed, "--yes")
    assert generation(trade) == 2


def test_options_that_do_not_go_together_and_files_that_are_none(
    trade: Trade, run: Run, order: str, tmp_path: Path
) -> None:
    file = tmp_path / "x.json"
    command = regenerate_cmd.regenerate
    for words in (
        ("--propose", file, "--agreed", file),
        ("--agreed", file, "--shares", "3"),
        ("--agreed", file),
    ):
        refused(run, "cli.regenerate", InputError, "provider", command, order, *words, "--yes")
    refused(run, "cli.regenerate", InputError, "consumer", regenerate_cmd.consent, file, "--yes")
    file.write_text("{}")
    refused(run, "trade.document", TamperedError, "consumer", regenerate_cmd.consent, file, "--yes")
    assert not (tmp_path / "x-agreed.json").exists()
    trade.pay()
    proposal = tmp_path / "proposal.json"
    run("provider", command, order, "--propose", proposal)
    refused(run, "cli.not-confirmed", RefusedError, "consumer", regenerate_cmd.consent, proposal)
    trade.request().approve()
    other = "0x" + trade.order_id.hex()
    refused(run, "cli.regenerate", InputError, "provider", command, other, "--agreed", proposal, "--yes")
    refused(run, "cli.not-confirmed", RefusedError, "provider", command, other)


def test_a_reseal_that_fails_names_what_helps_where_the_node_is_gone(trade: Trade, run: Run, order: str) -> None:
    trade.scene.start_tee(trade.scene.tees[0])
    trade.scene.tees[0].core = None
    shown = run("provider", revoke_cmd.reseal, order)
    assert "failed     operator 0" in shown
    assert "new shares without it are made by `regenerate`" in shown
