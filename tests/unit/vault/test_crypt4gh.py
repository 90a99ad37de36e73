"""Crypt4GH at the edge, both directions, against the reference implementation where it is installed."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from asset_bridge.errors import BridgeError, InputError
from asset_bridge.sealing.open import Opener
from asset_bridge.vault import crypt4gh
from asset_bridge.vault.crypt4gh import Crypt4ghSource, read_public_key, read_secret_key, write_crypt4gh
from asset_bridge.vault.files import walk
from asset_bridge.vault.files_sealed import SealedFile, seal_to_disk

crypt4gh_lib = pytest.importorskip(
    "crypt4gh.lib", reason="the reference implementation of Crypt4GH is a test dependency"
)
crypt4gh_keys = pytest.importorskip("crypt4gh.keys.c4gh")

KEY, LISTER, SECRET = b"k" * 32, b"l" * 20, bytes(range(32))
PUBLIC = X25519PrivateKey.from_private_bytes(SECRET).public_key().public_bytes_raw()
SIZES = [0, 1, 65_535, 65_536, 65_537, 131_072, 1_500_000]


def seal(source: object, out: Path) -> None:
    arguments = {"file_key": KEY, "container_id": bytes(16), "lister": LISTER, "randbytes": os.urandom}
    seal_to_disk(source, out, **arguments)  # type: ignore[arg-type]


def opener(sealed: SealedFile) -> Opener:
    return Opener(
        sealed.header,
        file_key=KEY,
        lister=LISTER,
        body_length_bytes=sealed.body_length_bytes,
        fetch_segment=sealed.segment,
    )


def theirs(data: bytes, public: bytes = PUBLIC) -> bytes:
    out = io.BytesIO()
    crypt4gh_lib.encrypt([(0, os.urandom(32), public)], io.BytesIO(data), out)
    return out.getvalue()


@pytest.mark.parametrize("size", SIZES)
def test_a_member_becomes_a_file_that_the_reference_reads(tmp_path: Path, size: int) -> None:
    data = os.urandom(size)
    (tmp_path / "reads.bam").write_bytes(data)
    seal(walk(tmp_path / "reads.bam"), tmp_path / "sealed")
    with SealedFile(tmp_path / "sealed") as sealed:
        arguments = {"recipient": PUBLIC, "randbytes": os.urandom}
        written = write_crypt4gh(opener(sealed), "reads.bam", tmp_path / "out.c4gh", **arguments)  # type: ignore[arg-type]
    assert written == (tmp_path / "out.c4gh").stat().st_size
    out = io.BytesIO()
    crypt4gh_lib.decrypt([(0, SECRET, None)], io.BytesIO((tmp_path / "out.c4gh").read_bytes()), out)
    assert out.getvalue() == data


@pytest.mark.parametrize("size", SIZES)
def test_a_file_of_the_reference_is_sealed(tmp_path: Path, size: int) -> None:
    data = os.urandom(size)
    (tmp_path / "reads.bam.c4gh").write_bytes(theirs(data))
    source = Crypt4ghSource(tmp_path / "reads.bam.c4gh", SECRET)
    assert source.content_length_bytes == size
    seal(source, tmp_path / "sealed")
    assert {path.name for path in tmp_path.iterdir()} == {"reads.bam.c4gh", "sealed"}
    with SealedFile(tmp_path / "sealed") as sealed:
        assert opener(sealed).read("reads.bam") == data


def refusal(tmp_path: Path, data: bytes, secret: bytes = SECRET) -> str:
    path = tmp_path / "changed.c4gh"
    path.write_bytes(data)
    try:
        seal(Crypt4ghSource(path, secret), tmp_path / "sealed")
    except BridgeError as error:
        assert not (tmp_path / "sealed").exists()
        return error.code
    (tmp_path / "sealed").unlink()
    return "accepted"


def test_damage_and_other_keys_are_refused(tmp_path: Path) -> None:
    good = theirs(b"x" * 70_000)
    assert refusal(tmp_path, good) == "accepted"
    assert refusal(tmp_path, good, bytes(31) + b"\1") == "crypt4gh.key"
    for at in (0, 8, 11):
        assert refusal(tmp_path, good[:at] + bytes((good[at] ^ 1,)) + good[at + 1 :]) == "crypt4gh.header"
    for size in (0, 11, 14, 18, 40):
        assert refusal(tmp_path, good[:size]) == "crypt4gh.header"
    assert refusal(tmp_path, good[:16] + b"\3\0\0\0" + good[20:]) == "crypt4gh.header"
    assert refusal(tmp_path, good[:16] + b"\xff" * 4 + good[20:]) == "crypt4gh.header"
    for at in (20, 24, 60, 90):
        assert refusal(tmp_path, good[:at] + bytes((good[at] ^ 1,)) + good[at + 1 :]) == "crypt4gh.key"
    assert refusal(tmp_path, good[:24] + bytes(32) + good[56:]) == "crypt4gh.key"  # a point of low order
    assert refusal(tmp_path, good[:12] + b"\1\0\0\0\4\0\0\0" + good[124:]) == "crypt4gh.key"
    for at in (124, 200, len(good) - 1):
        assert refusal(tmp_path, good[:at] + bytes((good[at] ^ 1,)) + good[at + 1 :]) == "crypt4gh.segment"
    assert refusal(tmp_path, good[: 124 + 65_564 + 28]) == "crypt4gh.segment"
    assert refusal(tmp_path, good[:-1]) == "crypt4gh.segment"
    with pytest.raises(InputError) as caught:
        Crypt4ghSource(tmp_path, SECRET)
    assert caught.value.code == "crypt4gh.folder"


def test_an_edit_list_is_refused(tmp_path: Path) -> None:
    out = io.BytesIO()
    crypt4gh_lib.rearrange([(0, SECRET, PUBLIC)], io.BytesIO(theirs(b"x" * 70_000)), out, span=100)
    assert refusal(tmp_path, out.getvalue()) == "crypt4gh.unsupported"


def test_a_source_that_changes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.c4gh"
    path.write_bytes(theirs(b"x" * 70_000))
    source = Crypt4ghSource(path, SECRET)
    os.utime(path, (1, 1))
    with pytest.raises(InputError) as caught:
        seal(source, tmp_path / "sealed")
    assert caught.value.code == "files.changed"


def test_a_recipient_of_low_order_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    seal(walk(tmp_path / "a"), tmp_path / "sealed")
    with SealedFile(tmp_path / "sealed") as sealed, pytest.raises(InputError) as caught:
        write_crypt4gh(opener(sealed), "a", tmp_path / "out", recipient=bytes(32), randbytes=os.urandom)
    assert caught.value.code == "crypt4gh.recipient"


def test_key_files_of_the_reference_are_read(tmp_path: Path) -> None:
    never = pytest.fail
    for passphrase in (b"", b"correct horse"):
        secret, public = tmp_path / "sk", tmp_path / "pk"
        crypt4gh_keys.generate(str(secret), str(public), passphrase=passphrase or None, comment=None)
        key = read_secret_key(secret, (lambda: b"correct horse") if passphrase else (lambda: never("asked")))
        assert X25519PrivateKey.from_private_bytes(key).public_key().public_bytes_raw() == read_public_key(public)
    with pytest.raises(InputError) as caught:
        read_secret_key(secret, lambda: b"wrong")
    assert caught.value.code == "crypt4gh.passphrase"


def test_other_files_are_no_keys(tmp_path: Path) -> None:
    def armoured(kind: str, data: bytes) -> bytes:
        import base64

        body = base64.b64encode(data)
        return (
            f"-----BEGIN CRYPT4GH {kind} KEY-----\n".encode() + body + f"\n-----END CRYPT4GH {kind} KEY-----\n".encode()
        )

    def field(value: bytes) -> bytes:
        return len(value).to_bytes(2, "big") + value

    none = field(b"none")
    bad_public = [b"", b"x" * 5000, armoured("PRIVATE", bytes(32)), armoured("PUBLIC", bytes(31))]
    bad_public.append(armoured("PUBLIC", bytes(32)).replace(b"A", b"!"))
    bad_secret = [armoured("PRIVATE", data) for data in (b"", b"c4gh-v1", b"c4gh-v1" + none + none + field(bytes(31)))]
    bad_secret.append(armoured("PRIVATE", b"c4gh-v1" + field(b"bcrypt") + field(bytes(8)) + none + field(bytes(32))))
    for content, read in [(bad, read_public_key) for bad in bad_public] + [
        (bad, lambda path: read_secret_key(path, lambda: b"")) for bad in bad_secret
    ]:
        (tmp_path / "key").write_bytes(content)
        with pytest.raises(InputError) as caught:
            read(tmp_path / "key")
        assert caught.value.code == "crypt4gh.key-file"
    for path, code in ((tmp_path / "nowhere", "files.missing"), (tmp_path, "files.unreadable")):
        with pytest.raises(InputError) as caught:
            crypt4gh.read_public_key(path)
        assert caught.value.code == code
