"""spec/glossary.md: sorted, no word twice, and every cross-reference has its entry."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = (Path(__file__).resolve().parents[2] / "spec" / "glossary.md").read_text()
ENTRIES = re.findall(r"^\| ([^|]+?) \| (.+) \|$", PAGE, re.MULTILINE)[1:]
WORDS = [word.strip("`") for word, _ in ENTRIES]


def test_words_are_sorted_and_unique() -> None:
    assert len(set(WORDS)) == len(WORDS)
    assert sorted(WORDS, key=lambda word: word.lower().replace("_", " ")) == WORDS
    assert len(WORDS) > 80


def test_every_reference_has_an_entry() -> None:
    known = {word.lower() for word in WORDS}
    for word, meaning in ENTRIES:
        for other in re.findall(r"\*([^*]+)\*", meaning):
            assert {other.lower(), other.lower().removesuffix("s"), other.lower().removesuffix("es")} & known, (
                word,
                other,
            )
