"""What a story works with: one account, its home, its light node, replicas, and a way to reach TEE nodes.

Source: design §2. Promises: no story reads a clock, a random source or a setting by itself; all of them come from here.
Does not promise: that anything reached through it is honest.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from asset_bridge.chain.messages import Domain
from asset_bridge.chain.records import At, Node, Order, OrderState
from asset_bridge.errors import InputError, RefusedError, TamperedError, UnavailableError
from asset_bridge.ipfs.multi import MultiSource
from asset_bridge.ipld.cid import RAW, Cid
from asset_bridge.ipld.unixfs import body_cid
from asset_bridge.trade.documents.canonical import MAX_PUBLIC_BYTES, MAX_SEALED_BYTES, bad
from asset_bridge.trade.ports import ChainAccount, ChainReader, LightNode, Progress, RandBytes, Signer, TeeNode
from asset_bridge.vault.home import Vault

FINAL_TRIES = 40


@contextlib.contextmanager
def layer(name: str) -> Iterator[None]:
    """Put the layer's name in front of a refusal; class, code, hint and actor stay."""
    try:
        yield
    except (TamperedError, RefusedError, UnavailableError) as error:
        if error.message.startswith("layer "):
            raise
        raise type(error)(error.code, f"layer {name}: {error.message}", hint=error.hint, actor=error.actor) from None


def no_progress(step: str, done_bytes: int, total_bytes: int) -> None:
    """For callers that do not watch."""


@dataclass(frozen=True)
class Desk:
    """Everything one side of a trade holds. `storage` are storage nodes alone, `replicas` those and the light node.

    `pause` waits a moment (the client sleeps, a test mines a block).
    """

    account: ChainAccount
    signer: Signer
    vault: Vault
    light: LightNode
    storage: MultiSource
    replicas: MultiSource
    connect_tee: Callable[[Node], TeeNode]
    clock: Callable[[], int]
    randbytes: RandBytes
    pause: Callable[[], None]
    progress: Progress = no_progress

    @property
    def reader(self) -> ChainReader:
        """The chain as this account sees it."""
        return self.account.reader

    @property
    def address(self) -> str:
        """This side's account."""
        return self.account.address

    @property
    def exchange_domain(self) -> Domain:
        """EIP-712 domain of the Exchange."""
        return Domain(self.reader.chain_id, self.reader.exchange)

    def public_document(self, digest: bytes) -> bytes:
        """A description, terms, profile or endpoint document: at most 1 MiB, hence one raw block."""
        with layer("documents"):
            block = self.replicas.get_block(Cid(RAW, digest).to_bytes())
        if len(block) > MAX_PUBLIC_BYTES:
            raise bad("a public document", "is too long")
        return block

    def sealed_document(self, digest: bytes, length_bytes: int, what: str) -> bytes:
        """A sealed form or reply."""
        if not 0 < length_bytes <= MAX_SEALED_BYTES:
            raise bad(what, "has an impossible length")
        with layer("documents"):
            return self.replicas.fetch_bytes(body_cid(digest, length_bytes), length_bytes)

    def final_order(self, order_id: bytes, *states: OrderState) -> Order:
        """The order at a finalized block, in one of `states` there and at the head; waits while the final block lags behind.

        Raises:
            InputError(trade.state): the newest block already says another state; waiting would not help.
            UnavailableError(trade.not-final): the final block did not catch up.
        """
        for _ in range(FINAL_TRIES):
            head = self.reader.order(order_id, At.HEAD)
            if head.state not in states:
                raise wrong_state(head, *states)
            order = order_at(self.reader, order_id, At.FINAL)
            if order is not None and order.state in states:
                return order
            self.pause()
        raise not_final("this order's last step")


def not_final(what: str) -> UnavailableError:
    """The final block stayed behind the newest one for longer than a command waits."""
    return UnavailableError(
        "trade.not-final",
        f"the chain has not made {what} final yet",
        hint="run the same command again in a minute",
        actor="chain endpoint",
    )


def order_at(reader: ChainReader, order_id: bytes, at: At) -> Order | None:
    """The order at that block, or None where it does not exist there yet."""
    try:
        return reader.order(order_id, at)
    except InputError as error:
        if error.code == "chain.not-found":
            return None
        raise


def wrong_state(order: Order, *wanted: OrderState) -> InputError:
    """The refusal of a verb in the wrong state."""
    names = " or ".join(state.name.lower() for state in wanted)
    return InputError(
        "trade.state",
        f"the order is {order.state.name.lower()}, not {names}",
        hint=f"asset-bridge status 0x{order.order_id.hex()}",
    )


def require_role(desk: Desk, order: Order, role: str) -> None:
    """Refuse a verb of the other side."""
    if {"provider": order.provider, "consumer": order.consumer}[role] != desk.address:
        raise InputError(
            "trade.role",
            f"this is an order of another {role} than account {desk.address}",
            hint="use the home that holds its account",
        )


def short(value: bytes) -> str:
    """The first bytes of an id, for messages."""
    return f"0x{value.hex()[:8]}…"
