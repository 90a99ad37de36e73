"""Random contents come back whole; no changed body or header opens."""

from __future__ import annotations

import random

from asset_bridge.errors import BridgeError
from asset_bridge.sealing.floe import FloeParameters
from asset_bridge.sealing.index import Index, Kind, MemberSpec
from asset_bridge.sealing.open import Opener
from asset_bridge.sealing.padding import Padding
from asset_bridge.sealing.seal import Sealer, reader_of
from tests.support.depth import depth

SMALL = FloeParameters(64)
KEY, LISTER = b"k" * 32, b"l" * 20


def seal(
    contents: list[bytes], rand: random.Random, padding: Padding, key: bytes = KEY, lister: bytes = LISTER
) -> tuple[bytes, bytes]:
    """Header and body."""
    index = Index.of(Kind.FOLDER, [MemberSpec(f"{n:03}", len(data)) for n, data in enumerate(contents)])
    sealer = Sealer(
        file_key=key,
        container_id=rand.randbytes(16),
        lister=lister,
        index=index,
        randbytes=rand.randbytes,
        padding=padding,
        workers=rand.choice([1, 2]),
        parameters=SMALL,
    )
    body = b"".join(sealer.segments(reader_of([data]) for data in contents))
    return sealer.header, body


def open_all(header: bytes, body: bytes) -> list[bytes]:
    """Every member, or the refusal. One worker, so that thousands of runs stay quick."""
    opener = Opener(
        header,
        file_key=KEY,
        lister=LISTER,
        body_length_bytes=len(body),
        fetch_segment=lambda i: body[i * 64 : i * 64 + 64],
        parameters=SMALL,
        workers=1,
    )
    found = [b""] * len(opener.members)
    for number, chunk in opener.stream():
        found[number] += bytes(chunk)
    return found


def accepted(header: bytes, body: bytes) -> bool:
    try:
        open_all(header, body)
    except BridgeError:
        return False
    return True


def test_what_goes_in_comes_out() -> None:
    rand = random.Random(11)
    for _ in range(depth("sealing-round-trips")):
        sizes = [rand.choice([0, 1, 31, 32, 33, 64, rand.randrange(200)]) for _ in range(rand.randrange(6))]
        contents = [rand.randbytes(size) for size in sizes]
        header, body = seal(contents, rand, rand.choice([Padding.NONE, Padding.PADME]))
        assert open_all(header, body) == contents


def test_every_one_bit_flip_is_refused() -> None:
    header, body = seal([b"some content", b"", b"x" * 150], random.Random(12), Padding.PADME)
    whole = header + body
    assert accepted(header, body)
    for at in range(len(whole) * 8):
        changed = bytearray(whole)
        changed[at // 8] ^= 1 << at % 8
        assert not accepted(bytes(changed[:128]), bytes(changed[128:])), at


def test_every_other_length_is_refused() -> None:
    rand = random.Random(13)
    header, body = seal([b"x" * 300], rand, Padding.PADME)
    for size in range(len(body)):
        assert not accepted(header, body[:size])
    for more in range(1, 200):
        assert not accepted(header, body + bytes(more))
        assert not accepted(header, body + body[:more])


def manipulated(rand: random.Random, files: list[tuple[bytes, bytes]]) -> tuple[bytes, bytes]:
    """One of the files after one act of a stranger who has them all, and keys to none."""
    header, body = rand.choice(files)
    other_header, other = rand.choice(files)
    segments = [body[at : at + 64] for at in range(0, len(body), 64)]
    others = [other[at : at + 64] for at in range(0, len(other), 64)]
    i, j, k = rand.randrange(len(segments)), rand.randrange(len(segments)), rand.randrange(len(others))
    act = rand.randrange(11)
    if act == 0:  # a bit of the body
        at = rand.randrange(len(body) * 8)
        return header, body[: at // 8] + bytes((body[at // 8] ^ 1 << at % 8,)) + body[at // 8 + 1 :]
    if act == 1:  # a bit of the header
        at = rand.randrange(128 * 8)
        return header[: at // 8] + bytes((header[at // 8] ^ 1 << at % 8,)) + header[at // 8 + 1 :], body
    if act == 2:  # truncation
        return header, body[: rand.randrange(len(body))]
    if act == 3:  # extension: random, or by what is at hand
        return header, body + rand.choice([rand.randbytes(rand.randrange(1, 130)), others[k], other, body])
    if act == 4:  # a swap
        segments[i], segments[j] = segments[j], segments[i]
    elif act == 5:  # a doubling
        segments.insert(i, segments[j])
    elif act == 6:  # a loss
        del segments[i]
    elif act == 7:  # a splice of a segment, at any place
        segments[i] = others[k]
    elif act == 8:  # a splice of a tail
        segments[i:] = others[k:]
    elif act == 9:  # bytes put in
        at = rand.randrange(len(segments[i]))
        segments[i] = segments[i][:at] + rand.randbytes(rand.randrange(1, 9)) + segments[i][at:]
    else:  # a header of another record, or parts of it
        begin, end = sorted((rand.randrange(129), rand.randrange(129)))
        return header[:begin] + other_header[begin:end] + header[end:], body
    return header, b"".join(segments)


def test_random_manipulations_are_refused() -> None:
    """Flips, truncations, extensions, swaps, doublings, losses, splices between files and records: none is accepted."""
    rand = random.Random(14)
    padding = [Padding.NONE, Padding.PADME]
    files = [seal([rand.randbytes(rand.randrange(300))], rand, rand.choice(padding)) for _ in range(6)]
    files += [seal([rand.randbytes(100)], rand, Padding.NONE, key=b"K" * 32, lister=b"L" * 20) for _ in range(2)]
    same = 0
    for _ in range(depth("sealing-manipulations")):
        changed = manipulated(rand, files)
        if changed in files:
            same += 1
        else:
            assert not accepted(*changed)
    assert same < depth("sealing-manipulations") // 10


def test_a_body_is_bound_to_its_record() -> None:
    """Header and body of one record under another's account or key open nothing."""
    rand = random.Random(15)
    header, body = seal([b"content"], rand, Padding.NONE)
    assert accepted(header, body)
    assert not accepted(*seal([b"content"], rand, Padding.NONE, lister=b"L" * 20))
    assert not accepted(*seal([b"content"], rand, Padding.NONE, key=b"K" * 32))
