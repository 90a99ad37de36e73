"""The edge to the disk: what is refused, what appears, and that nothing is left behind."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import socket
import stat
from collections import namedtuple
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from asset_bridge.errors import BridgeError, InputError, TamperedError
from asset_bridge.ipld.unixfs import file_dag
from asset_bridge.sealing.index import Kind
from asset_bridge.sealing.open import Opener
from asset_bridge.sealing.padding import Padding
from asset_bridge.vault import files_opened
from asset_bridge.vault.files import Source, media_type, require_free_space, walk, written_only_if_whole
from asset_bridge.vault.files_opened import write_members
from asset_bridge.vault.files_sealed import SealedFile, seal_to_disk, write_all

KEY, LISTER = b"k" * 32, b"l" * 20
ODD = {
    "plain.txt": b"plain",
    "two words/and  three.csv": b"a,b\n" * 100,
    "äöü/日本語/🧬.ndjson": b"{}\n",
    "cafe\u0301.txt": b"decomposed",
    "/".join(f"deep{n}" for n in range(60)) + "/end.bin": bytes(range(256)),
    "empty.dcm": b"",
    "-rf": b"dash",
    ".hidden": b"hidden",
    "SHA256SUMS": b"the provider's own",
}


def make(folder: Path, contents: dict[str, bytes]) -> Path:
    for path, data in contents.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
        os.utime(folder / path, (1_600_000_000, 1_600_000_000))
    return folder


def seal(source: Path, out: Path, **other: object) -> None:
    seal_to_disk(
        walk(source),
        out,
        file_key=KEY,
        container_id=os.urandom(16),
        lister=LISTER,
        randbytes=os.urandom,
        **other,  # type: ignore[arg-type]
    )


@contextmanager
def opened(path: Path) -> Iterator[Opener]:
    with SealedFile(path) as sealed:
        yield Opener(
            sealed.header,
            file_key=KEY,
            lister=LISTER,
            body_length_bytes=sealed.body_length_bytes,
            fetch_segment=sealed.segment,
        )


def everything(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


@contextmanager
def as_nobody() -> Iterator[None]:
    """Permissions bind everyone but root, and tests may run as root."""
    was = os.geteuid()
    if was == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        if was == 0:
            os.seteuid(was)


def refused(code: str, path: Path) -> BridgeError:
    with pytest.raises(InputError) as caught:
        walk(path)
    assert caught.value.code == code
    return caught.value


def test_a_folder_with_odd_names_comes_back(tmp_path: Path) -> None:
    data = make(tmp_path / "data", ODD)
    (data / "nothing" / "inside").mkdir(parents=True)
    steps: list[tuple[int, int]] = []
    seal(data, tmp_path / "sealed", progress=lambda done, total: steps.append((done, total)))
    assert steps[-1][0] == steps[-1][1] == (tmp_path / "sealed").stat().st_size - 128
    with opened(tmp_path / "sealed") as opener:
        written = write_members(opener, tmp_path / "out", extra_files={"TERMS.txt": b"terms"})
    for path, content in ODD.items():
        assert (tmp_path / "out" / path).read_bytes() == content
        assert (tmp_path / "out" / path).stat().st_mtime == 1_600_000_000
        assert stat.S_IMODE((tmp_path / "out" / path).stat().st_mode) == 0o600
    assert (tmp_path / "out" / "nothing" / "inside").is_dir()
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o700
    assert written.sums_path.name == "asset-bridge-SHA256SUMS"
    assert [path.read_bytes() for path in written.extra_paths] == [b"terms"]
    assert written.files == len(ODD)
    listed = dict(line.split("  ", 1)[::-1] for line in written.sums_path.read_text().splitlines())
    assert listed == {path: hashlib.sha256(content).hexdigest() for path, content in ODD.items()}


@pytest.mark.parametrize("padding", list(Padding))
def test_single_files_empty_ones_too(tmp_path: Path, padding: Padding) -> None:
    for name, content in {"a.csv": b"x" * 3_000, "empty": b""}.items():
        (tmp_path / name).write_bytes(content)
        seal(tmp_path / name, tmp_path / f"{name}.sealed", padding=padding)
        with opened(tmp_path / f"{name}.sealed") as opener:
            assert opener.index.kind is Kind.FILE
            write_members(opener, tmp_path / "out" / name)
        assert (tmp_path / "out" / name / name).read_bytes() == content


def test_a_folder_without_anything(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    seal(tmp_path / "data", tmp_path / "sealed")
    (tmp_path / "out").mkdir()
    with opened(tmp_path / "sealed") as opener:
        assert write_members(opener, tmp_path / "out").files == 0
    assert everything(tmp_path / "out") == {"SHA256SUMS"}


def test_the_body_on_disk_is_the_listed_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(os.urandom(3 * 1024 * 1024))
    summary = seal_to_disk(
        walk(tmp_path / "a"),
        tmp_path / "s",
        file_key=KEY,
        container_id=bytes(16),
        lister=LISTER,
        randbytes=os.urandom,
    )
    whole = (tmp_path / "s").read_bytes()
    assert (whole[:128], file_dag(whole[128:]).root) == (summary.header, summary.body.root)


def test_what_cannot_be_sealed_is_named(tmp_path: Path) -> None:
    data = make(tmp_path / "data", {"ok": b"x"})
    refused("files.missing", tmp_path / "nowhere")
    refused("files.missing", data / "ok" / "below")
    os.mkfifo(data / "pipe")
    assert "'pipe' is a pipe" in refused("files.special", data).message
    refused("files.special", data / "pipe")
    os.unlink(data / "pipe")
    with socket.socket(socket.AF_UNIX) as unix:
        was = os.getcwd()
        os.chdir(data)
        unix.bind("sock")
        os.chdir(was)
        assert "a socket" in refused("files.special", data).message
    os.unlink(data / "sock")
    refused("files.special", Path("/dev/null"))
    (data / "link").symlink_to("/etc/passwd")
    assert "a link" in refused("files.special", data).message
    assert walk(data / "link").index.members[0].path == "link"
    os.unlink(data / "link")
    (data / "loop").symlink_to("loop")
    refused("files.unreadable", data / "loop")
    os.unlink(data / "loop")
    assert walk(data).content_length_bytes == 1


@pytest.mark.parametrize("name", [b"bad\xff", b"back\\slash", b"line\nend", b"esc\x1b"])
def test_names_that_no_sealed_file_can_hold(tmp_path: Path, name: bytes) -> None:
    (tmp_path / os.fsdecode(name)).write_bytes(b"")
    error = refused("files.name", tmp_path)
    assert error.message.isprintable()
    refused("files.name", tmp_path / os.fsdecode(name))


@pytest.mark.parametrize("names", [("Scan.dcm", "scan.DCM"), ("caf\u00e9", "cafe\u0301"), ("A/x", "a/y"), ("ß", "SS")])
def test_names_that_some_computers_cannot_tell_apart(tmp_path: Path, names: tuple[str, str]) -> None:
    refused("files.name-clash", make(tmp_path, dict.fromkeys(names, b"")))


def test_what_does_not_open_is_named(tmp_path: Path) -> None:
    os.chmod(tmp_path.parent, 0o755)
    os.chmod(tmp_path, 0o755)
    data = make(tmp_path / "data", {"a": b"x", "closed/b": b"y"})
    for ancestor in tmp_path.parents:
        if ancestor.stat().st_uid == os.getuid() and not ancestor.stat().st_mode & 0o001:
            os.chmod(ancestor, ancestor.stat().st_mode | 0o011)
    for path in (data / "a", data / "closed"):
        was = path.stat().st_mode
        os.chmod(path, 0)
        with as_nobody():
            assert str(path) in refused("files.unreadable", data).message
        os.chmod(path, was)
    with as_nobody():
        with pytest.raises(InputError) as caught, written_only_if_whole(data / "new"):
            pass
        assert caught.value.code == "files.unwritable"


def change_while_reading(source: Source, out: Path, act: Callable[[], object]) -> str:
    """Seal, running `act` after the first segment was written; the code of the refusal."""
    acts = [act]
    with pytest.raises(InputError) as caught:
        seal_to_disk(
            source,
            out,
            file_key=KEY,
            container_id=bytes(16),
            lister=LISTER,
            randbytes=os.urandom,
            progress=lambda *_: acts.pop()() if acts else None,
            workers=1,
        )
    return caught.value.code


def test_a_file_that_changes_ends_the_sealing(tmp_path: Path) -> None:
    contents = {"a": b"x" * 1_500_000, "b": b"y" * 100, "c": b""}
    data = make(tmp_path / "data", contents)
    before = everything(tmp_path)
    acts = {
        "touched": lambda: os.utime(data / "a", (1, 1)),
        "grown": lambda: (data / "a").write_bytes(b"x" * 1_500_001),
        "cut": lambda: os.truncate(data / "a", 1_400_000),
        "an empty one filled": lambda: (data / "c").write_bytes(b"z"),
        "an empty one gone": lambda: os.unlink(data / "c"),
        "gone": lambda: os.rename(data / "b", tmp_path / "elsewhere"),
        "replaced": lambda: shutil.copy(data / "a", data / "b"),
        "linked to itself": lambda: (
            os.link(data / "b", tmp_path / "elsewhere"),
            os.unlink(data / "b"),
            (data / "b").symlink_to(tmp_path / "elsewhere"),
        ),
        "linked": lambda: (os.unlink(data / "b"), (data / "b").symlink_to("a")),
    }
    for act in acts.values():
        make(data, contents)
        assert change_while_reading(walk(data), tmp_path / "sealed", act) == "files.changed"
        (tmp_path / "elsewhere").unlink(missing_ok=True)
        (data / "b").unlink(missing_ok=True)
        assert everything(tmp_path) | {"data/b", "data/c"} == before


def test_a_file_that_changes_while_it_is_read_is_seen_by_the_look_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = make(tmp_path / "data", {"a": b"x" * 100})
    source, preadv = walk(data), os.preadv

    def changing(descriptor: int, buffers: list[memoryview], offset: int) -> int:
        os.utime(data / "a", (1, 1))
        return preadv(descriptor, buffers, offset)

    monkeypatch.setattr(os, "preadv", changing)
    with pytest.raises(InputError) as caught:
        source.read_at(0, memoryview(bytearray(100)))
    assert caught.value.code == "files.changed"


def test_a_disk_that_fails_under_reading_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = walk(make(tmp_path / "data", {"a": b"x"}))
    monkeypatch.setattr(os, "preadv", lambda *_: fail(errno.EIO))
    with pytest.raises(InputError) as caught:
        source.read_at(0, memoryview(bytearray(1)))
    assert caught.value.code == "files.unreadable"


def test_a_part_that_the_disk_gives_bit_by_bit_is_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = make(tmp_path / "data", {"a": bytes(range(200)), "b": b"", "c": b"end"})
    preadv, pwrite = os.preadv, os.pwrite
    monkeypatch.setattr(os, "preadv", lambda fd, views, at: preadv(fd, [views[0][:7]], at))
    monkeypatch.setattr(os, "pwrite", lambda fd, view, at: pwrite(fd, view[:9], at))
    whole = memoryview(bytearray(203))
    walk(data).read_at(0, whole)
    assert bytes(whole) == bytes(range(200)) + b"end"
    part = memoryview(bytearray(100))
    walk(data).read_at(102, part)
    assert bytes(part) == bytes(whole[102:202])
    seal(data, tmp_path / "sealed")
    with opened(tmp_path / "sealed") as opener:
        write_members(opener, tmp_path / "out")
    assert (tmp_path / "out" / "a").read_bytes() == bytes(range(200))


def test_too_little_space_is_said_before_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = make(tmp_path / "data", {"a": b"x" * 5_000_000})
    seal(data, tmp_path / "sealed")
    before = everything(tmp_path)
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(9, 9, 3_000_000))
    with pytest.raises(InputError) as caught:
        seal(data, tmp_path / "again")
    assert caught.value.code == "files.disk-space"
    assert "3,000,000 are free" in caught.value.message
    with opened(tmp_path / "sealed") as opener, pytest.raises(InputError, match="3,000,000 are free"):
        write_members(opener, tmp_path / "x" / "y" / "out")
    assert everything(tmp_path) == before
    monkeypatch.undo()
    require_free_space(tmp_path, 1)


def fail(number: int) -> None:
    raise OSError(number, "injected")


def write_and(path: Path, act: Callable[[], object]) -> None:
    """Write a file, with something happening before its end."""
    with written_only_if_whole(path) as file:
        write_all(file, b"ours")
        act()


def test_a_disk_that_fills_up_leaves_nothing(tmp_path: Path) -> None:
    before = everything(tmp_path)
    for number, code in {errno.ENOSPC: "files.disk-space", errno.EIO: "files.unwritable"}.items():
        with pytest.raises(InputError) as caught:
            write_and(tmp_path / "a", lambda number=number: fail(number))
        assert caught.value.code == code
    assert everything(tmp_path) == before


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    data = make(tmp_path / "data", {"a": b"x"})
    seal(data, tmp_path / "sealed")
    for taken in (tmp_path / "sealed", data):
        with pytest.raises(InputError) as caught:
            seal(data, taken)
        assert caught.value.code == "files.exists"
    (tmp_path / "dangling").symlink_to("nowhere")
    with opened(tmp_path / "sealed") as opener:
        for taken in (data, tmp_path / "sealed", tmp_path / "dangling"):
            with pytest.raises(InputError) as caught:
                write_members(opener, taken, progress=lambda *_: fail(errno.EIO))
            assert caught.value.code == "files.exists"
    with pytest.raises(InputError) as caught:
        write_and(data / "a", lambda: fail(errno.EIO))
    assert caught.value.code == "files.exists"
    with pytest.raises(InputError) as caught:
        write_and(tmp_path / "late", lambda: (tmp_path / "late").write_bytes(b"theirs"))
    assert caught.value.code == "files.exists"
    assert (tmp_path / "late").read_bytes() == b"theirs"
    with pytest.raises(InputError) as caught:
        seal(data, tmp_path / "no folder" / "sealed")
    assert caught.value.code == "files.missing"


def test_a_disk_without_links_still_gets_whole_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(*_: object) -> None:
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", no_links)
    with written_only_if_whole(tmp_path / "a") as file:
        write_all(file, b"whole")
    assert (tmp_path / "a").read_bytes() == b"whole"
    with pytest.raises(InputError), written_only_if_whole(tmp_path / "b"):
        (tmp_path / "b").write_bytes(b"theirs")
    assert everything(tmp_path) == {"a", "b"}


def test_an_interruption_leaves_nothing(tmp_path: Path) -> None:
    data = make(tmp_path / "data", {"a": bytes(3_000_000), "b": b"x"})
    seal(data, tmp_path / "sealed")
    before = everything(tmp_path)

    def stop(*_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        seal(data, tmp_path / "again", progress=stop)
    with opened(tmp_path / "sealed") as opener, pytest.raises(KeyboardInterrupt):
        write_members(opener, tmp_path / "new" / "out", progress=stop)
    assert everything(tmp_path) == before


@pytest.mark.parametrize("place", [0, 20, 100, 200, 1_048_576 + 300, -1])
def test_a_damaged_file_leaves_nothing(tmp_path: Path, place: int) -> None:
    data = make(tmp_path / "data", {"a": bytes(1_500_000), "b": b"x"})
    seal(data, tmp_path / "sealed")
    damaged = bytearray((tmp_path / "sealed").read_bytes())
    damaged[place] ^= 1
    (tmp_path / "sealed").write_bytes(damaged)
    before = everything(tmp_path)
    with pytest.raises(TamperedError), opened(tmp_path / "sealed") as opener:
        write_members(opener, tmp_path / "out")
    assert everything(tmp_path) == before


def test_a_short_or_missing_sealed_file(tmp_path: Path) -> None:
    (tmp_path / "short").write_bytes(bytes(128))
    (tmp_path / "loop").symlink_to("loop")
    cases = {"short": "not-sealed", "nowhere": "missing", "loop": "unreadable", ".": "unreadable"}
    for name, code in cases.items():
        with pytest.raises(InputError) as caught:
            SealedFile(tmp_path / name)
        assert caught.value.code in (f"files.{code}", "files.not-sealed" if name == "." else "")


def test_our_files_yield_to_members(tmp_path: Path) -> None:
    data = make(tmp_path / "data", {"terms.TXT/x": b"", "asset-bridge-TERMS.txt": b"", "sha256sums": b""})
    seal(data, tmp_path / "sealed")
    with opened(tmp_path / "sealed") as opener:
        written = write_members(opener, tmp_path / "out", extra_files={"TERMS.txt": b"ours"})
    assert written.sums_path.name == "asset-bridge-SHA256SUMS"
    assert written.extra_paths[0].name == "asset-bridge-asset-bridge-TERMS.txt"


def test_media_types_are_the_same_everywhere() -> None:
    known = {"a.DCM": "application/dicom", "b/x.csv": "text/csv", "c.json": "application/json"}
    known |= {
        "d.tar.gz": "application/octet-stream",
        "e": "application/octet-stream",
        ".csv": "application/octet-stream",
    }
    assert {path: media_type(path) for path in known} == known


def test_the_opened_folder_is_not_seen_before_its_end(tmp_path: Path) -> None:
    data = make(tmp_path / "data", {"a": bytes(2_500_000)})
    seal(data, tmp_path / "sealed")
    seen: list[bool] = []
    with opened(tmp_path / "sealed") as opener:
        write_members(opener, tmp_path / "out", progress=lambda *_: seen.append((tmp_path / "out").exists()))
    assert seen
    assert not any(seen)
    assert files_opened.SUMS_NAME in everything(tmp_path / "out")
