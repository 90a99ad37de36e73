"""`asset-bridge doctor`: what is wrong with this home, its network and this machine, and the fix of each."""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import click

from asset_bridge.chain.adapter import RpcChain
from asset_bridge.cli.app import App, common, examples
from asset_bridge.cli.exchanges_cmd import state_of
from asset_bridge.cli.output import amount, size
from asset_bridge.cli.session import chosen_network
from asset_bridge.errors import BridgeError
from asset_bridge.trade.network import deployment_of
from asset_bridge.vault.home import Home
from asset_bridge.vault.network import Network

LOW_DISK_BYTES = 1_000_000_000
CLOCK_SECONDS = 60
LOW_COINS_WEI = 10**16


@dataclass(frozen=True, slots=True)
class Finding:
    """One check: what was looked at, whether it is well, what was seen, what to do."""

    what: str
    well: bool
    seen: str
    fix: str = ""


def look(app: App) -> Iterator[Finding]:
    """All checks, the machine first. A failing check never stops the next."""
    version = sys.version_info
    yield Finding("python", version >= (3, 11), f"{version.major}.{version.minor}", "use Python 3.11 or later")
    free = shutil.disk_usage(app.home if app.home.exists() else app.home.parent).free
    yield Finding("disk", free > LOW_DISK_BYTES, f"{size(free)} free beside {app.home}", "make room")
    home: Home | None = None
    try:
        home = Home.open(app.home)
        yield Finding("home", True, f"{app.home}, private to you")
    except BridgeError as error:
        yield _failed("home", error, app.command("init --network FILE"))
    if home is None:
        return
    yield from _kubos(app.home / "nodes")
    place = home.info.second_place
    yield Finding("second place", place.is_dir(), str(place), "mount it again: retiring and approving need it")
    yield from _network(chosen_network(app) or home.network, home.info.address)


def _kubos(folder: Path) -> Iterator[Finding]:
    """The settings of kubos that storage nodes of this home use and that are not ours to configure."""
    from asset_bridge.ipfs.kubo.settings import wrong_settings
    from asset_bridge.nodes.launch.storage import external_kubo
    from asset_bridge.nodes.node_file import FILE_NAME, NodeFile

    for path in sorted(folder.glob(f"*/{FILE_NAME}")):
        try:
            file = NodeFile.load(path.parent)
        except BridgeError as error:
            yield _failed(f"node {path.parent.name}", error)
            continue
        if not file.kubo_api:
            continue
        try:
            with contextlib.closing(external_kubo(file)) as rpc:
                wrong, version = wrong_settings(rpc.settings()), rpc.version()
        except BridgeError as error:
            yield _failed(f"kubo {file.kubo_api}", error)
            continue
        fix = "set it in kubo's config and start kubo again; docs/howto/storage-kubo.md says why"
        yield Finding(f"kubo {file.kubo_api}", not wrong, "; ".join(wrong) or f"{version}, settings as needed", fix)


def _network(network: Network, address: str) -> Iterator[Finding]:
    chain = RpcChain(deployment_of(network), network.rpc_urls)
    now = time.time()
    for state in chain.states():
        seen = f"block {state.head.number}" if state.head else str(state.error)
        yield Finding(
            f"chain {state.name}", state.error is None, seen, "check the URL in network.toml, or its operator"
        )
        if state.head is not None:
            skew = int(now) - state.head.timestamp
            yield Finding("clock", abs(skew) < CLOCK_SECONDS, f"{skew} s from the chain's", "set this machine's clock")

    def contracts() -> str:
        chain.check()
        return "code is what network.toml says"

    yield _check("contracts", contracts)
    listed = lambda: state_of(chain.exchange_listing(chain.exchange), chain.block().timestamp)  # noqa: E731
    yield _check("exchange", listed)  # a closed one is no fault: its orders go on
    yield _check("balance", lambda: _balance(chain, address), enough=lambda text: not text.startswith("0 "))
    yield from _nodes(network, chain)


def _balance(chain: RpcChain, address: str) -> str:
    wei = chain.coins_wei(address)
    return f"{amount(wei)} at {address}" if wei >= LOW_COINS_WEI else f"0 or little: {amount(wei)} at {address}"


def _nodes(network: Network, chain: RpcChain) -> Iterator[Finding]:
    import httpx

    from asset_bridge.chain.records import NodeKind

    for role, peers in (("light node", network.light_nodes), ("storage node", network.storage_nodes)):
        for peer in peers:
            try:
                answer = httpx.get(f"{peer.url}/health", timeout=5, trust_env=False)
                reasons = "" if answer.status_code == 200 else f"unhealthy: {answer.text[:200]}"
                if not reasons and role == "light node":
                    reasons = _other_exchange(httpx.get(f"{peer.url}/v1/info", timeout=5, trust_env=False).text, chain)
            except httpx.HTTPError as error:
                reasons = f"does not answer ({type(error).__name__})"
            yield Finding(f"{role} {peer.url}", not reasons, reasons or "healthy", "ask its operator, or use another")
    live = lambda: f"{sum(node.live for node in chain.nodes(NodeKind.TEE))} live in the registry"  # noqa: E731
    yield _check("TEE nodes", live, enough=lambda text: int(text.split()[0]) >= 2)


def _other_exchange(info: str, chain: RpcChain) -> str:
    """What is wrong with a light node that works for another Exchange than this network's: it can record no delivery here."""
    try:
        named = json.loads(info)["exchange"]
    except (ValueError, TypeError, KeyError):
        return "does not say which Exchange it works for"
    return "" if named == chain.exchange else f"works for the Exchange {named}, not for {chain.exchange}"


def _check(what: str, run: Callable[[], str], *, enough: Callable[[str], bool] = bool) -> Finding:
    try:
        text = run()
    except BridgeError as error:
        return _failed(what, error)
    return Finding(what, enough(text), text, "" if enough(text) else "see docs/howto/when-something-fails.md")


def _failed(what: str, error: BridgeError, fix: str = "") -> Finding:
    return Finding(what, False, f"{error.message} [{error.code}]", error.hint or fix)


@click.command("doctor", epilog=examples("asset-bridge doctor", "asset-bridge doctor --json"))
@common
def doctor(app: App) -> None:
    """Check this machine, this home and its network; say what is wrong and how to mend it."""
    findings = list(look(app))
    lines = []
    for one in findings:
        lines.append(f"{'ok ' if one.well else 'BAD'}  {one.what:<28} {one.seen}")
        if not one.well and one.fix:
            lines.append(f"     {'':<28} fix: {one.fix}")
    bad = [one for one in findings if not one.well]
    lines += ["", f"{len(findings) - len(bad)} well, {len(bad)} to mend"]
    app.result(findings, lines, next_command=app.command("doctor" if bad else "status"))
    if bad:
        raise click.exceptions.Exit(1)
