"""Random contents come back whole; no changed body or header opens."""

from __future__ import annotations

import hashlib
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


def seal(contents: list[bytes], rand: random.Random, padding: Padding) -> tuple[bytes, bytes]:
    """Header and body."""
    index = Index.of(Kind.FOLDER, [MemberSpec(f"{n:03}", len(data)) for n, data in enumerate(contents)])
    sealer = Sealer(
        file_key=KEY,
        container_id=rand.randbytes(16),
        lister=LISTER,
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


def test_random_manipulations_are_refused() -> None:
    """Swaps, doublings, losses, splices and changed runs of bytes: by segment and by byte."""
    rand = random.Random(14)
    bodies = [seal([rand.randbytes(200)], rand, Padding.NONE) for _ in range(3)]
    originals = {hashlib.sha256(header + body).digest() for header, body in bodies}
    for _ in range(depth("sealing-manipulations")):
        header, body = bodies[0]
        segments = [body[at : at + 64] for at in range(0, len(body), 64)]
        i, j = rand.randrange(len(segments)), rand.randrange(len(segments))
        act = rand.randrange(6)
        if act == 0:
            segments[i], segments[j] = segments[j], segments[i]
        elif act == 1:
            segments.insert(i, segments[j])
        elif act == 2:
            del segments[i]
        elif act == 3:
            segments[i] = rand.choice(bodies[1:])[1][i * 64 : i * 64 + 64]
        elif act == 4:
            at = rand.randrange(len(segments[i]))
            segments[i] = segments[i][:at] + rand.randbytes(rand.randrange(1, 9)) + segments[i][at:]
        else:
            at = rand.randrange(128)
            header = header[:at] + rand.choice(bodies[1:])[0][at:]
        changed = b"".join(segments)
        assert hashlib.sha256(header + changed).digest() in originals or not accepted(header, changed)
