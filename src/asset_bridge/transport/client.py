"""A node as its caller sees it: signed requests, caps, time-outs, retries, the peer's refusals as our errors.

Source: spec/node-http.md §1 to §3.
Promises: no answer larger than its cap is held; redirects and compressed answers are refused; only idempotent calls are repeated, each time
with a new signature; a peer's failure comes out as the same class, code and actor, its text bounded and printable.
Does not promise: that an answer is true. Whoever asked checks it.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import urlencode

import httpx

from asset_bridge.errors import ACTORS, BY_HTTP_STATUS, BridgeError, InputError, UnavailableError
from asset_bridge.transport.signing import NONCE_BYTES, AccountSigner, sign_request
from asset_bridge.transport.wire import load_json

ANSWER_BYTES = 1_048_576
_CODE = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*\.[a-z0-9]+(-[a-z0-9]+)*")
_BACK_OFF_SECONDS = 0.2
_RETRY_STATUS = (429, 502, 503, 504)


class Peer:
    """One node at one base URL.

    Args:
        name: how errors name it, as in "tee node 0x12ab…".
        signer: the account that signs; None sends unsigned requests.
        clock: Unix seconds. randbytes: for nonces and the spread of the back-off. sleep: waits between attempts.
        transport: an httpx transport (in-process tests); None opens sockets.
        verify: as httpx: True, or an SSL context that knows the peer's certificate.
    """

    def __init__(
        self,
        base_url: str,
        *,
        name: str,
        chain_id: int,
        signer: AccountSigner | None,
        clock: Callable[[], float],
        randbytes: Callable[[int], bytes],
        sleep: Callable[[float], None],
        transport: httpx.BaseTransport | None = None,
        verify: Any = True,
        timeout_seconds: float = 20.0,
        attempts: int = 4,
    ) -> None:
        url = _base_url(base_url)
        self.name, self.base_url = name, str(url).rstrip("/")
        self._chain_id, self._signer, self._clock, self._randbytes, self._sleep = (
            chain_id,
            signer,
            clock,
            randbytes,
            sleep,
        )
        self._attempts = attempts
        self._lock = threading.Lock()
        self._http = httpx.Client(
            transport=transport,
            verify=verify,
            timeout=httpx.Timeout(timeout_seconds, connect=min(timeout_seconds, 5.0)),
            follow_redirects=False,
            trust_env=False,
            headers={"accept-encoding": "identity", "user-agent": "asset-bridge"},
        )

    def get(
        self, path: str, query: Mapping[str, str | int] | None = None, *, max_bytes: int = ANSWER_BYTES
    ) -> dict[str, Any]:
        """GET a JSON object."""
        return self._object(self._call("GET", path, query=query, max_bytes=max_bytes, idempotent=True))

    def post(
        self, path: str, obj: Mapping[str, Any], *, idempotent: bool = False, max_bytes: int = ANSWER_BYTES
    ) -> dict[str, Any]:
        """POST a JSON object; only an idempotent one is repeated after a failure on the way."""
        body = json.dumps(obj, separators=(",", ":"), allow_nan=False).encode()
        return self._object(self._call("POST", path, body=body, max_bytes=max_bytes, idempotent=idempotent))

    def put_bytes(self, path: str, data: bytes, *, sha256: bytes | None = None) -> dict[str, Any]:
        """PUT bytes; `sha256` of them, where the caller has it already, saves hashing them again for the signature."""
        return self._object(
            self._call(
                "PUT",
                path,
                body=data,
                media="application/octet-stream",
                max_bytes=ANSWER_BYTES,
                idempotent=True,
                sha256=sha256,
            )
        )

    def delete(self, path: str) -> dict[str, Any]:
        """DELETE; the answer is a JSON object."""
        return self._object(self._call("DELETE", path, max_bytes=ANSWER_BYTES, idempotent=True))

    def get_bytes(self, path: str, *, accept: str, max_bytes: int) -> bytes:
        """GET bytes of at most `max_bytes`."""
        return self._call("GET", path, accept=accept, max_bytes=max_bytes, idempotent=True)

    def lines(
        self,
        path: str,
        query: Mapping[str, str | int] | None = None,
        *,
        max_line_bytes: int = 262_144,
        idle_seconds: float = 60.0,
    ) -> Iterator[str]:
        """The lines of an endless text answer (server-sent events), until the peer ends it. Raises as the other calls do."""
        target = self._target(path, query)
        request = self._request("GET", target, b"", "application/json", "text/event-stream")
        request.extensions["timeout"] = httpx.Timeout(idle_seconds, connect=5.0).as_dict()
        try:
            response = self._http.send(request, stream=True)
        except httpx.HTTPError as error:
            raise self._down() from error
        try:
            if response.status_code != 200:
                raise self._failure(response.status_code, self._read(response, ANSWER_BYTES))
            rest = b""
            for part in response.iter_raw():
                rest += part
                *whole, rest = rest.split(b"\n")
                for line in whole:
                    yield line.decode("utf-8", "replace")
                if len(rest) > max_line_bytes:
                    raise self._bad_reply("a line of its event stream is too long")
        except httpx.HTTPError as error:
            raise self._down() from error
        finally:
            response.close()

    def pause(self, seconds: float) -> None:
        """Wait, as between attempts."""
        self._sleep(seconds)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str | int] | None = None,
        body: bytes = b"",
        media: str = "application/json",
        accept: str = "application/json",
        max_bytes: int,
        idempotent: bool,
        sha256: bytes | None = None,
    ) -> bytes:
        target = self._target(path, query)
        attempts = self._attempts if idempotent else 1
        for attempt in range(attempts):
            last = attempt == attempts - 1
            try:
                response = self._http.send(self._request(method, target, body, media, accept, sha256), stream=True)
                try:
                    content = self._read(response, max_bytes)
                finally:
                    response.close()
            except httpx.ConnectError as error:
                if (
                    last or attempt >= 1
                ):  # a refused connection seldom heals within a second; another replica is quicker
                    raise self._down() from error
            except httpx.HTTPError as error:
                if last:
                    raise self._down() from error
            else:
                if 200 <= response.status_code < 300:
                    return content
                failure = self._failure(response.status_code, content)
                if last or response.status_code not in _RETRY_STATUS or not _is_passing(failure):
                    raise failure
            spread = 0.5 + self._randbytes(1)[0] / 256
            self._sleep(_BACK_OFF_SECONDS * 2**attempt * spread)
        raise self._down()

    def _target(self, path: str, query: Mapping[str, str | int] | None) -> str:
        return self.base_url + path + (f"?{urlencode(query)}" if query else "")

    def _request(
        self, method: str, target: str, body: bytes, media: str, accept: str, sha256: bytes | None = None
    ) -> httpx.Request:
        headers = {"accept": accept}
        if body:
            headers["content-type"] = media
        request = self._http.build_request(method, target, content=body or None, headers=headers)
        if self._signer is not None:
            path, _, query = request.url.raw_path.decode("ascii").partition("?")
            signed = sign_request(
                self._signer,
                chain_id=self._chain_id,
                method=method,
                authority=request.headers["host"].lower(),
                path=path,
                query=query,
                body=body,
                created_at=int(self._clock()),
                nonce=self._randbytes(NONCE_BYTES),
                body_sha256=sha256,
            )
            request.headers.update(signed)
        return request

    def _read(self, response: httpx.Response, max_bytes: int) -> bytes:
        if response.headers.get("content-encoding", "identity") != "identity":
            raise self._bad_reply("it is compressed, which was not asked for")
        parts, size = [], 0
        for part in response.iter_raw():
            size += len(part)
            if size > max_bytes:
                raise self._bad_reply(f"it is larger than {max_bytes} bytes")
            parts.append(part)
        return b"".join(parts)

    def _object(self, content: bytes) -> dict[str, Any]:
        try:
            obj = load_json(content)
        except ValueError as error:
            raise self._bad_reply("it is not JSON") from error
        if not isinstance(obj, dict):
            raise self._bad_reply("it is not a JSON object")
        return obj

    def _failure(self, status: int, content: bytes) -> BridgeError:
        """The peer's own refusal, or what can be said without trusting it."""
        try:
            failure = self.failure_of(self._object(content), status)
        except BridgeError:
            failure = None
        return failure or self._bad_reply(f"its status is {status}, without a reason in our form")

    @staticmethod
    def failure_of(obj: Mapping[str, Any], status: object) -> BridgeError | None:
        """The error that a peer's JSON says, or None when it is not in the one shape. Its text is bounded and printable."""
        texts = [obj.get(name) for name in ("code", "message", "hint", "actor")]
        if not all(isinstance(text, str) and len(text) <= 600 and text.isprintable() for text in texts):
            return None
        code, message, hint, actor = (str(text) for text in texts)
        if not _CODE.fullmatch(code) or not actor.startswith(ACTORS) or not isinstance(status, int):
            return None
        kind = UnavailableError if status in (404, 429, 502, 504) else BY_HTTP_STATUS.get(status, InputError)
        return kind(code, message, hint=hint, actor=actor)

    def _down(self) -> UnavailableError:
        return UnavailableError(
            "transport.down",
            f"The {self.name} did not answer.",
            hint="Try again later, or use another node.",
            actor=self.name,
        )

    def _bad_reply(self, why: str) -> UnavailableError:
        return UnavailableError(
            "transport.reply",
            f"The answer of the {self.name} cannot be used: {why}.",
            hint="Use another node.",
            actor=self.name,
        )


def _base_url(text: str) -> httpx.URL:
    try:
        url = httpx.URL(text)
        if url.scheme in ("http", "https") and url.host and not (url.query or url.fragment or url.userinfo):
            return url
    except (httpx.InvalidURL, UnicodeError):  # the host's name is read by IDNA, whose refusals are UnicodeErrors
        pass
    raise InputError("transport.url", "A node's URL must be http(s)://host[:port] without user, query or fragment.")


def _is_passing(failure: BridgeError) -> bool:
    """Whether waiting a second may help: the peer's own reason is a passing one, or an intermediary answered."""
    return isinstance(failure, UnavailableError)
