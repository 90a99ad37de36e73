"""A network of real processes and two funded homes at a shell, for journeys of the command itself."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.shells import Done, Shell

PROVIDER, CONSUMER = "--home provider", "--home consumer"


@contextmanager
def two_homes(folder: Path, anvil: Path) -> Iterator[Shell]:
    """A shell in `folder` with a running network; FILE stands for its policy. At the end the network is deleted."""
    made = Shell(folder, {"ASSET_BRIDGE_ANVIL": str(anvil)})
    try:
        up = made.run("asset-bridge devnet up")
        (policy,) = re.findall(r"^policy +(\S+)", up.out, re.MULTILINE)
        made.words["FILE"] = policy
        for home in (PROVIDER, CONSUMER):
            made.follow(made.run(f"asset-bridge init --network devnet/network.toml {home}"), begins="devnet fund")
        yield made
    finally:
        made.run("asset-bridge devnet reset --yes")


def published(shell: Shell, words: str, home: str = PROVIDER) -> str:
    """Publish; the asset's short id."""
    return str(json.loads(shell.run(f"asset-bridge publish {words} --yes --json {home}").out)["asset_id"])[:14]


def ordered(shell: Shell, asset: str, home: str = PROVIDER) -> str:
    """Request `asset`; the provider in `home` approves and the consumer pays. The order's short id."""
    (shell.folder / "application.json").unlink(missing_ok=True)
    shell.run(f"asset-bridge request {asset} --example {CONSUMER} > application.json")
    requested = shell.run(f"asset-bridge request {asset} --application application.json --json {CONSUMER}")
    order = str(json.loads(requested.out)["order_id"])[:14]
    shell.run(f"asset-bridge approve {order} --policy FILE --yes {home}")
    shell.run(f"asset-bridge pay {order} --yes {CONSUMER}")
    return order


def resume_line(done: Done) -> str:
    """The command that a stopped one names."""
    found = re.findall(r"resume with: (asset-bridge .*)$", done.err, re.MULTILINE)
    assert len(found) == 1, done.err
    return str(found[0])
