"""One anvil for the fault tests of the chain."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.chain_proxy import ChainProxy
from tests.ports.chain_scene import MEASUREMENT
from tests.ports.chain_worlds import AnvilWorld


@pytest.fixture(scope="module")
def anvil_world(anvil_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AnvilWorld]:
    with AnvilWorld(anvil_path, tmp_path_factory.mktemp("anvil"), ((255, MEASUREMENT),)) as world:
        yield world


@pytest.fixture
def proxy(anvil_world: AnvilWorld) -> Iterator[ChainProxy]:
    made = ChainProxy(anvil_world.url)
    yield made
    made.close()
