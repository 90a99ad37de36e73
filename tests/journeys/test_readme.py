"""The README's Python example, run from the README's own text against a whole network of processes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from asset_bridge.client.homes import load_network, make_home
from asset_bridge.nodes.devnet import Devnet
from tests.support.readme import python_example

PASSPHRASE = "a passphrase of the test"
FUNDS_WEI = 10 * 10**18


@pytest.fixture
def devnet(tmp_path: Path) -> Iterator[Devnet]:
    """A network that ends with the test, also when the test is killed: its processes watch the pipe."""
    watched, held = os.pipe()
    network = Devnet(tmp_path / "devnet", report=lambda _: None, while_open=watched)
    try:
        network.up()
        yield network
    finally:
        network.down()
        os.close(held)
        os.close(watched)


@pytest.mark.needs_anvil
@pytest.mark.slow
def test_the_python_example_trades_and_opens_the_same_bytes(
    devnet: Devnet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate(("hospital", "university")):
        home = make_home(
            tmp_path / name,
            network=load_network(str(devnet.network_file)),
            second_place=tmp_path / f"{name}-second-place",
            passphrase=lambda: PASSPHRASE,
            randbytes=os.urandom,
            now_at=1_790_000_000 + number,
        )
        devnet.fund(home.info.address, FUNDS_WEI)
    (tmp_path / "passphrase.txt").touch(mode=0o600)
    (tmp_path / "passphrase.txt").write_text(PASSPHRASE + "\n")
    shutil.copyfile(devnet.policy_file, tmp_path / "policy.toml")
    records = {"Patient.ndjson": b'{"resourceType":"Patient"}\n' * 1000, "sub folder/scan.bin": os.urandom(1_500_000)}
    for path, content in records.items():
        (tmp_path / "records" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "records" / path).write_bytes(content)

    exec(compile(python_example(), "README.md", "exec"), {})

    opened = tmp_path / "opened"
    for path, content in records.items():
        (found,) = [candidate for candidate in opened.rglob(Path(path).name) if candidate.is_file()]
        assert found.read_bytes() == content
