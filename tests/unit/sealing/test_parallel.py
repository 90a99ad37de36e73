"""Sealing and opening at offsets, on several threads, and a member as a file."""

from __future__ import annotations

import io
import random
import threading
import time

import pytest

from asset_bridge.errors import DefectError, InputError, TamperedError
from asset_bridge.sealing.floe import FloeParameters
from asset_bridge.sealing.index import Index, Kind, MemberSpec
from asset_bridge.sealing.member_file import MemberFile
from asset_bridge.sealing.open import Opener
from asset_bridge.sealing.padding import Padding
from asset_bridge.sealing.parallel import Line, each
from asset_bridge.sealing.seal import SealedSummary, Sealer, reader_of

KEY, LISTER, SMALL = b"k" * 32, b"l" * 20, FloeParameters(64)
CONTENTS = [bytes(range(250)), b"", b"abc", bytes(range(100, 200))]
WHOLE = b"".join(CONTENTS)


def sealer(workers: int, padding: Padding = Padding.PADME) -> Sealer:
    index = Index.of(Kind.FOLDER, [MemberSpec(f"{number}", len(data)) for number, data in enumerate(CONTENTS)])
    arguments = {"file_key": KEY, "container_id": bytes(16), "lister": LISTER, "index": index, "padding": padding}
    return Sealer(**arguments, randbytes=random.Random(1).randbytes, workers=workers, parameters=SMALL)  # type: ignore[arg-type]


def read_at(offset: int, view: memoryview) -> None:
    view[:] = WHOLE[offset : offset + len(view)]


def sealed(workers: int = 2, padding: Padding = Padding.PADME) -> tuple[bytes, bytearray]:
    header, body, _ = sealed_as(workers, padding)
    return header, body


def sealed_as(workers: int, padding: Padding) -> tuple[bytes, bytearray, SealedSummary]:
    made = sealer(workers, padding)
    body = bytearray(made.body_length_bytes)
    written: list[int] = []

    def write_at(offset: int, segment: memoryview) -> None:
        assert body[offset : offset + len(segment)] == bytes(len(segment)), "written twice"
        body[offset : offset + len(segment)] = segment
        written.append(offset)

    summary = made.write(read_at, write_at)
    assert written[-1] == max(written), "the last segment comes last"
    assert summary == made.summary()
    return made.header, body, summary


def opener(header: bytes, body: bytes | bytearray, workers: int = 2, into: bool = True) -> Opener:
    def fetch_into(number: int, view: memoryview) -> int:
        piece = body[number * 64 : number * 64 + 64]
        view[: len(piece)] = piece
        return len(piece)

    return Opener(
        header,
        file_key=KEY,
        lister=LISTER,
        body_length_bytes=len(body),
        fetch_segment=lambda number: bytes(body[number * 64 : number * 64 + 64]),
        fetch_into=fetch_into if into else None,
        workers=workers,
        parameters=SMALL,
    )


@pytest.mark.parametrize("padding", [Padding.NONE, Padding.PADME])
@pytest.mark.parametrize("workers", [1, 2, 5])
def test_at_offsets_the_same_bytes_come_as_in_a_stream(workers: int, padding: Padding) -> None:
    stream = sealer(2, padding)
    segments = b"".join(stream.segments(reader_of([data]) for data in CONTENTS))
    header, body, summary = sealed_as(workers, padding)
    assert (header, bytes(body)) == (stream.header, segments)
    assert summary == stream.summary()  # the root among it


def test_a_sealing_at_offsets_is_made_once() -> None:
    made = sealer(1)
    made.write(read_at, lambda *_: None)
    with pytest.raises(DefectError) as caught:
        made.write(read_at, lambda *_: None)
    assert caught.value.code == "sealing.reused"


def test_a_source_that_fails_leaves_no_last_segment() -> None:
    made, written = sealer(2), list[int]()

    def failing(offset: int, view: memoryview) -> None:
        if offset > 100:
            raise InputError("files.changed", "changed")

    with pytest.raises(InputError):
        made.write(failing, lambda offset, _: written.append(offset))
    assert made.body_length_bytes - 64 > max(written)
    with pytest.raises(DefectError):
        made.summary()


@pytest.mark.parametrize("into", [True, False])
@pytest.mark.parametrize("workers", [1, 2, 5])
def test_everything_comes_once_at_its_place_and_in_order_beside(workers: int, into: bool) -> None:
    found, ordered = bytearray(len(WHOLE)), bytearray()

    def take(offset: int, content: memoryview) -> None:
        assert found[offset : offset + len(content)] == bytes(len(content))
        found[offset : offset + len(content)] = content

    def in_order(offset: int, content: memoryview) -> None:
        assert offset == len(ordered) or not content
        ordered.extend(content)

    opener(*sealed(), workers=workers, into=into).scatter(take, in_order)
    assert found == WHOLE
    assert ordered == WHOLE


def test_a_range_is_scattered_alone() -> None:
    header, body = sealed()
    whole, rand = opener(header, body), random.Random(3)
    for _ in range(200):
        start, end = sorted((rand.randrange(len(WHOLE) + 1), rand.randrange(len(WHOLE) + 1)))
        found, ordered = bytearray(len(WHOLE)), bytearray()
        asked: list[int] = []

        def take(offset: int, content: memoryview, found: bytearray = found) -> None:
            found[offset : offset + len(content)] = content

        def fetch(number: int, view: memoryview, asked: list[int] = asked) -> int:
            asked.append(number)
            piece = body[number * 64 : number * 64 + 64]
            view[: len(piece)] = piece
            return len(piece)

        whole._fetch_into = fetch
        whole.scatter(take, lambda _, content, ordered=ordered: ordered.extend(content), start=start, end=end)
        assert bytes(found) == bytes(start) + WHOLE[start:end] + bytes(len(WHOLE) - end)
        assert ordered == WHOLE[start:end]
        if (start, end) != (0, len(WHOLE)):
            assert len(asked) <= (end - start) // 32 + 2
            assert not (start == end and asked)
    for bad in ((-1, 2), (3, 2), (0, len(WHOLE) + 1)):
        with pytest.raises(InputError) as caught:
            whole.scatter(lambda *_: None, start=bad[0], end=bad[1])
        assert caught.value.code == "sealing.range"


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_a_damaged_segment_stops_every_thread(workers: int) -> None:
    header, body = sealed()
    body[64 * 7 + 20] ^= 1
    whole = opener(header, body, workers)
    ordered: list[int] = []
    with pytest.raises(TamperedError) as caught:
        whole.scatter(lambda *_: None, lambda offset, _: ordered.append(offset))
    assert caught.value.code == "sealing.segment"
    assert "segment 7 of" in caught.value.message
    assert len(ordered) <= 7


def test_who_waits_in_line_behind_a_failure_is_let_go() -> None:
    header, body = sealed()
    whole, waits, numbers = opener(header, body), threading.Event(), list[int]()
    first = whole._content_start // 32

    def fetch(number: int, view: memoryview) -> int:
        numbers.append(number)
        piece = bytes(body[number * 64 : number * 64 + 64])
        if number == first:  # damaged, and only when its neighbour is done with taking
            assert waits.wait(10)
            piece = piece[:20] + bytes((piece[20] ^ 1,)) + piece[21:]
        view[: len(piece)] = piece
        return len(piece)

    whole._fetch_into, ordered = fetch, list[int]()
    with pytest.raises(TamperedError):
        whole.scatter(lambda *_: waits.set(), lambda offset, _: ordered.append(offset), end=len(WHOLE) - 1)
    assert ordered == []
    assert sorted(numbers) == [first, first + 1]


def test_who_waits_in_line_goes_on_when_the_one_before_leaves() -> None:
    line, found = Line(), list[bool]()
    second = threading.Thread(target=lambda: found.append(line.enter(1)), daemon=True)
    second.start()
    ends_at = time.monotonic() + 10
    while not line._changed._waiters and time.monotonic() < ends_at:  # type: ignore[attr-defined]
        time.sleep(0.001)
    assert line.enter(0)
    assert not found
    line.leave()
    second.join(10)
    assert found == [True]


def test_a_line_that_is_closed_lets_nobody_through() -> None:
    line = Line(3)
    assert line.enter(3)
    line.leave()
    assert line.enter(4)
    line.close()
    assert not line.enter(4)
    assert not line.enter(9)


def test_no_item_is_claimed_after_a_failure() -> None:
    claimed: list[int] = []

    def work(number: int) -> None:
        claimed.append(number)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        each(range(1, 1000), 2, lambda: work)
    assert len(claimed) <= 2
    with pytest.raises(KeyboardInterrupt):
        each(range(1, 1000), 1, lambda: work)
    assert len(claimed) <= 3


def test_an_interrupt_leaves_no_thread_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    join, interrupted = threading.Thread.join, list[str]()

    def interrupted_once(thread: threading.Thread, timeout: float | None = None) -> None:
        if thread.name.startswith("sealing_") and not interrupted:
            interrupted.append(thread.name)
            raise KeyboardInterrupt
        join(thread, timeout)

    monkeypatch.setattr(threading.Thread, "join", interrupted_once)
    with pytest.raises(KeyboardInterrupt):
        each(
            range(6),
            3,
            lambda: lambda _: time.sleep(0 if threading.current_thread() is threading.main_thread() else 0.3),
        )
    assert interrupted
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("sealing_")]


def test_a_member_is_a_file() -> None:
    whole = opener(*sealed())
    file = MemberFile(whole, "0")
    assert (file.name, file.readable(), file.seekable(), file.writable()) == ("0", True, True, False)
    assert file.read(10) == CONTENTS[0][:10]
    assert file.tell() == 10
    assert file.seek(5, io.SEEK_CUR) == 15
    assert file.seek(-20, io.SEEK_END) == 230
    assert file.read() == CONTENTS[0][230:]
    assert file.read() == b""
    assert file.seek(10_000) == 10_000
    assert file.read(5) == b""
    for bad in ((-1, io.SEEK_SET), (-10_001, io.SEEK_CUR), (-251, io.SEEK_END), (0, 9), (300, 9)):
        with pytest.raises(ValueError, match="no such place"):
            file.seek(*bad)
    file.close()
    with pytest.raises(ValueError, match="closed"):
        file.readinto(bytearray(1))
    assert io.BufferedReader(MemberFile(whole, "1")).read() == b""
    assert io.TextIOWrapper(io.BufferedReader(MemberFile(whole, "2"))).read() == "abc"
    with pytest.raises(InputError) as caught:
        MemberFile(whole, "9")
    assert caught.value.code == "sealing.no-member"


def test_a_range_of_a_file_reads_what_a_plain_file_reads() -> None:
    file, plain, rand = MemberFile(opener(*sealed()), "0"), io.BytesIO(CONTENTS[0]), random.Random(5)
    for _ in range(300):
        place, size = rand.randrange(260), rand.randrange(200)
        assert file.seek(place) == plain.seek(place)
        assert file.read(size) == plain.read(size)
        assert file.tell() == plain.tell()


@pytest.mark.parametrize("size", [1_990, 2_010, 2_050])
def test_padding_is_zero_where_a_buffer_held_content_before(size: int) -> None:
    data = b"\xff" * size
    index = Index.of(Kind.FILE, [MemberSpec("a", size)])
    arguments = {"file_key": KEY, "container_id": bytes(16), "lister": LISTER, "index": index, "parameters": SMALL}
    made = Sealer(**arguments, randbytes=random.Random(1).randbytes, workers=1)  # type: ignore[arg-type]
    body = bytearray(made.body_length_bytes)

    def read(offset: int, view: memoryview) -> None:
        view[:] = data[offset : offset + len(view)]

    def write(offset: int, segment: memoryview) -> None:
        body[offset : offset + len(segment)] = segment

    made.write(read, write)
    assert opener(made.header, body).read("a") == data
    opener(made.header, body).scatter(lambda *_: None)  # ends only when all padding is zero
