"""What an import knows so far: its tree, and which leaves are here. No files.

Source: spec/node-http.md §7. Interior blocks may come in any order; once all are known the tree is checked as a whole against the profile
(ipld.read_dag), and every leaf has its places. Used by every store and by the resumable download.
"""

from __future__ import annotations

from collections.abc import Iterable

from asset_bridge.errors import InputError
from asset_bridge.ipfs.store import MOST_MISSING_LISTED, ImportState
from asset_bridge.ipld.cid import DAG_PB, RAW, Cid
from asset_bridge.ipld.unixfs import FileDag, leaf_count, parse_file_node, read_dag

_LINKS = 1024


class Plan:
    """The state of one import. Not thread-safe; whoever owns it locks."""

    def __init__(self, root: Cid, length_bytes: int) -> None:
        self.root, self.length_bytes = root, length_bytes
        self.interior: dict[Cid, bytes] = {}
        self._wanted: dict[Cid, None] = {root: None}
        """Interior blocks that are named by one at hand, and not here; in the order they were named."""
        self.dag: FileDag | None = None
        self.pending: dict[Cid, int] = {}
        """Leaves that came before the tree was known, and their sizes."""
        self._places: dict[Cid, list[int]] = {}
        self._have = bytearray()
        self._have_count = 0
        self._done_bytes = 0
        if root.codec == RAW:
            self._set_dag(FileDag(root, length_bytes, (root,), {}))

    def add_interior(self, cid: Cid, block: bytes) -> bool:
        """Take an interior block whose hash was checked; True when the tree is now whole for the first time.

        Raises:
            TamperedError(ipld.node): not a canonical file node. TamperedError(ipld.shape): the whole is not the profile's tree.
            InputError(ipfs.foreign-block): it belongs to another file.
        """
        if self.dag is not None:
            if cid not in self.dag.interior:
                raise foreign(cid, self.root)
            return False
        parse_file_node(block)
        if cid not in self.interior and len(self.interior) > leaf_count(self.length_bytes) // (_LINKS - 1) + 3:
            raise foreign(cid, self.root)
        self.interior[cid] = block
        self._reach(cid)
        if self._wanted:
            return False
        dag = read_dag(self.root, self.length_bytes, self.interior.__getitem__)
        self._set_dag(dag)
        return True

    def places(self, cid: Cid, size_bytes: int) -> list[int]:
        """The leaf numbers of a leaf of the known tree. Raises InputError(ipfs.foreign-block)."""
        places = self._places.get(cid)
        if self.dag is None or places is None or self.dag.leaf_size(places[0]) != size_bytes:
            raise foreign(cid, self.root)
        return places

    def add_pending(self, cid: Cid, size_bytes: int) -> None:
        """Note a leaf that came before the tree. Raises InputError(ipfs.foreign-block) when there are more than the file has."""
        if cid not in self.pending and len(self.pending) >= leaf_count(self.length_bytes):
            raise foreign(cid, self.root)
        self.pending[cid] = size_bytes

    def mark(self, numbers: Iterable[int]) -> None:
        """Leaf numbers that are here now."""
        assert self.dag is not None
        for number in numbers:
            if not self._have[number]:
                self._have[number] = 1
                self._have_count += 1
                self._done_bytes += self.dag.leaf_size(number)

    def has(self, number: int) -> bool:
        """Whether leaf `number` is here."""
        return bool(self._have[number])

    @property
    def done_bytes(self) -> int:
        """Bytes of the leaves that are here."""
        return self._done_bytes if self.dag is not None else min(sum(self.pending.values()), self.length_bytes)

    @property
    def complete(self) -> bool:
        """The tree and every leaf are here."""
        return self.dag is not None and self._have_count == len(self.dag.leaves)

    def state(self, *, finished: bool = False) -> ImportState:
        """As the port shows it; `complete` is true only for a finished body."""
        if self.dag is None:
            unknown = tuple(self._wanted)
            count = len(unknown) + leaf_count(self.length_bytes) - len(self.pending)
            return ImportState(
                self.root, self.length_bytes, False, unknown[:MOST_MISSING_LISTED], count, self.done_bytes
            )
        count = len(self.dag.leaves) - self._have_count
        missing: list[Cid] = []
        if count:
            for number, leaf in enumerate(self.dag.leaves):
                if not self._have[number]:
                    missing.append(leaf)
                    if len(missing) == MOST_MISSING_LISTED:
                        break
        return ImportState(self.root, self.length_bytes, finished, tuple(missing), count, self._done_bytes)

    def _reach(self, cid: Cid) -> None:
        """`cid` came: if it was named, what it names is wanted, or reached in turn where it came before its parent."""
        reached = [cid] if cid in self._wanted else []
        while reached:
            here = reached.pop()
            self._wanted.pop(here, None)
            for link in parse_file_node(self.interior[here]).links:
                if link.cid.codec == DAG_PB and link.cid in self.interior:
                    reached.append(link.cid)
                elif link.cid.codec == DAG_PB:
                    self._wanted[link.cid] = None

    def _set_dag(self, dag: FileDag) -> None:
        self.dag = dag
        self.interior = dict(dag.interior)
        self._have = bytearray(len(dag.leaves))
        for number, leaf in enumerate(dag.leaves):
            self._places.setdefault(leaf, []).append(number)


def foreign(cid: Cid, root: Cid) -> InputError:
    """A block that is no part of the file."""
    return InputError("ipfs.foreign-block", f"The block {cid} is no part of {root}.")
