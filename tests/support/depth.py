"""Counts of the counted tests, from tests/depth.toml; DEPTH=deep chooses the second column.

DEPTH=spot, a twentieth of the first, is for tools/mutants.py, which asks thousands of times whether a test fails at all.
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

_TABLE = Path(__file__).resolve().parent.parent / "depth.toml"

# What this run asked for, so that the page of deep runs can say it.
depths_read: dict[str, int] = {}


def depth(name: str) -> int:
    """The count for `name` at the depth that the environment asks for (quick unless DEPTH=deep)."""
    asked = os.environ.get("DEPTH", "quick")
    column = {"spot": 0, "quick": 0, "deep": 1}[asked]
    count = int(tomllib.loads(_TABLE.read_text())[name][column])
    depths_read[name] = -(-count // 20) if asked == "spot" else count
    return depths_read[name]
