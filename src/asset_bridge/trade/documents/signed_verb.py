"""The document of a signed verb: what a person reads, what a program checks (spec/signed-verb.md).

Promises: one document of each signed verb; every field is either what was signed or follows from it, and one that does not is refused.
Does not promise: that the signature is valid; `submit` asks the chain's facts for that.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from asset_bridge.chain.abi import functions
from asset_bridge.chain.encoding import members
from asset_bridge.chain.interface import STRUCTS
from asset_bridge.chain.keys import address_bytes, checksum_address
from asset_bridge.chain.messages import TYPES
from asset_bridge.chain.packing import SHARE_BYTES
from asset_bridge.chain.signing.forms import FORMS, Form, SignedVerb
from asset_bridge.errors import BridgeError, TamperedError
from asset_bridge.trade.documents.canonical import MAX_DEPTH, nesting

FORMAT = "asset-bridge/signed-verb/1"
MAX_DOCUMENT_BYTES = 256 * 1024
MAX_SIGNATURE_BYTES = 1024
_COMPONENTS = {
    STRUCTS["Offer"]: ("price", "token", "terms", "periods", "card"),
    STRUCTS["OfferTerms"]: ("price", "token", "terms", "periods"),
}
SENTENCES = {
    "Request": "asks for asset {asset_id}, as order {new_order_id}",
    "Cancel": "withdraws order {order_id}",
    "Pay": "pays for order {order_id}",
    "AcceptDelivery": "accepts the delivery of order {order_id}, which settles it",
    "Claim": "takes out what the Exchange owes to account {account} in {token}",
    "Approve": "approves order {order_id}: {threshold} of {count} shares must act together",
    "Deny": "denies order {order_id}",
    "Revoke": "stops serving order {order_id} for good",
    "Reseal": "gives the share of slot {slot} of order {order_id} to a new order key",
    "Regenerate": "replaces all shares of order {order_id}: {threshold} of {count} new shares must act together",
    "Challenge": "challenges order {order_id}: valid fragments are missing",
    "SetProfile": "sets the profile document of provider {provider}",
    "ProposeChange": "proposes owner {owner}, payee {payee}, recovery account {recovery} for provider {provider}",
    "CancelChange": "drops the change of account {provider} that waits",
    "List": "lists an asset with the ciphertext {body_digest}",
    "SetOffer": "changes the offer of asset {asset_id} for future requests",
    "Retire": "retires asset {asset_id}",
}


def says(signed: SignedVerb) -> str:
    """The document in one sentence."""
    a = signed.arguments
    shown = {name: _shown(value) for name, value in a.items()}
    shown["count"] = str(len(a["shares"]) // SHARE_BYTES) if "shares" in a else ""
    shown["new_order_id"] = _shown(signed.new_order_id)
    until = datetime.fromtimestamp(signed.deadline, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    act = SENTENCES[signed.form.message].format(**shown)
    return f"Account {signed.account} {act}. Anyone may submit this once, until {until}."


def _shown(value: object) -> str:
    if isinstance(value, bytes):
        return "0x" + (value[12:] if value[:12] == bytes(12) and len(value) == 32 else value).hex()
    return str(value)


def encode_signed_verb(signed: SignedVerb) -> bytes:
    """The document, indented for people."""
    return (json.dumps(_document(signed), indent=2, ensure_ascii=False) + "\n").encode()


def _document(signed: SignedVerb) -> dict[str, Any]:
    form = signed.form
    return {
        "format": FORMAT,
        "says": says(signed),
        "chain_id": signed.chain_id,
        "contract": signed.contract,
        "contract_name": form.contract,
        "function": form.function,
        "type": TYPES[form.message],
        "arguments": {name: _to_json(kind, signed.arguments[name]) for name, kind in _kinds(form)},
        "account": signed.account,
        "nonce": "0x" + signed.nonce.hex(),
        "deadline": signed.deadline,
        "signature": "0x" + signed.signature.hex(),
    }


def decode_signed_verb(encoded: bytes) -> SignedVerb:
    """The signed verb of a document.

    Raises:
        TamperedError(trade.signed-document): another format or version, not whole, or a field that does not follow from the signed ones.
    """
    if len(encoded) > MAX_DOCUMENT_BYTES or nesting(encoded) > MAX_DEPTH:
        raise _bad("is too long or nested too deeply")
    try:
        value = json.loads(encoded)
    except (ValueError, RecursionError):
        raise _bad("is not JSON") from None
    if not isinstance(value, dict):
        raise _bad("is no JSON object")
    if value.get("format") != FORMAT:
        raise _bad(f"is of the format {str(value.get('format'))[:60]!r}; this release reads {FORMAT}")
    try:
        signed = _signed(value)
        same = _document(signed) == value
    except (KeyError, ValueError, TypeError, AttributeError, OverflowError, BridgeError):
        raise _bad("has missing fields or values of the wrong kind") from None
    if not same:
        raise _bad("has a field that does not follow from what was signed")
    return signed


def _signed(value: dict[str, Any]) -> SignedVerb:
    form = FORMS[value["contract_name"], value["function"]]
    arguments = {name: _from_json(kind, value["arguments"][name]) for name, kind in _kinds(form)}
    signature = _hex(value["signature"])
    if not 0 < len(signature) <= MAX_SIGNATURE_BYTES:
        raise ValueError
    return SignedVerb(
        chain_id=_number(value["chain_id"], 63),
        contract=_address(value["contract"]),
        form=form,
        arguments=arguments,
        account=_address(value["account"]),
        nonce=_hex(value["nonce"], 32),
        deadline=_number(value["deadline"], 37),  # until the year 6325: dates end at 9999
        signature=signature,
    )


def _kinds(form: Form) -> list[tuple[str, str]]:
    inputs = functions()[form.contract, form.function].inputs
    return [(name, kind) for name, kind in zip(form.names, inputs, strict=False) if name in form.carried]


def _to_json(kind: str, value: Any) -> Any:
    if kind in _COMPONENTS:
        return {n: _to_json(k, v) for n, k, v in zip(_COMPONENTS[kind], members(kind), value, strict=True)}
    if kind.startswith("bytes"):
        return "0x" + value.hex()
    return str(value) if kind == "uint256" else value


def _from_json(kind: str, value: Any) -> Any:
    if kind in _COMPONENTS:
        return tuple(_from_json(k, value[n]) for n, k in zip(_COMPONENTS[kind], members(kind), strict=True))
    if kind.startswith("bytes"):
        return _hex(value, int(kind[5:] or 0))
    if kind == "address":
        return _address(value)
    if kind == "uint256":
        if not isinstance(value, str) or not value.isascii() or not value.isdigit():
            raise ValueError
        return _number(int(value), 256)
    return _number(value, int(kind[4:]))


def _hex(value: Any, size: int = 0) -> bytes:
    raw = bytes.fromhex(value.removeprefix("0x"))
    if size and len(raw) != size:
        raise ValueError
    return raw


def _address(value: Any) -> str:
    return checksum_address(address_bytes(value))


def _number(value: Any, bits: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << bits:
        raise ValueError
    return value


def _bad(why: str) -> TamperedError:
    return TamperedError(
        "trade.signed-document",
        f"the document {why}",
        hint="take it as `--sign-only` wrote it, or ask its account for a new one",
    )
