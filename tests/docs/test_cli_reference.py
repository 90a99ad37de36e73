"""The page of commands is what the commands say, and every command's help teaches by an example."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
import pytest

from asset_bridge.cli import main as frame
from asset_bridge.cli.commands import COMMANDS

ROOT = Path(__file__).resolve().parents[2]


def test_the_page_is_what_the_commands_say() -> None:
    done = subprocess.run([sys.executable, "tools/cli_reference.py", "--check"], cwd=ROOT, check=False)
    assert done.returncode == 0, "docs/reference/cli.md is old: run python tools/cli_reference.py"


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_help_shows_examples(name: str) -> None:
    command = frame.main.get_command(click.Context(frame.main), name)
    assert command is not None
    lines = [line.strip() for line in (command.epilog or "").splitlines() if line.strip().startswith("asset-bridge")]
    assert lines, f"{name} --help shows no example"
    assert all(line.split()[1] == name for line in lines)
