"""A passphrase over bytes: the outer form of the keystore and of the `keys` backup.

Source: spec/home.md §3. scrypt and AES-256-GCM; the parameters stand in the envelope and are authenticated.
Promises: a flipped bit anywhere, a wrong passphrase and another purpose are refused; a hostile file cannot ask for more than
MAX_COST of memory. Does not promise: strength against a guessed passphrase.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from asset_bridge.errors import InputError, RefusedError, TamperedError

MAGIC = b"ABKEYS\x1a\n"  # the two control bytes show a transfer in text mode
VERSION = 1
SCRYPT = 1
HEAD_BYTES = 16
SALT_BYTES = 32
NONCE_BYTES = 12
TAG_BYTES = 16
MIN_PASSPHRASE_CHARACTERS = 8


@dataclass(frozen=True, slots=True)
class Cost:
    """scrypt parameters: N = 2^log2_n; memory is 128 · r · N bytes."""

    log2_n: int
    r: int
    p: int


# 64 MiB (128·r·N), so that a command that also streams stays under 200 MB; p makes up for the smaller N: the work N·r·p = 2^21
# is that of N = 2^18, r = 8, which would take 256 MiB (docs/decisions/0010-keystore-cost.md).
DEFAULT_COST = Cost(16, 8, 4)
MIN_COST = Cost(16, 8, 1)  # a reader refuses less, and homes on a development chain have it; tests lower it
MAX_COST = Cost(20, 8, 8)


def _derive(passphrase: str, salt: bytes, cost: Cost) -> bytes:
    normal = unicodedata.normalize("NFC", passphrase).encode()
    return Scrypt(salt=salt, length=32, n=1 << cost.log2_n, r=cost.r, p=cost.p).derive(normal)


def seal_envelope(
    content: bytes, passphrase: str, *, purpose: bytes, randbytes: Callable[[int], bytes], cost: Cost = DEFAULT_COST
) -> bytes:
    """`content` under `passphrase`. `purpose` separates the keystore from a backup; it is authenticated, not stored.

    Raises:
        InputError(vault.passphrase-short): fewer than MIN_PASSPHRASE_CHARACTERS characters.
    """
    if len(passphrase) < MIN_PASSPHRASE_CHARACTERS:
        raise InputError(
            "vault.passphrase-short",
            f"the passphrase has fewer than {MIN_PASSPHRASE_CHARACTERS} characters",
            hint="several words are easy to keep in mind",
        )
    head = MAGIC + bytes((VERSION, SCRYPT, cost.log2_n, cost.r, cost.p, 0, 0, 0))
    salt, nonce = randbytes(SALT_BYTES), randbytes(NONCE_BYTES)
    sealed = AESGCM(_derive(passphrase, salt, cost)).encrypt(nonce, content, purpose + b"\0" + head + salt)
    return head + salt + nonce + sealed


def cost_of(envelope: bytes) -> Cost:
    """What an envelope that was opened cost, for the one that takes its place."""
    return Cost(*envelope[10:13])


def open_envelope(envelope: bytes, passphrase: str, *, purpose: bytes) -> bytes:
    """The content of an envelope.

    Raises:
        TamperedError(vault.keystore): not an envelope, or one with impossible parameters.
        RefusedError(vault.version): written by a newer program.
        RefusedError(vault.passphrase): the passphrase is wrong, or the envelope was changed (AES-GCM cannot tell the two apart).
    """
    body = HEAD_BYTES + SALT_BYTES + NONCE_BYTES
    if len(envelope) < body + TAG_BYTES or envelope[:8] != MAGIC:
        raise TamperedError("vault.keystore", "the keystore is not what this program writes")
    version, kind, log2_n, r, p = envelope[8:13]
    if version != VERSION or kind != SCRYPT:
        raise RefusedError(
            "vault.version", f"the keystore has version {version}.{kind}, this program knows {VERSION}.{SCRYPT}"
        )
    low, high = MIN_COST, MAX_COST
    plausible = low.log2_n <= log2_n <= high.log2_n and low.r <= r <= high.r and low.p <= p <= high.p
    if not plausible or envelope[13:HEAD_BYTES] != bytes(3):
        raise TamperedError("vault.keystore", "the keystore has parameters that this program never writes")
    salt, nonce = envelope[HEAD_BYTES : HEAD_BYTES + SALT_BYTES], envelope[HEAD_BYTES + SALT_BYTES : body]
    key = _derive(passphrase, salt, Cost(log2_n, r, p))
    try:
        return AESGCM(key).decrypt(nonce, envelope[body:], purpose + b"\0" + envelope[: HEAD_BYTES + SALT_BYTES])
    except InvalidTag:
        raise RefusedError(
            "vault.passphrase",
            "the passphrase does not open the keystore, or the keystore was damaged",
            hint="try again; then compare with a backup",
        ) from None
