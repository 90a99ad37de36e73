"""A second EVM: the whole journey by the commands on geth in development mode, with real nodes as processes (design §7)."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from asset_bridge.vault.home import Home
from tests.support.geth_chain import GethNetwork
from tests.support.shells import Shell
from tools.geth import obtain_geth

pytestmark = [pytest.mark.needs_geth, pytest.mark.slow, pytest.mark.timeout(2400)]


@pytest.fixture
def network(tmp_path: Path) -> Iterator[GethNetwork]:
    made = GethNetwork(tmp_path / "geth network", obtain_geth())
    try:
        made.up()
        yield made
    finally:
        made.down()


def test_the_whole_journey_passes_on_geth(network: GethNetwork, tmp_path: Path) -> None:
    shell = Shell(tmp_path, words={"FILE": f"'{network.policy_file}'", "FOLDER": "opened"})
    records = {"Patient.ndjson": b'{"resourceType":"Patient"}\n' * 1000, "scans/one.bin": os.urandom(1_200_000)}
    for name, content in records.items():
        (tmp_path / "records" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "records" / name).write_bytes(content)
    for name in ("provider", "consumer"):
        shell.run(f"asset-bridge init --network '{network.network_file}' --home {name}")
        network.fund(Home.open(tmp_path / name).info.address, 10 * 10**18)
    assert "1337" in network.network_file.read_text()

    published = shell.run("asset-bridge publish records --title 'Cohort, synthetic' --price 0.01 --yes --home provider")
    waiting = shell.start(published.next_line)
    catalog = shell.run("asset-bridge catalog --home consumer")
    example = shell.follow(shell.follow(catalog, begins="catalog 0x"), begins="request 0x")
    (ask,) = re.findall(r"(asset-bridge request .*--application.*)$", example.err, re.MULTILINE)
    requested = shell.run(ask + " --yes")
    answer = shell.start(requested.next_line)

    inbox = shell.end(waiting, published.next_line)
    approved = shell.run(inbox.next_line + " --yes")
    assert all(f"share to   tee-{number}" in approved.out for number in (1, 2, 3))

    told = shell.end(answer, requested.next_line)
    paid = shell.run(told.next_line + " --yes")
    fetched = shell.follow(paid, begins="fetch 0x")
    for name, content in records.items():
        assert (tmp_path / "opened" / name).read_bytes() == content
    accepted = shell.follow(fetched, begins="accept 0x")
    settled = shell.follow(accepted, begins="status 0x")
    assert "settled" in settled.out
    claimed = shell.follow(shell.run("asset-bridge status --home provider"), begins="claim")
    assert "claim" in claimed.out
