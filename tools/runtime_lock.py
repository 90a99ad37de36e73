"""Print the part of requirements.lock that the installed product needs: `python tools/runtime_lock.py > runtime.lock`.

Run in .venv (`make setup`), whose packages say what they require. Promises: the same versions and hashes, no package of tests or checks.
"""

from __future__ import annotations

import re
import sys
import tomllib
from importlib.metadata import requires
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent


def main() -> int:
    """Print the entries, sorted."""
    print("\n".join(entries()))
    return 0


def entries() -> list[str]:
    """The lock's entries of what pyproject.toml's run-time dependencies bring."""
    lock = {canonical(re.match(r"[^= ]+", entry)[0]): entry for entry in _blocks()}  # type: ignore[index]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    left = [item for item in map(Requirement, project["dependencies"]) if _here(item, "")]
    seen: set[tuple[str, str]] = set()  # name and extra ("": none)
    while left:
        one = left.pop()
        for extra in ("", *one.extras):
            if (canonical(one.name), extra) not in seen:
                seen.add((canonical(one.name), extra))
                left += [item for item in map(Requirement, requires(one.name) or ()) if _here(item, extra)]
    return [lock[name] for name in sorted({name for name, _ in seen})]


def _here(one: Requirement, extra: str) -> bool:
    return one.marker is None or one.marker.evaluate({"extra": extra})


def _blocks() -> list[str]:
    text = (ROOT / "requirements.lock").read_text()
    return [block.strip() for block in re.split(r"\n(?=[A-Za-z0-9])", text) if "--hash" in block]


def canonical(name: str) -> str:
    """The one spelling of a package's name."""
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    sys.exit(main())
