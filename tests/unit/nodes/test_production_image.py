"""A production image: what the recipes put into it, and that it neither makes nor accepts simulated evidence."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from asset_bridge.attestation.policy import development
from asset_bridge.attestation.policy_file import render
from asset_bridge_simulator import SimAttester, issue_platform, make_root, measurement_id, measurement_of
from tests.unit.attestation import samples
from tools import runtime_lock

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = """
import importlib.util, json, sys
from pathlib import Path
sys.path[:0] = sys.argv[1:3]
assert importlib.util.find_spec("asset_bridge_simulator") is None
from asset_bridge.attestation.policy_file import parse
from asset_bridge.attestation.verifiers import hardware
from asset_bridge.client.evidence_file import examine
from asset_bridge.client.verifiers import verifiers_for
from asset_bridge.errors import BridgeError
from asset_bridge.nodes.launch.tee import attester_of
from asset_bridge.nodes.node_file import NodeFile

folder, codes = Path(sys.argv[3]), {}
def code(name, act):
    try:
        act()
        codes[name] = "accepted"
    except BridgeError as error:
        codes[name] = error.code
raw = (folder / "evidence").read_bytes()
for attester in ("simulated", "tpm-simulated"):
    file = NodeFile(kind="tee", folder=folder, home=folder, account="", salt=bytes(32), attester=attester, platform="platform")
    code("starts " + attester, lambda: attester_of(file))
code("verifies", lambda: examine(raw, hardware(), now=int(sys.argv[4])))
code("judges", lambda: verifiers_for(parse((folder / "policy.toml").read_text())))
print(json.dumps(codes))
"""


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    """The product as a recipe installs it."""
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
        "-w",
        str(tmp_path),
        str(ROOT),
    ]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    (made,) = tmp_path.glob("*.whl")
    return made


def test_a_production_image_refuses_simulated_evidence(tmp_path: Path, wheel: Path) -> None:
    """In a process that has the product's wheel and its dependencies, and not the simulator."""
    make_root(tmp_path / "root", now=samples.NOW)
    issue_platform(tmp_path / "root", tmp_path / "platform", name="one", now=samples.NOW)
    attester = SimAttester.load(tmp_path / "platform", measurement_of("dev"), lambda: samples.NOW)
    (tmp_path / "evidence").write_bytes(attester.collect(samples.binding(configuration_digest=samples.UNBOUND)))
    root = (tmp_path / "root" / "root.cert.pem").read_bytes()
    policy = development(31337, {b"o" * 20: "o"}, {measurement_id(measurement_of("dev")): "dev"}, root)
    (tmp_path / "policy.toml").write_text(render(policy))
    with zipfile.ZipFile(wheel) as archive:
        assert not [name for name in archive.namelist() if "simulator" in name]
        archive.extractall(tmp_path / "installed")
    # -I -S: no path of this checkout, no .pth files, so nothing of the development set-up is seen.
    command = [sys.executable, "-I", "-S", "-c", SCRIPT, str(tmp_path / "installed"), sysconfig.get_paths()["purelib"]]
    done = subprocess.run(
        [*command, str(tmp_path), str(samples.NOW)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "starts simulated": "nodes.no-simulator",
        "starts tpm-simulated": "nodes.no-simulator",
        "verifies": "attestation.vendor",
        "judges": "client.no-simulator",
    }


def test_what_an_image_installs_is_the_run_time_part_of_the_lock() -> None:
    names = {re.split("[= ]", entry)[0] for entry in runtime_lock.entries()}
    assert {"cryptography", "dcap-qvl", "coincurve", "pycryptodome", "uvicorn"} <= names
    assert not names & {"umbral-pre", "pytest", "vyper", "sev-snp-measure", "hypothesis", "eth-account", "pydicom"}
    assert all("--hash=sha256:" in entry for entry in runtime_lock.entries())


@pytest.mark.parametrize("recipe", ["sev-snp/mkosi.build.chroot", "nitro/Dockerfile"])
def test_recipes_install_by_hash_and_end_when_the_simulator_is_there(recipe: str) -> None:
    text = (ROOT / "deploy" / recipe).read_text()
    assert "--require-hashes -r" in text
    assert "runtime.lock" in text
    assert "import asset_bridge_simulator" in text
    assert "asset-bridge-simulator" not in text
