"""tools/frozen.py: a golden file stays as it is until its room's VERSION moves."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.frozen import main


@pytest.fixture
def vectors(tmp_path: Path) -> Path:
    room = tmp_path / "sealing"
    room.mkdir()
    (room / "VERSION").write_text("1\n")
    (room / "header.json").write_text("{}")
    assert main(["--accept"], tmp_path) == 0
    return tmp_path


def test_an_unchanged_tree_passes(vectors: Path) -> None:
    assert main([], vectors) == 0


def test_a_changed_golden_file_fails_and_is_not_accepted(vectors: Path) -> None:
    (vectors / "sealing" / "header.json").write_text("[]")
    assert main([], vectors) == 1
    assert main(["--accept"], vectors) == 1
    assert main([], vectors) == 1


def test_a_removed_golden_file_fails(vectors: Path) -> None:
    (vectors / "sealing" / "header.json").unlink()
    assert main([], vectors) == 1
    assert main(["--accept"], vectors) == 1


def test_a_removed_room_fails(vectors: Path) -> None:
    for path in (vectors / "sealing").iterdir():
        path.unlink()
    (vectors / "sealing").rmdir()
    assert main([], vectors) == 1


def test_a_moved_version_is_accepted_once_recorded(vectors: Path) -> None:
    (vectors / "sealing" / "header.json").write_text("[]")
    (vectors / "sealing" / "VERSION").write_text("2\n")
    assert main([], vectors) == 1
    assert main(["--accept"], vectors) == 0
    assert main([], vectors) == 0


def test_a_version_never_goes_back(vectors: Path) -> None:
    (vectors / "sealing" / "VERSION").write_text("2\n")
    assert main(["--accept"], vectors) == 0
    (vectors / "sealing" / "VERSION").write_text("1\n")
    assert main(["--accept"], vectors) == 1


def test_a_new_file_must_be_recorded(vectors: Path) -> None:
    (vectors / "sealing" / "index.json").write_text("{}")
    assert main([], vectors) == 1
    assert main(["--accept"], vectors) == 0
    assert main([], vectors) == 0


def test_a_room_without_version_fails(vectors: Path) -> None:
    (vectors / "keys").mkdir()
    (vectors / "keys" / "seed.json").write_text("{}")
    assert main(["--accept"], vectors) == 1
