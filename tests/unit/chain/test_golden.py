"""Ids, packed fields and every EIP-712 digest equal the golden values (spec/vectors/contracts), and the table of functions and events
equals the ABI of the committed artefacts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from coincurve import PrivateKey
from eth_account import Account
from eth_account.messages import encode_typed_data
from eth_hash.auto import keccak

from asset_bridge.chain import abi, deploy, ids, messages, packing
from asset_bridge.chain.fees import Bid, bumped, first_bid, sign_transaction
from asset_bridge.chain.keys import AccountKey, address_bytes, checksum_address
from asset_bridge.chain.network import CONTRACTS
from asset_bridge.chain.records import ZERO32, Offer, RequestTerms
from asset_bridge.errors import BridgeError, InputError, TamperedError

GOLDEN = Path(__file__).parents[3] / "spec" / "vectors" / "contracts"
IDS: dict[str, Any] = json.loads((GOLDEN / "ids.json").read_text())
MESSAGES: list[dict[str, Any]] = json.loads((GOLDEN / "messages.json").read_text())


def raw(text: str) -> bytes:
    return bytes.fromhex(text[2:])


def checked(text: str) -> str:
    return checksum_address(raw(text))


def value_of(kind: str, value: Any) -> object:
    if kind == "bytes32[]":
        return tuple(raw(v) for v in value)
    if kind.startswith("bytes"):
        return raw(value)
    return checked(value) if kind == "address" else int(value)


@pytest.mark.parametrize("case", MESSAGES, ids=lambda c: c["type"].split("(")[0])
def test_message_digests(case: dict[str, Any]) -> None:
    name = case["type"].split("(")[0]
    assert messages.TYPES[name] == case["type"]
    kinds = {p.split(" ")[1]: p.split(" ")[0] for p in case["type"].split("(", 1)[1][:-1].split(",")}
    domain = messages.Domain(case["chain_id"], checked(case["contract"]))
    values = [value_of(kinds[n], case["values"][n]) for n in kinds]
    assert domain.digest(name, *values).hex() == case["digest"][2:]


def test_every_message_has_a_golden_value() -> None:
    assert {case["type"] for case in MESSAGES} == set(messages.TYPES.values())


def test_an_independent_library_gives_the_same_digest() -> None:
    domain = messages.Domain(1, checksum_address(bytes(range(20))))
    typed = encode_typed_data(
        {"name": "asset-bridge", "version": "1", "chainId": 1, "verifyingContract": domain.contract},
        {"Fetch": [{"name": "order", "type": "bytes32"}, {"name": "generation", "type": "uint32"}]},
        {"order": keccak(b"order"), "generation": 3},
    )
    key = AccountKey(b"\x11" * 32)
    signed = Account.from_key(b"\x11" * 32).sign_message(typed)
    assert bytes(signed.signature) == key.sign_digest(messages.fetch_digest(domain, keccak(b"order"), 3))


def golden_listing() -> dict[str, Any]:
    return {n: raw(v) if isinstance(v, str) else v for n, v in IDS["listing"].items()}


def test_ids_and_hashes() -> None:
    assert ids.node_id(checked(IDS["operator"]), raw(IDS["salt"])) == raw(IDS["node_id"])
    request, chain_id, contract = IDS["request"], IDS["chain_id"], checked(IDS["contract"])
    periods = packing.unpack_periods(int(IDS["offer"][3]))
    assert packing.pack_periods(periods) == int(IDS["offer"][3])
    offer = Offer(int(request["price"]), checked(request["token"]), raw(request["terms"]), periods)
    terms = RequestTerms(
        raw(IDS["asset_id"]),
        raw(request["pk_b"]),
        raw(request["hybrid_key"]),
        raw(request["form"]),
        1,
        offer,
        raw(request["order_nonce"]),
        checked(IDS["consumer"]),
    )
    assert ids.order_id(chain_id, contract, checked(IDS["consumer"]), terms) == raw(IDS["order_id"])
    listing = golden_listing()
    assert packing.signer_address(PrivateKey(b"\x51" * 32).public_key.format()) == AccountKey(b"\x51" * 32).address
    points = keccak(listing["capsule"][:66])
    commitment = packing.key_commitment(points, listing["pk_a"], checked(IDS["signer_address"]))
    assert commitment == raw(IDS["key_commitment"])
    assert packing.card(commitment, keccak(raw(IDS["credits"]))) == raw(IDS["card"])
    assert packing.offer_hash(packing.offer_args(offer, raw(IDS["card"]))) == raw(IDS["offer_hash"])
    t = IDS["terms"]
    args = packing.TermsArgs(
        raw(t[0]),
        *(checked(a) for a in t[1:5]),
        int(t[5]),
        int(t[6]),
        t[7],
        raw(t[8]),  # type: ignore[arg-type]
    )
    assert packing.basis(args, raw(IDS["card"])) == raw(IDS["basis"])
    table = packing.Table.parse(raw(IDS["table"]))
    assert table.pack() == raw(IDS["table"])
    assert table.digest(args.pk_b) == raw(IDS["table_hash"])


def _kind(item: dict[str, Any]) -> str:
    if not item["type"].startswith("tuple"):
        return str(item["type"])
    return f"({','.join(_kind(c) for c in item['components'])}){item['type'].removeprefix('tuple')}"


@pytest.mark.parametrize("contract", CONTRACTS)
def test_the_interface_is_the_artefacts(contract: str) -> None:
    entries = deploy.artefact(contract).abi
    ours = {name: f for (c, name), f in abi.functions().items() if c == contract}
    theirs = {e["name"]: e for e in entries if e["type"] == "function"}
    for name, function in ours.items():
        assert function.inputs == tuple(_kind(i) for i in theirs[name]["inputs"]), name
        outputs = [_kind(o) for o in theirs[name]["outputs"]]
        flat = outputs[0][1:-1].split(",") if len(outputs) == 1 and outputs[0].startswith("(") else outputs
        assert list(function.outputs) == flat, name
    unused = {"tee_slots", "light_key", "set_order"}  # asked or called by other contracts only
    assert set(theirs) - set(ours) <= unused
    events = {name: e for (c, name), e in abi.event_types().items() if c == contract}
    real = {
        e["name"]: tuple((_kind(i), i["name"], i["indexed"]) for i in e["inputs"])
        for e in entries
        if e["type"] == "event"
    }
    assert {name: event.inputs for name, event in events.items()} == real


@pytest.mark.parametrize("tip", [0, 10**9])
def test_transactions_equal_those_of_an_independent_library(tip: int) -> None:
    key, to = AccountKey(b"\x21" * 32), checksum_address(keccak(b"to")[12:])
    digest, sent = sign_transaction(
        key, chain_id=31337, nonce=7, to=to, data=b"\x01\x02", value_wei=5, gas_limit=99_000, bid=Bid(10**10, tip)
    )
    fields = {"type": 2, "chainId": 31337, "nonce": 7, "to": to, "data": "0x0102", "value": 5, "gas": 99_000}
    signed = Account.from_key(b"\x21" * 32).sign_transaction(
        fields | {"maxFeePerGas": 10**10, "maxPriorityFeePerGas": tip}
    )
    assert (bytes(signed.raw_transaction), bytes(signed.hash)) == (sent, digest)


def test_a_bump_is_enough_for_every_node_and_the_tip_has_a_ceiling() -> None:
    bid = first_bid(10**9, 10**30)
    assert bid.tip_wei == 50 * 10**9
    more = bumped(bid, 1, 0)
    assert more.max_fee_wei * 8 >= bid.max_fee_wei * 9
    assert more.tip_wei * 8 >= bid.tip_wei * 9
    assert bumped(Bid(1, 0), 10**9, 10**9).max_fee_wei == 3 * 10**9


def test_signatures_are_canonical_only() -> None:
    key, digest = AccountKey(b"\x31" * 32), keccak(b"digest")
    good = key.sign_digest(digest)
    assert messages.recover(digest, good) == key.address
    assert messages.from_compact(messages.to_compact(good)) == good
    s = int.from_bytes(good[32:64], "big")
    high = good[:32] + (messages.GROUP_ORDER - s).to_bytes(32, "big") + bytes([55 - good[64]])
    for bad in (high, good[:64], good + b"\0", good[:64] + bytes([good[64] - 27]), bytes(64) + b"\x1b", b""):
        with pytest.raises(TamperedError) as error:
            messages.recover(digest, bad)
        assert error.value.code == "chain.signature"
    for bad in (high, good[:64]):
        with pytest.raises(TamperedError):
            messages.to_compact(bad)
    with pytest.raises(TamperedError):
        messages.from_compact(good)


def test_an_account_key_shows_nothing_and_refuses_what_is_no_key() -> None:
    key = AccountKey(b"\x41" * 32)
    assert "41" * 32 not in f"{key!r}{key}"
    with pytest.raises(TypeError):
        key.__reduce__()
    for bad in (b"", bytes(32), b"\xff" * 32, b"\x01" * 31):
        with pytest.raises(InputError) as error:
            AccountKey(bad)
        assert error.value.code == "chain.account-key"
    with pytest.raises(InputError) as error:
        key.sign_digest(b"short")
    assert error.value.code == "chain.digest"


def test_addresses() -> None:
    good = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"  # EIP-55's own example
    assert checksum_address(address_bytes(good)) == good
    assert address_bytes(good.lower()) == address_bytes(good)
    for bad in (good[:-1], good[2:], good.replace("5a", "5A", 1), "0x" + "g" * 40, 7, None):
        with pytest.raises(InputError) as error:
            address_bytes(bad)  # type: ignore[arg-type]
        assert error.value.code == "chain.address"


def test_packed_fields_are_parsed_exactly() -> None:
    table = packing.Table.parse(raw(IDS["table"]))
    for bad in (table.pack()[:-1], table.pack() + b"\0", b"", table.pack()[:38]):
        with pytest.raises(TamperedError) as error:
            packing.Table.parse(bad)
        assert error.value.code == "chain.malformed"
    status = packing.Status(6, 17, 3, 5, 1_800_000_000)
    assert packing.Status.parse(status.pack()) == status
    with pytest.raises(TamperedError):
        packing.Status.parse(1 << 64)
    progress = packing.Progress(5, 1_900_000_000, bytes(96))
    assert packing.Progress.parse(progress.pack()) == progress
    with pytest.raises(TamperedError):
        packing.Progress.parse(progress.pack()[:-1])
    assert packing.progress_hash(b"") == ZERO32


def test_events_keep_their_values_through_json() -> None:
    samples = {"bytes": b"\x01\x02", "bytes32": keccak(b"x"), "address": checksum_address(bytes(20)), "bool": True}
    for (contract, name), kind in abi.event_types().items():
        args: dict[str, Any] = {}
        for i, (k, n, _) in enumerate(kind.inputs):
            if k.startswith("("):
                args[n] = packing.OfferArgs(2**200, checksum_address(bytes(20)), keccak(b"t"), 2**190, keccak(b"c"))
            elif k.endswith("[]"):
                args[n] = (samples.get(k[:-2], 2**130), samples.get(k[:-2], 7))
            else:
                args[n] = samples.get(k, 2**255 if k == "uint256" else i)
        assert abi.args_from_json(contract, name, abi.args_to_json(contract, name, args)) == args


def test_a_value_in_another_form_is_refused() -> None:
    data = abi.encode_call("Exchange", "order", (keccak(b"o"),))
    assert len(data) == 36
    with pytest.raises(BridgeError):
        abi.decode_answer("Exchange", "past", (2).to_bytes(32, "big"))
    with pytest.raises(BridgeError):
        abi.decode_answer("Exchange", "past", (1).to_bytes(32, "big") + bytes(32))
    with pytest.raises(BridgeError):
        abi.decode_log("Exchange", [abi.event_types()["Exchange", "Paid"].topic], b"")
