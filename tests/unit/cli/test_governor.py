"""The governor's commands on the in-memory chain: lists of evidence, the hand-over of the office, the list of Exchanges."""

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

from asset_bridge.chain.actor import Actor
from asset_bridge.chain.records import ZERO_ADDRESS
from asset_bridge.cli import exchanges_cmd, governing, governor_cmd
from asset_bridge.client import Consumer
from asset_bridge.errors import BridgeError, InputError, RefusedError
from asset_bridge.vault.home import Home
from asset_bridge_simulator import measurement_id
from tests.support.trade import MEASUREMENT, Scene, make_scene

Run = Callable[..., Any]
LISTED = measurement_id(MEASUREMENT)
OTHER = "0x" + "5d" * 32


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return make_scene(tmp_path)


@pytest.fixture
def run(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command as an account of the twin; with --json, so that nothing is asked."""
    desk = scene.desk("somebody")

    def of(command: click.Command, *words: object, account: Actor | None = None) -> Any:
        @contextmanager
        def opened(*_: object, **__: object) -> Iterator[Consumer]:
            peers: Any = None
            used = desk if account is None else replace(desk, account=account)  # type: ignore[arg-type]
            yield Consumer(Home.open(scene.folder / "somebody"), used, peers, ExitStack())

        for module in (governing, governor_cmd, exchanges_cmd):
            monkeypatch.setattr(module, "consumer", opened)
        done = CliRunner().invoke(command, [*map(str, words), "--json"], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    return of


def code_of(kind: type[BridgeError], call: Callable[[], object]) -> str:
    with pytest.raises(kind) as caught:
        call()
    return caught.value.code


def test_evidence_is_allowed_and_forbidden_by_the_governor_alone(scene: Scene, run: Run) -> None:
    chain, command = scene.chain, governor_cmd.governor
    shown = run(command)
    assert {one["governor"] for one in shown["governors"]} == {chain.governor.address}
    assert [one["measurement"] for one in shown["measurements"]] == ["0x" + LISTED.hex()]
    assert all(chain.node(tee.node_id).live for tee in scene.tees)
    for words in (["allow", "tdx"], ["allow", "tdx", OTHER], ["forbid", "simulated"]):
        assert code_of(RefusedError, lambda words=words: run(command, *words)) == "trade.not-governor"  # type: ignore[misc]

    def govern(*words: str) -> int:
        return len(run(command, *words, account=chain.governor)["sent"])

    assert (govern("allow", "tdx"), govern("allow", "tdx")) == (1, 0)
    assert (govern("allow", "tdx", OTHER), govern("allow", "tdx", OTHER[2:])) == (1, 0)
    for at in (chain.vendor_times()[1], chain.measurement_times()[1, bytes.fromhex(OTHER[2:])]):
        assert 0 < at <= chain.now_at
    assert (govern("forbid", "tdx", OTHER), govern("forbid", "tdx", OTHER)) == (1, 0)
    assert {one["measurement"]: one["active_at"] for one in run(command)["measurements"]}[OTHER] == 0
    assert (govern("forbid", "simulated", LISTED.hex()), govern("forbid", "simulated", LISTED.hex())) == (1, 0)
    assert not any(chain.node(tee.node_id).live for tee in scene.tees)  # at once
    assert (govern("allow", "simulated", LISTED.hex()), govern("forbid", "simulated")) == (1, 1)
    assert not any(chain.node(tee.node_id).live for tee in scene.tees)
    assert code_of(InputError, lambda: govern("allow", "sgx")) == "trade.vendor"
    for text in ("0x12", "zz" * 32):
        assert code_of(InputError, lambda text=text: govern("allow", "tdx", text)) == "cli.measurement"  # type: ignore[misc]


def test_the_office_goes_over_only_to_an_account_that_accepts(scene: Scene, run: Run) -> None:
    chain, command = scene.chain, governor_cmd.governor
    first, second = chain.governor, chain.account(scene.account("next governor"))
    assert code_of(RefusedError, lambda: run(command, "propose", second.address)) == "trade.not-governor"
    assert code_of(RefusedError, lambda: run(command, "accept", account=second)) == "trade.not-proposed"
    for nobody in (ZERO_ADDRESS, chain.exchange, chain.ledger):
        assert code_of(InputError, lambda n=nobody: run(command, "propose", n, account=first)) == "trade.successor"  # type: ignore[misc]
    for words in (["propose"], ["propose", second.address, "--withdraw"]):
        assert code_of(InputError, lambda words=words: run(command, *words, account=first)) == "cli.governor"  # type: ignore[misc]
    assert len(run(command, "propose", second.address, account=first)["sent"]) == 2
    assert run(command, "propose", second.address, account=first)["sent"] == []
    assert {one["proposed"] for one in run(command)["governors"]} == {second.address}
    assert len(run(command, "propose", "--withdraw", account=first)["sent"]) == 2
    assert code_of(RefusedError, lambda: run(command, "accept", account=second)) == "trade.not-proposed"
    run(command, "propose", second.address, account=first)
    assert len(run(command, "accept", account=second)["sent"]) == 2
    assert run(command, "accept", account=second)["sent"] == []
    assert {one["governor"] for one in run(command)["governors"]} == {second.address}
    assert code_of(RefusedError, lambda: run(command, "allow", "tdx", account=first)) == "trade.not-governor"
    closed = run(exchanges_cmd.exchanges, "close", chain.exchange, account=second)
    assert closed["exchange"]["closed"] is True
    assert run(exchanges_cmd.exchanges)["exchanges"][0]["closed"] is True


def test_what_cannot_be_undone_is_asked_first(scene: Scene, run: Run) -> None:
    run(governor_cmd.governor)  # the sessions of the commands stand on the twin from now on
    for command, words in (
        (exchanges_cmd.exchanges, ["close", scene.chain.exchange]),
        (exchanges_cmd.exchanges, ["remove", scene.chain.exchange]),
        (governor_cmd.governor, ["forbid", "tdx"]),
        (governor_cmd.governor, ["accept"]),
    ):
        with pytest.raises(RefusedError) as error:
            CliRunner().invoke(command, words, catch_exceptions=False)
        assert error.value.code == "cli.not-confirmed"
