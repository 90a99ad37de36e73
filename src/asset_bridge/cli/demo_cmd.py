"""`asset-bridge demo`: the whole trade on this machine, from a chain to a byte-for-byte comparison, and the strangers who fail.

Source: issue "one command runs the whole trade". Promises: exit status 0 only if every comparison and every refusal was as it must be;
whatever happens, no process of it is left; data that cannot be demonstrated is refused before anything is made.
"""

from __future__ import annotations

import json
import signal
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import click

from asset_bridge.chain.endpoint import Endpoint
from asset_bridge.cli.app import examples
from asset_bridge.cli.demo import data as demo_data
from asset_bridge.cli.demo import goods, strangers
from asset_bridge.cli.demo.scene import Scene, peaks, prepared, sessions
from asset_bridge.cli.demo.show import Show
from asset_bridge.cli.demo.story import BRIEF, MAIN, ON_CHAIN, Trade
from asset_bridge.cli.demo.timeline import Timeline
from asset_bridge.cli.output import size, table
from asset_bridge.errors import StoppedError
from asset_bridge.nodes.devnet import require_simulator
from asset_bridge.vault.files import walk


@click.command("demo", epilog=examples("asset-bridge demo", "asset-bridge demo --data records/ --keep"))
@click.option(
    "--data", type=click.Path(path_type=Path), help="A file or folder of yours instead of synthetic patients."
)
@click.option("--folder", type=click.Path(path_type=Path), help="A new folder for everything [./demo-TIME].")
@click.option("--keep", is_flag=True, help="Keep network and homes too; `devnet up --folder` starts it again.")
@click.option("--kubo", is_flag=True, help="Storage nodes keep their blocks in kubo; built once where it is missing.")
@click.option("--measure", is_flag=True, envvar="ASSET_BRIDGE_MEASURE", help="Print the peak memory of every process.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object at the end; the story goes to stderr.")
def demo(*, data: Path | None, folder: Path | None, keep: bool, kubo: bool, measure: bool, as_json: bool) -> None:
    """Run a whole trade on this machine, and show that nobody else can read the data.

    Starts a development chain, three storage nodes, a light node and five TEE nodes (simulated attestation; two of them
    impostors), publishes data, requests, approves, pays, fetches, compares byte for byte, and lets strangers try.
    """
    require_simulator()
    place = (folder or Path(f"demo-{datetime.now(UTC):%Y%m%d-%H%M%S}")).absolute()
    demo_data.check(data, place)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _stop)
    try:
        summary = _run(place, data, Show(as_json), keep=keep, kubo=kubo, measure=measure)
    except KeyboardInterrupt:
        raise StoppedError(
            "demo.stopped", "stopped; nothing of the demonstration runs any more", hint=f"its logs are in {place}/logs"
        ) from None
    if as_json:
        click.echo(json.dumps(summary, indent=2))


def _stop(_number: int, _frame: object) -> None:
    """A polite request to end is Ctrl-C: whatever was started is ended first."""
    raise KeyboardInterrupt


def _run(place: Path, data: Path | None, show: Show, *, keep: bool, kubo: bool, measure: bool) -> dict[str, object]:
    timeline = Timeline(time.time())
    original = data if data is not None else place / "data"

    def make_data() -> str:
        if data is None:
            return demo_data.make_default(original)
        return f"{original}: {demo_data.describe(walk(original))}"

    with ExitStack() as stack:
        net, pipe, preparation = stack.enter_context(prepared(place, show, make_data, keep=keep))
        with show.step("A network on this machine: chain, contracts, storage nodes, light node, TEE nodes"):
            network = net.up(impostors=True, kubo=kubo)
            show.line("the TEE nodes' attestation is SIMULATED: real messages and checks, no hardware behind them")
        with show.step("Data, and a home each for provider and consumer"):
            show.line(preparation.finish())
            small = goods.own_files(place / "small")
            scene = stack.enter_context(sessions(place, show, net, network))
            show.line(f"provider {scene.provider.address}, consumer {scene.consumer.address}")
        return _story(scene, timeline, original, small, pipe, measure=measure, own=data is not None)


def _story(
    scene: Scene,
    timeline: Timeline,
    original: Path,
    small: tuple[Path, Path],
    pipe: int,
    *,
    measure: bool,
    own: bool,
) -> dict[str, object]:
    show = scene.show
    consent, note = small
    trade = Trade(scene, timeline)
    originals = {MAIN: original, ON_CHAIN: consent, BRIEF: note}
    with show.step("Provider: publish"):
        provider = scene.provider
        trade.publish(
            (
                goods.plan(provider, MAIN, original, "Research data" if own else "Synthetic routine care data"),
                goods.plan(provider, ON_CHAIN, consent, "Research consent", on_chain=True),
                goods.plan(provider, BRIEF, note, "A short notice", access=goods.SHORT_ACCESS_SECONDS),
            )
        )
    with show.step("Consumer: catalog, request"):
        trade.request(note)
    with show.step("Provider: inbox, approve"):
        trade.approve()
    with show.step("Consumer: check, pay, fetch"):
        strangers.unpaid(trade)
        for key in (BRIEF, MAIN, ON_CHAIN):
            trade.pay(key)
        for key in (MAIN, ON_CHAIN):
            trade.fetch(key)
        stranger = strangers.start_stranger(scene, trade.assets[MAIN], pipe)
        for key in (MAIN, ON_CHAIN):
            trade.wait_delivered(key)
    with show.step("Compare, then the strangers"):
        compared_bytes = 0
        for key in (MAIN, ON_CHAIN):
            found = demo_data.compare(originals[key], trade.fetched[key].output)
            show.lines(found.differences[:20])
            compared_bytes += found.compared_bytes
            show.must(
                not found.differences and found.files == trade.fetched[key].files,
                f"{key}: {found.files} files, {found.compared_bytes:,} bytes, every one identical to its original",
            )
        trade.settle(ON_CHAIN)
        strangers.expired(trade)
        strangers.hear_stranger(scene, stranger)
        strangers.revoked(trade)
    with show.step("What happened"):
        timeline.add_chain(Endpoint(scene.net.rpc_url), scene.names)
        show.lines(timeline.lines())
        return _record(scene, timeline, compared_bytes, measure)


def _record(scene: Scene, timeline: Timeline, compared_bytes: int, measure: bool) -> dict[str, object]:
    show = scene.show
    events = list(scene.light().events(0))
    (scene.record / "events.json").write_text(json.dumps(events, indent=1))
    (scene.record / "timeline.json").write_text(json.dumps(timeline.as_json(), indent=1))
    gas = sum(row.gas for row in timeline.rows)
    sent = sum(1 for row in timeline.rows if row.transaction)
    summary: dict[str, object] = {
        "identical": True,
        "compared_bytes": compared_bytes,
        "seconds": round(show.elapsed_seconds, 1),
        "transactions": sent,
        "gas": gas,
        "events": len(events),
        "folder": str(scene.folder),
    }
    if measure:
        found = peaks(scene)
        summary["peak_memory_bytes"] = {name: peak for name, (peak, _) in found.items()}
        summary["cpu_seconds"] = {name: seconds for name, (_, seconds) in found.items()}
        rows = ((name, size(peak), f"{seconds:.1f} s") for name, (peak, seconds) in found.items())
        show.lines(table(rows, ("process", "peak memory", "processor")))
    summary["step_seconds"] = dict(show.seconds)
    (scene.record / "summary.json").write_text(json.dumps(summary, indent=1))
    show.line(f"{sent} transactions, {gas:,} gas, {len(events)} events; {show.elapsed_seconds:.1f} s in all")
    show.line(f"everything is in {scene.folder}: opened/ (the data as the consumer got it), record/, logs/")
    return summary
