"""One kubo of ours: set up, started, found ready, stopped.

Source: design §6, reliability §4 (kubo ships its block store without sync); docs/howto/storage-kubo.md says why each setting. Promises: the
RPC and the gateway listen on loopback only, at free ports, the RPC behind a secret of this folder; nothing is announced anywhere; kubo is
started itself and not through a script, and ends when this process ends, also by kill -9; ended by itself, it is started again at the same
ports; a set-up cut off in the middle is done anew.
Settings that SETTINGS (ipfs/kubo/settings.py) does not name stay as the operator made them.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from asset_bridge import processes
from asset_bridge.errors import BridgeError, InputError, UnavailableError
from asset_bridge.ipfs.files import disk_errors, write_durable
from asset_bridge.ipfs.kubo.rpc import KuboRpc
from asset_bridge.ipfs.kubo.settings import SETTINGS, datastores, set_in

START_SECONDS = 60.0
LOCK_SECONDS = 20.0
STOP_SECONDS = 20.0
PROFILE = "unixfs-v1-2025"
AUTHORIZATION = "asset-bridge"
SWARM_KEY_HEAD = "/key/swarm/psk/1.0.0/"


@dataclass(frozen=True, slots=True)
class KuboOptions:
    """What an operator chooses. `storage_max_bytes` 0: all of the disk. `swarm_key`: a private network's key file. `swarm_listen`:
    multiaddresses where other kubos of that network may connect; none by default."""

    storage_max_bytes: int = 0
    swarm_key: Path | None = None
    swarm_listen: tuple[str, ...] = ()


@dataclass(slots=True)
class KuboDaemon:
    """kubo in `folder` (its repository, log and secret), run by `program`, which must be kubo itself."""

    folder: Path
    program: Path
    options: KuboOptions = field(default_factory=KuboOptions)
    _pipe: int | None = None
    _running: processes.Running | None = None
    _ports: tuple[int, int] | None = None
    _stopping: threading.Event = field(default_factory=threading.Event)
    _watcher: threading.Thread | None = None

    @property
    def repo(self) -> Path:
        """kubo's own folder (IPFS_PATH)."""
        return self.folder / "repo"

    @property
    def log(self) -> Path:
        """What kubo said."""
        return self.folder / "kubo.log"

    @property
    def secret(self) -> str:
        """The RPC's bearer token; made at the first start, readable by this user only."""
        path = self.folder / "rpc.secret"
        if not path.exists():
            write_durable(path, os.urandom(32).hex().encode())
        path.chmod(0o600)
        return path.read_text()

    @property
    def gateway_url(self) -> str:
        """kubo's own trustless gateway, on loopback, from the first start on."""
        assert self._ports is not None
        return f"http://127.0.0.1:{self._ports[1]}"

    def rpc(self, *, timeout_seconds: float = 30.0) -> KuboRpc:
        """Its RPC, from the first start on."""
        assert self._ports is not None
        return KuboRpc(f"http://127.0.0.1:{self._ports[0]}", secret=self.secret, timeout_seconds=timeout_seconds)

    def start(self) -> None:
        """Set up what is not set up yet, start kubo, wait until its RPC answers.

        Raises:
            InputError(ipfs.swarm-key): the private network's key is no swarm key.
            UnavailableError(ipfs.kubo-start): kubo ended or did not get ready; names the cause and the log.
        """
        self._stopping.clear()
        self._ports = self._ports or _two_ports()
        with disk_errors():
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            if not (self.repo / "config").exists():
                self._init()
            self._configure()
        until = time.monotonic() + LOCK_SECONDS
        while not self._launch():  # the kubo of a process that was killed may still be ending
            if time.monotonic() > until:
                raise self._failed("another kubo has this repository open")
            time.sleep(0.2)

    def stop(self) -> bool:
        """End kubo; False when it did not run."""
        self._stopping.set()
        if self._watcher is not None:
            self._watcher.join()
            self._watcher = None
        return self._end()

    def watch(self, report: Callable[[str], None]) -> None:
        """From now on start kubo again when it ends by itself, after a second, then two, up to a minute; `report` hears of each end."""
        self._watcher = threading.Thread(target=self._watch, args=(report,), name="kubo-watch", daemon=True)
        self._watcher.start()

    def _watch(self, report: Callable[[str], None]) -> None:
        pause = 1.0
        while not self._stopping.wait(pause):
            if self._running is not None and self._running.alive():
                pause = 1.0
                continue
            report(f"kubo ended; starting it again ({_last_error(self._said())})")
            self._end()
            try:
                if self._launch():
                    continue
            except BridgeError as error:
                report(error.message)
            pause = min(2 * pause, 60.0)

    def _end(self) -> bool:
        stopped = self._running is not None and self._running.stop(STOP_SECONDS)
        if self._pipe is not None:
            os.close(self._pipe)
        self._pipe = self._running = None
        return stopped

    def __enter__(self) -> KuboDaemon:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    # --- inside -------------------------------------------------------------------------------------------------------------

    def _environment(self, repo: Path) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("IPFS_", "LIBP2P_"))}
        more = {"IPFS_PATH": str(repo), "IPFS_TELEMETRY": "off", "DO_NOT_TRACK": "1"}
        if (repo / "swarm.key").exists():
            more["LIBP2P_FORCE_PNET"] = "1"  # rather no network than an open one
        return {**kept, **more}

    def _init(self) -> None:
        part = self.folder / "repo.part"
        shutil.rmtree(part, ignore_errors=True)
        argv = [str(self.program), "init", "--empty-repo", f"--profile={PROFILE}"]
        done = subprocess.run(argv, env=self._environment(part), capture_output=True, text=True, check=False)
        if done.returncode:
            raise self._failed(f"`ipfs init` failed: {' '.join(done.stderr.split())[-200:]}")
        os.rename(part, self.repo)

    def _configure(self) -> None:
        path = self.repo / "config"
        try:
            config = json.loads(path.read_text())
            found = datastores(config["Datastore"]["Spec"])
        except (ValueError, KeyError, TypeError, AttributeError):
            raise self._failed(f"its configuration {path} is damaged") from None
        for name, value in SETTINGS.items():
            set_in(config, name, value)
        assert self._ports is not None
        for name, port in zip(("API", "Gateway"), self._ports, strict=True):
            set_in(config, f"Addresses.{name}", f"/ip4/127.0.0.1/tcp/{port}")
        set_in(config, "Addresses.Swarm", list(self.options.swarm_listen))
        set_in(config, f"API.Authorizations.{AUTHORIZATION}", _authorization(self.secret))
        for datastore in found:
            if datastore.get("type") == "flatfs":
                datastore["sync"] = True
        most = self.options.storage_max_bytes or shutil.disk_usage(self.folder).total
        set_in(config, "Datastore.StorageMax", f"{most}B")
        if self.options.swarm_key is not None:
            write_durable(self.repo / "swarm.key", _swarm_key(self.options.swarm_key))
            (self.repo / "swarm.key").chmod(0o600)
        write_durable(path, json.dumps(config, indent=2).encode())
        path.chmod(0o600)

    def _launch(self) -> bool:
        """Start and wait; False when the repository is locked by another kubo."""
        for name in ("api", "gateway"):
            (self.repo / name).unlink(missing_ok=True)
        heard = self.log.stat().st_size if self.log.exists() else 0
        reading, self._pipe = os.pipe()
        # The folder is named so that whoever lists processes sees whose it is.
        words = [str(self.program), "--repo-dir", str(self.repo), "daemon", "--migrate=true", "--enable-gc=false"]
        if not self.options.swarm_listen:
            words.append("--offline")  # else kubo waits on the network for a block that a pin lacks
        argv = processes.guarded(reading, words)
        try:
            self._running = processes.start(
                "kubo",
                argv,
                log=self.log,
                record=self.folder / "process.json",
                while_open=reading,
                environment=self._environment(self.repo),
            )
        finally:
            os.close(reading)
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until:
            if self._ready():
                return True
            if not self._running.alive():
                said = self._said(heard)
                self._end()
                if "lock" in said and "daemon is running" not in said and "someone else" in said:
                    return False
                raise self._failed(_last_error(said))
            time.sleep(0.05)
        self._end()
        raise self._failed(f"its RPC did not answer within {START_SECONDS:.0f} s")

    def _said(self, after: int = 0) -> str:
        """The end of the log, from `after` on."""
        try:
            with open(self.log, "rb") as log:
                log.seek(max(after, log.seek(0, os.SEEK_END) - 16_384))
                return log.read().decode("utf-8", "replace")
        except OSError:
            return ""

    def _ready(self) -> bool:
        if not (self.repo / "api").exists() or not (self.repo / "gateway").exists():
            return False
        rpc = self.rpc(timeout_seconds=2.0)
        try:
            rpc.version()
        except BridgeError:
            return False
        finally:
            rpc.close()
        return True

    def _failed(self, why: str) -> UnavailableError:
        return UnavailableError(
            "ipfs.kubo-start", f"kubo did not start: {why}", hint=f"its log is {self.log}", actor="operator"
        )


def _two_ports() -> tuple[int, int]:
    api, gateway = processes.free_ports(2)
    return api, gateway


def _authorization(secret: str) -> dict[str, Any]:
    return {"AuthSecret": f"bearer:{secret}", "AllowedPaths": ["/api/v0"]}


def _swarm_key(path: Path) -> bytes:
    """The key file of a private network. Raises InputError(ipfs.swarm-key)."""
    try:
        lines = path.read_text().split()
        good = len(lines) == 3 and lines[:2] == [SWARM_KEY_HEAD, "/base16/"] and len(bytes.fromhex(lines[2])) == 32
    except (OSError, ValueError):
        good = False
    if not good:
        raise InputError(
            "ipfs.swarm-key",
            "the swarm key file does not hold a private network's key",
            hint=f"three lines: {SWARM_KEY_HEAD}, /base16/, and 64 hex digits",
            actor="operator",
        )
    return path.read_bytes()


def _last_error(said: str) -> str:
    lines = [line for line in said.splitlines() if line.strip()]
    return (next((line for line in reversed(lines) if "rror" in line), lines[-1] if lines else "it said nothing"))[:300]
