"""tools/anvil.py: the rule by which the development chain's program is found."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.anvil import AnvilMissingError, cache_folder, cached_anvil, find_anvil


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("ASSET_BRIDGE_ANVIL", raising=False)
    monkeypatch.setenv("ASSET_BRIDGE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))


def program(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def test_nothing_anywhere_finds_nothing() -> None:
    assert find_anvil() is None


def test_the_cache_goes_before_path_and_the_environment_before_both(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    on_path = program(tmp_path / "bin" / "anvil")
    assert find_anvil() == on_path
    cached = program(cached_anvil())
    assert find_anvil() == cached
    named = program(tmp_path / "own" / "anvil")
    monkeypatch.setenv("ASSET_BRIDGE_ANVIL", str(named))
    assert find_anvil() == named


def test_a_wrong_name_in_the_environment_is_an_error_and_not_passed_over(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program(cached_anvil())
    monkeypatch.setenv("ASSET_BRIDGE_ANVIL", str(tmp_path / "nothing"))
    with pytest.raises(AnvilMissingError, match="ASSET_BRIDGE_ANVIL"):
        find_anvil()


def test_the_cache_follows_xdg_only_where_it_is_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("ASSET_BRIDGE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "asset-bridge"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache_folder() == Path.home() / ".cache" / "asset-bridge"
