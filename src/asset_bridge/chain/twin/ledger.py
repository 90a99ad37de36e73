"""AssetLedger, as the specification says it (spec/contracts.md §3, §5, §7; protocol §3)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from asset_bridge.chain import ids, packing
from asset_bridge.chain.encoding import encode
from asset_bridge.chain.keys import checksum_address
from asset_bridge.chain.messages import storage_receipt_digest
from asset_bridge.chain.packing import OfferArgs
from asset_bridge.chain.records import ZERO32, ZERO_ADDRESS
from asset_bridge.chain.twin.registry import NodeRegistry
from asset_bridge.chain.twin.world import Contract, Message, World, zero
from asset_bridge.keys.keccak import keccak

LISTED, RETIRED = 1, 2
MAX_PERIOD = 315_360_000
MAX_BODY_LENGTH = 2**48


@dataclass(frozen=True, slots=True)
class AssetState:
    """An asset as the contract stores it: one word."""

    binding: bytes
    state: int
    busy_until: int = 0


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
        self.log("GovernorChanged", governor=governor)
        for token in tokens:
            self._list_token(token, now_at)

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

    def _only_owner(self, provider: str, actor: str) -> None:
        self.check(actor == self.owner_of(provider), "not the owner")

    def set_profile(
        self, message: Message, provider: str, profile: bytes, payee: str, recovery: str, authority: bytes
    ) -> None:
        """The first call sets all; later ones repeat payee and recovery."""
        actor = self.authorised(message, authority, "SetProfile", provider, profile, payee, recovery)
        self._only_owner(provider, actor)
        self.check(payee != ZERO_ADDRESS, "payee is zero")
        account = self._account(provider)
        if account is None:
            self.table("accounts")[provider] = AccountState(provider, payee, recovery)
        else:
            self.check(account.payee == payee, "payee changes by propose_change")
            self.check(account.recovery == recovery, "recovery changes by propose_change")
        self.log("ProfileSet", provider=provider, profile=profile, payee=payee, recovery=recovery)

    def _owner_or_recovery(self, provider: str, actor: str) -> None:
        account = self._account(provider)
        recovery = account.recovery if account else ZERO_ADDRESS
        allowed = actor != ZERO_ADDRESS and actor in (self.owner_of(provider), recovery)
        self.check(allowed, "not owner or recovery account")

    def propose_change(
        self, message: Message, provider: str, owner: str, payee: str, recovery: str, authority: bytes
    ) -> None:
        """Owner or recovery account; effective after the delay; one at a time."""
        actor = self.authorised(message, authority, "ProposeChange", provider, owner, payee, recovery)
        self._owner_or_recovery(provider, actor)
        self.check(ZERO_ADDRESS not in (owner, payee), "zero address")
        account = self._account(provider)
        if account is None:
            self.fail("no profile")
        self.check(zero(account.change_hash), "a change waits")
        at = message.now_at + self.view_change_seconds()
        self.table("accounts")[provider] = replace(
            account, change_hash=packing.change_hash(owner, payee, recovery), change_at=at
        )
        self.log("ChangeProposed", provider=provider, owner=owner, payee=payee, recovery=recovery, change_at=at)

    def cancel_change(self, message: Message, provider: str, authority: bytes) -> None:
        """Owner or recovery account."""
        actor = self.authorised(message, authority, "CancelChange", provider)
        self._owner_or_recovery(provider, actor)
        account = self._account(provider)
        if account is None or zero(account.change_hash):
            self.fail("no change waits")
        self.table("accounts")[provider] = replace(account, change_hash=ZERO32)
        self.log("ChangeCancelled", provider=provider)

    def apply_change(self, message: Message, provider: str, owner: str, payee: str, recovery: str) -> None:
        """Anyone, after the delay."""
        account = self._account(provider)
        if account is None or account.change_hash != packing.change_hash(owner, payee, recovery):
            self.fail("not the change that waits")
        self.check(message.now_at >= account.change_at, "change is too early")
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
        authority: bytes,
    ) -> bytes:
        """A new asset."""
        price, token, terms, periods = offer_terms
        self.check((len(header), len(capsule), len(keys)) == (128, 98, 229) and len(package) >= 1, "wrong length")
        self.check(0 < body_length <= MAX_BODY_LENGTH, "body length is out of range")
        pk_a, w, signer, y = keys[:33], keys[33:66], keys[164:197], keys[197:229]
        light, nodes = self._storage(message, storage, body_digest, body_length)
        # the contract compares parity only: a signer that is no point of the curve signs nothing that it would accept
        self.check(signer[0] == 2 + (y[31] & 1), "signer's y does not match")
        signer_address = checksum_address(keccak(signer[1:] + y)[12:])
        commitment = packing.key_commitment(keccak(capsule[:66]), pk_a, signer_address)
        card = packing.card(commitment, keccak(packing.pack_credits(light, nodes)))
        offer = OfferArgs(price, token, terms, periods, card)
        self._check_offer(message, offer)
        asset_id = self._asset_id(
            provider, header, capsule, package, pk_a, w, signer, pq_commit, body_digest, body_length
        )
        values = (asset_id, packing.offer_hash(offer), description, supersedes)
        self._only_owner(provider, self.authorised(message, authority, "List", *values))
        self.check(self._account(provider) is not None, "no profile")
        self.check((provider, keccak(pk_a)) not in self.table("commitments"), "delegating key is used")
        self.table("commitments")[provider, keccak(pk_a)] = commitment
        self.table("assets")[asset_id] = AssetState(packing.binding(provider, packing.offer_hash(offer)), LISTED)
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
        return asset_id

    def list_with_body(self, message: Message, *args: Any) -> bytes:
        """A new asset whose body the chain keeps; arguments as of `list_asset`, the body before the authority."""
        (*listing, body, authority), body_digest, body_length = args, args[6], args[7]
        good = len(body) == body_length and hashlib.sha256(body).digest() == body_digest
        self.check(good, "body does not match")
        asset_id = self.list_asset(message, *[*listing, authority])
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
        self.check(len(storage) >= 112 + 64 and (len(storage) - 112) % 32 == 0, "too few replicas")
        receipt = packing.unpack_storage(storage, body_digest, body_length)
        nodes = receipt.storage_node_ids
        self.check(all(a < b for a, b in pairwise((ZERO32, *nodes))), "storage nodes are not ascending")
        key = self.registry.light_key(message, receipt.light_node_id, receipt.epoch)
        digest = storage_receipt_digest(self.domain, receipt)
        self.check(self.signed(key, digest, storage[48:112]), "receipt is not the light node's")
        return receipt.light_node_id, nodes

    def _check_offer(self, message: Message, offer: OfferArgs) -> None:
        self.check(offer.periods >> 192 == 0, "malformed periods")
        for shift in range(0, 192, 32):
            period, least = (word >> shift & 0xFFFFFFFF for word in (offer.periods, self.view_minimum_periods()))
            self.check(period >= least, "period is too short")
            self.check(period <= MAX_PERIOD, "period is too long")
        self._check_token(message, offer.token)

    def _check_token(self, message: Message, token: str) -> None:
        active_at = self.view_token_active_at(token)
        self.check(token == ZERO_ADDRESS or 0 < active_at <= message.now_at, "token is not allowed")

    def _listed(self, asset_id: bytes, provider: str, offer_hash: bytes) -> AssetState:
        asset = self.table("assets").get(asset_id)
        if not isinstance(asset, AssetState) or asset.state != LISTED:
            self.fail("not listed")
        self.check(asset.binding == packing.binding(provider, offer_hash), "not the present offer")
        return asset

    def set_offer(
        self, message: Message, asset_id: bytes, provider: str, old: OfferArgs, new: OfferArgs, authority: bytes
    ) -> None:
        """Another offer for future requests; same card."""
        old, new = OfferArgs(*old), OfferArgs(*new)
        actor = self.authorised(message, authority, "SetOffer", asset_id, packing.offer_hash(new))
        self._only_owner(provider, actor)
        asset = self._listed(asset_id, provider, packing.offer_hash(old))
        self.check(old.card == new.card, "card cannot change")
        self._check_offer(message, new)
        self.table("assets")[asset_id] = replace(asset, binding=packing.binding(provider, packing.offer_hash(new)))
        self.log("OfferSet", asset_id=asset_id, offer=new)

    def retire(self, message: Message, asset_id: bytes, provider: str, offer_hash: bytes, authority: bytes) -> None:
        """No new requests, after busy_until."""
        self._only_owner(provider, self.authorised(message, authority, "Retire", asset_id))
        asset = self._listed(asset_id, provider, offer_hash)
        self.check(message.now_at >= asset.busy_until, "asset is busy")
        self.table("assets")[asset_id] = replace(asset, state=RETIRED)
        self.log("Retired", asset_id=asset_id)

    # ── what Exchanges ask ──
    def quote(self, message: Message, asset_id: bytes, provider: str, offer_hash: bytes, token: str) -> bool:
        """Reverts unless `asset_id` of `provider` can be requested at this offer through the calling Exchange."""
        self.only_exchange(message)
        self.check(message.sender not in self.table("closed"), "exchange is closed")
        self._listed(asset_id, provider, offer_hash)
        self._check_token(message, token)
        return True

    def hold(self, message: Message, asset_id: bytes, until: int) -> None:
        """A listed Exchange binds the asset."""
        self.only_exchange(message)
        asset = self.table("assets")[asset_id]
        self.table("assets")[asset_id] = replace(asset, busy_until=max(asset.busy_until, until))

    # ── lists ──
    def list_token(self, message: Message, token: str) -> None:
        """Governor; after the delay."""
        self.governed(message)
        self._list_token(token, self.addition_at(message))

    def _list_token(self, token: str, active_at: int) -> None:
        self.check(token != ZERO_ADDRESS and self.view_token_active_at(token) == 0, "token is zero or listed")
        self.table("tokens")[token] = active_at
        self.log("TokenListed", token=token, active_at=active_at)

    def remove_token(self, message: Message, token: str) -> None:
        """Governor; at once, for future requests."""
        self.governed(message)
        self.table("tokens").pop(token, 0)
        self.log("TokenRemoved", token=token)

    def close_exchange(self, message: Message, exchange: str) -> None:
        """Governor; stops new requests, nothing else."""
        self.governed(message)
        self.check(exchange in self.table("exchanges"), "not a listed exchange", "governor")
        self.table("closed")[exchange] = True
        self.log("ExchangeClosed", exchange=exchange)

    # ── views ──
    def view_asset(self, asset_id: bytes) -> tuple[bytes, int, int]:
        """View; zeros for an unknown asset."""
        asset = self.table("assets").get(asset_id)
        return (asset.binding, asset.state, asset.busy_until) if isinstance(asset, AssetState) else (ZERO32, 0, 0)

    def view_key_commitment(self, provider: str, keccak_pk_a: bytes) -> bytes:
        """View."""
        return bytes(self.table("commitments").get((provider, keccak_pk_a), ZERO32))

    def view_account(self, provider: str) -> tuple[str, str, str, bytes, int]:
        """View; payee zero before the first profile."""
        account = self._account(provider)
        if account is None:
            return provider, ZERO_ADDRESS, ZERO_ADDRESS, ZERO32, 0
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
