"""`make check`: everything that can be said about the tree without running a trade, in under a minute.

Prints one line a check with its seconds, and the output of those that failed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent

SOURCES = ("src", "packages/asset-bridge-simulator/src", ".")
# The slow ones first, so that two cores share the time.
CHECKS: dict[str, list[str]] = {
    "types (mypy --strict)": [str(BIN / "mypy")],
    "artefacts are what the contracts compile to": [sys.executable, "tools/build_artefacts.py", "--check"],
    "docs are true": [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:boa_test",
        "tests/docs",
    ],
    "layers (import-linter)": [str(BIN / "lint-imports")],
    "files (size, hosts, stubs)": [sys.executable, "tools/rules.py"],
    "formats are frozen": [sys.executable, "tools/frozen.py"],
    "style (ruff)": [str(BIN / "ruff"), "check", "."],
    "layout (ruff format)": [str(BIN / "ruff"), "format", "--check", "."],
}


def main() -> int:
    """Run every check; 1 when one failed."""
    started_at = time.monotonic()
    with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 2)) as pool:
        results = list(pool.map(run, CHECKS))
    for name, _, output in [result for result in results if result[1]]:
        print(f"\n--- {name}\n{output.strip()}")
    failed = [name for name, status, _ in results if status]
    print(f"\n{len(results) - len(failed)} of {len(results)} checks passed in {time.monotonic() - started_at:.0f} s")
    return 1 if failed else 0


def run(name: str) -> tuple[str, int, str]:
    """Run one check and print its line."""
    started_at = time.monotonic()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(SOURCES)}
    done = subprocess.run(CHECKS[name], cwd=ROOT, env=environment, capture_output=True, text=True)
    mark = "FAILED" if done.returncode else "ok"
    print(f"{mark:>6}  {time.monotonic() - started_at:5.1f} s  {name}", flush=True)
    return name, done.returncode, done.stdout + done.stderr


if __name__ == "__main__":
    raise SystemExit(main())
