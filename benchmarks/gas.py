"""What each call costs, on the development chain's newest hard fork, with the calldata floor and payloads of real size.

    python benchmarks/gas.py            print the table; fail where a call costs more than benchmarks/gas.json says
    python benchmarks/gas.py --accept   write benchmarks/gas.json and the table of docs/howto/choose-a-chain.md anew

Figures are `gasUsed` of receipts in a second trade between accounts that have traded before. Random bytes hold few zeros, as keys,
signatures and ciphertext do. Contract addresses and so a few zero bytes are the same in each run.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from asset_bridge import reencryption as pre  # noqa: E402
from asset_bridge.chain.account import RpcAccount  # noqa: E402
from asset_bridge.chain.adapter import RpcChain  # noqa: E402
from asset_bridge.chain.compiled import artefact  # noqa: E402
from asset_bridge.chain.config import DeployConfig  # noqa: E402
from asset_bridge.chain.deploy import deploy  # noqa: E402
from asset_bridge.chain.devchain import find_anvil  # noqa: E402
from asset_bridge.chain.endpoint import Endpoint  # noqa: E402
from asset_bridge.chain.keys import AccountKey  # noqa: E402
from asset_bridge.chain.network import CONTRACTS  # noqa: E402
from asset_bridge.chain.packing import address_account  # noqa: E402
from asset_bridge.chain.records import ZERO_ADDRESS  # noqa: E402
from tests.ports.chain_scene import MEASUREMENT, Numbers  # noqa: E402
from tests.ports.true_scene import TrueScene  # noqa: E402

HARDFORK = "osaka"  # the newest that this chain has (it knows the name amsterdam, and stops with "unimplemented")
SNAPSHOT = ROOT / "benchmarks" / "gas.json"
PAGE = ROOT / "docs" / "howto" / "choose-a-chain.md"
TOLERANCE_GAS = 300  # a signature or digest with more zero bytes than another
CEILINGS = {
    "list": 130_000,
    "request": 110_000,
    "approve, 2 of 3": 130_000,
    "pay, 3 Accepts": 85_000,
    "pay, 2 Accepts": 85_000,
    "record, 2 receipts": 75_000,
    "settle, 5 payees": 70_000,
    "settle, 6 payees": 77_000,
    "settle, 7 payees": 84_000,
    "accept with 2 receipts, 7 payees": 0,
    "trade, request to settlement": 440_000,
    "trade, recorded by a light node": 0,
    "approve, 2 of 3, sealed K_pq by digest (not built)": 0,
    "challenge": 0,
    "answer, 1 fragment": 110_000,
    "answer, 2 fragments at once": 0,
    "claim": 0,
    "refund": 0,
}


class Chain:
    """The development chain on this hard fork, with funded accounts."""

    def __init__(self, folder: Path, **fees: int) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        argv = [str(find_anvil()), "--hardfork", HARDFORK, "--port", str(port), "--chain-id", "31337", "--quiet"]
        self.process = subprocess.Popen(argv)
        self.folder, self.url = folder, f"http://127.0.0.1:{port}"
        self.endpoint = Endpoint(self.url)
        for _ in range(100):
            try:
                self.endpoint.call("eth_chainId")
                break
            except Exception:  # noqa: BLE001  not listening yet
                time.sleep(0.1)
        deployer = AccountKey(Numbers("gas: deployer")(32))
        self.fund(deployer.address)
        config = DeployConfig(deployer.address, measurements=((255, MEASUREMENT),), **fees)
        self.deployment = deploy([self.url], deployer, config, journal=folder / "deployer.sqlite")
        self.chain = RpcChain(self.deployment, [self.url], max_head_age_seconds=10**9)

    def fund(self, address: str) -> None:
        self.endpoint.call("anvil_setBalance", address, hex(10**21))

    def account(self, name: str) -> RpcAccount:
        key = AccountKey(Numbers(f"gas: {name}")(32))
        self.fund(key.address)
        return RpcAccount(self.chain, key, self.folder / f"{key.address}.sqlite", sleep=lambda _: None)


def new_keys(scene: TrueScene) -> None:
    """Another delegating key, capsule and receiving key for the next asset."""
    scene.a, scene.b = scene.scalar(), scene.scalar()
    scene.capsule, _ = pre.encrypt_package(scene.a.public_key(), b"package", scene.numbers)


def trade(
    scene: TrueScene,
    deliver_seconds: int = 600,
    kpq_bytes: int = 1_168,
    at_once: bool = False,
    by_provider: bool = False,
    accepting: tuple[int, ...] = (0, 1, 2),
) -> tuple[dict[str, int], bytes]:
    """One trade up to its recorded delivery, or (`at_once`) its acceptance; gas by call, and the order's id."""
    new_keys(scene)
    listing = scene.listing()
    periods = replace(listing.offer.periods, deliver_seconds=deliver_seconds)
    asset_id, listed = scene.provider.list_asset(replace(listing, offer=replace(listing.offer, periods=periods)))
    order_id, requested = scene.consumer.request(scene.terms(asset_id))
    order = scene.consumer.reader.order(order_id)
    approval = scene.approval(order)
    approved = scene.provider.approve(order_id, replace(approval, sealed_kpq=approval.sealed_kpq[:kpq_bytes]))
    order = scene.consumer.reader.order(order_id)
    paid = scene.consumer.pay(order_id, [scene.accept(order, slot) for slot in accepting])
    order = scene.consumer.reader.order(order_id)
    receipts = [scene.receipt(order, slot) for slot in (0, 2)]
    if at_once:
        recorded = scene.consumer.accept_receipts(order_id, scene.fetch(order), receipts)
    else:
        recorder = scene.provider if by_provider else scene.recorder
        recorded = recorder.record_delivery(order_id, scene.fetch(order), receipts)
    return {
        "list": listed.gas_used,
        "request": requested.gas_used,
        "approve, 2 of 3": approved.gas_used,
        f"pay, {len(accepting)} Accepts": paid.gas_used,
        "accept with 2 receipts, 7 payees" if at_once else "record, 2 receipts": recorded.gas_used,
    }, order_id


def traded_before(chain: Chain) -> TrueScene:
    """Roles whose balances are open, after a first trade."""
    scene = TrueScene(chain.account, Numbers("gas"))
    accounts = [address_account(a.address) for a in (scene.provider, scene.recorder, scene.consumer)]
    for account in [*accounts, *(n.node_id for n in (scene.light, *scene.storage, *scene.tees))]:
        scene.recorder.open_balance(ZERO_ADDRESS, account)
    # As outside development, where busy_until is rounded up to whole weeks: the nodes' words are not written anew.
    _, first = trade(scene, deliver_seconds=100_000)
    scene.consumer.accept_delivery(first)
    return scene


def settled_with_five() -> int:
    """Gas of a settlement where the fee table leaves storage nodes out."""
    with tempfile.TemporaryDirectory() as folder:
        chain = Chain(Path(folder), fee_storage=0)
        try:
            scene = traded_before(chain)
            return scene.consumer.accept_delivery(trade(scene)[1]).gas_used
        finally:
            chain.process.terminate()
            chain.process.wait()


def measured() -> dict[str, int]:
    """Gas by call."""
    with tempfile.TemporaryDirectory() as folder:
        chain = Chain(Path(folder))
        try:
            scene = traded_before(chain)
            gas, order_id = trade(scene)
            gas["settle, 7 payees"] = scene.consumer.accept_delivery(order_id).gas_used
            names = [name for name in gas if name != "list"]
            # The provider records and is one payee less.
            _, six = trade(scene, by_provider=True)
            gas["trade, recorded by a light node"] = sum(gas[name] for name in names)
            gas["settle, 6 payees"] = scene.consumer.accept_delivery(six).gas_used
            gas["settle, 5 payees"] = settled_with_five()
            gas["pay, 2 Accepts"] = trade(scene, accepting=(0, 2))[0]["pay, 2 Accepts"]
            # The consumer fetches and accepts before a light node has recorded: the way of the commands.
            one, _ = trade(scene, at_once=True)
            gas["accept with 2 receipts, 7 payees"] = one["accept with 2 receipts, 7 payees"]
            gas["trade, request to settlement"] = sum(used for name, used in one.items() if name != "list")
            scene.consumer.claim(ZERO_ADDRESS)  # the recorder's fee
            gas["claim"] = scene.provider.claim(ZERO_ADDRESS).gas_used
            gas["approve, 2 of 3, sealed K_pq by digest (not built)"] = trade(scene, kpq_bytes=32)[0]["approve, 2 of 3"]
            for name in ("answer, 2 fragments at once", "answer, 1 fragment"):
                _, order_id = trade(scene)
                gas["challenge"] = scene.consumer.challenge(order_id).gas_used
                order = scene.consumer.reader.order(order_id)
                proofs = [(slot, scene.proof(order, slot)) for slot in (0, 2)]
                if "once" in name:
                    gas[name] = scene.recorder.answer_challenge(order_id, proofs, 1).gas_used
                else:  # the account has rewards already
                    gas[name] = scene.recorder.answer_challenge(order_id, proofs[:1], 1).gas_used
            new_keys(scene)
            order = scene.paid()
            chain.endpoint.call("evm_increaseTime", hex(200_000))
            chain.endpoint.call("anvil_mine", "0x1")
            gas["refund"] = scene.consumer.refund(order.order_id).gas_used
            return {name: gas[name] for name in CEILINGS}
        finally:
            chain.process.terminate()
            chain.process.wait()


def table(gas: dict[str, int], sizes: dict[str, int]) -> str:
    """Markdown."""
    rows = [f"| {name} | {used:,} | {f'{CEILINGS[name]:,}' if CEILINGS[name] else '–'} |" for name, used in gas.items()]
    lines = ["| call | gas | ceiling |", "|---|---|---|", *rows, "", "| contract | bytes (limit 24,576) |", "|---|---|"]
    return "\n".join([*lines, *(f"| {name} | {size:,} |" for name, size in sizes.items())])


def main(arguments: list[str]) -> int:
    """Measure, then compare or accept."""
    gas = measured()
    artefacts: dict[str, Any] = {
        name: json.loads((ROOT / "src/asset_bridge/chain/artefacts" / f"{name}.json").read_text()) for name in CONTRACTS
    }
    sizes = {artefact(name).name: found["code_size_bytes"] for name, found in artefacts.items()}
    text = table(gas, sizes)
    print(f"hard fork {HARDFORK}\n\n{text}")
    if arguments == ["--accept"]:
        SNAPSHOT.write_text(json.dumps({"hardfork": HARDFORK, "gas": gas, "bytes": sizes}, indent=1) + "\n")
        page = PAGE.read_text()
        start, end = "<!-- gas: make gas -->\n", "\n<!-- end of gas -->"
        head, rest = page.split(start)
        PAGE.write_text(head + start + text + end + rest.split(end)[1])
        return 0
    stored = json.loads(SNAPSHOT.read_text())
    worse = [f"{n}: {gas[n]:,}, was {was:,}" for n, was in stored["gas"].items() if gas[n] > was + TOLERANCE_GAS]
    worse += [f"{n}: {sizes[n]:,} bytes, was {was:,}" for n, was in stored["bytes"].items() if sizes[n] > was]
    for line in worse:
        print(f"gas: more than the snapshot: {line}; where it is meant: python benchmarks/gas.py --accept")
    return 1 if worse else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
