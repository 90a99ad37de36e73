"""A network on anvil, and another Exchange beside its own: the commands as an operator types them, and the market on the other Exchange."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from click.testing import CliRunner

from asset_bridge.chain.account import RpcAccount
from asset_bridge.chain.adapter import RpcChain
from asset_bridge.chain.keys import AccountKey
from asset_bridge.chain.messages import Domain
from asset_bridge.chain.network import Deployment
from asset_bridge.cli.deploy_cmd import deploy
from asset_bridge.trade.network import deployment_of, network_of
from asset_bridge.vault.network import Network
from tests.ports.chain_scene import MEASUREMENT, Scene
from tests.ports.chain_worlds import AnvilWorld

LIGHT, STORAGE = "http://127.0.0.1:9", "http://127.0.0.1:8"


def command(words: click.Command, *given: object) -> Any:
    """Run a command with --json; what it says, or the error that it raises."""
    done = CliRunner().invoke(words, [*(str(one) for one in given), "--json"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


@dataclass
class Upgrade:
    """The world, its network.toml, and its governor's key file (mode 0600)."""

    world: AnvilWorld
    folder: Path
    file: Path
    key_file: Path

    def key_of(self, name: str, key: AccountKey) -> Path:
        path = self.folder / f"{name}.key"
        path.write_text(key.secret.hex())
        path.chmod(0o600)
        return path

    def beside(self, name: str, *more: object, key_file: Path | None = None) -> tuple[Path, Deployment, Any]:
        """`deploy --beside`: the new network.toml, its deployment, and what the command said."""
        self.world.mine(3)
        output = self.folder / f"{name}.toml"
        said = command(deploy, "--beside", self.file, "--key-file", key_file or self.key_file, "-o", output, *more)
        self.world.mine(3)
        return output, deployment_of(Network.load(output)), said

    def chain(self, deployment: Deployment) -> RpcChain:
        chain = RpcChain(deployment, [self.world.url], max_head_age_seconds=10**9)
        chain.check()
        return chain

    def scene_on(self, deployment: Deployment, scene: Scene) -> Scene:
        """The same people, nodes and journals on another Exchange."""
        chain, there = self.chain(deployment), copy.copy(scene)
        for role in ("provider", "consumer", "recorder"):
            account = getattr(scene, role)
            other = RpcAccount(chain, account._key, self.folder / f"{account.address}.sqlite", sleep=lambda _: None)
            self.world._open.append(other)
            setattr(there, role, other)
        there.domain = Domain(chain.chain_id, chain.exchange)
        return there


@contextmanager
def upgrade_world(anvil: Path, folder: Path) -> Iterator[Upgrade]:
    """A development network whose governor is the deployer."""
    with AnvilWorld(anvil, folder, ((255, MEASUREMENT),)) as world:
        made = Upgrade(world, folder, folder / "network.toml", folder / "governor.key")
        network_of(world.deployment, "trial", [world.url], [LIGHT], [STORAGE]).save(made.file)
        made.key_of("governor", world._dev.accounts[0])
        yield made
