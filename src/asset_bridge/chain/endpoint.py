"""One JSON-RPC endpoint over HTTP: bounded in time and size, hostile until checked.

Source: spec/chain.md §2 (fault rows F7 and F8). Promises: a call returns a value or raises UnavailableError (down, slow, limits,
nonsense) or Reverted (the contract said no); a reply over the bound below is never read whole; no redirect is followed.
Does not promise: that the value is true. Shapes are checked by the `as_*` readers below, truth by agreement (endpoints.py).
"""

from __future__ import annotations

import itertools
import json
import ssl
from typing import Any
from urllib.parse import urlsplit

import httpx

from asset_bridge.errors import InputError, TamperedError, UnavailableError

MAX_REPLY_BYTES = 64 * 1024 * 1024  # a full range of logs with on-chain bodies stays far below
_REVERT_CODES = (3, -32000, -32003, -32015)


class Reverted(Exception):
    """The call was executed and the contract reverted with `data` (ABI-encoded)."""

    def __init__(self, data: bytes) -> None:
        super().__init__("reverted")
        self.data = data


class NodeRefusal(UnavailableError):
    """The endpoint answered with a JSON-RPC error that is not a revert; `reply` is for our own decisions, never shown."""

    def __init__(self, name: str, code: int, reply: str) -> None:
        super().__init__(
            "chain.endpoint-error",
            f"The chain endpoint {name} refused a call (JSON-RPC error {code}).",
            hint="try again, or use another endpoint",
            actor=f"chain endpoint {name}",
        )
        self.reply = reply.lower()


class Endpoint:
    """One RPC endpoint. `name` is scheme, host and port only: a path or user part often holds an access key."""

    def __init__(self, url: str, timeout_seconds: float = 10.0, tls: ssl.SSLContext | None = None) -> None:
        """`tls` replaces the machine's authorities, as for a pinned key. Raises InputError(chain.rpc-url) when `url` is not http(s)."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InputError("chain.rpc-url", "A chain endpoint is an http:// or https:// address.")
        self.name = f"{parts.scheme}://{parts.hostname}" + (f":{parts.port}" if parts.port else "")
        loopback = parts.hostname in ("127.0.0.1", "localhost", "::1")
        # A proxy of the environment never sees loopback traffic. The client may be shared between threads.
        self._client = httpx.Client(
            timeout=timeout_seconds, trust_env=not loopback and tls is None, follow_redirects=False, verify=tls or True
        )
        self.url, self._ids = url, itertools.count(1)

    def _post(self, body: object) -> Any:
        """The parsed reply to one POST; at most MAX_REPLY_BYTES of it are ever read."""
        content = json.dumps(body, separators=(",", ":")).encode()
        reply = bytearray()
        try:
            with self._client.stream(
                "POST", self.url, content=content, headers={"content-type": "application/json"}
            ) as response:
                if response.is_redirect:
                    raise self.down("answers with a redirect")
                for piece in response.iter_bytes(1 << 16):
                    reply += piece
                    if len(reply) > MAX_REPLY_BYTES:
                        raise self.down("sends more than any answer needs")
        except (httpx.HTTPError, OSError):
            raise self.down("does not answer") from None
        try:
            return json.loads(bytes(reply))
        except (ValueError, RecursionError):
            raise self.down("does not speak JSON-RPC") from None

    def _request(self, method: str, params: list[object]) -> dict[str, object]:
        return {"jsonrpc": "2.0", "id": next(self._ids), "method": method, "params": params}

    def down(self, what: str) -> UnavailableError:
        """The error for an endpoint that did not answer usably."""
        return UnavailableError(
            "chain.endpoint-down",
            f"The chain endpoint {self.name} {what}.",
            hint="check that it runs and can be reached, then try again",
            actor=f"chain endpoint {self.name}",
        )

    def lying(self, what: str) -> TamperedError:
        """The error for an endpoint whose answer contradicts itself."""
        return TamperedError(
            "chain.lying-endpoint",
            f"The chain endpoint {self.name} gave an answer that does not verify: {what}.",
            hint="stop using this endpoint; nothing was done with its answer",
            actor=f"chain endpoint {self.name}",
        )

    def call(self, method: str, *params: object) -> Any:
        """The `result` of one call.

        Raises:
            UnavailableError(chain.endpoint-down): no usable answer. UnavailableError(chain.endpoint-error): a JSON-RPC error.
            Reverted: the contract reverted.
        """
        request = self._request(method, list(params))
        reply = self._post(request)
        if not isinstance(reply, dict) or reply.get("id") != request["id"]:
            raise self.down("does not speak JSON-RPC")
        return self._result(reply)

    def batch(self, calls: list[tuple[str, list[object]]]) -> list[Any]:
        """The results of several calls in one round trip, in order; raises as `call` does, for the first that failed."""
        if not calls:
            return []
        if len(calls) == 1:
            return [self.call(calls[0][0], *calls[0][1])]
        requests = [self._request(method, params) for method, params in calls]
        replies = self._post(requests)
        if not isinstance(replies, list) or len(replies) != len(calls):
            raise self.down("answered a batch with something else")
        by_id = {reply.get("id"): reply for reply in replies if isinstance(reply, dict)}
        try:
            return [self._result(by_id[request["id"]]) for request in requests]
        except KeyError:
            raise self.down("answered a batch with something else") from None

    def _result(self, reply: Any) -> Any:
        if not isinstance(reply, dict):
            raise self.down("does not speak JSON-RPC")
        error = reply.get("error")
        if error is None:
            if "result" not in reply:
                raise self.down("gave an answer without a result")
            return reply["result"]
        if not isinstance(error, dict):
            raise self.down("gave a malformed error")
        code, message, data = error.get("code"), error.get("message"), error.get("data")
        code = code if isinstance(code, int) else 0
        message = message if isinstance(message, str) else ""
        if isinstance(data, dict):  # some nodes wrap it
            data = data.get("data")
        if code in _REVERT_CODES and isinstance(data, str) and data.startswith("0x") and "revert" in message.lower():
            raise Reverted(self.as_bytes(data))
        if code == 3 or (code in _REVERT_CODES and "execution reverted" in message.lower()):
            raise Reverted(b"")
        raise NodeRefusal(self.name, code, message)

    # ── shapes: every value that an endpoint sent passes one of these ──
    def as_bytes(self, value: object, length: int | None = None) -> bytes:
        """0x-hex to bytes, of `length` if given."""
        if isinstance(value, str) and value.startswith("0x"):
            try:
                raw = bytes.fromhex(value[2:])
            except ValueError:
                raw = None
            if raw is not None and (length is None or len(raw) == length):
                return raw
        raise self.down("gave malformed bytes")

    def as_int(self, value: object) -> int:
        """An Ethereum quantity (0x-hex, at most 32 bytes)."""
        if isinstance(value, str) and value.startswith("0x") and 3 <= len(value) <= 66:
            try:
                return int(value[2:], 16)
            except ValueError:
                pass
        raise self.down("gave a malformed number")

    def as_object(self, value: object) -> dict[str, Any]:
        """A JSON object."""
        if not isinstance(value, dict):
            raise self.down("gave something other than an object")
        return value
