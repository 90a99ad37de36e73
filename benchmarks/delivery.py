"""Delivery of 1 GiB over loopback, fetched, verified, opened and written, beside `ipfs get` of the same bytes from the same kubo.

`ipfs get` opens nothing. The limit: a reader that takes the same blocks from the same daemon over plain sockets, hashes each on arrival and
decrypts nothing, on as many connections. Publishing: sealed and put into one kubo, beside `age` piped into `ipfs add` with its daemon
running. Ours is a process of its own (benchmarks/delivery_client.py) that is running already and says how much memory it took at most.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from asset_bridge.ipfs.kubo.daemon import KuboDaemon
from asset_bridge.ipfs.kubo.program import obtain_kubo
from benchmarks.common import ROOT, Row, in_turns, memory_folder, peer, random_file, run
from benchmarks.seal_speed import age_keys, seal

SIZE_BYTES = 1 << 30
MOST_MEMORY_BYTES = 200_000_000


class Client:
    """Ours: one process that is running, as a session is, and acts on each call."""

    def __init__(self) -> None:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT / "src"), str(ROOT)))}
        argv = [sys.executable, "-m", "benchmarks.delivery_client"]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(argv, cwd=ROOT, env=environment, stdin=pipe, stdout=pipe, text=True)
        self.memory_bytes = 0

    def __call__(self, *words: str) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(words) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            sys.exit(f"benchmark: {words[0]} failed")
        said = json.loads(line)
        self.memory_bytes = int(said["memory_bytes"])
        return str(said["said"])

    def stop(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


class Embedded:
    """One embedded storage node as a process."""

    def __init__(self, folder: Path, body: Path) -> None:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT / "src"), str(ROOT)))}
        argv = [sys.executable, "-m", "benchmarks.delivery_client", "serve", str(folder), str(body)]
        self._process = subprocess.Popen(argv, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL)
        while not (folder / "port").exists():
            if self._process.poll() is not None:
                sys.exit("benchmark: the embedded node did not start")
            time.sleep(0.05)
        self.url = f"http://127.0.0.1:{(folder / 'port').read_text().strip()}"

    def memory_bytes(self) -> int:
        lines = Path(f"/proc/{self._process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait()


def rows(rounds: int = 3, size_bytes: int = SIZE_BYTES) -> Iterator[Row]:
    """The table."""
    client = Client()
    with memory_folder(7 * size_bytes) as folder:
        source, sealed, out = random_file(folder / "source", size_bytes), folder / "sealed", folder / "out"
        seal(source, sealed)
        body = folder / "body"
        with sealed.open("rb") as whole, body.open("wb") as rest:
            whole.seek(128)
            while part := whole.read(1 << 20):
                rest.write(part)
        daemon = KuboDaemon(folder / "kubo", obtain_kubo(lambda line: print(line, file=sys.stderr)))
        daemon.start()
        embedded: Embedded | None = None
        try:
            root = client("add", str(body), str(daemon.repo), str(daemon.program), daemon.secret)
            (folder / "node").mkdir()
            embedded = Embedded(folder / "node", body)
            environment = {"IPFS_PATH": str(daemon.repo)}
            ipfs = [str(daemon.program), f"--api-auth=bearer:{daemon.secret}"]

            def get() -> None:
                out.unlink(missing_ok=True)
                run(*ipfs, "get", "--progress=false", "-o", str(out), root, **environment)

            def deliver(url: str, step: str = "deliver") -> None:
                for left in folder.glob("out*"):
                    left.unlink()
                client(step, url, root, str(sealed), str(out))

            best = in_turns(
                rounds,
                get=get,
                kubo=lambda: deliver(daemon.gateway_url),
                limit=lambda: deliver(daemon.gateway_url, "limit"),
                embedded=lambda: deliver(embedded.url) if embedded else None,
            )
            shown = f"{best['kubo'].seconds:.2f} s, {size_bytes / best['kubo'].seconds / 1e9:.2f} GB/s"
            ratio = best["get"].seconds / best["kubo"].seconds
            yield Row("deliver from one kubo", shown, f"ipfs get {best['get'].seconds:.2f} s", ratio, "≥ 1", ratio >= 1)
            ratio = best["limit"].seconds / best["kubo"].seconds
            text = f"limit {best['limit'].seconds:.2f} s"
            yield Row("deliver from one kubo", shown, text, ratio, "≥ 0.85", ratio >= 0.85)
            shown = f"{best['embedded'].seconds:.2f} s, {size_bytes / best['embedded'].seconds / 1e9:.2f} GB/s"
            ratio = best["get"].seconds / best["embedded"].seconds
            text = f"ipfs get {best['get'].seconds:.2f} s"
            yield Row("deliver from one embedded node", shown, text, ratio, "≥ 1.3", ratio >= 1.3)
            memory = max(client.memory_bytes, embedded.memory_bytes())
            most = f"client {client.memory_bytes / 1e6:.0f} MB, node {embedded.memory_bytes() / 1e6:.0f} MB"
            yield Row("memory at most", most, "200 MB", memory / MOST_MEMORY_BYTES, "≤ 1", memory <= MOST_MEMORY_BYTES)
            yield from _publish(folder, source, daemon, ipfs, environment, client, rounds)
        finally:
            if embedded is not None:
                embedded.stop()
            client.stop()
            daemon.stop()


def _publish(
    folder: Path,
    source: Path,
    daemon: KuboDaemon,
    ipfs: list[str],
    environment: dict[str, str],
    client: Client,
    rounds: int,
) -> Iterator[Row]:
    age, keygen = peer("age", "age/bin"), peer("age-keygen", "age/bin")
    if not age or not keygen:
        return
    _identity, recipient = age_keys(folder, keygen)
    sealed = folder / "published"

    def clean(root: str) -> None:
        run(*ipfs, "pin", "rm", root, **environment)
        run(*ipfs, "repo", "gc", "--quiet", **environment)

    def ours(design: str) -> float:
        started = time.perf_counter()
        root = client(design, str(source), str(sealed), str(daemon.repo), str(daemon.program), daemon.secret)
        seconds = time.perf_counter() - started
        clean(root)
        return seconds

    def theirs() -> float:
        started = time.perf_counter()
        with subprocess.Popen([age, "-r", recipient, str(source)], stdout=subprocess.PIPE) as sealing:
            words, env = [*ipfs, "add", "-Q"], {**os.environ, **environment}
            done = subprocess.run(words, stdin=sealing.stdout, env=env, check=True, capture_output=True)
        seconds = time.perf_counter() - started
        clean(done.stdout.decode().strip())
        return seconds

    took = [(ours("publish"), theirs(), ours("publish_sealed")) for _ in range(rounds)]
    mine, other, after = (min(one[number] for one in took) for number in range(3))
    peers = f"age into ipfs add {other:.2f} s"
    yield Row("publish to one kubo", f"{mine:.2f} s", peers, other / mine, "≥ 1", other >= mine)
    memory = client.memory_bytes
    yield Row(
        "memory at most, publishing too",
        f"client {memory / 1e6:.0f} MB",
        "200 MB",
        memory / MOST_MEMORY_BYTES,
        "≤ 1",
        memory <= MOST_MEMORY_BYTES,
    )
    yield Row("the same, sealed whole before it is sent", f"{after:.2f} s", peers, other / after, "", None)
