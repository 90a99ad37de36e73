"""What the demonstration prints: numbered steps, lines under them, seconds; the same into a log.

Promises: with --json stdout stays free for the one object at the end. A refusal inside a step names the step.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from asset_bridge.cli.output import ProgressBars, clean
from asset_bridge.errors import BridgeError, DefectError

STEPS = 8


@dataclass
class Show:
    """Prints the demonstration. `seconds` says how long each step took."""

    as_json: bool = False
    log: TextIO | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    now: str = ""

    def __post_init__(self) -> None:
        self._bars = ProgressBars(quiet=self.as_json)
        self._started = time.monotonic()
        self._number = 0

    @property
    def elapsed_seconds(self) -> float:
        """Seconds since the demonstration began."""
        return time.monotonic() - self._started

    def open_log(self, path: Path) -> None:
        """Write everything that is shown into `path` too."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self.log = path.open("a", encoding="utf-8", buffering=1)

    def line(self, text: str = "") -> None:
        """One line under the current step. Peers' text may be in it, so control characters go."""
        self._put(f"      {clean(text)}".rstrip())

    def lines(self, texts: Iterable[str]) -> None:
        """Several lines."""
        for text in texts:
            self.line(text)

    def progress(self, step: str, done: int, total: int) -> None:
        """Progress of bytes (trade.ports.Progress)."""
        self._bars(step, done, total)

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """A numbered step; a failure inside it comes out with the step's number and title in front."""
        self._number += 1
        self.now = f"step {self._number}, {title}"
        began = time.monotonic()
        self._put(f"\n[{self._number}/{STEPS}] {title}")
        try:
            yield
        except BridgeError as error:
            raise type(error)(error.code, f"{self.now}: {error.message}", hint=error.hint, actor=error.actor) from error
        finally:
            self._bars.close()
            self.seconds[f"{self._number} {title}"] = round(time.monotonic() - began, 2)
        self._put(f"      ({time.monotonic() - began:.1f} s)")

    def must(self, holds: bool, text: str) -> None:
        """A thing that must be so: print it, or stop the demonstration with a status that is not 0.

        Raises:
            DefectError(demo.failed): it is not so.
        """
        if not holds:
            raise DefectError(
                "demo.failed",
                f"this does not hold: {text}",
                hint="the logs are in the demonstration's folder",
                actor="nobody",
            )
        self.line(f"✓ {text}")

    def close(self) -> None:
        """Take bars off the screen, close the log."""
        self._bars.close()
        if self.log is not None:
            self.log.close()
            self.log = None

    def _put(self, text: str) -> None:
        self._bars.close()
        print(text, file=sys.stderr if self.as_json else sys.stdout, flush=True)
        if self.log is not None:
            self.log.write(text + "\n")
