"""One deployed world a module; each test starts from its beginning."""

from __future__ import annotations

from collections.abc import Iterator

import boa
import pytest

from tests.unit.contracts.world import World


@pytest.fixture(scope="session")
def deployed() -> World:
    """The development deployment."""
    return World()


@pytest.fixture
def world(deployed: World) -> Iterator[World]:
    """The deployment, rolled back after the test."""
    at = deployed.now
    with boa.env.anchor():
        yield deployed
    deployed.move_to(at)
