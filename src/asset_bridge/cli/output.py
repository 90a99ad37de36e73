"""What a person or a script sees: lines, tables, amounts, times, progress, errors.

Rules: results go to stdout, everything else to stderr; with --json stdout holds exactly one JSON object; the last line of a result
names the next command. Peers' text is shown only after control characters were removed.
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from asset_bridge.errors import BridgeError, InputError

if TYPE_CHECKING:
    from rich.progress import Progress

NATIVE_DECIMALS = 18
_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
LARGE_BYTES = 100_000_000  # from here on each tenth is a line, also without a terminal
COUNTED_STEPS = frozenset({"fragments", "sample"})  # steps that count things, not bytes


def clean(text: str) -> str:
    """`text` without control characters (a peer's string must not move the cursor or colour the terminal)."""
    return "".join(c if c == "\n" or c == "\t" or c.isprintable() else "�" for c in text)


def print_error(error: BridgeError, as_json: bool) -> None:
    """One failure on stderr: sentence and code, who must act, what to do."""
    if as_json:
        print(json.dumps({"error": error.as_json()}), file=sys.stderr)
        return
    print(f"asset-bridge: error: {clean(error.message)} [{error.code}]", file=sys.stderr)
    if error.actor not in ("you", "nobody", ""):
        print(f"  who can act: {clean(error.actor)}", file=sys.stderr)
    if error.hint:
        print(f"  hint: {clean(error.hint)}", file=sys.stderr)


def amount(wei: int, symbol: str = "ETH", decimals: int = NATIVE_DECIMALS) -> str:
    """`wei` in whole units with its symbol, exact, without trailing zeros: 1500000000000000000 → "1.5 ETH"."""
    whole, part = divmod(abs(wei), 10**decimals)
    digits = f"{part:0{decimals}d}".rstrip("0")
    return f"{'-' if wei < 0 else ''}{whole}{'.' + digits if digits else ''} {symbol}"


def size(size_bytes: int) -> str:
    """A number of bytes for people: "20.3 MB" (decimal units, as disks are sold)."""
    if size_bytes < 1000:
        return f"{size_bytes} bytes"
    power = min(4, (len(str(size_bytes)) - 1) // 3)
    return f"{size_bytes / 1000**power:.1f} {('bytes', 'kB', 'MB', 'GB', 'TB')[power]}"


def moment(at: int) -> str:
    """Unix seconds as local-free UTC text; 0 is "–"."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC") if at else "–"


def remaining(seconds: int) -> str:
    """A span for people: "2 d 3 h", "4 min", "past"."""
    if seconds <= 0:
        return "past"
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length:
            rest = seconds % length
            smaller = {"d": ("h", 3_600), "h": ("min", 60)}.get(unit)
            tail = f" {rest // smaller[1]} {smaller[0]}" if smaller and rest >= smaller[1] else ""
            return f"{seconds // length} {unit}{tail}"
    return f"{seconds} s"


def seconds_of(text: str) -> int:
    """A duration as people type it: 90s, 15m, 24h, 30d, or plain seconds."""
    found = re.fullmatch(r"([0-9]{1,9})([smhd]?)", text.strip().lower())
    if not found:
        raise InputError("cli.duration", f"{text!r} is not a duration", hint="write 90s, 15m, 24h or 30d")
    return int(found[1]) * _UNITS[found[2] or "s"]


def short(value: bytes) -> str:
    """An id's first bytes, enough to recognise it; commands accept any unambiguous start of this length or more."""
    return "0x" + value.hex()[:12] + "…"


def table(rows: Iterable[Sequence[str]], head: Sequence[str]) -> list[str]:
    """Lines of a plain aligned table."""
    body = [[clean(cell) for cell in row] for row in rows]
    widths = [max(len(line[i]) for line in [list(head), *body]) for i in range(len(head))]

    def render(line: Sequence[str]) -> str:
        return "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()

    return [render(head), *(render(line) for line in body)]


def jsonable(value: Any) -> Any:
    """A result as JSON data: bytes become 0x-hex, dataclasses become objects, enums their names."""
    from dataclasses import fields, is_dataclass
    from enum import Enum
    from pathlib import Path

    if isinstance(value, Enum):
        return value.name.lower()
    if isinstance(value, bytes | bytearray):
        return "0x" + bytes(value).hex()
    if isinstance(value, Path):
        return str(value)
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: jsonable(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, dict):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [jsonable(item) for item in value]
    return value


class ProgressBars:
    """Progress on stderr: bars on a terminal, else a line at each tenth; callable as `trade.ports.Progress`."""

    def __init__(self, quiet: bool = False) -> None:
        self._quiet = quiet
        self._bars: Progress | None = None
        self._tasks: dict[str, Any] = {}
        self._tenths: dict[str, int] = {}
        self._started = time.monotonic()

    def __call__(self, step: str, done: int, total: int) -> None:
        if self._quiet:
            return
        if not sys.stderr.isatty():
            self._line(step, done, total)
            return
        if self._bars is None:
            self._bars = _bars()
            self._bars.start()
        if step not in self._tasks:
            self._tasks[step] = self._bars.add_task(step, total=total)
        self._bars.update(self._tasks[step], completed=done, total=total)

    def _line(self, step: str, done: int, total: int) -> None:
        tenth = 10 if total == 0 else done * 10 // total
        if tenth > self._tenths.get(step, -1):
            self._tenths[step] = tenth
            if step in COUNTED_STEPS:
                print(f"  {step}: {done} of {total}", file=sys.stderr, flush=True)
            elif tenth in (0, 5, 10) or total >= LARGE_BYTES:
                print(f"  {step}: {size(done)} of {size(total)}", file=sys.stderr, flush=True)

    def close(self) -> None:
        """Take the bars off the screen."""
        if self._bars is not None:
            self._bars.stop()
            self._bars = None


def _bars() -> Progress:
    """Bars on the terminal; their library is loaded only where there is one."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description:>22}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    return Progress(*columns, TimeRemainingColumn(), console=console, transient=True)


def ask(question: str, *, yes: bool, read: Callable[[str], str] = input) -> bool:
    """Ask on the terminal; `yes` answers in advance. Without a terminal and without `yes` the answer is no."""
    if yes:
        return True
    if not sys.stdin.isatty():
        return False
    return read(f"{question} [y/N] ").strip().lower() in ("y", "yes")
