"""The file that holds the bearer token of a kubo's RPC: one reader for providers and for operators of storage nodes."""

from __future__ import annotations

from pathlib import Path

from asset_bridge.errors import InputError


def read_secret(path: Path) -> str:
    """Its text without blanks around it. The token reaches no message.

    Raises:
        InputError(ipfs.kubo-secret): the file cannot be read, or is not text.
    """
    try:
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        raise InputError(
            "ipfs.kubo-secret",
            f"the file '{path}' with kubo's secret cannot be read: {why}",
            hint="name it with --kubo-secret-file",
        ) from None
