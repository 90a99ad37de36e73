"""Branch coverage of the rooms that must have all of it: `make coverage`.

    python tools/branch_coverage.py [ROOM …]

Runs the rooms' own tests at quick depth, those counted at a twentieth, and prints each file that has a line or branch which no test
reached; the exit status is 1 when there is one. What lies in no room's tests (journeys, nodes) does not count.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TESTS = {
    "sealing": ["unit/sealing", "properties/test_sealing.py", "vectors/test_sealed_file.py", "vectors/test_floe.py"],
    "reencryption": ["unit/reencryption", "vectors/test_reencryption.py", "vectors/test_reencryption_cases.py"],
    "ipld": ["unit/ipld", "vectors/test_sealed_file.py"],
    "keys": ["unit/keys", "vectors/test_keys.py", "vectors/test_wycheproof_keys.py"],
}


def main(rooms: list[str]) -> int:
    """Measure; 1 when a test fails or anything is left out."""
    unknown = [room for room in rooms if room not in TESTS]
    if unknown:
        print(f"coverage: error: no room {', '.join(unknown)}; there are {', '.join(TESTS)}", file=sys.stderr)
        return 2
    chosen = rooms or list(TESTS)
    tests = list(dict.fromkeys(f"tests/{path}" for room in chosen for path in TESTS[room]))
    sources = ",".join(f"asset_bridge.{room}" for room in chosen)
    with tempfile.TemporaryDirectory() as folder:
        env = {**os.environ, "COVERAGE_FILE": str(Path(folder) / "data"), "DEPTH": "spot"}
        coverage = [sys.executable, "-m", "coverage"]
        run = [
            *coverage,
            "run",
            "--branch",
            f"--source={sources}",
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            *tests,
        ]
        if status := subprocess.run(run, cwd=ROOT, env=env).returncode:
            return status
        report = [*coverage, "report", "--show-missing", "--skip-covered", "--fail-under=100", "--precision=2"]
        return 1 if subprocess.run(report, cwd=ROOT, env=env).returncode else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
