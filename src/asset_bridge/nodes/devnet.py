"""A whole network on this machine: a development chain, storage nodes, a light node, TEE nodes with simulated attestation.

Source: design §7. Everything lies in one folder: chain, homes, bodies, logs; stopping and
starting again loses nothing but the TEE nodes' keys, which is what a restart means. Only processes started here are ever ended.
Promises: a network.toml and a policy.toml in the folder when `up` returns; two networks in two folders run side by side.
Does not promise: any secrecy between the nodes of one machine; `tee` says simulated everywhere.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import shutil
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asset_bridge import processes
from asset_bridge.attestation.policy import development
from asset_bridge.attestation.policy_file import render
from asset_bridge.chain.config import DeployConfig
from asset_bridge.chain.deploy import deploy
from asset_bridge.chain.devchain import DevChain
from asset_bridge.chain.keys import address_bytes
from asset_bridge.chain.network import Deployment
from asset_bridge.chain.records import Periods, Vendor
from asset_bridge.errors import InputError, UnavailableError
from asset_bridge.ipfs.kubo.program import obtain_kubo
from asset_bridge.nodes.node_file import NodeFile
from asset_bridge.trade.network import network_of
from asset_bridge.vault.envelope import MIN_COST
from asset_bridge.vault.home import Home
from asset_bridge.vault.network import Network

NETWORK_FILE, POLICY_FILE, SETTINGS_FILE = "network.toml", "policy.toml", "devnet.json"
LISTED, UNLISTED = "asset-bridge-dev", "asset-bridge-dev-unlisted"
FUNDS_WEI, STAKE_WEI = 100 * 10**18, 10**18
PERIODS = Periods(1, 1, 1, 1, 1, 1)
Report = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Member:
    """One node of the network. `measurement` and `replay` matter for TEE nodes only."""

    name: str
    kind: str
    measurement: str = ""
    replay: bool = False


STANDARD = (
    Member("storage-1", "storage"),
    Member("storage-2", "storage"),
    Member("storage-3", "storage"),
    Member("light-1", "light"),
    Member("tee-1", "tee", LISTED),
    Member("tee-2", "tee", LISTED),
    Member("tee-3", "tee", LISTED),
)
IMPOSTORS = (Member("tee-4-unlisted", "tee", UNLISTED), Member("tee-5-replay", "tee", LISTED, replay=True))
"""Registered like the others and refused by every provider: another measurement, and evidence made for another moment."""


class Devnet:
    """One network in `folder`.

    Args:
        report: gets a line for each step. while_open: a pipe's descriptor; every process ends when its other end closes.
    """

    def __init__(self, folder: Path, *, report: Report, while_open: int | None = None) -> None:
        self.folder, self._report, self._while_open = folder.absolute(), report, while_open
        self._chain = DevChain(self.folder / "chain", detached=while_open is None)

    # ── what is there ──
    @property
    def network_file(self) -> Path:
        """The network.toml."""
        return self.folder / NETWORK_FILE

    @property
    def policy_file(self) -> Path:
        """The policy.toml, valid for this chain id alone."""
        return self.folder / POLICY_FILE

    @property
    def rpc_url(self) -> str:
        """The chain's URL while it runs."""
        return self._chain.rpc_url

    def members(self) -> tuple[Member, ...]:
        """The nodes of this network, in starting order."""
        names = {entry["name"] for entry in self._settings().get("members", [])}
        return tuple(member for member in (*STANDARD, *IMPOSTORS) if member.name in names)

    def node(self, name: str) -> NodeFile:
        """A member's node.toml."""
        return NodeFile.load(self.folder / "nodes" / name)

    def running(self, name: str) -> processes.Running | None:
        """A member's process, if it runs."""
        found = processes.Running.load(self.node(name).record)
        return found if found and found.alive() else None

    # ── up and down ──
    def up(self, *, impostors: bool = False, kubo: bool = False) -> Network:
        """Start whatever does not run yet, each registration final; returns the network.

        `kubo`: its storage nodes keep their blocks in kubo, decided once.

        Raises:
            InputError(nodes.devnet-kubo): `kubo` is asked of a network that was made without.
            UnavailableError(ipfs.kubo-missing | ipfs.kubo-build): there is no kubo, and none could be built.
            UnavailableError(nodes.start): a process ended while starting; its log is named.
            UnavailableError(nodes.port): a port that this network used before is taken now.
        """
        known = self._settings()
        if kubo and known and not known.get("kubo"):
            raise InputError(
                "nodes.devnet-kubo",
                f"the network in {self.folder} was made with embedded storage nodes",
                hint="leave out --kubo, or make a new network: --folder OTHER, or devnet reset",
            )
        if kubo or known.get("kubo"):
            obtain_kubo(self._report)  # here, where its progress is seen, and not in each node
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._chain.start()
        self._report(f"chain       {self._chain.rpc_url} (anvil, chain id 31337)")
        settings = known or self._lay_out((*STANDARD, *(IMPOSTORS if impostors else ())), kubo=kubo)
        deployment = Deployment.from_json(settings["deployment"])
        network = self._network(settings, deployment)
        if not self.network_file.exists():
            network.save(self.network_file)
        self._make_homes(settings, network)
        self.start(member.name for member in self.members())
        self._chain.make_final()  # so that the next command sees every node that has just started
        return network

    def start(self, names: Iterable[str]) -> None:
        """Start these members side by side and wait until each serves; those that need others wait for them."""
        started = []
        for name in names:
            if self.running(name) is None:
                started.append((name, self.launch(name)))
        for name, process in started:
            file = self.node(name)
            url = processes.wait_for_file(file.port_file, process, log=file.log)
            more = ", tee: simulated" if file.kind == "tee" else ", kubo" if file.kubo else ""
            self._report(f"{name:<11} {url} (process {process.pid}{more})")

    def launch(self, name: str) -> processes.Running:
        """Start one member without waiting."""
        file = self.node(name)
        file.port_file.unlink(missing_ok=True)
        words = [str(file.folder), "--passphrase-file", str(self.folder / "passphrase")]
        if self._while_open is not None:
            words += ["--while-open", str(self._while_open)]
        argv = processes.python_module("asset_bridge.nodes", *words)
        return processes.start(name, argv, log=file.log, record=file.record, while_open=self._while_open)

    def down(self) -> list[str]:
        """Stop every process of this network; returns the names of those that ran. The chain is stopped last, its state saved."""
        stopped = []
        for member in reversed(self.members()):
            process = self.running(member.name)
            if process is not None and process.stop():
                stopped.append(member.name)
            self.node(member.name).record.unlink(missing_ok=True)
        if self._chain.stop():
            stopped.append("chain")
        return stopped

    def reset(self) -> None:
        """Stop everything and delete the network: chain, bodies, homes of its operators, logs."""
        if self.folder.exists() and not (self.folder / SETTINGS_FILE).exists():
            raise InputError(
                "nodes.not-a-devnet", f"{self.folder} holds no development network", hint="name the devnet's folder"
            )
        self.down()
        shutil.rmtree(self.folder, ignore_errors=True)

    def fund(self, address: str, wei: int) -> None:
        """Give development coins to an account."""
        self._chain.fund(address, wei)

    # ── inside ──
    def _settings(self) -> dict[str, Any]:
        try:
            value = json.loads((self.folder / SETTINGS_FILE).read_text())
        except FileNotFoundError:
            return {}
        except ValueError:
            hint = "asset-bridge devnet reset"
            raise InputError("nodes.devnet-file", f"{self.folder / SETTINGS_FILE} is damaged", hint=hint) from None
        return dict(value)

    def _lay_out(self, members: tuple[Member, ...], *, kubo: bool) -> dict[str, Any]:
        """Deploy the contracts and choose ports, once."""
        report = importlib.import_module("asset_bridge_simulator.report")
        deployer = self._chain.accounts[0]
        self._report("contracts   deploying")
        config = DeployConfig(
            deployer.address,
            minimum_periods=PERIODS,
            margin_seconds=2,
            grace_seconds=5,
            change_seconds=30,
            measurements=((int(Vendor.SIMULATED), report.measurement_id(report.measurement_of(LISTED))),),
        )
        deployment = deploy(self._chain.rpc_url, deployer, config)
        ports = processes.free_ports(len(members))
        settings = {
            "deployment": deployment.to_json(),
            "kubo": kubo,
            "members": [{"name": one.name, "port": port} for one, port in zip(members, ports, strict=True)],
        }
        part = self.folder / (SETTINGS_FILE + ".part")
        part.write_text(json.dumps(settings, indent=1))
        part.replace(self.folder / SETTINGS_FILE)
        return settings

    def _network(self, settings: dict[str, Any], deployment: Deployment) -> Network:
        urls = {one["name"]: f"http://127.0.0.1:{one['port']}" for one in settings["members"]}
        return network_of(
            deployment,
            "devnet",
            [self._chain.rpc_url],
            [url for name, url in urls.items() if name.startswith("light")],
            [url for name, url in urls.items() if name.startswith("storage")],
        )

    def _make_homes(self, settings: dict[str, Any], network: Network) -> None:
        """An operator's home, a node.toml and, for TEE nodes, a simulated platform for each member that has none yet."""
        report = importlib.import_module("asset_bridge_simulator.report")
        pki = importlib.import_module("asset_bridge_simulator.pki")
        now = int(time.time())
        passphrase = self.folder / "passphrase"
        if not passphrase.exists():
            with os.fdopen(os.open(passphrase, os.O_WRONLY | os.O_CREAT, 0o600), "w") as out:
                out.write(os.urandom(16).hex())
        root = pki.make_root(self.folder / "simulated-root", now=now)
        ports = {one["name"]: one["port"] for one in settings["members"]}
        operators: dict[bytes, str] = {}

        def make(member: Member) -> None:
            folder = self.folder / "nodes" / member.name
            home_folder = self.folder / "operators" / member.name
            if not (folder / "node.toml").exists():
                shutil.rmtree(home_folder, ignore_errors=True)  # an earlier start that did not come this far
                second_place = self.folder / "second-places" / member.name
                shutil.rmtree(second_place, ignore_errors=True)
                home = Home.init(
                    home_folder,
                    network=network,
                    second_place=second_place,
                    passphrase=passphrase.read_text,
                    randbytes=os.urandom,
                    now_at=now,
                    cost=MIN_COST,
                )
                self._chain.fund(home.info.address, FUNDS_WEI)
                if member.kind == "tee":
                    pki.issue_platform(root.parent, folder / "platform", name=member.name, now=now)
                    shutil.copy(root, folder / "platform" / root.name)
                NodeFile(
                    folder,
                    member.kind,
                    home_folder,
                    os.urandom(32),
                    port=ports[member.name],
                    stake_wei=STAKE_WEI,
                    attester="simulated" if member.kind == "tee" else "",
                    platform="platform" if member.kind == "tee" else "",
                    measurement="0x" + report.measurement_of(member.measurement).hex() if member.measurement else "",
                    replay=member.replay,
                    kubo=member.kind == "storage" and bool(settings.get("kubo")),
                ).save()
            if member.kind == "tee":
                operators[address_bytes(Home.open(home_folder).info.address)] = member.name

        for member in (
            self.members()
        ):  # one by one: each takes 64 MiB for its passphrase, and a process of ours stays under 200 MB
            make(member)
        if not self.policy_file.exists():
            listed = {report.measurement_id(report.measurement_of(LISTED)): "simulated development build"}
            self.policy_file.write_text(
                render(development(network.chain_id, dict(sorted(operators.items())), listed, root.read_bytes()))
            )


def require_simulator() -> None:
    """UnavailableError(nodes.no-simulator) unless the simulator's distribution is installed."""
    if importlib.util.find_spec("asset_bridge_simulator") is None:
        raise UnavailableError(
            "nodes.no-simulator",
            "a development network needs the simulator, which is not installed",
            hint="install asset-bridge-simulator (make setup does)",
        )
