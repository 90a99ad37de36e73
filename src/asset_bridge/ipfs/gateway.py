"""Blocks from a trustless gateway: any storage node, light node or public IPFS gateway.

Source: IPFS trustless gateway specification (raw blocks), spec/node-http.md §6. Promises: a block leaves only after it matched its CID; no
answer is held beyond 2 MiB, none waits longer than `timeout_seconds` in all, redirects and compressed answers are refused.
Does not promise: that the gateway is honest about what it does not have.
"""

from __future__ import annotations

import hashlib
import http.client
import time
from collections.abc import Callable
from typing import Any, Protocol

import httpx

from asset_bridge.errors import InputError, TamperedError, UnavailableError
from asset_bridge.ipfs.direct import DirectHttp, HttpxReply, Reply
from asset_bridge.ipld.cid import Cid

MAX_BLOCK_BYTES = 2 * 1024 * 1024  # the most that IPFS implementations exchange
RAW_MEDIA_TYPE = "application/vnd.ipld.raw"
_HEADERS = {"accept": RAW_MEDIA_TYPE, "accept-encoding": "identity", "user-agent": "asset-bridge"}
BUFFER_BYTES = 256 * 1024
_LAST_BYTES = 8 * 1024


Write = Callable[[memoryview, int], object]
"""Takes a part of a block and its place in the block; the part is only good until it returns."""


class BlockSource(Protocol):
    """Anything that serves verified blocks by binary CID (same shape as trade.ports.BlockSource)."""

    @property
    def name(self) -> str:
        """How errors and reports name it."""
        ...

    def get_block(self, cid: bytes) -> bytes:
        """UnavailableError: not there or down; TamperedError: wrong bytes."""
        ...


class Turn(Protocol):
    """What only one transfer may hold at a time (multi.py)."""

    def begin(self) -> None:
        """Wait for it; nothing where it is held already."""
        ...

    def end(self) -> None:
        """Let it go; nothing where it is not held."""
        ...


class Gateway:
    """One gateway.

    Args:
        transport: an httpx transport (apps in this process); None opens sockets.
        verify: as httpx: True, or an SSL context that knows the gateway's certificate.
    """

    def __init__(
        self,
        base_url: str,
        name: str,
        *,
        transport: httpx.BaseTransport | None = None,
        verify: Any = True,
        timeout_seconds: float = 20.0,
    ) -> None:
        url = httpx.URL(base_url)
        if url.scheme not in ("http", "https") or not url.host or url.query or url.userinfo:
            raise InputError("ipfs.url", "A gateway's URL must be http(s)://host[:port].")
        self.name, self.base_url = name, str(url).rstrip("/")
        self._timeout_seconds = timeout_seconds
        self._http: DirectHttp | HttpxReply = (
            DirectHttp(self.base_url, verify, timeout_seconds)
            if transport is None
            else HttpxReply(self.base_url, transport, timeout_seconds)
        )

    def get_block(self, cid: bytes) -> bytes:
        """See BlockSource. Codes: ipfs.block-missing, ipfs.gateway-down, ipfs.gateway-reply, ipfs.gateway-block."""
        parts: list[bytes] = []
        self.copy_block(cid, MAX_BLOCK_BYTES, bytearray(BUFFER_BYTES), lambda part, _at: parts.append(bytes(part)))
        return b"".join(parts)

    def copy_block(self, cid: bytes, most_bytes: int, buffer: bytearray, write: Write, turn: Turn | None = None) -> int:
        """The same, handed to `write` part by part while it comes; returns its size.

        Only when this returns was it the block: whoever wrote parts of another one writes over them later. Where the answer announced
        its length, the last part is written after the whole was found good.

        Args:
            most_bytes: what `write` takes; nothing beyond is written, and the size that is returned tells.
            buffer: BUFFER_BYTES, which its owner uses again.
            turn: begun before the last bytes are taken, so that its owner is the only one who has taken a whole block and not yet
                written it; never held while the gateway lets us wait.
        """
        name = Cid.from_bytes(cid)
        try:
            with self._http.get(f"/ipfs/{name}?format=raw", dict(_HEADERS)) as reply:
                if reply.status in (404, 410):
                    raise UnavailableError(
                        "ipfs.block-missing", f"{self.name} does not have the block {name}.", actor=self.name
                    )
                if reply.status == 422:  # our own nodes say so of a damaged copy
                    raise self._wrong(name)
                if reply.status != 200 or reply.encoding != "identity":
                    raise self._unusable(f"its status is {reply.status}")
                return self._read(name, reply, most_bytes, memoryview(buffer), write, turn)
        except (httpx.HTTPError, httpx.InvalidURL, http.client.HTTPException, OSError) as error:
            if isinstance(error, TimeoutError):
                raise self._unusable("it is too slow") from error
            raise UnavailableError(
                "ipfs.gateway-down", f"{self.name} did not answer.", hint="Another replica is asked.", actor=self.name
            ) from error

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _read(
        self, name: Cid, reply: Reply, most_bytes: int, buffer: memoryview, write: Write, turn: Turn | None
    ) -> int:
        """The block, hashed and written while it is in the processor's cache."""
        if reply.length_bytes is not None and reply.length_bytes > MAX_BLOCK_BYTES:
            raise self._unusable("it sends more than a block can have")
        deadline = time.monotonic() + self._timeout_seconds
        length = reply.length_bytes or 0
        size, digest, held = 0, hashlib.sha256(), memoryview(b"")
        while True:
            last = turn is not None and 0 < length - size <= _LAST_BYTES
            if last and turn is not None:
                reply.wait()
                turn.begin()
            count = reply.into(
                buffer[: max(1, length - size - _LAST_BYTES)] if turn and not last and length else buffer
            )
            if last and turn is not None and size + count < length:
                turn.end()  # whoever lets us wait must not let others wait
            if not count:
                break
            if size + count > MAX_BLOCK_BYTES:
                raise self._unusable("it sends more than a block can have")
            if time.monotonic() > deadline:
                raise self._unusable("it is too slow")
            part = buffer[:count]
            digest.update(part)
            size += count
            if size == length:
                held = part  # until the whole is known to be good
                break
            if size <= most_bytes:
                write(part, size - count)
        if size < length:
            raise self._unusable("it was cut off")
        if digest.digest() != name.digest:
            raise self._wrong(name)
        if held and size <= most_bytes:
            write(held, size - len(held))
        return size

    def _unusable(self, why: str) -> UnavailableError:
        return UnavailableError(
            "ipfs.gateway-reply",
            f"The answer of {self.name} cannot be used: {why}.",
            hint="Another replica is asked.",
            actor=self.name,
        )

    def _wrong(self, cid: Cid) -> TamperedError:
        return TamperedError(
            "ipfs.gateway-block",
            f"{self.name} sent other bytes for the block {cid}.",
            hint="Another replica is asked; tell its operator.",
            actor=self.name,
        )


class StoreSource:
    """A block store of this process as a source."""

    def __init__(self, store: Any, name: str) -> None:
        self.name, self._store = name, store

    def get_block(self, cid: bytes) -> bytes:
        """See BlockSource."""
        block: bytes = self._store.get_block(Cid.from_bytes(cid))
        return block
