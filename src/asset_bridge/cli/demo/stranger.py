"""`python -m asset_bridge.cli.demo.stranger NETWORK --asset ID`: someone who holds everything public, and no order, tries to open an asset.

Source: design §9.2. It is a process of its own that gets network.toml and an asset's id, nothing else: no home, no passphrase, no folder of
the demonstration. It prints what it tried and which key it lacked, and ends with status 0 only if nothing opened.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from asset_bridge.chain.keys import address_bytes
from asset_bridge.chain.messages import from_compact
from asset_bridge.chain.records import Approval, Asset, FetchSignature, NodeKind, Order
from asset_bridge.cli.demo import memory
from asset_bridge.cli.demo.public import Stranger
from asset_bridge.errors import BridgeError, InputError
from asset_bridge.ipld.unixfs import LEAF_BYTES, body_cid
from asset_bridge.keys.derivation import asset_keys
from asset_bridge.keys.file_key import file_key
from asset_bridge.keys.hpke import open_form, open_kfrag, open_kpq
from asset_bridge.keys.kem import ConsumerHybridSecretKey, FormSecretKey, ShareSecretKey
from asset_bridge.keys.secp256k1 import Point, SecretScalar, shared_point
from asset_bridge.processes import end_with
from asset_bridge.reencryption import Capsule, CapsuleFrag, HalfKey, decrypt_package, open_package
from asset_bridge.sealing.header import SealedHeader
from asset_bridge.sealing.open import Opener
from asset_bridge.trade.remote import RemoteLight, RemoteTee
from asset_bridge.vault.network import Network

OPENED = "OPENED"
_SCALAR_BYTES = 48


@dataclass(frozen=True, slots=True)
class Attempt:
    """One way in: how it ended, and the key that was lacking."""

    tried: str
    outcome: str
    lacked: str


Ask = Callable[[FetchSignature], set[bytes]]
"""One way to ask for fragments with a `Fetch`; the answer: cfrags."""


class Break:
    """Tries every way into one asset that has been delivered to somebody else."""

    def __init__(self, stranger: Stranger, asset: Asset, order: Order, approval: Approval) -> None:
        self.stranger, self.asset, self.order, self.approval = stranger, asset, order, approval
        self.listing = asset.listing
        self.container_id = SealedHeader.parse(asset.listing.header).container_id
        self.capsule = Capsule.from_bytes(asset.listing.capsule)
        self.cfrags: set[bytes] = set(stranger.held.cfrags)

    def attempts(self) -> Iterator[Attempt]:
        """All of them, each as it ends."""
        yield self._package()
        yield self._derived()
        yield from self._shares()
        yield self._post_quantum()
        yield self._form()
        yield from self._own_fetch()
        yield self._replayed_fetch()
        yield self._fragments()
        yield from self._body()

    def _package(self) -> Attempt:
        call = partial(decrypt_package, _any_scalar(), self.capsule, self.listing.package)
        lacked = "the asset's delegating key (the provider's seed and the asset's tweak)"
        return attempt("open the key package on chain with a key of its own", lacked, call)

    def _derived(self) -> Attempt:
        keys = asset_keys(self.listing.header[:32], self.listing.header[32:64], self.container_id)
        call = partial(decrypt_package, keys.delegating, self.capsule, self.listing.package)
        lacked = "the provider's seed and the asset's tweak"
        return attempt("derive the delegating key from what is public", lacked, call)

    def _shares(self) -> Iterator[Attempt]:
        for number, slot in enumerate(self.approval.slots):
            call = partial(
                open_kfrag,
                ShareSecretKey.generate(os.urandom),
                slot.sealed_rk,
                order_id=self.order.order_id,
                generation=self.approval.generation,
                slot=number,
                kfrag_id=slot.kfrag_id,
                u1=slot.u1,
                x_a=self.approval.precursor,
                node_id=slot.node_id,
                epoch=slot.epoch,
            )
            node = f"TEE node 0x{slot.node_id.hex()[:8]}"
            lacked = f"the key that {node} made for this order, in its memory only"
            yield attempt(f"open the sealed kfrag of {node}", lacked, call)

    def _post_quantum(self) -> Attempt:
        own, order_id = ConsumerHybridSecretKey.generate(os.urandom), self.order.order_id
        call = partial(open_kpq, own, self.approval.sealed_kpq, order_id=order_id, pq_commit=self.listing.pq_commit)
        return attempt("open the sealed post-quantum half", "the consumer's hybrid key", call)

    def _form(self) -> Attempt:
        terms = self.order.terms
        sealed = self.stranger.held.documents.get(str(body_cid(terms.form_digest, terms.form_length)))
        if sealed is None:
            return Attempt("read the consumer's application", "no storage node has it", "the provider's form key")
        call = partial(
            open_form,
            FormSecretKey.generate(os.urandom),
            sealed,
            chain_id=self.stranger.chain.chain_id,
            exchange=address_bytes(self.stranger.chain.exchange),
            asset_id=terms.asset_id,
            consumer=address_bytes(self.order.consumer),
            order_nonce=terms.order_nonce,
        )
        return attempt("read the consumer's application", "the provider's form key", call)

    def _own_fetch(self) -> Iterator[Attempt]:
        fetch = self.stranger.own_fetch(self.order)
        for name, ask in self._ways():
            lacked = "the consumer's account key, which signs Fetch"
            yield attempt(f"ask {name} for a fragment with a Fetch of its own", lacked, partial(ask, fetch))

    def _replayed_fetch(self) -> Attempt:
        """The consumer's own `Fetch` is public once delivery is recorded; it only ever yields fragments for the consumer's key."""
        delivered = self.stranger.chain.index.find({"Delivered"}, 2**62, order_id=self.order.order_id)
        if not delivered:
            return Attempt("replay the consumer's Fetch", "no delivery is recorded yet", "the consumer's Fetch")
        last = delivered[-1].args
        fetch = FetchSignature(int(last["generation"]), from_compact(last["fetch"]))
        codes = []
        for _, ask in self._ways():
            try:
                self.cfrags |= ask(fetch)
            except BridgeError as error:
                codes.append(error.code)
        said = f"{len(self.cfrags)} fragments, re-encrypted to the consumer" + "".join(f"; {code}" for code in codes)
        return Attempt("replay the consumer's Fetch, which the chain made public", said, "the consumer's receiving key")

    def _fragments(self) -> Attempt:
        """With t fragments in hand: the consumer's half is still lacking."""
        guess = shared_point(_any_scalar(), Point.from_bytes(self.approval.precursor))
        half = HalfKey.from_secret_bytes(self.approval.precursor + self.order.terms.pk_b + guess.to_bytes())
        tried = f"combine {len(self.cfrags)} fragments without the consumer's half"
        return attempt(tried, "the consumer's receiving key", partial(self._combine, half))

    def _combine(self, half: HalfKey) -> bytes:
        pk_a = Point.from_bytes(self.listing.pk_a)
        signer = Point.from_bytes(self.listing.kfrag_signer)
        verified = [
            CapsuleFrag.from_bytes(cfrag).verify(capsule=self.capsule, signer=signer, pk_a=pk_a, pk_b=half.pk_b)
            for cfrag in sorted(self.cfrags)
        ]
        return open_package(
            half,
            pk_a=pk_a,
            capsule=self.capsule,
            cfrags=verified,
            threshold=self.approval.threshold,
            sealed=self.listing.package,
        )

    def _body(self) -> Iterator[Attempt]:
        listing = self.listing
        guesses = {
            "zeros": bytes(32),
            "the digest of the key package": hashlib.sha256(listing.package).digest(),
            "public commitments": file_key(
                hashlib.sha256(listing.capsule).digest(), listing.pq_commit, self.container_id
            ),
        }
        for name, key in guesses.items():
            call = partial(
                Opener,
                listing.header,
                file_key=key,
                lister=address_bytes(self.asset.provider),
                body_length_bytes=listing.body_length,
                fetch_segment=self._segment,
            )
            yield attempt(f"open the ciphertext with a key of {name}", "the file key (both halves)", call)

    def _segment(self, number: int) -> bytes:
        held = self.stranger.held
        return held.last_block if number == (self.listing.body_length - 1) // LEAF_BYTES else held.first_block

    def _ways(self) -> Iterator[tuple[str, Ask]]:
        """TEE nodes directly, then light nodes."""
        stranger, holders = self.stranger, {slot.node_id for slot in self.approval.slots}
        for node in stranger.chain.nodes(NodeKind.TEE):
            if node.node_id in holders:
                tee = RemoteTee(stranger.directory.peer(node))
                yield f"TEE node 0x{node.node_id.hex()[:8]}", partial(self._directly, tee)
        for peer in stranger.network.light_nodes:
            yield (
                f"light node {peer.url}",
                partial(self._through, RemoteLight(stranger.connect(peer.url, "light node"))),
            )

    def _directly(self, tee: RemoteTee, fetch: FetchSignature) -> set[bytes]:
        return {tee.reencrypt(self.order.order_id, fetch)[0]}

    def _through(self, light: RemoteLight, fetch: FetchSignature) -> set[bytes]:
        fanned = light.fan_out(self.order.order_id, fetch)
        if not fanned.answers and fanned.failed:
            raise fanned.failed[0].error
        return {cfrag for _, cfrag, _, _ in fanned.answers}


def _any_scalar() -> SecretScalar:
    return SecretScalar.from_wide(os.urandom(_SCALAR_BYTES))


def attempt(tried: str, lacked: str, call: Callable[[], object]) -> Attempt:
    """Run one way in; only a refusal of ours counts as one."""
    try:
        call()
    except BridgeError as error:
        return Attempt(tried, error.code, lacked)
    return Attempt(tried, OPENED, lacked)


def run(network: Network, asset_id: bytes, say: Callable[[str], None]) -> dict[str, object]:
    """Take everything, try everything; the findings."""
    stranger = Stranger(network)
    asset = stranger.chain.asset(asset_id)
    orders = stranger.chain.orders(asset_id=asset_id)
    order = next((one for one in orders if one.approval is not None), None)
    if order is None or order.approval is None:
        raise InputError("demo.stranger", "no order of this asset was approved, so there is nothing to steal")
    stranger.take_body(asset)
    stranger.take_documents()
    stranger.wait_for("Delivered", order.order_id)
    stranger.try_routes(asset, order)
    held = stranger.held
    refused = [answer for answer in held.answers if answer.outcome != "ok"]
    say(
        f"holds {len(held.events)} events, {held.blocks} blocks ({held.block_bytes} bytes), {len(held.documents)} documents"
    )
    say(f"asked {len(held.answers)} times at every route of every node: {len(refused)} refused")
    attempts = []
    for one in Break(stranger, asset, order, order.approval).attempts():
        attempts.append(one)
        say(f"tried to {one.tried}: {one.outcome}" + (f" — lacks {one.lacked}" if one.outcome != OPENED else ""))
    return {
        "opened": any(one.outcome == OPENED for one in attempts),
        "fragments_in_answers": len(held.cfrags),
        "attempts": [asdict(one) for one in attempts],
        "answers": [asdict(answer) for answer in held.answers],
        "events": len(held.events),
        "blocks": held.blocks,
        "block_bytes": held.block_bytes,
        "documents": len(held.documents),
        "peak_memory_bytes": memory.peak_bytes(os.getpid()),
        "cpu_seconds": round(time.process_time(), 2),
    }


def main() -> int:
    """Parse, run, report."""
    parser = argparse.ArgumentParser(prog="stranger", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("network", type=Path)
    parser.add_argument("--asset", required=True)
    parser.add_argument("--report", type=Path, required=True)
    parser.add_argument("--while-open", type=int)
    options = parser.parse_args()
    if options.while_open is not None:
        end_with(options.while_open)
    try:
        found = run(
            Network.load(options.network),
            bytes.fromhex(options.asset.removeprefix("0x")),
            lambda text: print(text, flush=True),
        )
    except BridgeError as error:
        print(f"stranger: error: {error.message} [{error.code}]", file=sys.stderr)
        return error.exit_status
    options.report.write_text(json.dumps(found, indent=1))
    return 1 if found["opened"] or found["fragments_in_answers"] else 0


if __name__ == "__main__":
    sys.exit(main())
