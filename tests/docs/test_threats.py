"""docs/explain/threats.md: promises are numbered without gaps, and each names tests that exist or says that none does."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ROWS = re.findall(
    r"^\| T(\d+) \| (.+?) \| (.+?) \| (.+?) \|$",
    (ROOT / "docs" / "explain" / "threats.md").read_text(),
    re.MULTILINE,
)


def test_promises_are_numbered_one_after_the_other() -> None:
    assert [int(number) for number, *_ in ROWS] == list(range(1, len(ROWS) + 1))
    assert len(ROWS) > 20


def test_every_promise_names_tests_that_exist_or_says_not_shown_yet() -> None:
    missing = []
    for number, _, _, shown in ROWS:
        if shown.startswith("*not shown yet*"):
            continue
        paths = shown.split(", ")
        missing += [f"T{number}: {path}" for path in paths if not holds_tests(ROOT / path)]
    assert not missing


def holds_tests(path: Path) -> bool:
    return path.is_file() or any(path.rglob("test_*.py"))
