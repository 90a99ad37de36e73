"""Run benchmarks and print each figure beside its peer, as a ratio of the same run: `make bench`, `make bench ROOM=seal_speed`.

Every module here that has `rows()` takes part, unless names are given. The exit status is 1 when a goal was missed.
"""

from __future__ import annotations

import importlib
import platform
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "packages" / "asset-bridge-simulator" / "src"), str(ROOT)]

from benchmarks.common import processor  # noqa: E402


def main(names: list[str]) -> int:
    """Run the named modules, or all."""
    found = sorted(path.stem for path in Path(__file__).parent.glob("*.py") if "\ndef rows(" in path.read_text())
    unknown = set(names) - set(found)
    if unknown:
        print(f"bench: error: no benchmark {', '.join(sorted(unknown))}; there are {', '.join(found)}", file=sys.stderr)
        return 2
    print(f"{processor()}, Python {platform.python_version()}, {platform.system()}\n")
    print("| what | ours | beside | ratio | goal | |\n|---|---|---|---|---|---|")
    missed = 0
    for name in names or found:
        for row in importlib.import_module(f"benchmarks.{name}").rows():
            mark = {None: "", True: "met", False: "MISSED"}[row.met]
            missed += row.met is False
            print(
                f"| {row.what} | {row.ours} | {row.peer.replace('|', 'into')} | {row.ratio:.2f} | {row.goal} | {mark} |",
                flush=True,
            )
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
