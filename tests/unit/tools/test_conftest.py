"""tests/conftest.py: a skip is printed with its reason, and is a failure with CI=true, however it came about."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
FILES = {
    "test_passes.py": "def test_it():\n    assert True\n",
    "test_marker.py": "import pytest\n@pytest.mark.needs_vectors\ndef test_it():\n    assert True\n",
    "test_call.py": "import pytest\ndef test_it():\n    pytest.importorskip('no_such_module')\n",
    "test_module.py": "import pytest\npytest.importorskip('no_such_module')\ndef test_it():\n    assert True\n",
}


def run(folder: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """pytest on small files, with the project's conftest as a plugin."""
    room = folder / "checks" / "unit" / "room"
    room.mkdir(parents=True)
    for name, text in FILES.items():
        (room / name).write_text(text)
    (folder / "pytest.ini").write_text(
        "[pytest]\nmarkers =\n    needs_vectors: x\naddopts = -ra --import-mode=importlib\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "ASSET_BRIDGE_VECTORS": str(folder / "none"), **more}
    environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # titanoboa takes seconds to load
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "tests.conftest", "checks"]
    command += ["--continue-on-collection-errors"]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def test_a_skip_is_reported_outside_ci(tmp_path: Path) -> None:
    done = run(tmp_path, CI="")
    assert done.returncode == 0, done.stdout
    assert "1 passed, 3 skipped" in done.stdout
    assert "no published vectors in" in done.stdout


def test_a_skip_fails_in_ci_and_says_why(tmp_path: Path) -> None:
    done = run(tmp_path, CI="true")
    assert done.returncode == 1, done.stdout
    for name in ("test_marker.py", "test_call.py", "test_module.py"):
        assert f"{name}" in done.stdout.split("short test summary info")[1]
    assert done.stdout.count("skipped where CI=true allows no skip") >= 3
    lines = done.stdout.strip().splitlines()
    assert any(line.split()[:3] == ["unit/room", "0.00", "1"] for line in lines)
    assert "1 passed" in lines[-1]
    assert "skipped" not in lines[-1]
