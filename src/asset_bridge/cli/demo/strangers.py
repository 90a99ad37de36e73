"""Those who must fail: a stranger with everything public, buyers without a right, a light node that colludes.

Source: design §9.2, protocol §6. Each refusal is compared with the code that it must have; one that lets something out stops the
demonstration. Where it can, the same question is asked before as well, when it must succeed: a check that could not fail shows nothing.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

from asset_bridge.chain.keys import AccountKey
from asset_bridge.chain.records import FetchSignature
from asset_bridge.cli.demo.scene import Scene, peer
from asset_bridge.cli.demo.story import BRIEF, MAIN, Trade
from asset_bridge.cli.output import size
from asset_bridge.errors import BridgeError
from asset_bridge.trade.fragments import sign_fetch
from asset_bridge.trade.remote import RemoteTee

EXPIRY_SECONDS = 60
_GOT = "a fragment"


def consumer_fetch(trade: Trade, key: str) -> FetchSignature:
    """The consumer's `Fetch` of an order."""
    consumer = trade.scene.consumer
    return sign_fetch(consumer.desk, consumer.chain.order(trade.orders[key]), 1)


def ask_each(scene: Scene, order_id: bytes, fetch: FetchSignature, key: AccountKey | None) -> dict[str, str]:
    """What each TEE node that holds a share says when asked directly, by name: a code, or that it gave a fragment."""
    order = scene.consumer.chain.order(order_id)
    answers = {}
    for slot in order.approval.slots if order.approval is not None else ():
        name = scene.node_name(slot.node_id)
        tee = RemoteTee(peer(scene.net.node(name).port_file.read_text(), name, scene.network.chain_id, key))
        try:
            tee.reencrypt(order_id, fetch)
        except BridgeError as error:
            answers[name] = error.code
        else:
            answers[name] = _GOT
    return answers


def must_say(trade: Trade, key: str, code: str, what: str, account: AccountKey | None = None) -> None:
    """Each TEE node, asked directly for this order with the consumer's own `Fetch`, answers with this code."""
    answers = ask_each(trade.scene, trade.orders[key], consumer_fetch(trade, key), account)
    told = ", ".join(f"{name} {said}" for name, said in answers.items())
    trade.scene.show.must(bool(answers) and set(answers.values()) == {code}, f"{what}: {told}")


def unpaid(trade: Trade) -> None:
    """Before `pay`."""
    must_say(trade, MAIN, "tee.not-paid", "TEE nodes asked directly for the unpaid order refuse")


def expired(trade: Trade) -> None:
    """After the brief asset's access period."""
    chain = trade.scene.consumer.chain
    ends_at = chain.order(trade.orders[BRIEF]).ends_at
    until = time.monotonic() + EXPIRY_SECONDS
    while chain.block().timestamp <= ends_at and time.monotonic() < until:
        time.sleep(0.5)
    must_say(trade, BRIEF, "tee.expired", "TEE nodes asked directly for the order whose time is over refuse")


def revoked(trade: Trade) -> None:
    """A light node that kept the consumer's `Fetch`: before the revocation it can pass it on, afterwards it gets nothing."""
    scene = trade.scene
    colluding = scene.light_operator
    answers = ask_each(scene, trade.orders[MAIN], consumer_fetch(trade, MAIN), colluding)
    scene.show.must(
        list(answers.values()).count(_GOT) >= 2,
        "while the order lives, TEE nodes serve it again (free, for lost copies)",
    )
    done = scene.provider.revoke(trade.orders[MAIN])
    what = "a colluding light node with the consumer's Fetch gets no fragment"
    must_say(trade, MAIN, "tee.revoked", what, colluding)
    must_say(trade, MAIN, "tee.revoked", "TEE nodes asked directly for the revoked order refuse")
    scene.show.must(
        (done.destroyed, done.ended, done.silent) == (3, 0, 0),
        f"revoked: {done.destroyed} order keys destroyed, with their nodes' signed word on chain; "
        f"{done.ended} ended by restart, {done.silent} silent",
    )


def start_stranger(scene: Scene, asset_id: bytes, while_open: int) -> subprocess.Popen[str]:
    """The script, as a process of its own: it gets network.toml and the asset's id, and nothing else."""
    argv = [
        sys.executable,
        "-m",
        "asset_bridge.cli.demo.stranger",
        str(scene.net.network_file),
        "--asset",
        asset_id.hex(),
        "--report",
        str(report_file(scene)),
        "--while-open",
        str(while_open),
    ]
    return subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        pass_fds=(while_open,),
    )


def report_file(scene: Scene) -> Path:
    """Where the stranger's findings lie."""
    return scene.record / "stranger.json"


def hear_stranger(scene: Scene, process: subprocess.Popen[str]) -> None:
    """What it tried, as it says so; and that it failed."""
    show = scene.show
    show.line("a stranger holds everything public, and no order:")
    assert process.stdout is not None
    for text in process.stdout:
        show.line(f"    {text.rstrip()}")
    status = process.wait()  # its output has ended
    report = report_file(scene)
    found = json.loads(report.read_text()) if report.exists() else {}
    if found.get("peak_memory_bytes"):
        scene.ended["stranger"] = (found["peak_memory_bytes"], found["cpu_seconds"])
    refused = [one for one in found.get("answers", []) if one["outcome"] != "ok"]
    show.must(
        status == 0 and found.get("opened") is False and not found.get("fragments_in_answers"),
        f"the stranger opened nothing in {len(found.get('attempts', []))} attempts, with {found.get('events', 0)} events, "
        f"{size(found.get('block_bytes', 0))} of ciphertext and {len(found.get('answers', []))} requests "
        f"({len(refused)} refused)",
    )
