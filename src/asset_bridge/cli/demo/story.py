"""The trade itself, by the same `Provider` and `Consumer` objects that a script uses: publish, request, approve, pay, fetch.

Source: issue "what a newcomer does and sees"; design §1. Three assets go through it side by side, so that one waits for the chain while
another works: the data, a small one whose ciphertext is on chain, and one whose access ends a moment after it was paid.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from asset_bridge.chain.records import OrderState
from asset_bridge.cli.demo.goods import Goods
from asset_bridge.cli.demo.scene import Scene
from asset_bridge.cli.demo.timeline import Timeline
from asset_bridge.cli.inbox_cmd import page
from asset_bridge.cli.output import amount, short, size
from asset_bridge.client import Approved, Fetched, InboxItem, Provider, example_application
from asset_bridge.errors import BridgeError, DefectError

MAIN, ON_CHAIN, BRIEF = "the data", "the on-chain asset", "the brief asset"
EVENT_SECONDS = 30.0
RECORD_SECONDS = 30
IMPOSTORS = {"tee-4-unlisted": "measurement", "tee-5-replay": "nonce"}
"""The registered TEE nodes that must be refused, and what their refusal's code must speak of."""


@dataclass
class Trade:
    """What the story has produced so far, by the asset's key."""

    scene: Scene
    timeline: Timeline
    goods: dict[str, Goods] = field(default_factory=dict)
    assets: dict[str, bytes] = field(default_factory=dict)
    orders: dict[str, bytes] = field(default_factory=dict)
    approvals: dict[str, Approved] = field(default_factory=dict)
    fetched: dict[str, Fetched] = field(default_factory=dict)

    # ── provider: publish ──
    def publish(self, goods: Sequence[Goods]) -> None:
        """Show what becomes public, then seal, upload and list."""
        show, provider = self.scene.show, self.scene.provider
        for one in goods:
            self.goods[one.key] = one
            view = one.view
            show.line(f"what {one.key} makes public ({size(view.body_length_bytes)} of ciphertext):")
            if one.key == MAIN:
                show.lines(f"    {line.what:<62} {line.who}, {line.how_long}" for line in view.lines)
            if view.warning:
                show.line(f"    WARNING: {view.warning}")
            began = time.time()
            done = provider.publish(one.path, **one.arguments)
            self.timeline.off_chain(
                "provider", f"seal and upload {one.key}", time.time(), time.time() - began, done.body_length_bytes
            )
            self.assets[one.key] = done.asset_id
            show.line(f"listed {short(done.asset_id)}: {done.body_cid}, on {done.replicas} storage nodes, read back")
            show.must(done.replicas >= 2, f"{one.key} has at least 2 verified replicas ({done.replicas})")

    # ── consumer: catalog, request ──
    def request(self, attachment: Path) -> None:
        """Look at the catalogue and apply for every asset; the light node tells the provider."""
        show, consumer = self.scene.show, self.scene.consumer
        entries = {entry.asset.asset_id: entry for entry in consumer.catalog()}
        for key, asset_id in self.assets.items():
            entry = entries.get(asset_id)
            title = entry.description.title if entry is not None and entry.description is not None else ""
            show.line(f"catalog: {short(asset_id)} {amount(self.goods[key].arguments['price_wei'])}  {title}")
            show.must(bool(title), f"{key} is in the consumer's catalogue, with its description")
        heard = self._listen(set(self.assets.values()))
        for key, asset_id in self.assets.items():
            description = entries[asset_id].description
            application = example_application(description.template if description is not None else None)
            attachments = (attachment,) if key == MAIN else ()
            done = consumer.request(
                asset_id, application, attachments, expect_price_wei=self.goods[key].arguments["price_wei"]
            )
            self.orders[key] = done.order_id
            show.line(
                f"requested {key}: order {short(done.order_id)}, sealed application, {len(attachments)} attachment"
            )
        missing = set(self.orders.values())
        until = time.monotonic() + EVENT_SECONDS
        while missing and time.monotonic() < until:
            with suppress(queue.Empty):
                missing.discard(heard.get(timeout=1.0))
        show.must(not missing, "the light node told the provider of every request, as it happened")

    def _listen(self, wanted: set[bytes]) -> queue.Queue[bytes]:
        """Order ids of requests for these assets, from the light node's event stream."""
        found: queue.Queue[bytes] = queue.Queue()
        light, after = self.scene.light(), self.scene.provider.chain.block().number

        def listen() -> None:
            missing = len(wanted)
            with suppress(BridgeError):
                for event in light.follow(after):
                    args = event.get("args")
                    if event.get("event") != "Requested" or not isinstance(args, dict):
                        continue
                    if bytes.fromhex(str(args["asset_id"])[2:]) in wanted:
                        found.put(bytes.fromhex(str(args["order_id"])[2:]))
                        missing -= 1
                    if not missing:
                        return  # an open stream would keep the light node from ending quickly

        threading.Thread(target=listen, name="provider-listens", daemon=True).start()
        return found

    # ── provider: inbox, approve ──
    def approve(self) -> None:
        """Read each request as a page, save its attachments, examine TEE nodes, approve."""
        show, provider = self.scene.show, self.scene.provider
        items = {item.order_id: item for item in provider.inbox()}
        for key, order_id in self.orders.items():
            item = items.get(order_id)
            if item is None or item.problem:
                problem = item.problem if item is not None else "it is not in the inbox"
                raise DefectError("demo.failed", f"the request for {key} cannot be approved: {problem}")
            self._show_item(key, item)
            show.line(
                f"Approve this request for {amount(item.order.terms.offer.price_wei)}? [y/N] y (the demonstration answers)"
            )
            self.approvals[key] = self._approve(provider, key, order_id)
        for key, order_id in self.orders.items():  # each approval became final while the next one was made
            slots, accepted = len(self.approvals[key].chosen), provider.accepted(order_id)
            show.must(accepted == slots, f"{accepted} TEE nodes opened their share of {key} and signed Accept")

    def _show_item(self, key: str, item: InboxItem) -> None:
        show = self.scene.show
        if key == MAIN:
            show.lines(page(item))
        for attachment in item.attachments:
            folder = self.scene.folder / "provider-inbox"
            folder.mkdir(exist_ok=True)
            (folder / f"{len(list(folder.iterdir())) + 1:02d}-application.txt").write_bytes(attachment.content)
            show.line(f"attachment saved in {folder} ({len(attachment.content)} bytes)")

    def _approve(self, provider: Provider, key: str, order_id: bytes) -> Approved:
        show, scene = self.scene.show, self.scene
        began = time.time()
        done = provider.approve(
            order_id, policy=scene.net.policy_file, reply="Welcome. Please cite the data.", wait=False
        )
        self.timeline.off_chain("provider", f"examine 5 TEE nodes, {key}", time.time(), time.time() - began)
        names = [scene.node_name(node.node_id) for node in done.chosen]
        show.line(
            f"{key}: {done.threshold} of {len(done.chosen)} shares, sealed to {', '.join(names)} (tee: simulated)"
        )
        refused = {self._named(name): codes for name, codes in done.refused}
        for name, word in IMPOSTORS.items():
            codes = refused.get(name, ())
            show.must(
                any(word in code for code in codes), f"{name} is refused by name: {', '.join(codes) or 'it was not'}"
            )
        return done

    def _named(self, short_name: str) -> str:
        digits = short_name.removeprefix("0x").rstrip("…")
        return next((name for node_id, name in self.scene.nodes.items() if node_id.hex().startswith(digits)), "")

    # ── consumer: pay ──
    def pay(self, key: str) -> None:
        """Show oneself that the key will open, then pay."""
        show = self.scene.show
        began = time.time()
        paid = self.scene.consumer.pay(self.orders[key])
        found = paid.checked
        self.timeline.off_chain("consumer", f"check before payment, {key}", time.time(), time.time() - began)
        sampled = (
            f"{found.sampled_blocks} blocks of {found.replicas} replicas sampled"
            if found.sampled_blocks
            else "body on chain"
        )
        show.line(
            f"checked {key}: the key will open this capsule; {found.accepts} of {found.shares} Accepts; {sampled}"
        )
        show.line(f"paid {amount(found.price_wei)} into escrow: {short(paid.sent.transaction_hash)}")

    # ── consumer: fetch ──
    def fetch(self, key: str) -> None:
        """Blocks from the storage nodes, fragments from the TEE nodes, all verified, opened."""
        show, scene = self.scene.show, self.scene
        began = time.time()
        output = scene.opened / key.removeprefix("the ").replace(" ", "-")
        done = scene.consumer.fetch(self.orders[key], output)
        seconds = time.time() - began
        self.timeline.off_chain("consumer", f"fetch and open {key}", time.time(), seconds, done.bytes_written)
        self.fetched[key] = done
        show.line(f"fetched {key}: {done.files} files, {size(done.bytes_written)} opened in {seconds:.1f} s")
        for name, code in (*done.bad_replicas, *done.failed_nodes):
            show.line(f"skipped {name}: {code}")
        if key == ON_CHAIN:
            show.must(
                done.downloaded_bytes == 0, f"{key} came from the chain alone: no storage node was asked for its body"
            )

    def wait_delivered(self, key: str) -> None:
        """Until the delivery is recorded on chain, by whoever does it."""
        scene = self.scene
        state = OrderState.PAID
        for _ in range(RECORD_SECONDS):
            state = scene.consumer.chain.order(self.orders[key]).state
            if state is not OrderState.PAID:
                break
            time.sleep(1.0)
        scene.show.must(
            state in (OrderState.DELIVERED, OrderState.SETTLED),
            f"the delivery of {key} is recorded on chain with its TEE nodes' receipts",
        )

    def settle(self, key: str) -> None:
        """The consumer accepts, the provider takes his money."""
        scene, show = self.scene, self.scene.show
        scene.consumer.accept(self.orders[key])
        before = scene.provider.coins_wei()
        claimed = scene.provider.claim()
        earned = scene.provider.coins_wei() + sum(one.cost_wei for one in claimed.sent) - before
        show.must(
            earned == claimed.amount_wei > 0,
            f"the consumer accepted; the provider took {amount(earned)} out (price less fees), right to the wei",
        )
