"""What a person reads: pages in the template's order, commands that can be pasted, what is waited for, how to resume."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from asset_bridge.chain.records import ZERO_ADDRESS, AccountChange, OrderState, ProviderAccount
from asset_bridge.cli.account_cmd import account_lines
from asset_bridge.cli.app import App, default_home
from asset_bridge.cli.assets_cmd import assets
from asset_bridge.cli.inbox_cmd import page
from asset_bridge.cli.main import main
from asset_bridge.cli.session import following, resumable
from asset_bridge.cli.status_cmd import waiting_for
from asset_bridge.client.peers import LightNodes
from asset_bridge.errors import BridgeError, InputError, StoppedError, UnavailableError
from asset_bridge.trade.documents.template import DEFAULT_TEMPLATE, EXAMPLE_APPLICATION

ADDRESSES = [f"0x{number:040x}" for number in range(1, 5)]


def app(home: Path) -> App:
    return App(home, False, None, None)


def test_a_command_can_be_pasted() -> None:
    away = app(Path("/tmp/a home"))
    assert away.command("status 0x12") == "asset-bridge status 0x12 --home '/tmp/a home'"
    assert away.command("request 0x12 --example > a.json").endswith("--example --home '/tmp/a home' > a.json")
    assert app(default_home()).command("status") == "asset-bridge status"


def test_an_application_is_shown_in_the_templates_order() -> None:
    shuffled = dict(reversed(EXAMPLE_APPLICATION.items())) | {"extra_note": ["a", "b"], "attachments": [{"name": "x"}]}
    terms = SimpleNamespace(asset_id=bytes(32), offer=SimpleNamespace(price_wei=1))
    order = SimpleNamespace(order_id=b"\x01" * 32, terms=terms, consumer=ADDRESSES[0], approve_by=2_000_000_000)
    item: Any = SimpleNamespace(
        order=order, asset_title="T", application=shuffled, template=DEFAULT_TEMPLATE, problem=""
    )
    lines = page(item)
    titles = [shape["title"] for name, shape in DEFAULT_TEMPLATE["properties"].items() if name != "attachments"]
    places = [next(number for number, line in enumerate(lines) if line.startswith(title)) for title in titles]
    assert places == sorted(places)
    assert lines[-1].split() == ["Extra", "note", "a,", "b"]
    assert not any("Documents attached" in line for line in lines)
    item.problem, item.application = "it was changed", None
    assert page(item)[-1] == "PROBLEM    it was changed"


@pytest.mark.parametrize(
    ("raised", "code"), [(KeyboardInterrupt(), "cli.stopped"), (UnavailableError("a.b", "down", hint="wait"), "a.b")]
)
def test_what_stops_the_work_names_the_command_that_resumes(raised: BaseException, code: str) -> None:
    with (
        pytest.raises((StoppedError, UnavailableError)) as caught,
        resumable(app(Path("/h")), lambda: "fetch 0x1 -o d"),
    ):
        raise raised
    assert caught.value.code == code
    assert caught.value.hint.endswith("resume with: asset-bridge fetch 0x1 -o d --home /h")
    with pytest.raises(InputError) as other, resumable(app(Path("/h")), lambda: "fetch"):
        raise InputError("a.c", "no")
    assert "resume" not in other.value.hint


def test_who_can_only_wait_is_told_how(tmp_path: Path) -> None:
    session: Any = SimpleNamespace(home=SimpleNamespace(policy_path=tmp_path / "policy.toml"))
    now: Any = SimpleNamespace(next_command="", state=OrderState.APPROVED, order_id=b"\xab" * 32)
    assert following(session, now) == "status 0xabababababab --wait"
    now.next_command = "reseal 0xabababababab"
    assert following(session, now) == "reseal 0xabababababab --policy FILE"
    (tmp_path / "policy.toml").touch()
    assert following(session, now) == "reseal 0xabababababab"


def test_waiting_says_for_whom_and_until_when() -> None:
    now: Any = SimpleNamespace(state=OrderState.REQUESTED, who="provider", until_at=1_800_000_000)
    assert waiting_for(now) == "waiting for the provider to answer the request until 2027-01-15 08:00:00 UTC"


def test_an_account_shows_the_change_that_waits() -> None:
    one, two, three, four = ADDRESSES
    found = ProviderAccount(one, one, two, ZERO_ADDRESS, None)
    assert account_lines(found)[-2:] == ["recovery   nobody", "pending    no change waits"]
    found = ProviderAccount(one, one, two, ZERO_ADDRESS, AccountChange(one, three, four, 4_000_000_000))
    lines = account_lines(found)
    assert f"pending    payee becomes {three}" in lines
    assert f"pending    recovery becomes {four}" in lines
    assert not any("owner becomes" in line for line in lines)
    assert lines[-1].startswith("applies    from 2096-10-02")


def test_a_group_alone_runs_its_default_with_options() -> None:
    shown = CliRunner().invoke(assets, ["--help"])
    assert "Commands:" in shown.output
    found = CliRunner().invoke(main, ["assets", "--home", "/nowhere/at/all", "--json"])
    assert isinstance(found.exception, BridgeError)
    assert found.exception.code.startswith("vault.")


class Stream:
    """A light node whose event stream gives what the test says, then ends or falls silent."""

    def __init__(self, events: list[dict[str, object]], *, down: bool = False) -> None:
        self.events, self.down, self.asked = events, down, 0

    def follow(self, after_block: int, *, seconds: float) -> Any:
        self.asked += 1
        yield from self.events
        if self.down:
            raise UnavailableError("transport.down", "silent")


def test_a_wanted_event_ends_the_wait() -> None:
    quiet, telling = Stream([{"args": {}}], down=True), Stream([{"n": 1}, {"n": 2}])
    lights: Any = LightNodes([quiet, telling])  # type: ignore[list-item]
    assert lights.follow_until(0, lambda event: event.get("n") == 2, 5.0)
    assert (quiet.asked, telling.asked) == (1, 1)
    assert not lights.follow_until(0, lambda event: event.get("n") == 3, 5.0)
    alone: Any = LightNodes([Stream([], down=True)])  # type: ignore[list-item]
    assert not alone.follow_until(0, lambda event: True, 5.0)
