"""The frame of the command line: help that needs nothing, errors in one place, exit statuses by class."""

from __future__ import annotations

import json
from pathlib import Path

import click
import pytest

from asset_bridge.cli import main as frame
from asset_bridge.cli.commands import COMMANDS
from asset_bridge.errors import BY_HTTP_STATUS, BridgeError, TamperedError


def run(*words: str) -> int:
    with pytest.raises(SystemExit) as stop:
        frame.run(list(words))
    code = stop.value.code
    return code if isinstance(code, int) else 0


def test_every_command_has_help_with_a_first_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    context = click.Context(frame.main)
    for name, entry in COMMANDS.items():
        command = frame.main.get_command(context, name)
        assert command is not None
        assert (command.help or "").strip(), name
        assert entry.summary == command.get_short_help_str(200)
    assert set(COMMANDS) == {name for _, names in frame.GROUPS for name in names}


def test_every_leaf_command_takes_json_and_home() -> None:
    def leaves(command: click.Command, path: str) -> list[tuple[str, click.Command]]:
        if isinstance(command, click.Group):
            context = click.Context(command)
            subs = [(f"{path} {name}", command.get_command(context, name)) for name in command.list_commands(context)]
            return [leaf for sub_path, sub in subs if sub for leaf in leaves(sub, sub_path)]
        return [(path, command)]

    for path, command in leaves(frame.main, "asset-bridge"):
        if path == "asset-bridge demo":
            continue  # it makes homes of its own

        options = {word for parameter in command.params for word in parameter.opts}
        assert {"--json", "--home", "--passphrase-file", "--passphrase-fd"} <= options, path


@pytest.mark.parametrize("kind", list(BY_HTTP_STATUS.values()))
def test_an_error_sets_its_exit_status_and_says_who_can_act(
    kind: type[BridgeError], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(**_: object) -> None:
        raise kind("room.reason", "it broke", hint="mend it", actor="provider")

    monkeypatch.setattr(frame.main, "main", fail)
    assert run("status") == kind.exit_status
    shown = capsys.readouterr().err
    assert "it broke [room.reason]" in shown
    assert "who can act: provider" in shown
    assert "hint: mend it" in shown


def test_with_json_an_error_is_one_object(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def fail(**_: object) -> None:
        raise TamperedError("room.reason", "it broke", actor="light node")

    monkeypatch.setattr(frame.main, "main", fail)
    assert run("status", "--json") == 4
    shown = json.loads(capsys.readouterr().err)
    assert shown == {"error": {"code": "room.reason", "message": "it broke", "hint": "", "actor": "light node"}}


def test_a_bug_shows_an_id_and_keeps_its_traceback_private(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def fail(**_: object) -> None:
        raise ZeroDivisionError("the secret of the vault")

    monkeypatch.setattr(frame.main, "main", fail)
    monkeypatch.setenv("ASSET_BRIDGE_HOME", str(tmp_path / "home"))
    assert run("status") == 70
    shown = capsys.readouterr().err
    assert "secret" not in shown
    log = tmp_path / "home" / "log" / "defects.log"
    assert "ZeroDivisionError" in log.read_text()
    assert log.stat().st_mode & 0o077 == 0


def test_ctrl_c_exits_with_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(frame.main, "main", fail)
    assert run("status") == 130


def test_without_a_terminal_the_passphrase_must_be_given(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from asset_bridge.cli.app import App
    from asset_bridge.errors import InputError

    with pytest.raises(InputError, match="no terminal"):
        App(tmp_path, False, None, None).passphrase()
    (tmp_path / "file").write_text("correct horse battery\n")
    assert App(tmp_path, False, tmp_path / "file", None).passphrase() == "correct horse battery"
    (tmp_path / "file").write_text("\n")
    with pytest.raises(InputError):
        App(tmp_path, False, tmp_path / "file", None).passphrase()
