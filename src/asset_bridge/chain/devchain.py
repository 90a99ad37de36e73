"""The development chain: anvil, started, found again and stopped, its state kept in a folder.

Source: design §7. One block a second also while idle (with automine alone the head ages and `finalized` stays 0). The binary runs itself,
not the npm wrapper, which would leave it running when killed. Promises: loopback only; the port of a folder stays the same; only our own
process is ended; without `detached` it ends with this process, also when this one is killed.
Does not promise: that a kill -9 of anvil loses nothing; its state is written every few seconds and at a clean end.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import time
from pathlib import Path

from asset_bridge import processes
from asset_bridge.chain.endpoint import Endpoint
from asset_bridge.chain.keys import AccountKey
from asset_bridge.chain.network import DEVELOPMENT_FINALITY_DEPTH
from asset_bridge.errors import BridgeError, InputError, UnavailableError

ANVIL_VERSION = "1.7.1"
CHAIN_ID = 31337
STATE_SECONDS = 20  # the whole state is written each time, about 140 MB after a day of blocks
START_SECONDS = 30.0
STOP_SECONDS = 20.0

# Keys that anvil's public mnemonic gives (its own documentation prints them): worth nothing on any other chain.
_PUBLIC_KEYS = (
    "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80",
    "59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d",
    "5de4111afa1a4b94908f83103eb1f1706367c2e68ca870fc3fb9a804cdab365a",
)


def find_anvil() -> Path:
    """The anvil binary: ASSET_BRIDGE_ANVIL, else the cache that set-up fills, else PATH.

    Raises:
        InputError(chain.anvil): ASSET_BRIDGE_ANVIL does not name an executable file.
        UnavailableError(chain.anvil-missing): it is nowhere.
    """
    named = os.environ.get("ASSET_BRIDGE_ANVIL")
    if named:
        if not os.access(named, os.X_OK) or not Path(named).is_file():
            raise InputError("chain.anvil", f"ASSET_BRIDGE_ANVIL does not name an executable file: {named}")
        return Path(named)
    cached = _cache() / "anvil" / ANVIL_VERSION / "anvil"
    if cached.is_file():
        return cached
    on_path = shutil.which("anvil")
    if on_path is None:
        raise UnavailableError(
            "chain.anvil-missing",
            "anvil, the development chain, is not installed",
            hint="run: make setup, or put anvil on PATH or in ASSET_BRIDGE_ANVIL",
        )
    return Path(on_path)


def _cache() -> Path:
    own, shared = os.environ.get("ASSET_BRIDGE_CACHE"), os.environ.get("XDG_CACHE_HOME", "")
    if own:
        return Path(own)
    return (Path(shared) if Path(shared).is_absolute() else Path.home() / ".cache") / "asset-bridge"


class DevChain:
    """One development chain in `folder`.

    Args:
        detached: it goes on when this process ends (`devnet up`); else it ends with this process.
        block_seconds: 0 mines only when asked or when a transaction comes (tests that move time themselves).
    """

    accounts: tuple[AccountKey, ...] = tuple(AccountKey(bytes.fromhex(key)) for key in _PUBLIC_KEYS)

    def __init__(
        self, folder: Path, *, detached: bool = False, anvil: Path | None = None, block_seconds: int = 1, port: int = 0
    ) -> None:
        self.folder, self._detached, self._anvil = folder.absolute(), detached, anvil
        self._block_seconds, self._asked_port = block_seconds, port
        self._pipe: int | None = None

    def __enter__(self) -> DevChain:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def record(self) -> Path:
        """Where the running process is remembered."""
        return self.folder / "process.json"

    @property
    def log(self) -> Path:
        """anvil's own output."""
        return self.folder / "anvil.log"

    @property
    def rpc_url(self) -> str:
        """The chain's URL. InputError(chain.not-started) before the first start."""
        try:
            return f"http://127.0.0.1:{int(json.loads((self.folder / 'port.json').read_text()))}"
        except (OSError, ValueError):
            hint = "asset-bridge devnet up"
            raise InputError(
                "chain.not-started", f"no development chain was started in {self.folder}", hint=hint
            ) from None

    @property
    def pid(self) -> int | None:
        """The process, while it runs."""
        found = self._running()
        return found.pid if found else None

    def start(self) -> str:
        """Start it, or find it running; returns its URL.

        Raises:
            UnavailableError(chain.port): the port that this chain used before is taken.
            UnavailableError(nodes.start): anvil ended while starting; its log is named.
        """
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if self._running() is None:
            self._launch()
        self._wait()
        return self.rpc_url

    def stop(self) -> bool:
        """End it and keep its state. False when it did not run."""
        found = self._running()
        stopped = found is not None and found.stop(STOP_SECONDS)
        if self._pipe is not None:
            os.close(self._pipe)
            self._pipe = None
        self.record.unlink(missing_ok=True)
        return stopped

    def fund(self, address: str, wei: int) -> None:
        """Give an account development coins, on top of what it has."""
        endpoint = Endpoint(self.rpc_url)
        has = endpoint.as_int(endpoint.call("eth_getBalance", address, "latest"))
        endpoint.call("anvil_setBalance", address, hex(has + wei))

    def make_final(self) -> None:
        """Mine until what is in a block now is final."""
        Endpoint(self.rpc_url).call("anvil_mine", hex(DEVELOPMENT_FINALITY_DEPTH + 1))

    # ── inside ──
    def _running(self) -> processes.Running | None:
        found = processes.Running.load(self.record)
        return found if found is not None and found.alive() else None

    def _launch(self) -> None:
        port_file = self.folder / "port.json"
        if not port_file.exists():
            port_file.write_text(json.dumps(self._asked_port or processes.free_ports(1)[0]))
        port = int(json.loads(port_file.read_text()))
        if _taken(port):
            raise UnavailableError(
                "chain.port",
                f"port {port}, which the chain in {self.folder} uses, is taken by another process",
                hint="stop that process, or: asset-bridge devnet reset",
            )
        argv = [str(self._anvil or find_anvil()), "--host", "127.0.0.1", "--port", str(port), "--quiet"]
        argv += ["--chain-id", str(CHAIN_ID), "--state", str(self.folder / "chain-state.json")]
        argv += ["--state-interval", str(STATE_SECONDS)]
        if self._block_seconds:
            argv += ["--block-time", str(self._block_seconds), "--mixed-mining"]
        read: int | None = None
        if not self._detached:
            read, self._pipe = os.pipe()
            argv = processes.guarded(read, argv)
        processes.start("anvil", argv, log=self.log, record=self.record, while_open=read)
        if read is not None:
            os.close(read)

    def _wait(self) -> None:
        """Until it answers and has blocks enough for a final one that it still holds the state of."""
        endpoint, running = Endpoint(self.rpc_url), processes.Running.load(self.record)
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until:
            try:
                endpoint.call("eth_blockNumber")
                break
            except BridgeError:
                if running is None or not running.alive():
                    raise UnavailableError(
                        "nodes.start", "anvil ended while starting", hint=f"its log is {self.log}"
                    ) from None
                time.sleep(0.05)
        else:
            raise UnavailableError(
                "nodes.start", f"anvil did not answer within {START_SECONDS:.0f} s", hint=f"its log is {self.log}"
            )
        if self._block_seconds:
            self.make_final()  # a restarted anvil has no state of the blocks before its start, and `final` lies two blocks back


def _taken(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
        return False
