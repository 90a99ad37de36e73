"""A file from several replicas at once, to disk, resumable; small documents; random samples.

Source: spec/node-http.md §6. Promises: a block counts once its hash was right, and the file has its name only when every block counts; a
block on disk is never fetched again (what is there is decided by its hash); a replica that sends wrong bytes or nothing three times running
is left aside and named, and asked again only for blocks that nobody else gave; the name appears after fsync; memory: a part of a block a
worker.
Does not promise: that the content opens; that rests on FLOE's tags.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from asset_bridge.errors import BridgeError, InputError, StoppedError, TamperedError, UnavailableError
from asset_bridge.ipfs.embedded import mark_verified
from asset_bridge.ipfs.files import disk_errors, fsync_path, write_at
from asset_bridge.ipfs.gateway import BUFFER_BYTES, BlockSource, Gateway
from asset_bridge.ipfs.memory import disk_full
from asset_bridge.ipfs.plan import Plan
from asset_bridge.ipfs.store import check_length
from asset_bridge.ipld.cid import DAG_PB, Cid, verify_block
from asset_bridge.ipld.unixfs import LEAF_BYTES, FileDag, read_dag

Progress = Callable[[str, int, int], None]
MAX_DOCUMENT_BYTES = 64 * 1024 * 1024
FAILURES_ALLOWED = 3
MOST_NAMED = 5


@dataclass(frozen=True, slots=True)
class Failure:
    """What a replica did wrong: its name, the error's code, and how often."""

    source: str
    code: str
    count: int


@dataclass(frozen=True, slots=True)
class FetchReport:
    """How a transfer went. `reused_bytes` were on disk already."""

    length_bytes: int
    fetched_bytes: int
    reused_bytes: int
    bad: tuple[Failure, ...]


class MultiSource:
    """Several replicas as one source of blocks. `name` is used in its own errors."""

    def __init__(self, sources: Sequence[BlockSource], *, name: str = "storage nodes", workers: int = 4) -> None:
        self.name, self._sources, self._workers = name, tuple(sources), workers
        self._lock = threading.Lock()
        self._failures: dict[tuple[str, str], int] = {}
        self._dropped: set[int] = set()
        self._row: dict[int, int] = {}

    @property
    def bad(self) -> tuple[Failure, ...]:
        """All failures so far."""
        with self._lock:
            return tuple(Failure(source, code, count) for (source, code), count in sorted(self._failures.items()))

    def get_block(self, cid: bytes) -> bytes:
        """A block from the first replica that has it; dropped replicas come last. Raises as `_none_left`."""
        order = sorted(range(len(self._sources)), key=lambda number: number in self._dropped)
        errors = []
        for number in order:
            try:
                block = _verified(self._sources[number], Cid.from_bytes(cid))
            except BridgeError as error:
                self._note(number, error)
                errors.append(error)
            else:
                self._row[number] = 0
                return block
        raise self._none_left(1, errors, [Cid.from_bytes(cid)])

    def tree(self, root: Cid, length_bytes: int) -> FileDag:
        """The verified tree of a file."""
        check_length(root, length_bytes)
        if length_bytes <= LEAF_BYTES:
            return FileDag(root, length_bytes, (root,), {})
        return read_dag(root, length_bytes, lambda cid: self.get_block(cid.to_bytes()))

    def fetch_bytes(self, root: Cid, length_bytes: int) -> bytes:
        """A small file whole. Raises UnavailableError(ipfs.too-long) above 64 MiB, and as `get_block`."""
        if length_bytes > MAX_DOCUMENT_BYTES:
            raise UnavailableError(
                "ipfs.too-long", f"A document may have at most {MAX_DOCUMENT_BYTES} bytes.", actor="provider"
            )
        dag = self.tree(root, length_bytes)
        parts = []
        for number, leaf in enumerate(dag.leaves):
            block = self.get_block(leaf.to_bytes())
            _check_size(dag, number, block)
            parts.append(block)
        return b"".join(parts)

    def sample(
        self, root: Cid, length_bytes: int, count: int, randbytes: Callable[[int], bytes]
    ) -> tuple[int, tuple[Failure, ...]]:
        """Ask every replica for `count` random leaves, all of a shorter file: (replicas where all were good, failures by replica)."""
        dag = self.tree(root, length_bytes)
        good, failures = 0, []
        for source in self._sources:
            failure: BridgeError | None = None
            for number in _draw(len(dag.leaves), count, randbytes):
                try:
                    _verified(source, dag.leaves[number])
                except BridgeError as error:
                    failure = error
                    break
            if failure is None:
                good += 1
            else:
                failures.append(Failure(source.name, failure.code, 1))
        return good, tuple(failures)

    def fetch_file(
        self,
        root: Cid,
        length_bytes: int,
        target: Path,
        *,
        progress: Progress | None = None,
        stop: threading.Event | None = None,
    ) -> FetchReport:
        """The file at `target`, which must not exist; `target`.part and `target`.tree hold what is there until it is whole.

        Raises:
            InputError(ipfs.target-exists). UnavailableError(ipfs.disk-full): what is left to fetch does not fit.
            UnavailableError(ipfs.replicas-down): blocks are left that no replica gives. TamperedError(ipfs.replicas-damaged): and one of
            them answered with wrong bytes. StoppedError(ipfs.stopped): `stop` was set. Calling again goes on in each case.
        """
        if target.exists():
            raise InputError("ipfs.target-exists", "The file to write exists already.", hint="Choose another name.")
        part, tree = target.with_name(target.name + ".part"), target.with_name(target.name + ".tree")
        plan = self._load_plan(root, length_bytes, tree)
        assert plan.dag is not None
        with disk_errors():
            descriptor = os.open(part, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                os.ftruncate(descriptor, length_bytes)
                mark_verified(plan, part)
                reused = plan.done_bytes
                free = shutil.disk_usage(target.parent).free
                if length_bytes - reused > free:
                    raise disk_full(length_bytes - reused, free)
                transfer = _Transfer(self, plan, descriptor, progress, stop)
                transfer.run(self._workers)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            os.rename(part, target)
            fsync_path(target.parent)
            tree.unlink(missing_ok=True)
        return FetchReport(length_bytes, length_bytes - reused, reused, self.bad)

    def _load_plan(self, root: Cid, length_bytes: int, tree: Path) -> Plan:
        """The tree from what an earlier run kept and from the replicas; interior blocks are not fetched twice either."""
        kept = _read_tree(tree)

        def get(cid: Cid) -> bytes:
            if cid not in kept:
                kept[cid] = self.get_block(cid.to_bytes())
                _append_tree(tree, kept[cid])
            return kept[cid]

        check_length(root, length_bytes)
        plan = Plan(root, length_bytes)
        if plan.dag is None:
            for cid, block in read_dag(root, length_bytes, get).interior.items():
                plan.add_interior(cid, block)
        return plan

    def _note(self, number: int, error: BridgeError) -> None:
        """Count a failure; whoever fails several times running is left aside. Not to have a block is no failing."""
        with self._lock:
            key = (self._sources[number].name, error.code)
            self._failures[key] = self._failures.get(key, 0) + 1
            if error.code != "ipfs.block-missing":
                self._row[number] = self._row.get(number, 0) + 1
            if self._row.get(number, 0) >= FAILURES_ALLOWED:
                self._dropped.add(number)

    def _none_left(self, missing: int, errors: Sequence[BridgeError], named: Sequence[Cid]) -> BridgeError:
        names = ", ".join(f"{failure.source}: {failure.code}" for failure in self.bad) or "none is known"
        which = ", ".join(str(cid) for cid in named[:MOST_NAMED]) + (" …" if missing > MOST_NAMED else "")
        sentence = f"{missing} block(s) cannot be had from any replica ({names}): {which}."
        hint = "Run the same command again when a replica is back; what is here is kept."
        if any(isinstance(error, TamperedError) for error in errors):
            return TamperedError("ipfs.replicas-damaged", sentence, hint=hint, actor="storage node")
        return UnavailableError("ipfs.replicas-down", sentence, hint=hint, actor="storage node")


class _Transfer:
    """One run of `fetch_file`: workers bound to a replica each take leaf numbers from one queue."""

    def __init__(
        self, owner: MultiSource, plan: Plan, descriptor: int, progress: Progress | None, stop: threading.Event | None
    ) -> None:
        assert plan.dag is not None
        self._owner, self._plan, self._dag, self._descriptor = owner, plan, plan.dag, descriptor
        self._progress, self._stop = progress, stop or threading.Event()
        self._wake = threading.Condition()
        self._whole = threading.Lock()
        self._todo = deque(number for number in range(len(self._dag.leaves)) if not plan.has(number))
        self._busy = 0
        self._failed_at: dict[int, set[int]] = {}
        self._hopeless: dict[int, set[int]] = {}
        """Leaf number → replicas that do not have it or gave wrong bytes; asking them again is useless."""
        self._errors: list[BridgeError] = []
        self._fatal: BaseException | None = None

    def run(self, workers: int) -> None:
        """Fetch everything, or raise."""
        owner = self._owner
        count = min(len(self._todo), max(workers, len(owner._sources)))
        if owner._sources:
            threads = [
                threading.Thread(target=self._work, args=(number % len(owner._sources),), daemon=True)
                for number in range(count)
            ]
            for thread in threads:
                thread.start()
            try:
                for thread in threads:
                    thread.join()
            except BaseException:
                self._stop.set()
                raise
        if self._fatal is not None:
            raise self._fatal
        if self._stop.is_set():
            raise StoppedError(
                "ipfs.stopped", "The transfer was stopped.", hint="Run the same command again; it goes on."
            )
        if self._todo:
            self._last_resort()
        if not self._plan.complete:
            state = self._plan.state()
            raise owner._none_left(state.missing_count, self._errors, state.missing)

    def _work(self, source: int) -> None:
        buffer = bytearray(BUFFER_BYTES)
        while (number := self._take(source)) is not None:
            turn = _Turn(self._whole)
            try:
                self._fetch(self._owner._sources[source], number, buffer, turn)
            except BridgeError as error:
                self._give_back(source, number, error)
                continue
            except BaseException as error:  # noqa: BLE001 - handed to the caller's thread
                self._end(error)
                return
            finally:
                turn.end()
            with self._wake:
                self._done(source, number)
                self._busy -= 1
                self._wake.notify_all()

    def _fetch(self, replica: BlockSource, number: int, buffer: bytearray, turn: _Turn) -> None:
        """One leaf to its place in the file. Parts of a wrong one may stay there: it is not marked, so another writes over them."""
        leaf, size = self._dag.leaves[number], self._dag.leaf_size(number)
        if isinstance(replica, Gateway):

            def write(part: memoryview, at: int) -> None:
                write_at(self._descriptor, part, number * LEAF_BYTES + at)

            if replica.copy_block(leaf.to_bytes(), size, buffer, write, turn) != size:
                raise _other_size()
            return
        block = _verified(replica, leaf)
        _check_size(self._dag, number, block)
        turn.begin()
        write_at(self._descriptor, block, number * LEAF_BYTES)

    def _done(self, source: int, number: int) -> None:
        self._plan.mark([number])
        self._owner._row[source] = 0
        if self._progress is not None:
            self._progress("download", self._plan.done_bytes, self._dag.length_bytes)

    def _last_resort(self) -> None:
        """Blocks that nobody gave: once more each replica that neither lacks nor damaged it, until it fails three times more."""
        left = dict.fromkeys(range(len(self._owner._sources)), FAILURES_ALLOWED)
        for number in sorted(self._todo):
            for source in [source for source, chances in left.items() if chances]:
                if self._stop.is_set():
                    return
                if source in self._hopeless.get(number, ()):
                    continue
                try:
                    block = _verified(self._owner._sources[source], self._dag.leaves[number])
                    _check_size(self._dag, number, block)
                except BridgeError as error:
                    self._owner._note(source, error)
                    self._errors.append(error)
                    left[source] -= error.code != "ipfs.block-missing"
                    continue
                write_at(self._descriptor, block, number * LEAF_BYTES)
                self._done(source, number)
                break

    def _take(self, source: int) -> int | None:
        """The next leaf for this replica; None when it has nothing more to give."""
        with self._wake:
            while True:
                if self._fatal is not None or self._stop.is_set() or source in self._owner._dropped:
                    self._wake.notify_all()
                    return None
                for _ in range(len(self._todo)):
                    number = self._todo.popleft()
                    if source not in self._failed_at.get(number, ()):
                        self._busy += 1
                        return number
                    self._todo.append(number)
                if not self._busy:
                    self._wake.notify_all()
                    return None
                self._wake.wait(0.5)

    def _give_back(self, source: int, number: int, error: BridgeError) -> None:
        self._owner._note(source, error)
        with self._wake:
            self._failed_at.setdefault(number, set()).add(source)
            if isinstance(error, TamperedError) or error.code == "ipfs.block-missing":
                self._hopeless.setdefault(number, set()).add(source)
            self._errors.append(error)
            self._todo.append(number)
            self._busy -= 1
            self._wake.notify_all()

    def _end(self, error: BaseException) -> None:
        with self._wake:
            self._fatal = self._fatal or error
            self._busy -= 1
            self._wake.notify_all()


def _draw(total: int, count: int, randbytes: Callable[[int], bytes]) -> list[int]:
    """`count` different numbers below `total`, by chance; all of them where there are not more."""
    if count >= total:
        return list(range(total))
    drawn: dict[int, None] = {}
    while len(drawn) < count:
        drawn[int.from_bytes(randbytes(16), "big") % total] = None
    return list(drawn)


class _Turn:
    """At most one block is whole in memory and not yet written, so that a kill costs at most one block a second time."""

    def __init__(self, whole: threading.Lock) -> None:
        self._whole, self._mine = whole, False

    def begin(self) -> None:
        if not self._mine:
            self._whole.acquire()
            self._mine = True

    def end(self) -> None:
        if self._mine:
            self._mine = False
            self._whole.release()


def _verified(source: BlockSource, cid: Cid) -> bytes:
    """A block of a replica, hashed once: a Gateway has done it, of anything else only its word is known."""
    block = source.get_block(cid.to_bytes())
    if not isinstance(source, Gateway):
        verify_block(cid, block)
    return block


def _check_size(dag: FileDag, number: int, block: bytes) -> None:
    if len(block) != dag.leaf_size(number):
        raise _other_size()


def _other_size() -> TamperedError:
    return TamperedError("ipfs.leaf-size", "A block of the file has another size than its place.", actor="provider")


def _read_tree(path: Path) -> dict[Cid, bytes]:
    """Interior blocks that an earlier run appended; a torn end is cut off, and every block is verified when it is used."""
    kept: dict[Cid, bytes] = {}
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return kept
    at = 0
    while at + 4 <= len(raw):
        end = at + 4 + int.from_bytes(raw[at : at + 4], "big")
        if end > len(raw):
            break
        block = raw[at + 4 : end]
        kept[Cid(DAG_PB, hashlib.sha256(block).digest())] = block
        at = end
    if at < len(raw):
        os.truncate(path, at)
    return kept


def _append_tree(path: Path, block: bytes) -> None:
    with disk_errors(), open(path, "ab") as out:
        out.write(len(block).to_bytes(4, "big") + block)
