"""A part of a file as a response body, from the file to the socket without passing through this process.

Source: asyncio's loop.sendfile, h11's send_with_data_passthrough. Promises: head and framing are h11's as for any other answer;
over TLS the event loop reads and encrypts instead; the file is closed in every case. Does not promise: to check what is sent.
"""

from __future__ import annotations

import asyncio
from typing import Any

import h11
from starlette.types import Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from asset_bridge.transport.calls import FilePart

_WIRE = "asset_bridge.wire"


class FileProtocol(H11Protocol):
    """uvicorn's own protocol, which also tells an app of its connection."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See asyncio.Protocol."""
        super().connection_made(transport)
        self.app_state = {**self.app_state, _WIRE: (transport, self.conn)}


class _Length:
    """What h11 counts in place of bytes that it does not see."""

    def __init__(self, length: int) -> None:
        self._length = length

    def __len__(self) -> int:
        return self._length


async def send_part(part: FilePart, scope: Scope, send: Send) -> None:
    """The body of an answer whose head has gone out with its length. Raises nothing; a connection that fails is closed."""
    try:
        wire: tuple[asyncio.Transport, h11.Connection] | None = scope.get("state", {}).get(_WIRE)
        if wire is None:  # an app in this process (tests), or another server
            part.file.seek(part.offset)
            await send({"type": "http.response.body", "body": part.file.read(part.length)})
            return
        transport, connection = wire
        counted: Any = _Length(part.length)
        try:
            connection.send_with_data_passthrough(h11.Data(data=counted))
            sent = await asyncio.get_running_loop().sendfile(transport, part.file, part.offset, part.length)
        except (OSError, RuntimeError, h11.LocalProtocolError):  # the client went away
            transport.abort()
            return
        if sent != part.length:  # the file was cut meanwhile: what was announced cannot be kept
            transport.abort()
            return
        await send({"type": "http.response.body", "body": b""})
    finally:
        part.file.close()
