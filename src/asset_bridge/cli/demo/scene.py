"""Where the demonstration happens: its own folder, its own network, a provider's and a consumer's home.

Promises: every process started here holds the reading end of one pipe and ends when this process ends, however it ends; at the end the
folder keeps the opened data, the record and the logs, and with `keep` the network and the homes too.
Does not promise: that the keys in it are worth anything; the chain is gone with the demonstration.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from asset_bridge.chain.keys import AccountKey
from asset_bridge.chain.records import Node
from asset_bridge.cli.demo import memory
from asset_bridge.cli.demo.show import Show
from asset_bridge.client import Consumer, Provider
from asset_bridge.client.homes import make_home
from asset_bridge.errors import BridgeError
from asset_bridge.nodes.devnet import Devnet
from asset_bridge.trade.remote import RemoteLight
from asset_bridge.transport.client import Peer
from asset_bridge.vault.home import Home
from asset_bridge.vault.network import Network

FUNDS_WEI = 10 * 10**18
LIGHT = "light-1"


@dataclass
class Scene:
    """The stage with everybody on it."""

    folder: Path
    show: Show
    net: Devnet
    network: Network
    provider: Provider
    consumer: Consumer
    light_operator: AccountKey
    names: dict[str, str] = field(default_factory=dict)
    nodes: dict[bytes, str] = field(default_factory=dict)
    ended: dict[str, tuple[int, float]] = field(default_factory=dict)
    """Peak memory and processor seconds of processes that are over."""

    @property
    def opened(self) -> Path:
        """Where opened assets lie."""
        return self.folder / "opened"

    @property
    def record(self) -> Path:
        """Where events, timeline and findings lie."""
        return self.folder / "record"

    def node_name(self, node_id: bytes) -> str:
        """A node by the name that this network gave it."""
        return self.nodes.get(node_id, f"0x{node_id.hex()[:8]}")

    def learn_nodes(self) -> None:
        """Which node of the registry is which process here, and which account is whose."""
        for member in self.net.members():
            operator = Home.open(self.net.node(member.name).home).info.address
            self.names[operator] = member.name
        for node in self.provider.nodes():
            self.nodes[node.node_id] = self.names.get(node.operator, "")
        self.names[self.provider.address] = "provider"
        self.names[self.consumer.address] = "consumer"

    def light_peer(self, key: AccountKey | None = None) -> Peer:
        """A connection to the light node, unsigned or signed by `key`."""
        return peer(self.network.light_nodes[0].url, LIGHT, self.network.chain_id, key)

    def light(self) -> RemoteLight:
        """The light node, without an account."""
        return RemoteLight(self.light_peer())

    def url_of(self, node: Node) -> str:
        """The URL of a node of this network."""
        return self.net.node(self.node_name(node.node_id)).port_file.read_text()

    def processes(self) -> list[tuple[str, int]]:
        """Every process of the demonstration that runs."""
        running = [(member.name, self.net.running(member.name)) for member in self.net.members()]
        return [("demo", os.getpid()), *((name, process.pid) for name, process in running if process is not None)]


def peer(url: str, name: str, chain_id: int, key: AccountKey | None) -> Peer:
    """A connection to a node."""
    return Peer(
        url,
        name=name,
        chain_id=chain_id,
        signer=key,
        clock=time.time,
        randbytes=os.urandom,
        sleep=time.sleep,
    )


@contextmanager
def prepared(
    folder: Path, show: Show, make_data: Callable[[], str], *, keep: bool
) -> Iterator[tuple[Devnet, int, Preparation]]:
    """The folder and a network in it that is not up yet, with the pipe that every child gets; afterwards nothing of it runs."""
    folder.mkdir(parents=True, mode=0o700)
    show.open_log(folder / "logs" / "demo.log")
    reading, writing = os.pipe()  # only this process holds the writing end; it closes with the process
    net = Devnet(folder / "devnet", report=show.line, while_open=reading)
    preparation = Preparation(folder, net, make_data)
    try:
        preparation.start()
        yield net, reading, preparation
    finally:
        with contextlib.suppress(OSError):
            os.close(writing)
        preparation.stop()
        with contextlib.suppress(Exception):  # the pipe ends them anyway; this waits until they have
            net.down()
        os.close(reading)
        show.close()
        keep_logs(folder)
        if not keep:
            for name in ("devnet", "homes"):
                shutil.rmtree(folder / name, ignore_errors=True)


def keep_logs(folder: Path) -> None:
    """Copy each process's log to where people look for it."""
    logs = folder / "logs"
    for log in (folder / "devnet").glob("nodes/*/node.log"):
        with contextlib.suppress(OSError):
            shutil.copyfile(log, logs / f"{log.parent.name}.log")
    for log in (folder / "devnet" / "chain").glob("*.log"):
        with contextlib.suppress(OSError):
            shutil.copyfile(log, logs / log.name)


class Preparation(threading.Thread):
    """What needs no waiting for: the synthetic data, then two homes with coins, made while the nodes start.

    It waits until every node was launched: the network's homes are made before, and two passphrases at once would take 128 MB.
    """

    def __init__(self, folder: Path, net: Devnet, make_data: Callable[[], str]) -> None:
        super().__init__(name="preparation", daemon=True)
        self._folder, self._net, self._make_data = folder, net, make_data
        self._stopped = threading.Event()
        self._failed: BaseException | None = None
        self.told = ""

    def run(self) -> None:
        """The work."""
        try:
            self.told = self._make_data()
            while not self._launched():
                if self._stopped.wait(0.05):
                    return
            self._homes()
        except BaseException as error:  # noqa: BLE001 - raised again in `finish`
            self._failed = error

    def finish(self) -> str:
        """Wait until everything is there; what is to be said about the data."""
        self.join()
        if self._failed is not None:
            raise self._failed
        return self.told

    def stop(self) -> None:
        """Nothing is needed any more."""
        self._stopped.set()
        if self.is_alive():
            self.join(timeout=10.0)

    def _launched(self) -> bool:
        try:
            members = self._net.members()
            return bool(members) and all(self._net.node(member.name).record.exists() for member in members)
        except BridgeError:
            return False  # laid out, not yet written

    def _homes(self) -> None:
        places = self._folder / "homes"
        places.mkdir(mode=0o700)
        passphrase = places / "passphrase"
        with os.fdopen(os.open(passphrase, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
            out.write(os.urandom(16).hex())
        for name in ("provider", "consumer"):
            if self._stopped.is_set():
                return
            home = make_home(
                places / name,
                network=Network.load(self._net.network_file),
                second_place=places / f"{name}-second-place",
                passphrase=passphrase.read_text,
                randbytes=os.urandom,
                now_at=int(time.time()),
            )
            self._net.fund(home.info.address, FUNDS_WEI)


def operator_key(net: Devnet, name: str) -> AccountKey:
    """The account of a node's operator: what a dishonest operator holds."""
    home = Home.open(net.node(name).home)
    return AccountKey(home.unlock((net.folder / "passphrase").read_text, os.urandom).account("default").reveal())


@contextmanager
def sessions(folder: Path, show: Show, net: Devnet, network: Network) -> Iterator[Scene]:
    """Provider and consumer at work."""
    places = folder / "homes"
    passphrase = (places / "passphrase").read_text
    with (
        Provider.open(places / "provider", passphrase, progress=show.progress) as provider,
        Consumer.open(places / "consumer", passphrase, progress=show.progress) as consumer,
    ):
        scene = Scene(folder, show, net, network, provider, consumer, operator_key(net, LIGHT))
        scene.record.mkdir()
        scene.learn_nodes()
        yield scene


def peaks(scene: Scene) -> dict[str, tuple[int, float]]:
    """Peak memory and processor seconds of every process."""
    return memory.report(scene.processes()) | scene.ended
