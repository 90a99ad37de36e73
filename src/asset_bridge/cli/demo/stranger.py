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
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from asset_bridge.chain.keys import address_bytes
from asset_bridge.chain.messages import from_compact
from asset_bridge.chain.records import Asset, FetchSignature, NodeKind, Order
from asset_bridge.cli.demo.public import Stranger
from asset_bridge.errors import BridgeError, InputError
from asset_bridge.keys.derivation import asset_keys
from asset_bridge.keys.file_key import file_key
from asset_bridge.keys.hpke import open_form, open_kfrag, open_kpq
from asset_bridge.keys.kem import ConsumerHybridSecretKey, FormSecretKey, ShareSecretKey
from asset_bridge.keys.secp256k1 import Point, SecretScalar, shared_point
from asset_bridge.nodes.processes import end_with
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


class Break:
    """Tries every way into one asset that has been delivered to somebody else."""

    def __init__(self, stranger: Stranger, asset: Asset, order: Order) -> None:
        self.stranger, self.asset, self.order = stranger, asset, order
        self.listing = asset.listing
        self.capsule = Capsule.from_bytes(asset.listing.capsule)
        self.cfrags: set[bytes] = set()

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
        yield self._body()

    def _package(self) -> Attempt:
        secret = SecretScalar.from_wide(os.urandom(_SCALAR_BYTES))
        call = lambda: decrypt_package(secret, self.capsule, self.listing.package)  # noqa: E731
        lacked = "the asset's delegating key (the provider's seed and the asset's tweak)"
        return attempt("open the key package on chain with a key of its own", lacked, call)

    def _derived(self) -> Attempt:
        header = SealedHeader.parse(self.listing.header)
        keys = asset_keys(self.listing.header[:32], self.listing.header[32:64], header.container_id)
        call = lambda: decrypt_package(keys.delegating, self.capsule, self.listing.package)  # noqa: E731
        return attempt("derive the delegating key from what is public", "the provider's seed and the asset's tweak", call)

    def _shares(self) -> Iterator[Attempt]:
        approval = self.order.approval
        for slot in approval.slots if approval is not None else ():
            call = lambda s=slot: open_kfrag(  # noqa: E731
                ShareSecretKey.generate(os.urandom),
                s.sealed_rk,
                order_id=self.order.order_id,
                generation=approval.generation if approval is not None else 0,
                slot=approval.slots.index(s) if approval is not None else 0,
                kfrag_id=s.kfrag_id,
                u1=s.u1,
                x_a=approval.precursor if approval is not None else b"",
                node_id=s.node_id,
                epoch=s.epoch,
            )
            lacked = f"the key that TEE node 0x{slot.node_id.hex()[:8]} made for this order, in its memory only"
            yield attempt(f"open the sealed kfrag of TEE node 0x{slot.node_id.hex()[:8]}", lacked, call)

    def _post_quantum(self) -> Attempt:
        sealed = self.order.approval.sealed_kpq if self.order.approval is not None else b""
        own = ConsumerHybridSecretKey.generate(os.urandom)
        call = lambda: open_kpq(  # noqa: E731
            own, sealed, order_id=self.order.order_id, pq_commit=self.listing.pq_commit
        )
        return attempt("open the sealed post-quantum half", "the consumer's hybrid key", call)

    def _form(self) -> Attempt:
        forms = [d for d in self.stranger.held.documents.values() if len(d) == self.order.terms.form_length]
        own, terms = FormSecretKey.generate(os.urandom), self.order.terms

        def call() -> object:
            if not forms:
                raise InputError("demo.stranger", "the form was on no storage node")
            return open_form(
                own,
                forms[0],
                chain_id=self.stranger.chain.chain_id,
                exchange=address_bytes(self.stranger.chain.exchange),
                asset_id=terms.asset_id,
                consumer=address_bytes(self.order.consumer),
                order_nonce=terms.order_nonce,
            )

        return attempt("read the consumer's application", "the provider's form key", call)

    def _own_fetch(self) -> Iterator[Attempt]:
        fetch = self.stranger.own_fetch(self.order)
        lacked = "the consumer's account key, which signs Fetch"
        for name, ask in self._nodes():
            yield attempt(f"ask {name} for a fragment with a Fetch of its own", lacked, lambda a=ask: a(fetch))

    def _replayed_fetch(self) -> Attempt:
        """The consumer's own `Fetch` is public once delivery is recorded; it only ever yields fragments for the consumer's key."""
        fetch = self._public_fetch()
        if fetch is None:
            return Attempt("replay the consumer's Fetch", "no delivery is recorded on chain yet", "the consumer's Fetch")
        codes = []
        for _, ask in self._nodes():
            try:
                self.cfrags |= ask(fetch)
            except BridgeError as error:
                codes.append(error.code)
        said = f"{len(self.cfrags)} fragments, re-encrypted to the consumer" + (f"; {', '.join(codes)}" if codes else "")
        return Attempt("replay the consumer's Fetch, which the chain made public", said, "the consumer's receiving key")

    def _fragments(self) -> Attempt:
        """With t fragments in hand: the consumer's half is still lacking."""
        approval, listing = self.order.approval, self.listing
        x_a = approval.precursor if approval is not None else b""

        def call() -> object:
            guess = shared_point(SecretScalar.from_wide(os.urandom(_SCALAR_BYTES)), Point.from_bytes(x_a))
            half = HalfKey.from_secret_bytes(x_a + self.order.terms.pk_b + guess.to_bytes())
            verified = [
                CapsuleFrag.from_bytes(cfrag).verify(
                    capsule=self.capsule,
                    signer=Point.from_bytes(listing.kfrag_signer),
                    pk_a=Point.from_bytes(listing.pk_a),
                    pk_b=Point.from_bytes(self.order.terms.pk_b),
                )
                for cfrag in sorted(self.cfrags | self.stranger.held.cfrags)
            ]
            return open_package(
                half,
                pk_a=Point.from_bytes(listing.pk_a),
                capsule=self.capsule,
                cfrags=verified,
                threshold=approval.threshold if approval is not None else 2,
                sealed=listing.package,
            )

        return attempt(
            f"combine {len(self.cfrags)} fragments without the consumer's half", "the consumer's receiving key", call
        )

    def _body(self) -> Attempt:
        listing, held = self.listing, self.stranger.held
        last = -(-listing.body_length // (1 << 20)) - 1
        guesses = {
            "zeros": bytes(32),
            "digest of the package": hashlib.sha256(listing.package).digest(),
            "public halves": file_key(
                hashlib.sha256(listing.capsule).digest(), listing.pq_commit, SealedHeader.parse(listing.header).container_id
            ),
        }
        codes = []
        for key in guesses.values():
            found = attempt(
                "",
                "",
                lambda k=key: Opener(
                    listing.header,
                    file_key=k,
                    lister=address_bytes(self.asset.provider),
                    body_length_bytes=listing.body_length,
                    fetch_segment=lambda number: held.last_block if number == last else held.first_block,
                ),
            )
            codes.append(found.outcome)
        outcome = OPENED if OPENED in codes else codes[0]
        return Attempt(f"open the ciphertext with keys made of {', '.join(guesses)}", outcome, "the file key (both halves)")

    def _nodes(self) -> Iterator[tuple[str, Callable[[FetchSignature], set[bytes]]]]:
        """Each way to ask for fragments: TEE nodes directly, then light nodes. The answer: cfrags."""
        stranger, order = self.stranger, self.order
        holders = {slot.node_id for slot in order.approval.slots} if order.approval is not None else set()
        for node in stranger.chain.nodes():
            if node.kind is NodeKind.TEE and node.node_id in holders:
                tee = RemoteTee(stranger.directory.peer(node))
                yield (
                    f"TEE node 0x{node.node_id.hex()[:8]}",
                    lambda fetch, t=tee: {t.reencrypt(order.order_id, fetch)[0]},
                )
        for url in stranger.network.light_nodes:
            light = RemoteLight(stranger.connect(url.url, "light node"))
            yield f"light node {url.url}", lambda fetch, n=light: self._through(n, fetch)

    def _through(self, light: RemoteLight, fetch: FetchSignature) -> set[bytes]:
        fanned = light.fan_out(self.order.order_id, fetch)
        if not fanned.answers and fanned.failed:
            raise fanned.failed[0].error
        return {cfrag for _, cfrag, _, _ in fanned.answers}

    def _public_fetch(self) -> FetchSignature | None:
        found = [e for e in self.stranger.chain.index.find({"Delivered"}, 2**62, order_id=self.order.order_id)]
        if not found:
            return None
        return FetchSignature(int(found[-1].args["generation"]), from_compact(found[-1].args["fetch"]))


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
    if not orders:
        raise InputError("demo.stranger", "nobody has ordered this asset, so there is nothing to steal")
    order = orders[0]
    stranger.take_events()
    stranger.take_body(asset)
    stranger.take_inventories()
    stranger.try_routes(asset, order)
    held = stranger.held
    refused = [answer for answer in held.answers if answer.outcome != "ok"]
    say(f"holds {len(held.events)} events, {held.blocks} blocks ({held.block_bytes} bytes), {len(held.documents)} documents")
    say(f"asked {len(held.answers)} times at every route of every node: {len(refused)} refused")
    attempts = []
    for one in Break(stranger, asset, order).attempts():
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
