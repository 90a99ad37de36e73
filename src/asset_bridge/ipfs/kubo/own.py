"""A provider's own kubo: it takes a body while the body is sealed, and pins it as a storage node does.

Source: design §6, docs/decisions/0055, 0056. `OwnKubo` is what vault.files_sealed calls Beside. Promises: the root that kubo found is
compared with ours before the body counts as held; a kubo that fails does not end the sealing (`error` says it, `hold_body` does it again);
of what is cut off no pin stays, and what was sent of it is deleted again as long as kubo answers (`left_bytes` 0).
Does not promise: that nothing at all stays of what is cut off. Of a leaf on its way kubo makes a block of the part that came, and `add`
keeps a folder of a hundred bytes around each file; nothing pins either, and `ipfs repo gc` takes both.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import httpx

from asset_bridge.errors import BridgeError, InputError, UnavailableError
from asset_bridge.ipfs.growing import Growing
from asset_bridge.ipfs.kubo.rpc import KuboRpc
from asset_bridge.ipfs.kubo.secret import read_secret
from asset_bridge.ipfs.memory import disk_full, other_content
from asset_bridge.ipld.cid import Cid
from asset_bridge.ipld.unixfs import LEAF_BYTES, FileDag, FileDagBuilder

PIN_NAME = "asset-bridge/"
SETTLE_SECONDS = 0.3
"""How long a kubo whose `add` was cut off may go on writing what it has in hand."""
INTERRUPTED_SECONDS = 35.0


@dataclass(frozen=True, slots=True)
class KuboPlace:
    """Where a kubo is: its RPC's URL, or its repository (IPFS_PATH), whose file `api` says it. `secret_file` holds its bearer token."""

    where: str
    secret_file: str = ""

    def rpc(self) -> KuboRpc:
        """Its RPC as it can be reached now.

        Raises:
            InputError(ipfs.kubo-url): neither a URL nor a repository. InputError(ipfs.kubo-secret): the file cannot be read.
            UnavailableError(ipfs.kubo-down): the repository's kubo does not run.
        """
        secret = read_secret(Path(self.secret_file)) if self.secret_file else None
        return KuboRpc(self._url(), secret=secret)

    def _url(self) -> str:
        if "://" in self.where:
            return self.where
        repo = Path(self.where)
        if not (repo / "config").exists():
            raise InputError(
                "ipfs.kubo-url",
                f"'{self.where}' is neither the URL of a kubo's RPC nor a kubo's repository",
                hint="write it as http://127.0.0.1:5001, or name the folder that IPFS_PATH names",
            )
        try:
            parts = (repo / "api").read_text().strip().split("/")
            _, kind, host, _, port = parts[:5]
        except (OSError, ValueError) as error:
            raise UnavailableError(
                "ipfs.kubo-down", f"The kubo of '{self.where}' does not run.", hint="Start it.", actor="you"
            ) from error
        return str(httpx.URL(scheme="http", host=host if kind != "ip6" else f"[{host}]", port=int(port)))


class OwnKubo:
    """One body on its way into one kubo.

    Args:
        forgetting: told (done, total) while what was cut off is deleted again.
    """

    def __init__(self, rpc: KuboRpc, forgetting: Callable[[int, int], None] | None = None) -> None:
        self._rpc, self._forgetting = rpc, forgetting
        self._growing = Growing(0)
        self._thread: threading.Thread | None = None
        self._path, self._at = Path(), 0
        self._found: Cid | None = None
        self.error: BridgeError | None = None
        """Why kubo does not hold it."""
        self.left_bytes = 0
        """At most so much may lie in kubo that nothing names."""

    def begin(self, path: Path, at: int, length_bytes: int) -> None:
        """See Beside. Raises UnavailableError(ipfs.disk-full | ipfs.kubo-down | ipfs.kubo-authorization …)."""
        stat = self._rpc.repo_stat()
        free = stat.storage_max_bytes - stat.repo_bytes
        if length_bytes > free:
            raise disk_full(length_bytes, free)
        self._path, self._at, self._growing = path, at, Growing(length_bytes)
        self._thread = threading.Thread(target=self._send, name="own-kubo", daemon=True)
        self._thread.start()

    def before(self, offset: int) -> None:
        """See Beside: sealing stays at most growing.AHEAD_BYTES before what kubo has taken."""
        self._growing.before(offset)

    def written(self, offset: int, size_bytes: int) -> None:
        """See Beside."""
        self._growing.written(offset, size_bytes)

    def end(self, body: FileDag | None) -> None:
        """See Beside. Waits for kubo; with None deletes what kubo was sent."""
        if body is None:
            self._growing.fail()
            self._join()
            self._forget()
            return
        try:
            self._join()
        except BaseException:  # interrupted: what kubo makes of what it has is waited for and taken back
            self._growing.fail()
            self._join(INTERRUPTED_SECONDS)
            self._forget()
            raise
        if self._found is not None and self._found != body.root:
            self._rpc.unpin(self._found)
            self.error = other_content(body.root)

    def take_back(self, body: FileDag) -> None:
        """The body is not wanted after all: no pin, no block."""
        try:
            self._rpc.unpin(body.root)
            self._rpc.block_remove([*body.leaves, *body.interior])
        except BridgeError:
            self.left_bytes = body.length_bytes

    def _send(self) -> None:
        length_bytes = self._growing.length_bytes
        try:
            self._found = self._rpc.add_file(
                self._path, self._at, length_bytes, _pin_name(length_bytes), self._growing.wait
            )
        except BridgeError as error:
            self.error = error
        finally:
            self._growing.leave()

    def _join(self, seconds: float | None = None) -> None:
        if self._thread is not None:
            self._thread.join(seconds)

    def _forget(self) -> None:
        sent_bytes = self._growing.there_bytes
        try:
            if self._found is not None:
                self._rpc.unpin(self._found)
            forget_cut_off(self._rpc, self._path, self._at, sent_bytes, self._forgetting)
        except (BridgeError, OSError):
            self.left_bytes = sent_bytes


def hold_body(rpc: KuboRpc, dag: FileDag, path: Path, at: int = 0) -> bool:
    """See that kubo holds a body that lies in a file, pinned as a storage node's; False when it did already. Raises as `add_body`."""
    if rpc.pin_name(dag.root) == _pin_name(dag.length_bytes):
        return False
    add_body(rpc, dag, path, at)
    return True


def add_body(rpc: KuboRpc, dag: FileDag, path: Path, at: int = 0) -> None:
    """Have kubo make and pin the body whose bytes lie in a file from `at` on.

    Raises:
        TamperedError(ipfs.other-content): the bytes are not this body; nothing of it is kept pinned. As KuboRpc.
    """
    found = rpc.add_file(path, at, dag.length_bytes, _pin_name(dag.length_bytes))
    if found != dag.root:
        rpc.unpin(found)
        raise other_content(dag.root)


def forget_cut_off(
    rpc: KuboRpc, path: Path, at: int, sent_bytes: int, progress: Callable[[int, int], None] | None = None
) -> None:
    """Delete what kubo may have stored of the first `sent_bytes` of a body in a file, whose `add` was cut off. Pinned blocks stay."""
    builder, done = FileDagBuilder(), 0
    with open(path, "rb") as body:
        while done < sent_bytes:
            block = os.pread(body.fileno(), min(LEAF_BYTES, sent_bytes - done), at + done)
            if not any(block):  # the end, or a hole that was never written, hence never sent
                break
            builder.add(hashlib.sha256(block).digest(), len(block))
            done += len(block)
            if progress is not None:
                progress(done, sent_bytes)
    if not done:
        return
    dag = builder.finish()
    for again in (False, True):
        if again:
            time.sleep(SETTLE_SECONDS)
        rpc.block_remove([*dict.fromkeys(dag.leaves), *dag.interior])


def _pin_name(length_bytes: int) -> str:
    return f"{PIN_NAME}{length_bytes}"
