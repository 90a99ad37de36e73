"""Counts of the counted tests, from tests/depth.toml; DEPTH=deep chooses the second column."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

_TABLE = Path(__file__).resolve().parent.parent / "depth.toml"

# What this run asked for, so that the page of deep runs can say it.
depths_read: dict[str, int] = {}


def depth(name: str) -> int:
    """The count for `name` at the depth that the environment asks for (quick unless DEPTH=deep)."""
    column = {"quick": 0, "deep": 1}[os.environ.get("DEPTH", "quick")]
    depths_read[name] = int(tomllib.loads(_TABLE.read_text())[name][column])
    return depths_read[name]
