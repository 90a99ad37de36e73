"""A thin typed client of kubo's RPC: exactly the calls that a storage node needs.

Source: kubo's RPC documentation (v0, POST only), kubo 0.42.0. Promises: every call is offline (kubo never looks elsewhere for a block); a
block leaves only after it matched its CID; each call has a time-out; redirects and proxies of the environment are not used; the secret
stands in no error and no `repr`. Does not promise: that what kubo calls pinned is there; whoever needs to know reads the blocks.
"""

from __future__ import annotations

import http.client
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import httpx

from asset_bridge.errors import BridgeError, InputError, TamperedError, UnavailableError
from asset_bridge.ipfs.memory import block_damaged, block_missing, disk_full
from asset_bridge.ipld.cid import DAG_PB, Cid, verify_block

MAX_BLOCK_BYTES = 2 * 1024 * 1024
MAX_ANSWER_BYTES = 64 * 1024 * 1024
CIDS_A_CALL = 500
PIN_SECONDS = 20.0
ACTOR = "storage node"
PROFILE_OPTIONS = {
    "cid-version": "1",
    "hash": "sha2-256",
    "raw-leaves": "true",
    "chunker": "size-1048576",
    "trickle": "false",
    "max-file-links": "1024",
    "inline": "false",
    "wrap-with-directory": "false",
    "fast-provide-root": "false",
}
"""unixfs-v1-2025, named in full: a kubo that is not ours may have other defaults."""
_CODECS = {DAG_PB: "dag-pb"}


@dataclass(frozen=True, slots=True)
class RepoStat:
    """What `repo stat` says: bytes used and the most that kubo means to use."""

    repo_bytes: int
    storage_max_bytes: int


class KuboRpc:
    """One kubo.

    Args:
        url: where its RPC listens, as http://127.0.0.1:5001.
        secret: the bearer token of one of its API.Authorizations, or None.
        timeout_seconds: the longest silence of kubo within a call. transport: as httpx, for tests.
    Raises:
        InputError(ipfs.kubo-url): not an http(s) URL.
    """

    def __init__(
        self,
        url: str,
        *,
        secret: str | None = None,
        timeout_seconds: float = 30.0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        base = httpx.URL(url)
        if base.scheme not in ("http", "https") or not base.host or base.query or base.userinfo:
            raise InputError("ipfs.kubo-url", "kubo's RPC address must be http(s)://host:port", actor="operator")
        self._base = str(base).rstrip("/") + "/api/v0/"
        headers = {"accept-encoding": "identity", "user-agent": "asset-bridge"}
        if secret is not None:
            headers["authorization"] = f"Bearer {secret}"
        self._http = httpx.Client(
            transport=transport,
            timeout=httpx.Timeout(timeout_seconds, connect=min(5.0, timeout_seconds)),
            limits=httpx.Limits(max_connections=32),
            follow_redirects=False,
            trust_env=False,
            headers=headers,
        )

    def __repr__(self) -> str:
        return f"KuboRpc({self._base})"

    # --- the node -----------------------------------------------------------------------------------------------------------

    def version(self) -> str:
        """kubo's version."""
        return str(self._one("version")["Version"])

    def settings(self) -> dict[str, Any]:
        """Its configuration, without its private key."""
        return self._one("config/show")

    def repo_stat(self) -> RepoStat:
        """Space used and allowed."""
        found = self._one("repo/stat", {"size-only": "true"})
        return RepoStat(_integer(found, "RepoSize"), _integer(found, "StorageMax"))

    # --- blocks -------------------------------------------------------------------------------------------------------------

    def block_put(self, cid: Cid, block: bytes) -> None:
        """Store a block, over a damaged copy of it too.

        kubo hashes it itself and says its name; what is not what `cid` names is UnavailableError(ipfs.kubo-reply).
        """
        options = {"cid-codec": _CODECS.get(cid.codec, "raw"), "mhtype": "sha2-256", "pin": "false"}
        found = self._one("block/put", options, file=[block])
        if found.get("Key") != str(cid):
            raise _reply("it stored a block under another name")

    def block_get(self, cid: Cid) -> bytes:
        """A block, verified. UnavailableError(ipfs.block-missing). TamperedError(ipfs.block-damaged): kubo's copy is not what it was."""
        with self._call("block/get", {"arg": str(cid), "offline": "true"}, cid=cid) as response:
            block = _read(response, MAX_BLOCK_BYTES)
        try:
            verify_block(cid, block)
        except TamperedError as error:
            raise block_damaged(cid) from error
        return block

    def block_size(self, cid: Cid) -> int | None:
        """What kubo says of a block's size, without reading it; None when it is not there."""
        try:
            return _integer(self._one("block/stat", {"arg": str(cid), "offline": "true"}, cid=cid), "Size")
        except UnavailableError as error:
            if error.code == "ipfs.block-missing":
                return None
            raise

    def block_remove(self, cids: Sequence[Cid]) -> list[Cid]:
        """Delete blocks; returns those that kubo kept, because a pin needs them."""
        kept = []
        for at in range(0, len(cids), CIDS_A_CALL):
            part = cids[at : at + CIDS_A_CALL]
            options = [("force", "true"), *(("arg", str(cid)) for cid in part)]
            for line in self._lines("block/rm", options, failure_is_last_word=True):
                if line.get("Error"):
                    kept.append(Cid.parse(str(line.get("Hash", ""))))
        return kept

    # --- bodies -------------------------------------------------------------------------------------------------------------

    def dag_import(self, car: Iterable[bytes]) -> int:
        """Import a CAR without a pin (kubo checks each block's hash); returns how many blocks it had.

        kubo's own pinning at the end of an import is not used: it waits for missing blocks on the network, whatever it is told, while
        `pin` says at once that they are missing.

        Raises:
            UnavailableError(ipfs.kubo-reply): the CAR is malformed, or one of its blocks has another hash.
        """
        count = None
        for line in self._lines("dag/import", {"pin-roots": "false", "stats": "true"}, file=car):
            if line.get("Stats"):
                count = _integer(line["Stats"], "BlockCount")
        if count is None:
            raise _reply("an import did not come to its end")
        return count

    def add_file(
        self, path: Path, at: int, length_bytes: int, pin_name: str, ready: Callable[[int], int] | None = None
    ) -> Cid:
        """`length_bytes` of a file from `at` on as a file of the profile unixfs-v1-2025, stored, synced, pinned under `pin_name`.

        kubo makes the blocks; the bytes go from the file to its socket. Returns the root that kubo found.

        Args:
            ready: for a file that is still being written: waits until more than n of these bytes are there, returns how many.
        Raises:
            UnavailableError(ipfs.kubo-reply): also when the file is shorter.
        """
        options = {**PROFILE_OPTIONS, "pin": "true", "pin-name": pin_name, "progress": "false", "quieter": "true"}
        answer = self._upload("add", options, path, at, length_bytes, ready or (lambda _sent: length_bytes))
        lines = [_object(line, None) for line in answer.split(b"\n") if line.strip()]
        try:
            return Cid.parse(str(lines[-1]["Hash"]))
        except (IndexError, KeyError, InputError) as error:
            raise _reply("it names no root") from error

    def dag_export(self, root: Cid) -> Iterator[bytes]:
        """The CAR of everything below `root`, as kubo sends it: whoever reads it checks it (ipld.car)."""
        with self._call("dag/export", {"arg": str(root), "offline": "true", "progress": "false"}, cid=root) as response:
            yield from response.iter_raw()

    def pin(self, root: Cid, name: str) -> None:
        """Pin `root` and everything below it, which kubo reads whole for that.

        A kubo with a network waits there for blocks that it lacks; PIN_SECONDS without progress end that.

        Raises:
            UnavailableError(ipfs.kubo-pin): not everything is there.
        """
        options = {"arg": str(root), "name": name, "progress": "true"}
        done, seen, moved_at = False, 0, time.monotonic()
        try:
            for line in self._lines("pin/add", options, cid=root):
                done = done or str(root) in (line.get("Pins") or [])
                if line.get("Progress", seen) != seen:
                    seen, moved_at = line["Progress"], time.monotonic()
                if not done and time.monotonic() - moved_at > PIN_SECONDS:
                    raise _not_whole()
        except (UnavailableError, TamperedError) as error:
            if error.code in ("ipfs.block-missing", "ipfs.block-damaged"):
                raise _not_whole() from error
            raise
        if not done:
            raise _not_whole()

    def unpin(self, root: Cid) -> bool:
        """Take the pin away; False when there was none."""
        try:
            self._one("pin/rm", {"arg": str(root)})
        except UnavailableError as error:
            if error.code != "ipfs.kubo-not-pinned":
                raise
            return False
        return True

    def pins(self, name_part: str) -> dict[Cid, str]:
        """Recursive pins whose name holds `name_part`, with their names."""
        found = {}
        for line in self._lines("pin/ls", {"type": "recursive", "name": name_part, "stream": "true"}):
            try:
                found[Cid.parse(str(line.get("Cid", "")))] = str(line.get("Name", ""))
            except InputError:
                continue  # a pin of somebody else, of a kind that we never make
        return found

    def pin_name(self, root: Cid) -> str | None:
        """The name of the recursive pin on `root`, empty where it has none; None when `root` is not pinned."""
        try:
            lines = self._lines("pin/ls", {"arg": str(root), "type": "recursive", "names": "true"}, cid=root)
            for line in lines:
                found = (line.get("Keys") or {}).get(str(root))
                if isinstance(found, dict):
                    return str(found.get("Name", ""))
        except UnavailableError as error:
            if error.code not in ("ipfs.kubo-not-pinned", "ipfs.block-missing"):
                raise
        return None

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    # --- inside -------------------------------------------------------------------------------------------------------------

    def _one(self, path: str, options: Any = (), **more: Any) -> dict[str, Any]:
        lines = list(self._lines(path, options, **more))
        if not lines:
            raise _reply("it is empty")
        return lines[0]

    def _lines(
        self,
        path: str,
        options: Any = (),
        *,
        file: Iterable[bytes] | None = None,
        cid: Cid | None = None,
        failure_is_last_word: bool = False,
    ) -> Iterator[dict[str, Any]]:
        """The JSON objects of an answer, one a line. With `failure_is_last_word`, an error after them only ends them."""
        with self._call(path, options, file=file, cid=cid) as response:
            rest = b""
            size = 0
            try:
                for part in response.iter_raw():
                    size += len(part)
                    if size > MAX_ANSWER_BYTES:
                        raise _reply("it is too long")
                    *lines, rest = (rest + part).split(b"\n")
                    yield from (_object(line, cid) for line in lines if line.strip())
            except httpx.RemoteProtocolError:
                if not failure_is_last_word:
                    raise
            if rest.strip():
                yield _object(rest, cid)

    def _upload(
        self, path: str, options: Any, file: Path, at: int, length_bytes: int, ready: Callable[[int], int]
    ) -> bytes:
        """POST a part of a file by sendfile: httpx would take it through this process in small pieces."""
        boundary = os.urandom(16).hex()
        head, tail = _frame(boundary)
        url = httpx.URL(self._base + path, params=options)
        headers = {name: value for name, value in self._http.headers.items() if name not in ("connection", "accept")}
        headers |= {
            "content-type": f"multipart/form-data; boundary={boundary}",
            "content-length": str(len(head) + length_bytes + len(tail)),
        }
        connection = self._plain(url)
        try:
            connection.request("POST", url.raw_path.decode("ascii"), headers=headers)
            connection.sock.sendall(head)
            with open(file, "rb") as content:
                sent = 0
                while sent < length_bytes:
                    part = connection.sock.sendfile(content, at + sent, ready(sent) - sent)
                    if not part:
                        raise _reply("the file ended too early")
                    sent += part
            connection.sock.sendall(tail)
            response = connection.getresponse()
            answer = response.read(MAX_ANSWER_BYTES)
        except (OSError, http.client.HTTPException) as error:
            raise _down(error) from error
        finally:
            connection.close()
        if response.status != 200:
            raise _failure(response.status, answer[:65_536], None)
        return answer

    def _plain(self, url: httpx.URL) -> http.client.HTTPConnection:
        wait = self._http.timeout.read
        if url.scheme == "https":
            context = httpx.create_ssl_context(trust_env=False)
            return http.client.HTTPSConnection(url.host, url.port or 443, timeout=wait, context=context)
        return http.client.HTTPConnection(url.host, url.port or 80, timeout=wait)

    @contextmanager
    def _call(
        self, path: str, options: Any, *, file: Iterable[bytes] | None = None, cid: Cid | None = None
    ) -> Iterator[httpx.Response]:
        content: Iterable[bytes] | None = None
        headers: dict[str, str] = {}
        if file is not None:
            boundary = os.urandom(16).hex()
            content, headers = _multipart(file, boundary), {"content-type": f"multipart/form-data; boundary={boundary}"}
            if isinstance(content, list):  # known in full: no chunks to frame and to take apart
                headers["content-length"] = str(sum(map(len, content)))
        try:
            with self._http.stream(
                "POST", self._base + path, params=httpx.QueryParams(options), content=content, headers=headers
            ) as response:
                if response.status_code != 200:
                    raise _failure(response.status_code, _read(response, 65_536), cid)
                yield response
        except (httpx.HTTPError, httpx.StreamError) as error:
            raise _down(error) from error


def _frame(boundary: str) -> tuple[bytes, bytes]:
    """What stands before and after the one file of a multipart body."""
    head = (
        f'--{boundary}\r\ncontent-disposition: form-data; name="file"; filename="file"\r\n'
        "content-type: application/octet-stream\r\n\r\n"
    ).encode()
    return head, f"\r\n--{boundary}--\r\n".encode()


def _multipart(file: Iterable[bytes], boundary: str) -> Iterable[bytes]:
    head, tail = _frame(boundary)
    return [head, *file, tail] if isinstance(file, list) else chain([head], file, [tail])


def _read(response: httpx.Response, most_bytes: int) -> bytes:
    parts, size = [], 0
    for part in response.iter_raw():
        size += len(part)
        if size > most_bytes:
            raise _reply("it is too long")
        parts.append(part)
    return b"".join(parts)


def _object(line: bytes, cid: Cid | None) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise _reply("it is no JSON object")
    if found.get("Type") == "error":
        raise _failure(500, line, cid)
    return found


def _integer(found: dict[str, Any], name: str) -> int:
    value = found.get(name)
    if isinstance(value, bool) or not isinstance(value, int):
        raise _reply(f"it has no number {name}")
    return value


def _failure(status: int, body: bytes, cid: Cid | None) -> BridgeError:
    """kubo's words only decide which of our errors it is; they are never passed on."""
    text = body.decode("utf-8", "replace").lower()
    if status in (401, 403):
        return UnavailableError(
            "ipfs.kubo-authorization",
            "kubo's RPC refuses our secret.",
            hint="Name a secret of its API.Authorizations that allows /api/v0.",
            actor="operator",
        )
    if "no space left" in text or "quota exceeded" in text:
        return disk_full(0, 0)
    if cid is not None and ("different hash" in text or "did not match" in text):
        return block_damaged(cid)
    if "not pinned" in text:
        return UnavailableError("ipfs.kubo-not-pinned", "kubo has no such pin.", actor=ACTOR)
    if cid is not None and ("could not find" in text or "not found" in text):
        return block_missing(cid)
    return _reply(f"its status is {status}")


def _down(error: Exception) -> UnavailableError:
    return UnavailableError(
        "ipfs.kubo-down",
        f"kubo's RPC does not answer ({type(error).__name__}).",
        hint="See that kubo runs; what is stored is intact.",
        actor=ACTOR,
    )


def _reply(why: str) -> UnavailableError:
    return UnavailableError(
        "ipfs.kubo-reply", f"kubo's answer cannot be used: {why}.", hint="See kubo's log.", actor=ACTOR
    )


def _not_whole() -> UnavailableError:
    return UnavailableError(
        "ipfs.kubo-pin",
        "kubo does not hold every block of the body, or holds damaged ones.",
        hint="Send the missing blocks, then finish again.",
        actor=ACTOR,
    )
