"""Golden vectors are what the tool computes, and what the contracts compute (spec/contracts.md §1–§4)."""

from __future__ import annotations

import hashlib
import json

import boa
import pytest
from eth_hash.auto import keccak

from tests.unit.contracts.world import START, World, abi_of
from tools.vectors import contracts as spec

CONTRACTS = spec.TARGET.parents[2] / "contracts"


def test_golden_files_are_what_the_tool_computes() -> None:
    for name, content in spec.vectors().items():
        assert json.loads((spec.TARGET / name).read_text()) == content, name


def test_every_type_string_of_the_contracts_is_a_message_of_the_spec() -> None:
    import re

    text = (spec.TARGET.parents[1] / "contracts.md").read_text()
    code = "".join(path.read_text() for path in CONTRACTS.rglob("*.vy") if "mocks" not in path.parts)
    used = {t for t in re.findall(r'"([A-Z]\w+\([^"]*\))"', code) if not t.startswith("EIP712Domain")}
    known = {spec.type_string(name) for name in spec.MESSAGES}
    off_chain = {spec.type_string(name) for name in ("Form", "OrderKey", "Ack")}
    assert used == known - off_chain
    assert all(type_string in text for type_string in known)


def test_domain_separators_are_of_this_chain_and_contract(world: World) -> None:
    from eth_abi import encode

    for contract in (world.registry, world.ledger, world.exchange, world.grants):
        expected = keccak(
            encode(
                ["bytes32", "bytes32", "bytes32", "uint256", "address"],
                [
                    keccak(b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
                    keccak(b"asset-bridge"),
                    keccak(b"1"),
                    31337,
                    str(contract.address),
                ],
            )
        )
        assert contract.domain_separator() == expected


def test_ids_and_digests_of_the_contracts_are_those_of_the_spec(world: World) -> None:
    asset = world.publish()
    assert world.ledger.key_commitment(world.provider.address, keccak(asset.pk_a)) == asset.commitment
    binding, state, busy_until = world.ledger.asset(asset.asset_id)
    from eth_abi import encode

    full = keccak(encode(["address", "bytes32"], [world.provider.address, spec.offer_hash(asset.offer)]))
    assert (binding, state, busy_until) == (full[:27] + bytes(5), 1, 0)
    order = world.request(asset)
    core, status = world.exchange.order(order.order_id)
    assert core == spec.core(spec.basis(order.terms, order.card))[:24] + bytes(8)
    assert status == 1 | (START + 86_400) << 32
    world.pay(world.approve(order))
    core = world.exchange.order(order.order_id)[0]
    expected = spec.core(spec.basis(order.terms, order.card), order.table_hash, order.progress_hash)
    assert core == expected[:24] + bytes(8)


def test_the_events_carry_every_preimage(world: World) -> None:
    """A reader who has the logs alone can bring the order on (I12)."""
    order = world.pay()
    names = {entry["name"] for name in ("Exchange", "Grants") for entry in abi_of(name) if entry["type"] == "event"}
    assert {"Requested", "Approved", "Paid", "Delivered", "Settled", "Resealed", "Regenerated"} <= names
    assert world.state(order) == "paid"


@pytest.mark.needs_umbral_pre
def test_receiver_side_signature_of_umbral_pre_is_the_one_the_contract_checks(world: World) -> None:
    import umbral_pre
    from coincurve import PublicKey

    delegating, receiving, signing = (umbral_pre.SecretKey.random() for _ in range(3))
    kfrags = umbral_pre.generate_kfrags(
        delegating, receiving.public_key(), umbral_pre.Signer(signing), 2, 3, True, True
    )
    for kfrag in kfrags:
        raw = bytes(kfrag)
        parts, at = [], 1
        while at < len(raw):
            if raw[at] == 0xC4:
                parts.append(raw[at + 2 : at + 2 + raw[at + 1]])
                at += 2 + raw[at + 1]
            else:
                at += 1
        precursor, kfrag_id, _, commitment, signature = parts[0], parts[1], parts[2], parts[4], parts[6]
        precursor = parts[3]
        message = kfrag_id + commitment + precursor
        message += b"\1" + delegating.public_key().to_compressed_bytes()
        message += b"\1" + receiving.public_key().to_compressed_bytes()
        digest = hashlib.sha256(message).digest()
        signers = {
            PublicKey.from_signature_and_message(signature + bytes([v]), digest, hasher=None).format() for v in (0, 1)
        }
        assert signing.public_key().to_compressed_bytes() in signers
        assert signature[32] < 0x80


def test_every_contract_fits_and_its_artefact_is_whole() -> None:
    from tests.unit.contracts.world import ARTEFACTS

    for path in ARTEFACTS.glob("*.json"):
        artefact = json.loads(path.read_text())
        assert artefact["code_size_bytes"] <= 24_576
        assert artefact["compiler"] == "vyper 0.4.3"


def test_the_deployed_code_is_as_large_as_the_artefact_says(world: World) -> None:
    from tests.unit.contracts.world import ARTEFACTS

    for name in ("NodeRegistry", "AssetLedger", "Exchange", "Grants"):
        contract = {"NodeRegistry": world.registry, "AssetLedger": world.ledger, "Exchange": world.exchange}.get(
            name, world.grants
        )
        size = json.loads((ARTEFACTS / f"{name}.json").read_text())["code_size_bytes"]
        assert len(boa.env.get_code(contract.address)) == size


def test_every_refusal_is_in_the_spec_and_in_a_test() -> None:
    import re
    from pathlib import Path

    code = "".join(path.read_text() for path in CONTRACTS.rglob("*.vy") if "mocks" not in path.parts)
    prefixes = "registry|ledger|exchange|grants|authority|governor"
    raised = set(re.findall(rf'"((?:{prefixes}): [^"]+)"', code))
    listed = set(re.findall(rf"\| `((?:{prefixes}): [^`]+)` \|", (spec.TARGET.parents[1] / "contracts.md").read_text()))
    tests = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    assert raised == listed
    assert {reason for reason in raised if f'"{reason}"' not in tests} == set()


def test_every_external_function_and_event_is_in_the_spec() -> None:
    text = (spec.TARGET.parents[1] / "contracts.md").read_text()
    for name in ("NodeRegistry", "AssetLedger", "Exchange", "Grants"):
        for entry in abi_of(name):
            if entry["type"] in ("function", "event"):
                assert entry["name"] in text, f"{name}.{entry['name']}"
