"""Our ids and digests are the golden ones, which third-party code computed; signatures are canonical or refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from asset_bridge.chain import ids, messages
from asset_bridge.chain.keys import AccountKey, address_bytes, checksum_address
from asset_bridge.chain.messages import Domain, from_compact, recover, to_compact
from asset_bridge.chain.records import ZERO32, ZERO_ADDRESS, Listing, Offer, Periods, RequestTerms, StorageReceipt
from asset_bridge.errors import DefectError, InputError, TamperedError

VECTORS = Path(__file__).resolve().parents[3] / "spec" / "vectors" / "contracts"
MESSAGES: list[dict[str, Any]] = json.loads((VECTORS / "messages.json").read_text())
IDS: dict[str, Any] = json.loads((VECTORS / "ids.json").read_text())
KEY = AccountKey(bytes(range(1, 33)))
NO_PERIODS = Periods(1, 1, 1, 1, 1, 1)


def raw(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))


def value(kind: str, given: Any) -> object:
    """A golden value as the product takes it."""
    if kind == "address":
        return checksum_address(raw(given))
    if kind.startswith("uint"):
        return int(given)
    if kind.endswith("[]"):
        return tuple(raw(item) for item in given)
    return raw(given)


@pytest.mark.parametrize("case", MESSAGES, ids=lambda case: str(case["type"]).split("(")[0])
def test_digests_are_the_golden_ones(case: dict[str, Any]) -> None:
    name, _, rest = case["type"].partition("(")
    kinds = [field.split(" ")[0] for field in rest[:-1].split(",")]
    values = [value(kind, given) for kind, given in zip(kinds, case["values"].values(), strict=True)]
    domain = Domain(case["chain_id"], checksum_address(raw(case["contract"])))
    assert messages.TYPES[name] == case["type"]
    assert domain.digest(name, *values) == raw(case["digest"])


def test_every_message_has_a_golden_digest() -> None:
    assert {case["type"].split("(")[0] for case in MESSAGES} == set(messages.TYPES)


def listing() -> Listing:
    given = IDS["listing"]
    receipt = StorageReceipt(raw(given["body_digest"]), given["body_length"], (), 0, ZERO32, 0, b"")
    return Listing(
        header=raw(given["header"]),
        capsule=raw(given["capsule"]),
        package=raw(given["package"]),
        pk_a=raw(given["pk_a"]),
        kfrag_signer=raw(given["signer"]),
        w=raw(given["w"]),
        w_proof=b"",
        pq_commit=raw(given["pq_commit"]),
        body_digest=raw(given["body_digest"]),
        body_length=given["body_length"],
        description_digest=ZERO32,
        offer=Offer(0, ZERO_ADDRESS, ZERO32, NO_PERIODS),
        supersedes=ZERO32,
        receipt=receipt,
    )


def test_ids_are_the_golden_ones() -> None:
    contract, chain_id = checksum_address(raw(IDS["contract"])), IDS["chain_id"]
    provider, consumer = (checksum_address(raw(IDS[role])) for role in ("provider", "consumer"))
    assert ids.node_id(checksum_address(raw(IDS["operator"])), raw(IDS["salt"])) == raw(IDS["node_id"])
    asset_id = ids.asset_id(chain_id, contract, provider, listing())
    assert asset_id == raw(IDS["asset_id"])
    given = IDS["request"]
    terms = RequestTerms(
        asset_id=asset_id,
        pk_b=raw(given["pk_b"]),
        hybrid_key_digest=raw(given["hybrid_key"]),
        form_digest=raw(given["form"]),
        form_length=0,
        offer=Offer(int(given["price"]), checksum_address(raw(given["token"])), raw(given["terms"]), NO_PERIODS),
        order_nonce=raw(given["order_nonce"]),
        fetch_signer=consumer,
    )
    assert ids.order_id(chain_id, contract, consumer, terms) == raw(IDS["order_id"])


def test_a_signature_names_its_signer_and_nobody_else() -> None:
    digest = bytes(range(32))
    signature = KEY.sign_digest(digest)
    assert recover(digest, signature) == KEY.address
    assert from_compact(to_compact(signature)) == signature
    assert recover(bytes(32), signature) != KEY.address


def test_other_encodings_of_a_signature_are_refused() -> None:
    digest = bytes(range(32))
    signature = KEY.sign_digest(digest)
    s = int.from_bytes(signature[32:64], "big")
    twin = signature[:32] + (messages.GROUP_ORDER - s).to_bytes(32, "big") + bytes([55 - signature[64]])
    for other in (twin, signature[:64], signature + b"\0", signature[:64] + b"\0", signature[:64] + b"\x1d", bytes(65)):
        with pytest.raises(TamperedError) as caught:
            recover(digest, other)
        assert caught.value.code == "chain.signature"


def test_values_that_do_not_fit_their_field_are_a_defect() -> None:
    domain = Domain(31337, KEY.address)
    for values in ((bytes(31), 1), (bytes(32), 1 << 32), (bytes(32), -1), (bytes(32), b"1")):
        with pytest.raises(DefectError):
            domain.digest("Fetch", *values)


def test_an_account_key_shows_nothing_of_itself() -> None:
    shown = f"{KEY!r} {KEY} {vars(KEY) if hasattr(KEY, '__dict__') else ''}"
    assert bytes(range(1, 33)).hex() not in shown
    for secret in (bytes(32), b"\xff" * 32, bytes(31)):
        with pytest.raises(InputError) as caught:
            AccountKey(secret)
        assert caught.value.code == "chain.account-key"


def test_addresses_are_eip_55() -> None:
    # the four mixed-case examples of EIP-55
    for text in (
        "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
        "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
        "0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB",
        "0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb",
    ):
        assert checksum_address(raw(text)) == text
        assert address_bytes(text) == raw(text)
        with pytest.raises(InputError):
            address_bytes(text.swapcase().replace("0X", "0x"))
