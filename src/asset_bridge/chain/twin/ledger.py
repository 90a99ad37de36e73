"""AssetLedger, as the specification says it (spec/contracts.md §3, §5, §7; protocol §3)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from eth_abi.abi import encode
from eth_hash.auto import keccak

from asset_bridge.chain import ids, packing
from asset_bridge.chain.messages import storage_receipt_digest
from asset_bridge.chain.packing import OfferArgs
from asset_bridge.chain.records import ZERO32, ZERO_ADDRESS
from asset_bridge.chain.twin.registry import NodeRegistry
from asset_bridge.chain.twin.world import Contract, Message, World
from asset_bridge.errors import TamperedError

LISTED, RETIRED = 1, 2
MAX_PERIOD = 315_360_000
MAX_BODY_BYTES = 24_576


@dataclass(frozen=True, slots=True)
class AssetState:
    """An asset as the contract stores it."""

    provider: str
    state: int
    busy_until: int
    offer_hash: bytes


@dataclass(frozen=True, slots=True)
class AccountState:
    """A provider's account; `set_up` once its profile was set."""

    owner: str
    payee: str
    recovery: str
    change_hash: bytes = ZERO32
    change_at: int = 0


class AssetLedger(Contract):
    """The model of contracts/AssetLedger.vy."""

    NAME = "AssetLedger"
    PREFIX = "ledger"

    def __init__(self, world: World, registry: NodeRegistry) -> None:
        super().__init__(world)
        self.registry = registry

    def construct(
        self,
        now_at: int,
        governor: str,
        development: bool,
        delay_seconds: int,
        change_seconds: int,
        minimum_periods: int,
        tokens: Sequence[str],
    ) -> None:
        """The constructor; its first tokens have no delay."""
        self.table("fixed").update(
            governor=governor,
            development=development,
            delay_seconds=delay_seconds,
            change_seconds=change_seconds,
            minimum_periods=minimum_periods,
        )
        for token in tokens:
            self.table("tokens")[token] = now_at
            self.log("TokenListed", token=token, active_at=now_at)

    # ── accounts ──
    def _account(self, provider: str) -> AccountState | None:
        found = self.table("accounts").get(provider)
        return found if isinstance(found, AccountState) else None

    def owner_of(self, provider: str) -> str:
        """Who acts for `provider`: its owner, by default itself."""
        account = self._account(provider)
        return account.owner if account else provider

    def payee_of(self, provider: str) -> str:
        """Where its money goes."""
        account = self._account(provider)
        return account.payee if account else provider

    def set_profile(
        self, message: Message, provider: str, profile: bytes, payee: str, recovery: str, authority: bytes
    ) -> None:
        """The first call sets all; later ones repeat payee and recovery."""
        account = self._account(provider)
        self.require(
            message,
            authority,
            self.owner_of(provider),
            "not the owner",
            "SetProfile",
            provider,
            profile,
            payee,
            recovery,
        )
        self.check(payee != ZERO_ADDRESS, "payee is zero")
        if account is None:
            self.table("accounts")[provider] = AccountState(provider, payee, recovery)
        else:
            self.check((account.payee, account.recovery) == (payee, recovery), "payee or recovery differs")
        self.log("ProfileSet", provider=provider, profile=profile, payee=payee, recovery=recovery)

    @staticmethod
    def _change(owner: str, payee: str, recovery: str) -> bytes:
        return keccak(encode(["address", "address", "address"], [owner, payee, recovery]))

    def _guarded(self, message: Message, provider: str, authority: bytes, kind: str, *values: object) -> AccountState:
        account = self._account(provider)
        if account is None:
            self.fail("no profile")
        actor = self.actor(message, authority)
        self.check(
            actor == account.owner or (actor == account.recovery and actor != ZERO_ADDRESS),
            "not the owner or recovery account",
        )
        self.consume(message, authority, kind, *values)
        return account

    def propose_change(
        self, message: Message, provider: str, owner: str, payee: str, recovery: str, authority: bytes
    ) -> None:
        """Owner or recovery account; effective after the delay."""
        account = self._guarded(message, provider, authority, "ProposeChange", provider, owner, payee, recovery)
        self.check(owner != ZERO_ADDRESS and payee != ZERO_ADDRESS, "owner or payee is zero")
        at = message.now_at + int(self.table("fixed")["change_seconds"])
        self.table("accounts")[provider] = replace(
            account, change_hash=self._change(owner, payee, recovery), change_at=at
        )
        self.log("ChangeProposed", provider=provider, owner=owner, payee=payee, recovery=recovery, change_at=at)

    def cancel_change(self, message: Message, provider: str, authority: bytes) -> None:
        """Owner or recovery account."""
        account = self._guarded(message, provider, authority, "CancelChange", provider)
        self.check(account.change_at != 0, "no change is proposed")
        self.table("accounts")[provider] = replace(account, change_hash=ZERO32, change_at=0)
        self.log("ChangeCancelled", provider=provider)

    def apply_change(self, message: Message, provider: str, owner: str, payee: str, recovery: str) -> None:
        """Anyone, after the delay."""
        account = self._account(provider)
        if account is None or account.change_at == 0:
            self.fail("no change is proposed")
        self.check(account.change_hash == self._change(owner, payee, recovery), "not the proposed change")
        self.check(message.now_at >= account.change_at, "too early")
        self.table("accounts")[provider] = AccountState(owner, payee, recovery)
        self.log("ChangeApplied", provider=provider, owner=owner, payee=payee, recovery=recovery)

    # ── assets ──
    def list_asset(
        self,
        message: Message,
        provider: str,
        header: bytes,
        capsule: bytes,
        package: bytes,
        keys: bytes,
        pq_commit: bytes,
        body_digest: bytes,
        body_length: int,
        description: bytes,
        offer_terms: tuple[int, str, bytes, int],
        supersedes: bytes,
        storage: bytes,
        body: bytes,
        authority: bytes,
    ) -> bytes:
        """A new asset."""
        price, token, terms, periods = offer_terms
        self.check((len(header), len(capsule), len(keys)) == (128, 98, 229) and len(package) >= 1, "lengths")
        pk_a, w, signer, y = keys[:33], keys[33:66], keys[164:197], keys[197:229]
        self.check(_y_fits(signer, y), "signer key")
        receipt = self._storage(message, storage, body_digest, body_length)
        commitment = packing.key_commitment(keccak(capsule[:66]), pk_a, packing.signer_address(signer))
        card = packing.card(commitment, keccak(packing.pack_credits(receipt[0], receipt[1])))
        offer = OfferArgs(price, token, terms, periods, card)
        asset_id = self._asset_id(
            provider, header, capsule, package, pk_a, w, signer, pq_commit, body_digest, body_length
        )
        self.check(self._account(provider) is not None, "no profile")
        self.require(
            message,
            authority,
            self.owner_of(provider),
            "not the owner",
            "List",
            asset_id,
            packing.offer_hash(offer),
            description,
            supersedes,
        )
        self._check_offer(message, offer)
        if body:
            self.check(
                len(body) == body_length and hashlib.sha256(body).digest() == body_digest,
                "body differs from its digest",
            )
        if supersedes != ZERO32:
            older = self.table("assets").get(supersedes)
            self.check(
                isinstance(older, AssetState) and older.provider == provider, "superseded asset is not the provider's"
            )
        self.check((provider, keccak(pk_a)) not in self.table("commitments"), "delegating key is in use")
        self.table("commitments")[provider, keccak(pk_a)] = commitment
        self.table("assets")[asset_id] = AssetState(provider, LISTED, 0, packing.offer_hash(offer))
        self.log(
            "Listed",
            asset_id=asset_id,
            provider=provider,
            header=header,
            capsule=capsule,
            package=package,
            keys=keys,
            pq_commit=pq_commit,
            body_digest=body_digest,
            body_length=body_length,
            description=description,
            offer=offer,
            supersedes=supersedes,
            storage=storage,
        )
        if body:
            self.log("BodySaved", asset_id=asset_id, body=body)
        return asset_id

    def _asset_id(self, provider: str, header: bytes, capsule: bytes, package: bytes, *rest: object) -> bytes:
        pk_a, w, signer, pq_commit, body_digest, body_length = rest
        values = [
            ids.ASSET_LABEL,
            self.world.chain_id,
            self.address,
            provider,
            keccak(header),
            keccak(capsule),
            keccak(package),
        ]
        kinds = [
            "string",
            "uint256",
            "address",
            "address",
            *["bytes32"] * 3,
            *["bytes"] * 3,
            "bytes32",
            "bytes32",
            "uint256",
        ]
        return keccak(encode(kinds, [*values, pk_a, w, signer, pq_commit, body_digest, body_length]))

    def _storage(
        self, message: Message, storage: bytes, body_digest: bytes, body_length: int
    ) -> tuple[bytes, tuple[bytes, ...]]:
        self.check(len(storage) % 32 == 16 and 112 + 64 <= len(storage) <= 112 + 256, "storage receipt")
        receipt = packing.unpack_storage(storage, body_digest, body_length)
        nodes = receipt.storage_node_ids
        self.check(all(a < b for a, b in pairwise(nodes)), "storage nodes not ascending")
        key = self.registry.light_key(message, receipt.light_node_id, receipt.epoch)
        self.check(
            self.signed(key, storage_receipt_digest(self.domain, receipt), storage[48:112]), "storage receipt signature"
        )
        return receipt.light_node_id, nodes

    def _check_offer(self, message: Message, offer: OfferArgs) -> None:
        minimum = packing.unpack_periods(int(self.table("fixed")["minimum_periods"]))
        periods = packing.unpack_periods(offer.periods)
        self.check(offer.periods >> 192 == 0, "periods")
        for name in periods.__slots__:
            self.check(getattr(minimum, name) <= getattr(periods, name) <= MAX_PERIOD, "periods")
        if offer.token != ZERO_ADDRESS:
            active_at = self.table("tokens").get(offer.token, 0)
            self.check(0 < active_at <= message.now_at, "token is not listed")

    def _asset(self, asset_id: bytes) -> AssetState:
        asset = self.table("assets").get(asset_id)
        if not isinstance(asset, AssetState):
            self.fail("unknown asset")
        return asset

    def set_offer(self, message: Message, asset_id: bytes, old: OfferArgs, new: OfferArgs, authority: bytes) -> None:
        """Another offer for future requests; same card."""
        old, new = OfferArgs(*old), OfferArgs(*new)
        asset = self._asset(asset_id)
        owner = self.owner_of(asset.provider)
        self.require(message, authority, owner, "not the owner", "SetOffer", asset_id, packing.offer_hash(new))
        self.check(asset.state == LISTED, "asset is retired")
        self.check(asset.offer_hash == packing.offer_hash(old), "offer differs")
        self.check(old.card == new.card, "card differs")
        self._check_offer(message, new)
        self.table("assets")[asset_id] = replace(asset, offer_hash=packing.offer_hash(new))
        self.log("OfferSet", asset_id=asset_id, offer=new)

    def retire(self, message: Message, asset_id: bytes, authority: bytes) -> None:
        """No new requests, after busy_until."""
        asset = self._asset(asset_id)
        self.require(message, authority, self.owner_of(asset.provider), "not the owner", "Retire", asset_id)
        self.check(asset.state == LISTED, "asset is retired")
        self.check(message.now_at >= asset.busy_until, "asset is busy")
        self.table("assets")[asset_id] = replace(asset, state=RETIRED)
        self.log("Retired", asset_id=asset_id)

    # ── what Exchanges ask ──
    def quote(self, message: Message, asset_id: bytes, offer_hash: bytes, token: str) -> str:
        """The provider, when `asset_id` can be requested at this offer through the calling Exchange."""
        self.check(self.exchange_active(message, message.sender), "not a listed exchange")
        self.check(message.sender not in self.table("closed"), "exchange is closed")
        asset = self._asset(asset_id)
        self.check(asset.state == LISTED, "asset is retired")
        self.check(asset.offer_hash == offer_hash, "offer differs")
        if token != ZERO_ADDRESS:
            self.check(0 < self.table("tokens").get(token, 0) <= message.now_at, "token is not listed")
        return asset.provider

    def hold(self, message: Message, asset_id: bytes, until: int) -> None:
        """A listed Exchange binds the asset."""
        self.check(self.exchange_active(message, message.sender), "not a listed exchange")
        asset = self._asset(asset_id)
        self.table("assets")[asset_id] = replace(asset, busy_until=max(asset.busy_until, until))

    # ── lists ──
    def list_token(self, message: Message, token: str) -> None:
        """Governor; after the delay."""
        self.governed(message)
        self.check(token != ZERO_ADDRESS, "zero address")
        self.check(token not in self.table("tokens"), "token is listed")
        self.table("tokens")[token] = message.now_at + self.view_delay_seconds()
        self.log("TokenListed", token=token, active_at=self.table("tokens")[token])

    def remove_token(self, message: Message, token: str) -> None:
        """Governor; at once, for future requests."""
        self.governed(message)
        self.check(self.table("tokens").pop(token, 0) != 0, "token is not listed")
        self.log("TokenRemoved", token=token)

    def close_exchange(self, message: Message, exchange: str) -> None:
        """Governor; stops new requests, nothing else."""
        self.governed(message)
        self.check(exchange in self.table("exchanges"), "exchange is not listed")
        self.check(exchange not in self.table("closed"), "exchange is closed")
        self.table("closed")[exchange] = True
        self.log("ExchangeClosed", exchange=exchange)

    # ── views ──
    def view_asset(self, asset_id: bytes) -> tuple[str, int, int, bytes]:
        """View; zeros for an unknown asset."""
        asset = self.table("assets").get(asset_id)
        if not isinstance(asset, AssetState):
            return ZERO_ADDRESS, 0, 0, ZERO32
        return asset.provider, asset.state, asset.busy_until, asset.offer_hash

    def view_key_commitment(self, provider: str, keccak_pk_a: bytes) -> bytes:
        """View."""
        return bytes(self.table("commitments").get((provider, keccak_pk_a), ZERO32))

    def view_account(self, provider: str) -> tuple[str, str, str, bytes, int]:
        """View; zeros before the first profile."""
        account = self._account(provider)
        if account is None:
            return ZERO_ADDRESS, ZERO_ADDRESS, ZERO_ADDRESS, ZERO32, 0
        return account.owner, account.payee, account.recovery, account.change_hash, account.change_at

    def view_owner_of(self, provider: str) -> str:
        """View."""
        return self.owner_of(provider)

    def view_payee_of(self, provider: str) -> str:
        """View."""
        return self.payee_of(provider)

    def view_token_active_at(self, token: str) -> int:
        """View."""
        return int(self.table("tokens").get(token, 0))

    def view_exchange_closed(self, exchange: str) -> bool:
        """View."""
        return exchange in self.table("closed")

    def view_minimum_periods(self) -> int:
        """View."""
        return int(self.table("fixed")["minimum_periods"])

    def view_change_seconds(self) -> int:
        """View."""
        return int(self.table("fixed")["change_seconds"])

    def view_registry(self) -> str:
        """View."""
        return self.registry.address


def _y_fits(point: bytes, y: bytes) -> bool:
    try:
        return packing.y_coordinate(point) == y
    except TamperedError:
        return False
