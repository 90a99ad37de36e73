"""The drill: after `retire --shred` and the retention, seed, chain, storage, nodes, backups and recovery shares together open nothing.

spec/shred.md, issue "keys". A second run asks only those who were silent; a lie is named; a crash at any step is finished.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from asset_bridge.chain.messages import Domain, fetch_digest
from asset_bridge.chain.records import FetchSignature, OrderState
from asset_bridge.client.peers import unpin_everywhere
from asset_bridge.errors import BridgeError, InputError, RefusedError, TamperedError, UnavailableError
from asset_bridge.ipld.cid import Cid
from asset_bridge.ipld.unixfs import body_cid
from asset_bridge.keys.derivation import asset_keys
from asset_bridge.keys.hpke import open_kfrag
from asset_bridge.keys.kem import ShareSecretKey
from asset_bridge.reencryption import Capsule, decrypt_package
from asset_bridge.trade.accept import accept
from asset_bridge.trade.desk import Desk
from asset_bridge.trade.fetch import open_again
from asset_bridge.trade.retire import retire
from asset_bridge.trade.shares import owned_asset
from asset_bridge.trade.shred import Shredded, decode_certificate, shred
from asset_bridge.trade.unpin import UnpinReceipt, sign_unpin
from asset_bridge.trade.unpin_asset import unpin_asset
from asset_bridge.vault.backup import backup, restore
from asset_bridge.vault.home import Home
from asset_bridge.vault.recovery import make_shares, restore_from_shares
from asset_bridge.vault.tweaks import RETENTION_SECONDS
from tests.support.trade import PASSPHRASE, QUICK, Scene
from tests.support.trade_steps import Trade, published

COPY = {"passphrase": lambda: PASSPHRASE, "randbytes": os.urandom, "cost": QUICK}


class Light:
    """The light node's deletion, over the scene's stores; `silent` and `lying` are storage nodes' numbers."""

    name = "light node"

    def __init__(self, scene: Scene) -> None:
        self.scene, self.silent, self.lying = scene, set[int](), set[int]()

    def unpin(self, root: bytes) -> tuple[list[UnpinReceipt], list[str]]:
        receipts, silent = [], []
        for number, source in enumerate(self.scene.sources):
            if number in self.silent:
                silent.append(source.name)
                continue
            cid = Cid.from_bytes(root)
            length = next((info.length_bytes for info in source.store.inventory() if info.root == cid), None)
            if length is None:
                continue
            source.store.remove(cid)
            signer = self.scene.account("nobody" if number in self.lying else f"storage {number}")
            chain, node_id = self.scene.chain, self.scene.storage_ids[number]
            receipts.append(sign_unpin(signer, chain.chain_id, chain.registry, cid, length, node_id, chain.now_at))
        if not receipts and not silent:
            raise InputError("light.no-upload", "The upload is not known here.")
        return receipts, silent


@pytest.fixture
def settled(tmp_path: Path) -> Trade:
    """Bought, opened, accepted, and past every window."""
    trade = published(tmp_path).request().approve()
    trade.pay()
    trade.fetch()
    accept(trade.consumer, trade.order_id)
    later(trade, 3 * 86_400)
    return trade


def later(trade: Trade, seconds: int) -> None:
    trade.scene.chain.advance(seconds)
    trade.scene.chain.mine(3)


def copies(trade: Trade, name: str) -> tuple[Path, Path]:
    home = Home.open(trade.folder / "provider")
    keys, tweaks = trade.folder / f"{name}.keys", trade.folder / f"{name}.tweaks"
    backup(home, trade.provider.vault, keys, tweaks, now_at=trade.scene.chain.now_at, **COPY)
    return keys, tweaks


def from_backup(trade: Trade, pair: tuple[Path, Path], name: str) -> Desk:
    root = trade.folder / name
    home = restore(root, *pair, second_place=trade.folder / "provider-second", **COPY)
    return replace(trade.provider, vault=home.unlock(lambda: PASSPHRASE, os.urandom))


def refused(kind: type[BridgeError], code: str, call: Any) -> BridgeError:
    with pytest.raises(kind) as caught:
        call()
    assert caught.value.code == code, caught.value
    return caught.value


def done(trade: Trade, light: Light | None = None) -> Shredded:
    return shred(trade.provider, trade.published.asset_id, (light or Light(trade.scene)).unpin)


def test_drill(settled: Trade) -> None:
    scene, provider, asset_id = settled.scene, settled.provider, settled.published.asset_id
    container = settled.published.container_id
    before = copies(settled, "before")
    shares = make_shares(provider.vault, 2, 3, os.urandom)
    seed = provider.vault.provider_seed.reveal()
    asset = scene.chain.asset(asset_id)
    stolen = {slot.node_id: slot for slot in scene.chain.order(settled.order_id).approval.slots}  # type: ignore[union-attr]
    bodies = [source.store.get_block(leaf) for source in scene.sources[:1] for leaf in leaves(settled)]
    assert bodies  # a stranger may have kept the ciphertext

    result = done(settled)
    said = result.certificate
    assert result.complete
    assert (said["silent_slots"], said["silent_storage"], len(said["destroyed_slots"])) == ([], [], 3)
    assert len(said["unpinned"]) == 3
    assert said["kept_by"] == [settled.consumer.address]
    assert said["may_be_kept_by"] == []
    assert said["backups_unreadable_at"] == said["tweak_destroyed_at"] + RETENTION_SECONDS
    assert decode_certificate(result.document, provider.address) == said
    assert scene.chain.asset(asset_id).retired

    # seed and chain, in the home that held the key
    refused(InputError, "vault.no-tweak", lambda: owned_asset(provider, asset))
    # storage
    for source in scene.sources:
        for leaf in leaves(settled):
            with pytest.raises(BridgeError):
                source.store.get_block(leaf)
    # nodes: they refuse, and what is on chain opens under no key that any of them still holds
    order = scene.chain.order(settled.order_id)
    digest = fetch_digest(Domain(scene.chain.chain_id, scene.chain.exchange), settled.order_id, 1)
    fetch = FetchSignature(1, settled.consumer.signer.sign_digest(digest))
    for tee in scene.tees:
        assert tee.core is not None
        with pytest.raises(BridgeError):
            tee.core.reencrypt(settled.order_id, fetch)
        slot = stolen[tee.node_id]
        number = [s.node_id for s in order.approval.slots].index(tee.node_id)  # type: ignore[union-attr]
        context = {"order_id": settled.order_id, "generation": 1, "slot": number, "kfrag_id": slot.kfrag_id}
        context |= {"u1": slot.u1, "x_a": order.approval.precursor, "node_id": slot.node_id, "epoch": slot.epoch}  # type: ignore[union-attr]
        for key in held_keys(tee.core):
            refused(TamperedError, "keys.envelope", lambda k=key, s=slot, c=context: open_kfrag(k, s.sealed_rk, **c))
    # every guess at the tweak from what is left
    capsule = Capsule.from_bytes(asset.listing.capsule)
    for guess in (
        bytes(32),
        seed,
        asset_id,
        container * 2,
        asset.listing.body_digest,
        provider.vault.consumer_seed.reveal(),
    ):
        keys = asset_keys(seed, guess, container)
        refused(
            TamperedError,
            "reencryption.package",
            lambda k=keys: decrypt_package(k.delegating, capsule, asset.listing.package),
        )
    # backups and shares: until the named date they open, which is why it is named; after it nothing does
    later(settled, RETENTION_SECONDS - (scene.chain.now_at - said["tweak_destroyed_at"]) - 60)
    assert provider.vault.tweaks.destroy_old_periods(scene.chain.now_at) == []
    owned_asset(from_backup(settled, before, "too early"), asset)
    later(settled, 60)
    assert scene.chain.now_at >= said["backups_unreadable_at"]
    assert provider.vault.tweaks.destroy_old_periods(scene.chain.now_at) == [1]
    late = from_backup(settled, before, "late")
    refused(UnavailableError, "vault.second-place", lambda: owned_asset(late, asset))
    home = restore_from_shares(
        settled.folder / "from shares",
        shares[1:],
        before[1],
        network=Home.open(settled.folder / "provider").network,
        second_place=settled.folder / "provider-second",
        **COPY,
    )
    holders = replace(provider, vault=home.unlock(lambda: PASSPHRASE, os.urandom))
    assert holders.vault.provider_seed.reveal() == seed
    refused(UnavailableError, "vault.second-place", lambda: owned_asset(holders, asset))
    refused(
        InputError, "vault.no-tweak", lambda: owned_asset(from_backup(settled, copies(settled, "after"), "new"), asset)
    )
    # and who opened it keeps it, as the certificate says
    open_again(settled.consumer, settled.order_id, settled.folder / "again", settled.bodies)


def leaves(trade: Trade) -> list[Cid]:
    cached = getattr(trade, "_leaves", None)
    if cached is None:
        root = body_cid(trade.published.body_cid.digest, trade.published.body_length_bytes)
        cached = list(trade.consumer.replicas.tree(root, trade.published.body_length_bytes).leaves)
        trade._leaves = cached  # type: ignore[attr-defined]
    return cached


def held_keys(core: object) -> list[ShareSecretKey]:
    """Every share key that hangs on a node's core, however deep."""
    found, seen, waiting = [], set[int](), [core]
    while waiting:
        thing = waiting.pop()
        if id(thing) in seen or isinstance(thing, (str, bytes, int, float, type(None), type)):
            continue
        seen.add(id(thing))
        if isinstance(thing, ShareSecretKey):
            found.append(thing)
        elif isinstance(thing, dict):
            waiting += [*thing.keys(), *thing.values()]
        elif isinstance(thing, (list, tuple, set, frozenset)):
            waiting += list(thing)
        elif type(thing).__module__.startswith("asset_bridge.nodes.tee"):
            slots = [name for kind in type(thing).__mro__ for name in getattr(kind, "__slots__", ())]
            waiting += [getattr(thing, name) for name in slots if hasattr(thing, name)]
            waiting += list(getattr(thing, "__dict__", {}).values())
    return found


def test_the_search_for_keys_finds_them_before(tmp_path: Path) -> None:
    trade = published(tmp_path).request().approve()
    assert sum(len(held_keys(tee.core)) for tee in trade.scene.tees) == 3


def test_a_paid_order_forbids_it(tmp_path: Path) -> None:
    trade = published(tmp_path).request().approve()
    trade.pay()
    refused(InputError, "trade.busy", lambda: done(trade))
    assert trade.provider.vault.tweaks.names() == [trade.published.container_id.hex()]
    trade.fetch()


def test_open_orders_end(tmp_path: Path) -> None:
    trade = published(tmp_path).request().approve()
    approved = trade.order_id
    waiting = trade.request().order_id
    result = done(trade)
    assert trade.scene.chain.order(approved).state is OrderState.REVOKED
    assert trade.scene.chain.order(waiting).state is OrderState.DENIED
    assert len(result.certificate["destroyed_slots"]) == 3
    assert (result.certificate["kept_by"], result.certificate["may_be_kept_by"]) == ([], [])
    with pytest.raises(BridgeError):
        trade.request()


def test_the_silent_are_named_and_asked_again(settled: Trade) -> None:
    scene = settled.scene
    core, scene.tees[0].core = scene.tees[0].core, None
    scene.start_tee(scene.tees[2])  # another epoch: its old key is gone with the process
    light = Light(scene)
    light.silent = {1}
    light.lying = {2}
    first = done(settled, light)
    said = first.certificate
    assert not first.complete
    assert [name.split()[-1] for name in said["silent_slots"]] == ["0x" + scene.tees[0].node_id.hex()]
    assert [name.split()[-1] for name in said["ended_slots"]] == ["0x" + scene.tees[2].node_id.hex()]
    assert len(said["destroyed_slots"]) == 1
    assert said["silent_storage"] == [scene.sources[1].name, f"storage node 0x{scene.storage_ids[2].hex()}"]
    assert [receipt["storage_node"] for receipt in said["unpinned"]] == ["0x" + scene.storage_ids[0].hex()]
    later(settled, 3600)
    scene.tees[0].core = core
    second = done(settled, Light(scene))
    assert second.complete
    assert len(second.certificate["destroyed_slots"]) == 2
    assert len(second.certificate["unpinned"]) == 2
    for name in ("tweak_destroyed_at", "backups_unreadable_at"):
        assert second.certificate[name] == said[name]
    third = done(settled, Light(scene))  # nobody knows the body any more
    assert third.certificate["unpinned"] == second.certificate["unpinned"]
    assert third.sent == ()


def test_a_paid_order_without_delivery_may_be_kept(tmp_path: Path) -> None:
    trade = published(tmp_path).request().approve()
    trade.pay()
    later(trade, 30 * 86_400)
    assert done(trade).certificate["may_be_kept_by"] == [trade.consumer.address]


def test_another_home_or_account_proves_nothing(settled: Trade) -> None:
    light = Light(settled.scene)
    refused(InputError, "trade.role", lambda: shred(settled.consumer, settled.published.asset_id, light.unpin))
    settled.provider.vault.tweaks.destroy(settled.published.container_id)
    refused(InputError, "trade.no-tweak-here", lambda: done(settled))
    assert not settled.scene.chain.asset(settled.published.asset_id).retired


def test_without_the_second_place_nothing_is_done(settled: Trade) -> None:
    second = settled.folder / "provider-second"
    second.rename(settled.folder / "unplugged")
    refused(UnavailableError, "vault.second-place", lambda: done(settled))
    assert not settled.scene.chain.asset(settled.published.asset_id).retired
    (settled.folder / "unplugged").rename(second)
    assert done(settled).complete


@pytest.mark.parametrize("step", ["destroy", "new_period", "names"])
def test_a_crash_on_the_way_is_finished_by_the_next_run(
    settled: Trade, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    tweaks = settled.provider.vault.tweaks
    with monkeypatch.context() as broken:
        broken.setattr(tweaks, step, crash)
        with pytest.raises(KeyboardInterrupt):
            done(settled)
    assert done(settled).complete
    assert tweaks.names() == []


def test_unreachable_light_nodes_are_silent(settled: Trade) -> None:
    def down(root: bytes) -> tuple[list[UnpinReceipt], list[str]]:
        raise UnavailableError("transport.down", "no answer", actor="light node")

    result = shred(settled.provider, settled.published.asset_id, down)
    assert result.certificate["silent_storage"] == ["light node"]
    light = Light(settled.scene)
    light.unpin = down  # type: ignore[method-assign]
    good = Light(settled.scene)
    receipts, silent = unpin_everywhere([light, good], settled.published.body_cid.to_bytes())
    assert (len(receipts), silent) == (3, ["light node"])
    assert unpin_everywhere([good], settled.published.body_cid.to_bytes()) == ([], [])


def test_a_changed_certificate_is_refused(settled: Trade) -> None:
    document, provider = done(settled).document, settled.provider.address
    decode_certificate(document, provider)
    changed = document.replace(b'"silent_slots":[]', b'"silent_slots":[1]')
    for wrong in (
        changed,
        document.replace(b"shred/1", b"shred/2"),
        document.replace(b'"signature":"0x', b'"signature":"0y'),
    ):
        assert wrong != document
        refused(TamperedError, "trade.certificate", lambda w=wrong: decode_certificate(w, provider))
    refused(TamperedError, "trade.certificate", lambda: decode_certificate(document, settled.consumer.address))
    refused(TamperedError, "trade.document", lambda: decode_certificate(b"{", provider))


def test_restoring_from_a_backup_of_the_keys_after_it_leaves_the_tweak_out(settled: Trade) -> None:
    old = copies(settled, "old")
    done(settled)
    new = copies(settled, "new")
    desk = from_backup(settled, (new[0], old[1]), "mixed")
    asset = settled.scene.chain.asset(settled.published.asset_id)
    refused(InputError, "vault.no-tweak", lambda: owned_asset(desk, asset))
    assert shred(desk, asset.asset_id, Light(settled.scene).unpin).certificate["tweak_destroyed_at"]
    assert RefusedError  # the classes of the drill are closed: nothing else was raised


def test_unpinning_needs_a_retired_asset_that_nobody_can_pay_for(tmp_path: Path) -> None:
    trade = published(tmp_path).request().approve()
    light, asset_id = Light(trade.scene), trade.published.asset_id
    refused(InputError, "trade.role", lambda: unpin_asset(trade.consumer, asset_id, light.unpin))
    refused(InputError, "trade.not-retired", lambda: unpin_asset(trade.provider, asset_id, light.unpin))
    retire(trade.provider, asset_id)
    refused(InputError, "trade.busy", lambda: unpin_asset(trade.provider, asset_id, light.unpin))
    assert all(source.store.inventory() for source in trade.scene.sources)
    later(trade, 30 * 86_400)
    light.silent = {1}
    receipts, silent = unpin_asset(trade.provider, asset_id, light.unpin)
    assert (len(receipts), silent) == (2, [trade.scene.sources[1].name])
    light.silent.clear()
    assert len(unpin_asset(trade.provider, asset_id, light.unpin)[0]) == 1
    assert trade.provider.vault.tweaks.get(trade.published.container_id) != b""  # the key stays with the provider
