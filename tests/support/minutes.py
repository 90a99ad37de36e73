"""Where the time of a test run goes: seconds and counts per folder of tests/."""

from __future__ import annotations

from collections import Counter

import pytest

seconds: Counter[str] = Counter()
passed: Counter[str] = Counter()
failed: Counter[str] = Counter()
skipped: Counter[str] = Counter()


def folder_of(nodeid: str) -> str:
    """The room that a test belongs to: its first two folders under tests/."""
    parts = nodeid.split("::")[0].split("/")[1:-1]
    return "/".join(parts[:2]) or "."


def count(report: pytest.TestReport) -> None:
    """Add one report (set-up, call or tear-down of a test) to its folder."""
    folder = folder_of(report.nodeid)
    seconds[folder] += report.duration
    if report.failed:
        failed[folder] += 1
    elif report.skipped:
        skipped[folder] += 1
    elif report.when == "call":
        passed[folder] += 1


def table() -> list[str]:
    """The lines of the table, the slowest folder first, and the sum."""
    width = max([len("folder of tests/"), *map(len, seconds)])
    lines = ["", f"{'folder of tests/':<{width}}  minutes  passed  failed  skipped"]
    rows = [(name, spent, passed[name], failed[name], skipped[name]) for name, spent in seconds.most_common()]
    rows.append(("all", seconds.total(), passed.total(), failed.total(), skipped.total()))
    for name, spent, good, bad, left in rows:
        lines.append(f"{name:<{width}}  {spent / 60:7.2f}  {good:6}  {bad:6}  {left:7}")
    return lines


def figures(depths: dict[str, int]) -> dict[str, object]:
    """The sums of the run and the counts it used, for the page of deep runs."""
    sums = {"passed": passed.total(), "failed": failed.total(), "skipped": skipped.total()}
    return {**sums, "seconds": round(seconds.total(), 1), "counts": dict(sorted(depths.items()))}
