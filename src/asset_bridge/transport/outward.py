"""Connections to a URL that a stranger chose: to public addresses only, and over after a set time, however slowly it answers.

Source: spec/node-http-tee.md T10b. Promises: every address that the host's name has is a public one, and the connection goes
to one of those that were looked at, so a name that changes its mind between two look-ups gains nothing; TLS still verifies the
name. Handshake, head and body together end in `whole_seconds`, also where a byte comes now and then.
Does not promise: a bound on the look-up of the name, which takes what this machine's resolver takes.
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
import time
from collections.abc import Callable, Iterable
from typing import Any

import httpcore
import httpx

from asset_bridge.errors import UnavailableError

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052
_LOWEST_SECONDS = 0.001


def is_public(address: str) -> bool:
    """Whether this IP address, without a zone, is one that the internet routes to a single host."""
    found = ipaddress.ip_address(address)
    if isinstance(found, ipaddress.IPv6Address):
        if found in _NAT64:
            return is_public(str(ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)))
        if found.ipv4_mapped or found.sixtofour or found.teredo or found.is_site_local:
            return False
    return found.is_global and not found.is_multicast


def not_public(url_or_host: str, why: str) -> UnavailableError:
    """What a URL of a stranger is refused with."""
    return UnavailableError(
        "transport.not-public", f"nothing is sent to {url_or_host!r}: {why}", hint="name a public https address"
    )


class OutwardTransport(httpx.HTTPTransport):
    """One connection for one request.

    Args:
        whole_seconds: from the look-up's end to the last byte.
        allowed: says of each IP address whether it may be talked to.
    """

    def __init__(
        self,
        *,
        whole_seconds: float,
        verify: ssl.SSLContext | bool = True,
        allowed: Callable[[str], bool] = is_public,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        context = httpx.create_ssl_context(verify=verify, trust_env=False)
        super().__init__(verify=context, trust_env=False)
        backend = _Backend(whole_seconds, allowed, monotonic)
        self._pool = httpcore.ConnectionPool(ssl_context=context, max_connections=1, network_backend=backend)


class _Backend(httpcore.NetworkBackend):
    def __init__(self, whole_seconds: float, allowed: Callable[[str], bool], monotonic: Callable[[], float]) -> None:
        self._whole_seconds, self._allowed, self._monotonic = whole_seconds, allowed, monotonic
        self._sockets = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        try:
            found = [str(info[4][0]) for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError(str(error)) from error
        if not found or not all(self._allowed(address) for address in found):
            raise not_public(host, "it has an address that is not a public one")
        ends_at = self._monotonic() + self._whole_seconds
        last: Exception | None = None
        for address in dict.fromkeys(found):
            try:
                stream = self._sockets.connect_tcp(
                    address, port, self._left(ends_at, timeout), local_address, socket_options
                )
                return _Stream(stream, lambda asked: self._left(ends_at, asked))
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                last = error
        assert last is not None
        raise last

    def _left(self, ends_at: float, asked_seconds: float | None) -> float:
        """What is left, at most what was asked for; ReadTimeout where nothing is."""
        left = ends_at - self._monotonic()
        if left < _LOWEST_SECONDS:
            raise httpcore.ReadTimeout("the whole exchange took too long")
        return left if asked_seconds is None else min(left, asked_seconds)


class _Stream(httpcore.NetworkStream):
    """A stream none of whose steps outlasts what is left of the whole."""

    def __init__(self, stream: httpcore.NetworkStream, left: Callable[[float | None], float]) -> None:
        self._stream, self._left = stream, left

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, self._left(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, self._left(timeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, self._left(timeout)), self._left)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
