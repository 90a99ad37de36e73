"""Two storage nodes, a light node, a provider and a consumer as processes; any of them traced, counted and killed by strace."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path

from asset_bridge.ipfs.embedded import EmbeddedStore
from asset_bridge.ipfs.store import put_document
from asset_bridge.ipld.unixfs import LEAF_BYTES
from asset_bridge.processes import free_ports
from tests.ports.test_blocks import blocks_of, content
from tests.support.zygote import Zygote, alive, ended, until

DURABLE = "fsync,fdatasync,pwrite64,write,ftruncate,rename,renameat2,unlink,unlinkat,rmdir,mkdir,sendto"
DATA = content(8 * LEAF_BYTES - 77, 8)
DAG, BLOCKS = blocks_of(DATA)
LEAVES = [str(leaf) for leaf in DAG.leaves]


class World:
    """Everything in `folder`. `start` starts or restarts what does not run."""

    def __init__(self, zygote: Zygote, folder: Path) -> None:
        self.zygote, self.folder = zygote, folder
        folder.mkdir(parents=True, exist_ok=True)
        self.ports = free_ports(3)
        self.pids: dict[str, int] = {}
        (folder / "body").write_bytes(DATA)

    def fill(self) -> None:
        """The body on the first storage node, before it starts."""
        store = EmbeddedStore(self.folder / "storage0" / "store", reserve_bytes=0)
        put_document(store, DATA)
        store.close()

    def start(self, *, with_light: bool = True) -> None:
        for number in (0, 1) if with_light else (0,):
            name = f"storage{number}"
            given = {"port": self.ports[number], "node_id": str(number), "log": str(self.folder / f"{name}.log")}
            self._start_node(name, "storage", given)
        if with_light:
            log = str(self.folder / "light.log")
            self._start_node("light", "light", {"port": self.ports[2], "ports": self.ports[:2], "log": log})

    def _start_node(self, name: str, role: str, given: dict[str, object]) -> None:
        if name in self.pids and alive(self.pids[name]):
            return
        (self.folder / name).mkdir(exist_ok=True)
        (self.folder / name / "up").unlink(missing_ok=True)
        self.pids[name] = self.zygote.start(role, folder=str(self.folder / name), **given)
        assert until(lambda: (self.folder / name / "up").exists()), f"{name} did not start"

    def client(self, role: str, *, wait: bool = False) -> int:
        """The provider's upload, or the consumer's delivery."""
        if role == "upload":
            given = {"url": f"http://127.0.0.1:{self.ports[2]}", "file": str(self.folder / "body")}
        else:
            urls = [f"http://127.0.0.1:{port}" for port in self.ports[:2]]
            given = {"urls": urls[:1], "root": str(DAG.root), "length": len(DATA), "target": str(self.folder / "out")}
        log, done = str(self.folder / f"{role}.log"), str(self.folder / f"{role}.done")
        return self.zygote.start(role, log=log, done=done, wait=str(self.folder / "go") if wait else "", **given)

    def done(self, role: str) -> bool:
        return (self.folder / f"{role}.done").exists()

    def finish(self, role: str) -> None:
        """Start what a kill ended, and the client again, until it is through."""
        for _ in range(4):
            if self.done(role):
                return
            self.start(with_light=role == "upload")
            assert ended(self.client(role)), f"the {role} does not end"
        error = self.folder / f"{role}.log.error"
        assert self.done(role), error.read_text() if error.exists() else f"the {role} does not finish"

    def lines(self, name: str) -> Counter[str]:
        """How often each block arrived at a node or at the consumer."""
        path = self.folder / f"{name}.log"
        return Counter(path.read_text().split()) if path.exists() else Counter()

    def close(self) -> None:
        for pid in self.pids.values():
            self.zygote.kill(pid)
        shutil.rmtree(self.folder)


class Traced:
    """strace on a process and all its threads: counts its durable calls, or kills it at the entry of the `kill_at`th of a thread."""

    def __init__(self, pid: int, out: Path, kill_at: int | None = None) -> None:
        self._out = out
        command = ["strace", "-f", "-qq", "-p", str(pid), "-o", str(out), "-e", f"trace={DURABLE}"]
        if kill_at is not None:
            command += ["-e", f"inject={DURABLE}:signal=KILL:when={kill_at}"]
        self._process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        assert until(lambda: _traced(pid), 20), "strace did not attach"

    def calls(self) -> int:
        """The most durable calls of one thread so far: kills at 1 up to this reach every call of that thread."""
        found = Counter(re.match(r"\d+", line)[0] for line in self._out.read_text().splitlines() if "(" in line)  # type: ignore[index]
        return max(found.values(), default=0)

    def end(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(1)
        except subprocess.TimeoutExpired:  # it waits for a thread that is gone
            self._process.kill()
            self._process.wait()


def _traced(pid: int) -> bool:
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        return all("TracerPid:\t0" not in (task / "status").read_text() for task in tasks)
    except FileNotFoundError:
        return True
