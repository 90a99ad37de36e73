"""Blocks from a trustless gateway: any storage node, light node or public IPFS gateway.

Source: IPFS trustless gateway specification (raw blocks), spec/node-http.md §6. Promises: a block leaves only after it matched its CID; no
answer is held beyond 2 MiB, none waits longer than `timeout_seconds` in all, redirects and compressed answers are refused.
Does not promise: that the gateway is honest about what it does not have.
"""

from __future__ import annotations

import time
from typing import Any, Protocol

import httpx

from asset_bridge.errors import InputError, TamperedError, UnavailableError
from asset_bridge.ipld.cid import Cid, verify_block

MAX_BLOCK_BYTES = 2 * 1024 * 1024  # the most that IPFS implementations exchange
RAW_MEDIA_TYPE = "application/vnd.ipld.raw"


class BlockSource(Protocol):
    """Anything that serves verified blocks by binary CID (same shape as trade.ports.BlockSource)."""

    @property
    def name(self) -> str:
        """How errors and reports name it."""
        ...

    def get_block(self, cid: bytes) -> bytes:
        """UnavailableError: not there or down; TamperedError: wrong bytes."""
        ...


class Gateway:
    """One gateway.

    Args:
        transport: an httpx transport (in-process tests); None opens sockets.
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
        self._http = httpx.Client(
            transport=transport,
            verify=verify,
            timeout=httpx.Timeout(timeout_seconds, connect=min(5.0, timeout_seconds)),
            limits=httpx.Limits(max_connections=8),
            follow_redirects=False,
            trust_env=False,
            headers={"accept": RAW_MEDIA_TYPE, "accept-encoding": "identity", "user-agent": "asset-bridge"},
        )

    def get_block(self, cid: bytes) -> bytes:
        """See BlockSource. Codes: ipfs.block-missing, ipfs.gateway-down, ipfs.gateway-reply, ipfs.gateway-block."""
        name = Cid.from_bytes(cid)
        try:
            with self._http.stream("GET", f"{self.base_url}/ipfs/{name}?format=raw") as response:
                if response.status_code in (404, 410):
                    raise UnavailableError(
                        "ipfs.block-missing", f"{self.name} does not have the block {name}.", actor=self.name
                    )
                if response.status_code == 422:  # our own nodes say so of a damaged copy
                    raise self._wrong(name)
                if response.status_code != 200 or response.headers.get("content-encoding", "identity") != "identity":
                    raise self._unusable(f"its status is {response.status_code}")
                block = self._read(response)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise UnavailableError(
                "ipfs.gateway-down", f"{self.name} did not answer.", hint="Another replica is asked.", actor=self.name
            ) from error
        try:
            verify_block(name, block)
        except TamperedError as error:
            raise self._wrong(name) from error
        return block

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _read(self, response: httpx.Response) -> bytes:
        deadline = time.monotonic() + self._timeout_seconds
        parts, size = [], 0
        for part in response.iter_raw():
            size += len(part)
            if size > MAX_BLOCK_BYTES:
                raise self._unusable("it sends more than a block can have")
            if time.monotonic() > deadline:
                raise self._unusable("it is too slow")
            parts.append(part)
        return b"".join(parts)

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
