"""Where a passphrase comes from, besides a prompt: a file or an open descriptor, never the command line or the environment.

Source: spec/home.md §3. Promises: nothing is read before it is needed. Does not promise: to wipe it afterwards.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from asset_bridge.errors import InputError
from asset_bridge.vault.durable import read_private

Passphrase = Callable[[], str]
MAX_PASSPHRASE_BYTES = 1024


def _text(content: bytes, where: str) -> str:
    if len(content) > MAX_PASSPHRASE_BYTES:
        raise InputError("vault.passphrase-source", f"{where} holds more than {MAX_PASSPHRASE_BYTES} bytes")
    try:
        return content.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise InputError("vault.passphrase-source", f"{where} is not UTF-8 text") from None


def passphrase_from_file(path: Path) -> Passphrase:
    """The first line's worth of a file that only its owner can read; a line end after it does not count."""
    return lambda: _text(read_private(path), "the passphrase file")


def passphrase_from_descriptor(descriptor: int) -> Passphrase:
    """Everything up to the end of an open descriptor, read once."""

    def read() -> str:
        content = b""
        try:
            while piece := os.read(descriptor, MAX_PASSPHRASE_BYTES + 1 - len(content)):
                content += piece
        except OSError:
            raise InputError("vault.passphrase-source", f"descriptor {descriptor} cannot be read") from None
        return _text(content, "the passphrase descriptor")

    return read
