"""The README's Python example, as text to be run (tests/journeys) and checked (tests/docs)."""

from __future__ import annotations

import re
from pathlib import Path

README = Path(__file__).resolve().parents[2] / "README.md"


def python_example() -> str:
    """The one fenced Python block of the README.

    It expects in the working directory: the homes `hospital` and `university`, `passphrase.txt` (mode 0600), the folder
    `records` and `policy.toml`; it leaves the opened data in `opened`.
    """
    (block,) = re.findall(r"^```python\n(.*?)^```$", README.read_text(), re.MULTILINE | re.DOTALL)
    return str(block)
