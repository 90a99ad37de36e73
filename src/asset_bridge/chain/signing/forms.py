"""Which calls an account can sign in place of sending them, and what the signature of each covers.

Source: spec/contracts.md §2 (verbs, authority) and spec/signed-verb.md §2. Pure. A name with `*` in front is read from the chain
by whoever submits: what was signed stays valid while the order moves on as far as its contract allows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from asset_bridge.chain import ids, packing
from asset_bridge.chain.keys import address_bytes
from asset_bridge.chain.messages import Domain
from asset_bridge.chain.network import Deployment
from asset_bridge.chain.packing import OfferArgs, TermsArgs, uint
from asset_bridge.chain.records import Listing, RequestTerms
from asset_bridge.keys.keccak import keccak

FIRST_GENERATION = 1
AUTHORITY = "authority"
Arguments = Mapping[str, Any]
Values = Callable[[Arguments, Deployment, str], tuple[object, ...]]
"""The fields of a message, from all arguments of the call, the network and the account."""


@dataclass(frozen=True, slots=True)
class Form:
    """A call that can be signed: its EIP-712 type, its arguments (`authority` where it stands), and the event that shows it done."""

    message: str
    contract: str
    function: str
    names: tuple[str, ...]
    event: str
    values: Values

    @property
    def carried(self) -> tuple[str, ...]:
        """The arguments that a document carries."""
        return tuple(name for name in self.names if not name.startswith("*") and name != AUTHORITY)


@dataclass(frozen=True, slots=True)
class SignedVerb:
    """A signed verb: `arguments` are the carried ones. Public throughout; it lets anyone make this act happen, once, until `deadline`."""

    chain_id: int
    contract: str
    form: Form
    arguments: Arguments
    account: str
    nonce: bytes
    deadline: int
    signature: bytes

    @property
    def authority(self) -> bytes:
        """The argument of the call that says who acts."""
        return address_bytes(self.account) + self.nonce + uint(self.deadline, 8) + self.signature

    @property
    def new_order_id(self) -> bytes | None:
        """The id that a request will have."""
        if self.form.message != "Request":
            return None
        return _request_id(self.arguments, self.chain_id, self.contract, self.account)

    @property
    def order_id(self) -> bytes | None:
        """The order that exists already and that this is about."""
        found = self.arguments.get("order_id")
        return found if isinstance(found, bytes) else None


def digest_of(
    form: Form, deployment: Deployment, account: str, arguments: Arguments, nonce: bytes, deadline: int
) -> bytes:
    """What the account signs; `arguments` are all of them, by name without `*`."""
    values = form.values(arguments, deployment, account)
    domain = Domain(deployment.chain_id, deployment.address_of(form.contract))
    return domain.digest(form.message, *values, int.from_bytes(nonce, "big"), deadline)


def _fields(*names: str) -> Values:
    return _plain(lambda a: tuple(a[name] for name in names))


def _plain(values: Callable[[Arguments], tuple[object, ...]]) -> Values:
    return lambda arguments, _deployment, _account: values(arguments)


def _request(a: Arguments, deployment: Deployment, account: str) -> tuple[object, ...]:
    offer, order_id = OfferArgs(*a["offer"]), _request_id(a, deployment.chain_id, deployment.exchange, account)
    return order_id, a["fetch_signer"], offer.periods, offer.card, a["form_length"]


def _request_id(a: Arguments, chain_id: int, exchange: str, account: str) -> bytes:
    pk_b = bytes([a["pk_b_sign"]]) + a["pk_b_x"]
    record, nonce = packing.offer_record(OfferArgs(*a["offer"])), a["order_nonce"]
    terms = RequestTerms(
        a["asset_id"], pk_b, a["hybrid_key"], a["form"], a["form_length"], record, nonce, a["fetch_signer"]
    )
    return ids.order_id(chain_id, exchange, account, terms)


def _pay(a: Arguments) -> tuple[object, ...]:
    terms = TermsArgs(*a["terms"])
    return a["order_id"], terms.token, terms.price, keccak(terms.pk_b + a["table"])


def _approve(a: Arguments) -> tuple[object, ...]:
    fields = ("threshold", "precursor", "shares", "sealed_shares", "sealed_kpq", "reply", "reply_length")
    return (a["order_id"], FIRST_GENERATION, *(a[name] for name in fields))


def _reseal(a: Arguments) -> tuple[object, ...]:
    table = keccak(TermsArgs(*a["terms"]).pk_b + a["table"])
    return a["order_id"], table, a["slot"], a["replacement"], a["sealed_share"]


def _list(a: Arguments, deployment: Deployment, _account: str) -> tuple[object, ...]:
    price, token, terms, periods = a["offer"]
    keys, receipt = a["keys"], packing.unpack_storage(a["storage"], a["body_digest"], a["body_length"])
    offer = OfferArgs(price, token, terms, periods, b"")
    listing = Listing(
        *(a["header"], a["capsule"], a["package"], keys[:33], keys[164:197], keys[33:66], keys[66:164]),
        *(a["pq_commit"], a["body_digest"], a["body_length"], a["description"], packing.offer_record(offer)),
        *(a["supersedes"], receipt),
    )
    asset_id = ids.asset_id(deployment.chain_id, deployment.ledger, a["provider"], listing)
    offer = offer._replace(card=packing.card_of(packing.key_parts(listing)))
    return asset_id, packing.offer_hash(offer), a["description"], a["supersedes"]


def _set_offer(a: Arguments) -> tuple[object, ...]:
    return a["asset_id"], packing.offer_hash(OfferArgs(*a["new"]))


def _places(names: str) -> tuple[str, ...]:
    """Arguments in their order; the authority is the last where its place is not said."""
    found = tuple(names.split())
    return found if AUTHORITY in found else (*found, AUTHORITY)


_LISTING = "provider header capsule package keys pq_commit body_digest body_length description offer supersedes storage"
_TABLE = (
    (
        "Request",
        "Exchange",
        "request",
        "asset_id provider offer fetch_signer pk_b_sign pk_b_x hybrid_key form form_length order_nonce",
        "Requested",
        _request,
    ),
    ("Cancel", "Exchange", "cancel", "order_id *terms *card *table_hash", "Cancelled", _fields("order_id")),
    ("Pay", "Exchange", "pay", "order_id *terms *card *table accepts permit", "Paid", _plain(_pay)),
    (
        "AcceptDelivery",
        "Exchange",
        "accept_receipts",
        "order_id *terms *key_commitment *credits table *current_table *progress fetch receipts old_rows recorder",
        "Settled",
        _fields("order_id"),
    ),
    (
        "AcceptDelivery",
        "Exchange",
        "settle",
        "order_id *terms *key_commitment *credits *table_hash *progress claim_for",
        "Settled",
        _fields("order_id"),
    ),
    ("Claim", "Exchange", "claim", "token account", "Claimed", _fields("account", "token")),
    (
        "Approve",
        "Grants",
        "approve",
        "order_id *terms *parts threshold precursor shares sealed_shares sealed_kpq reply reply_length",
        "Approved",
        _plain(_approve),
    ),
    (
        "Deny",
        "Grants",
        "deny",
        "order_id *terms *card reply reply_length",
        "Denied",
        _fields("order_id", "reply", "reply_length"),
    ),
    ("Revoke", "Grants", "revoke", "order_id *terms *card *table_hash *progress_hash", "Revoked", _fields("order_id")),
    (
        "Reseal",
        "Grants",
        "reseal",
        "order_id *terms *card *table *progress slot replacement sealed_share accept",
        "Resealed",
        _plain(_reseal),
    ),
    (
        "Regenerate",
        "Grants",
        "regenerate",
        "order_id *terms *parts *table_hash *progress threshold precursor shares sealed_shares accepts authority consent",
        "Regenerated",
        _fields("order_id", "generation", "threshold", "precursor", "shares", "sealed_shares"),
    ),
    (
        "Challenge",
        "Challenges",
        "challenge",
        "order_id *terms *card *table *progress_hash",
        "Challenged",
        _fields("order_id"),
    ),
    (
        "SetProfile",
        "AssetLedger",
        "set_profile",
        "provider profile payee recovery",
        "ProfileSet",
        _fields("provider", "profile", "payee", "recovery"),
    ),
    (
        "ProposeChange",
        "AssetLedger",
        "propose_change",
        "provider owner payee recovery",
        "ChangeProposed",
        _fields("provider", "owner", "payee", "recovery"),
    ),
    ("CancelChange", "AssetLedger", "cancel_change", "provider", "ChangeCancelled", _fields("provider")),
    ("List", "AssetLedger", "list_asset", _LISTING, "Listed", _list),
    ("List", "AssetLedger", "list_with_body", f"{_LISTING} body", "Listed", _list),
    ("SetOffer", "AssetLedger", "set_offer", "asset_id *provider *old new", "OfferSet", _plain(_set_offer)),
    ("Retire", "AssetLedger", "retire", "asset_id *provider *offer_hash", "Retired", _fields("asset_id")),
)
FORMS = {
    (contract, function): Form(message, contract, function, _places(names), event, values)
    for message, contract, function, names, event, values in _TABLE
}
