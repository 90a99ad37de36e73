"""The reader of the contracts: one block, the events up to it, and the contracts' own words at it, compared.

Source: spec/chain.md §3. One class for every chain: a `Source` gives blocks, events and view answers (web3 adapter, twin).
Promises: every record was checked: ids recompute, offers, cards, tables and deliveries are those that the contract commits to;
all of a record is read at one block hash; at `At.FINAL` all endpoints gave the same answers.
Does not promise: that a listing of records is complete when a single endpoint withholds whole records.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, Protocol

from asset_bridge.chain import ids, packing
from asset_bridge.chain.abi import Event
from asset_bridge.chain.evidence_lists import EvidenceReader
from asset_bridge.chain.exchanges import ExchangeReader
from asset_bridge.chain.fold import ORDER_EVENTS, OrderFacts, fold_order
from asset_bridge.chain.messages import Domain
from asset_bridge.chain.network import Deployment
from asset_bridge.chain.order_record import order_record
from asset_bridge.chain.packing import EpochArgs, OfferArgs
from asset_bridge.chain.records import (
    ZERO32,
    ZERO_ADDRESS,
    AccountChange,
    Asset,
    At,
    BlockRef,
    Challenge,
    FetchSignature,
    Listing,
    Node,
    NodeKind,
    Order,
    OrderState,
    Periods,
    Profile,
    ProviderAccount,
    RequestTerms,
)
from asset_bridge.chain.tokens import TokenReader
from asset_bridge.errors import InputError, TamperedError

Call = tuple[str, str, tuple[object, ...]]
"""(contract, view, arguments)"""
ASSET_EVENTS = frozenset({"Listed", "BodySaved", "OfferSet", "Retired"})
NODE_EVENTS = frozenset({"NodeRegistered", "EpochStarted"})


class Source(Protocol):
    """What a chain must offer to be read."""

    deployment: Deployment

    def block(self, at: At = At.HEAD) -> BlockRef: ...
    def find(self, names: Iterable[str], block: BlockRef, **fields: object) -> list[Event]:
        """Events of these names up to and including `block`, in chain order, whose arguments equal `fields`."""
        ...

    def calls(self, calls: Sequence[Call], block: BlockRef, at: At) -> list[Any]:
        """The views' answers at exactly this block; at FINAL every endpoint must give the same."""
        ...

    def token_answers(self, token: str, calls: Sequence[bytes], block: BlockRef, at: At) -> list[bytes | None]:
        """What a token, no contract of ours, answers to each call at this block; None where it reverts."""
        ...

    def lying(self, what: str) -> TamperedError: ...
    def coins_wei(self, account: str) -> int: ...
    def code(self, account: str, at: At = At.HEAD) -> bytes:
        """The code of the contract that is there now, empty where there is none; at FINAL every endpoint must give the same."""
        ...

    def base_fee_wei(self) -> int:
        """The newest block's."""
        ...


def not_found(what: str, digest: bytes) -> InputError:
    """There is no such record at the block that was read."""
    return InputError(
        "chain.not-found",
        f"The chain has no {what} 0x{digest.hex()}.",
        hint="check the id; a transaction sent just now may need a few more blocks",
    )


class Reader(TokenReader, ExchangeReader, EvidenceReader):
    """A ChainReader over any Source."""

    source: Source

    def __init__(self, source: Source) -> None:
        self.source = source
        deployment = source.deployment
        self.exchange_domain = Domain(deployment.chain_id, deployment.exchange)
        self.ledger_domain = Domain(deployment.chain_id, deployment.ledger)
        self.grants_domain = Domain(deployment.chain_id, deployment.grants)
        self.registry_domain = Domain(deployment.chain_id, deployment.registry)
        self._constants: dict[str, Any] = {}

    @property
    def deployment(self) -> Deployment:
        """The network's facts."""
        return self.source.deployment

    @property
    def chain_id(self) -> int:
        """The chain's id."""
        return self.deployment.chain_id

    @property
    def exchange(self) -> str:
        """Address of the Exchange."""
        return self.deployment.exchange

    @property
    def ledger(self) -> str:
        """Address of the AssetLedger."""
        return self.deployment.ledger

    @property
    def registry(self) -> str:
        """Address of the NodeRegistry."""
        return self.deployment.registry

    @property
    def is_development(self) -> bool:
        """Whether the chain id is a development chain's."""
        return self.deployment.is_development

    def block(self, at: At = At.HEAD) -> BlockRef:
        """The newest block, or the newest final one."""
        return self.source.block(at)

    # ── assets ──
    def asset(self, asset_id: bytes, at: At = At.HEAD) -> Asset:
        """One asset. Raises InputError(chain.not-found), TamperedError(chain.lying-endpoint)."""
        block = self.block(at)
        return self._assets([asset_id], block, at)[0]

    def assets(self, *, provider: str | None = None, at: At = At.HEAD) -> list[Asset]:
        """Every asset, or those of a provider, oldest first."""
        block = self.block(at)
        fields = {} if provider is None else {"provider": provider}
        return self._assets([e.args["asset_id"] for e in self.source.find({"Listed"}, block, **fields)], block, at)

    def _assets(self, asset_ids: Sequence[bytes], block: BlockRef, at: At) -> list[Asset]:
        answers = self.source.calls([("AssetLedger", "asset", (a,)) for a in asset_ids], block, at)
        return [self._asset(a, answer, block) for a, answer in zip(asset_ids, answers, strict=True)]

    def _asset(self, asset_id: bytes, answer: tuple[bytes, int, int], block: BlockRef) -> Asset:
        binding, state, busy_until = answer
        events = self.source.find(ASSET_EVENTS, block, asset_id=asset_id)
        if state == 0 and not events:
            raise not_found("asset", asset_id)
        if state == 0 or not events or events[0].name != "Listed":
            raise self.source.lying("an asset's listing and its state contradict each other")
        listed, offer, provider = events[0], events[0].args["offer"], events[0].args["provider"]
        bodies = [e.args["body"] for e in events if e.name == "BodySaved"]
        for event in events:
            offer = event.args["offer"] if event.name == "OfferSet" else offer
        listing = listing_record(listed, bodies[0] if bodies else b"")
        good = (
            ids.asset_id(self.chain_id, self.ledger, provider, listing) == asset_id
            and packing.pack_keys(listing) == listed.args["keys"]
            and packing.binding(provider, packing.offer_hash(offer)) == binding
            and offer.card == listed.args["offer"].card == packing.card_of(packing.key_parts(listing))
            and (
                not bodies
                or (len(bodies[0]), hashlib.sha256(bodies[0]).digest()) == (listing.body_length, listing.body_digest)
            )
            and (state == 2) == any(e.name == "Retired" for e in events)
        )
        if not good:
            raise self.source.lying("an asset's record is not the one that the contract commits to")
        return Asset(asset_id, provider, listing, packing.offer_record(offer), state == 2, busy_until, listed.block)

    # ── profiles ──
    def profile(self, provider: str, at: At = At.HEAD) -> Profile | None:
        """A provider's profile, or None before its first."""
        block = self.block(at)
        events = self.source.find({"ProfileSet"}, block, provider=provider)
        (answer,) = self.source.calls([("AssetLedger", "account", (provider,))], block, at)
        payee = answer[
            1
        ]  # the owner is the account itself until it changes, so only the payee tells whether there is a profile
        if payee == ZERO_ADDRESS and not events:
            return None
        if payee == ZERO_ADDRESS or not events:
            raise self.source.lying("a provider's profile and its account contradict each other")
        return Profile(provider, events[-1].args["profile"], answer[1], answer[2])

    def provider_account(self, provider: str, at: At = At.HEAD) -> ProviderAccount:
        """Owner, payee and recovery account of a provider, and the change that waits; without a profile all is the provider's own."""
        block = self.block(at)
        (answer,) = self.source.calls([("AssetLedger", "account", (provider,))], block, at)
        owner, payee, recovery, waiting, applies_at = answer
        if payee == ZERO_ADDRESS:
            return ProviderAccount(provider, provider, provider, ZERO_ADDRESS, None)
        change = None
        if waiting != ZERO32:
            proposed = self.source.find({"ChangeProposed"}, block, provider=provider)
            last = proposed[-1].args if proposed else {}
            new_owner, new_payee, new_recovery = (
                str(last.get(name, ZERO_ADDRESS)) for name in ("owner", "payee", "recovery")
            )
            if (packing.change_hash(new_owner, new_payee, new_recovery), last.get("change_at")) != (
                waiting,
                applies_at,
            ):
                raise self.source.lying("a change of a provider's account and its events contradict each other")
            change = AccountChange(new_owner, new_payee, new_recovery, int(applies_at))
        return ProviderAccount(provider, owner, payee, recovery, change)

    def owner_of(self, provider: str, at: At = At.HEAD) -> str:
        """Who acts for a provider."""
        (owner,) = self.source.calls([("AssetLedger", "owner_of", (provider,))], self.block(at), at)
        return str(owner)

    # ── orders ──
    def order(self, order_id: bytes, at: At = At.HEAD) -> Order:
        """One order. Raises InputError(chain.not-found), TamperedError(chain.lying-endpoint)."""
        block = self.block(at)
        return self._orders([order_id], block, at)[0][1]

    def orders(
        self,
        *,
        provider: str | None = None,
        consumer: str | None = None,
        asset_id: bytes | None = None,
        at: At = At.HEAD,
    ) -> list[Order]:
        """Every order, or those that fit, oldest first."""
        block = self.block(at)
        given = {"provider": provider, "consumer": consumer, "asset_id": asset_id}
        fields = {name: value for name, value in given.items() if value is not None}
        found = self.source.find({"Requested"}, block, **fields)
        return [order for _, order in self._orders([e.args["order_id"] for e in found], block, at)]

    def facts(self, order_id: bytes, at: At = At.HEAD) -> OrderFacts:
        """The checked preimages of an order; what its verbs must supply."""
        return self._orders([order_id], self.block(at), at)[0][0]

    def challenge_of(self, order_id: bytes) -> Challenge | None:
        """The challenge that an order has or had, or None."""
        (answer,) = self.source.calls([("Challenges", "challenge_of", (order_id,))], self.block(), At.HEAD)
        found = Challenge(*answer)
        return None if found.challenger == ZERO_ADDRESS else found

    def rewards_wei(self, account: str) -> int:
        """What `account` can take out of Challenges: rewards and returned bonds."""
        (amount,) = self.source.calls([("Challenges", "withdrawable", (account,))], self.block(), At.HEAD)
        return int(amount)

    def deposits_wei(self, account: str) -> int:
        """What `account` can collect of stakes that others lost."""
        (amount,) = self.source.calls([("NodeRegistry", "claimable", (account,))], self.block(), At.HEAD)
        return int(amount)

    def recorded_fetch(self, order_id: bytes) -> FetchSignature:
        """The consumer's `Fetch` of the recorded delivery; with it anyone can ask the nodes for the same fragments.

        Raises:
            InputError(chain.not-delivered): no delivery is recorded.
        """
        facts = self.facts(order_id)
        if not facts.delivered:
            raise InputError(
                "chain.not-delivered", "No delivery of this order is recorded.", hint="wait for its record"
            )
        return FetchSignature(facts.delivered[0].generation, facts.fetch)

    def _orders(self, order_ids: Sequence[bytes], block: BlockRef, at: At) -> list[tuple[OrderFacts, Order]]:
        answers = self.source.calls([("Exchange", "order", (o,)) for o in order_ids], block, at)
        return [self._order(o, *answer, block=block) for o, answer in zip(order_ids, answers, strict=True)]

    def _order(self, order_id: bytes, core: bytes, word: int, *, block: BlockRef) -> tuple[OrderFacts, Order]:
        status = packing.Status.parse(word)
        events = self.source.find(ORDER_EVENTS, block, order_id=order_id)
        try:
            facts = fold_order(self.exchange_domain, events)
        except TamperedError as error:
            raise self.source.lying(error.message) from None
        if facts is None:
            if status.state == OrderState.NONE:
                raise not_found("order", order_id)
            raise self.source.lying("the events of an order are withheld")
        if facts.core != core:
            raise self.source.lying("an order's events are not those that the contract commits to")
        order = order_record(facts, status)
        if order is None or self.order_id_of(order.consumer, order.terms) != order_id:
            raise self.source.lying("an order's state does not fit its events")
        return facts, order

    # ── nodes ──
    def node(self, node_id: bytes, at: At = At.HEAD) -> Node:
        """One node. Raises InputError(chain.not-found), TamperedError(chain.lying-endpoint)."""
        block = self.block(at)
        return self._nodes([node_id], block, at)[0]

    def nodes(self, kind: NodeKind | None = None, at: At = At.HEAD) -> list[Node]:
        """Every node that was not withdrawn, or those of a kind, oldest first."""
        block = self.block(at)
        fields = {} if kind is None else {"kind": int(kind)}
        gone = {e.args["node_id"] for e in self.source.find({"NodeWithdrawn"}, block)}
        found = [e.args["node_id"] for e in self.source.find({"NodeRegistered"}, block, **fields)]
        return self._nodes([n for n in found if n not in gone], block, at)

    def _nodes(self, node_ids: Sequence[bytes], block: BlockRef, at: At) -> list[Node]:
        answers = self.source.calls([("NodeRegistry", "node", (n,)) for n in node_ids], block, at)
        return [self._node(n, answer, block) for n, answer in zip(node_ids, answers, strict=True)]

    def _node(self, node_id: bytes, answer: tuple[Any, ...], block: BlockRef) -> Node:
        operator, kind, number, key, vendor, measurement, expires_at, busy_until, stake, _, live = answer
        events = self.source.find(NODE_EVENTS, block, node_id=node_id)
        if operator == ZERO_ADDRESS and not events:
            raise not_found("node", node_id)
        started = [e.args for e in events if e.name == "EpochStarted"]
        if operator == ZERO_ADDRESS or not started or events[0].name != "NodeRegistered":
            raise self.source.lying("a node's registration and its state contradict each other")
        try:
            by_number = {a["epoch"]: packing.epoch_record(a["epoch"], epoch_args(a)) for a in started}
            epochs = tuple(by_number.values())
            node_kind = NodeKind(kind)
        except (TamperedError, ValueError):
            raise self.source.lying("a node of an unknown kind or vendor") from None
        now = epochs[-1]
        good = (
            ids.node_id(operator, events[0].args["salt"]) == node_id
            and events[0].args["kind"] == kind
            and [e.epoch for e in epochs] == list(range(1, number + 1))
            and (now.signing_address, int(now.vendor), now.measurement_id) == (key, vendor, measurement)
            and expires_at in (now.expires_at, 0)  # zero ends a node that was withdrawn or slashed
        )
        if not good:
            raise self.source.lying("a node's epochs are not those that the contract holds")
        last = started[-1]
        return Node(
            node_id,
            node_kind,
            operator,
            last["endpoint"],
            last["endpoint_length"],
            replace(now, expires_at=expires_at),
            epochs,
            live,
            stake,
            busy_until,
        )

    # ── money, constants, ids ──
    def coins_wei(self, account: str) -> int:
        """The account's own native coins."""
        return self.source.coins_wei(account)

    def balance_wei(self, account: str, token: str = ZERO_ADDRESS) -> int:
        """What `account` can claim from the Exchange."""
        return self.credit_wei(packing.address_account(account), token)

    def credit_wei(self, account: bytes, token: str = ZERO_ADDRESS) -> int:
        """What a bytes32 account (address or node_id) can claim."""
        block = self.block()
        (amount,) = self.source.calls([("Exchange", "balance_of", (token, account))], block, At.HEAD)
        return int(amount)

    def _constant(self, contract: str, name: str) -> Any:
        if name not in self._constants:
            (self._constants[name],) = self.source.calls([(contract, name, ())], self.block(), At.HEAD)
        return self._constants[name]

    def minimum_periods(self) -> Periods:
        """The shortest periods that a listing may name."""
        return packing.unpack_periods(self._constant("AssetLedger", "minimum_periods"))

    def margin_seconds(self) -> int:
        """No release within this time before the delivery deadline."""
        return int(self._constant("Exchange", "margin_seconds"))

    def grace_seconds(self) -> int:
        """Time for receipts after the deadline."""
        return int(self._constant("Exchange", "grace_seconds"))

    def minimum_stake_wei(self) -> int:
        """What a node must put up."""
        return int(self._constant("NodeRegistry", "minimum_stake"))

    def asset_id_of(self, provider: str, listing: Listing) -> bytes:
        """The id that `listing` will have."""
        return ids.asset_id(self.chain_id, self.ledger, provider, listing)

    def order_id_of(self, consumer: str, terms: RequestTerms) -> bytes:
        """The id that `terms` will have."""
        return ids.order_id(self.chain_id, self.exchange, consumer, terms)


def epoch_args(args: Any) -> EpochArgs:
    """The Epoch struct in an EpochStarted event."""
    return EpochArgs(*(args[name] for name in EpochArgs._fields))


def listing_record(event: Event, body: bytes) -> Listing:
    """The Listing that a `Listed` event carries.

    Raises:
        TamperedError(chain.malformed): its packed fields do not parse.
    """
    args, keys, offer = event.args, event.args["keys"], event.args["offer"]
    if len(keys) != 229 or not isinstance(offer, OfferArgs):
        raise packing.malformed("the keys of a listing")
    return Listing(
        args["header"],
        args["capsule"],
        args["package"],
        keys[:33],
        keys[164:197],
        keys[33:66],
        keys[66:164],
        args["pq_commit"],
        args["body_digest"],
        args["body_length"],
        args["description"],
        packing.offer_record(offer),
        args["supersedes"],
        packing.unpack_storage(args["storage"], args["body_digest"], args["body_length"]),
        body,
    )
