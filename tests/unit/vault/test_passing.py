"""Large files leave the page cache as they pass: same bytes, same durability, same errors, with the advice and without it."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import pytest

from asset_bridge.errors import TamperedError
from asset_bridge.sealing.open import Opener
from asset_bridge.vault import passing
from asset_bridge.vault.files import walk
from asset_bridge.vault.files_opened import write_member, write_members
from asset_bridge.vault.files_sealed import SealedFile, seal_to_disk
from asset_bridge.vault.passing import Passing, crowds_memory

KEY, LISTER = b"k" * 32, b"l" * 20
STEP = 256 * 1024
LARGE, SMALL = 5 * 1024 * 1024 + 77, 1000


class Advice:
    """What the system was advised, and when anything was made durable, in order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, error: int = 0) -> None:
        self.steps: list[tuple[str, int]] = []
        self._error = error
        self._advise, self._sync = os.posix_fadvise, os.fsync
        monkeypatch.setattr(os, "posix_fadvise", self._fadvise)
        monkeypatch.setattr(os, "fsync", self._fsync)

    def _fadvise(self, descriptor: int, offset: int, size_bytes: int, advice: int) -> None:
        assert (offset % passing.STEP_BYTES, size_bytes, advice) == (0, passing.STEP_BYTES, os.POSIX_FADV_DONTNEED)
        assert offset + size_bytes <= os.fstat(descriptor).st_size
        self.steps.append((name(descriptor), offset // size_bytes))
        if self._error:
            raise OSError(self._error, os.strerror(self._error))
        self._advise(descriptor, offset, size_bytes, advice)

    def _fsync(self, descriptor: int) -> None:
        self.steps.append(("fsync " + name(descriptor), -1))
        self._sync(descriptor)


def name(descriptor: int) -> str:
    """Of the file behind a descriptor, the partial one's without its random end."""
    return Path(os.readlink(f"/dev/fd/{descriptor}")).name.split(".partial-")[0].lstrip(".")


@pytest.fixture
def crowded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine so small that 5 MiB crowd it."""
    monkeypatch.setattr(passing, "STEP_BYTES", STEP)
    monkeypatch.setattr(passing, "_BACK_STEPS", 4)
    monkeypatch.setattr(passing, "memory_bytes", lambda: 4 * LARGE)


@pytest.fixture
def sealed(tmp_path: Path) -> Path:
    """A large file and a small one, sealed."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "large").write_bytes(os.urandom(LARGE))
    (tmp_path / "data" / "small").write_bytes(os.urandom(SMALL))
    seal_to_disk(
        walk(tmp_path / "data"),
        tmp_path / "sealed",
        file_key=KEY,
        container_id=bytes(16),
        lister=LISTER,
        randbytes=os.urandom,
    )
    return tmp_path / "sealed"


def opener(at_hand: SealedFile) -> Opener:
    return Opener(
        at_hand.header,
        file_key=KEY,
        lister=LISTER,
        body_length_bytes=at_hand.body_length_bytes,
        fetch_segment=at_hand.segment,
        fetch_into=at_hand.segment_into,
    )


def open_both(sealed: Path) -> None:
    """Into a file and into a folder; both hold what was sealed."""
    data = sealed.parent / "data"
    with SealedFile(sealed) as at_hand:
        assert write_member(opener(at_hand), "large", sealed.parent / "out") == LARGE
    with SealedFile(sealed) as at_hand:
        write_members(opener(at_hand), sealed.parent / "folder")
    assert (sealed.parent / "out").read_bytes() == (data / "large").read_bytes()
    for member in ("large", "small"):
        assert (sealed.parent / "folder" / member).read_bytes() == (data / member).read_bytes()


@pytest.mark.usefixtures("crowded")
def test_what_was_read_and_written_is_let_go_before_it_is_made_durable(
    sealed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    advice = Advice(monkeypatch)
    open_both(sealed)
    whole = set(range(LARGE // STEP))
    for file in ("sealed", "out", "large"):
        steps = [step for which, step in advice.steps if which == file]
        assert set(steps) >= whole, "each whole step, at least once"
        assert all(steps.count(step) >= 2 for step in list(whole)[:-4]), "and once more when it is on the disk"
    assert not [step for which, step in advice.steps if which == "small"], "less than a step stays"
    last = max(number for number, (which, _) in enumerate(advice.steps) if which == "out")
    assert advice.steps.index(("fsync out", -1)) > last


@pytest.mark.usefixtures("crowded")
def test_a_file_system_without_advice_is_asked_once_a_file(sealed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    advice = Advice(monkeypatch, errno.EINVAL)
    open_both(sealed)
    asked = [which for which, step in advice.steps if step >= 0]
    # Two threads may both be about to ask. The sealed file was opened twice.
    assert all(1 <= asked.count(file) <= most for file, most in (("sealed", 4), ("out", 2), ("large", 2)))


@pytest.mark.usefixtures("crowded")
def test_a_system_without_advice(sealed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "posix_fadvise")
    open_both(sealed)


@pytest.mark.usefixtures("crowded")
def test_a_damaged_file_is_refused_as_ever_and_leaves_nothing(sealed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Advice(monkeypatch)
    with sealed.open("r+b") as file:
        file.seek(3 * 1024 * 1024)
        file.write(b"damage")
    before = set(sealed.parent.iterdir())
    with SealedFile(sealed) as at_hand, pytest.raises(TamperedError) as caught:
        write_member(opener(at_hand), "large", sealed.parent / "out")
    assert caught.value.code == "sealing.segment"
    assert set(sealed.parent.iterdir()) == before


def test_what_the_memory_has_room_for_stays(sealed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passing, "STEP_BYTES", STEP)
    advice = Advice(monkeypatch)
    open_both(sealed)
    assert not [step for _, step in advice.steps if step >= 0]


def test_a_quarter_of_the_memory_is_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    assert passing.memory_bytes() > 256 * 1024 * 1024
    monkeypatch.setattr(passing, "memory_bytes", lambda: 4_000)
    assert not crowds_memory(1000)
    assert crowds_memory(1001)


def test_steps_are_let_go_once_they_are_whole_in_whatever_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passing, "STEP_BYTES", 4096)
    monkeypatch.setattr(passing, "_BACK_STEPS", 2)
    with (tmp_path / "file").open("wb") as file:
        file.truncate(5 * 4096)
        advice, under = Advice(monkeypatch), Passing(True)
        under.passed(file.fileno(), 5000, 4000)  # ends in step 2
        under.passed(file.fileno(), 4096, 903)
        assert advice.steps == []
        under.passed(file.fileno(), 4999, 1)
        assert advice.steps == [("file", 1)]
        under.passed(file.fileno(), 9000, 4 * 4096 - 9000)  # the rest of 2, and 3
        assert advice.steps[1:] == [("file", 2), ("file", 0), ("file", 3), ("file", 1)]
        under.passed(file.fileno(), 0, 0)
        assert len(advice.steps) == 5


def test_threads_lose_no_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passing, "STEP_BYTES", 4096)
    with (tmp_path / "file").open("wb") as file:
        file.truncate(256 * 4096)
        advice, under = Advice(monkeypatch), Passing(True)

        def pass_every_fourth(first: int) -> None:
            for offset in range(first * 1024, 256 * 4096, 4096):
                under.passed(file.fileno(), offset, 1024)

        threads = [threading.Thread(target=pass_every_fourth, args=(first,)) for first in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert {step for _, step in advice.steps} == set(range(256))
    assert under._passed_bytes == {}
