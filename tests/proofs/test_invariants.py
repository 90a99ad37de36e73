"""Fifteen invariants I1–I15 of the compiled contracts under forge; sources in contracts/proofs, run on the committed artefacts."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.support.depth import depth
from tools.forge import obtain_forge

PROOFS = Path(__file__).resolve().parents[2] / "contracts" / "proofs"
DEPTH_OF_A_RUN = 100
MOST_REVERTS = 0.3
HANDLERS = 22


def forge_test(folder: Path, calls: int, match: str) -> str:
    """What `forge test` printed; its own folders lie in `folder`."""
    forge, solc = obtain_forge()
    environment = {
        **os.environ,
        "FOUNDRY_OUT": str(folder / "out"),
        "FOUNDRY_CACHE_PATH": str(folder / "cache"),
        "FOUNDRY_INVARIANT_RUNS": str(-(-calls // DEPTH_OF_A_RUN)),
        "FOUNDRY_INVARIANT_DEPTH": str(DEPTH_OF_A_RUN),
        "NO_COLOR": "1",
    }
    command = [str(forge), "test", "--use", str(solc), "--offline", "--match-test", match, "--fuzz-seed", "0x2a"]
    done = subprocess.run(command, cwd=PROOFS, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]
    return done.stdout


@pytest.mark.needs_forge
@pytest.mark.slow
@pytest.mark.timeout(14_400)
def test_fifteen_invariants_hold_after_every_call(tmp_path: Path) -> None:
    calls = depth("contracts_invariant_calls")
    said = forge_test(tmp_path, calls, "invariant_all_fifteen")
    (tried, reverted) = map(
        int, re.findall(r"\[PASS\] invariant_all_fifteen\(\) \(runs: \d+, calls: (\d+), reverts: (\d+)\)", said)[0]
    )
    assert tried >= calls
    assert reverted < MOST_REVERTS * tried
    rows = re.findall(r"^\| Handler +\| (\w+) +\| (\d+) +\| (\d+) +\| (\d+)", said, re.MULTILINE)
    assert len(rows) == HANDLERS
    never = [name for name, made, refused, discarded in rows if int(made) <= int(refused) + int(discarded)]
    assert never == [], "a handler never succeeded"
    checked = re.findall(r"function check_(I\d\d)", (PROOFS / "src" / "Invariants.t.sol").read_text())
    assert checked == [f"I{number:02}" for number in range(1, 16)]
