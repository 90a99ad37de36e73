"""The README's walkthrough as two people live it: two homes, real processes, each step the one that the output before it named."""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from asset_bridge.vault.crypt4gh import Crypt4ghSource
from tests.support.shells import Shell

pytestmark = [pytest.mark.needs_anvil, pytest.mark.slow]


@pytest.fixture
def shell(tmp_path: Path, anvil_path: Path) -> Iterator[Shell]:
    """A folder with a running network, which is stopped and deleted at the end."""
    made = Shell(tmp_path, {"ASSET_BRIDGE_ANVIL": str(anvil_path)})
    try:
        yield made
    finally:
        made.run("asset-bridge devnet reset --yes")


def shares(text: str) -> str:
    """What a status says of the shares."""
    found = re.search(r"(\d of \d) shares live", text)
    assert found, text
    return found[1]


def test_a_trade_by_the_commands_that_each_output_names(shell: Shell) -> None:
    records = {"Patient.ndjson": b'{"resourceType":"Patient"}\n' * 1000, "scans/one.bin": os.urandom(1_200_000)}
    for name, content in records.items():
        (shell.folder / "records" / name).parent.mkdir(parents=True, exist_ok=True)
        (shell.folder / "records" / name).write_bytes(content)
    up = shell.run("asset-bridge devnet up")
    (consumer_init,) = re.findall(r"^  (asset-bridge init .*consumer)$", up.out, re.MULTILINE)
    (policy,) = re.findall(r"^policy +(\S+)", up.out, re.MULTILINE)
    shell.words = {"PATH": "records", "TITLE": "'Cohort, synthetic'", "PRICE": "0.01", "FILE": policy}

    # the provider
    made = shell.follow(up, begins="init")
    assert "backup" in made.out
    funded = shell.follow(made, begins="devnet fund")
    balance = shell.follow(funded, begins="balance")
    assert "10 ETH" in balance.out
    before = shell.follow(balance, begins="status")
    published = shell.run(before.next_line + " --yes")
    assert "What becomes public" in published.err
    waiting = shell.start(published.next_line)
    assert published.next_line.startswith("asset-bridge inbox --wait")

    # the consumer
    catalog = shell.follow(
        shell.follow(
            shell.follow(shell.follow(shell.run(consumer_init), begins="devnet fund"), begins="balance"),
            begins="status",
        ),
        begins="catalog",
    )
    assert "Cohort, synthetic" in catalog.out
    example = shell.follow(shell.follow(catalog, begins="catalog 0x"), begins="request 0x")
    written = shell.folder / "application.json"
    application = json.loads(written.read_text())
    written.write_text(json.dumps({**application, "legal_entity": "University of the Test"}))
    (ask,) = re.findall(r"(asset-bridge request .*--application.*)$", example.err, re.MULTILINE)
    requested = shell.run(ask + " --yes")
    answer = shell.start(requested.next_line)
    assert "--wait" in requested.next_line
    shell.hear(answer, requested.next_line, "waiting for the provider to answer")

    # the provider is told, and decides
    inbox = shell.end(waiting, published.next_line)
    assert "University of the Test" in inbox.out
    assert "Legal entity that will use the data" in inbox.out
    approved = shell.run(inbox.next_line + " --yes")
    assert inbox.next_line.startswith("asset-bridge approve 0x")
    assert all(f"share to   tee-{number}" in approved.out for number in (1, 2, 3))
    shell.follow(approved, begins="status 0x")

    # the consumer is told, and pays
    told = shell.end(answer, requested.next_line)
    assert told.next_line.startswith("asset-bridge pay 0x")
    paid = shell.run(told.next_line + " --yes")

    # the next day
    down = shell.run("asset-bridge devnet down")
    again = shell.follow(down, begins="devnet up")
    morning = shell.follow(again, begins="status --home provider")
    assert shares(morning.out) == "0 of 3"
    resealed = shell.follow(morning, begins="reseal 0x")
    assert resealed.out.count("resealed   slot") == 3
    assert shares(shell.follow(resealed, begins="status 0x").out) == "3 of 3"

    # one node less from now on, which takes both
    order, home = re.findall(r"reseal (0x\w+).*(--home \S+)", morning.next_line)[0]
    shell.run(f"asset-bridge regenerate {order} --shares 2 --propose new.json --policy {policy} {home}")
    agreed = shell.run("asset-bridge consent new.json --yes --home consumer")
    assert "every set of the new shares opens this asset" in agreed.out
    renewed = shell.run(f"asset-bridge regenerate {order} --agreed new-agreed.json --yes {home}")
    assert "shares of generation 2" in renewed.out
    assert shares(shell.follow(renewed, begins="status 0x").out) == "2 of 2"

    # and the trade goes on where it was
    shell.words["FOLDER"] = "opened"
    fetched = shell.follow(paid, begins="fetch 0x")
    for name, content in records.items():
        assert (shell.folder / "opened" / name).read_bytes() == content
    assert {"SHA256SUMS", "TERMS.txt", "provenance.json"} <= {path.name for path in (shell.folder / "opened").iterdir()}
    accepted = shell.follow(fetched, begins="accept 0x")
    assert "transaction accept" in accepted.out
    settled = shell.follow(accepted, begins="status 0x")
    assert "settled" in settled.out
    shell.words["FOLDER"] = "opened-again"
    shell.follow(settled, begins="open 0x")
    assert (shell.folder / "opened-again" / "scans" / "one.bin").read_bytes() == records["scans/one.bin"]

    # one file of it, a part of that file, and the file for a tool that reads Crypt4GH
    secret = bytes(range(32))
    public = X25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw()
    (shell.folder / "key.pub").write_text(
        "-----BEGIN CRYPT4GH PUBLIC KEY-----\n"
        + base64.b64encode(public).decode()
        + "\n-----END CRYPT4GH PUBLIC KEY-----\n"
    )
    for name, options in (("part.bin", "--range 1048570-1100000"), ("one.c4gh", "--crypt4gh key.pub")):
        shell.words["FOLDER"] = name
        shell.run(f"{settled.next_line} --member scans/one.bin {options}")
    assert (shell.folder / "part.bin").read_bytes() == records["scans/one.bin"][1_048_570:1_100_000]
    (member,) = Crypt4ghSource(shell.folder / "one.c4gh", secret).index.members
    assert (member.path, member.size_bytes) == ("one", 1_200_000)
    refused = shell.run(f"{settled.next_line} --range 0-1", expect=2)
    assert "--range and --crypt4gh need --member" in refused.err

    # the provider is paid
    shell.follow(shell.follow(shell.run("asset-bridge status --home provider"), begins="claim"), begins="balance")
