"""One deployed world a module; each test starts from its beginning."""

from __future__ import annotations

import os
from collections.abc import Iterator

import boa
import pytest

from tests.support.revm import FastEnv
from tests.unit.contracts.challenge_world import ChallengeWorld
from tests.unit.contracts.world import World


@pytest.fixture(scope="session", autouse=True)
def _engine() -> Iterator[None]:
    """py-evm; in a run of tools/contract_mutants.py the faster revm, where contract accounts cannot call."""
    with boa.swap_env(FastEnv() if os.environ.get("ASSET_BRIDGE_ENGINE") == "revm" else boa.env):
        yield


@pytest.fixture(scope="session")
def deployed() -> World:
    """The development deployment."""
    return World()


@pytest.fixture(scope="module")
def true_world() -> ChallengeWorld:
    """A deployment with true shares, whose deliveries can be challenged."""
    return ChallengeWorld()


@pytest.fixture
def world(deployed: World) -> Iterator[World]:
    """The deployment, rolled back after the test."""
    with deployed.untouched():
        yield deployed
