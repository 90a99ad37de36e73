"""`status`: the state of an order, who must act, until when, and the next command (design §8).

Promises: pure over records and the time; every state has an actor or says that it is over. Does not promise: that a command which it
names will succeed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from asset_bridge.chain.records import At, Node, Order, OrderState
from asset_bridge.errors import BridgeError
from asset_bridge.trade.desk import Desk
from asset_bridge.trade.reseal import Lost, lost_slots

PROVIDER, CONSUMER, NODES, NOBODY = "provider", "consumer", "tee nodes", "nobody"


@dataclass(frozen=True, slots=True)
class Holder:
    """A TEE node that holds a share: what it is registered as, and under which measurement."""

    slot: int
    node_id: bytes
    tee: str
    measurement_id: bytes


@dataclass(frozen=True, slots=True)
class Status:
    """Where an order stands. `next_command` (what follows `asset-bridge`) is for the side that asks; empty when it can only wait."""

    order_id: bytes
    asset_id: bytes
    role: str
    state: OrderState
    who: str
    until_at: int | None
    next_command: str
    detail: str
    live_shares: int
    shares: int
    threshold: int
    lost: tuple[Lost, ...]
    holders: tuple[Holder, ...]
    escrow_wei: int
    token: str


def status(desk: Desk, order_id: bytes) -> Status:
    """The status of one order as this account sees it."""
    order = desk.reader.order(order_id)
    nodes: dict[bytes, Node] = {}
    for slot in order.approval.slots if order.approval is not None else ():
        try:
            nodes[slot.node_id] = desk.reader.node(slot.node_id, At.HEAD)
        except BridgeError:
            continue
    fetched = desk.vault.halves.get(order_id.hex()) is not None
    now_at = desk.reader.block().timestamp
    return status_of(order, nodes, desk.address, now_at, desk.reader.grace_seconds(), fetched=fetched)


def status_of(
    order: Order, nodes: dict[bytes, Node], address: str, now_at: int, grace_seconds: int, *, fetched: bool = False
) -> Status:
    """The status of an order for `address` at `now_at`."""
    role = PROVIDER if address == order.provider else CONSUMER if address == order.consumer else "onlooker"
    lost = tuple(lost_slots(order, nodes))
    shares = len(order.approval.slots) if order.approval is not None else 0
    state, who, until_at, verbs, detail = _next(order, now_at, grace_seconds, shares - len(lost), fetched)
    verb = verbs.get(role, "")
    served = state in (OrderState.APPROVED, OrderState.PAID, OrderState.DELIVERED, OrderState.SETTLED)
    if served and lost and not order.serving_stopped:
        detail = f"{detail} {shares - len(lost)} of {shares} shares live.".strip()
        if role == PROVIDER:
            verb = "reseal"
    name = f"0x{order.order_id.hex()[:12]}"  # enough to be the only one; commands take any unambiguous start
    suffix = " -o FOLDER" if verb in ("fetch", "open") else ""
    command = verb if verb in ("claim", "catalog") else f"{verb} {name}{suffix}"
    return Status(
        order_id=order.order_id,
        asset_id=order.terms.asset_id,
        role=role,
        state=state,
        who=who,
        until_at=until_at,
        next_command=command if verb else "",
        detail=detail,
        live_shares=shares - len(lost),
        shares=shares,
        threshold=order.approval.threshold if order.approval is not None else 0,
        lost=lost,
        holders=tuple(holders_of(order, nodes)),
        escrow_wei=order.escrow_wei,
        token=order.terms.offer.token,
    )


def holders_of(order: Order, nodes: dict[bytes, Node]) -> Iterator[Holder]:
    """Who holds a share, of the nodes that the registry knows."""
    for number, slot in enumerate(order.approval.slots if order.approval is not None else ()):
        node = nodes.get(slot.node_id)
        if node is not None:
            yield Holder(number, node.node_id, node.tee, node.current.measurement_id)


def _next(
    order: Order, now_at: int, grace_seconds: int, live: int, fetched: bool
) -> tuple[OrderState, str, int | None, dict[str, str], str]:
    """(state, who must act, until when, verb by role, a sentence)."""
    match order.state:
        case OrderState.REQUESTED if now_at < order.approve_by:
            return order.state, PROVIDER, order.approve_by, {PROVIDER: "approve"}, "Waiting for the provider."
        case OrderState.APPROVED if now_at < order.pay_by:
            return order.state, CONSUMER, order.pay_by, {CONSUMER: "pay"}, "Waiting for the payment."
        case OrderState.REQUESTED | OrderState.APPROVED | OrderState.EXPIRED:
            return (
                OrderState.EXPIRED,
                NOBODY,
                None,
                {CONSUMER: "catalog"},
                "The time to answer is over; nothing was paid.",
            )
        case OrderState.PAID if now_at < order.deliver_by:
            detail = "Paid; the data can be fetched." if not fetched else "Fetched; the delivery is being recorded."
            verb = "fetch" if not fetched else "accept"
            return order.state, CONSUMER, order.deliver_by, {CONSUMER: verb}, detail
        case OrderState.PAID:
            grace_ends_at = order.deliver_by + grace_seconds
            if now_at < grace_ends_at:
                return (
                    order.state,
                    NODES,
                    grace_ends_at,
                    {},
                    "The delivery deadline is over; late receipts still count.",
                )
            return (
                order.state,
                CONSUMER,
                None,
                {CONSUMER: "refund"},
                "Not delivered in time; the price can be taken back.",
            )
        case OrderState.DELIVERED if now_at < order.windows_end:
            verbs = {CONSUMER: "accept" if fetched else "fetch"}
            return order.state, CONSUMER, order.windows_end, verbs, "Delivered; accept it, or the windows pass."
        case OrderState.DELIVERED:
            return order.state, PROVIDER, None, {PROVIDER: "claim", CONSUMER: "fetch"}, "Delivered; the money is due."
        case OrderState.SETTLED:
            until_at = order.ends_at if not order.serving_stopped else None
            verbs = {PROVIDER: "claim", CONSUMER: "open" if fetched else "fetch"}
            return order.state, NOBODY, until_at, verbs, "Settled; the data can be fetched again until the end date."
        case OrderState.REVOKED:
            return (
                order.state,
                CONSUMER,
                None,
                {CONSUMER: "refund"},
                "Revoked; after the time for late receipts the price goes back.",
            )
        case OrderState.REFUNDED:
            return order.state, NOBODY, None, {CONSUMER: "claim"}, "Refunded; the price waits to be claimed."
        case OrderState.DENIED:
            return order.state, NOBODY, None, {CONSUMER: "catalog"}, "The provider denied the request."
        case OrderState.CANCELLED:
            return order.state, NOBODY, None, {CONSUMER: "catalog"}, "The consumer cancelled the request."
        case _:
            return order.state, NOBODY, None, {}, f"No such order. {live} shares."
