"""Symbolic checks of the compiled contracts with halmos: access, conservation, deadlines, one-shot signatures; no time-outs."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from vyper.compiler import compile_from_file_input
from vyper.compiler.input_bundle import FilesystemInputBundle

from tools.forge import obtain_forge
from tools.halmos import obtain_halmos

ROOT = Path(__file__).resolve().parents[2]
CONTRACTS = ROOT / "contracts"
PROOFS = CONTRACTS / "proofs"
ARTEFACTS = ROOT / "src" / "asset_bridge" / "chain" / "artefacts"
FEWEST_CHECKS = 25
KINDS = {"access", "conservation", "deadline", "signature"}


def storage_slot(contract: str, *path: str) -> int:
    """Where a variable stands in a contract's storage."""
    bundle = FilesystemInputBundle([CONTRACTS])
    made = compile_from_file_input(bundle.load_file(contract), input_bundle=bundle, output_formats=["layout"])
    found = made["layout"]["storage_layout"]
    for name in path:
        found = found[name]
    return int(found["slot"])


def artefacts() -> str:
    """Creation code and storage slots as a Solidity file: halmos reads no files."""
    names = {"NODE_REGISTRY": "NodeRegistry", "ASSET_LEDGER": "AssetLedger", "EXCHANGE": "Exchange"}
    functions = "".join(
        f"    function {name}() internal pure returns (bytes memory) {{\n"
        f'        return hex"{json.loads((ARTEFACTS / f"{contract}.json").read_text())["bytecode"][2:]}";\n    }}\n'
        for name, contract in names.items()
    )
    slots = {
        "WORDS": storage_slot("Exchange.vy", "order_book", "_words"),
        "BALANCES": storage_slot("Exchange.vy", "purse", "_balances"),
        "USED": storage_slot("Exchange.vy", "authority", "_used"),
        "NODES": storage_slot("NodeRegistry.vy", "_nodes"),
    }
    constants = "".join(f"    uint256 constant {name} = {slot};\n" for name, slot in slots.items())
    head = "// SPDX-License-Identifier: Apache-2.0\npragma solidity ^0.8.24;\n"
    return f"{head}library Artefacts {{\n{functions}}}\nlibrary Slots {{\n{constants}}}\n"


GUARD = re.compile(r"^        vm\.assume\((?:c !=|time <|deadline <|used >>|s >).*\n", re.MULTILINE)


def run_halmos(folder: Path, source: str) -> tuple[set[str], set[str], str]:
    """Names of the checks that hold and of those that do not, and all that was said."""
    forge, solc = obtain_forge()
    halmos = obtain_halmos()
    for name in ("src", "symbolic"):
        (folder / name).mkdir()
    shutil.copy(PROOFS / "src" / "Codec.sol", folder / "src")
    (folder / "symbolic" / "Symbolic.t.sol").write_text(source)
    (folder / "symbolic" / "Artefacts.sol").write_text(artefacts())
    (folder / "foundry.toml").write_text(
        f'[profile.default]\nsrc = "symbolic"\ntest = "symbolic"\nout = "out"\nlibs = []\nsolc = "{solc}"\n'
        'evm_version = "cancun"\noptimizer = true\noffline = true\n'
    )
    environment = {**os.environ, "PATH": f"{forge.parent}{os.pathsep}{os.environ['PATH']}", "NO_COLOR": "1"}
    command = [str(halmos), "--contract", "Symbolic", "--storage-layout", "generic"]
    command += ["--solver-timeout-assertion", "60000"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    said = re.sub(r"\x1b\[\d*m", "", done.stdout + done.stderr)
    assert re.search(r"Symbolic test result: \d+ passed; \d+ failed", said), said[-6000:]
    assert not re.search(r"\[(TIMEOUT|ERROR)\]", said), said[-6000:]
    passed, failed = (set(re.findall(rf"\[{verdict}\] (check_\w+)\(", said)) for verdict in ("PASS", "FAIL"))
    return passed, failed, said


@pytest.mark.needs_forge
@pytest.mark.needs_halmos
@pytest.mark.slow
@pytest.mark.timeout(1_800)
def test_symbolic_checks_hold_without_a_time_out(tmp_path: Path) -> None:
    passed, failed, said = run_halmos(tmp_path, (PROOFS / "symbolic" / "Symbolic.t.sol").read_text())
    assert failed == set(), said[-6000:]
    assert len(passed) >= FEWEST_CHECKS
    assert {name.split("_")[1] for name in passed} == KINDS


@pytest.mark.needs_forge
@pytest.mark.needs_halmos
@pytest.mark.slow
@pytest.mark.timeout(1_800)
def test_each_check_of_a_refusal_fails_without_its_assumption(tmp_path: Path) -> None:
    """So that what is refused is refused for the reason that the check names: with any caller, time or signature it goes."""
    source = (PROOFS / "symbolic" / "Symbolic.t.sol").read_text()
    guarded = {
        name
        for name, body in re.findall(r"function (check_\w+)\(.*?\{\n(.*?)^    \}", source, re.MULTILINE | re.DOTALL)
        if GUARD.search(body)
    }
    assert len(guarded) >= FEWEST_CHECKS
    _, failed, said = run_halmos(tmp_path, GUARD.sub("", source))
    assert guarded <= failed, f"nothing to refuse: {sorted(guarded - failed)}\n{said[-3000:]}"
