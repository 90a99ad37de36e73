"""The rooms that must have all of it have full branch coverage, from their own tests alone."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tools import branch_coverage

pytestmark = pytest.mark.slow


def test_no_line_and_no_branch_of_the_four_rooms_is_left_out() -> None:
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COV_"))}
    done = subprocess.run(
        [sys.executable, branch_coverage.__file__], cwd=branch_coverage.ROOT, env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    assert "100.00%" in done.stdout.splitlines()[-3], done.stdout[-1000:]


def test_an_unknown_room_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert branch_coverage.main(["ipld", "no-such-room"]) == 2
    assert "no room no-such-room; there are sealing, " in capsys.readouterr().err
