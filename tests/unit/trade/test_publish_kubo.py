"""Publishing into a kubo of the provider's own: killed at each durable step it goes on or leaves nothing; storage nodes copy from it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from asset_bridge.errors import InputError, UnavailableError
from asset_bridge.ipfs.kubo.daemon import KuboDaemon
from asset_bridge.ipfs.kubo.own import PIN_NAME, KuboPlace, add_body
from asset_bridge.ipfs.kubo.rpc import KuboRpc
from asset_bridge.ipfs.memory import InMemoryStore
from asset_bridge.ipld.cid import Cid
from asset_bridge.ipld.unixfs import LEAF_BYTES
from asset_bridge.trade import publish as publish_module
from asset_bridge.trade.desk import Desk
from asset_bridge.trade.publish import Plan, publish, resume, unfinished
from asset_bridge.trade.publish_sweep import SEALING, sweep
from tests.ports.test_blocks import blocks_of, code_of, content
from tests.support.kubo import store_of
from tests.support.light import World
from tests.support.trade import Scene, make_scene, plan_of

pytestmark = pytest.mark.needs_kubo
KILLED = 9


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return make_scene(tmp_path)


@pytest.fixture
def rpc(kubo_trio: list[KuboDaemon]) -> Iterator[KuboRpc]:
    found = kubo_trio[0].rpc(timeout_seconds=10)
    list(found._lines("repo/gc"))  # what other tests left in it without a pin
    yield found
    for root in found.pins(PIN_NAME):
        found.unpin(root)
    list(found._lines("repo/gc"))
    found.close()


@pytest.fixture
def plan(rpc: KuboRpc, kubo_trio: list[KuboDaemon], tmp_path: Path) -> Plan:
    data = tmp_path / "images.bin"
    data.write_bytes(content(5 << 20, 9))
    place = KuboPlace(str(kubo_trio[0].repo), str(kubo_trio[0].folder / "rpc.secret"))
    return plan_of(data, kubo=place)


def blocks_in(rpc: KuboRpc) -> int:
    """Whole leaves. Not counted: the folder of a hundred bytes that each `add` makes around its file, and where a kill cut off a leaf
    on its way, what kubo made of the part that came, whose name nobody can know."""
    sizes = [rpc.block_size(Cid.parse(line["Ref"])) for line in rpc._lines("refs/local")]
    assert sum(size not in (None, LEAF_BYTES) and size > 150 for size in sizes) <= 2
    return sizes.count(LEAF_BYTES)


def killed_at(step: int, desk: Desk, plan: Plan, work: Path) -> bool:
    """Publish in a process that dies by itself, nothing undone, at its n-th durable step; False when it had fewer."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            _dying(step, desk, plan, work)
            status = 0
        finally:
            os._exit(status)
    _pid, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) in (0, KILLED)
    return os.waitstatus_to_exitcode(status) == KILLED


def _dying(step: int, desk: Desk, plan: Plan, work: Path) -> None:
    count = 0

    def before(call: Callable[..., Any]) -> Callable[..., Any]:
        def run(*given: Any, **named: Any) -> Any:
            nonlocal count
            count += 1
            if count == step:
                os._exit(KILLED)
            return call(*given, **named)

        return run

    journal = desk.vault.journal
    journal.put, journal.delete = before(journal.put), before(journal.delete)  # type: ignore[method-assign]
    publish_module.hold_body = before(publish_module.hold_body)
    own = publish_module.OwnKubo
    own.written, own.end = before(own.written), before(own.end)  # type: ignore[method-assign]
    desk = replace(desk, light=_Dying(desk.light, before))  # type: ignore[arg-type]
    publish(desk, plan, work)


class _Dying:
    def __init__(self, light: Any, before: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
        self._light = light
        self.upload = before(light.upload)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._light, name)


def test_killed_at_each_step_it_goes_on_or_leaves_nothing(scene: Scene, rpc: KuboRpc, plan: Plan) -> None:
    desk, empty, ways, step = scene.desk("provider"), blocks_in(rpc), set(), 0
    work = scene.folder_of("provider", "work")
    while killed_at(step := step + 1, desk, plan, work):
        desk = scene.desk("provider")
        said = sweep(desk, work)
        if left := unfinished(desk):
            ways.add("goes on")
            done = resume(desk, left[0], work)
            assert rpc.pin_name(done.body_cid) == f"{PIN_NAME}{done.body_length_bytes}"
            assert scene.chain.asset(done.asset_id).provider == desk.address
            rpc.unpin(done.body_cid)
            list(rpc._lines("repo/gc"))
        else:
            ways.add("nothing left")
            assert not said or "cut off" in said[0]
        assert [name for name in desk.vault.journal.names() if name.startswith((SEALING, "publish-"))] == []
        assert len(desk.vault.tweaks.names()) == len(scene.chain.assets())
        assert list(work.iterdir()) == []
        assert (rpc.pins(PIN_NAME), blocks_in(rpc)) == ({}, empty)
        list(rpc._lines("repo/gc"))
        assert sweep(desk, work) == []
    assert step > 12
    assert ways == {"goes on", "nothing left"}


def test_a_kubo_that_fails_ends_after_the_sealing_and_is_told(
    scene: Scene, rpc: KuboRpc, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk, work = scene.desk("provider"), scene.folder_of("provider", "work")
    honest = KuboRpc.add_file

    def fails(*_given: object) -> None:
        raise UnavailableError("ipfs.kubo-down", "gone")

    monkeypatch.setattr(KuboRpc, "add_file", fails)
    assert code_of(lambda: publish(desk, plan, work)) == "ipfs.kubo-down"
    (name,) = unfinished(desk)
    assert code_of(lambda: resume(desk, name, work)) == "ipfs.kubo-down"
    assert scene.chain.assets() == []
    monkeypatch.setattr(KuboRpc, "add_file", honest)
    done = resume(desk, name, work)
    assert (done.kubo, rpc.pin_name(done.body_cid)) == (
        plan.kubo.where if plan.kubo else "",
        f"{PIN_NAME}{done.body_length_bytes}",
    )


def test_what_fails_before_it_is_recorded_leaves_kubo_as_it_was(
    scene: Scene, rpc: KuboRpc, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk, work, before = scene.desk("provider"), scene.folder_of("provider", "work"), blocks_in(rpc)

    def broken(*_given: object) -> None:
        raise InputError("sealing.source-changed", "changed")

    monkeypatch.setattr(publish_module, "_listing", broken)
    assert code_of(lambda: publish(desk, plan, work)) == "sealing.source-changed"
    assert (desk.vault.journal.names(), desk.vault.tweaks.names(), list(work.iterdir())) == ([], [], [])
    assert (rpc.pins(PIN_NAME), blocks_in(rpc)) == ({}, before)


def test_a_kubo_that_is_down_keeps_the_note_until_it_is_back(scene: Scene, rpc: KuboRpc, plan: Plan) -> None:
    desk, before = scene.desk("provider"), blocks_in(rpc)
    work = scene.folder_of("provider", "work")
    assert killed_at(5, desk, plan, work)
    assert plan.kubo is not None
    address = Path(plan.kubo.where) / "api"
    there = address.read_text()
    address.write_text("/ip4/127.0.0.1/tcp/9")
    desk = scene.desk("provider")
    try:
        (line,) = sweep(desk, work)
        assert "tried again" in line
        assert len(list(work.iterdir())) == 1
    finally:
        address.write_text(there)
    assert "is deleted" in sweep(desk, work)[0]
    assert (list(work.iterdir()), blocks_in(rpc)) == ([], before)
    assert killed_at(5, desk, plan, work)
    for half in work.iterdir():
        half.unlink()
    keys = desk.vault.tweaks.names()
    assert "repo gc" in sweep(desk, work)[0]
    assert sweep(desk, work) == []
    assert len(keys) == 1
    assert desk.vault.tweaks.names() == keys  # of a note alone nobody knows whether the asset was listed after all


def test_the_other_storage_nodes_copy_from_the_one_in_that_kubo(
    kubo_trio: list[KuboDaemon], rpc: KuboRpc, tmp_path: Path
) -> None:
    data = content(5 << 20, 10)
    dag, blocks = blocks_of(data)
    (tmp_path / "sealed").write_bytes(b"head" + data)
    with store_of(kubo_trio[0], tmp_path) as store:
        world = World(tmp_path / "world", stores=[store, InMemoryStore(), InMemoryStore()])
        core = world.light()
        add_body(rpc, dag, tmp_path / "sealed", 4)

        def never(_cid: bytes) -> bytes:
            raise AssertionError("a block was asked of the provider")

        core.upload(dag.root.to_bytes(), len(data), never, "body", None)
        assert len(core.storage_receipt(dag.root.digest, len(data)).storage_node_ids) == 3
        for stored in world.storage:
            assert all(stored.store.get_block(cid) == block for cid, block in blocks.items())
