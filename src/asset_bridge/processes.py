"""Start, find again and stop the processes of a local network, by their own ids only.

Source: design §7. A process is remembered by pid and start mark, so that a reused pid is never taken for ours. A child that gets
`while_open` ends when the other end of that pipe closes, which also happens when its parent is killed.
Does not promise: to restart a process that ended; its log says why it did.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from asset_bridge.errors import UnavailableError

_POLL_SECONDS = 0.05
_FIRST_PORT, _LAST_PORT, _PORT_TRIES = 10_000, 32_768, 1_000


@dataclass(frozen=True, slots=True)
class Running:
    """A process of ours: its id and the mark that tells it from a later process with the same id."""

    name: str
    pid: int
    mark: str

    def save(self, path: Path) -> None:
        """Remember it in `path`, whole or not at all."""
        part = path.with_suffix(".part")
        part.write_text(json.dumps(asdict(self)))
        part.replace(path)

    @classmethod
    def load(cls, path: Path) -> Running | None:
        """The process that `path` remembers, or None when there is none or it cannot be read."""
        try:
            fields = json.loads(path.read_text())
            return cls(str(fields["name"]), int(fields["pid"]), str(fields["mark"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def alive(self) -> bool:
        """Whether this very process still runs."""
        with contextlib.suppress(ChildProcessError, OSError):
            os.waitpid(self.pid, os.WNOHANG)  # a child of ours that ended must not look alive
        return bool(self.mark) and start_mark(self.pid) == self.mark

    def stop(self, grace_seconds: float = 8.0) -> bool:
        """End it: SIGTERM, then SIGKILL after `grace_seconds`. False when it had ended before."""
        if not self.alive():
            return False
        for number, patience in ((signal.SIGTERM, grace_seconds), (signal.SIGKILL, 5.0)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)
            until = time.monotonic() + patience
            while time.monotonic() < until:
                if not self.alive():
                    return True
                time.sleep(_POLL_SECONDS)
        return True


def start_mark(pid: int) -> str:
    """What the system says of the moment when `pid` started; empty when there is no such process (or only its remains)."""
    stat = Path(f"/proc/{pid}/stat")
    if stat.parent.parent.joinpath("self").exists():
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            return ""
        return "" if fields[0] in "ZX" else fields[19]
    found = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return found.stdout.strip()


def start(
    name: str,
    argv: Sequence[str],
    *,
    log: Path,
    record: Path,
    while_open: int | None = None,
    environment: Mapping[str, str] | None = None,
) -> Running:
    """Start `argv` with stdout and stderr appended to `log`, in a session of its own, and remember it in `record`."""
    log.parent.mkdir(parents=True, exist_ok=True)
    handed = () if while_open is None else (while_open,)
    with log.open("ab") as out:
        child = subprocess.Popen(
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
            pass_fds=handed,
            env=environment,
        )
    running = Running(name, child.pid, start_mark(child.pid))
    child.returncode = 0  # it is ours to reap by pid; Popen must not warn that it still runs
    running.save(record)
    return running


def wait_for_file(path: Path, running: Running, *, log: Path, wait_seconds: float = 60.0) -> str:
    """The text of `path` once the process has written it.

    Raises:
        UnavailableError(nodes.start): the process ended first, or `wait_seconds` passed; names the log.
    """
    until = time.monotonic() + wait_seconds
    while time.monotonic() < until:
        if path.exists() and (text := path.read_text()):
            return text
        if not running.alive():
            raise UnavailableError(
                "nodes.start", f"{running.name} ended while starting{_last_line(log)}", hint=f"its log is {log}"
            )
        time.sleep(_POLL_SECONDS)
    raise UnavailableError(
        "nodes.start", f"{running.name} did not start within {wait_seconds:.0f} s", hint=f"its log is {log}"
    )


def _last_line(log: Path) -> str:
    """The last line of a log of ours, as ': …', or nothing."""
    try:
        lines = log.read_text(errors="replace").strip().splitlines()
    except OSError:
        return ""
    return f": {lines[-1][:300]}" if lines else ""


# The guard of a program that is not ours: runs it, passes signals on, and ends it when the pipe (argument 1) closes, politely first. On
# Linux the program also ends when the guard itself is killed. No import of ours: it starts in 20 ms.
_GUARD = """
import os, signal, subprocess, sys, threading
def tie():
    if sys.platform == "linux":
        import ctypes
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)
        if os.getppid() != parent: os._exit(1)
parent = os.getpid()
child = subprocess.Popen(sys.argv[2:], preexec_fn=tie)
for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, lambda *_: child.send_signal(signal.SIGTERM))
def watch():
    try:
        while os.read(int(sys.argv[1]), 1): pass
    finally:
        child.terminate()
        try: child.wait(15)
        except subprocess.TimeoutExpired: child.kill()
threading.Thread(target=watch, daemon=True).start()
sys.exit(child.wait())
"""


def guarded(descriptor: int, argv: Sequence[str]) -> list[str]:
    """The command line that runs `argv` under a guard, which ends it when the pipe behind `descriptor` closes (kill -9 of us does that).

    `argv` must be the program itself, not a script that starts it: only the process that the guard starts is ended.
    """
    return [sys.executable, "-I", "-S", "-c", _GUARD, str(descriptor), *argv]


def end_with(descriptor: int) -> None:
    """In a child: end this process (SIGTERM to itself) when the pipe behind `descriptor` closes."""

    def watch() -> None:
        with contextlib.suppress(OSError):
            while os.read(descriptor, 1):
                pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="end-with-parent", daemon=True).start()


def free_ports(count: int) -> list[int]:
    """`count` different loopback ports that nobody uses now.

    From below the range out of which the system gives ports to outgoing connections (32768 up on Linux, 49152 elsewhere), where one
    that was free a moment ago is soon taken. Does not promise: that they are still free when they are used.

    Raises:
        UnavailableError(node.port): there are not so many.
    """
    found: set[int] = set()
    for _ in range(count + _PORT_TRIES):
        if len(found) == count:
            return list(found)
        port = _FIRST_PORT + secrets.randbelow(_LAST_PORT - _FIRST_PORT)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            found.add(port)
    raise UnavailableError("node.port", "No free port was found on this machine.", actor="operator")


def python_module(module: str, *arguments: str) -> list[str]:
    """The command line that runs `module` with this same interpreter."""
    return [sys.executable, "-m", module, *arguments]
