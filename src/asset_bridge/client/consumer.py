"""A consumer in a script: look, request, pay, fetch.

with Consumer.open("~/institute", passphrase_from_file(Path("passphrase"))) as consumer:
    asset = consumer.catalog()[0].asset
    order = consumer.request(asset.asset_id, application)
    …  # the provider approves
    consumer.pay(order.order_id)
    consumer.fetch(order.order_id, Path("data"))
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from asset_bridge.chain.records import Offer, OrderState, Sent
from asset_bridge.client.results import Checked, Consented, Fetched, Paid, Requested
from asset_bridge.client.session import Session
from asset_bridge.errors import InputError, UnavailableError
from asset_bridge.ipfs.gateway import Gateway
from asset_bridge.ipfs.multi import MultiSource
from asset_bridge.sealing.member_file import MemberFile
from asset_bridge.trade import accept as accept_story
from asset_bridge.trade import answer
from asset_bridge.trade import cancel as cancel_story
from asset_bridge.trade import consent as consent_story
from asset_bridge.trade import fetch as fetch_story
from asset_bridge.trade import pay as pay_story
from asset_bridge.trade import refund as refund_story
from asset_bridge.trade import request as request_story
from asset_bridge.trade.check_approval import SAMPLE_BLOCKS
from asset_bridge.trade.desk import short
from asset_bridge.trade.documents.form import Attachment
from asset_bridge.trade.documents.new_generation import decode_new_generation
from asset_bridge.trade.opening import Opened, open_at_hand
from asset_bridge.trade.opening_part import OpenedPart, open_member, opened_order
from asset_bridge.vault.crypt4gh import read_public_key
from asset_bridge.vault.files import media_type


class Consumer(Session):
    """The verbs of a data consumer."""

    def request(
        self,
        asset_id: bytes,
        application: dict[str, Any],
        attachments: Sequence[Path] = (),
        *,
        expect_price_wei: int | None = None,
        expect_token: str | None = None,
        fetch_signer: str | None = None,
    ) -> Requested:
        """Apply for an asset. `expect_price_wei` and `expect_token` are the price that was seen; another one is refused."""
        documents = tuple(_attachment(path) for path in attachments)
        expected: Offer | None = None
        if expect_price_wei is not None:
            expected = self.chain.asset(asset_id).offer
            if expected.price_wei != expect_price_wei or expect_token not in (None, expected.token):
                raise InputError(
                    "trade.offer-changed",
                    "the price of this asset changed since it was shown",
                    hint="look again, then request",
                )
        done = request_story.request(
            self.desk, asset_id, application, documents, expected=expected, fetch_signer=fetch_signer
        )
        return Requested(done.order_id, done.asset_id, done.provider, (done.sent,))

    def send_form_again(self, order_id: bytes) -> None:
        """Upload the sealed application once more."""
        request_story.send_form_again(self.desk, order_id)

    def check(self, order_id: bytes, *, minimum_accepts: int | None = None, download_first: bool = False) -> Checked:
        """Show that the approved key opens this asset, without paying."""
        return _checked(
            pay_story.check_before_payment(
                self.desk,
                order_id,
                self.home.bodies_folder,
                minimum_accepts=minimum_accepts,
                download_first=download_first,
            )
        )

    def pay(self, order_id: bytes, *, minimum_accepts: int | None = None, download_first: bool = False) -> Paid:
        """Check everything, then pay into escrow; in a token by its permit, else after an exact allowance."""
        done = pay_story.pay(
            self.desk, order_id, self.home.bodies_folder, minimum_accepts=minimum_accepts, download_first=download_first
        )
        return Paid(order_id, _checked(done.checked), done.sent, done.allowed)

    def consent(self, document: bytes) -> Consented:
        """Agree to new shares that `Provider.propose_shares` made of a paid order, after every check that `pay` makes of shares."""
        given = decode_new_generation(document)
        done = consent_story.consent(self.desk, given, self.home.bodies_folder)
        agreed = done.document
        return Consented(
            agreed.order_id,
            agreed.generation,
            agreed.threshold,
            tuple(slot.node_id for slot in agreed.slots),
            agreed.fetch != b"",
            done.downloaded_bytes,
            agreed.encode(),
            agreed.expires_at(),
        )

    def fetch(
        self, order_id: bytes, output: Path | str, *, record: bool = False, gateways: Sequence[str] = ()
    ) -> Fetched:
        """Download, have re-encrypted, open into the new folder `output`.

        Args:
            record: also put the receipts on chain, for the recorder's fee; light nodes do it otherwise, and `accept` at the latest.
            gateways: URLs of IPFS gateways; the ciphertext then comes from them alone, every block checked as always.
        """
        sources = [Gateway(url, f"gateway {url}") for url in gateways]
        body_from = MultiSource(sources, name="gateways") if sources else None
        done = fetch_story.fetch(self.desk, order_id, Path(output), self.home.bodies_folder, body_from=body_from)
        unrecorded = record and self.chain.order(order_id).state is OrderState.PAID
        return _fetched(order_id, done.opened, done, self.record_delivery(order_id) if unrecorded else None)

    def open_again(self, order_id: bytes, output: Path | str, sealed: Path | None = None) -> Fetched:
        """Open again what was fetched before; no TEE node is asked. `sealed`: a sealed file at hand."""
        if sealed is not None:
            return _fetched(order_id, open_at_hand(self.desk, sealed, Path(output)), None, None)
        opened = fetch_story.open_again(self.desk, order_id, Path(output), self.home.bodies_folder)
        return _fetched(order_id, opened, None, None)

    def open_member(
        self,
        order_id: bytes,
        member: str,
        output: Path | str,
        *,
        start: int = 0,
        end: int | None = None,
        sealed: Path | None = None,
        crypt4gh_key: Path | None = None,
    ) -> OpenedPart:
        """Write one member of a fetched order, or its bytes [start, end), as a new file; only its blocks are read.

        Args:
            crypt4gh_key: a public key file; the member is then written as a Crypt4GH file for its holder.
        """
        key = read_public_key(crypt4gh_key) if crypt4gh_key is not None else None
        folder, out = self.home.bodies_folder, Path(output)
        return open_member(
            self.desk, order_id, member, out, folder, start=start, end=end, sealed=sealed, crypt4gh_key=key
        )

    @contextlib.contextmanager
    def member_file(self, order_id: bytes, member: str, sealed: Path | None = None) -> Iterator[io.BufferedReader]:
        """A member of a fetched order as a file to read and seek in; only the blocks that are read are opened.

        with consumer.member_file(order_id, "scans/a.dcm") as file:
            file.seek(1_000_000)
            header = file.read(64)
        """
        with opened_order(self.desk, order_id, self.home.bodies_folder, sealed) as opener:
            yield io.BufferedReader(MemberFile(opener, member))

    def record_delivery(self, order_id: bytes) -> Sent:
        """Record the receipts of a fetched order."""
        return accept_story.record_delivery(self.desk, order_id)

    def accept(self, order_id: bytes) -> tuple[Sent, ...]:
        """Say that the delivery is as agreed; it is recorded first where nobody has. Every transaction that was sent."""
        return tuple(accept_story.accept(self.desk, order_id))

    def cancel(self, order_id: bytes) -> Sent:
        """Take an unpaid request back."""
        return cancel_story.cancel(self.desk, order_id)

    def refund(self, order_id: bytes) -> Sent:
        """Take the price of an undelivered order back."""
        return refund_story.refund(self.desk, order_id)

    def reply(self, order_id: bytes) -> str:
        """What the provider wrote back."""
        return answer.read_reply(self.desk, order_id)


def _attachment(path: Path) -> Attachment:
    try:
        return Attachment(path.name, media_type(path.name), path.read_bytes())
    except OSError as error:
        raise UnavailableError("client.attachment", f"{path} cannot be read: {error.strerror}", actor="you") from None


def _checked(found: pay_story.Checked) -> Checked:
    offer, approval = found.order.terms.offer, found.keys.approval
    on_chain = bool(found.keys.asset.listing.on_chain_body)
    bad = [(failure.source, failure.code) for failure in found.bad_replicas]
    bad += [(f"tee node {short(node_id)}", code) for node_id, code in found.accepts.missing]
    return Checked(
        order_id=found.order.order_id,
        accepts=len(found.accepts.accepts),
        shares=len(approval.slots),
        threshold=approval.threshold,
        sampled_blocks=0 if on_chain or found.downloaded else SAMPLE_BLOCKS,
        replicas=found.good_replicas,
        bad=tuple(bad),
        price_wei=offer.price_wei,
        token=offer.token,
    )


def _fetched(order_id: bytes, opened: Opened, done: fetch_story.Fetched | None, recorded: Sent | None) -> Fetched:
    return Fetched(
        order_id=order_id,
        output=opened.output,
        files=opened.written.files,
        bytes_written=opened.written.content_bytes,
        downloaded_bytes=done.downloaded_bytes if done is not None else 0,
        bad_replicas=tuple((f.source, f.code) for f in done.bad_replicas) if done is not None else (),
        failed_nodes=tuple((short(f.node_id), f.code) for f in done.failed_nodes) if done is not None else (),
        recorded=recorded,
        provenance=opened.provenance,
    )
