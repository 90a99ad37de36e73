"""From a signed verb to the call that carries it: what it does not carry is read from the chain, at the head.

Source: spec/signed-verb.md §3. Promises: all arguments of the call but the authority. Does not promise: that the signature
covers them (submitting.py checks it), nor that the contract takes them; only the chain can say that.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from asset_bridge.chain import packing
from asset_bridge.chain.fold import OrderFacts
from asset_bridge.chain.reader import Reader
from asset_bridge.chain.records import ZERO32, ZERO_ADDRESS, Asset, OrderState
from asset_bridge.chain.signing.forms import FORMS, Form, SignedVerb


def arguments_for(reader: Reader, signed: SignedVerb) -> tuple[Form, dict[str, Any]]:
    """The form to send and all its arguments by name.

    An acceptance that was signed while its order was paid is sent as `settle` once somebody has recorded the delivery.
    """
    form, arguments = signed.form, dict(signed.arguments)
    order_id, recording = signed.order_id, form.function == "accept_receipts"
    if recording and order_id is not None and reader.order(order_id).state is OrderState.DELIVERED:
        form = FORMS["Exchange", "settle"]
        arguments = {"order_id": order_id, "claim_for": ZERO32}
    facts = reader.facts(order_id) if order_id is not None else None
    asset = reader.asset(arguments["asset_id"]) if "asset_id" in arguments and "*provider" in form.names else None
    for name in form.names:
        if name.startswith("*"):
            arguments[name[1:]] = _read(reader, name[1:], facts, asset, arguments)
    if form.function == "regenerate":
        assert facts is not None
        arguments["generation"] = next_generation(facts)  # signed, and not said in the call: the contract counts
    return form, arguments


def next_generation(facts: OrderFacts) -> int:
    """Which generation new shares of an order would be."""
    return (facts.table.generation if facts.table else 0) + 1


def value_of(form: Form, arguments: dict[str, Any], bond_wei: Callable[[bytes], int]) -> int:
    """Coins that whoever submits sends along: the price of an order in coins, the bond of a challenge."""
    if form.function == "challenge":
        return bond_wei(arguments["order_id"])
    if form.function == "pay" and arguments["terms"].token == ZERO_ADDRESS:
        return int(arguments["terms"].price)
    return 0


def _read(
    reader: Reader, name: str, facts: OrderFacts | None, asset: Asset | None, arguments: dict[str, Any]
) -> object:
    if asset is not None:
        offer = packing.offer_args(asset.offer, packing.card_of(packing.key_parts(asset.listing)))
        return {"provider": asset.provider, "old": offer, "offer_hash": packing.offer_hash(offer)}[name]
    assert facts is not None
    if name in ("parts", "key_commitment", "credits"):
        listing = reader.asset(facts.terms.asset_id).listing
        parts, receipt = packing.key_parts(listing), listing.receipt
        if name == "parts":
            return parts
        if name == "credits":
            return packing.pack_credits(receipt.light_node_id, receipt.storage_node_ids)
        return packing.key_commitment(parts.points, listing.pk_a, parts.signer)
    table = facts.table.pack() if facts.table else b""
    if name == "current_table":
        return ZERO32 if arguments["table"] == table else facts.table_hash
    return table if name == "table" else getattr(facts, name)
