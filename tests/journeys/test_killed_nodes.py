"""kill -9 of real nodes (issue 3, must-show 3): the trade goes on, the lost share is named and sealed again, the upload resumes."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from asset_bridge.nodes.devnet import Devnet
from tests.journeys.support.homes import CONSUMER, PROVIDER, ordered, published, resume_line, two_homes
from tests.support.shells import Shell

pytestmark = [pytest.mark.needs_anvil, pytest.mark.slow]
LARGE_BYTES = 60_000_000


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory, anvil_path: Path) -> Iterator[Shell]:
    with two_homes(tmp_path_factory.mktemp("killed"), anvil_path) as made:
        yield made


def kill(shell: Shell, name: str) -> None:
    running = Devnet(shell.folder / "devnet", report=lambda _: None).running(name)
    assert running is not None
    os.kill(running.pid, signal.SIGKILL)


def live_shares(shell: Shell, order: str) -> str:
    found = re.search(r"(\d of \d) shares live", shell.run(f"asset-bridge status {order} {PROVIDER}").out)
    assert found
    return found[1]


def test_a_storage_node_and_a_tee_node_killed_before_fetch(shell: Shell) -> None:
    original = os.urandom(3_500_000)
    (shell.folder / "table.csv").write_bytes(original)
    asset = published(shell, "table.csv --title Table --price 0.01")
    first, second = ordered(shell, asset), ordered(shell, asset)
    for name in ("storage-1", "tee-2"):
        kill(shell, name)
    shell.run(f"asset-bridge fetch {first} -o opened {CONSUMER}")
    assert (shell.folder / "opened" / "table.csv").read_bytes() == original

    shell.run("asset-bridge devnet up")
    assert live_shares(shell, second) == "2 of 3"
    resealed = shell.run(f"asset-bridge reseal {second} --policy FILE {PROVIDER}")
    assert resealed.out.count("resealed   slot") == 1
    assert "to tee-2" in resealed.out
    assert live_shares(shell, second) == "3 of 3"
    kill(shell, "tee-1")  # what is left opens only if the share that was sealed again is a real one
    shell.run(f"asset-bridge fetch {second} -o again {CONSUMER}")
    assert (shell.folder / "again" / "table.csv").read_bytes() == original
    shell.run("asset-bridge devnet up")


def test_the_light_node_killed_in_the_middle_of_an_upload(shell: Shell) -> None:
    with (shell.folder / "large.bin").open("wb") as out:
        for _ in range(LARGE_BYTES // 1_000_000):
            out.write(os.urandom(1_000_000))
    line = f"asset-bridge publish large.bin --title Large --price 0.01 --yes {PROVIDER}"
    stopped = shell.meanwhile(line, "upload: 3", lambda _: kill(shell, "light-1"), expect=5)
    assert "[transport.down]" in stopped.err
    shell.run("asset-bridge devnet up")
    resumed = shell.run(resume_line(stopped))
    assert percentages(resumed.err)[0] >= percentages(stopped.err)[-1]
    (asset,) = re.findall(r"^asset +(0x[0-9a-f]{12})", resumed.out, re.MULTILINE)
    order = ordered(shell, asset)
    shell.run(f"asset-bridge fetch {order} -o whole {CONSUMER}")
    assert (shell.folder / "whole" / "large.bin").read_bytes() == (shell.folder / "large.bin").read_bytes()


def percentages(progress: str) -> list[int]:
    """How far the upload said it was."""
    return [int(number) for number in re.findall(r"upload: +(\d+)", progress)]
