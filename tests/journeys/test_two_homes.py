"""Ctrl-C and kill -9 in the middle, a lost home, a change of mind: real processes, and the command each output names goes on from there.

Issue 3, must-show 3, and features.md (nothing is lost). One network for all of them, since it is started anew in between anyway; the last
test loses the provider's home.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from asset_bridge.nodes.devnet import Devnet
from tests.journeys.support.homes import CONSUMER, PROVIDER, ordered, published, resume_line, two_homes
from tests.support.shells import Shell

pytestmark = [pytest.mark.needs_anvil, pytest.mark.slow]
LARGE_BYTES = 200_000_000
WHOLE_BYTES = 60_000_000
RESTORED = "--home restored"


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory, anvil_path: Path) -> Iterator[Shell]:
    """A network and two funded homes."""
    with two_homes(tmp_path_factory.mktemp("two-homes"), anvil_path) as made:
        yield made


def leftovers(folder: Path) -> list[str]:
    """Half-written things that a user could find."""
    return [str(path) for path in folder.rglob("*") if ".partial" in path.name]


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def noise(path: Path, length_bytes: int) -> None:
    """A file that nothing can shorten."""
    with path.open("wb") as out:
        for _ in range(length_bytes // 1_000_000):
            out.write(os.urandom(1_000_000))


def kill(shell: Shell, name: str) -> None:
    running = Devnet(shell.folder / "devnet", report=lambda _: None).running(name)
    assert running is not None
    os.kill(running.pid, signal.SIGKILL)


def live_shares(shell: Shell, order: str) -> str:
    found = re.search(r"(\d of \d) shares live", shell.run(f"asset-bridge status {order} {PROVIDER}").out)
    assert found
    return found[1]


def test_agreed_refund_between_two_homes(shell: Shell) -> None:
    (shell.folder / "small.csv").write_text("a,b\n1,2\n")
    order = ordered(shell, published(shell, "small.csv --title Table --price 0.5"))
    early = shell.run(f"asset-bridge refund {order} {CONSUMER}", expect=2)
    assert "trade.too-early" in early.err
    assert "trade.state" in shell.run(f"asset-bridge claim {order} {PROVIDER}", expect=2).err
    agreed = shell.run(f"asset-bridge refund {order} --agree {PROVIDER}")
    assert agreed.next_line.startswith(f"asset-bridge refund {order} --agree --with 0x")
    forged = agreed.next_line[:-1] + ("0" if agreed.next_line[-1] != "0" else "1")
    assert shell.run(f"{forged} {PROVIDER}", expect=3).err  # one cannot agree with oneself, and no forged text counts
    before = json.loads(shell.run(f"asset-bridge balance --json {CONSUMER}").out)
    refunded = shell.run(f"{agreed.next_line} {CONSUMER}")
    assert "refunded by agreement" in refunded.out
    claimed = shell.follow(refunded, begins="claim")
    assert "claimed    0.5 ETH" in claimed.out
    after = json.loads(shell.run(f"asset-bridge balance --json {CONSUMER}").out)
    assert after["coins_wei"] > before["coins_wei"] + 49 * 10**16
    assert "refunded" in shell.run(f"asset-bridge status {order} {PROVIDER}").out


def test_payee_and_recovery_account(shell: Shell) -> None:
    other = json.loads(shell.run(f"asset-bridge balance --json {CONSUMER}").out)["address"]
    assert "client.no-profile" in shell.run(f"asset-bridge account payee {other} {CONSUMER}", expect=2).err
    proposed = shell.run(f"asset-bridge account payee {other} {PROVIDER}")
    assert f"pending    payee becomes {other}" in proposed.out
    shown = shell.run(f"asset-bridge account {PROVIDER}")
    assert "applies    from " in shown.out
    cancelled = shell.follow(shown, begins="account cancel")
    assert "no change waits" in cancelled.out
    assert "client.no-change" in shell.run(f"asset-bridge account apply {PROVIDER}", expect=2).err
    shell.run(f"asset-bridge account recovery {other} {PROVIDER}")
    assert "trade.too-early" in shell.run(f"asset-bridge account apply {PROVIDER}", expect=2).err
    wrong = other.swapcase().replace("0X", "0x")
    assert "chain.address" in shell.run(f"asset-bridge account payee {wrong} {PROVIDER}", expect=2).err


def test_a_storage_node_and_a_tee_node_killed_before_fetch(shell: Shell) -> None:
    original = os.urandom(3_500_000)
    (shell.folder / "table.csv").write_bytes(original)
    asset = published(shell, "table.csv --title Table --price 0.01")
    first, second = ordered(shell, asset), ordered(shell, asset)
    for name in ("storage-1", "tee-2"):
        kill(shell, name)
    shell.run(f"asset-bridge fetch {first} -o once {CONSUMER}")
    assert (shell.folder / "once" / "table.csv").read_bytes() == original

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
    noise(shell.folder / "whole.bin", WHOLE_BYTES)
    line = f"asset-bridge publish whole.bin --title Whole --price 0.01 --yes {PROVIDER}"
    stopped = shell.meanwhile(line, "upload: 3", lambda _: kill(shell, "light-1"), expect=5)
    assert "[transport.down]" in stopped.err
    shell.run("asset-bridge devnet up")
    resumed = shell.run(resume_line(stopped))
    assert percentages(resumed.err)[0] >= percentages(stopped.err)[-1]
    (asset,) = re.findall(r"^asset +(0x[0-9a-f]{12})", resumed.out, re.MULTILINE)
    order = ordered(shell, asset)
    shell.run(f"asset-bridge fetch {order} -o whole {CONSUMER}")
    assert digest(shell.folder / "whole" / "whole.bin") == digest(shell.folder / "whole.bin")


def percentages(progress: str) -> list[int]:
    """How far the upload said it was."""
    return [int(number) for number in re.findall(r"upload: +(\d+)", progress)]


def test_stopped_uploads_and_downloads_resume_and_lost_homes_come_back(shell: Shell) -> None:
    folder, large = shell.folder, shell.folder / "large.bin"
    noise(large, LARGE_BYTES)
    line = f"asset-bridge publish large.bin --title Large --price 0.01 --yes {PROVIDER}"
    sealing = shell.interrupt(line, "seal: 2")
    assert resume_line(sealing).startswith("asset-bridge publish large.bin --title Large")
    assert not list((folder / "provider" / "work").iterdir())  # half a sealing is nothing
    stopped = shell.interrupt(line, "upload: 4")
    assert resume_line(stopped).startswith("asset-bridge publish --resume")
    listed = shell.run(resume_line(stopped) + " --json")
    asset = str(json.loads(listed.out)["asset_id"])[:14]
    assert not list((folder / "provider" / "work").iterdir())
    assert leftovers(folder) == []

    # the provider loses the home, and goes on from the backup
    assert "no backup" in shell.run(f"asset-bridge status {PROVIDER}").err
    shell.run(f"asset-bridge backup kept/provider {PROVIDER}")
    assert "warning" not in shell.run(f"asset-bridge status {PROVIDER}").err
    shutil.rmtree(folder / "provider")
    keys, tweaks = (next((folder / "kept" / "provider").glob(f"*-{name}.backup")) for name in ("keys", "tweaks"))
    shell.run(
        f"asset-bridge restore {keys} {tweaks} --network devnet/network.toml --second-place provider-second-place {RESTORED}"
    )
    order = ordered(shell, asset, RESTORED)
    net = Devnet(folder / "devnet", report=lambda _: None)
    running = net.running("tee-1")
    assert running is not None
    running.stop()
    shell.run("asset-bridge devnet up")
    resealed = shell.run(f"asset-bridge reseal {order} --policy FILE {RESTORED}")
    assert "to tee-1" in resealed.out

    # the consumer stops the download, and goes on
    line = f"asset-bridge fetch {order} -o opened {CONSUMER}"
    stopped = shell.interrupt(line, "download: 4")
    assert not (folder / "opened").exists()
    assert leftovers(folder) == []
    fetched = json.loads(shell.run(resume_line(stopped) + " --json").out)
    assert fetched["downloaded_bytes"] < LARGE_BYTES * 0.9
    assert digest(folder / "opened" / "large.bin") == digest(large)
    assert "files.exists" in shell.run(line, expect=2).err
    shell.run(f"asset-bridge accept {order} {CONSUMER}")

    # and loses the home, and opens the data again
    shell.run(f"asset-bridge backup kept/consumer {CONSUMER}")
    shutil.rmtree(folder / "consumer")
    keys, tweaks = (next((folder / "kept" / "consumer").glob(f"*-{name}.backup")) for name in ("keys", "tweaks"))
    shell.run(
        f"asset-bridge restore {keys} {tweaks} --network devnet/network.toml --second-place consumer-second-place {CONSUMER}"
    )
    shutil.rmtree(folder / "opened")
    again = f"asset-bridge open {order} -o opened {CONSUMER}"
    stopped = shell.interrupt(again, "open: 4")
    assert not (folder / "opened").exists()
    assert leftovers(folder) == []
    shell.run(again)
    assert digest(folder / "opened" / "large.bin") == digest(large)

    # a newer asset than the backup
    (folder / "later.csv").write_text("c\n3\n")
    shell.run(f"asset-bridge publish later.csv --title Later --yes {RESTORED}")
    assert "older than the newest asset" in shell.run(f"asset-bridge status {RESTORED}").err
