"""The same targets under atheris, coverage-guided: every parser of the sealed file, of keys and of re-encryption."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.depth import depth

ROOT = Path(__file__).resolve().parents[2]


def run(code: list[str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *code, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, "DEPTH": "quick"},
    )


@pytest.mark.slow
@pytest.mark.needs_atheris
@pytest.mark.parametrize(("room", "targets"), [("sealed_file", 20), ("reencryption", 21)])
def test_every_target_lives_through_guided_inputs(room: str, targets: int, tmp_path: Path) -> None:
    count = depth("fuzz_guided_inputs")
    done = run(["-m", f"tests.fuzz.{room}"], "--each", str(count), str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr[-4000:]
    assert done.stdout.count(f" {count} inputs, status 0") == targets
    assert done.stderr.count(f"stat::number_of_executed_units: {count}") == targets


@pytest.mark.needs_atheris
def test_a_crash_is_seen(tmp_path: Path) -> None:
    """The net itself: a target that raises something of its own fails the run."""
    code = """
import sys
import atheris
from tests.fuzz import guided
def feed(name, data):
    if name == "bad" and len(data) > 2:
        raise IndexError("planted")
raise SystemExit(guided.main(sys.argv[1:], "planted-", ["good", "bad"], {"good": b"abc", "bad": b"abc"}, feed))
"""
    done = run(["-c", code], "--each", "100", str(tmp_path))
    assert done.returncode == 1
    assert "planted-good: 100 inputs, status 0" in done.stdout
    assert "planted-bad: 100 inputs, status 0" not in done.stdout
    assert "IndexError: planted" in done.stdout + done.stderr
