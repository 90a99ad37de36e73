"""A light node dies in the middle of an upload and another one goes on: what storage nodes hold already is not sent again.

Five storage nodes, so that the second light node could have chosen others; both are the real app over real signed requests.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from asset_bridge.client.peers import LightNodes
from asset_bridge.errors import UnavailableError
from asset_bridge.ipld.cid import Cid
from asset_bridge.ipld.unixfs import LEAF_BYTES
from tests.ports.test_blocks import blocks_of, content
from tests.support.light import World

DATA = content(6 * LEAF_BYTES + 5, 81)
DAG, BLOCKS = blocks_of(DATA)


class Dying:
    """A light node that is gone once it passed on so many blocks."""

    def __init__(self, core: Any, after: int, sent: list[Cid]) -> None:
        self.core, self.after, self.sent, self.name = core, after, sent, core.name

    def upload(self, root: bytes, length: int, blocks: Any, purpose: str, progress: Any) -> None:
        begun_at = len(self.sent)

        def counted(cid: bytes) -> bytes:
            if len(self.sent) - begun_at == self.after:
                raise UnavailableError("transport.down", "the light node does not answer", actor="light node")
            block: bytes = blocks(cid)
            self.sent.append(Cid.from_bytes(cid))
            return block

        self.core.upload(root, length, counted, purpose, progress)


@pytest.mark.parametrize("after", [0, 1, 4, len(BLOCKS)])
def test_another_light_node_goes_on_at_the_same_storage_nodes(tmp_path: Path, after: int) -> None:
    world, sent = World(tmp_path, storage=5), list[Cid]()
    one = world.light(folder=tmp_path / "one", node_id=b"\x11" * 32)
    two = world.light(folder=tmp_path / "two", node_id=b"\x12" * 32)
    lights = LightNodes([Dying(one, after, sent), Dying(two, len(BLOCKS) + 1, sent)])  # type: ignore[list-item]
    by_name = {cid.to_bytes(): block for cid, block in BLOCKS.items()}
    lights.upload(DAG.root.to_bytes(), len(DATA), by_name.__getitem__, "body", None)
    assert Counter(sent) == Counter(BLOCKS.keys()), "every block went out once"
    holding = [stored for stored in world.storage if stored.store.blocks.get(DAG.root)]
    assert len(holding) == 3
    assert all(stored.store.state(DAG.root).complete for stored in holding)
    last = one if after == len(BLOCKS) else two
    assert len(last.uploads.find(DAG.root).held_by) == 3  # type: ignore[union-attr]
    for core in (one, two):
        core.close()
