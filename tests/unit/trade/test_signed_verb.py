"""The document of a signed verb: golden files, and every change of one is refused (spec/signed-verb.md §2)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from asset_bridge.chain.interface import FUNCTIONS
from asset_bridge.chain.messages import TYPES, is_signed_by
from asset_bridge.chain.network import CONTRACTS, Deployment
from asset_bridge.chain.signing.forms import FORMS, digest_of
from asset_bridge.errors import TamperedError
from asset_bridge.trade.documents.signed_verb import (
    MAX_DOCUMENT_BYTES,
    SENTENCES,
    decode_signed_verb,
    encode_signed_verb,
)

GOLDEN = Path(__file__).parents[3] / "spec" / "vectors" / "signed-verb"
DIGESTS: dict[str, str] = {
    name: digest for file in GOLDEN.glob("digests*.json") for name, digest in json.loads(file.read_text()).items()
}


@pytest.mark.parametrize("name", sorted(DIGESTS))
def test_a_golden_document_reads_writes_and_verifies(name: str) -> None:
    raw = (GOLDEN / name).read_bytes()
    signed = decode_signed_verb(raw)
    assert encode_signed_verb(signed) == raw
    places = dict.fromkeys(CONTRACTS, signed.contract)  # a digest needs the one that consumes it
    deployment = Deployment(signed.chain_id, places, {}, 0)
    arguments = {**signed.arguments, "generation": 2}  # of new shares it is counted by the contract, not carried
    digest = digest_of(signed.form, deployment, signed.account, arguments, signed.nonce, signed.deadline)
    assert "0x" + digest.hex() == DIGESTS[name]
    assert is_signed_by(signed.account, digest, signed.signature)
    assert len(signed.authority) == 125


def changed(name: str, **fields: Any) -> bytes:
    value = json.loads((GOLDEN / name).read_text())
    arguments = fields.pop("arguments", {})
    value.update(fields)
    value["arguments"].update(arguments)
    return json.dumps({k: v for k, v in value.items() if v is not None}).encode()


BAD = {
    "format": {"format": "asset-bridge/signed-verb/2"},
    "says something else": {"says": "Account 0x00 gives a present."},
    "no sentence": {"says": None},
    "other type": {"type": TYPES["Revoke"]},
    "an unknown field": {"note": "harmless"},
    "an unknown function": {"function": "settle_all"},
    "another contract's function": {"contract_name": "Grants"},
    "a missing argument": {"arguments": {"order_id": None}},
    "one argument more": {"arguments": {"table_hash": "0x" + "00" * 32}},
    "a short id": {"arguments": {"order_id": "0x12"}},
    "an id that is no text": {"arguments": {"order_id": 7}},
    "capitals": {"nonce": "0x" + "AB" * 32},
    "no 0x": {"nonce": "ab" * 32},
    "a lower-case account": {"account": "0x" + "ab" * 20},
    "an account that is no text": {"account": 1},
    "a negative deadline": {"deadline": -1},
    "a deadline beyond dates": {"deadline": 2**60},
    "a true deadline": {"deadline": True},
    "a deadline in text": {"deadline": "1800000000"},
    "no signature": {"signature": "0x"},
    "a signature too long": {"signature": "0x" + "11" * 1025},
    "a chain id in text": {"chain_id": "31337"},
}


@pytest.mark.parametrize("case", BAD)
def test_a_document_that_does_not_follow_from_what_was_signed_is_refused(case: str) -> None:
    with pytest.raises(TamperedError) as error:
        decode_signed_verb(changed("cancel.json", **BAD[case]))
    assert error.value.code == "trade.signed-document"


@pytest.mark.parametrize("price", ["01", "-1", "1e3", 5, "²", str(2**256), "9" * 5000])
def test_an_amount_has_one_spelling(price: Any) -> None:
    offer = json.loads((GOLDEN / "request.json").read_text())["arguments"]["offer"]
    with pytest.raises(TamperedError) as error:
        decode_signed_verb(changed("request.json", arguments={"offer": {**offer, "price": price}}))
    assert error.value.code == "trade.signed-document"


@pytest.mark.parametrize(
    "raw", [b"", b"[]", b"7", b"\xff", b"{" * 100_000, b'{"format":' + b"[" * 50_000, b" " * (MAX_DOCUMENT_BYTES + 1)]
)
def test_what_is_no_document_is_refused(raw: bytes) -> None:
    with pytest.raises(TamperedError) as error:
        decode_signed_verb(raw)
    assert error.value.code == "trade.signed-document"


def test_every_form_names_the_arguments_of_its_function() -> None:
    """One argument of each is `authority`, the last where no other account consents; what is carried and what is read make up the rest."""
    for (contract, function), form in FORMS.items():
        line = next(line for line in FUNCTIONS[contract].splitlines() if line.startswith(f"{function}("))
        kinds = line[line.index("(") + 1 : line.index(")")].split(",")
        assert (len(kinds), kinds[form.names.index("authority")]) == (len(form.names), "bytes"), function
        assert form.names[-1] in ("authority", "consent"), function
        assert form.message in TYPES


def test_the_specification_lists_what_each_document_carries_and_says() -> None:
    text = (GOLDEN.parents[1] / "signed-verb.md").read_text()
    assert set(SENTENCES) == {form.message for form in FORMS.values()}
    for message, sentence in SENTENCES.items():
        assert f"| {message} | {sentence} |" in text
    for (contract, function), form in FORMS.items():
        if function == "list_with_body":
            assert "AssetLedger.list_asset, list_with_body" in text
            continue
        row = next(line for line in text.splitlines() if line.startswith(f"| {contract}.{function}"))
        _, _, carried, read, _ = (cell.strip() for cell in row.split("|"))
        extra = " (, body)" if function == "list_asset" else ""
        assert carried == ", ".join(form.carried) + extra, function
        assert read == ", ".join(name[1:] for name in form.names if name.startswith("*")), function
