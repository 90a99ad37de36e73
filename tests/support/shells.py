"""A person at a shell: the real command in processes of its own, and the `next:` line of each output followed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCES = f"{ROOT / 'src'}:{ROOT / 'packages' / 'asset-bridge-simulator' / 'src'}"
LIMIT_SECONDS = 240
PROGRESS_SECONDS = 120


@dataclass(frozen=True)
class Done:
    """What a command printed."""

    line: str
    status: int
    out: str
    err: str

    @property
    def next_line(self) -> str:
        """The command that the output ends with."""
        found = re.findall(r"^next: (.*)$", self.out + "\n" + self.err, re.MULTILINE)
        assert found, f"{self.line!r} names no next command:\n{self.out}\n{self.err}"
        return str(found[-1])


@dataclass
class Shell:
    """A shell in `folder`. `words` fills the placeholders that a person fills in: FILE, FOLDER, PATH …"""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)
    words: dict[str, str] = field(default_factory=dict)
    seen: list[Done] = field(default_factory=list)

    def __post_init__(self) -> None:
        tools = self.folder / "bin"
        tools.mkdir(parents=True, exist_ok=True)
        command = tools / "asset-bridge"
        command.write_text(f'#!/bin/sh\nexec {sys.executable} -c "from asset_bridge.cli.main import run; run()" "$@"\n')
        command.chmod(0o755)
        secret = self.folder / "passphrase.txt"
        if not secret.exists():
            secret.touch(mode=0o600)
            secret.write_text("a passphrase of the test\n")
        kept = {name: value for name, value in os.environ.items() if not name.startswith("ASSET_BRIDGE_")}
        self.environment = {
            **kept,
            "PATH": f"{tools}:{os.environ.get('PATH', '')}",
            "PYTHONPATH": SOURCES,
            "ASSET_BRIDGE_PASSPHRASE_FILE": str(secret),
            "HOME": str(self.folder),
            **self.environment,
        }

    def start(self, line: str) -> subprocess.Popen[str]:
        """Type a line, with the placeholders filled in, and do not wait. `exec` lets signals reach the command itself."""
        for name, value in self.words.items():
            line = re.sub(rf"(?<![\w-]){name}(?![\w-])", lambda _, value=value: value, line)
        return subprocess.Popen(
            ["/bin/sh", "-c", f"exec {line}"],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def end(self, process: subprocess.Popen[str], line: str, *, expect: int = 0) -> Done:
        """Wait for a started line."""
        try:
            out, err = process.communicate(timeout=LIMIT_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        done = Done(line, process.returncode, out, err)
        self.seen.append(done)
        assert done.status == expect, f"{line!r} ended with {done.status}:\n{out}\n{err}"
        return done

    def run(self, line: str, *, expect: int = 0) -> Done:
        """Type a line and wait."""
        return self.end(self.start(line), line, expect=expect)

    def follow(self, done: Done, *, begins: str) -> Done:
        """Type what the output said comes next; it must be the verb that a reader expects here."""
        line = done.next_line
        assert line.startswith(f"asset-bridge {begins}"), f"after {done.line!r} comes {line!r}, not {begins!r}"
        return self.run(line)

    def interrupt(self, line: str, said: str) -> Done:
        """Start a line, press Ctrl-C as soon as its progress says `said`, and wait for its end with 130."""
        return self.meanwhile(line, said, lambda process: process.send_signal(signal.SIGINT), expect=130)

    def meanwhile(
        self, line: str, said: str, act: Callable[[subprocess.Popen[str]], object], *, expect: int = 0
    ) -> Done:
        """Start a line, do something as soon as its progress says `said`, and wait for its end."""
        process = self.start(line)
        told = self.hear(process, line, said)
        act(process)
        done = self.end(process, line, expect=expect)
        return Done(done.line, done.status, done.out, told + done.err)

    def hear(self, process: subprocess.Popen[str], line: str, said: str) -> str:
        """Wait until a started line's progress says `said`; what it told until then."""
        assert process.stderr is not None
        told, ends_at = "", time.monotonic() + PROGRESS_SECONDS
        while said not in told:
            read = process.stderr.readline()
            told += read
            assert read, f"{line!r} never said {said!r}:\n{told}"
            assert time.monotonic() < ends_at, f"{line!r} has not said {said!r} yet:\n{told}"
        return told
