"""tools/setup.py: it knows when there is nothing to do, and says what is missing."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tools import setup


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small checkout with a finished .venv."""
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    for name in ("requirements.lock", "pyproject.toml"):
        (tmp_path / name).write_text(name)
    monkeypatch.setattr(setup, "ROOT", tmp_path)
    monkeypatch.setattr(setup, "LOCK", tmp_path / "requirements.lock")
    monkeypatch.setattr(setup, "PROJECTS", (tmp_path,))
    monkeypatch.setattr(setup, "PYTHON", python)
    monkeypatch.setattr(setup, "STAMP", tmp_path / ".venv" / "stamp.json")
    setup.STAMP.write_text(json.dumps(setup.stamp()))
    return tmp_path


def test_nothing_is_done_twice(checkout: Path) -> None:
    assert setup.is_current()


@pytest.mark.parametrize("name", ["requirements.lock", "pyproject.toml"])
def test_a_changed_file_makes_it_run_again(checkout: Path, name: str) -> None:
    (checkout / name).write_text("changed")
    assert not setup.is_current()


def test_an_interrupted_run_is_not_taken_for_a_finished_one(checkout: Path) -> None:
    setup.STAMP.unlink()
    assert not setup.is_current()
    setup.STAMP.write_text("{")
    assert not setup.is_current()


def test_without_a_supported_python_it_says_which_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(setup, "SUPPORTED", ((2, 7),))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(setup.SetUpError, match=r"python3\.11"):
        setup.supported_python()


def test_pythons_without_venv_get_the_name_of_the_package(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, checkout: Path
) -> None:
    stunted = tmp_path / "python3"
    stunted.write_text(
        f'#!/bin/sh\n[ "$1" = "-m" ] && {{ echo "no ensurepip"; exit 1; }}\nexec {sys.executable} "$@"\n'
    )
    stunted.chmod(0o755)
    monkeypatch.setattr(setup, "VENV", tmp_path / "venv")
    with pytest.raises(setup.SetUpError, match=r"apt install python3\.\d+-venv"):
        setup.make_venv(str(stunted))
    assert not (tmp_path / "venv").exists()


def test_the_lock_holds_hashes_and_no_addresses() -> None:
    root = Path(__file__).resolve().parents[3]
    for name in ("requirements.lock", "tools/node.lock"):
        text = (root / name).read_text()
        assert not any(word in "\n".join(text.splitlines()[1:]) for word in ("://", "--index", "--find", "@"))
        entries = [line for line in text.splitlines() if line and line[0] not in " #"]
        assert len(entries) >= 1
        assert all(line.endswith("\\") for line in entries)
        assert text.count("--hash=sha256:") >= len(entries)
