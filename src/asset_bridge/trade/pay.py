"""`pay`: the price into escrow, after the client has shown itself that the key will open (protocol §4.4, §4.5).

Promises: `pay` is not reached unless every check of trade/check_approval.py held. Does not promise: delivery; a consumer who never got
`t` recorded fragments is refunded.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from asset_bridge.chain.records import ZERO_ADDRESS, Order, OrderState, Sent
from asset_bridge.errors import InputError
from asset_bridge.ipfs.multi import Failure
from asset_bridge.trade.check_approval import (
    Acceptances,
    OpeningKeys,
    check_approval,
    collect_accepts,
    require_accepts,
    sample_body,
)
from asset_bridge.trade.desk import Desk, require_role
from asset_bridge.trade.download import download_body


@dataclass(frozen=True, slots=True)
class Checked:
    """What the checks before payment found."""

    order: Order
    keys: OpeningKeys
    accepts: Acceptances
    good_replicas: int
    bad_replicas: tuple[Failure, ...]
    downloaded: bool


@dataclass(frozen=True, slots=True)
class Paid:
    """A paid order; `allowed`: what had to be sent first so that the Exchange may take the price in a token without a permit."""

    order_id: bytes
    sent: Sent
    checked: Checked
    allowed: tuple[Sent, ...] = ()


def check_before_payment(
    desk: Desk,
    order_id: bytes,
    bodies_folder: Path,
    *,
    minimum_accepts: int | None = None,
    download_first: bool = False,
) -> Checked:
    """Run every check of protocol §4.4 without paying.

    Args:
        minimum_accepts: how many `Accept`s are enough; all slots' by default, never fewer than the threshold.
        download_first: fetch the whole body now instead of sampling it.
    """
    order = desk.final_order(order_id, OrderState.APPROVED)
    require_role(desk, order, "consumer")
    if (offer := order.terms.offer).token != ZERO_ADDRESS:
        desk.reader.require_token_units(desk.address, offer.token, offer.price_wei)
    keys = check_approval(desk, order)
    accepts = collect_accepts(desk, order)
    threshold, shares = keys.approval.threshold, len(keys.approval.slots)
    require_accepts(accepts, max(threshold, shares if minimum_accepts is None else minimum_accepts))
    if download_first:
        report = download_body(desk, keys.asset, bodies_folder).report
        return Checked(order, keys, accepts, 1, report.bad if report is not None else (), True)
    good, bad = sample_body(desk, keys.asset)
    return Checked(order, keys, accepts, good, bad, False)


def pay(
    desk: Desk,
    order_id: bytes,
    bodies_folder: Path,
    *,
    minimum_accepts: int | None = None,
    download_first: bool = False,
) -> Paid:
    """Check everything, then pay.

    Raises:
        InputError(chain.token-funds): the price is in a token of which this account holds less.
        InputError(trade.too-late): the time to pay is over, or the newest block says another state.
        what `check_before_payment` raises: nothing was paid.
    """
    checked = check_before_payment(
        desk, order_id, bodies_folder, minimum_accepts=minimum_accepts, download_first=download_first
    )
    if desk.clock() >= checked.order.pay_by:
        raise InputError("trade.too-late", "the time to pay for this order is over", hint="request the asset again")
    allowed = desk.account.allow_payment(order_id)
    return Paid(order_id, desk.account.pay(order_id, checked.accepts.accepts), checked, allowed)
