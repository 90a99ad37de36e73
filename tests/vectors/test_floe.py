"""FLOE against its published known answers: open each, and seal it again with the same IVs to the same bytes."""

from __future__ import annotations

from pathlib import Path

import pytest

from asset_bridge.sealing.floe import FloeOpener, FloeParameters, FloeSealer
from tests.conftest import vectors_folder

pytestmark = pytest.mark.needs_vectors
KEY, AAD = bytes(32), b"This is AAD"
PUBLISHED = [  # in the sets that this was written with; a folder may hold more, and all of them are run
    *(f"{language}_GCM256_IV256_{size}" for language in ("cpp", "java", "rust") for size in ("64", "4K")),
    *(f"{language}_rotation" for language in ("cpp", "java", "rust")),
    "java_lastSegAligned",
    "java_lastSegEmpty",
]
NAMES = sorted(
    {path.name.removesuffix("_ct.txt") for path in (vectors_folder() / "floe").glob("*_ct.txt")} | {*PUBLISHED}
)


def read(folder: Path, name: str) -> tuple[bytes, list[bytes], bytes, FloeParameters]:
    """Header, segments, plaintext, parameters."""
    sealed = bytes.fromhex((folder / "floe" / f"{name}_ct.txt").read_text())
    plain = bytes.fromhex((folder / "floe" / f"{name}_pt.txt").read_text())
    size = int.from_bytes(sealed[2:6], "big")
    rotation_bits = 2 if "rotation" in name.lower() else 20
    body = sealed[74:]
    segments = [body[at : at + size] for at in range(0, len(body), size)]
    return sealed[:74], segments, plain, FloeParameters(size, rotation_bits)


@pytest.mark.parametrize("name", NAMES)
def test_published_answer(name: str, vectors_dir: Path) -> None:
    header, segments, plain, parameters = read(vectors_dir, name)
    opener = FloeOpener(parameters, KEY, AAD, header)
    last = len(segments) - 1
    pieces = [opener.open(segment, i, i == last) for i, segment in enumerate(segments)]
    assert None not in pieces
    assert b"".join(piece for piece in pieces if piece is not None) == plain
    sealer = FloeSealer(parameters, KEY, AAD, header[10:42])
    assert sealer.header == header
    for i, (segment, piece) in enumerate(zip(segments, pieces, strict=True)):
        out = bytearray(len(segment))
        sealer.seal_into(out, memoryview(piece or b""), i, i == last, segment[4:16])
        assert out == segment


@pytest.mark.parametrize("name", NAMES)
def test_a_segment_opens_only_as_what_it_is(name: str, vectors_dir: Path) -> None:
    header, segments, _, parameters = read(vectors_dir, name)
    opener = FloeOpener(parameters, KEY, AAD, header)
    last = len(segments) - 1
    for i, segment in enumerate(segments):
        assert opener.open(segment, i, i != last) is None
        assert opener.open(segment, i + 1, i == last) is None
        assert opener.open(segment, i + (1 << parameters.rotation_bits), i == last) is None


def test_every_set_of_the_folder_is_run(vectors_dir: Path) -> None:
    assert {path.name.removesuffix("_ct.txt") for path in (vectors_dir / "floe").glob("*_ct.txt")} == set(NAMES)
