"""Crypt4GH (GA4GH, version 1) at the edge: an opened member out, a file of a genome archive in, each in one stream.

Written from the standard. Promises: the plaintext is never on disk; an output appears only when every byte of its
member verified; a source whose file changed, ends early or holds a segment that does not verify ends the sealing.
Does not promise: that a Crypt4GH file is whole. The format cannot tell when its segments were swapped, doubled or cut at
a segment's end; what is sealed is what the file says, and from then on nothing of it can be moved.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import os
from collections.abc import Callable, Generator
from pathlib import Path
from typing import BinaryIO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from asset_bridge.errors import InputError, RefusedError, TamperedError
from asset_bridge.sealing.index import Index, Kind, MemberSpec
from asset_bridge.sealing.open import Opener
from asset_bridge.sealing.seal import ReadInto
from asset_bridge.vault.files import existing_folder, media_type, require_free_space, walk, written_only_if_whole
from asset_bridge.vault.files_sealed import write_all

MAGIC = b"crypt4gh\x01\x00\x00\x00"
SEGMENT_BYTES = 65_536
OVERHEAD_BYTES = 28  # nonce and tag
NAME_ENDING = ".c4gh"
MAX_HEADER_BYTES = 1024 * 1024
MAX_KEY_FILE_BYTES = 4096
_PARAMETERS = bytes(8)  # packet type 0 (data encryption parameters), method 0 (ChaCha20-Poly1305)


def read_public_key(path: Path) -> bytes:
    """The 32 bytes of a recipient's key file.

    Raises:
        InputError(files.missing, files.unreadable), InputError(crypt4gh.key-file): it cannot be read or is no such file.
    """
    key = _armoured(path, "PUBLIC")
    if len(key) != 32:
        raise _key_file("it holds no public key of 32 bytes")
    return key


def read_secret_key(path: Path, passphrase: Callable[[], bytes]) -> bytes:
    """The 32 bytes of a reader's key file; `passphrase` is asked only when the file is locked.

    Raises:
        As `read_public_key`; InputError(crypt4gh.passphrase): it does not open the file.
    """
    rest = memoryview(_armoured(path, "PRIVATE"))
    if rest[:7].tobytes() != b"c4gh-v1":
        raise _key_file("it holds no secret key of version 1")
    rest = rest[7:]

    def field() -> bytes:
        nonlocal rest
        size = int.from_bytes(rest[:2], "big")
        value, rest = bytes(rest[2 : 2 + size]), rest[2 + size :]
        return value

    kdf = field()
    salt = field()[4:] if kdf != b"none" else b""  # behind the count of rounds, which scrypt does not use
    cipher, key = field(), field()
    if (kdf, cipher) == (b"scrypt", b"chacha20_poly1305"):
        locked = Scrypt(salt=salt, length=32, n=1 << 14, r=8, p=1).derive(passphrase())
        try:
            key = ChaCha20Poly1305(locked).decrypt(key[:12].ljust(12, b"\0"), key[12:], None)
        except InvalidTag:
            raise InputError("crypt4gh.passphrase", "the passphrase does not open the Crypt4GH key file") from None
    elif (kdf, cipher) != (b"none", b"none"):
        raise _key_file("it is locked in a way that this release does not know")
    if len(key) != 32:
        raise _key_file("it holds no secret key of 32 bytes")
    return key


def write_crypt4gh(opener: Opener, path: str, out: Path, *, recipient: bytes, randbytes: Callable[[int], bytes]) -> int:
    """Write a member as a Crypt4GH file for `recipient`; the bytes of the file.

    Raises:
        InputError(sealing.no-member, files.*): the member or the place. InputError(crypt4gh.recipient): an impossible key.
        TamperedError(sealing.*): a byte does not verify; nothing is left.
    """
    size = opener.members[opener.member_number(path)].size_bytes
    session = ChaCha20Poly1305(key := randbytes(32))
    header = _header(key, recipient, randbytes)
    total = len(header) + size + OVERHEAD_BYTES * -(-size // SEGMENT_BYTES)
    require_free_space(existing_folder(out.parent), total)
    with written_only_if_whole(out) as file:
        write_all(file, header)
        rest = bytearray()
        for piece in opener.iter(path):
            rest += piece
            whole = len(rest) - len(rest) % SEGMENT_BYTES
            write_all(file, _segments(session, memoryview(bytes(rest[:whole])), randbytes))
            del rest[:whole]
        write_all(file, _segments(session, memoryview(bytes(rest)), randbytes))
    return total


class Crypt4ghSource:
    """A Crypt4GH file as something to seal: decrypted on the way, one member without the ending `.c4gh`."""

    def __init__(self, path: Path, secret_key: bytes) -> None:
        """Read the header.

        Raises:
            InputError(files.*): the file. TamperedError(crypt4gh.header): no Crypt4GH file, or a damaged one.
            InputError(crypt4gh.key): it is not for this key. RefusedError(crypt4gh.unsupported): an edit list.
        """
        self._path, self._looked_at = path, walk(path)
        if self._looked_at.index.kind is not Kind.FILE:
            raise InputError("crypt4gh.folder", f"'{path}' is a folder, not a Crypt4GH file")
        member = self._looked_at.index.members[0]
        with path.open("rb") as file:
            self._keys = _read_header(file, secret_key)
            self._start = file.tell()
        body = member.size_bytes - self._start
        count, rest = divmod(body, SEGMENT_BYTES + OVERHEAD_BYTES)
        if 0 < rest <= OVERHEAD_BYTES:
            raise TamperedError("crypt4gh.segment", "the Crypt4GH file ends in the middle of a segment", actor="you")
        size = count * SEGMENT_BYTES + max(0, rest - OVERHEAD_BYTES)
        name = member.path.removesuffix(NAME_ENDING) or member.path
        self.index = Index.of(Kind.FILE, [MemberSpec(name, size, media_type(name), member.modified_at)])

    @property
    def content_length_bytes(self) -> int:
        """Bytes of the plaintext."""
        return self.index.content_length_bytes

    def readers(self) -> Generator[ReadInto, None, None]:
        """The one reader; the file is read between two looks at it (spec D5)."""
        offset, end = self._start, self._looked_at.content_length_bytes
        plain = memoryview(b"")

        def read_into(view: memoryview) -> int:
            nonlocal offset, plain
            if not plain and offset < end:
                sealed = memoryview(bytearray(min(SEGMENT_BYTES + OVERHEAD_BYTES, end - offset)))
                self._looked_at.read_at(offset, sealed)
                offset += len(sealed)
                plain = memoryview(self._opened(sealed))
            size = min(len(view), len(plain))
            view[:size] = plain[:size]
            plain = plain[size:]
            return size

        yield read_into

    def _opened(self, sealed: memoryview) -> bytes:
        for key in self._keys:
            with contextlib.suppress(InvalidTag):
                return key.decrypt(sealed[:12], sealed[12:], None)
        raise TamperedError("crypt4gh.segment", "a segment of the Crypt4GH file does not verify", actor="you")


def _segments(session: ChaCha20Poly1305, plain: memoryview, randbytes: Callable[[int], bytes]) -> bytes:
    out = []
    for at in range(0, len(plain), SEGMENT_BYTES):
        nonce = randbytes(12)
        out += [nonce, session.encrypt(nonce, plain[at : at + SEGMENT_BYTES], None)]
    return b"".join(out)


def _header(key: bytes, recipient: bytes, randbytes: Callable[[int], bytes]) -> bytes:
    """One packet: the session key, for one reader, by a writer's key made for this file."""
    writer, nonce = randbytes(32), randbytes(12)
    writer_public = X25519PrivateKey.from_private_bytes(writer).public_key().public_bytes_raw()
    shared = _shared(writer, recipient, recipient, writer_public)
    if shared is None:
        raise InputError("crypt4gh.recipient", "the recipient's key is no key that can be sealed to")
    packet = bytes(4) + writer_public + nonce + shared.encrypt(nonce, _PARAMETERS + key, None)
    return MAGIC + (1).to_bytes(4, "little") + (len(packet) + 4).to_bytes(4, "little") + packet


def _shared(secret: bytes, other: bytes, reader: bytes, writer: bytes) -> ChaCha20Poly1305 | None:
    """The packet's key: the first half of BLAKE2b over the shared point and both public keys, reader's first."""
    try:
        point = X25519PrivateKey.from_private_bytes(secret).exchange(X25519PublicKey.from_public_bytes(other))
    except ValueError:  # a point of low order: the shared secret would be zero
        return None
    return ChaCha20Poly1305(hashlib.blake2b(point + reader + writer).digest()[:32])


def _read_header(file: BinaryIO, secret: bytes) -> tuple[ChaCha20Poly1305, ...]:
    """The session keys in the packets that are for this reader; the others cannot be opened and are passed over."""
    reader = X25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw()
    if file.read(len(MAGIC)) != MAGIC:
        raise _malformed("it does not begin with the mark of version 1")
    left, keys = MAX_HEADER_BYTES, []
    for _ in range(int.from_bytes(_exactly(file, 4), "little")):
        size = int.from_bytes(_exactly(file, 4), "little") - 4
        if not 0 <= size <= left:
            raise _malformed("a packet has an impossible length")
        left -= size + 4
        packet = _exactly(file, size)
        if packet[:4] != bytes(4) or size < 64:
            continue  # another method of another reader
        shared = _shared(secret, packet[4:36], reader, packet[4:36])
        if shared is None:
            continue
        try:
            opened = shared.decrypt(packet[36:48], packet[48:], None)
        except InvalidTag:
            continue
        if opened[:8] != _PARAMETERS or len(opened) != 40:
            raise RefusedError(
                "crypt4gh.unsupported",
                "the Crypt4GH file has an edit list or another method of encryption",
                hint="write it anew without an edit list: crypt4gh rearrange or decrypt and encrypt",
            )
        keys.append(ChaCha20Poly1305(opened[8:]))
    if not keys:
        raise InputError("crypt4gh.key", "the Crypt4GH file is not encrypted for this key", hint="try another key")
    return tuple(keys)


def _exactly(file: BinaryIO, size: int) -> bytes:
    data = file.read(size)
    if len(data) != size:
        raise _malformed("it ends in its header")
    return data


def _armoured(path: Path, kind: str) -> bytes:
    """What stands in base64 between the two lines of a key file."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with open(descriptor, "rb") as file:
            text = file.read(MAX_KEY_FILE_BYTES + 1)
    except FileNotFoundError:
        raise InputError("files.missing", f"there is no file '{path}'") from None
    except OSError as error:
        raise InputError("files.unreadable", f"cannot read '{path}': {os.strerror(error.errno or 0)}") from error
    lines = text.strip().splitlines()
    marks = [f"-----{mark} CRYPT4GH {kind} KEY-----".encode() for mark in ("BEGIN", "END")]
    if len(text) > MAX_KEY_FILE_BYTES or len(lines) < 3 or [lines[0], lines[-1]] != marks:
        raise _key_file(f"it is no Crypt4GH {kind.lower()} key")
    try:
        return base64.b64decode(b"".join(lines[1:-1]), validate=True)
    except binascii.Error:
        raise _key_file("it is not base64") from None


def _key_file(why: str) -> InputError:
    return InputError("crypt4gh.key-file", f"the Crypt4GH key file cannot be used: {why}")


def _malformed(why: str) -> TamperedError:
    return TamperedError("crypt4gh.header", f"this is no Crypt4GH file that can be read: {why}", actor="you")
