"""Start a storage node: an embedded store, a kubo of ours, or a kubo that runs already. Source: design §6, spec/node-http.md §6, §7."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager

from asset_bridge.ipfs.embedded import EmbeddedStore
from asset_bridge.ipfs.kubo.daemon import KuboDaemon, KuboOptions
from asset_bridge.ipfs.kubo.program import obtain_kubo
from asset_bridge.ipfs.kubo.rpc import KuboRpc
from asset_bridge.ipfs.kubo.secret import read_secret
from asset_bridge.ipfs.kubo.settings import wrong_settings
from asset_bridge.ipfs.kubo.store import KuboStore, disk_free_of
from asset_bridge.ipfs.store import BlockStore, put_document
from asset_bridge.nodes.launch.base import Started
from asset_bridge.nodes.node_file import NodeFile
from asset_bridge.nodes.storage.app import StorageIdentity, build, only, registered_light_nodes

_LOG = logging.getLogger("asset_bridge.node")


@contextmanager
def open_store(file: NodeFile) -> Iterator[tuple[BlockStore, str]]:
    """The store that node.toml names, and its name for people; a kubo of ours runs as long as the block.

    Raises:
        UnavailableError(ipfs.kubo-missing | ipfs.kubo-build | ipfs.kubo-start | ipfs.kubo-down …): as ipfs/kubo says.
        InputError(ipfs.kubo-secret): the file with the secret of a kubo that runs already cannot be read.
    """
    folder = file.data_folder
    if file.kubo_api:
        rpc = external_kubo(file)
        for wrong in wrong_settings(rpc.settings()):
            _LOG.warning("kubo", extra={"fields": {"text": f"{file.kubo_api}: {wrong}"}})
        name = f"kubo {rpc.version()} at {file.kubo_api}"
        yield KuboStore(rpc, folder / "kubo-notes", reserve_bytes=file.reserve_bytes), name
        return
    if not file.kubo:
        yield EmbeddedStore(folder / "blocks", reserve_bytes=file.reserve_bytes), "embedded"
        return
    swarm_key = file.folder / file.swarm_key if file.swarm_key else None
    options = KuboOptions(file.storage_max_bytes, swarm_key, file.swarm_listen)
    with KuboDaemon(folder / "kubo", obtain_kubo(_say), options) as daemon:
        rpc = daemon.rpc()
        name = f"kubo {rpc.version()}"
        _say(f"{name} runs, its gateway at {daemon.gateway_url}")
        store = KuboStore(
            rpc, folder / "kubo-notes", reserve_bytes=file.reserve_bytes, disk_free_bytes=disk_free_of(daemon.repo)
        )
        daemon.watch(_say)
        with contextlib.closing(store):
            yield store, name


def run(node: Started) -> None:
    """Register, then serve until a signal."""
    with open_store(node.file) as (store, name):
        document = node.endpoint()
        put_document(store, document)
        epoch = node.register_plain(document)
        identity = StorageIdentity(
            node_id=node.node_id,
            epoch=epoch,
            key=node.key,
            chain_id=node.network.chain_id,
            registry=node.chain.registry,
            exchange=node.chain.exchange,
        )
        guard = node.guard()
        writers = frozenset(node.file.writers)
        allow = only(writers) if writers else registered_light_nodes(node.chain)
        app = build(store, identity, guard, allow=allow, low_bytes=2 * node.file.reserve_bytes, store_name=name)
        node.serve(app, guard)


def external_kubo(file: NodeFile) -> KuboRpc:
    """The RPC of the kubo that the operator runs himself. Raises InputError(ipfs.kubo-secret | ipfs.kubo-url)."""
    secret = read_secret(file.folder / file.kubo_secret_file) if file.kubo_secret_file else None
    return KuboRpc(file.kubo_api, secret=secret)


def _say(text: str) -> None:
    _LOG.info("kubo", extra={"fields": {"text": text}})
